//! The models in memory: what each is, costs and achieves, and whether it can still be trusted.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{FailureReason, Judgement, ModelId};
use crate::infer::digest::Digest;
use crate::infer::manifest::Manifest;
use crate::infer::model::{Model, ModelInput};
use crate::infer::residency::Cost;
use crate::units::Millicores;

/// Sub-buckets per power of two: an error of at most an eighth.
const STEPS: u32 = 4;
/// Powers of two: 1 µs to 2^30 µs, 18 minutes.
const OCTAVES: u32 = 30;
/// Runs after which old ones count half, so that percentiles follow the present.
const RUNS_REMEMBERED: u32 = 8192;

/// Whether a model can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelState {
    /// It judges.
    #[default]
    Ready,
    /// It is not in memory: it is loaded when there is work for it and room.
    Unloaded,
    /// It is on its way into memory.
    Loading,
    /// It failed at run time and is not asked again until it is loaded anew.
    Quarantined(FailureReason),
    /// It was not admitted or could not be loaded.
    Refused(String),
}

/// What is shown of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStatus {
    /// `name@version`, or the configured name if it was refused.
    pub id: Arc<str>,
    /// The form that is in memory, or was last or will be first.
    pub variant: Option<Arc<str>>,
    /// All its forms, in the order of its manifest.
    pub variants: Arc<[Arc<str>]>,
    /// Digest of the file of that form.
    pub sha256: Option<Digest>,
    /// Whether it is in memory.
    pub resident: bool,
    /// Heap that form keeps once loaded, in bytes: as measured, or as predicted where nothing measures.
    pub memory_bytes: u64,
    /// The same as admission predicted it.
    pub memory_predicted: u64,
    /// Most heap that was taken while it was loaded, what it keeps included.
    pub load_peak: u64,
    /// Whether it can be used.
    pub state: ModelState,
    /// Inputs judged.
    pub judged: u64,
    /// Inputs it failed on.
    pub failed: u64,
    /// What it found in reports.
    pub reports: ReportCounts,
    /// Processor time it has taken, inputs included.
    pub spent: Duration,
    /// Processor time it has taken of late, per second.
    pub cpu: Millicores,
    /// Times it was loaded.
    pub loads: u64,
    /// Times it was unloaded to make room.
    pub unloads: u64,
    /// Times it was given up because it gave no sign of life.
    pub hangs: u64,
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

/// A form of a model as it is shown: its name, its digest, its memory.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its name.
    pub name: Arc<str>,
    /// Digest of its file.
    pub sha256: Digest,
    /// Heap as predicted.
    pub predicted: u64,
    /// What it costs, as measured where it was.
    pub cost: Cost,
    /// Inputs it takes in one run, as proven.
    pub batch_max: usize,
}

/// The models by [`ModelId`], in the order of the configuration.
#[derive(Default)]
pub struct Registry {
    /// Empty where the model is lent.
    slots: Vec<Option<Box<Slot>>>,
}

struct Slot {
    model: Option<Model>,
    manifest: Option<Arc<Manifest>>,
    /// Inputs it takes in one run where it is not loaded.
    batch_max: usize,
    /// Why it is not asked, though it may be there.
    fault: Option<ModelState>,
    /// All but `state`, `resident` and the percentiles, which follow from the rest.
    status: ModelStatus,
    latency: Latency,
    /// Processor time at the last look, and when that was.
    looked: (Duration, Uptime),
}

/// Histogram of durations with steps of a fixed ratio.
struct Latency {
    counts: [u32; (STEPS * OCTAVES) as usize],
    total: u32,
}

