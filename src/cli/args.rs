//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::decode_live::DecodeArgs;
use crate::cli::exit::Failure;
use crate::cli::model::ModelQuestion;
use crate::cli::outbox::{self, Form};
use crate::cli::replay::ReplayArgs;
use crate::cli::selftest::SelftestArgs;
use crate::flow::Grain;
use crate::runtime::text_row;
use crate::units::Bytes;

/// Sensor streams and reports in over MQTT, small models on the spot, only distilled features out.
#[derive(Parser)]
#[command(name = "tidegate", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (systemd Type=notify)
    Run {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check configuration, board and models; print every fault and the memory plan
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show the whole thing with nothing installed: brokers, a plant, an outage, a heat wave
    #[cfg(feature = "demo")]
    Demo {
        /// Length
        #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u64).range(10..=3_600))]
        seconds: u64,
        /// The same seed makes the same plant
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        /// Result as JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Print the commented default configuration
    Config {
        /// Print the default
        #[arg(long, required = true)]
        default: bool,
    },
    /// Compute what models get of recorded samples or reports, by the code the service runs
    ///
    /// Samples: CSV with one line per window: from, to (seconds since 1970), completeness and the features, a missing one
    /// empty. Reports: one line each, in order. For a model of character n-grams it has index:value of each entry that is
    /// not zero. For a model of words it has the words separated by " | ", each as start-end (bytes of the text) and its
    /// ids without padding: 0-4 5120 77 311 | 5-9 402 77 96; all words, however many the model takes.
    Features {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Name of the stream
        #[arg(long, value_name = "NAME")]
        stream: String,
        /// What separates the cells
        #[arg(long, default_value = ",")]
        delimiter: char,
        /// Recorded samples (CSV with a header) or reports (JSON lines)
        samples: PathBuf,
    },
    /// Play recorded data to a broker, with its original timing or faster
    #[command(long_about = None)]
    Replay(ReplayArgs),
    /// Print upstream batches, from a file or a broker, as event JSON: one event per line
    #[command(long_about = None)]
    Decode(DecodeArgs),
    /// See which models are installed and what one is and costs
    Model {
        #[command(subcommand)]
        question: ModelQuestion,
    },
    /// Open and read everything the board should have, and say what works; exit code 74 if something does not
    #[command(long_about = None)]
    Selftest(SelftestArgs),
    /// Look into an outbox: what is stored, how old, what is damaged
    Outbox {
        #[command(subcommand)]
        question: OutboxQuestion,
    },
    /// Examine a model as admission does (used by the service itself)
    #[command(hide = true)]
    Admit {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        memory: u64,
        #[arg(long)]
        seconds: u32,
    },
}

#[derive(Subcommand)]
enum OutboxQuestion {
    /// How much is stored, how old it is, how far it is acknowledged
    Stat(OutboxPlace),
    /// The first records that wait
    Peek {
        #[command(flatten)]
        place: OutboxPlace,
        /// Records of each lane
        #[arg(long, default_value_t = 10)]
        count: usize,
    },
    /// Check every checksum; exit code 74 if anything is damaged
    Verify(OutboxPlace),
}

#[derive(clap::Args)]
struct OutboxPlace {
    /// The outbox: `state_dir/outbox`
    dir: PathBuf,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// Runs the command given by the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // Help that nobody reads is no failure.
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    match execute(arguments.command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run { config } => crate::cli::run::run(&config)?,
        Command::Check { config } => crate::cli::check::check(&config)?,
        #[cfg(feature = "demo")]
        Command::Demo { seconds, seed, json } => crate::cli::demo::demo(seconds, seed, json)?,
        Command::Config { default: _ } => crate::cli::config::print_default()?,
        Command::Features { config, stream, delimiter, samples } => {
            let delimiter = u8::try_from(delimiter)
                .map_err(|_| Failure::Usage(anyhow::anyhow!("--delimiter takes one ASCII character")))?;
            crate::cli::config::features(&config, &stream, delimiter, &samples)?;
        }
        Command::Replay(args) => crate::cli::replay::replay(args)?,
        Command::Decode(args) => return crate::cli::decode_live::decode(&args),
        Command::Model { question } => crate::cli::model::ask(question)?,
        Command::Selftest(args) => crate::cli::selftest::selftest(&args)?,
        Command::Outbox { question } => ask_outbox(question)?,
        Command::Admit { dir, memory, seconds } => {
            return Ok(crate::io::admission::child_main(&dir, Bytes(memory), seconds, &text_row));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ask_outbox(question: OutboxQuestion) -> Result<(), Failure> {
    match question {
        OutboxQuestion::Stat(OutboxPlace { dir, json }) => {
            let (form, mut out) = answer(json);
            outbox::stat(&dir, form, &mut out)
        }
        OutboxQuestion::Peek { place: OutboxPlace { dir, json }, count } => {
            let (form, mut out) = answer(json);
            outbox::peek(&dir, (None, count), form, describe, &mut out)
        }
        OutboxQuestion::Verify(OutboxPlace { dir, json }) => {
            let (form, mut out) = answer(json);
            outbox::verify(&dir, form, &mut out).and_then(|whole| {
                let damaged =
                    || anyhow::anyhow!("{} is damaged: what is readable is still delivered", dir.display());
                if whole { Ok(()) } else { Err(damaged()) }
            })
        }
    }
    .map_err(Failure::Io)
}

/// Text for people goes to stderr, JSON for programs to stdout.
fn answer(json: bool) -> (Form, Box<dyn Write>) {
    if json {
        (Form::Json, Box::new(std::io::stdout().lock()))
    } else {
        (Form::Text, Box::new(std::io::stderr().lock()))
    }
}

/// A stored record as event JSON, so that nobody sees more of it than upstream will.
fn describe(payload: &[u8]) -> Option<String> {
    let event = crate::wire::decode_record(payload).ok()?;
    let facts = event.facts();
    let (stream, epoch, number) = (&facts.stream, facts.id.epoch, facts.id.number);
    let what = match facts.summary.as_ref().map(|summary| (summary.grain, summary.events)) {
        Some((Grain::Gap(reason), events)) => format!("gap: {events} events lost, {}", reason.as_str()),
        Some((grain, events)) => format!("{events} events of {}", grain.as_str()),
        None => facts.verdict().as_str().to_owned(),
    };
    Some(format!("{stream} {epoch}/{number} {what}"))
}
