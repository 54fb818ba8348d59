//! Shedding in time: what cannot be done before its deadline goes before it has held others up.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::Priority;
use crate::infer::BATCH_MIN;
use crate::infer::schedule::{BATCH_TEXT_MAX, Lost, Scheduler};
use crate::infer::work::Work;
use crate::tally::DropReason;

/// Costs are counted this part higher when all that waits is added up. It costs no work: there is always some that
/// waits. And what is given out late in its time is wasted when a batch takes longer than most.
const MARGIN: u32 = 4;

impl Scheduler {
    /// Drops what cannot be done in time, of one lane: a piece that alone would be late, and where all together some
    /// would be, the oldest of the stream that asks for most.
    pub(super) fn relieve(&mut self, lane: Priority, now: Uptime, lost: Lost<'_>) {
        if self.seems_feasible(lane, now) {
            return;
        }
        let start = now.after(self.under_way.ahead(lane, now));
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.places.clear();
        scratch.places.resize(self.lines.len(), 0);
        scratch.asked.clear();
        scratch.asked.resize(self.lines.len(), Duration::ZERO);
        let mut sum = Duration::ZERO;
        loop {
            let of = |line: usize| scratch.places.get(line).copied().unwrap_or(0);
            let Some(line) =
                self.lines.earliest(of, |work| work.priority == lane && self.is_open(work.model))
            else {
                break;
            };
            let index = of(line);
            let Some(work) = self.lines.at(line, index) else { break };
            let (deadline, asked) = (work.deadline, self.asked(work, now));
            if start.after(self.cost(work, now)) > deadline {
                if let Some(work) = self.lines.remove(line, index) {
                    self.lose(work, DropReason::Stale, lost);
                }
                continue;
            }
            sum += asked;
            advance(&mut scratch.places, line, |place| *place += 1);
            advance(&mut scratch.asked, line, |sum| *sum += asked);
            while self.finish(start, sum, asked, lane) > deadline && scratch.places.iter().sum::<usize>() > 1
            {
                let most = scratch.asked.iter().enumerate().max_by_key(|(_, asked)| **asked);
                let Some(most) = most.map(|(line, _)| line) else { break };
                let Some(work) = self.lines.pop(most) else { break };
                let asked = self.asked(&work, now).min(sum);
                sum -= asked;
                advance(&mut scratch.places, most, |place| *place = place.saturating_sub(1));
                advance(&mut scratch.asked, most, |sum| *sum = sum.saturating_sub(asked));
                self.lose(work, DropReason::Stale, lost);
            }
        }
        self.scratch = scratch;
    }

    /// A quick look: whether all of a lane is done before the first of its deadlines, each piece taken for one like the
    /// oldest of its line.
    fn seems_feasible(&self, lane: Priority, now: Uptime) -> bool {
        let (mut sum, mut first) = (Duration::ZERO, None);
        for line in 0..self.lines.len() {
            let is_wanted = |work: &&Work| work.priority == lane && self.is_open(work.model);
            let Some(work) = self.lines.at(line, 0).filter(is_wanted) else { continue };
            let count = u32::try_from(self.lines.count_of(line)).unwrap_or(u32::MAX);
            sum = sum.saturating_add(self.asked(work, now).saturating_mul(count));
            first = Some(first.map_or(work.deadline, |first: Uptime| first.min(work.deadline)));
        }
        let start = now.after(self.under_way.ahead(lane, now));
        first.is_none_or(|first| self.finish(start, sum, Duration::ZERO, lane) <= first)
    }

    /// When so much has been done, of which the last piece asks for `last`. Work may start as long as there is any
    /// processor time left to spend.
    fn finish(&self, start: Uptime, sum: Duration, last: Duration, lane: Priority) -> Uptime {
        let busy = start.after(sum);
        if self.is_draining {
            return busy;
        }
        let paid = self.bucket.affords(sum.saturating_sub(last), lane);
        paid.map_or(Uptime(u64::MAX), |paid| paid.after(last).max(busy))
    }

    /// What a piece of work asks for among all that waits: its share of a batch where there are enough for one.
    fn asked(&self, work: &Work, now: Uptime) -> Duration {
        let size = usize::try_from(work.size()).unwrap_or(usize::MAX);
        let most = self.batch_max(work.model).min(BATCH_TEXT_MAX / size.max(1));
        let most = most.min(self.lines.held_for(work.model, work.priority));
        let of = |together: usize| {
            let size = together as u64 * work.size();
            self.costs.trust(work.model, self.budget.variant, size, now).unwrap_or_default()
        };
        let mut together = if most < BATCH_MIN { 1 } else { most };
        let mut cost = of(together);
        while cost > self.config.hold_up_max && together > 1 && work.priority != Priority::Alarm {
            together = if together > BATCH_MIN { together - 1 } else { 1 };
            cost = of(together);
        }
        let share = cost / u32::try_from(together).unwrap_or(1);
        share + share / MARGIN
    }
}

fn advance<T>(of: &mut [T], line: usize, change: impl FnOnce(&mut T)) {
    if let Some(one) = of.get_mut(line) {
        change(one);
    }
}
