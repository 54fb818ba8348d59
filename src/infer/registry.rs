//! The models in memory: what each is, costs and achieves, and whether it can still be trusted.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::{FailureReason, Judgement, ModelId};
use crate::infer::digest::Digest;
use crate::infer::manifest::Manifest;
use crate::infer::model::{Model, ModelInput};

/// Sub-buckets per power of two: an error of at most an eighth.
const STEPS: u32 = 4;
/// Powers of two: 1 µs to 2^30 µs, 18 minutes.
const OCTAVES: u32 = 30;
/// Runs after which old ones count half, so that percentiles follow the present.
const RUNS_REMEMBERED: u32 = 8192;

/// Whether a model can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It judges.
    Ready,
    /// It failed at run time and is not asked again until it is loaded anew.
    Quarantined(FailureReason),
    /// It was not admitted or could not be loaded.
    Refused(String),
}

/// What is shown of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// `name@version`, or the configured name if it was refused.
    pub id: Arc<str>,
    /// Digest of the loaded file.
    pub sha256: Option<Digest>,
    /// Heap it takes, in bytes.
    pub memory_bytes: u64,
    /// Whether it can be used.
    pub state: ModelState,
    /// Inputs judged.
    pub judged: u64,
    /// Inputs it failed on.
    pub failed: u64,
    /// What it found in reports.
    pub reports: ReportCounts,
    /// Half of the recent runs took at most about this long.
    pub p50: Option<Duration>,
    /// 99 of 100 recent runs took at most about this long.
    pub p99: Option<Duration>,
}

/// What a model found in reports and what it did not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportCounts {
    /// Entities found.
    pub entities: u64,
    /// Words beyond the longest report it reads.
    pub cut_words: u64,
    /// Entities beyond as many as are told of one report.
    pub cut_entities: u64,
    /// Reports told without the entities it should have marked: it failed, or was too late.
    pub unmarked: u64,
}

/// The models by [`ModelId`], in the order of the configuration.
#[derive(Default)]
pub struct Registry {
    slots: Vec<Slot>,
}

struct Slot {
    model: Option<Model>,
    status: ModelStatus,
    latency: Latency,
}

/// Histogram of durations with steps of a fixed ratio.
struct Latency {
    counts: [u32; (STEPS * OCTAVES) as usize],
    total: u32,
}

impl ReportCounts {
    /// Adds others.
    pub fn add(&mut self, more: Self) {
        self.entities += more.entities;
        self.cut_words += more.cut_words;
        self.cut_entities += more.cut_entities;
        self.unmarked += more.unmarked;
    }
}

impl Registry {
    /// Without models.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a loaded model.
    pub fn add(&mut self, model: Model, sha256: Digest, memory_bytes: u64) -> Option<ModelId> {
        let id = model.manifest().id().clone();
        self.push(Some(model), id, Some(sha256), memory_bytes, ModelState::Ready)
    }

    /// Adds the place of a model that was not admitted, so that ids keep the order of the configuration.
    pub fn refuse(&mut self, name: &str, why: String) -> Option<ModelId> {
        self.push(None, name.into(), None, 0, ModelState::Refused(why))
    }

    /// What a model is; `None` if it was refused.
    pub fn manifest(&self, id: ModelId) -> Option<&Arc<Manifest>> {
        self.slots.get(usize::from(id.0))?.model.as_ref().map(Model::manifest)
    }

    /// How many inputs a model can judge in one run; 1 where there is no model.
    pub fn batch_max(&self, id: ModelId) -> usize {
        self.batch_sizes().nth(id.0.into()).unwrap_or(1)
    }

