//! Which work goes next, and what goes with it in one batch.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{ModelId, Priority, VariantRule};
use crate::infer::BATCH_MIN;
use crate::infer::schedule::under_way::Given;
use crate::infer::schedule::{BATCH_TEXT_MAX, CostBook, ScheduleConfig, Scheduler, Scratch};
use crate::infer::work::{Batch, Work};

/// Longest time that work which is no alarm is to take in one run: an alarm that comes meanwhile waits for its end. A batch
/// as large as admission allows takes 20 ms on a Cortex-A53, and this on one slowed to two fifths. What takes longer
/// goes piece by piece; one piece cannot be cut here.
pub const HOLD_UP_MAX: Duration = Duration::from_millis(50);

impl Scheduler {
    /// The line whose oldest work runs next.
    pub(super) fn choose(&self, lane: Priority, now: Uptime) -> Option<usize> {
        let is_ready = |work: &Work| {
            let waiting = self.lines.held_for(work.model, work.priority);
            let is_gathered = now >= self.gathered(work) || waiting >= self.batch_max(work.model);
            is_gathered && self.is_open(work.model)
        };
        self.lines.earliest(|_| 0, |work| work.priority == lane && is_ready(work))
    }

    /// Until when work is held back so that others can go with it: never for more than half of its time.
    pub(super) fn gathered(&self, work: &Work) -> Uptime {
        if work.priority == Priority::Alarm || self.is_draining {
            return work.queued;
        }
        work.queued.after(self.budget.gather.min(work.deadline.since(work.queued) / 2))
    }

    /// Takes a batch out of the lines: the work at the head of this one and what goes with it.
    pub(super) fn compose(&mut self, line: usize, now: Uptime) -> Option<Batch> {
        let first = self.lines.at(line, 0)?;
        let (model, priority, variant) = (first.model, first.priority, self.budget.variant);
        self.pick(line, now);
        let mut work = self.spare.pop().unwrap_or_default();
        for line in &self.scratch.picked {
            work.extend(self.lines.pop(*line));
        }
        self.tally.passed += work.len() as u64;
        self.counts.batches += 1;
        let size = work.iter().map(Work::size).sum();
        let expected = self.costs.expect(model, variant, size).unwrap_or_default();
        self.bucket.take(expected);
        let given = Given { ticket: 0, model, variant, priority, size, expected };
        let ticket = self.under_way.give(given, now);
        let deadline = work.iter().map(|work| work.deadline).max()?;
        Some(Batch { ticket, model, variant, priority, deadline, work })
    }

    /// Picks the lines whose heads, one after the other, go with the work at the head of this one: as many as wait for
    /// its model in its lane and fit into one run, if that is enough to be worth one, and nobody is late for it.
    fn pick(&mut self, line: usize, now: Uptime) {
        let Scratch { places, picked, .. } = &mut self.scratch;
        picked.clear();
        let Some(first) = self.lines.at(line, 0) else { return };
        let (model, lane) = (first.model, first.priority);
        let batch_max = self.config.batch_max.get(usize::from(model.0)).copied().unwrap_or(1);
        let most = self.lines.held_for(model, lane).min(batch_max);
        let most = if most < BATCH_MIN { 1 } else { most };
        places.clear();
        places.resize(self.lines.len(), 0);
        let (mut size, mut text, mut deadline) = (0, 0, first.deadline);
        while picked.len() < most {
            let of = |line: usize| places.get(line).copied().unwrap_or(0);
            let next = self.lines.earliest(of, |work| (work.model, work.priority) == (model, lane));
            let Some((line, work)) = next.and_then(|line| Some((line, self.lines.at(line, of(line))?)))
            else {
                break;
            };
            text += work.text_bytes();
            if text > BATCH_TEXT_MAX && !picked.is_empty() {
                break;
            }
            if !picked.is_empty()
                && lane != Priority::Alarm
                && is_long(&self.costs, &self.config, (model, self.budget.variant), size + work.size())
            {
                break;
            }
            size += work.size();
            deadline = deadline.min(work.deadline);
            picked.push(line);
            places.iter_mut().skip(line).take(1).for_each(|place| *place += 1);
        }
        let is_enough = picked.len() >= BATCH_MIN;
        if !is_enough || !self.is_timely(model, lane, size, deadline, now) {
            self.scratch.picked.truncate(1);
        }
    }

    /// Whether a batch of a size is done before the first of its deadlines, and in time for the most urgent work of the
    /// other models in its lane, as far as costs are known.
    fn is_timely(&self, model: ModelId, lane: Priority, size: u64, deadline: Uptime, now: Uptime) -> bool {
        let Some(cost) = self.costs.trust(model, self.budget.variant, size, now) else { return true };
        let done = now.after(self.under_way.ahead(lane, now)).after(cost);
        let other = self
            .lines
            .earliest(|_| 0, |work| work.priority == lane && work.model != model && self.is_open(work.model));
        let is_late = |work: &Work| done.after(self.cost(work, now)) > work.deadline;
        done <= deadline && !other.and_then(|line| self.lines.at(line, 0)).is_some_and(is_late)
    }
}

/// Whether alarms would wait too long for a run of this size, as far as its cost is known.
fn is_long(
    costs: &CostBook,
    config: &ScheduleConfig,
    (model, form): (ModelId, VariantRule),
    size: u64,
) -> bool {
    costs.expect(model, form, size).is_some_and(|cost| cost > config.hold_up_max)
}
