//! `models/<name>/manifest.toml`: what a model is, needs, answers and was checked against.
//!
//! # Invariants
//! A [`Manifest`] cannot be wrong in itself; whether the graph keeps its promises is for `admission` to find out.

mod answers;
mod check;
mod faults;
mod input;
mod raw;

use std::fmt;
use std::sync::Arc;

use crate::flow::StreamKind;
use crate::infer::digest::Digest;
use crate::infer::tensor::{Bucket, Dtype, InputPort, OutputPort, Spec, Width};

/// Bytes of a manifest that are read at all: the largest of ours is about 20 kB, most of it normalisation.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a bit set of known n-grams: beyond half a million bits it says nothing that a smaller one does not.
pub const KNOWN_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a vocabulary: 8,192 terms and four times as many other ways to write them, at 40 bytes each.
pub const VOCABULARY_BYTES_MAX: u64 = 2 << 20;

/// Kinds that rules can find in a text beside the tags of a model.
pub const RULES: [&str; 9] = ["iban", "card", "imo", "mmsi", "phone", "email", "ip", "mac", "coordinates"];

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
    /// What it answers, in the order of its judgements; empty for a model that marks entities.
    pub tasks: Vec<Task>,
    /// What it marks in a report; `None` for a model that answers tasks.
    pub tags: Option<Tags>,
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
    /// Hashed ids of the words of a report and of their n-grams, `i64`, made by the `text` room.
    WordGrams(WordGrams),
}

/// How a report becomes words and words become ids: a row is `words * grams` ids, word after word, 0 for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordGrams {
    /// Where words begin and end.
    pub split: WordSplit,
    /// Number of ids, that of nothing included; a larger id becomes 0.
    pub dims: u32,
    /// Shortest n-gram.
    pub n_min: u8,
    /// Longest n-gram.
    pub n_max: u8,
    /// Ids of one word at most.
    pub grams: usize,
    /// Numbers of words a plan is made for, ascending.
    pub lengths: Vec<usize>,
}

/// Where words begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordSplit {
    /// At white space.
    Space,
    /// At white space, and every other mark stands alone.
    Punctuation,
    /// Like punctuation, and letters part from digits.
    Classes,
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

/// What a model marks in a report: each word is outside, begins or continues an entity of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    /// Graph output with its logits, shape `[items, words, 1 + 2 * types]`: outside, then begin and inside of each type.
    pub output: Arc<str>,
    /// Types of entities, in the order of the output.
    pub types: Vec<Arc<str>>,
    /// Calibration: logits are divided by this before the softmax.
    pub temperature: f32,
    /// Calibrated probability of an entity below which the extraction is uncertain, 0 to 1.
    pub threshold: f32,
    /// Added to the logit of outside: below 0, more is marked than is likely.
    pub outside_bias: f32,
    /// The closed list of words an entity's value may be.
    pub vocabulary: Option<FileDigest>,
    /// What rules find beside the tags: of [`RULES`].
    pub rules: Vec<Arc<str>>,
}

/// A file beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Its name.
    pub file: Arc<str>,
    /// Digest of its bytes.
    pub sha256: Digest,
}

