//! One loaded model: its manifest, its engine and the way from inputs to judgements.
//!
//! # Invariants
//! An input gets the same answer in a batch as alone. One that makes the graph fail takes no other with it.

use std::sync::Arc;

use crate::flow::{FailureReason, Judgement};
use crate::infer::engine::{Engine, EngineError, RunError};
use crate::infer::judge::{Evidence, judge, normalise, quantise, whitened_distance};
use crate::infer::manifest::{Encoding, Manifest, Quantisation, Scope};
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
    /// Ids of the words of a report and of their n-grams, as many for each word as the manifest says.
    Words {
        /// Word after word.
        ids: &'a [i64],
        /// Share of the report's n-grams seen in training, where that is known, 0 to 1.
        known_share: Option<f32>,
    },
}

/// A model that is loaded and ready.
pub struct Model {
    manifest: Arc<Manifest>,
    engine: Engine,
    rows: RowBuffers,
    /// Inputs one run takes.
    batch_max: usize,
}

/// What is made of one item of a run.
type Read<T> = fn(&Manifest, &Outputs, usize, &Evidence) -> Result<T, FailureReason>;

/// What several inputs in one run came to.
enum Together<T> {
    /// One result per input.
    Judged(Vec<Result<T, FailureReason>>),
    /// They do not fit into one run: one of them is not what the manifest asks for, or their lengths differ.
    Apart,
    /// The run failed, and nobody knows by whose fault.
    Failed,
}

