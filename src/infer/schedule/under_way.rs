//! Batches at the models' thread.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{ModelId, Priority, VariantRule};

/// Batches there: one that runs, and the next, so that the thread never waits for the brain.
const USUAL_MAX: usize = 2;

/// Batches there when alarms wait: they do not wait until a place is free.
pub const BATCHES_OUT_MAX: usize = USUAL_MAX + 1;

/// What was given out and has not come back. The first one runs.
#[derive(Default)]
pub(super) struct UnderWay {
    batches: Vec<Given>,
    /// Since when the first one runs.
    since: Uptime,
    tickets: u64,
}

/// One batch that was given out.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) ticket: u64,
    pub(super) model: ModelId,
    pub(super) variant: VariantRule,
    pub(super) priority: Priority,
    pub(super) size: u64,
    pub(super) expected: Duration,
}

impl UnderWay {
    /// Whether there is a place for work of a lane.
    pub(super) fn has_room(&self, priority: Priority) -> bool {
        let most = if priority == Priority::Alarm { BATCHES_OUT_MAX } else { USUAL_MAX };
        self.batches.len() < most
    }

    /// Remembers a batch and gives it its ticket.
    pub(super) fn give(&mut self, batch: Given, now: Uptime) -> u64 {
        self.tickets += 1;
        if self.batches.is_empty() {
            self.since = now;
        }
        self.batches.push(Given { ticket: self.tickets, ..batch });
        self.tickets
    }

    /// Takes a batch back; `None` for one that is not known. The most urgent of the others runs from now on.
    pub(super) fn take(&mut self, ticket: u64, now: Uptime) -> Option<Given> {
        let index = self.batches.iter().position(|batch| batch.ticket == ticket)?;
        let given = self.batches.remove(index);
        let next = self.batches.iter().enumerate().min_by_key(|(_, batch)| batch.priority);
        if let Some(next) = next.map(|(next, _)| next)
            && index == 0
        {
            self.batches.swap(0, next);
            self.since = now;
        }
        Some(given)
    }

    /// How long work of a lane would wait there, as far as it is known.
    pub(super) fn ahead(&self, priority: Priority, now: Uptime) -> Duration {
        let Some((first, others)) = self.batches.split_first() else { return Duration::ZERO };
        let rest = first.expected.saturating_sub(now.since(self.since));
        others.iter().filter(|batch| batch.priority <= priority).map(|batch| batch.expected).sum::<Duration>()
            + rest
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
    }
}
