//! Whose turn it is, among models that do not fit into memory together.
//!
//! # Rule
//! A model stays for [`DWELL`] at least. Then it gives way to whichever is asked first, and the scheduler asks the most
//! urgent lane first and in it the earliest deadline. A model that was of use within [`DWELL`] does not give way to one of
//! a less urgent lane, until that has had work waiting for [`AGED`]: then it is the next, before all whose work waits
//! for less. So each model whose work waits is in memory within [`AGED`] and one [`DWELL`] for each that waits longer.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{ModelId, VariantRule};
use crate::infer::residency::{DWELL, Fits, Loaded, Residency, Step, Whereabouts};

/// How long work waits at most until its model goes before others, whatever its lane: a busy model of a more urgent lane
/// then gives up one minute in six. Work whose deadline is nearer is lost to the more urgent, as it is at a queue.
pub const AGED: Duration = Duration::from_mins(5);

/// Later than anything: it will be told.
const UNKNOWN: Uptime = Uptime(u64::MAX);

impl Residency {
    /// Since when work has waited for each model that is away; `None` for one without.
    pub fn want(&mut self, waiting: &[Option<Uptime>]) {
        let waiting = waiting.iter().copied().chain(std::iter::repeat(None));
        for (place, since) in self.places.iter_mut().zip(waiting) {
            // The oldest may have passed its deadline meanwhile: the model has waited all the same.
            place.wanted = since.map(|since| place.wanted.map_or(since, |before| before.min(since)));
        }
    }

