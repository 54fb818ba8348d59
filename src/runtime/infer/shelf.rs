//! The models at the thread that runs them: which are in memory, where the others come from.
//!
//! # Invariants
//! One model is on its way into memory at a time. Nobody gives way to one whose file is not the one that was admitted.
//! What is unloaded, loaded or exchanged is decided by [`Residency`], which is also the book of where each model is;
//! this only does it. Whether a model can be trusted is known to the [`Registry`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::{RecvError, TryRecvError};
use tracing::{error, info, warn};

use crate::clock::Uptime;
use crate::flow::{Budget, BudgetReason, FailureReason, Level, ModelId, VariantRule};
use crate::infer::residency::{Coming, RELOAD_MAX};
use crate::infer::{Cost, Form, Model, ModelState, ModelStatus, Registry, Residency, Step};
use crate::io::admission::{ModelSource, ReloadError, chain};
use crate::runtime::infer::models::forms;
use crate::runtime::reading::Reading;
use crate::runtime::retry::best_effort;
use crate::telemetry::{Purpose, book};

/// Times a model may give no sign of life and come back; then it stays out of use.
const HANGS_MAX: u64 = 3;

/// Why a model is never loaded. The service goes on without it where `check` refuses: what can be done is done.
const SHUT_OUT: &str = "no room in budget.memory: tidegate check prints the sum";

/// The models, loaded or not.
pub(in crate::runtime) struct Shelf {
    pub(in crate::runtime) registry: Registry,
    /// By model; `None` where it takes features.
    readings: Vec<Option<Reading>>,
    residency: Residency,
    sources: Vec<Option<Arc<ModelSource>>>,
    forms: Vec<Vec<Form>>,
    /// The thread that sees to what is on its way.
    fetch: Option<Fetch>,
}

/// What a thread does for a model on its way into memory.
struct Fetch {
    rule: VariantRule,
    began: Uptime,
    result: oneshot::Receiver<Fetched>,
    /// What came, until it is taken over; an error if its thread ended early.
    come: Option<Result<Fetched, RecvError>>,
}

