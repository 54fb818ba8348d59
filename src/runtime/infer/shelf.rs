//! The models at the thread that runs them: which are in memory, where the others come from.
//!
//! # Invariants
//! One model is on its way into memory at a time. What is unloaded, loaded or exchanged is decided by
//! [`Residency`]; this only does it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::{RecvError, TryRecvError};
use tracing::{error, info, warn};

use crate::clock::Uptime;
use crate::flow::{Budget, BudgetReason, FailureReason, Level, ModelId, VariantRule};
use crate::infer::residency::RELOAD_MAX;
use crate::infer::{Cost, Form, Model, ModelState, ModelStatus, Registry, Residency, Step};
use crate::io::admission::{ModelSource, ReloadError, chain};
use crate::runtime::infer::models::forms;
use crate::runtime::reading::Reading;
use crate::runtime::retry::best_effort;
use crate::telemetry::{Purpose, book};

/// Times a model may give no sign of life and come back; then it stays out of use.
const HANGS_MAX: u64 = 3;

/// The models, loaded or not.
pub(in crate::runtime) struct Shelf {
    pub(in crate::runtime) registry: Registry,
    /// By model; `None` where it takes features.
    readings: Vec<Option<Reading>>,
    residency: Residency,
    sources: Vec<Option<Arc<ModelSource>>>,
    forms: Vec<Vec<Form>>,
    loading: Option<Loading>,
}

/// A model on its way into memory.
struct Loading {
    id: ModelId,
    form: usize,
    began: Uptime,
    result: oneshot::Receiver<LoadResult>,
    /// What came, until it is taken over; an error if its thread ended early.
    come: Option<Result<LoadResult, RecvError>>,
}

type LoadResult = Result<(Model, Cost), ReloadError>;

/// Whether a model can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Standing {
    /// Now. One that is out of use says so itself.
    Ready,
    /// It is being loaded, or somebody else is.
    Coming,
    /// Not before this.
    Later(Uptime),
    /// There is no room for it.
    Not,
}

/// One model with its reading, taken out of the shelf: if it never comes back, the others do not notice.
pub(in crate::runtime) struct Lent {
    pub(in crate::runtime) model: ModelId,
    /// Knows no other model.
    pub(in crate::runtime) registry: Registry,
    pub(in crate::runtime) reading: Option<Reading>,
}

impl Shelf {
    /// Nothing is loaded but what the registry holds already.
    pub(in crate::runtime) fn new(
        registry: Registry,
        readings: Vec<Option<Reading>>,
        sources: Vec<Option<Arc<ModelSource>>>,
        residency: Residency,
    ) -> Self {
        let forms = forms(&sources);
        Self { registry, readings, residency, sources, forms, loading: None }
    }

    /// Loads what fits, those that stay first. Blocks; for the start.
    pub(in crate::runtime) fn fill(&mut self, pinned_first: &[ModelId], now: Uptime) {
        for &id in pinned_first {
            let Step::Load { unload, form } = self.residency.step(id, VariantRule::Best, now) else {
                continue;
            };
            if unload.is_empty()
                && let Some(source) = self.source(id)
            {
                let loaded = load(&source, id, form);
                self.settle(id, form, loaded, now);
            }
        }
    }

    /// Sees to it that a model can be asked in the form a rule asks for, and says whether it can now.
    pub(in crate::runtime) fn prepare(
        &mut self,
        id: ModelId,
        rule: VariantRule,
        budget: &Budget,
        now: Uptime,
    ) -> Standing {
        let Some(source) = self.source(id) else { return Standing::Ready };
        let is_here = self.residency.form(id).is_some();
        let step = self.residency.step(id, rule, now);
        if is_here {
            self.residency.used(id, now);
        }
        match step {
            Step::Ready => Standing::Ready,
            Step::Never if matches!(self.registry.state(id), Some(ModelState::Quarantined(_))) => {
                Standing::Ready
            }
            Step::Never => Standing::Not,
            Step::Wait { until } => Standing::Later(until),
            Step::Load { .. } if self.loading.is_some() => {
                if is_here {
                    Standing::Ready
                } else {
                    Standing::Coming
                }
            }
            // A supply that sags is not asked for a burst of work that can wait.
            Step::Load { .. } if budget.spare_flash && !is_here => Standing::Not,
            Step::Load { unload, form } => {
                for victim in unload {
                    self.unload(victim);
                }
                self.start(id, form, source, now);
                if self.residency.form(id).is_some() { Standing::Ready } else { Standing::Coming }
            }
        }
    }

