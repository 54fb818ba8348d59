//! Which models are in memory, and in which form: whom to load, whom to let go, what fits at all.
//!
//! # Invariants
//! What is loaded, with what loading takes for a moment and what models that hang keep, is never more than the limit. The
//! model of an alarm stream stays; no other is let go within [`DWELL`] of its load. Nobody is let go in vain.
//!
//! This is the one book of where each model is; whoever holds the models themselves follows it.

mod plan;
mod turns;

use std::time::Duration;

pub use plan::{Fit, choose, plan};
pub use turns::AGED;

use crate::clock::Uptime;
use crate::flow::{ModelId, Priority, VariantRule};

/// How long a model stays at least. Two that take turns then lose a few percent of the time to loading, which takes
/// at most [`RELOAD_MAX`], and a minute is longer than the bursts of a plant.
pub const DWELL: Duration = Duration::from_mins(1);

/// Longest time a model that was unloaded takes to be ready again: reading, checking and planning the largest of ours
/// takes a tenth of a second on a desk and ten times that on a Pi 3. One that took longer is told in the log.
pub const RELOAD_MAX: Duration = Duration::from_secs(5);

/// What one form of a model costs on this board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Heap it keeps, in bytes.
    pub kept: u64,
    /// Most heap that is taken while it is loaded, what it keeps included.
    pub peak: u64,
    /// Processor time of one input.
    pub spent: Duration,
}

/// What a model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Its forms, in the order of its manifest: the best first. Empty for a model that was refused.
    pub forms: Vec<Cost>,
    /// The most urgent lane of the streams that need it. The model of an alarm stream stays.
    pub lane: Priority,
}

impl Needs {
    /// Whether it stays.
    pub fn is_pinned(&self) -> bool {
        self.lane == Priority::Alarm
    }
}

impl Default for Needs {
    /// Of a model that is never loaded.
    fn default() -> Self {
        Self { forms: Vec::new(), lane: Priority::Bulk }
    }
}

/// What to do so that a model can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: ask it.
    Ready,
    /// Unload these, then load this form.
    Load {
        /// Least recently useful first; the model itself stands here where its other form has to go first.
        unload: Vec<ModelId>,
        /// Index of the form.
        form: usize,
    },
    /// Who would have to go has been loaded too recently: not before this.
    Wait {
        /// When to ask again.
        until: Uptime,
    },
    /// It was refused, has failed, or does not fit beside those that stay.
    Never,
}

/// What is loaded, and how much may be.
#[derive(Clone, Debug)]
pub struct Residency {
    limit: u64,
    rule: VariantRule,
    places: Vec<Place>,
    coming: Option<Coming>,
}

#[derive(Clone, Debug)]
struct Place {
    needs: Needs,
    at: Whereabouts,
    used: Uptime,
    /// Since when work has waited for it.
    wanted: Option<Uptime>,
}

/// Where a model is.
#[derive(Clone, Copy, Debug)]
enum Whereabouts {
    /// Not in memory.
    Away,
    /// In memory, to be asked.
    Here(Loaded),
    /// Held by a thread that gives no sign of life: not to be asked, its memory stays taken.
    Lost(Loaded),
    /// Not to be asked any more; its memory is free.
    Out,
}

#[derive(Clone, Copy, Debug)]
struct Loaded {
    form: usize,
    since: Uptime,
    /// As it was when it came, whatever its form is found to cost later.
    kept: u64,
}

/// A form on its way into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Whose.
    pub id: ModelId,
    /// Index of the form.
    pub form: usize,
    /// Memory that is taken for it meanwhile: none while only its file is checked.
    pub peak: u64,
}

/// What a form costs that cannot be loaded any more.
const WITHDRAWN: Cost = Cost { kept: u64::MAX, peak: u64::MAX, spent: Duration::MAX };

/// Whether so much can be loaded beside so much, under a limit.
type Fits = fn(limit: u64, beside: u64, peak: u64) -> bool;

fn fits(limit: u64, beside: u64, peak: u64) -> bool {
    beside.saturating_add(peak) <= limit
}

impl Residency {
    /// Nothing is loaded yet.
    pub fn new(models: Vec<Needs>, limit: u64) -> Self {
        let rule = match plan(&models, limit) {
            Fit::Together { rule, .. } | Fit::Turns { rule, .. } => rule,
            Fit::Never { .. } => VariantRule::Smallest,
        };
        let place = |needs| Place { needs, at: Whereabouts::Away, used: Uptime::ZERO, wanted: None };
        Self { limit, rule, places: models.into_iter().map(place).collect(), coming: None }
    }