impl ModelStatus {
    /// Processor time of one judgement, on average since the start.
    pub fn spent_each(&self) -> Option<Duration> {
        let judged = u32::try_from(self.judged).unwrap_or(u32::MAX);
        self.spent.checked_div(judged)
    }
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
        let manifest = Arc::clone(model.manifest());
        let id = Arc::clone(manifest.id());
        let status =
            ModelStatus { id, sha256: Some(sha256), memory_bytes, loads: 1, ..ModelStatus::default() };
        self.push(Slot::new(Some(model), Some(manifest), status))
    }

    /// Adds the place of a model that was admitted and is not loaded yet.
    pub fn expect(&mut self, manifest: Arc<Manifest>) -> Option<ModelId> {
        let variants = manifest.variants.iter().map(|variant| Arc::clone(&variant.name)).collect();
        let status = ModelStatus { id: Arc::clone(manifest.id()), variants, ..ModelStatus::default() };
        self.push(Slot::new(None, Some(manifest), status))
    }

    /// Adds the place of a model that was not admitted, so that ids keep the order of the configuration.
    pub fn refuse(&mut self, name: &str, why: String) -> Option<ModelId> {
        let status = ModelStatus { id: name.into(), ..ModelStatus::default() };
        let fault = Some(ModelState::Refused(why));
        self.push(Slot { fault, ..Slot::new(None, None, status) })
    }

    /// Says which form is in memory, or will be.
    pub fn describe(&mut self, id: ModelId, form: &Form) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.batch_max = form.batch_max;
        slot.status.variant = Some(Arc::clone(&form.name));
        slot.status.sha256 = Some(form.sha256);
        slot.status.memory_predicted = form.predicted;
        slot.status.memory_bytes = form.cost.kept;
        slot.status.load_peak = form.cost.peak;
    }

    /// Puts a loaded model into its place, instead of another form of it if one is there.
    pub fn install(&mut self, id: ModelId, model: Model, form: &Form) {
        self.describe(id, form);
        let Some(slot) = self.slot_mut(id) else { return };
        slot.model = Some(model);
        slot.status.loads += 1;
    }

    /// Frees the memory of a model.
    pub fn unload(&mut self, id: ModelId) {
        let Some(slot) = self.slot_mut(id) else { return };
        if slot.model.take().is_some() {
            slot.status.unloads += 1;
        }
    }

    /// Takes a model out of use for good.
    pub fn quarantine(&mut self, id: ModelId, reason: FailureReason) {
        if let Some(slot) = self.slot_mut(id) {
            slot.quarantine(reason);
        }
    }

    /// Lends a model, so that others can be asked whatever it does: a registry with nothing but this one, and what is to
    /// be shown of it if it does not come back.
    pub fn lend(&mut self, id: ModelId) -> (Self, Option<ModelStatus>) {
        let mut slots: Vec<Option<Box<Slot>>> = Vec::new();
        slots.resize_with(self.slots.len(), || None);
        let lent = self.slots.get_mut(usize::from(id.0)).and_then(Option::take);
        let shown = lent.as_ref().map(|slot| slot.shown());
        if let Some(slot) = slots.get_mut(usize::from(id.0)) {
            *slot = lent;
        }
        (Self { slots }, shown)
    }

    /// Takes back what was lent.
    pub fn give_back(&mut self, lent: Self) {
        for (slot, lent) in self.slots.iter_mut().zip(lent.slots) {
            if lent.is_some() {
                *slot = lent;
            }
        }
    }

    /// A model that was lent gives no sign of life.
    pub fn give_up(&mut self, id: ModelId, mut shown: ModelStatus, work: u64) {
        shown.hangs += 1;
        shown.failed += work;
        let mut slot = Slot::new(None, None, shown);
        slot.quarantine(FailureReason::Hung);
        if let Some(place) = self.slots.get_mut(usize::from(id.0)) {
            *place = Some(Box::new(slot));
        }
    }

    /// A model that was given up came back: the place remembers how often that happened.
    pub fn forgive(&mut self, id: ModelId, lent: Self) {
        let (hangs, failed) = self.slot(id).map_or((0, 0), |slot| (slot.status.hangs, slot.status.failed));
        self.give_back(lent);
        if let Some(slot) = self.slot_mut(id) {
            (slot.status.hangs, slot.status.failed) = (hangs, failed);
        }
    }

    /// What a model is; `None` if it was refused.
    pub fn manifest(&self, id: ModelId) -> Option<&Arc<Manifest>> {
        self.slot(id)?.manifest.as_ref()
    }

    /// Whether a model can be used; `None` where there is none.
    pub fn state(&self, id: ModelId) -> Option<ModelState> {
        self.slot(id).map(Slot::state)
    }

    /// How often a model was given up.
    pub fn hangs(&self, id: ModelId) -> u64 {
        self.slot(id).map_or(0, |slot| slot.status.hangs)
    }

    /// How many inputs a model can judge in one run; 1 where there is no model.
    pub fn batch_max(&self, id: ModelId) -> usize {
        self.batch_sizes().nth(id.0.into()).unwrap_or(1)
    }

    /// How many inputs each model can judge in one run, by [`ModelId`]: of one that is not loaded, as admission found.
    pub fn batch_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().map(|slot| slot.as_ref().map_or(1, |slot| slot.batch_max()))
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
        let Some(slot) = self.slot_mut(id) else { return vec![Err(FailureReason::Quarantined); count] };
        let refusal = match (&slot.fault, &mut slot.model) {
            (None, Some(model)) => {
                let judged = answer(model);
                slot.account(&judged);
                return judged;
            }
            (None, None) => FailureReason::NoRoom,
            (Some(_), _) => FailureReason::Quarantined,
        };
        vec![Err(refusal); count]
    }

    /// Counts what a model found in reports and what it did not read.
    pub fn count(&mut self, id: ModelId, more: ReportCounts) {
        if let Some(slot) = self.slot_mut(id) {
            slot.status.reports.add(more);
        }
    }

    /// Records how long a judgement took, features and the others of its batch included.
    pub fn record(&mut self, id: ModelId, took: Duration) {
        if let Some(slot) = self.slot_mut(id) {
            slot.latency.record(took);
        }
    }

    /// Records processor time taken for a model.
    pub fn spend(&mut self, id: ModelId, spent: Duration) {
        if let Some(slot) = self.slot_mut(id) {
            slot.status.spent += spent;
        }
    }

    /// Works out what each model has taken of the processor since the last look.
    pub fn look(&mut self, now: Uptime) {
        for slot in self.slots.iter_mut().flatten() {
            if now <= slot.looked.1 {
                continue;
            }
            let (spent, at) = std::mem::replace(&mut slot.looked, (slot.status.spent, now));
            let share = slot.status.spent.saturating_sub(spent).div_duration_f32(now.since(at));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "thousandths of a core"
            )]
            let millis = (share * 1000.0).round() as u32;
            slot.status.cpu = Millicores(millis);
        }
    }

    /// What is shown of each model, by [`ModelId`]. One that is lent is not among them.
    pub fn status(&self) -> impl Iterator<Item = ModelStatus> + '_ {
        self.slots.iter().flatten().map(|slot| slot.shown())
    }

    /// Heap all of them take, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let resident = self.slots.iter().flatten().filter(|slot| slot.model.is_some());
        resident.map(|slot| slot.status.memory_bytes).sum()
    }

    fn slot(&self, id: ModelId) -> Option<&Slot> {
        self.slots.get(usize::from(id.0))?.as_deref()
    }

    fn slot_mut(&mut self, id: ModelId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    fn push(&mut self, slot: Slot) -> Option<ModelId> {
        let next = ModelId(u16::try_from(self.slots.len()).ok()?);
        self.slots.push(Some(Box::new(slot)));
        Some(next)
    }
}