    /// Of each model that is away and can come: from when on it may be asked, [`Uptime::ZERO`] where that is now. While one
    /// is on its way nobody knows.
    pub fn turns(&self, rule: VariantRule, now: Uptime) -> impl Iterator<Item = Option<Uptime>> + '_ {
        self.ids().map(move |id| {
            let place = self.place(id).filter(|place| matches!(place.at, Whereabouts::Away))?;
            self.form_for(&place.needs.forms, rule)?;
            if self.coming.is_some() {
                return Some(UNKNOWN);
            }
            match self.step(id, rule, now) {
                Step::Wait { until } => Some(until),
                Step::Load { .. } => Some(Uptime::ZERO),
                Step::Ready | Step::Never => None,
            }
        })
    }

    /// The model whose work has waited for so long that it is to be loaded now, asked or not.
    pub fn due(&self, rule: VariantRule, now: Uptime) -> Option<ModelId> {
        let aged = self.ids().filter(|id| self.aged_since(*id, now).is_some());
        aged.filter(|id| matches!(self.step(*id, rule, now), Step::Load { .. })).min_by_key(|id| id.0)
    }

    /// From when on a loaded model may be let go for another.
    pub(super) fn gives_way(&self, (victim, loaded): (ModelId, Loaded), to: ModelId, now: Uptime) -> Uptime {
        let stayed = loaded.since.after(DWELL);
        let (Some(victim), Some(newcomer)) = (self.place(victim), self.place(to)) else { return stayed };
        if victim.needs.lane >= newcomer.needs.lane {
            return stayed;
        }
        let aged = newcomer.wanted.unwrap_or(now).after(AGED);
        stayed.max(victim.used.after(DWELL).min(aged))
    }

    /// Whether another model that is away goes before this one.
    pub(super) fn is_behind(&self, fits: Fits, id: ModelId, rule: VariantRule, now: Uptime) -> bool {
        let own = self.aged_since(id, now);
        self.ids().filter(|other| *other != id).any(|other| {
            let Some(since) = self.aged_since(other, now) else { return false };
            let is_before = own.is_none_or(|own| (since, other.0) < (own, id.0));
            let form = self.place(other).and_then(|place| self.form_for(&place.needs.forms, rule));
            is_before && form.is_some_and(|form| self.bring_in(fits, other, form, now) != Step::Never)
        })
    }

    fn aged_since(&self, id: ModelId, now: Uptime) -> Option<Uptime> {
        let place = self.place(id).filter(|place| matches!(place.at, Whereabouts::Away))?;
        place.wanted.filter(|since| now.since(*since) >= AGED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Priority;
    use crate::infer::residency::{Cost, Needs};

    fn at(seconds: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_secs(seconds))
    }

    /// Models of which one fits at a time, asked by the second: those whose turn it is, in this order, if they have work.
    struct Play {
        world: Residency,
        lanes: Vec<Priority>,
        since: Vec<Option<Uptime>>,
        loads: Vec<(u64, u16)>,
    }

    impl Play {
        fn new(lanes: &[Priority]) -> Self {
            let forms = vec![Cost { kept: 6, peak: 9, spent: Duration::ZERO }];
            let needs = lanes.iter().map(|&lane| Needs { forms: forms.clone(), lane }).collect();
            let (lanes, since) = (lanes.to_vec(), vec![None; lanes.len()]);
            Self { world: Residency::new(needs, 10), lanes, since, loads: Vec::new() }
        }

        /// One second in which there is work for some.
        fn second(&mut self, now: u64, has_work: impl Fn(u16) -> bool) {
            let mut ids: Vec<u16> = (0..).take(self.lanes.len()).collect();
            ids.sort_by_key(|id| self.lanes[usize::from(*id)]);
            let turns: Vec<_> = self.world.turns(VariantRule::Best, at(now)).collect();
            for &id in &ids {
                let since = &mut self.since[usize::from(id)];
                let waits = has_work(id) && turns[usize::from(id)].is_some();
                *since = waits.then(|| since.unwrap_or(at(now)));
            }
            self.world.want(&self.since);
            let due = self.world.due(VariantRule::Best, at(now)).map(|id| id.0);
            for id in due.into_iter().chain(ids.into_iter().filter(|id| has_work(*id))) {
                let model = ModelId(id);
                if let Step::Load { unload, form } = self.world.step(model, VariantRule::Best, at(now)) {
                    for victim in unload {
                        self.world.unloaded(victim);
                    }
                    let cost = self.world.cost(model, form);
                    self.world.loaded(model, form, cost, at(now));
                    self.loads.push((now, id));
                    assert!(self.world.taken() <= self.world.limit());
                }
                if self.world.form(model).is_some() {
                    self.world.used(model, at(now));
                }
            }
        }
    }

    #[test]
    fn a_bulk_model_gets_its_turn_beside_busy_ones_within_the_stated_time_and_none_goes_within_a_minute() {
        let mut play = Play::new(&[Priority::Normal, Priority::Normal, Priority::Bulk]);
        (0..3_600).for_each(|now| play.second(now, |_| true));
        let turns = |id: u16| play.loads.iter().filter(move |(_, loaded)| *loaded == id).map(|(at, _)| *at);
        let most = (AGED + 2 * DWELL).as_secs() + 2;
        for id in 0..3 {
            let times: Vec<u64> = std::iter::once(0).chain(turns(id)).chain([3_600]).collect();
            let gaps =
                times.windows(2).map(|pair| pair[1] - pair[0] - DWELL.as_secs().min(pair[1] - pair[0]));
            assert!(gaps.max().unwrap() <= most, "{id}: {times:?}");
        }
        assert!(turns(2).count() >= 6 && turns(2).count() < turns(0).count(), "{:?}", play.loads);
        let stays = play.loads.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(stays.min().unwrap() >= DWELL.as_secs(), "{:?}", play.loads);
    }

    #[test]
    fn a_model_that_is_of_no_use_gives_way_after_a_minute_and_to_the_more_urgent_at_once_then() {
        let mut play = Play::new(&[Priority::Normal, Priority::Bulk]);
        for now in 0..400 {
            play.second(now, |id| if id == 0 { !(100..200).contains(&now) } else { now >= 10 });
        }
        // Last of use at 99; the bulk is there for its minute before the other is back.
        assert_eq!(play.loads, [(0, 0), (159, 1), (219, 0)]);
    }

    #[test]
    fn a_model_that_can_never_be_loaded_holds_nobody_up_however_long_its_work_waits() {
        let mut play = Play::new(&[Priority::Normal, Priority::Normal, Priority::Bulk]);
        play.world.withdraw(ModelId(2), 0);
        (0..1_000).for_each(|now| play.second(now, |_| true));
        assert_eq!(play.loads.len(), 17, "one a minute: {:?}", play.loads);
    }

    #[test]
    fn a_model_whose_oldest_work_passes_its_deadline_meanwhile_has_waited_all_the_same() {
        let mut play = Play::new(&[Priority::Normal, Priority::Bulk]);
        play.second(0, |id| id == 0);
        let came = (0..1_000).find(|&now| {
            // Work of a minute waits for the second, none is older.
            play.world.want(&[None, Some(at(now.max(60) - 60))]);
            play.world.used(ModelId(0), at(now));
            matches!(play.world.step(ModelId(1), VariantRule::Best, at(now)), Step::Load { .. })
        });
        assert_eq!(came, Some(AGED.as_secs()));
    }
}