    /// What to do so that a model can be asked in the form a rule asks for.
    pub fn step(&self, id: ModelId, rule: VariantRule, now: Uptime) -> Step {
        self.step_by(fits, id, rule, now)
    }

    fn step_by(&self, fits: Fits, id: ModelId, rule: VariantRule, now: Uptime) -> Step {
        let Some(place) = self.place(id) else { return Step::Never };
        let Some(form) = self.form_for(&place.needs.forms, rule) else { return Step::Never };
        match place.at {
            Whereabouts::Here(loaded) if loaded.form == form => Step::Ready,
            Whereabouts::Here(loaded) => self.exchange(fits, id, (loaded, form), rule, now),
            Whereabouts::Away => {
                let step = self.bring_in(fits, id, form, now);
                let displaces = matches!(&step, Step::Load { unload, .. } if !unload.is_empty());
                let waits = displaces && self.is_behind(fits, id, rule, now);
                if waits { Step::Wait { until: now.after(DWELL) } } else { step }
            }
            Whereabouts::Lost(_) | Whereabouts::Out => Step::Never,
        }
    }

    /// The form a rule asks for, of those that take no more than was planned for: else a model that stays could grow
    /// until others fit no more.
    fn form_for(&self, forms: &[Cost], rule: VariantRule) -> Option<usize> {
        let usable = forms.iter().enumerate().filter(|(_, cost)| cost.kept < WITHDRAWN.kept);
        let costs: Vec<Cost> = usable.clone().map(|(_, cost)| *cost).collect();
        let most = costs.get(choose(&costs, self.rule)?)?;
        let allowed = usable.filter(|(_, cost)| cost.kept <= most.kept && cost.peak <= most.peak);
        let (numbers, costs): (Vec<usize>, Vec<Cost>) = allowed.map(|(form, cost)| (form, *cost)).unzip();
        // Where the best do not fit, nothing is worth more than being small.
        let rule = if self.rule == VariantRule::Smallest { self.rule } else { rule };
        numbers.get(choose(&costs, rule)?).copied()
    }

    /// Another form of a model that is loaded. Nobody else goes for it, and back to a better one only after a while.
    fn exchange(
        &self,
        fits: Fits,
        id: ModelId,
        (loaded, form): (Loaded, usize),
        rule: VariantRule,
        now: Uptime,
    ) -> Step {
        let peak = self.cost(id, form).peak;
        if rule == VariantRule::Best && now.since(loaded.since) < DWELL {
            return Step::Ready;
        }
        if fits(self.limit, self.taken(), peak) {
            return Step::Load { unload: Vec::new(), form };
        }
        let beside = self.taken().saturating_sub(loaded.kept);
        if fits(self.limit, beside, peak) { Step::Load { unload: vec![id], form } } else { Step::Ready }
    }

    /// A model that is not loaded. The least recently useful go for it, those that may go now first.
    fn bring_in(&self, fits: Fits, id: ModelId, form: usize, now: Uptime) -> Step {
        let peak = self.cost(id, form).peak;
        let mut beside = self.taken();
        let mut unload = Vec::new();
        let from = |victim: &(ModelId, Loaded)| self.gives_way(*victim, id, now);
        let (free, mut staying): (Vec<_>, Vec<_>) = self.movable(id).partition(|victim| from(victim) <= now);
        for (victim, loaded) in free {
            if fits(self.limit, beside, peak) {
                break;
            }
            beside = beside.saturating_sub(loaded.kept);
            unload.push(victim);
        }
        if fits(self.limit, beside, peak) {
            self.spare(fits, &mut unload, beside, peak);
            return Step::Load { unload, form };
        }
        staying.sort_by_key(from);
        let mut until = None;
        for victim in staying {
            beside = beside.saturating_sub(victim.1.kept);
            until = Some(from(&victim));
            if fits(self.limit, beside, peak) {
                break;
            }
        }
        match until.filter(|_| fits(self.limit, beside, peak)) {
            Some(until) => Step::Wait { until },
            None => Step::Never,
        }
    }

