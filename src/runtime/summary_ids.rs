//! Ids of events that no model decided: those that stand for others, summaries and gaps, and the governor's.

use crate::flow::EventId;

/// First number of these events in an epoch. Those of ordinary ones count decisions from 1 and stay far below.
pub const SUMMARY_NUMBERS_FROM: u64 = 1 << 48;

/// First number of the governor's events in an epoch: beyond any number of summaries.
const LEVEL_NUMBERS_FROM: u64 = 1 << 49;

/// Gives out ids, each once. One per opening of the outbox.
#[derive(Debug)]
pub struct SummaryIds {
    epoch: u32,
    next: u64,
}

impl SummaryIds {
    /// Starts at the first number of an epoch.
    pub fn new(epoch: u32) -> Self {
        Self { epoch, next: SUMMARY_NUMBERS_FROM }
    }

    /// Those of the governor's events.
    pub(in crate::runtime) fn of_levels(epoch: u32) -> Self {
        Self { epoch, next: LEVEL_NUMBERS_FROM }
    }

    /// The next id.
    pub fn take(&mut self) -> EventId {
        let number = self.next;
        self.next = number.saturating_add(1);
        EventId { epoch: self.epoch, number }
    }
}