/// The rows of a run in whatever type the graph takes, kept from run to run.
#[derive(Default)]
struct RowBuffers {
    /// Numbers per row.
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
        let batch_max = batches.iter().copied().max().unwrap_or(1);
        Ok(Self { manifest, engine, rows: RowBuffers::default(), batch_max })
    }

    /// How many inputs it can judge in one run.
    pub fn batch_max(&self) -> usize {
        self.batch_max
    }

    /// What it is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Runs rows of nothing at each of its shapes, so that it has all the memory it needs from now on. What comes out does
    /// not matter.
    pub fn warm_up(&mut self) {
        let most = self.batch_max;
        for length in self.manifest.input.lengths() {
            let row = vec![0.0; length];
            for items in [1, most] {
                self.replay(&vec![row.as_slice(); items], &mut || false).ok();
            }
        }
    }

    /// Judges one input: one judgement per task, in the order of the manifest. Asks `expired` between nodes.
    pub fn judge(
        &mut self,
        input: &ModelInput<'_>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Judgement>, FailureReason> {
        self.answer(input, judge_item, expired)
    }

    /// Judges several inputs, in one run where they fit into one: a result for each, in their order. Asks `late` of
    /// an input between nodes and at the end.
    ///
    /// A run that fails is repeated input by input, so that only the one at fault fails.
    pub fn judge_batch(
        &mut self,
        inputs: &[ModelInput<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Vec<Judgement>, FailureReason>> {
        self.answer_batch(inputs, judge_item, late)
    }

    /// The logits of the tags of several rows of words, as [`Self::judge_batch`] judges: for each word of a row as
    /// many as [`Tags::classes`](crate::infer::manifest::Tags::classes) says.
    pub fn tag_batch(
        &mut self,
        inputs: &[ModelInput<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Vec<f32>, FailureReason>> {
        self.answer_batch(inputs, tag_item, late)
    }

    fn answer<T>(
        &mut self,
        input: &ModelInput<'_>,
        read: Read<T>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<T, FailureReason> {
        let Self { manifest, engine, rows, .. } = self;
        let length = row_length(manifest, input).ok_or(FailureReason::Errored)?;
        rows.start(manifest, length);
        let evidence = rows.add(manifest, input).ok_or(FailureReason::Errored)?;
        let outputs = rows.run(engine, 1, expired).map_err(failure)?;
        read(manifest, outputs, 0, &evidence)
    }

    fn answer_batch<T: Clone>(
        &mut self,
        inputs: &[ModelInput<'_>],
        read: Read<T>,
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<T, FailureReason>> {
        let together =
            if inputs.len() > 1 { self.answer_together(inputs, read, late) } else { Together::Apart };
        let failed = match together {
            Together::Judged(judged) => return judged,
            Together::Apart => false,
            Together::Failed => true,
        };
        let alone =
            inputs.iter().enumerate().map(|(item, input)| self.answer(input, read, &mut || late(item)));
        let judged: Vec<_> = alone.collect();
        let blameless = |result: &Result<_, _>| matches!(result, Ok(_) | Err(FailureReason::Deadline));
        if failed && judged.iter().all(blameless) {
            // It is the batch the graph cannot do: no use in trying again.
            self.batch_max = 1;
        }
        judged
    }

    fn answer_together<T: Clone>(
        &mut self,
        inputs: &[ModelInput<'_>],
        read: Read<T>,
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Together<T> {
        let Self { manifest, engine, rows, batch_max } = self;
        if inputs.len() > *batch_max {
            return Together::Apart;
        }
        // All in the plan of the longest: admission has seen that padding changes nothing.
        let lengths: Option<Vec<_>> = inputs.iter().map(|input| row_length(manifest, input)).collect();
        let Some(length) = lengths.and_then(|lengths| lengths.into_iter().max()) else {
            return Together::Apart;
        };
        rows.start(manifest, length);
        let evidence: Option<Vec<_>> = inputs.iter().map(|input| rows.add(manifest, input)).collect();
        let Some(evidence) = evidence else { return Together::Apart };
        // As long as one of them is in time, the run is worth its end.
        let mut expired = || (0..inputs.len()).all(&mut *late);
        let outputs = match rows.run(engine, inputs.len(), &mut expired) {
            Ok(outputs) => outputs,
            Err(RunError::Deadline) => {
                return Together::Judged(vec![Err(FailureReason::Deadline); inputs.len()]);
            }
            Err(RunError::Panicked | RunError::NonFinite { .. } | RunError::Shape | RunError::Failed) => {
                return Together::Failed;
            }
        };
        let judged = evidence.iter().enumerate().map(|(item, evidence)| {
            if late(item) { Err(FailureReason::Deadline) } else { read(manifest, outputs, item, evidence) }
        });
        Together::Judged(judged.collect())
    }

    /// Runs inputs that are already normalised (or ids), all of one length, in one batch. For golden
    /// vectors and measurements.
    pub fn replay(
        &mut self,
        inputs: &[&[f64]],
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<&Outputs, RunError> {
        let Self { manifest, engine, rows, .. } = self;
        rows.start(manifest, inputs.first().map_or(0, |input| input.len()));
        for input in inputs {
            match &manifest.input.encoding {
                Encoding::Features { quantisation, .. } => {
                    #[expect(clippy::cast_possible_truncation, reason = "golden inputs are f32 in decimal")]
                    rows.normalised.extend(input.iter().map(|value| *value as f32));
                    rows.quantise(*quantisation);
                }
                Encoding::CharNgrams { .. } => {
                    #[expect(clippy::cast_possible_truncation, reason = "golden inputs are f32 in decimal")]
                    rows.normalised.extend(input.iter().map(|value| *value as f32));
                }
                Encoding::WordGrams(_) => {
                    #[expect(clippy::cast_possible_truncation, reason = "golden ids are small integers")]
                    rows.ids.extend(input.iter().map(|value| *value as i64));
                }
            }
        }
        rows.run(engine, inputs.len(), expired)
    }
}

/// Answers every task for one item of a run.
fn judge_item(
    manifest: &Manifest,
    outputs: &Outputs,
    item: usize,
    evidence: &Evidence,
) -> Result<Vec<Judgement>, FailureReason> {
    let mut judgements = Vec::with_capacity(manifest.tasks.len());
    for (index, task) in manifest.tasks.iter().enumerate() {
        let logits = outputs.f32(index, item).ok_or(FailureReason::Errored)?;
        judgements.push(judge(
            task,
            logits,
            manifest.scope.as_ref(),
            manifest.input.min_completeness,
            evidence,
        ));
    }
    Ok(judgements)
}

/// The logits of the words of one item, without those of the padding.
fn tag_item(
    manifest: &Manifest,
    outputs: &Outputs,
    item: usize,
    evidence: &Evidence,
) -> Result<Vec<f32>, FailureReason> {
    let numbers = manifest.tags.as_ref().map(|tags| evidence.words * tags.classes());
    let logits = outputs.f32(0, item).zip(numbers).and_then(|(logits, numbers)| logits.get(..numbers));
    logits.map(<[f32]>::to_vec).ok_or(FailureReason::Errored)
}

/// The length of the row an input needs; `None` if it is not what the manifest asks for.
fn row_length(manifest: &Manifest, input: &ModelInput<'_>) -> Option<usize> {
    match (&manifest.input.encoding, input) {
        (Encoding::Features { features, .. }, ModelInput::Features { values, .. }) => {
            (values.len() == features.len()).then_some(values.len())
        }
        (Encoding::CharNgrams { dims, .. }, ModelInput::Vector { values, .. }) => {
            (values.len() == *dims as usize).then_some(values.len())
        }
        (Encoding::WordGrams(words), ModelInput::Words { ids, .. }) => {
            let needed = ids.len().min(words.words_max() * words.grams).max(1);
            words.rows().find(|row| *row >= needed && ids.len().is_multiple_of(words.grams))
        }
        (
            Encoding::Features { .. } | Encoding::CharNgrams { .. } | Encoding::WordGrams(_),
            ModelInput::Features { .. } | ModelInput::Vector { .. } | ModelInput::Words { .. },
        ) => None,
    }
}

impl RowBuffers {
    /// Forgets what it held; rows of `length` numbers follow.
    fn start(&mut self, manifest: &Manifest, length: usize) {
        self.length = length;
        self.dtype = Some(manifest.input.dtype());
        self.normalised.clear();
        self.ids.clear();
        self.signed.clear();
        self.unsigned.clear();
    }

    /// Adds an input as the graph takes it, padded; `None` if it is not what the manifest asks for.
    fn add(&mut self, manifest: &Manifest, input: &ModelInput<'_>) -> Option<Evidence> {
        match (&manifest.input.encoding, input) {
            (
                Encoding::Features { normalisation, quantisation, .. },
                ModelInput::Features { values, completeness },
            ) => {
                let from = self.normalised.len();
                let mean_square = normalise(values, normalisation, &mut self.normalised);
                let row = self.normalised.get(from..).unwrap_or_default();
                let distance = match &manifest.scope {
                    Some(Scope::FeatureDistance { whitening, .. }) if !whitening.is_empty() => {
                        whitened_distance(row, whitening)
                    }
                    Some(Scope::FeatureDistance { .. } | Scope::KnownGrams { .. }) | None => mean_square,
                };
                self.quantise(*quantisation);
                let missing = values.iter().filter(|value| value.is_nan()).count();
                let missing_share = missing as f32 / values.len().max(1) as f32;
                let (completeness, distance) = (*completeness, Some(distance));
                Some(Evidence { completeness, missing_share, distance, ..Evidence::default() })
            }
            (Encoding::CharNgrams { .. }, ModelInput::Vector { values, known_share }) => {
                self.normalised.extend_from_slice(values);
                Some(Evidence { known_share: *known_share, ..Evidence::default() })
            }
            (Encoding::WordGrams(words), ModelInput::Words { ids, known_share }) => {
                let kept = ids.len().min(self.length);
                // An id beyond the table would panic inside the graph.
                let known = |id: &i64| (0..i64::from(words.dims)).contains(id);
                self.ids.extend(ids.iter().take(kept).map(|id| if known(id) { *id } else { 0 }));
                self.ids.extend(std::iter::repeat_n(0, self.length - kept));
                let words = kept / words.grams.max(1);
                Some(Evidence { known_share: *known_share, words, ..Evidence::default() })
            }
            (
                Encoding::Features { .. } | Encoding::CharNgrams { .. } | Encoding::WordGrams(_),
                ModelInput::Features { .. } | ModelInput::Vector { .. } | ModelInput::Words { .. },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Verdict;

    fn load(manifest: &str, bytes: &[u8]) -> Model {
        Model::load(Arc::new(Manifest::parse(manifest).unwrap()), bytes, &[1, 8]).unwrap()
    }

    fn dense() -> Model {
        load(
            include_str!("../../tests/golden/models/dense-pair/manifest.toml"),
            include_bytes!("../../tests/golden/models/dense-pair/model.onnx"),
        )
    }

    fn features(values: &[f32]) -> ModelInput<'_> {
        ModelInput::Features { values, completeness: Some(1.0) }
    }

    #[test]
    fn a_loaded_model_can_move_to_the_thread_that_runs_it() {
        fn moves<T: Send>() {}
        moves::<Model>();
        moves::<crate::infer::Registry>();
    }

    #[test]
    fn a_window_gets_one_judgement_per_task() {
        let judgements = dense().judge(&features(&[0.1, 0.2, 0.3, 0.4]), &mut || false).unwrap();
        assert_eq!(judgements.iter().map(|task| task.scores.len()).collect::<Vec<_>>(), [3, 2]);
        for task in &judgements {
            assert!((task.scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            assert!((task.scores[usize::from(task.label)] - task.score).abs() < 1e-9);
        }
    }

    #[test]
    fn a_window_far_from_the_training_set_is_out_of_scope_and_one_full_of_holes_uncertain() {
        let mut model = dense();
        let mut verdicts = |values: &[f32]| {
            let judgements = model.judge(&features(values), &mut || false).unwrap();
            judgements.iter().map(|task| task.verdict).max().unwrap()
        };
        assert_eq!(verdicts(&[7.0; 4]), Verdict::OutOfScope);
        assert_eq!(verdicts(&[0.1, f32::NAN, f32::NAN, 0.1]), Verdict::Uncertain);
    }

    #[test]
    fn a_scope_with_whitening_measures_each_row_of_a_batch_in_its_directions() {
        let manifest = include_str!("../../tests/golden/models/dense-pair/manifest.toml");
        let along = manifest.replace("limit = 9.0", "limit = 9.0\nwhitening = [[9.0, -9.0, 0.0, 0.0]]");
        let mut model = load(&along, include_bytes!("../../tests/golden/models/dense-pair/model.onnx"));
        let inputs = [features(&[1.0, 1.0, 5.0, 5.0]), features(&[1.0, 0.0, 0.0, 0.0])];
        let judged = model.judge_batch(&inputs, &mut |_| false);
        let outside = judged.iter().map(|tasks| tasks.as_ref().unwrap()[0].verdict == Verdict::OutOfScope);
        assert_eq!(outside.collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn an_input_of_the_wrong_kind_or_length_is_an_error_not_a_panic() {
        let mut model = dense();
        for wrong in [
            features(&[1.0]),
            ModelInput::Words { ids: &[1], known_share: None },
            ModelInput::Vector { values: &[0.0; 4], known_share: None },
        ] {
            assert_eq!(model.judge(&wrong, &mut || false).err(), Some(FailureReason::Errored));
        }
        assert_eq!(model.judge(&features(&[0.0; 4]), &mut || true).err(), Some(FailureReason::Deadline));
    }

    #[test]
    fn a_batch_is_one_run_and_each_deadline_is_that_of_its_item() {
        let mut model = dense();
        let mut nodes = |count: usize, late: &dyn Fn(usize) -> bool| {
            let (inputs, mut asked) = (vec![features(&[0.1, 0.2, 0.3, 0.4]); count], 0);
            let judged = model.judge_batch(&inputs, &mut |item| {
                asked += 1;
                late(item)
            });
            (judged.iter().map(|result| result.as_ref().err().copied()).collect::<Vec<_>>(), asked)
        };
        let (_, alone) = nodes(1, &|_| false);
        let (judged, together) = nodes(8, &|_| false);
        assert_eq!(judged, [None; 8]);
        assert!(
            together <= alone + 8,
            "no more nodes than for one ({alone}), then each item once: {together}"
        );
        let late = Some(FailureReason::Deadline);
        assert_eq!(nodes(3, &|item| item == 1).0, [None, late, None]);
        assert_eq!(nodes(3, &|_| true), (vec![late; 3], 3), "nobody waits for it: not even one node is run");
    }

    #[test]
    fn a_model_that_fails_only_in_a_batch_is_asked_one_by_one_from_then_on() {
        let mut model = dense();
        model.batch_max = 9;
        let inputs = [features(&[0.5; 4]); 9];
        let mut judge = || model.judge_batch(&inputs, &mut |_| false);
        assert!(judge().iter().all(Result::is_ok), "there is no plan for nine");
        assert_eq!(judge(), judge());
        assert_eq!(model.batch_max(), 1);
    }

    #[test]
    fn ids_beyond_the_table_are_read_as_nothing_and_long_reports_are_cut() {
        let mut model = load(
            include_str!("../../tests/golden/models/embedding/manifest.toml"),
            include_bytes!("../../tests/golden/models/embedding/model.onnx"),
        );
        let mut scores = |ids: &[i64]| {
            let input = ModelInput::Words { ids, known_share: None };
            model.judge(&input, &mut || false).map(|judgements| judgements[0].scores.clone())
        };
        assert_eq!(scores(&[1, 32, -1, i64::MAX]), scores(&[1, 0, 0, 0]));
        assert_eq!(scores(&[3; 40]), scores(&[3; 16]));
        assert_eq!(scores(&[3; 5]), Err(FailureReason::Errored), "not whole words");
        assert!(scores(&[]).is_ok());
    }

    #[test]
    fn a_graph_that_takes_bytes_gets_them() {
        for (manifest, bytes) in [
            (
                include_str!("../../tests/golden/models/bytes-in/manifest.toml"),
                &include_bytes!("../../tests/golden/models/bytes-in/model.onnx")[..],
            ),
            (
                include_str!("../../tests/golden/models/signed-bytes-in/manifest.toml"),
                &include_bytes!("../../tests/golden/models/signed-bytes-in/model.onnx")[..],
            ),
        ] {
            let mut model = load(manifest, bytes);
            let mut scores =
                |value| model.judge(&features(&[value; 4]), &mut || false).unwrap()[0].scores.clone();
            assert_eq!(scores(0.5), scores(0.51), "half a step is the same byte");
            assert_ne!(scores(0.5), scores(0.56), "a step is another");
        }
    }
}