    /// Keeps those of the victims whose place is not needed: a small one that went before a large one.
    fn spare(&self, fits: Fits, unload: &mut Vec<ModelId>, mut beside: u64, peak: u64) {
        // The most recently useful is kept first.
        for index in (0..unload.len()).rev() {
            let Some(&victim) = unload.get(index) else { continue };
            let with = beside.saturating_add(self.kept_by(victim));
            if fits(self.limit, with, peak) {
                beside = with;
                unload.remove(index);
            }
        }
    }

    /// Whether a model that is away has no room beside those that stay, whoever else goes: those of alarms, and what hangs.
    pub fn is_shut_out(&self, id: ModelId) -> bool {
        let Some(place) = self.place(id).filter(|place| matches!(place.at, Whereabouts::Away)) else {
            return false;
        };
        let stays = self.places.iter().filter_map(|other| match other.at {
            Whereabouts::Here(loaded) => other.needs.is_pinned().then_some(loaded.kept),
            Whereabouts::Lost(loaded) => Some(loaded.kept),
            Whereabouts::Away | Whereabouts::Out => None,
        });
        let beside = stays.fold(0, u64::saturating_add);
        let form = self.form_for(&place.needs.forms, VariantRule::Best);
        form.is_some_and(|form| !fits(self.limit, beside, self.cost(id, form).peak))
    }

    /// Who can be let go while memory is short, least recently useful first: those nobody has needed for [`DWELL`], and
    /// with `all` whoever has been loaded for that long. The pinned stay.
    pub fn idle(&self, all: bool, now: Uptime) -> Vec<ModelId> {
        let is_idle = |id: ModelId| self.place(id).is_some_and(|place| now.since(place.used) >= DWELL);
        let movable = self.movable(ModelId(u16::MAX));
        let gone = movable.filter(|(id, loaded)| now.since(loaded.since) >= DWELL && (all || is_idle(*id)));
        gone.map(|(id, _)| id).collect()
    }

    /// The file of a form is checked before anything is done for it.
    pub fn check(&mut self, id: ModelId, form: usize) {
        self.coming = Some(Coming { id, form, peak: 0 });
    }

    /// A form is being loaded: what that takes is taken.
    pub fn begin(&mut self, id: ModelId, form: usize) {
        self.coming = Some(Coming { id, form, peak: self.cost(id, form).peak });
    }

    /// What is on its way.
    pub fn coming(&self) -> Option<Coming> {
        self.coming
    }

    /// What was on its way is not any more.
    pub fn end(&mut self) -> Option<Coming> {
        self.coming.take()
    }

    /// A form has come and takes this much, as measured now; false for a model that was put out of use meanwhile: it is
    /// not for the form to undo that.
    pub fn loaded(&mut self, id: ModelId, form: usize, cost: Cost, now: Uptime) -> bool {
        let Some(place) = self.place_mut(id) else { return false };
        match place.at {
            Whereabouts::Away | Whereabouts::Here(_) => {}
            Whereabouts::Lost(_) | Whereabouts::Out => return false,
        }
        place.at = Whereabouts::Here(Loaded { form, since: now, kept: cost.kept });
        (place.used, place.wanted) = (place.used.max(now), None);
        if let Some(known) = place.needs.forms.get_mut(form) {
            *known = cost;
        }
        true
    }

    /// A form cannot be loaded any more: others of the model can. False where none is left, and it is not in memory either.
    pub fn withdraw(&mut self, id: ModelId, form: usize) -> bool {
        let Some(place) = self.place_mut(id) else { return false };
        if let Some(known) = place.needs.forms.get_mut(form) {
            *known = WITHDRAWN;
        }
        let is_away = matches!(place.at, Whereabouts::Away);
        !is_away || place.needs.forms.iter().any(|cost| *cost != WITHDRAWN)
    }

    /// It is no longer in memory.
    pub fn unloaded(&mut self, id: ModelId) {
        if let Some(place) = self.place_mut(id)
            && matches!(place.at, Whereabouts::Here(_))
        {
            place.at = Whereabouts::Away;
        }
    }

    /// It was asked.
    pub fn used(&mut self, id: ModelId, now: Uptime) {
        if let Some(place) = self.place_mut(id) {
            place.used = now;
        }
    }

