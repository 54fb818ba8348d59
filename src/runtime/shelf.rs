//! The models at the thread that runs them: which are in memory, where the others come from.
//!
//! # Invariants
//! One model is on its way into memory at a time. What is unloaded, loaded or exchanged is decided by
//! [`Residency`](crate::infer::Residency); this only does it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::clock::Uptime;
use crate::flow::{Budget, BudgetReason, FailureReason, Level, ModelId, VariantRule};
use crate::infer::residency::RELOAD_MAX;
use crate::infer::{Cost, Form, Model, ModelState, ModelStatus, Registry, Residency, Step};
use crate::io::admission::{ModelSource, ReloadError, chain};
use crate::runtime::models::forms;
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
                unload.iter().for_each(|victim| self.unload(*victim));
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

    /// Waits until a model that is being loaded has come; for ever if none is.
    pub(in crate::runtime) async fn arrival(&mut self) -> Arrival {
        match &mut self.loading {
            Some(loading) => Arrival((&mut loading.result).await.ok()),
            None => std::future::pending().await,
        }
    }

    /// Takes over a model that has come, if one has.
    pub(in crate::runtime) fn look(&mut self, now: Uptime) {
        let come = self.loading.as_mut().map(|loading| loading.result.try_recv());
        match come {
            Some(Ok(loaded)) => self.arrived(Arrival(Some(loaded)), now),
            Some(Err(oneshot::error::TryRecvError::Closed)) => self.arrived(Arrival(None), now),
            Some(Err(oneshot::error::TryRecvError::Empty)) | None => {}
        }
    }

    /// Takes over what came.
    pub(in crate::runtime) fn arrived(&mut self, Arrival(loaded): Arrival, now: Uptime) {
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
        self.loading = Some(Loading { id, form, began: now, result });
    }

    fn settle(&mut self, id: ModelId, form: usize, loaded: LoadResult, now: Uptime) {
        match loaded {
            Ok((model, cost)) => {
                let Some(known) = self.forms.get_mut(usize::from(id.0)).and_then(|forms| forms.get_mut(form))
                else {
                    return;
                };
                known.cost = cost;
                self.registry.install(id, model, known);
                info!(model = %self.name(id), variant = %self.variant(id), memory = cost.kept, "loaded a model");
                self.residency.loaded(id, form, cost, now);
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

/// What a thread that loads came back with; `None` if it did not.
pub(in crate::runtime) struct Arrival(Option<LoadResult>);

fn load(source: &ModelSource, id: ModelId, form: usize) -> LoadResult {
    let _booked = book(Purpose::Model(usize::from(id.0)));
    source.load(form)
}
