//! Whether a model may be loaded: digests, size, cost predicted without running it, golden vectors.
//!
//! # Invariants
//! Nothing is parsed before its digest is right. Nothing is run before its predicted cost is within the limits.
//!
//! # Why
//! Called in a short-lived child process (`io::admission`): some malformed graphs overflow the stack, which no
//! `catch_unwind` stops, and some quantised graphs load well and compute nonsense, which only golden vectors show.

mod cost;
mod golden;
mod outline;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::infer::admission::cost::ThreadTime;
pub use crate::infer::admission::golden::Encode;
pub use crate::infer::admission::outline::{Excess, OutlineLimits};

use crate::infer::admission::golden::{Golden, Rounds, golden_error};
use crate::infer::digest::Digest;
use crate::infer::engine::{Draft, EngineError};
use crate::infer::manifest::{Encoding, Manifest, ManifestFault, Variant};
use crate::infer::model::Model;

/// Inputs judged in one run at most.
///
/// Per input, eight at once take 0.21 of the time of eight one by one for `hydraulic-condition`, 0.5 for `failure-mode`,
/// 0.35 to 0.57 for `excavator-triage` and 0.75 to 1 for `work-order-entities`, by the length of its rows (fastest runs
/// of `tidegate model bench`, release build, x86-64). Sixteen gained little more for an earlier `failure-mode`.
pub const BATCH_MAX: usize = 8;

/// Inputs from which on one run is worth it: the plan always computes [`BATCH_MAX`] rows, and that takes as long as
/// 1.7 single runs of `hydraulic-condition`, 4.2 of `failure-mode`, 2.8 to 4.6 of `excavator-triage` and 6 to 8 of
/// `work-order-entities`, which gains nothing by it. Fewer are judged one by one.
pub const BATCH_MIN: usize = 6;

/// What a model may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Bytes of one file. Loading takes about twice that much memory for a moment.
    pub file_bytes: u64,
    /// What is counted before the library reads a file.
    pub outline: OutlineLimits,
    /// Numbers in one network.
    pub parameters: u64,
    /// Multiply-adds per item. A Cortex-A53 does about 10^9 a second on one core.
    pub operations: u64,
    /// Constants and scratch of one variant, in bytes, over all plans.
    pub memory_bytes: u64,
    /// Cases in a golden file.
    pub golden_cases: usize,
    /// Batch sizes a plan is made for, ascending. The first must work; others are left out where they do not.
    pub batches: Vec<usize>,
    /// Bytes the plans of further batch sizes may add. Each packs the weights once more, and a network that large
    /// is bound by its arithmetic, which a batch does not save.
    pub batch_memory_bytes: u64,
    /// Multiply-adds of a whole batch: 20 ms on a Cortex-A53 core, by which an input may be held up by the others of its
    /// batch. Above it a batch also gains nothing: eight texts of a tagger take six to eight times as long as one.
    pub batch_operations: u64,
}

/// What was found out about a model. Numbers and names only: it comes from a process that is not trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionReport {
    /// `name@version`.
    pub model: String,
    /// Digest of the manifest the child read.
    pub manifest_sha256: Digest,
    /// Digest of the golden file the child read.
    pub golden_sha256: Digest,
    /// One per variant of the manifest, in its order.
    pub variants: Vec<VariantReport>,
}

/// What was found out about one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantReport {
    /// Its name.
    pub name: String,
    /// Digest of the file the child read.
    pub sha256: Digest,
    /// Numbers in the network.
    pub parameters: u64,
    /// Multiply-adds per item.
    pub operations: u64,
    /// Constants of all plans, shared tables once, plus the scratch of the largest, in bytes.
    pub memory_bytes: u64,
    /// Heap it keeps once loaded and run, in bytes, as measured; 0 where the allocator does not count.
    pub memory_measured: u64,
    /// Most heap while it was loaded, its file and what it keeps included; 0 where the allocator does not count.
    pub load_peak: u64,
    /// Processor time of one golden case, in nanoseconds.
    pub spent_nanos: u64,
    /// Batch sizes that are worth their memory and reproduce the golden vectors, ascending.
    pub batches: Vec<usize>,
    /// Golden cases replayed.
    pub golden_cases: u64,
    /// Largest difference of a logit, relative to its size where that is above 1.
    pub golden_error_max: f32,
}