enum Fetched {
    /// Whether the file is the one that was admitted: others may give way to it now.
    Checked(Result<(), ReloadError>),
    Loaded(LoadResult),
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
        Self { registry, readings, residency, sources, forms, fetch: None }
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
        for id in pinned_first.iter().filter(|id| self.residency.is_shut_out(**id)) {
            error!(model = %self.name(*id), why = SHUT_OUT, "a model is not in use");
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
            Step::Never if self.is_out_of_use(id) => Standing::Ready,
            // What fits is known again when that has come.
            Step::Never | Step::Wait { .. } | Step::Load { .. } if self.fetch.is_some() => standing(is_here),
            Step::Never => Standing::Not,
            Step::Wait { until } => Standing::Later(until),
            // A supply that sags is not asked for a burst of work that can wait.
            Step::Load { .. } if budget.spare_flash && !is_here => Standing::Not,
            Step::Load { unload, form } => {
                if unload.is_empty() {
                    self.load(id, form, source, (rule, now));
                } else {
                    self.check(id, form, source, (rule, now));
                }
                standing(is_here)
            }
        }
    }

    /// Since when work has waited for models that are away: the one it has waited longest for is loaded without being
    /// asked, when that is long.
    pub(in crate::runtime) fn take_turns(&mut self, wanted: &[Option<Uptime>], budget: &Budget, now: Uptime) {
        self.residency.want(wanted);
        if let Some(id) = self.residency.due(budget.variant, now).filter(|_| self.fetch.is_none()) {
            self.prepare(id, budget.variant, budget, now);
        }
    }

    /// From when on each model that is away may be asked, by [`ModelId`].
    pub(in crate::runtime) fn turns(
        &self,
        rule: VariantRule,
        now: Uptime,
    ) -> impl Iterator<Item = Option<Uptime>> + '_ {
        self.residency.turns(rule, now)
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
        match &mut self.fetch {
            Some(fetch) if fetch.come.is_none() => fetch.come = Some((&mut fetch.result).await),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Takes over what has come, if something has.
    pub(in crate::runtime) fn look(&mut self, now: Uptime) {
        let come = self.fetch.as_mut().and_then(|fetch| match fetch.come.take() {
            Some(come) => Some(come.ok()),
            None => match fetch.result.try_recv() {
                Ok(fetched) => Some(Some(fetched)),
                Err(TryRecvError::Closed) => Some(None),
                Err(TryRecvError::Empty) => None,
            },
        });
        if let Some(fetched) = come {
            self.arrived(fetched, now);
        }
    }

    fn arrived(&mut self, fetched: Option<Fetched>, now: Uptime) {
        let (Some(fetch), Some(Coming { id, form, .. })) = (self.fetch.take(), self.residency.end()) else {
            return;
        };
        let took = now.since(fetch.began);
        if took > RELOAD_MAX {
            let model = self.name(id);
            warn!(%model, ?took, "loading a model took longer than it should");
        }
        match fetched {
            Some(Fetched::Checked(Ok(()))) => self.make_room(id, form, (fetch.rule, now)),
            Some(Fetched::Checked(Err(error))) => self.failed(id, form, &chain(&error)),
            Some(Fetched::Loaded(loaded)) => self.settle(id, form, loaded, now),
            // Its thread could not be started or panicked: that form is not tried again.
            None => self.failed(id, form, "the thread that loads it ended early"),
        }
    }

    /// Lets those go who have to give way to a form that was checked, if that is still to be done, and loads it.
    fn make_room(&mut self, id: ModelId, checked: usize, (rule, now): (VariantRule, Uptime)) {
        if let Step::Load { unload, form } = self.residency.step(id, rule, now)
            && form == checked
            && let Some(source) = self.source(id)
        {
            for victim in unload {
                self.unload(victim);
            }
            self.load(id, form, source, (rule, now));
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
        self.bar_what_is_out_of_use(model);
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
        self.registry.forgive(model, registry);
        self.put_reading(model, reading);
        self.residency.regain(model, now);
        let name = self.name(model);
        warn!(model = %name, hangs, "a model that had given no sign of life came back");
        if hangs >= HANGS_MAX {
            self.registry.quarantine(model, FailureReason::Hung);
        }
        self.bar_what_is_out_of_use(model);
    }

    /// What is shown of each model.
    pub(in crate::runtime) fn status(&self) -> Vec<ModelStatus> {
        let coming = self.residency.coming().map(|coming| coming.id);
        let mut shown: Vec<ModelStatus> = self.registry.status().collect();
        for (id, model) in (0_u16..).zip(&mut shown) {
            if model.state != ModelState::Unloaded {
                continue;
            }
            if coming == Some(ModelId(id)) {
                model.state = ModelState::Loading;
            } else if self.residency.is_shut_out(ModelId(id)) {
                model.state = ModelState::Refused(SHUT_OUT.to_owned());
            }
        }
        shown
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

    fn check(&mut self, id: ModelId, form: usize, source: Arc<ModelSource>, asked: (VariantRule, Uptime)) {
        self.residency.check(id, form);
        self.fetch = Some(fetch(asked, move || Fetched::Checked(source.check(form))));
    }

    fn load(&mut self, id: ModelId, form: usize, source: Arc<ModelSource>, asked: (VariantRule, Uptime)) {
        self.residency.begin(id, form);
        self.fetch = Some(fetch(asked, move || Fetched::Loaded(load(&source, id, form))));
    }

    fn settle(&mut self, id: ModelId, form: usize, loaded: LoadResult, now: Uptime) {
        match loaded {
            Ok((model, cost)) => {
                let Some(known) = self.forms.get_mut(usize::from(id.0)).and_then(|forms| forms.get_mut(form))
                else {
                    return;
                };
                // Put out of use while another form of it was on its way: that is not for the form to undo.
                if !self.residency.loaded(id, form, cost, now) {
                    return;
                }
                known.cost = cost;
                self.registry.install(id, model, known);
                info!(model = %self.name(id), variant = %self.variant(id), memory = cost.kept, "loaded a model");
            }
            Err(error) => self.failed(id, form, &chain(&error)),
        }
    }

    fn failed(&mut self, id: ModelId, form: usize, why: &str) {
        error!(model = %self.name(id), why, "could not load a model");
        if !self.residency.withdraw(id, form) {
            self.registry.quarantine(id, FailureReason::Errored);
            self.residency.bar(id);
        }
    }

    fn is_out_of_use(&self, id: ModelId) -> bool {
        matches!(self.registry.state(id), Some(ModelState::Quarantined(_)))
    }

    fn bar_what_is_out_of_use(&mut self, id: ModelId) {
        if self.is_out_of_use(id) {
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

fn standing(is_here: bool) -> Standing {
    if is_here { Standing::Ready } else { Standing::Coming }
}

/// Does work on a thread of its own.
fn fetch((rule, began): (VariantRule, Uptime), work: impl FnOnce() -> Fetched + Send + 'static) -> Fetch {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("tg-load".to_owned());
    if let Err(why) = thread.spawn(move || best_effort(done.send(work()))) {
        // Its end of the channel is gone: seen as a load that failed.
        warn!(%why, "could not start the thread that loads models");
    }
    Fetch { rule, began, result, come: None }
}

fn load(source: &ModelSource, id: ModelId, form: usize) -> LoadResult {
    let _booked = book(Purpose::Model(usize::from(id.0)));
    source.load(form)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::runtime) use tests::one_at_a_time;
