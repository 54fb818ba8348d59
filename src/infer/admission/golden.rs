//! Golden vectors: what goes into a model, what comes out of it, and what that means, from raw input to word.
//!
//! # Why
//! Numbers in and numbers out show a graph that computes nonsense, but neither labels in another order nor another
//! normalisation: those change what the numbers mean. So a case may also say what it was made of and what it is
//! called, and both go through the gateway's own code.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::infer::admission::{AdmissionError, AdmissionLimits};
use crate::infer::judge::normalise;
use crate::infer::manifest::{Encoding, Manifest, Normalisation, Task, Variant};
use crate::infer::model::Model;

/// Makes the numbers a graph takes of a report, without padding; `None` if the manifest's encoder cannot.
pub type Encode<'a> = &'a dyn Fn(&Manifest, &str) -> Option<Vec<f64>>;

/// Difference of an input made here and the one in the file, relative to its size where that is above 1: the
/// recipes compute in 64 bits and write nine digits.
const INPUT_TOLERANCE: f64 = 1e-4;

/// Roundings of 32-bit arithmetic between a feature and its normalised value.
const ROUNDINGS: f64 = 4.0;

/// Cases that fit the manifest.
pub(crate) struct Golden {
    cases: Vec<Case>,
}

struct Case {
    /// As the graph takes it.
    input: Vec<f64>,
    outputs: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGolden {
    /// The labels of each task in the order of its output.
    #[serde(default)]
    labels: BTreeMap<String, Vec<String>>,
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    /// Features before normalisation, null where missing.
    raw: Option<Vec<Option<f64>>>,
    /// The report.
    text: Option<String>,
    /// What the graph takes; may be left out where it can be made.
    input: Option<Vec<f64>>,
    outputs: BTreeMap<String, Vec<f64>>,
    /// The answer to each task, as a word.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// An input as the service makes it.
struct Made {
    row: Vec<f64>,
    /// How far each number may be from the one in the file.
    allowed: Vec<f64>,
}

/// How the cases are put to a graph.
#[derive(Clone, Copy)]
pub(crate) enum Rounds {
    /// So many in one run.
    Batches(usize),
    /// One by one, each padded to a longer row: a graph must not look at padding.
    Padded(usize),
}

impl Golden {
    /// Reads the golden file and compares it with the manifest.
    pub(crate) fn read(
        manifest: &Manifest,
        bytes: &[u8],
        limits: &AdmissionLimits,
        encode: Encode<'_>,
    ) -> Result<Self, AdmissionError> {
        let fault = |why: String| golden_error(manifest, &manifest.golden.file, why);
        let golden: RawGolden = serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        if !(1..=limits.golden_cases).contains(&golden.cases.len()) {
            let (found, limit) = (golden.cases.len(), limits.golden_cases);
            return Err(fault(format!("{found} cases, allowed are 1 to {limit}")));
        }
        check_order(manifest, &golden.labels).map_err(fault)?;
        let mut cases = Vec::new();
        for (index, case) in golden.cases.into_iter().enumerate() {
            let case = case.checked(manifest, encode);
            cases.push(case.map_err(|why| fault(format!("case {index}{why}")))?);
        }
        Ok(Self { cases })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.cases.len()
    }

    /// What goes into the graph, case by case.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &[f64]> + Clone {
        self.cases.iter().map(|case| case.input.as_slice())
    }

    /// Replays every case; the largest difference if all are within the tolerance.
    pub(crate) fn replay(
        &self,
        manifest: &Manifest,
        variant: &Variant,
        model: &mut Model,
        rounds: Rounds,
    ) -> Result<f32, AdmissionError> {
        let tolerance = manifest.tolerance(variant);
        let ports = manifest.spec().outputs;
        let mut error_max = 0.0_f32;
        let mut done = 0;
        let (batch, row) = match rounds {
            Rounds::Batches(items) => (items.max(1), 0),
            Rounds::Padded(row) => (1, row),
        };
        let same_length = self.cases.chunk_by(|a, b| a.input.len() == b.input.len());
        for cases in same_length.flat_map(|same| same.chunks(batch)) {
            let padded: Vec<Vec<f64>> = cases.iter().map(|case| padded(&case.input, row)).collect();
            let mut inputs: Vec<&[f64]> = padded.iter().map(Vec::as_slice).collect();
            if batch > 1 && inputs.len() == 1 {
                // A single row would run in the plan for one.
                inputs.extend_from_within(..);
            }
            let outputs = model.replay(&inputs, &mut || false);
            let outputs = outputs
                .map_err(|error| golden_error(manifest, &variant.file, format!("case {done}: {error}")))?;
            for (item, case) in cases.iter().enumerate() {
                for (index, port) in ports.iter().enumerate() {
                    let found = outputs.f32(index, item).unwrap_or(&[]);
                    let found = found.get(..port.width.at(case.input.len())).unwrap_or(found);
                    let expected = case.outputs.get(&*port.name).map_or(&[][..], Vec::as_slice);
                    let error = difference(found, expected);
                    if error > tolerance {
                        let (case, output, with) = (done + item, &port.name, rounds.words());
                        let why =
                            format!("case {case}{with}: {output} differs by {error}, allowed is {tolerance}");
                        return Err(golden_error(manifest, &variant.file, why));
                    }
                    error_max = error_max.max(error);
                }
            }
            done += cases.len();
        }
        Ok(error_max)
    }
}

impl RawCase {
    /// The case as it is replayed, or what is wrong with it in words that follow its number.
    fn checked(self, manifest: &Manifest, encode: Encode<'_>) -> Result<Case, String> {
        let made = self.made(manifest, encode)?;
        let input = match (self.input, made) {
            (Some(input), Some(made)) => {
                made.agrees_with(&input)?;
                input
            }
            (Some(input), None) => input,
            (None, Some(made)) => made.row,
            (None, None) => return Err(" has none of input, raw and text".to_owned()),
        };
        let lengths = manifest.input.lengths();
        if !lengths.contains(&input.len()) {
            return Err(format!(" has {} inputs, not {lengths:?}", input.len()));
        }
        for port in &manifest.spec().outputs {
            let found = self.outputs.get(&*port.name).map_or(0, Vec::len);
            let (output, wanted) = (&port.name, port.width.at(input.len()));
            if found != wanted {
                return Err(format!(" has {found} values of {output}, not {wanted}"));
            }
        }
        check_answers(manifest, &self.outputs, &self.labels)?;
        Ok(Case { input, outputs: self.outputs })
    }