/// Why a model is not admitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdmissionError {
    /// The manifest is wrong.
    #[error("the manifest has {} faults: {}; correct it", .faults.len(), list(.faults))]
    Manifest {
        /// All of them.
        faults: Vec<ManifestFault>,
    },
    /// A file is not there or cannot be read.
    #[error("model {model}: {file} cannot be read: copy the model again")]
    Missing {
        /// `name@version`.
        model: Arc<str>,
        /// Name of the file.
        file: Arc<str>,
    },
    /// A file is not the one the manifest was written for.
    #[error("model {model}: {file} has digest {found}, the manifest says {expected}: copy the model again")]
    Digest {
        /// `name@version`.
        model: Arc<str>,
        /// Name of the file.
        file: Arc<str>,
        /// In the manifest.
        expected: Digest,
        /// Of the file.
        found: Digest,
    },
    /// It costs more than it may.
    #[error(
        "model {model}: {file} takes {found} {what}, allowed are {limit}: use a smaller model or raise the budget"
    )]
    Cost {
        /// `name@version`.
        model: Arc<str>,
        /// Name of the file.
        file: Arc<str>,
        /// Of what.
        what: &'static str,
        /// As found.
        found: u64,
        /// At most.
        limit: u64,
    },
    /// The graph cannot be used.
    #[error(
        "model {model}: {file} cannot be used: export it again as ONNX opset 9 to 18 with shapes [items, n] and its weights inside, see docs/models.md"
    )]
    Graph {
        /// `name@version`.
        model: Arc<str>,
        /// Name of the file.
        file: Arc<str>,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The golden vectors are wrong or the graph does not reproduce them.
    #[error("model {model}: {file}: {why}: export model and golden vectors together")]
    Golden {
        /// `name@version`.
        model: Arc<str>,
        /// Name of the golden file or of the graph.
        file: Arc<str>,
        /// What is wrong.
        why: String,
    },
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            outline: OutlineLimits::default(),
            parameters: 50_000_000,
            operations: 500_000_000,
            memory_bytes: 256 << 20,
            golden_cases: 1000,
            batches: vec![1, BATCH_MAX],
            batch_memory_bytes: 16 << 20,
            batch_operations: 20_000_000,
        }
    }
}

/// Examines every variant of a model. `files` gives the bytes of a file beside the manifest, `encode` makes numbers of
/// reports; `step` is told what is about to be done, so that a process that dies leaves word of where.
pub fn examine(
    manifest_text: &str,
    files: &dyn Fn(&str) -> Option<Vec<u8>>,
    limits: &AdmissionLimits,
    encode: Encode<'_>,
    thread_time: ThreadTime<'_>,
    step: &mut dyn FnMut(&str),
) -> Result<AdmissionReport, AdmissionError> {
    step("read the manifest");
    let manifest = Manifest::parse(manifest_text).map_err(|faults| AdmissionError::Manifest { faults })?;
    let manifest = Arc::new(manifest);
    step("check the digests");
    let read = |file, expected, most| trusted(&manifest, file, expected, files, most);
    let golden_bytes = read(&manifest.golden.file, manifest.golden.sha256, limits.file_bytes)?;
    let mut graphs = Vec::new();
    for variant in &manifest.variants {
        graphs.push(read(&variant.file, variant.sha256, limits.file_bytes)?);
    }
    for (companion, most) in manifest.companions() {
        read(&companion.file, companion.sha256, most)?;
    }
    step("read the golden vectors");
    let golden = Golden::read(&manifest, &golden_bytes, limits, encode)?;
    let mut variants = Vec::new();
    for (variant, bytes) in manifest.variants.iter().zip(&graphs) {
        let mut found = examine_variant(&manifest, variant, bytes, &golden, limits, step)?;
        step(&format!("measure {}", variant.file));
        let measured =
            cost::measure(&manifest, bytes, &found.batches, &golden, thread_time).map_err(|source| {
                AdmissionError::Graph { model: manifest.id().clone(), file: variant.file.clone(), source }
            })?;
        (found.memory_measured, found.load_peak) = (measured.kept, measured.peak);
        found.spent_nanos = u64::try_from(measured.spent.as_nanos()).unwrap_or(u64::MAX);
        variants.push(found);
    }
    Ok(AdmissionReport {
        model: manifest.id().to_string(),
        manifest_sha256: Digest::of(manifest_text.as_bytes()),
        golden_sha256: Digest::of(&golden_bytes),
        variants,
    })
}