    /// It is not to be asked any more, and its memory is free again; that of one that hangs is not.
    pub fn bar(&mut self, id: ModelId) {
        if let Some(place) = self.place_mut(id)
            && !matches!(place.at, Whereabouts::Lost(_))
        {
            place.at = Whereabouts::Out;
        }
    }

    /// It hangs: it is not asked any more, and its memory stays taken.
    pub fn lose(&mut self, id: ModelId) {
        if let Some(place) = self.place_mut(id) {
            place.at = match place.at {
                Whereabouts::Here(loaded) | Whereabouts::Lost(loaded) => Whereabouts::Lost(loaded),
                Whereabouts::Away | Whereabouts::Out => Whereabouts::Out,
            };
        }
    }

    /// It hung and came back, as it went.
    pub fn regain(&mut self, id: ModelId, now: Uptime) {
        if let Some(place) = self.place_mut(id)
            && let Whereabouts::Lost(loaded) = place.at
        {
            place.at = Whereabouts::Here(Loaded { since: now, ..loaded });
        }
    }

    /// The form that is in memory, to be asked.
    pub fn form(&self, id: ModelId) -> Option<usize> {
        self.place(id)?.here().map(|loaded| loaded.form)
    }

    /// What a form costs; nothing where there is none.
    pub fn cost(&self, id: ModelId, form: usize) -> Cost {
        let cost = self.place(id).and_then(|place| place.needs.forms.get(form));
        cost.copied().unwrap_or_default()
    }

    /// Heap of all that can be asked, in bytes.
    pub fn kept(&self) -> u64 {
        self.ids().map(|id| self.kept_by(id)).fold(0, u64::saturating_add)
    }

    /// Heap of all there is: also of what hangs, and of what is on its way.
    pub fn taken(&self) -> u64 {
        let lost = self.places.iter().filter_map(|place| match place.at {
            Whereabouts::Lost(loaded) => Some(loaded.kept),
            Whereabouts::Away | Whereabouts::Here(_) | Whereabouts::Out => None,
        });
        let coming = self.coming.map(|coming| coming.peak);
        lost.chain(coming).fold(self.kept(), u64::saturating_add)
    }

    /// Bytes models may take.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn kept_by(&self, id: ModelId) -> u64 {
        self.place(id).and_then(Place::here).map_or(0, |loaded| loaded.kept)
    }

    /// The loaded models that are not pinned and not this one, least recently useful first.
    fn movable(&self, not: ModelId) -> impl Iterator<Item = (ModelId, Loaded)> {
        let loaded = (0_u16..).map(ModelId).zip(&self.places);
        let loaded = loaded.filter(|(id, place)| *id != not && !place.needs.is_pinned());
        let mut loaded: Vec<_> =
            loaded.filter_map(|(id, place)| Some((place.used, id, place.here()?))).collect();
        loaded.sort_by_key(|(used, id, _)| (*used, id.0));
        loaded.into_iter().map(|(_, id, loaded)| (id, loaded))
    }

    fn ids(&self) -> impl Iterator<Item = ModelId> + use<> {
        (0_u16..).map(ModelId).take(self.places.len())
    }

    fn place(&self, id: ModelId) -> Option<&Place> {
        self.places.get(usize::from(id.0))
    }

    fn place_mut(&mut self, id: ModelId) -> Option<&mut Place> {
        self.places.get_mut(usize::from(id.0))
    }
}