    /// The input made of what the case says it was made of.
    fn made(&self, manifest: &Manifest, encode: Encode<'_>) -> Result<Option<Made>, String> {
        match (&manifest.input.encoding, &self.raw, &self.text) {
            (_, None, None) => Ok(None),
            (Encoding::Features { features, normalisation, .. }, Some(raw), None) => {
                if raw.len() != features.len() {
                    return Err(format!(" has {} raw features, not {}", raw.len(), features.len()));
                }
                Ok(Some(normalised(raw, normalisation)))
            }
            (Encoding::CharNgrams { .. } | Encoding::WordGrams(_), None, Some(text)) => {
                let row = encode(manifest, text).ok_or(": its text cannot be encoded")?;
                let fits = manifest.input.lengths().into_iter().find(|length| *length >= row.len());
                let row = padded(&row, fits.unwrap_or(0));
                let allowed = row.iter().map(|value| INPUT_TOLERANCE * value.abs().max(1.0)).collect();
                Ok(Some(Made { row, allowed }))
            }
            (Encoding::Features { .. }, _, Some(_)) => {
                Err(" has a text, the model takes features".to_owned())
            }
            (Encoding::CharNgrams { .. } | Encoding::WordGrams(_), Some(_), _) => {
                Err(" has raw features, the model takes text".to_owned())
            }
        }
    }
}

/// Features normalised as the service does it, with the error 32-bit arithmetic may make of each.
fn normalised(raw: &[Option<f64>], by: &Normalisation) -> Made {
    #[expect(clippy::cast_possible_truncation, reason = "features are f32 in decimal")]
    let values: Vec<f32> = raw.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect();
    let mut row = Vec::new();
    normalise(&values, by, &mut row);
    let row: Vec<f64> = row.into_iter().map(f64::from).collect();
    let moments = by.mean.iter().zip(&by.std).map(|(mean, std)| (f64::from(*mean), f64::from(*std)));
    let allowed = row.iter().zip(raw).zip(moments).map(|((made, raw), (mean, std))| {
        let rounding = ROUNDINGS * f64::from(f32::EPSILON) * (raw.unwrap_or(0.0).abs() + mean.abs()) / std;
        INPUT_TOLERANCE * made.abs().max(1.0) + rounding
    });
    let allowed = allowed.collect();
    Made { row, allowed }
}

/// What golden files call a task: its name, or its output where it has none.
fn key(task: &Task) -> &str {
    if task.name.is_empty() { &task.output } else { &task.name }
}

/// Compares the order of labels and entity types with the manifest's.
fn check_order(manifest: &Manifest, labels: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for (name, words) in labels {
        let task = manifest.tasks.iter().find(|task| key(task) == name).map(|task| &task.labels);
        let types = manifest.tags.as_ref().filter(|tags| *tags.output == **name).map(|tags| &tags.types);
        let Some(known) = task.or(types) else {
            return Err(format!("labels of {name:?}, which the manifest does not name"));
        };
        let differ = known.iter().zip(words).position(|(known, word)| **known != **word);
        if let Some(index) = differ.or((known.len() != words.len()).then_some(known.len().min(words.len()))) {
            let word = |word: Option<&str>| word.map_or("missing".to_owned(), |word| format!("{word:?}"));
            let (found, wanted) =
                (word(known.get(index).map(|word| &**word)), word(words.get(index).map(String::as_str)));
            return Err(format!("label {index} of {name} is {wanted}, in the manifest {found}"));
        }
    }
    Ok(())
}

/// Compares what each task answers by the outputs with the words of the case.
fn check_answers(
    manifest: &Manifest,
    outputs: &BTreeMap<String, Vec<f64>>,
    labels: &BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, word) in labels {
        let Some(task) = manifest.tasks.iter().find(|task| key(task) == name) else {
            return Err(format!(" has a label of {name:?}, which the manifest does not name"));
        };
        let logits = outputs.get(&*task.output).map_or(&[][..], Vec::as_slice);
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let answer = best.and_then(|(index, _)| task.labels.get(index));
        if answer.is_none_or(|answer| **answer != **word) {
            let answer = answer.map_or("", |answer| &**answer);
            return Err(format!(": {name} is {word:?}, by its outputs and the manifest's labels {answer:?}"));
        }
    }
    Ok(())
}

