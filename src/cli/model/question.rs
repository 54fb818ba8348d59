//! The questions about models as they are asked.

use std::path::PathBuf;

use crate::cli::config::load;
use crate::cli::exit::Failure;
use crate::cli::model::bench::{BenchArgs, bench};
use crate::cli::model::eval::{EvalArgs, eval};
use crate::cli::model::folder::{INSTALLED, models_in};
use crate::cli::model::inspect::inspect;
use crate::cli::model::list::list;
use crate::cli::model::measured::write_measured;
use crate::cli::model::new::{NewArgs, new};
use crate::cli::model::report::{ReportArgs, report};

/// Questions about models.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum ModelQuestion {
    /// Which models are installed: version, kind, tasks, size, scores
    List {
        /// Folders with models in them, or models
        #[arg(value_name = "DIR", default_value = INSTALLED, conflicts_with = "config")]
        folders: Vec<PathBuf>,
        /// The models of a configuration instead
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Examine one model as the service does, and measure it: shapes, operations, memory, golden error
    Inspect {
        /// Folder with the model
        dir: PathBuf,
        /// This variant of the model only
        #[arg(long, value_name = "NAME")]
        variant: Option<String>,
        /// JSON on stdout
        #[arg(long)]
        json: bool,
        /// Write the memory measured for every variant into the manifest
        #[arg(long, conflicts_with_all = ["variant", "json"])]
        write: bool,
    },
    /// Measure how fast a model runs on one thread, and its memory, per variant
    #[command(long_about = None)]
    Bench(BenchArgs),
    /// Judge labelled data as the service would, and say what the answers are worth
    #[command(long_about = None)]
    Eval(Box<EvalArgs>),
    /// Make a model folder from an ONNX file
    #[command(long_about = None)]
    New(Box<NewArgs>),
    /// Answer the five questions before deployment on one page: task, latency, data, cost, maintenance
    #[command(long_about = None)]
    Report(Box<ReportArgs>),
}

/// Answers a question.
pub(in crate::cli) fn ask(question: ModelQuestion) -> Result<(), Failure> {
    match question {
        ModelQuestion::List { folders, config, json } => {
            let folders = match config {
                Some(file) => load(&file)?.models.into_iter().map(|model| model.path).collect(),
                None => models_in(&folders)?,
            };
            list(&folders, json)
        }
        ModelQuestion::Inspect { dir, write: true, .. } => write_measured(&dir),
        ModelQuestion::Inspect { dir, variant, json, write: false } => {
            inspect(&dir, variant.as_deref(), json)
        }
        ModelQuestion::Bench(args) => bench(&args),
        ModelQuestion::Eval(args) => eval(&args),
        ModelQuestion::New(args) => new(&args),
        ModelQuestion::Report(args) => report(&args),
    }
}