impl Slot {
    fn new(model: Option<Model>, manifest: Option<Arc<Manifest>>, status: ModelStatus) -> Self {
        let looked = (status.spent, Uptime::ZERO);
        Self { model, manifest, batch_max: 1, fault: None, status, latency: Latency::new(), looked }
    }

    fn batch_max(&self) -> usize {
        self.model.as_ref().map_or(self.batch_max, Model::batch_max)
    }

    /// Counts answers; the first fault of the model's own is its last answer.
    fn account<T>(&mut self, judged: &[Result<T, FailureReason>]) {
        let mut fault = None;
        for result in judged {
            match result {
                Ok(_) => self.status.judged += 1,
                Err(reason) => {
                    self.status.failed += 1;
                    match reason {
                        FailureReason::Panicked | FailureReason::NonFinite | FailureReason::Errored => {
                            fault = Some(*reason);
                        }
                        FailureReason::Deadline
                        | FailureReason::Hung
                        | FailureReason::Quarantined
                        | FailureReason::NoRoom => {}
                    }
                }
            }
        }
        if let Some(reason) = fault {
            self.quarantine(reason);
        }
    }

    fn quarantine(&mut self, reason: FailureReason) {
        self.model = None;
        self.fault = Some(ModelState::Quarantined(reason));
    }

    /// One that is on its way is [`ModelState::Unloaded`] here: whoever loads it says so.
    fn state(&self) -> ModelState {
        let without_fault = || if self.model.is_some() { ModelState::Ready } else { ModelState::Unloaded };
        self.fault.clone().unwrap_or_else(without_fault)
    }

    fn shown(&self) -> ModelStatus {
        ModelStatus {
            state: self.state(),
            resident: self.model.is_some(),
            p50: self.latency.quantile(0.5),
            p99: self.latency.quantile(0.99),
            ..self.status.clone()
        }
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