/// Bytes of a file whose size and digest are right.
fn trusted(
    manifest: &Manifest,
    file: &Arc<str>,
    expected: Digest,
    files: &dyn Fn(&str) -> Option<Vec<u8>>,
    bytes_max: u64,
) -> Result<Vec<u8>, AdmissionError> {
    let model = manifest.id();
    let missing = || AdmissionError::Missing { model: model.clone(), file: file.clone() };
    let bytes = files(file).ok_or_else(missing)?;
    within(manifest, file, "bytes", bytes.len() as u64, bytes_max)?;
    let found = Digest::of(&bytes);
    if found == expected {
        Ok(bytes)
    } else {
        Err(AdmissionError::Digest { model: model.clone(), file: file.clone(), expected, found })
    }
}

fn within(
    manifest: &Manifest,
    file: &Arc<str>,
    what: &'static str,
    found: u64,
    limit: u64,
) -> Result<(), AdmissionError> {
    if found <= limit {
        return Ok(());
    }
    Err(AdmissionError::Cost { model: manifest.id().clone(), file: file.clone(), what, found, limit })
}

fn examine_variant(
    manifest: &Arc<Manifest>,
    variant: &Variant,
    bytes: &[u8],
    golden: &Golden,
    limits: &AdmissionLimits,
    step: &mut dyn FnMut(&str),
) -> Result<VariantReport, AdmissionError> {
    let file = &variant.file;
    let graph = |source| AdmissionError::Graph { model: manifest.id().clone(), file: file.clone(), source };
    step(&format!("count the parts of {file}"));
    let outline = limits.outline.check(bytes);
    outline.or_else(|Excess { what, found, limit }| within(manifest, file, what, found, limit))?;
    step(&format!("parse {file}"));
    let draft = Draft::parse(&manifest.spec(), bytes).map_err(graph)?;
    step(&format!("predict the cost of {file}"));
    let single = predict(manifest, &draft, limits.batches.get(..1).unwrap_or(&[])).map_err(graph)?;
    within(manifest, file, "parameters", single.parameters, limits.parameters)?;
    within(manifest, file, "multiply-adds per item", single.operations, limits.operations)?;
    within(manifest, file, "bytes of memory", single.memory_bytes, limits.memory_bytes)?;
    let (mut batches, whole) = affordable(manifest, &draft, &single, limits);
    drop(draft);
    step(&format!("load {file}"));
    let loaded = Model::load(Arc::clone(manifest), bytes, &batches);
    let mut model = match loaded {
        Err(_) if batches.len() > 1 => {
            batches.truncate(1);
            Model::load(Arc::clone(manifest), bytes, &batches)
        }
        loaded => loaded,
    }
    .map_err(graph)?;
    step(&format!("replay the golden vectors on {file}"));
    let mut golden_error_max = 0.0_f32;
    let mut proven = Vec::new();
    for &items in &batches {
        match golden.replay(manifest, variant, &mut model, Rounds::Batches(items)) {
            Ok(error) => {
                golden_error_max = golden_error_max.max(error);
                proven.push(items);
            }
            Err(error) if proven.is_empty() => return Err(error),
            // The rows of a batch are not independent in this graph.
            Err(_) => {}
        }
    }
    if let Encoding::WordGrams(words) = &manifest.input.encoding {
        let longest = Rounds::Padded(words.words_max() * words.grams);
        golden_error_max = golden_error_max.max(golden.replay(manifest, variant, &mut model, longest)?);
        let nothing = vec![0.0; words.rows().next().unwrap_or(0)];
        model.replay(&[&nothing], &mut || false).map_err(|error| {
            let why = format!("a report without words: {error}; divide by the number of words, at least 1");
            golden_error(manifest, file, why)
        })?;
    }
    let cost = if proven.len() > 1 { whole } else { single };
    Ok(VariantReport {
        name: variant.name.to_string(),
        sha256: variant.sha256,
        parameters: cost.parameters,
        operations: cost.operations,
        memory_bytes: cost.memory_bytes,
        memory_measured: 0,
        load_peak: 0,
        spent_nanos: 0,
        batches: proven,
        golden_cases: golden.len() as u64,
        golden_error_max,
    })
}

/// What a variant costs with a plan for each of some batch sizes.
#[derive(Clone, Copy)]
struct Cost {
    parameters: u64,
    /// Per item.
    operations: u64,
    memory_bytes: u64,
}