    /// How many inputs each model can judge in one run, by [`ModelId`].
    pub fn batch_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().map(|slot| slot.model.as_ref().map_or(1, Model::batch_max))
    }

    /// Asks a model: a result for each input, in their order. `late` says whether the deadline of an input passed.
    ///
    /// A panic, an error and a number that is not finite put the model into quarantine; the other inputs of the same
    /// call still get their results.
    pub fn judge(
        &mut self,
        id: ModelId,
        inputs: &[ModelInput<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Vec<Judgement>, FailureReason>> {
        self.ask(id, inputs.len(), |model| model.judge_batch(inputs, late))
    }

    /// Asks a model for the tags of rows of words, as [`Self::judge`] asks for judgements.
    pub fn tag(
        &mut self,
        id: ModelId,
        inputs: &[ModelInput<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Vec<f32>, FailureReason>> {
        self.ask(id, inputs.len(), |model| model.tag_batch(inputs, late))
    }

    fn ask<T: Clone>(
        &mut self,
        id: ModelId,
        count: usize,
        answer: impl FnOnce(&mut Model) -> Vec<Result<T, FailureReason>>,
    ) -> Vec<Result<T, FailureReason>> {
        let slot = self.slots.get_mut(usize::from(id.0));
        let Some(Slot { model: Some(model), status, .. }) = slot else {
            return vec![Err(FailureReason::Quarantined); count];
        };
        if status.state != ModelState::Ready {
            return vec![Err(FailureReason::Quarantined); count];
        }
        let judged = answer(model);
        for result in &judged {
            match result {
                Ok(_) => status.judged += 1,
                Err(reason) => {
                    status.failed += 1;
                    match reason {
                        FailureReason::Panicked | FailureReason::NonFinite | FailureReason::Errored => {
                            status.state = ModelState::Quarantined(*reason);
                        }
                        FailureReason::Deadline | FailureReason::Quarantined => {}
                    }
                }
            }
        }
        judged
    }

    /// Counts what a model found in reports and what it did not read.
    pub fn count(&mut self, id: ModelId, more: ReportCounts) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.0)) {
            slot.status.reports.add(more);
        }
    }

    /// Records how long a judgement took, features and the others of its batch included.
    pub fn record(&mut self, id: ModelId, took: Duration) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.0)) {
            slot.latency.record(took);
        }
    }

    /// What is shown of each model, by [`ModelId`].
    pub fn status(&self) -> impl Iterator<Item = ModelStatus> + '_ {
        self.slots.iter().map(|slot| ModelStatus {
            p50: slot.latency.quantile(0.5),
            p99: slot.latency.quantile(0.99),
            ..slot.status.clone()
        })
    }

    /// Heap all of them take, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.status.memory_bytes).sum()
    }

    fn push(
        &mut self,
        model: Option<Model>,
        id: Arc<str>,
        sha256: Option<Digest>,
        memory_bytes: u64,
        state: ModelState,
    ) -> Option<ModelId> {
        let next = ModelId(u16::try_from(self.slots.len()).ok()?);
        let status = ModelStatus {
            id,
            sha256,
            memory_bytes,
            state,
            judged: 0,
            failed: 0,
            reports: ReportCounts::default(),
            p50: None,
            p99: None,
        };
        self.slots.push(Slot { model, status, latency: Latency::new() });
        Some(next)
    }
}