impl Made {
    /// Whether the input in the file is this one.
    fn agrees_with(&self, input: &[f64]) -> Result<(), String> {
        if input.len() != self.row.len() {
            return Err(format!(" has {} inputs, the gateway makes {} of it", input.len(), self.row.len()));
        }
        for (index, ((input, made), allowed)) in input.iter().zip(&self.row).zip(&self.allowed).enumerate() {
            let difference = (input - made).abs();
            // What is not a number is a difference.
            if difference.is_nan() || difference > *allowed {
                let by = "by [input] of the manifest";
                return Err(format!(": input {index} is {input}, the gateway makes {made} of it {by}"));
            }
        }
        Ok(())
    }
}

impl Rounds {
    /// What is special about them, for messages.
    fn words(self) -> &'static str {
        match self {
            Self::Batches(_) => "",
            Self::Padded(_) => " with words of padding behind it",
        }
    }
}

/// The input with zeros behind it.
fn padded(input: &[f64], length: usize) -> Vec<f64> {
    let mut row = input.to_vec();
    row.resize(length.max(input.len()), 0.0);
    row
}

/// Largest difference of two rows, relative to the expected size where that is above 1.
fn difference(found: &[f32], expected: &[f64]) -> f32 {
    let pairs = found.iter().zip(expected);
    let errors =
        pairs.map(|(found, expected)| (f64::from(*found) - expected).abs() / expected.abs().max(1.0));
    #[expect(clippy::cast_possible_truncation, reason = "a difference is compared, not accumulated")]
    let largest = errors.fold(0.0_f64, f64::max) as f32;
    if found.len() == expected.len() { largest } else { f32::INFINITY }
}

/// A refusal by the golden file or by what it says of a graph.
pub(crate) fn golden_error(manifest: &Manifest, file: &Arc<str>, why: String) -> AdmissionError {
    AdmissionError::Golden { model: manifest.id().clone(), file: file.clone(), why }
}
