//! One loaded model: its manifest, its engine and the way from an input to judgements.

use std::sync::Arc;

use crate::flow::{FailureReason, Judgement};
use crate::infer::engine::{Engine, EngineError, RunError};
use crate::infer::judge::{Evidence, judge, normalise, quantise};
use crate::infer::manifest::{Encoding, Manifest, Quantisation};
use crate::infer::tensor::{Dtype, Input, Outputs, Rows};

/// An input as its room hands it over.
#[derive(Clone, Copy)]
pub enum ModelInput<'a> {
    /// Features of a window in the order of the manifest's layout, NaN where missing.
    Features {
        /// One value per feature.
        values: &'a [f32],
        /// Share of the window that is real, 0 to 1.
        completeness: Option<f32>,
    },
    /// The n-gram vector of a report.
    Vector {
        /// One value per dimension.
        values: &'a [f32],
        /// Share of its n-grams seen in training, where that is known, 0 to 1.
        known_share: Option<f32>,
    },
    /// Token ids of a report.
    Tokens(&'a [i64]),
}

/// A model that is loaded and ready.
pub struct Model {
    manifest: Arc<Manifest>,
    engine: Engine,
    row: Row,
}

/// The input of the graph in whatever type it takes, kept from run to run.
#[derive(Default)]
struct Row {
    length: usize,
    dtype: Option<Dtype>,
    normalised: Vec<f32>,
    ids: Vec<i64>,
    signed: Vec<i8>,
    unsigned: Vec<u8>,
}

impl Model {
    /// Loads the bytes of one variant, with one plan for each batch size. Whoever calls this has admitted them.
    pub fn load(manifest: Arc<Manifest>, bytes: &[u8], batches: &[usize]) -> Result<Self, EngineError> {
        let engine = Engine::load(&manifest.spec(), bytes, &manifest.buckets(batches))?;
        Ok(Self { manifest, engine, row: Row::default() })
    }

    /// What it is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Judges one input: one judgement per task, in the order of the manifest. Asks `expired` between nodes.
    pub fn judge(
        &mut self,
        input: &ModelInput<'_>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Judgement>, FailureReason> {
        let Self { manifest, engine, row } = self;
        let evidence = row.encode(manifest, input).ok_or(FailureReason::Errored)?;
        let outputs = row.run(engine, 1, expired).map_err(failure)?;
        let mut judgements = Vec::with_capacity(manifest.tasks.len());
        for (index, task) in manifest.tasks.iter().enumerate() {
            let logits = outputs.f32(index, 0).ok_or(FailureReason::Errored)?;
            judgements.push(judge(task, logits, manifest.scope, manifest.input.min_completeness, &evidence));
        }
        Ok(judgements)
    }

    /// Runs inputs that are already normalised (or token ids), all of one length, in one batch. For golden
    /// vectors and measurements.
    pub fn replay(
        &mut self,
        inputs: &[&[f64]],
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<&Outputs, RunError> {
        let Self { manifest, engine, row } = self;
        row.start(manifest, inputs.first().map_or(0, |input| input.len()));
        for input in inputs {
            match &manifest.input.encoding {
                Encoding::Features { quantisation, .. } => {
                    #[expect(clippy::cast_possible_truncation, reason = "golden inputs are f32 in decimal")]
                    row.normalised.extend(input.iter().map(|value| *value as f32));
                    row.quantise(*quantisation);
                }
                Encoding::CharNgrams { .. } => {
                    #[expect(clippy::cast_possible_truncation, reason = "golden inputs are f32 in decimal")]
                    row.normalised.extend(input.iter().map(|value| *value as f32));
                }
                Encoding::Tokens { .. } => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "golden token ids are small integers"
                    )]
                    row.ids.extend(input.iter().map(|value| *value as i64));
                }
            }
        }
        row.run(engine, inputs.len(), expired)
    }
}