impl Place {
    fn here(&self) -> Option<Loaded> {
        match self.at {
            Whereabouts::Here(loaded) => Some(loaded),
            Whereabouts::Away | Whereabouts::Lost(_) | Whereabouts::Out => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost(kept: u64, peak: u64, micros: u64) -> Cost {
        Cost { kept, peak, spent: Duration::from_micros(micros) }
    }

    fn lane(pinned: bool) -> Priority {
        if pinned { Priority::Alarm } else { Priority::Normal }
    }

    fn needs(kept: u64, pinned: bool) -> Needs {
        Needs { forms: vec![cost(kept, kept, 9), cost(kept / 2, kept / 2, 5)], lane: lane(pinned) }
    }

    fn at(seconds: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_secs(seconds))
    }

    /// Does as it was told; fails where that takes more than the limit, or the wrong ones go.
    fn obey(
        world: &mut Residency,
        fits: Fits,
        id: ModelId,
        rule: VariantRule,
        now: Uptime,
    ) -> Result<Step, String> {
        let step = world.step_by(fits, id, rule, now);
        let Step::Load { unload, form } = &step else { return Ok(step) };
        let peak = world.cost(id, *form).peak;
        for (index, &victim) in unload.iter().enumerate() {
            let place = world.place(victim).ok_or("nobody")?;
            let loaded = place.here().ok_or("a victim that is not loaded")?;
            if victim != id && (place.needs.is_pinned() || now.since(loaded.since) < DWELL) {
                return Err(format!("{victim:?} was to stay"));
            }
            let rest = unload.iter().enumerate().filter(|(other, _)| *other != index);
            let rest: u64 = rest.map(|(_, other)| world.kept_by(*other)).sum();
            if world.taken() - rest + peak <= world.limit {
                return Err(format!("{victim:?} went in vain"));
            }
        }
        for victim in unload {
            world.unloaded(*victim);
        }
        world.begin(id, *form);
        if world.taken() > world.limit {
            return Err(format!("{} with {peak} under {}", world.taken(), world.limit));
        }
        world.end();
        let known = world.cost(id, *form);
        world.loaded(id, *form, known, now);
        Ok(step)
    }

    #[test]
    fn models_that_do_not_fit_together_take_turns_and_none_goes_within_a_minute_of_its_load() {
        let mut world = Residency::new(vec![needs(60, false), needs(50, false), needs(10, true)], 100);
        let mut ask = |id, seconds| {
            let step = obey(&mut world, fits, ModelId(id), VariantRule::Best, at(seconds)).unwrap();
            world.used(ModelId(id), at(seconds));
            step
        };
        let load =
            |unload: &[u16]| Step::Load { unload: unload.iter().map(|id| ModelId(*id)).collect(), form: 1 };
        // All fit in their smaller forms, so these are what is loaded.
        assert_eq!([ask(0, 0), ask(1, 0), ask(2, 0)], [load(&[]), load(&[]), load(&[])]);
        let mut world = Residency::new(vec![needs(60, false), needs(50, false), needs(10, true)], 45);
        let mut ask = |id, seconds| {
            let step = obey(&mut world, fits, ModelId(id), VariantRule::Best, at(seconds)).unwrap();
            world.used(ModelId(id), at(seconds));
            step
        };
        assert_eq!([ask(2, 0), ask(0, 0), ask(0, 1)], [load(&[]), load(&[]), Step::Ready]);
        assert_eq!(ask(1, 59), Step::Wait { until: at(60) });
        assert_eq!(ask(1, 60), load(&[0]), "the alarm's model stays");
        assert_eq!(ask(0, 119), Step::Wait { until: at(120) });
        assert_eq!(ask(0, 120), load(&[1]));
    }

    #[test]
    fn the_least_recently_useful_goes_and_only_as_many_as_needed() {
        let models = vec![needs(20, false), needs(30, false), needs(40, false), needs(50, false)];
        let mut world = Residency::new(models, 100);
        world.rule = VariantRule::Best;
        for (id, used) in [(0, 100), (1, 90), (2, 110)] {
            obey(&mut world, fits, ModelId(id), VariantRule::Best, at(0)).unwrap();
            world.used(ModelId(id), at(used));
        }
        // 90 are loaded: 40 have to go. Number 1 and 0 are 50, and 1 with 0 is the least that is enough.
        let step = obey(&mut world, fits, ModelId(3), VariantRule::Best, at(200)).unwrap();
        assert_eq!(step, Step::Load { unload: vec![ModelId(1), ModelId(0)], form: 0 });
        let mut world = Residency::new(vec![needs(10, false), needs(60, false), needs(70, false)], 80);
        world.rule = VariantRule::Best;
        for id in [0, 1] {
            obey(&mut world, fits, ModelId(id), VariantRule::Best, at(u64::from(id))).unwrap();
        }
        let step = obey(&mut world, fits, ModelId(2), VariantRule::Best, at(200)).unwrap();
        assert_eq!(step, Step::Load { unload: vec![ModelId(1)], form: 0 }, "the small one went in vain");
    }

    #[test]
    fn the_rule_picks_by_what_was_measured_and_a_better_form_comes_back_only_after_a_while() {
        let forms = vec![cost(100, 150, 50), cost(60, 80, 80), cost(70, 90, 10)];
        for (rule, form) in [(VariantRule::Best, 0), (VariantRule::Cheapest, 2), (VariantRule::Smallest, 1)] {
            assert_eq!(choose(&forms, rule), Some(form));
        }
        let mut world = Residency::new(vec![Needs { forms, lane: Priority::Alarm }], 200);
        let id = ModelId(0);
        let mut ask = |rule, seconds| obey(&mut world, fits, id, rule, at(seconds)).unwrap();
        let load = |unload: &[ModelId], form| Step::Load { unload: unload.to_vec(), form };
        assert_eq!(ask(VariantRule::Best, 0), load(&[], 0));
        assert_eq!(ask(VariantRule::Cheapest, 1), load(&[], 2), "beside the old one: nobody waits");
        assert_eq!(ask(VariantRule::Best, 60), Step::Ready, "heat comes and goes");
        assert_eq!(ask(VariantRule::Best, 61), load(&[id], 0), "there is no room for both");
    }

    #[test]
    fn a_plan_says_who_stays_who_takes_turns_and_what_is_too_much() {
        let models = [needs(60, false), needs(50, false), needs(10, true), Needs::default()];
        let turns = vec![ModelId(0), ModelId(1)];
        assert_eq!(plan(&models, 120), Fit::Together { needed: 120, rule: VariantRule::Best });
        assert_eq!(plan(&models, 119), Fit::Together { needed: 60, rule: VariantRule::Smallest });
        let fit = Fit::Turns { needed: 35, together: 60, turns, rule: VariantRule::Smallest };
        assert_eq!(plan(&models, 59), fit);
        assert_eq!(plan(&models, 35), fit);
        assert_eq!(plan(&models, 34), Fit::Never { needed: 35, largest: ModelId(0) });
        assert_eq!(plan(&[], 0), Fit::Together { needed: 0, rule: VariantRule::Best });
        let vast = [needs(u64::MAX, true), needs(u64::MAX, true), needs(u64::MAX, true)];
        assert!(
            matches!(plan(&vast, 10), Fit::Never { needed: u64::MAX, .. }),
            "a sum that is too large is no panic"
        );
        // What loading takes for a moment counts once, for the worst.
        let heavy = [Needs { forms: vec![cost(10, 100, 1)], lane: Priority::Normal }, needs(20, false)];
        assert_eq!(plan(&heavy, 120), Fit::Together { needed: 120, rule: VariantRule::Best });
    }

    #[test]
    fn a_model_that_never_fits_is_told_from_one_that_waits_for_its_turn() {
        let mut world = Residency::new(vec![needs(60, true), needs(90, false), needs(40, false)], 70);
        let shut_out = |world: &Residency| [0, 1, 2].map(|id| world.is_shut_out(ModelId(id)));
        assert_eq!(shut_out(&world), [false, false, false], "each has room alone, in its smallest form");
        obey(&mut world, fits, ModelId(0), VariantRule::Best, at(0)).unwrap();
        assert_eq!((shut_out(&world), world.kept()), ([false, true, false], 30));
        assert_eq!(world.step(ModelId(1), VariantRule::Best, at(100)), Step::Never);
        obey(&mut world, fits, ModelId(2), VariantRule::Best, at(100)).unwrap();
        world.lose(ModelId(2));
        assert_eq!(shut_out(&world), [false, true, false], "one that hangs is not away");
        let none = Residency::new(vec![needs(60, true), Needs::default()], 0);
        assert_eq!(
            [0, 1].map(|id| none.is_shut_out(ModelId(id))),
            [true, false],
            "one that was refused says so itself"
        );
    }

    #[test]
    fn the_memory_of_a_model_that_hangs_stays_taken() {
        let mut world = Residency::new(vec![needs(40, false), needs(50, false)], 100);
        for id in [0, 1] {
            obey(&mut world, fits, ModelId(id), VariantRule::Best, at(0)).unwrap();
        }
        world.lose(ModelId(0));
        assert_eq!((world.taken(), world.kept()), (90, 50));
        assert_eq!(world.step(ModelId(0), VariantRule::Best, at(100)), Step::Never);
        world.bar(ModelId(0));
        assert!(!world.loaded(ModelId(0), 1, cost(20, 20, 5), at(100)), "it hangs all the same");
        world.withdraw(ModelId(0), 0);
        assert_eq!(world.taken(), 90, "what it cost when it came is what it keeps");
        world.regain(ModelId(0), at(100));
        assert_eq!((world.taken(), world.kept()), (90, 90));
        assert_eq!(world.form(ModelId(0)), Some(0));
        world.regain(ModelId(0), at(101));
        assert_eq!(world.taken(), 90, "once");
    }

    #[test]
    fn short_of_memory_whoever_idles_goes_and_the_pinned_stay() {
        let mut world = Residency::new(vec![needs(10, false), needs(10, true), needs(10, false)], 100);
        for id in 0..3 {
            obey(&mut world, fits, ModelId(id), VariantRule::Best, at(0)).unwrap();
        }
        world.used(ModelId(2), at(50));
        assert!(world.idle(true, at(59)).is_empty());
        assert_eq!(world.idle(false, at(100)), [ModelId(0)]);
        assert_eq!(world.idle(true, at(100)), [ModelId(0), ModelId(2)]);
    }

    type Script = (Vec<(Vec<(u64, u64, u64)>, bool)>, u64, Vec<(u16, u8, u64)>);

    fn script() -> impl Strategy<Value = Script> {
        let form = (1_u64..50, 0_u64..50, 0_u64..9);
        let model = (prop::collection::vec(form, 1..4), prop::bool::weighted(0.2));
        let steps = prop::collection::vec((0_u16..6, 0_u8..8, 0_u64..40), 1..60);
        (prop::collection::vec(model, 1..6), 20_u64..200, steps)
    }

    /// Plays a script by a rule of fitting; says what went wrong.
    fn play((models, limit, steps): &Script, fits: Fits) -> Result<(), String> {
        let needs = |(forms, pinned): &(Vec<(u64, u64, u64)>, bool)| Needs {
            forms: forms.iter().map(|(kept, more, spent)| cost(*kept, kept + more, *spent)).collect(),
            lane: lane(*pinned),
        };
        let models: Vec<Needs> = models.iter().map(needs).collect();
        let (count, fit) = (u16::try_from(models.len()).unwrap(), plan(&models, *limit));
        let (mut world, mut now) = (Residency::new(models.clone(), *limit), 0);
        let rules = [VariantRule::Best, VariantRule::Cheapest, VariantRule::Smallest];
        for id in (0..count).filter(|id| models[usize::from(*id)].is_pinned()) {
            let step = obey(&mut world, fits, ModelId(id), VariantRule::Best, at(0))?;
            if matches!(step, Step::Wait { .. }) {
                return Err("the pinned come first and wait for nobody".to_owned());
            }
        }
        for (id, rule, wait) in steps {
            now += wait;
            let (id, rule) = (ModelId(id % count), rules[usize::from(rule % 3)]);
            match obey(&mut world, fits, id, rule, at(now))? {
                Step::Ready | Step::Load { .. } => world.used(id, at(now)),
                Step::Wait { until } if until > at(now) && until <= at(now + 60) => {}
                Step::Never if matches!(fit, Fit::Never { .. }) => {}
                step @ (Step::Wait { .. } | Step::Never) => {
                    return Err(format!("{step:?} of {id:?} at {now} with {fit:?}"));
                }
            }
        }
        // A minute later everybody who fits at all gets a turn.
        for id in (0..count).filter(|_| !matches!(fit, Fit::Never { .. })) {
            now += 60;
            let step = obey(&mut world, fits, ModelId(id), VariantRule::Best, at(now))?;
            if world.form(ModelId(id)).is_none() {
                return Err(format!("{step:?}: {id} gets no turn with {fit:?}"));
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_limit_holds_nobody_goes_in_vain_and_everybody_gets_a_turn(script in script()) {
            prop_assert_eq!(play(&script, fits), Ok(()));
        }
    }

    /// Planted: the model that comes is forgotten when what fits is counted.
    #[test]
    fn a_limit_that_is_off_by_one_model_would_be_noticed() {
        use proptest::strategy::ValueTree;
        use proptest::test_runner::TestRunner;
        let mut runner = TestRunner::deterministic();
        let caught = (0..200).filter(|_| {
            let script = script().new_tree(&mut runner).unwrap().current();
            play(&script, |limit, beside, _| beside <= limit).is_err()
        });
        let caught = caught.count();
        println!("MEM: a limit off by one model: seed deterministic, caught in {caught} of 200 scripts");
        assert!(caught > 50, "{caught}");
    }
}
