//! What `tidegate model new` is told.

use std::path::PathBuf;

/// A network, what goes in and what its numbers mean.
#[derive(clap::Args)]
pub(in crate::cli) struct NewArgs {
    /// The network
    #[arg(value_name = "FILE.onnx")]
    pub(in crate::cli::model::new) onnx: PathBuf,
    /// Folder to be made; its name is that of the model
    pub(in crate::cli::model::new) dir: PathBuf,
    /// Samples: configuration with a stream whose features the network takes
    #[arg(long, value_name = "FILE", requires = "stream", conflicts_with_all = ["features", "char_ngrams", "word_grams"])]
    pub(in crate::cli::model::new) config: Option<PathBuf>,
    /// Samples: name of the stream
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(in crate::cli::model::new) stream: Option<String>,
    /// Samples: names of the features in the order of the network's inputs, separated by commas
    #[arg(long, value_name = "LIST", conflicts_with_all = ["char_ngrams", "word_grams"])]
    pub(in crate::cli::model::new) features: Option<String>,
    /// Reports: hashed character n-grams
    #[arg(long, value_name = "DIMS,N_MIN,N_MAX", conflicts_with = "word_grams")]
    pub(in crate::cli::model::new) char_ngrams: Option<String>,
    /// Reports: hashed words and their n-grams
    #[arg(long, value_name = "DIMS,N_MIN,N_MAX,GRAMS")]
    pub(in crate::cli::model::new) word_grams: Option<String>,
    /// With --word-grams: where words begin and end, space | punctuation | classes
    #[arg(long, value_name = "HOW", default_value = "space", requires = "word_grams")]
    pub(in crate::cli::model::new) split: String,
    /// With --word-grams: numbers of words the network is loaded for
    #[arg(long, value_name = "LIST", default_value = "8,16,32,64", requires = "word_grams")]
    pub(in crate::cli::model::new) lengths: String,
    /// What the numbers of an output mean, in their order, separated by commas; once per output. Asked for if left out
    #[arg(long, value_name = "[OUTPUT=]LIST")]
    pub(in crate::cli::model::new) labels: Vec<String>,
    /// The same from a file with one label on each line
    #[arg(long, value_name = "[OUTPUT=]FILE")]
    pub(in crate::cli::model::new) labels_file: Vec<String>,
    /// Types of entities, for a network that marks each word as outside, beginning or inside of one
    #[arg(long, value_name = "LIST", requires = "word_grams")]
    pub(in crate::cli::model::new) types: Option<String>,
    /// Inputs for the golden vectors: rows of `tidegate features`, or reports as JSON lines; otherwise random ones
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli::model::new) samples: Option<PathBuf>,
    /// Reports: field of the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub(in crate::cli::model::new) text: String,
    /// Golden vectors
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli::model::new) golden: u16,
    /// The same seed makes the same random inputs
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(in crate::cli::model::new) seed: u64,
}