/// What lies outside a model's scope.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// Mean squared normalised feature above this.
    FeatureDistance {
        /// Largest mean still in scope.
        limit: f32,
        /// Rows that make uncorrelated numbers of the normalised features before they are squared: then the mean is a
        /// Mahalanobis distance. Empty: the features as they are.
        whitening: Vec<Vec<f32>>,
    },
    /// Share of character n-grams seen in training below this.
    KnownGrams {
        /// Length of the n-grams.
        n: u8,
        /// Bit set of those seen.
        known: FileDigest,
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
    /// Heap it keeps once loaded and run, in bytes, as measured by its maker; the service measures again.
    pub memory_measured: Option<u64>,
    /// Most heap while it is loaded, in bytes, as measured by its maker.
    pub load_peak: Option<u64>,
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
            outputs: self.tasks.iter().map(task_output).chain(self.tags_output()).collect(),
        }
    }

    /// Each word has its own numbers.
    fn tags_output(&self) -> Option<OutputPort> {
        let tags = self.tags.as_ref()?;
        let width = Width::PerWord { ids: self.input.grams(), numbers: tags.classes() };
        Some(OutputPort { name: tags.output.clone(), width, dtype: Dtype::F32 })
    }

    /// The files that are neither graph nor golden vectors, with the bytes each may have.
    pub fn companions(&self) -> impl Iterator<Item = (&FileDigest, u64)> {
        let known = match &self.scope {
            Some(Scope::KnownGrams { known, .. }) => Some((known, KNOWN_BYTES_MAX)),
            Some(Scope::FeatureDistance { .. }) | None => None,
        };
        let vocabulary = self.tags.as_ref().and_then(|tags| tags.vocabulary.as_ref());
        known.into_iter().chain(vocabulary.map(|file| (file, VOCABULARY_BYTES_MAX)))
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
            Encoding::WordGrams(_) => Dtype::I64,
        }
    }

    /// Numbers of a row that belong to one word; 1 where there are no words.
    pub fn grams(&self) -> usize {
        match &self.encoding {
            Encoding::Features { .. } | Encoding::CharNgrams { .. } => 1,
            Encoding::WordGrams(words) => words.grams,
        }
    }

    /// The row lengths a plan is made for.
    pub fn lengths(&self) -> Vec<usize> {
        match &self.encoding {
            Encoding::Features { features, .. } => vec![features.len()],
            Encoding::CharNgrams { dims, .. } => vec![*dims as usize],
            Encoding::WordGrams(words) => words.rows().collect(),
        }
    }
}

impl WordGrams {
    /// The row lengths a plan is made for, in ids.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().map(|words| words * self.grams)
    }

    /// Words of the longest row.
    pub fn words_max(&self) -> usize {
        self.lengths.last().copied().unwrap_or(0)
    }
}

impl Tags {
    /// Numbers of one word in the output.
    pub fn classes(&self) -> usize {
        1 + 2 * self.types.len()
    }
}