    /// Lets go what nobody needs while memory is short.
    pub(in crate::runtime) fn relieve(&mut self, budget: &Budget, now: Uptime) {
        if budget.reason == BudgetReason::Memory && budget.level >= Level::Hot {
            let all = budget.level >= Level::Critical;
            self.residency.idle(all, now).into_iter().for_each(|id| self.unload(id));
        }
    }

    /// Waits until a model that is being loaded has come; for ever if none is. [`Self::look`] takes it over.
    pub(in crate::runtime) async fn arrival(&mut self) {
        match &mut self.loading {
            Some(loading) if loading.come.is_none() => {
                loading.come = Some((&mut loading.result).await);
            }
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Takes over a model that has come, if one has.
    pub(in crate::runtime) fn look(&mut self, now: Uptime) {
        let come = self.loading.as_mut().and_then(|loading| match loading.come.take() {
            Some(come) => Some(come.ok()),
            None => match loading.result.try_recv() {
                Ok(loaded) => Some(Some(loaded)),
                Err(TryRecvError::Closed) => Some(None),
                Err(TryRecvError::Empty) => None,
            },
        });
        if let Some(loaded) = come {
            self.arrived(loaded, now);
        }
    }

    fn arrived(&mut self, loaded: Option<LoadResult>, now: Uptime) {
        let Some(Loading { id, form, began, .. }) = self.loading.take() else { return };
        self.registry.set_loading(id, false);
        let took = now.since(began);
        if took > RELOAD_MAX {
            let model = self.name(id);
            warn!(%model, ?took, "loading a model took longer than it should");
        }
        match loaded {
            Some(loaded) => self.settle(id, form, loaded, now),
            // Its thread could not be started or panicked: that form is not tried again.
            None => self.failed(id, form, "the thread that loads it ended early"),
        }
    }

    /// Takes a model out of the shelf.
    pub(in crate::runtime) fn lend(&mut self, id: ModelId) -> (Lent, Option<ModelStatus>) {
        let (registry, shown) = self.registry.lend(id);
        let reading = self.readings.get_mut(usize::from(id.0)).and_then(Option::take);
        (Lent { model: id, registry, reading }, shown)
    }

    /// Takes it back.
    pub(in crate::runtime) fn give_back(&mut self, lent: Lent) {
        let Lent { model, registry, reading } = lent;
        self.registry.give_back(registry);
        self.put_reading(model, reading);
        if let Some(ModelState::Quarantined(_)) = self.registry.state(model) {
            self.residency.bar(model);
        }
    }

    /// A model that was lent gives no sign of life: it is out of use, and its memory stays taken.
    pub(in crate::runtime) fn give_up(&mut self, id: ModelId, shown: Option<ModelStatus>, work: u64) {
        if let Some(shown) = shown {
            error!(model = %shown.id, work, "a model gives no sign of life; it is out of use, the others go on");
            self.registry.give_up(id, shown, work);
        }
        self.residency.lose(id);
    }

    /// A model that was given up came back.
    pub(in crate::runtime) fn forgive(&mut self, lent: Lent, now: Uptime) {
        let Lent { model, registry, reading } = lent;
        let hangs = self.registry.hangs(model);
        let form = registry.status().next().and_then(|status| {
            let forms = self.forms.get(usize::from(model.0))?;
            forms.iter().position(|form| Some(&form.name) == status.variant.as_ref())
        });
        self.registry.forgive(model, registry);
        self.put_reading(model, reading);
        self.residency.regain(model, form.unwrap_or(0), now);
        let name = self.name(model);
        warn!(model = %name, hangs, "a model that had given no sign of life came back");
        if hangs >= HANGS_MAX {
            self.registry.quarantine(model, FailureReason::Hung);
        }
        if let Some(ModelState::Quarantined(_)) = self.registry.state(model) {
            self.residency.bar(model);
        }
    }

    /// Processor time one input of each model takes, as admission measured its best form; `None` where it was refused.
    pub(in crate::runtime) fn costs(&self) -> Vec<Option<Duration>> {
        let spent = |forms: &Vec<Form>| forms.first().map(|form| form.cost.spent);
        self.forms.iter().map(|forms| spent(forms).filter(|spent| !spent.is_zero())).collect()
    }

    /// Processor time an input of a model takes, as measured.
    pub(in crate::runtime) fn spent(&self, id: ModelId) -> Duration {
        self.residency.form(id).map_or(Duration::ZERO, |form| self.residency.cost(id, form).spent)
    }

    fn start(&mut self, id: ModelId, form: usize, source: Arc<ModelSource>, now: Uptime) {
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new().name("tg-load".to_owned());
        let started = thread.spawn(move || best_effort(done.send(load(&source, id, form))));
        if let Err(why) = started {
            // Its end of the channel is gone: seen as a load that failed.
            warn!(%why, "could not start the thread that loads models");
        }
        self.registry.set_loading(id, true);
        self.loading = Some(Loading { id, form, began: now, result, come: None });
    }

    fn settle(&mut self, id: ModelId, form: usize, loaded: LoadResult, now: Uptime) {
        if let Some(ModelState::Quarantined(_)) = self.registry.state(id) {
            // Put out of use while another form of it was on its way: that is not for the form to undo.
            return;
        }
        match loaded {
            Ok((model, cost)) => {
                let Some(known) = self.forms.get_mut(usize::from(id.0)).and_then(|forms| forms.get_mut(form))
                else {
                    return;
                };
                known.cost = cost;
                self.registry.install(id, model, known);
                self.residency.loaded(id, form, cost, now);
                info!(model = %self.name(id), variant = %self.variant(id), memory = cost.kept, "loaded a model");
            }
            Err(error) => self.failed(id, form, &chain(&error)),
        }
    }

    fn failed(&mut self, id: ModelId, form: usize, why: &str) {
        error!(model = %self.name(id), why, "could not load a model");
        self.residency.withdraw(id, form);
        let forms = self.forms.get(usize::from(id.0)).map_or(0, Vec::len);
        let is_left = (0..forms).any(|form| self.residency.cost(id, form).kept < u64::MAX);
        if self.residency.form(id).is_none() && !is_left {
            self.registry.quarantine(id, FailureReason::Errored);
            self.residency.bar(id);
        }
    }

    fn unload(&mut self, id: ModelId) {
        info!(model = %self.name(id), "unloaded a model to make room");
        self.registry.unload(id);
        self.residency.unloaded(id);
    }

    fn put_reading(&mut self, id: ModelId, reading: Option<Reading>) {
        if let Some(place) = self.readings.get_mut(usize::from(id.0))
            && reading.is_some()
        {
            *place = reading;
        }
    }

    fn source(&self, id: ModelId) -> Option<Arc<ModelSource>> {
        self.sources.get(usize::from(id.0))?.clone()
    }

    fn name(&self, id: ModelId) -> Arc<str> {
        let manifest = self.registry.manifest(id);
        manifest.map_or_else(|| Arc::from(""), |manifest| Arc::clone(manifest.id()))
    }

    fn variant(&self, id: ModelId) -> Arc<str> {
        let form = self.residency.form(id).and_then(|form| self.forms.get(usize::from(id.0))?.get(form));
        form.map_or_else(|| Arc::from(""), |form| Arc::clone(&form.name))
    }
}

fn load(source: &ModelSource, id: ModelId, form: usize) -> LoadResult {
    let _booked = book(Purpose::Model(usize::from(id.0)));
    source.load(form)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::infer::{AdmissionLimits, Manifest, ModelInput, Needs, examine};
    use crate::runtime::text_row::text_row;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// What admission finds in a folder, in this process.
    fn source(folder: &Path) -> ModelSource {
        let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
        let files = |name: &str| std::fs::read(folder.join(name)).ok();
        let report =
            examine(&text, &files, &AdmissionLimits::default(), &text_row, &|| Duration::ZERO, &mut |_| ());
        ModelSource::new(
            Arc::new(Manifest::parse(&text).unwrap()),
            folder.to_owned(),
            report.unwrap().variants,
        )
    }

    /// A shelf for these folders, under this limit, with nothing loaded.
    fn shelf(folders: &[PathBuf], limit: impl Fn(&[Needs]) -> u64) -> Shelf {
        let sources: Vec<_> = folders.iter().map(|folder| Arc::new(source(folder))).collect();
        let forms = |source: &Arc<ModelSource>| source.forms().iter().map(|form| form.cost).collect();
        let needs: Vec<_> =
            sources.iter().map(|source| Needs { forms: forms(source), pinned: false }).collect();
        let mut registry = Registry::new();
        for source in &sources {
            registry.expect(Arc::clone(source.manifest())).unwrap();
        }
        let (readings, limit) = (sources.iter().map(|_| None).collect(), limit(&needs));
        let sources = sources.into_iter().map(Some).collect();
        Shelf::new(registry, readings, sources, Residency::new(needs, limit))
    }

    fn at(seconds: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_secs(seconds))
    }

    fn prepare(shelf: &mut Shelf, id: u16, seconds: u64) -> Standing {
        shelf.prepare(ModelId(id), VariantRule::Best, &Budget::NOMINAL, at(seconds))
    }

    fn ask(shelf: &mut Shelf, id: u16, values: &[f32]) -> Option<FailureReason> {
        let (mut lent, _) = shelf.lend(ModelId(id));
        let input = ModelInput::Features { values, completeness: None };
        let answer = lent.registry.judge(ModelId(id), &[input], &mut |_| false).remove(0);
        shelf.give_back(lent);
        answer.err()
    }

    async fn come(shelf: &mut Shelf, seconds: u64) {
        shelf.arrival().await;
        shelf.look(at(seconds));
    }

    #[tokio::test]
    async fn models_that_do_not_fit_together_take_turns_and_are_reloaded_from_the_same_bytes() {
        let folders = [folder("tests/golden/models/dense-pair"), folder("tests/golden/models/dense-pair")];
        let most = |needs: &[Needs]| needs.iter().map(|needs| needs.forms[0].peak).max().unwrap();
        let mut shelf = shelf(&folders, most);
        assert_eq!(ask(&mut shelf, 0, &[1.0; 4]), Some(FailureReason::NoRoom));
        assert_eq!(prepare(&mut shelf, 0, 0), Standing::Coming);
        assert_eq!(shelf.registry.state(ModelId(0)), Some(&ModelState::Loading));
        assert_eq!(prepare(&mut shelf, 1, 0), Standing::Coming, "one is loaded at a time");
        come(&mut shelf, 1).await;
        assert_eq!((prepare(&mut shelf, 0, 2), ask(&mut shelf, 0, &[1.0; 4])), (Standing::Ready, None));
        assert_eq!(prepare(&mut shelf, 1, 3), Standing::Later(at(61)));
        for turn in 1..4 {
            let (now, id) = (61 * turn, u16::from(turn % 2 == 1));
            assert_eq!(prepare(&mut shelf, id, now), Standing::Coming);
            assert_eq!(shelf.registry.state(ModelId(1 - id)), Some(&ModelState::Unloaded));
            come(&mut shelf, now).await;
            assert_eq!(prepare(&mut shelf, id, now), Standing::Ready);
        }
        let counts: Vec<_> =
            shelf.registry.status().map(|model| (model.resident, model.loads, model.unloads)).collect();
        assert_eq!(counts, [(false, 2, 2), (true, 2, 1)]);
    }

    #[tokio::test]
    async fn the_form_of_a_model_is_exchanged_while_the_old_one_still_answers() {
        let mut shelf = shelf(&[folder("models/failure-mode")], |_| u64::MAX);
        let mut ask = async |rule, seconds| {
            let standing = shelf.prepare(ModelId(0), rule, &Budget::NOMINAL, at(seconds));
            if shelf.loading.is_some() {
                come(&mut shelf, seconds).await;
            }
            (standing, shelf.registry.status().next().unwrap().variant.unwrap())
        };
        let (fp32, int8) = (Arc::from("fp32"), Arc::from("int8-qoperator"));
        assert_eq!(ask(VariantRule::Best, 0).await, (Standing::Coming, Arc::clone(&fp32)));
        assert_eq!(ask(VariantRule::Smallest, 1).await, (Standing::Ready, Arc::clone(&int8)));
        assert_eq!(ask(VariantRule::Best, 30).await, (Standing::Ready, int8), "not back and forth");
        assert_eq!(ask(VariantRule::Best, 61).await, (Standing::Ready, fp32));
    }

    #[tokio::test]
    async fn a_model_that_hangs_while_another_form_of_it_is_loaded_stays_out_of_use() {
        let mut shelf = shelf(&[folder("models/failure-mode")], |_| u64::MAX);
        shelf.fill(&[ModelId(0)], at(0));
        let rule = VariantRule::Smallest;
        assert_eq!(shelf.prepare(ModelId(0), rule, &Budget::NOMINAL, at(1)), Standing::Ready);
        assert!(shelf.loading.is_some());
        let (_lent, shown) = shelf.lend(ModelId(0));
        shelf.give_up(ModelId(0), shown, 1);
        come(&mut shelf, 2).await;
        let hung = ModelState::Quarantined(FailureReason::Hung);
        assert_eq!(shelf.registry.state(ModelId(0)), Some(&hung));
        assert_eq!(
            (shelf.registry.memory_bytes(), shelf.residency.kept()),
            (0, 0),
            "it is not kept for nothing"
        );
        assert_eq!(prepare(&mut shelf, 0, 3), Standing::Ready, "it says so itself");
    }

    #[tokio::test]
    async fn a_file_that_is_not_the_one_that_was_admitted_is_not_loaded() {
        let temporary = tempfile::tempdir().unwrap();
        let from = folder("tests/golden/models/echo");
        for file in ["manifest.toml", "golden.json", "model.onnx"] {
            std::fs::copy(from.join(file), temporary.path().join(file)).unwrap();
        }
        let mut shelf = shelf(&[temporary.path().to_owned()], |_| u64::MAX);
        let file = temporary.path().join("model.onnx");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(prepare(&mut shelf, 0, 0), Standing::Coming);
        come(&mut shelf, 0).await;
        let out_of_use = ModelState::Quarantined(FailureReason::Errored);
        assert_eq!(shelf.registry.state(ModelId(0)), Some(&out_of_use));
        assert_eq!(prepare(&mut shelf, 0, 100), Standing::Ready, "it says so itself");
        assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), Some(FailureReason::Quarantined));
    }

    #[tokio::test]
    async fn while_flash_is_to_be_spared_nothing_that_is_away_is_loaded() {
        let mut shelf = shelf(&[folder("tests/golden/models/echo")], |_| u64::MAX);
        let sparing = Budget { spare_flash: true, ..Budget::NOMINAL };
        assert_eq!(shelf.prepare(ModelId(0), VariantRule::Best, &sparing, at(0)), Standing::Not);
        assert_eq!(prepare(&mut shelf, 0, 1), Standing::Coming);
    }

    #[tokio::test]
    async fn a_model_that_hung_and_came_back_is_used_again_three_times_not_more() {
        let mut shelf = shelf(&[folder("tests/golden/models/echo")], |_| u64::MAX);
        shelf.fill(&[ModelId(0)], at(0));
        for hang in 1..=HANGS_MAX {
            assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), None);
            let (lent, shown) = shelf.lend(ModelId(0));
            shelf.give_up(ModelId(0), shown, 8);
            assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), Some(FailureReason::Quarantined));
            shelf.forgive(lent, at(hang));
        }
        let status = shelf.registry.status().next().unwrap();
        assert_eq!(status.state, ModelState::Quarantined(FailureReason::Hung));
        assert_eq!((status.hangs, status.judged, status.resident), (HANGS_MAX, HANGS_MAX, false));
    }
}
