//! Work of models that are not in memory: it waits here, and not where others would wait behind it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::ModelId;
use crate::infer::schedule::{Lost, Scheduler};
use crate::infer::work::Batch;
use crate::tally::DropReason;

impl Scheduler {
    /// From when on each model that is away may be asked, by [`ModelId`]; `None` for one that may be asked.
    pub fn set_turns(&mut self, turns: Arc<[Option<Uptime>]>) {
        self.turns = turns;
    }

    /// Since when work has waited for each model that is away, by [`ModelId`].
    pub fn waiting(&self, since: &mut Vec<Option<Uptime>>) {
        since.clear();
        since.resize(self.turns.len(), None);
        let heads = (0..self.lines.len()).filter_map(|line| self.lines.at(line, 0));
        for work in heads.filter(|work| self.turn(work.model).is_some()) {
            if let Some(since) = since.get_mut(usize::from(work.model.0)) {
                *since = Some(since.map_or(work.queued, |since| since.min(work.queued)));
            }
        }
    }

    /// Takes back a batch that nobody has begun, because it is not its model's turn. It waits again, in its place.
    pub fn put_back(&mut self, mut batch: Batch, now: Uptime, lost: Lost<'_>) {
        if let Some(given) = self.under_way.take(batch.ticket, now) {
            self.bucket.correct(given.expected, Duration::ZERO);
        }
        self.tally.passed -= batch.work.len() as u64;
        for work in batch.work.drain(..).rev() {
            let bytes = work.bytes();
            let reason = if self.is_draining {
                Some(DropReason::Stopped)
            } else if self.paused.contains(&work.subject.stream) {
                Some(DropReason::Paused)
            } else {
                (!self.fits(bytes)).then_some(DropReason::QueueFull)
            };
            match reason {
                Some(reason) => self.lose(work, reason, lost),
                None => self.lines.put_back(work, bytes),
            }
        }
        self.spare.push(batch.work);
    }

    /// Whether a model may be asked. When the gateway stops, whoever loads models says what becomes of the work.
    pub(super) fn is_open(&self, model: ModelId) -> bool {
        self.is_draining || self.turn(model).is_none_or(|from| from <= self.at)
    }

    pub(super) fn turn(&self, model: ModelId) -> Option<Uptime> {
        self.turns.get(usize::from(model.0)).copied().flatten()
    }
}