fn task_output(task: &Task) -> OutputPort {
    OutputPort { name: task.output.clone(), width: Width::Fixed(task.labels.len()), dtype: Dtype::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../tests/golden/models/dense-pair/manifest.toml");
    const WORDS: &str = include_str!("../../tests/golden/models/embedding/manifest.toml");
    const TAGGER: &str = include_str!("../../tests/golden/models/tagger/manifest.toml");
    const BYTES: &str = include_str!("../../tests/golden/models/bytes-in/manifest.toml");

    /// The keys of the faults after one replacement in a good manifest.
    fn faults(good: &str, from: &str, to: &str) -> Vec<String> {
        assert!(good.contains(from), "{from:?} is not in the manifest");
        let parsed = Manifest::parse(&good.replacen(from, to, 1));
        parsed.err().unwrap_or_default().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn a_good_manifest_says_what_the_graph_must_look_like() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(&**manifest.id(), "dense-pair@1.0.0");
        assert_eq!(manifest.tasks[0].alarm, [2]);
        assert_eq!(manifest.scope, Some(Scope::FeatureDistance { limit: 9.0, whitening: Vec::new() }));
        let spec = manifest.spec();
        assert_eq!((&*spec.inputs[0].name, spec.inputs[0].dtype), ("features", Dtype::F32));
        assert_eq!((&*spec.outputs[1].name, spec.outputs[1].width), ("leak", Width::Fixed(2)));
        let shapes = manifest.buckets(&[1, 8]);
        assert_eq!(shapes, [Bucket { items: 1, length: 4 }, Bucket { items: 8, length: 4 }]);
        let words = Manifest::parse(WORDS).unwrap();
        assert_eq!((words.input.dtype(), words.input.lengths()), (Dtype::I64, vec![8, 16]));
        assert_eq!(Manifest::parse(BYTES).unwrap().input.dtype(), Dtype::U8);
    }

    #[test]
    fn a_manifest_for_hashed_grams_needs_a_power_of_two() {
        let grams = |dims: u32| {
            let encoder =
                format!("encoder = {{ type = \"char-ngrams\", dims = {dims}, n_min = 1, n_max = 4 }}");
            let old = WORDS.lines().find(|line| line.starts_with("encoder")).unwrap();
            Manifest::parse(&WORDS.replace(old, &encoder))
        };
        assert_eq!(
            grams(2048).unwrap().input.encoding,
            Encoding::CharNgrams { dims: 2048, n_min: 1, n_max: 4 }
        );
        assert_eq!(grams(2000).unwrap_err()[0].key, "input.encoder.dims");
    }

    #[test]
    fn each_wrong_key_is_named() {
        for (from, to, key) in [
            ("name = \"dense-pair\"", "name = \"Dense Pair\"", "name"),
            ("version = \"1.0.0\"", "version = \"1/2\"", "version"),
            ("kind = \"sensor\"", "kind = \"radar\"", "kind"),
            ("tensor = \"features\"", "tensor = \"\"", "input.tensor"),
            ("\"a.f1\"", "\"a.f0\"", "input.features[1]"),
            ("std = [1.0, 1.0", "std = [1.0, 0.0", "input.std[1]"),
            ("mean = [0.0, 0.0", "mean = [0.0, nan", "input.mean[1]"),
            ("mean = [0.0, ", "mean = [", "input.mean"),
            ("[scope]", "clip = 0.0\n[scope]", "input.clip"),
            ("[scope]", "dtype = \"f64\"\n[scope]", "input.dtype"),
            ("[scope]", "min_completeness = 2.0\n[scope]", "input.min_completeness"),
            ("feature-distance", "known-grams", "scope.kind"),
            ("limit = 9.0", "limit = 9.0\nwhitening = []", "scope.whitening"),
            ("limit = 9.0", "limit = 9.0\nwhitening = [[1.0, 0.0, 0.0]]", "scope.whitening[0]"),
            ("limit = 9.0", "limit = 9.0\nwhitening = [[1.0, 0.0, 0.0, nan]]", "scope.whitening[0]"),
            ("name = \"leak\"", "name = \"wear\"", "tasks[1].name"),
            ("labels = [\"l0\", \"l1\"]", "labels = [\"l0\"]", "tasks[1].labels"),
            ("alarm = [\"l2\"]", "alarm = [\"l3\"]", "tasks[0].alarm"),
            ("threshold = 0.5", "threshold = nan", "tasks[0].threshold"),
            ("temperature = 1.0", "temperature = 0.0", "tasks[0].temperature"),
            ("file = \"model.onnx\"", "file = \"../model.onnx\"", "variants[0].file"),
            ("file = \"model.onnx\"", "file = \"/etc/passwd\"", "variants[0].file"),
            ("file = \"golden.json\"", "file = \".hidden\"", "golden.file"),
            ("parameters = 85\n", "", "variants[0].parameters"),
            ("tolerance = 1e-4", "tolerance = -1.0", "golden.tolerance"),
            ("tolerance = 1e-4", "tolerance = 1e-4\nunknown = 1", ""),
        ] {
            let found = faults(GOOD, from, to);
            assert!(found.iter().any(|found| found == key), "{to:?}: {found:?}");
        }
        let digest = Manifest::parse(&GOOD.replace("sha256 = \"", "sha256 = \"x"));
        assert_eq!(digest.unwrap_err().len(), 2);
    }

    #[test]
    fn a_tagger_says_what_it_marks_and_which_files_it_needs() {
        let manifest = Manifest::parse(TAGGER).unwrap();
        let tags = manifest.tags.as_ref().unwrap();
        assert!(manifest.tasks.is_empty() && tags.classes() == 5);
        let [output] = manifest.spec().outputs.try_into().unwrap();
        assert_eq!((&*output.name, output.width.at(16), output.width.at(32)), ("tags", 20, 40));
        let files: Vec<_> = manifest.companions().map(|(beside, most)| (&*beside.file, most)).collect();
        assert_eq!(files, [("known.bin", KNOWN_BYTES_MAX), ("vocabulary.json", VOCABULARY_BYTES_MAX)]);
    }

    #[test]
    fn each_wrong_key_of_a_tagger_is_named() {
        let task = "[[tasks]]\noutput = \"y\"\nlabels = [\"a\", \"b\"]\nthreshold = 0.5\n[scope]";
        for (from, to, key) in [
            ("split = \"space\"", "split = \"none\"", "input.encoder.split"),
            ("dims = 1024", "dims = 2", "input.encoder.dims"),
            ("n_min = 3", "n_min = 4", "input.encoder"),
            ("grams = 4", "grams = 2", "input.encoder.grams"),
            ("grams = 4", "grams = 65", "input.encoder.grams"),
            ("lengths = [4, 8]", "lengths = [8, 4]", "input.encoder.lengths"),
            ("lengths = [4, 8]", "lengths = [4, 513]", "input.encoder.lengths"),
            ("lengths = [4, 8]", "lengths = [4, 8], vocabulary = 3", ""),
            ("\"Activity\"]", "\"Item\"]", "tags.types[1]"),
            (
                "types = [",
                "types = [\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", ",
                "tags.types[0]",
            ),
            ("types = [\"Item\", \"Activity\"]", "types = []", "tags.types"),
            ("threshold = 0.6", "threshold = 1.6", "tags.threshold"),
            ("threshold = 0.6", "temperature = 0.0\nthreshold = 0.6", "tags.temperature"),
            ("threshold = 0.6", "threshold = 0.6\noutside_bias = nan", "tags.outside_bias"),
            ("[\"email\"]", "[\"e-mail\"]", "tags.rules"),
            ("[\"email\"]", "[\"email\", \"email\"]", "tags.rules"),
            ("\"vocabulary.json\"", "\"../vocabulary.json\"", "tags.vocabulary.file"),
            ("output = \"tags\"\n", "", "tags.output"),
            ("[scope]", task, "tags"),
            ("\nn = 3", "\nn = 9", "scope.n"),
            ("file = \"known.bin\"\n", "", "scope.file"),
            ("kind = \"report\"", "kind = \"sensor\"", "tags"),
            ("\"word-grams\"", "\"char-ngrams\"", "tags"),
            ("\"word-grams\"", "\"tokens\"", "input.encoder.type"),
        ] {
            let found = faults(TAGGER, from, to);
            assert!(found.iter().any(|found| found == key), "{to:?}: {found:?}");
        }
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let found = Manifest::parse("").unwrap_err();
        let keys: Vec<&str> = found.iter().map(|fault| fault.key.as_str()).collect();
        for key in
            ["name", "version", "kind", "input.tensor", "input.features", "tasks", "variants", "golden.file"]
        {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        assert!(Manifest::parse(&" ".repeat(MANIFEST_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn what_is_said_of_a_manifest_fits_into_a_line_of_the_log() {
        let types = "types = [\"Item\", \"Activity\"]";
        for hostile in [
            format!("types = [{}]", "\"\",".repeat(60_000)),
            format!("types = [{}]", format!("\"{}\",", "x".repeat(60_000)).repeat(3)),
            format!("\"{}\\u001b\" = 1", "k".repeat(100_000)),
        ] {
            let text = TAGGER.replacen(types, &hostile, 1);
            assert!(text.len() <= MANIFEST_BYTES_MAX && text != TAGGER);
            let faults = Manifest::parse(&text).unwrap_err();
            let line: String = faults.iter().map(ToString::to_string).collect();
            assert!(line.len() < 20_000 && !line.contains(char::is_control), "{} bytes", line.len());
        }
    }
}