impl Latency {
    const fn new() -> Self {
        Self { counts: [0; (STEPS * OCTAVES) as usize], total: 0 }
    }

    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let octave = micros.ilog2();
        // The two bits below the leading one.
        let step = if octave >= 2 { (micros >> (octave - 2)) & 3 } else { (micros << (2 - octave)) & 3 };
        let index = (octave * STEPS) as usize + usize::try_from(step).unwrap_or(0);
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(index.min(last)) {
            *count += 1;
            self.total += 1;
        }
        if self.total >= RUNS_REMEMBERED {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// Upper edge of the bucket in which the share is reached; `None` without runs.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = f64::from(self.total) * share;
        let mut seen = 0_u32;
        for (index, count) in (0_u32..).zip(&self.counts) {
            seen += count;
            if *count > 0 && f64::from(seen) >= wanted {
                let (octave, step) = (index / STEPS, index % STEPS);
                let base = 1_u64 << octave;
                return Some(Duration::from_micros(base + base * u64::from(step + 1) / u64::from(STEPS)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(manifest: &str, bytes: &[u8]) -> Registry {
        let manifest = Arc::new(Manifest::parse(manifest).unwrap());
        let mut registry = Registry::new();
        registry.refuse("absent", "no such folder".to_owned()).unwrap();
        let model = Model::load(manifest, bytes, &[1, 8]).unwrap();
        assert_eq!(registry.add(model, Digest::of(bytes), 1000), Some(ModelId(1)));
        registry
    }

    fn ask(registry: &mut Registry, id: u16, values: &[f32], late: bool) -> Option<FailureReason> {
        let input = ModelInput::Features { values, completeness: None };
        registry.judge(ModelId(id), &[input], &mut |_| late).remove(0).err()
    }

    #[test]
    fn a_model_that_panics_or_computes_nonsense_is_not_asked_again() {
        let mut panics = registry(
            include_str!("../../tests/golden/models/panics-out-of-range/manifest.toml"),
            include_bytes!("../../tests/golden/models/panics-out-of-range/model.onnx"),
        );
        let mut nan = registry(
            include_str!("../../tests/golden/models/nan-below-zero/manifest.toml"),
            include_bytes!("../../tests/golden/models/nan-below-zero/model.onnx"),
        );
        for (registry, good, bad, reason) in [
            (&mut panics, &[1.0][..], &[7.0][..], FailureReason::Panicked),
            (&mut nan, &[1.0, 1.0][..], &[-1.0, 1.0][..], FailureReason::NonFinite),
        ] {
            assert_eq!(ask(registry, 1, good, false), None);
            assert_eq!(ask(registry, 1, good, true), Some(FailureReason::Deadline));
            assert_eq!(ask(registry, 1, good, false), None, "a deadline is not the model's fault");
            assert_eq!(ask(registry, 1, bad, false), Some(reason));
            assert_eq!(ask(registry, 1, good, false), Some(FailureReason::Quarantined));
            let status = registry.status().nth(1).unwrap();
            assert_eq!((status.state, status.judged, status.failed), (ModelState::Quarantined(reason), 2, 2));
        }
    }

    #[test]
    fn a_bad_input_fails_alone_in_its_batch_and_the_model_is_not_asked_again() {
        for (manifest, bytes, good, bad, reason) in [
            (
                include_str!("../../tests/golden/models/panics-out-of-range/manifest.toml"),
                &include_bytes!("../../tests/golden/models/panics-out-of-range/model.onnx")[..],
                &[1.0][..],
                &[7.0][..],
                FailureReason::Panicked,
            ),
            (
                include_str!("../../tests/golden/models/nan-below-zero/manifest.toml"),
                &include_bytes!("../../tests/golden/models/nan-below-zero/model.onnx")[..],
                &[1.0, 1.0][..],
                &[-1.0, 1.0][..],
                FailureReason::NonFinite,
            ),
        ] {
            for at in 0..8 {
                let mut registry = registry(manifest, bytes);
                assert!(registry.batch_sizes().eq([1, 8]));
                let input = |item| if item == at { bad } else { good };
                let inputs: Vec<_> = (0..8)
                    .map(|item| ModelInput::Features { values: input(item), completeness: None })
                    .collect();
                let judged = registry.judge(ModelId(1), &inputs, &mut |_| false);
                for (item, result) in judged.iter().enumerate() {
                    let expected = (item == at).then_some(reason);
                    assert_eq!(result.as_ref().err().copied(), expected, "item {item}, bad at {at}");
                }
                let status = registry.status().nth(1).unwrap();
                assert_eq!((status.judged, status.failed), (7, 1));
                let after = registry.judge(ModelId(1), &inputs[..2], &mut |_| false);
                assert_eq!(after, vec![Err(FailureReason::Quarantined); 2]);
            }
        }
    }

    #[test]
    fn a_refused_model_keeps_its_place_and_says_why() {
        let mut registry = registry(
            include_str!("../../tests/golden/models/echo/manifest.toml"),
            include_bytes!("../../tests/golden/models/echo/model.onnx"),
        );
        assert_eq!(ask(&mut registry, 0, &[], false), Some(FailureReason::Quarantined));
        assert_eq!(ask(&mut registry, 9, &[], false), Some(FailureReason::Quarantined));
        assert!(registry.manifest(ModelId(0)).is_none() && registry.manifest(ModelId(1)).is_some());
        assert_eq!(registry.memory_bytes(), 1000);
        let refused = registry.status().next().unwrap();
        assert_eq!(
            (&*refused.id, refused.state),
            ("absent", ModelState::Refused("no such folder".to_owned()))
        );
    }

    #[test]
    fn percentiles_are_right_to_a_quarter_and_follow_the_present() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantile(0.5), None);
        for micros in 1..=1000 {
            latency.record(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = latency.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((exact..=exact * 1.26).contains(&found), "{share}: {found}");
        }
        for _ in 0..4 * RUNS_REMEMBERED {
            latency.record(Duration::from_millis(80));
        }
        assert!(latency.quantile(0.1).unwrap() >= Duration::from_millis(80));
        latency.record(Duration::MAX);
        latency.record(Duration::ZERO);
    }
}