/// The first batch size and the others that are worth their memory and hold nothing up; what they cost together.
fn affordable(
    manifest: &Manifest,
    draft: &Draft,
    single: &Cost,
    limits: &AdmissionLimits,
) -> (Vec<usize>, Cost) {
    let (first, wider) = limits.batches.split_at(limits.batches.len().min(1));
    let (mut batches, mut cost) = (first.to_vec(), *single);
    for &items in wider {
        let more = [batches.as_slice(), &[items]].concat();
        // A graph made for one row at a time is no worse for it.
        let Ok(whole) = predict(manifest, draft, &more) else { continue };
        let added = whole.memory_bytes.saturating_sub(single.memory_bytes);
        let operations = whole.operations.saturating_mul(items as u64);
        if added <= limits.batch_memory_bytes
            && whole.memory_bytes <= limits.memory_bytes
            && operations <= limits.batch_operations
        {
            (batches, cost) = (more, whole);
        }
    }
    (batches, cost)
}

fn predict(manifest: &Manifest, draft: &Draft, batches: &[usize]) -> Result<Cost, EngineError> {
    let (mut parameters, mut operations, mut scratch) = (0_u64, 0_u64, 0_u64);
    let (mut constants, mut tables) = (0_u64, 0_u64);
    for bucket in manifest.buckets(batches) {
        let footprint = draft.footprint(bucket)?;
        constants = constants.saturating_add(footprint.parameter_bytes - footprint.table_bytes);
        tables = tables.max(footprint.table_bytes);
        scratch = scratch.max(footprint.scratch_bytes);
        parameters = parameters.max(footprint.parameters);
        let items = u64::try_from(bucket.items).unwrap_or(1).max(1);
        operations = operations.max(footprint.operations.div_ceil(items));
    }
    let memory_bytes = constants.saturating_add(tables).saturating_add(scratch);
    Ok(Cost { parameters, operations, memory_bytes })
}

