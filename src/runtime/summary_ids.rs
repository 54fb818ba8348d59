//! Ids of events that stand for others: summaries and gaps.

use crate::flow::EventId;

/// First number of these events in an epoch. Those of ordinary ones count decisions from 1 and stay far below.
pub const SUMMARY_NUMBERS_FROM: u64 = 1 << 48;

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

    /// The next id.
    pub fn take(&mut self) -> EventId {
        let number = self.next;
        self.next = number.saturating_add(1);
        EventId { epoch: self.epoch, number }
    }
}