impl Row {
    fn start(&mut self, manifest: &Manifest, length: usize) {
        self.length = length;
        self.dtype = Some(manifest.input.dtype());
        self.normalised.clear();
        self.ids.clear();
        self.signed.clear();
        self.unsigned.clear();
    }

    /// Turns an input into what the graph takes; `None` if it is not what the manifest asks for.
    fn encode(&mut self, manifest: &Manifest, input: &ModelInput<'_>) -> Option<Evidence> {
        match (&manifest.input.encoding, input) {
            (
                Encoding::Features { features, normalisation, quantisation, .. },
                ModelInput::Features { values, completeness },
            ) => {
                if values.len() != features.len() {
                    return None;
                }
                self.start(manifest, values.len());
                let distance = normalise(values, normalisation, &mut self.normalised);
                self.quantise(*quantisation);
                let missing = values.iter().filter(|value| value.is_nan()).count();
                let missing_share = missing as f32 / values.len().max(1) as f32;
                let distance = Some(distance);
                Some(Evidence { completeness: *completeness, missing_share, distance, known_share: None })
            }
            (Encoding::CharNgrams { dims, .. }, ModelInput::Vector { values, known_share }) => {
                if values.len() != *dims as usize {
                    return None;
                }
                self.start(manifest, values.len());
                self.normalised.extend_from_slice(values);
                Some(Evidence { known_share: *known_share, ..Evidence::default() })
            }
            (Encoding::Tokens { lengths, vocabulary }, ModelInput::Tokens(ids)) => {
                let kept = ids.len().min(lengths.last().copied().unwrap_or(0));
                self.start(manifest, kept.max(1));
                // An id beyond the table would panic inside the graph.
                let known = |id: &i64| (0..i64::from(*vocabulary)).contains(id);
                self.ids.extend(ids.iter().take(kept).map(|id| if known(id) { *id } else { 0 }));
                if kept == 0 {
                    self.ids.push(0);
                }
                Some(Evidence::default())
            }
            (
                Encoding::Features { .. } | Encoding::CharNgrams { .. } | Encoding::Tokens { .. },
                ModelInput::Features { .. } | ModelInput::Vector { .. } | ModelInput::Tokens(_),
            ) => None,
        }
    }

    /// Makes bytes of the normalised row that was added last, for graphs that take bytes.
    fn quantise(&mut self, by: Option<Quantisation>) {
        let Some(by) = by else { return };
        match by.dtype {
            Dtype::I8 => {
                let bytes = self.normalised.iter().skip(self.signed.len());
                let byte = |value: &f32| i8::try_from(quantise(*value, by, (-128, 127))).unwrap_or(0);
                self.signed.extend(bytes.map(byte));
            }
            Dtype::U8 => {
                let bytes = self.normalised.iter().skip(self.unsigned.len());
                let byte = |value: &f32| u8::try_from(quantise(*value, by, (0, 255))).unwrap_or(0);
                self.unsigned.extend(bytes.map(byte));
            }
            Dtype::F32 | Dtype::I64 => {}
        }
    }

    fn run<'a>(
        &self,
        engine: &'a mut Engine,
        items: usize,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<&'a Outputs, RunError> {
        let rows = match self.dtype.ok_or(RunError::Shape)? {
            Dtype::F32 => Rows::F32(&self.normalised),
            Dtype::I64 => Rows::I64(&self.ids),
            Dtype::I8 => Rows::I8(&self.signed),
            Dtype::U8 => Rows::U8(&self.unsigned),
        };
        engine.run(&Input { items, length: self.length, ports: &[rows] }, expired)
    }
}

fn failure(error: RunError) -> FailureReason {
    match error {
        RunError::Deadline => FailureReason::Deadline,
        RunError::Panicked => FailureReason::Panicked,
        RunError::NonFinite { .. } => FailureReason::NonFinite,
        RunError::Shape | RunError::Failed => FailureReason::Errored,
    }
}