fn list(faults: &[ManifestFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = include_str!("../../tests/golden/models/dense-pair/manifest.toml");
    const GRAPH: &[u8] = include_bytes!("../../tests/golden/models/dense-pair/model.onnx");
    const GOLDEN: &str = include_str!("../../tests/golden/models/dense-pair/golden.json");

    fn no_time() -> std::time::Duration {
        std::time::Duration::ZERO
    }

    const NO_TEXT: Encode<'_> = &|_, _| None;

    /// Examines the good model with another golden file, its digest corrected.
    fn with_golden(golden: &str, limits: &AdmissionLimits) -> Result<AdmissionReport, AdmissionError> {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let manifest = MANIFEST.replace(&digest(GOLDEN), &digest(golden));
        let files = |name: &str| match name {
            "model.onnx" => Some(GRAPH.to_vec()),
            "golden.json" => Some(golden.as_bytes().to_vec()),
            _ => None,
        };
        examine(&manifest, &files, limits, NO_TEXT, &no_time, &mut |_| ())
    }

    #[test]
    fn a_good_model_is_admitted_with_its_cost_in_every_plan() {
        let limits = AdmissionLimits { batches: vec![1, 4], ..AdmissionLimits::default() };
        let report = with_golden(GOLDEN, &limits).unwrap();
        let [variant] = report.variants.as_slice() else { panic!("one variant") };
        assert_eq!((variant.operations, variant.golden_cases), (72, 6));
        assert!(variant.golden_error_max < 1e-5, "{variant:?}");
        assert_eq!(variant.batches, [1, 4]);
        let alone = AdmissionLimits { batches: vec![1], ..AdmissionLimits::default() };
        let single = with_golden(GOLDEN, &alone).unwrap();
        assert!(variant.memory_bytes > single.variants[0].memory_bytes + 340, "the weights twice");
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<AdmissionReport>(&text).unwrap(), report);
    }

    #[test]
    fn a_batch_that_is_too_dear_or_wrong_is_left_out_and_the_model_admitted() {
        let default = AdmissionLimits::default;
        let whole = with_golden(GOLDEN, &default()).unwrap().variants.remove(0);
        assert_eq!(whole.batches, [1, BATCH_MAX]);
        let single = AdmissionLimits { batches: vec![1], ..default() };
        let single = with_golden(GOLDEN, &single).unwrap().variants.remove(0);
        let added = whole.memory_bytes - single.memory_bytes;
        for (limits, batches) in [
            (AdmissionLimits { batch_memory_bytes: added, ..default() }, &[1, 8][..]),
            (AdmissionLimits { batch_memory_bytes: added - 1, ..default() }, &[1]),
            (AdmissionLimits { memory_bytes: whole.memory_bytes - 1, ..default() }, &[1]),
            (AdmissionLimits { batch_operations: 8 * 72, ..default() }, &[1, 8]),
            (AdmissionLimits { batch_operations: 8 * 72 - 1, ..default() }, &[1]),
        ] {
            let variant = with_golden(GOLDEN, &limits).unwrap().variants.remove(0);
            assert_eq!(variant.batches, batches, "{limits:?}");
            let memory = if batches.len() > 1 { whole.memory_bytes } else { single.memory_bytes };
            assert_eq!(variant.memory_bytes, memory, "{limits:?}");
        }
        for (manifest, graph, golden) in [
            (
                include_str!("../../tests/golden/models/one-row/manifest.toml"),
                &include_bytes!("../../tests/golden/models/one-row/model.onnx")[..],
                &include_bytes!("../../tests/golden/models/one-row/golden.json")[..],
            ),
            (
                include_str!("../../tests/golden/models/rows-mixed/manifest.toml"),
                &include_bytes!("../../tests/golden/models/rows-mixed/model.onnx")[..],
                &include_bytes!("../../tests/golden/models/rows-mixed/golden.json")[..],
            ),
        ] {
            let files = |name: &str| Some(if name == "model.onnx" { graph } else { golden }.to_vec());
            let report = examine(manifest, &files, &default(), NO_TEXT, &no_time, &mut |_| ()).unwrap();
            assert_eq!(report.variants[0].batches, [1], "{}", report.model);
        }
    }

    #[test]
    fn what_costs_more_than_allowed_is_refused_by_name() {
        let default = AdmissionLimits::default;
        for (limits, what) in [
            (AdmissionLimits { file_bytes: 634, ..default() }, "bytes, allowed are 634"),
            (AdmissionLimits { parameters: 84, ..default() }, "parameters, allowed are 84"),
            (AdmissionLimits { operations: 71, ..default() }, "72 multiply-adds per item, allowed are 71"),
            (AdmissionLimits { memory_bytes: 340, ..default() }, "bytes of memory, allowed are 340"),
        ] {
            let refused = with_golden(GOLDEN, &limits).unwrap_err().to_string();
            assert!(refused.contains(what), "{refused:?} does not contain {what:?}");
            assert!(refused.starts_with("model dense-pair@1.0.0: "), "{refused}");
        }
    }

    #[test]
    fn nothing_is_parsed_before_every_digest_is_right() {
        for (flipped, file) in [(Some(0), "model.onnx"), (None, "golden.json")] {
            let files = |name: &str| {
                let mut bytes =
                    if name == "model.onnx" { GRAPH.to_vec() } else { GOLDEN.as_bytes().to_vec() };
                if name == file {
                    bytes[flipped.unwrap_or(9)] ^= 1;
                }
                Some(bytes)
            };
            let mut steps = Vec::new();
            let refused =
                examine(MANIFEST, &files, &AdmissionLimits::default(), NO_TEXT, &no_time, &mut |step| {
                    steps.push(step.to_owned());
                });
            let refused = refused.unwrap_err();
            assert!(
                matches!(&refused, AdmissionError::Digest { file: found, .. } if **found == *file),
                "{refused}"
            );
            assert_eq!(steps, ["read the manifest", "check the digests"]);
        }
        let missing =
            examine(MANIFEST, &|_| None, &AdmissionLimits::default(), NO_TEXT, &no_time, &mut |_| ());
        assert!(matches!(missing, Err(AdmissionError::Missing { .. })));
    }

    #[test]
    fn golden_vectors_that_do_not_fit_or_are_not_reproduced_are_refused() {
        let few = AdmissionLimits { golden_cases: 5, ..AdmissionLimits::default() };
        let refused = with_golden(GOLDEN, &few).unwrap_err().to_string();
        assert!(refused.contains("6 cases, allowed are 1 to 5"), "{refused}");
        for (golden, why) in [
            (GOLDEN.replacen("\"input\":[", "\"input\":[1.0,", 1), "case 0 has 5 inputs"),
            (GOLDEN.replacen("\"leak\":[", "\"leak\":[1.0,", 1), "case 0 has 3 values of leak, not 2"),
            (GOLDEN.replace("\"leak\"", "\"lek\""), "case 0 has 0 values of leak, not 2"),
            (GOLDEN.replacen("\"input\":[", "\"input\":[0.5,0.5,0.5,0.5],\"was\":[", 1), "unknown field"),
            ("{\"cases\":[]}".to_owned(), "0 cases"),
            ("[[".repeat(500), "golden.json"),
        ] {
            let refused = with_golden(&golden, &AdmissionLimits::default()).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused:?} does not contain {why:?}");
        }
    }
}
