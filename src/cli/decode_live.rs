//! `tidegate decode`: upstream batches, from a file or from a broker, to JSON lines.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::broker::{BrokerArgs, passing_id};
use crate::cli::decode::{Decoded, Printer, decode_stream};
use crate::cli::exit::{Failure, say};
use crate::io::files::open_file;
use crate::io::mqtt::{Address, Fault as MqttFault};
use crate::runtime::{Consumed, LinkChange, SubscribeError, SubscribePlan, subscribe};
use crate::wire::Fault;

/// How long a broker keeps the session of a named decoder: a long weekend and some.
const SESSION_EXPIRY: Duration = Duration::from_hours(7 * 24);

/// Batches the broker sends ahead. Fewer than the runtime queues, so that a reader that waits never stops the pings.
const RECEIVE_MAX: u16 = 64;

/// Largest packet: a batch at its limit with its topic.
const PACKET_MAX: u32 = 2 << 20;

/// Prints upstream batches as event JSON, one event per line.
#[derive(clap::Args)]
pub(in crate::cli) struct DecodeArgs {
    /// File with batches one after the other; - or nothing for stdin
    #[arg(value_name = "FILE", conflicts_with = "url")]
    file: Option<PathBuf>,
    #[arg(long, requires = "topic", help = "Broker to listen to, as mqtt://host:1883 or mqtts://host:8883")]
    url: Option<Address>,
    /// Topic filter, such as tidegate/+/+/up/#
    #[arg(long, value_name = "FILTER", requires = "url")]
    topic: Option<String>,
    /// Split the load with all decoders of the same group
    #[arg(long, value_name = "GROUP", requires = "url")]
    share: Option<String>,
    /// Let the broker keep what comes while this decoder is away, for up to 7 days; a name of its own for each decoder
    #[arg(long, value_name = "NAME", requires = "url")]
    session: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", requires = "url", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", requires = "url", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Decodes what the arguments name.
pub(in crate::cli) fn decode(args: &DecodeArgs) -> Result<ExitCode, Failure> {
    match (&args.url, &args.topic) {
        (Some(url), Some(topic)) => {
            let (url, filter) = (url.clone(), filter(topic, args.share.as_deref())?);
            live(args, url, &filter)
        }
        (None, _) | (_, None) => stored(args.file.as_deref()),
    }
}

/// Prints a file or stdin.
fn stored(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let out = io::stdout().lock();
    let decoded = match file {
        Some(path) if path != Path::new("-") => {
            let input = open_file(path).map_err(|error| Failure::Io(error.into()))?;
            decode_stream(input, out, tell)
        }
        None if io::stdin().is_terminal() => {
            let remedy = "nothing to decode: give a FILE, - for stdin, or --url and --topic";
            return Err(Failure::Usage(anyhow::anyhow!(remedy)));
        }
        Some(_) | None => decode_stream(io::stdin().lock(), out, tell),
    };
    match decoded {
        Ok(Decoded { faults: 0, .. }) => Ok(ExitCode::SUCCESS),
        Ok(Decoded { faults, events, .. }) => {
            let text = format!("damaged places: {faults}; events printed: {events}");
            Err(Failure::Io(anyhow::anyhow!(text)))
        }
        // Whoever read has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::Io(anyhow::Error::new(error).context("decode"))),
    }
}

/// Prints what a broker sends.
fn live(args: &DecodeArgs, url: Address, filter: &str) -> Result<ExitCode, Failure> {
    let name = args.session.clone().unwrap_or_else(|| passing_id("decode"));
    let mut endpoint = args.broker.endpoint(url, &name)?;
    endpoint.clean_start = args.session.is_none();
    endpoint.session_expiry = if args.session.is_some() { SESSION_EXPIRY } else { Duration::ZERO };
    (endpoint.receive_max, endpoint.packet_max) = (RECEIVE_MAX, PACKET_MAX);
    let broker = endpoint.address.to_string();
    let state = Arc::new(Mutex::new(State::default()));
    let written = Arc::clone(&state);
    let mut printer = Printer::new(io::stdout(), args.count);
    let consume = move |payload: &[u8]| {
        let outcome = printer.message(payload, tell);
        let mut state = written.lock().unwrap_or_else(PoisonError::into_inner);
        state.decoded = printer.decoded();
        match outcome {
            Ok(true) if printer.is_done() => Consumed::Last,
            Ok(true) => Consumed::Taken,
            Ok(false) => Consumed::Enough,
            Err(error) => {
                state.failed = Some(error);
                Consumed::Enough
            }
        }
    };
    let mut change = |change: LinkChange<'_>| match change {
        LinkChange::Subscribed => say(&format!("listening to {filter} at {broker}")),
        LinkChange::Lost(why) => say(&format!("{why}; trying again")),
        LinkChange::Oversize(why) => say(&format!("{why}; its session is left behind")),
    };
    let within = args.seconds.map(Duration::from_secs);
    let plan = SubscribePlan { endpoint, filter: filter.to_owned(), within };
    subscribe(plan, consume, &mut change).map_err(|error| match error {
        SubscribeError::Filter { .. } => Failure::Usage(error.into()),
        SubscribeError::Mqtt(ref mqtt) if mqtt.classify() == MqttFault::Config => {
            Failure::Usage(error.into())
        }
        SubscribeError::Start(_) | SubscribeError::Mqtt(_) | SubscribeError::Refused { .. } => {
            Failure::Io(error.into())
        }
    })?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let Decoded { batches, events, faults, .. } = state.decoded;
    say(&format!("{events} events in {batches} batches, {faults} damaged"));
    match state.failed.take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Io(anyhow::Error::new(error).context("write to stdout")))
        }
        Some(_) | None => Ok(ExitCode::SUCCESS),
    }
}

/// What the printing thread has done.
#[derive(Default)]
struct State {
    decoded: Decoded,
    failed: Option<io::Error>,
}

fn tell(fault: &Fault) {
    say(&format!("damaged at byte {}: {}", fault.offset, fault.error));
}

fn filter(topic: &str, share: Option<&str>) -> Result<String, Failure> {
    let Some(group) = share else { return Ok(topic.to_owned()) };
    if group.is_empty() || group.contains(['/', '+', '#']) {
        let text =
            format!("--share {group:?} is not the name of a group: it must not be empty nor hold / + #");
        return Err(Failure::Usage(anyhow::anyhow!(text)));
    }
    if topic.starts_with("$share/") {
        return Err(Failure::Usage(anyhow::anyhow!("--topic holds a group already: leave out --share")));
    }
    Ok(format!("$share/{group}/{topic}"))
}
