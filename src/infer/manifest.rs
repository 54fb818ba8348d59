//! `models/<name>/manifest.toml`: what a model is, needs, answers and was checked against.
//!
//! # Invariants
//! A [`Manifest`] cannot be wrong in itself; whether the graph keeps its promises is for `admission` to find out.

mod check;
mod raw;

use std::fmt;
use std::sync::Arc;

use crate::flow::StreamKind;
use crate::infer::digest::Digest;
use crate::infer::tensor::{Bucket, Dtype, InputPort, OutputPort, Spec};

/// Bytes of a manifest that are read at all: the largest of ours is about 20 kB, most of it normalisation.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// A valid manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    id: Arc<str>,
    /// Name of the model, `[a-z0-9-]{1,64}`.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// What it judges.
    pub kind: StreamKind,
    /// One sentence for people.
    pub description: String,
    /// What goes in.
    pub input: InputLayout,
    /// What it answers, in the order of its judgements.
    pub tasks: Vec<Task>,
    /// What lies outside its scope.
    pub scope: Option<Scope>,
    /// The same network in one or more forms; the first is the default.
    pub variants: Vec<Variant>,
    /// Inputs with the outputs every variant must give.
    pub golden: Golden,
    /// Where it comes from.
    pub training: Option<Training>,
    /// What it has achieved.
    pub scores: Vec<Score>,
}

/// What goes into a model.
#[derive(Clone, Debug, PartialEq)]
pub struct InputLayout {
    /// Name of the graph input.
    pub tensor: Arc<str>,
    /// How the gateway makes it.
    pub encoding: Encoding,
    /// Windows of which a smaller share is real are uncertain, 0 to 1.
    pub min_completeness: f32,
}

/// How an input is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoding {
    /// Features of a window, normalised.
    Features {
        /// Channel names the features refer to.
        channels: Vec<Arc<str>>,
        /// The exact layout: feature names in order.
        features: Vec<Arc<str>>,
        /// How they are normalised.
        normalisation: Normalisation,
        /// How they become bytes, for graphs that take bytes.
        quantisation: Option<Quantisation>,
    },
    /// Character n-grams of a report, hashed into a dense vector by the `text` room.
    CharNgrams {
        /// Length of the vector, a power of two.
        dims: u32,
        /// Shortest n-gram.
        n_min: u8,
        /// Longest n-gram.
        n_max: u8,
    },
    /// Token ids of a report, `i64`, padded with 0 to one of the lengths.
    Tokens {
        /// Lengths a plan is made for, ascending; a longer report is cut.
        lengths: Vec<usize>,
        /// Number of ids; a larger id becomes 0.
        vocabulary: u32,
    },
}

/// `(x - mean) / std`, clipped to `±clip`; NaN becomes 0, the training mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// Mean of each feature in the training set.
    pub mean: Vec<f32>,
    /// Standard deviation of each feature in the training set, above 0.
    pub std: Vec<f32>,
    /// Largest magnitude after division.
    pub clip: f32,
}

/// `q = round(x / scale) + zero`, saturating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantisation {
    /// `I8` or `U8`.
    pub dtype: Dtype,
    /// Size of one step, above 0.
    pub scale: f32,
    /// The byte that means 0.
    pub zero: i16,
}

/// One question a model answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name; empty for the only task of a model.
    pub name: Arc<str>,
    /// Graph output with its logits, shape `[items, labels]`.
    pub output: Arc<str>,
    /// The possible answers, at least two.
    pub labels: Vec<Arc<str>>,
    /// Calibration: logits are divided by this before the softmax.
    pub temperature: f32,
    /// Calibrated probability below which the answer is uncertain, 0 to 1.
    pub threshold: f32,
    /// Indices of the labels that raise the standing alarm of the source.
    pub alarm: Vec<u16>,
}

/// What lies outside a model's scope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scope {
    /// Mean squared normalised feature above this.
    FeatureDistance {
        /// Largest mean still in scope.
        limit: f32,
    },
    /// Share of n-grams seen in training below this.
    KnownGrams {
        /// Smallest share still in scope, 0 to 1.
        limit: f32,
    },
}

/// One form of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name: `fp32`, `int8`.
    pub name: Arc<str>,
    /// File beside the manifest.
    pub file: Arc<str>,
    /// Digest of the file.
    pub sha256: Digest,
    /// Numbers in the network.
    pub parameters: u64,
    /// Heap after loading, in bytes, as measured by its maker.
    pub memory_bytes: u64,
    /// Multiply-adds per item, as predicted by its maker.
    pub operations: u64,
    /// Tolerance of this variant where it differs from the golden file's.
    pub tolerance: Option<f32>,
}

/// The golden file.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// File beside the manifest.
    pub file: Arc<str>,
    /// Digest of the file.
    pub sha256: Digest,
    /// Largest allowed difference of a logit, relative to its size where that is above 1.
    pub tolerance: f32,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// The data set.
    pub data: String,
    /// Its licence.
    pub licence: String,
    /// The recipe.
    pub recipe: String,
}

/// One figure achieved.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Test set.
    pub set: String,
    /// Task.
    pub task: String,
    /// Metric.
    pub metric: String,
    /// Value.
    pub value: f64,
}

/// One fault of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFault {
    /// Where: `tasks[1].labels`; empty if the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub allowed: String,
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { "manifest" } else { &self.key };
        write!(f, "{key}: {}; allowed: {}", self.wrong, self.allowed)
    }
}

impl Manifest {
    /// Reads a manifest; every fault at once if there are any.
    pub fn parse(text: &str) -> Result<Self, Vec<ManifestFault>> {
        check::parse(text)
    }

    /// `name@version`: what events say.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What the graph must look like.
    pub fn spec(&self) -> Spec {
        Spec {
            inputs: vec![InputPort { name: self.input.tensor.clone(), dtype: self.input.dtype() }],
            outputs: self
                .tasks
                .iter()
                .map(|task| OutputPort {
                    name: task.output.clone(),
                    width: task.labels.len(),
                    dtype: Dtype::F32,
                })
                .collect(),
        }
    }

    /// The shapes plans are made for: each batch size at each input length.
    pub fn buckets(&self, batches: &[usize]) -> Vec<Bucket> {
        let lengths = self.input.lengths();
        let shapes = |&length: &usize| batches.iter().map(move |&items| Bucket { items, length });
        lengths.iter().flat_map(shapes).collect()
    }

    /// Largest allowed difference of a logit of a variant.
    pub fn tolerance(&self, variant: &Variant) -> f32 {
        variant.tolerance.unwrap_or(self.golden.tolerance)
    }
}

impl InputLayout {
    /// Number type of the graph input.
    pub fn dtype(&self) -> Dtype {
        match &self.encoding {
            Encoding::Features { quantisation: Some(quantisation), .. } => quantisation.dtype,
            Encoding::Features { quantisation: None, .. } | Encoding::CharNgrams { .. } => Dtype::F32,
            Encoding::Tokens { .. } => Dtype::I64,
        }
    }

    /// The row lengths a plan is made for.
    pub fn lengths(&self) -> Vec<usize> {
        match &self.encoding {
            Encoding::Features { features, .. } => vec![features.len()],
            Encoding::CharNgrams { dims, .. } => vec![*dims as usize],
            Encoding::Tokens { lengths, .. } => lengths.clone(),
        }
    }
}
