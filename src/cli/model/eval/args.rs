//! What `tidegate model eval` is told.

use std::path::PathBuf;

/// A model, labelled data, and how the two fit together.
#[derive(clap::Args)]
pub(in crate::cli) struct EvalArgs {
    /// Folder with the model
    pub(in crate::cli::model::eval) dir: PathBuf,
    /// Labelled reports (JSON lines, or CSV with a header), or recorded samples (CSV with a header)
    pub(in crate::cli::model::eval) data: PathBuf,
    /// This variant instead of the first
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli::model::eval) variant: Option<String>,
    /// Samples: configuration that says how the stream is read and windowed
    #[arg(long, value_name = "FILE", requires = "stream")]
    pub(in crate::cli::model::eval) config: Option<PathBuf>,
    /// Samples: name of the stream in it
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(in crate::cli::model::eval) stream: Option<String>,
    /// Samples: labels (CSV with a header), by a time within the window unless --join is given
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli::model::eval) labels: Option<PathBuf>,
    /// Samples: column of both files that says which label belongs to which window
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    pub(in crate::cli::model::eval) join: Option<String>,
    /// CSV: what separates the cells
    #[arg(long, value_name = "CHARACTER", default_value = ",")]
    pub(in crate::cli::model::eval) delimiter: char,
    /// Reports: field of the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub(in crate::cli::model::eval) text: String,
    /// Field or column with the labels of a task; may be repeated. Default: called like the task
    #[arg(long = "label", value_name = "[TASK=]FIELD")]
    pub(in crate::cli::model::eval) fields: Vec<String>,
    /// How the data calls a label of the model, or a TOML file with a table per task; may be repeated
    #[arg(long = "map", value_name = "[TASK:]VALUE=LABEL|FILE.toml")]
    pub(in crate::cli::model::eval) maps: Vec<String>,
    /// Leave out inputs whose label the model does not have, and count them
    #[arg(long)]
    pub(in crate::cli::model::eval) skip_unknown: bool,
    /// Draw the risk–coverage curve and the confusion matrix of each task
    #[arg(long, value_name = "FILE.svg")]
    pub(in crate::cli::model::eval) plot: Option<PathBuf>,
    /// JSON on stdout
    #[arg(long)]
    pub(in crate::cli::model::eval) json: bool,
}
