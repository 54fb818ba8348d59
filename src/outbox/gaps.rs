//! Telling upstream what was lost: which losses are being told, and when they happened.
//!
//! # Invariants
//! A loss counts as told only when the record that tells it is durable or delivered; if that record is lost itself, it is
//! untold again. The counts lie in the lane's cursor; what is here is gone with the power, and told again then.

use std::collections::VecDeque;

use crate::clock::EventTime;
use crate::outbox::cursor::Losses;
use crate::outbox::finish::Loss;

/// Losses of one lane that upstream has not been told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Records that gave way for want of room, were too old, lost by the medium, not to be delivered.
    pub counts: [u64; 4],
    /// For each reason the times of the first and the last of them, where this run has seen any.
    pub spans: [Option<(EventTime, EventTime)>; 4],
}

impl Gap {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }
}

/// What one lane has to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    spans: [Option<(EventTime, EventTime)>; 4],
    /// Records that tell of losses and are not durable yet: number, and what they tell.
    telling: VecDeque<(u64, Losses)>,
}

impl Ledger {
    /// Widens the span of a reason by the times of lost records.
    pub(crate) fn see(&mut self, loss: Loss, from: EventTime, to: EventTime) {
        if let Some(span) = self.spans.get_mut(loss as usize) {
            *span = Some(span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
    }

    /// What is neither told nor being told.
    pub(crate) fn untold(&self, dropped: Losses, told: Losses) -> Gap {
        let mut counts = [0; 4];
        for (index, count) in counts.iter_mut().enumerate() {
            let at = |losses: &Losses| losses.get(index).copied().unwrap_or_default();
            let telling: u64 = self.telling.iter().map(|(_, losses)| at(losses)).sum();
            *count = at(&dropped).saturating_sub(at(&told)).saturating_sub(telling);
        }
        Gap { counts, spans: self.spans }
    }

    /// The record with this number tells of these losses.
    pub(crate) fn tell(&mut self, seq: u64, counts: Losses) {
        for (span, count) in self.spans.iter_mut().zip(counts) {
            if count > 0 {
                *span = None;
            }
        }
        self.telling.push_back((seq, counts));
    }

    /// Everything up to here is durable or delivered: adds what is told by it to `told`, and returns whether that was
    /// anything.
    pub(crate) fn safe(&mut self, upto: u64, told: &mut Losses) -> bool {
        let mut has_told = false;
        while self.telling.front().is_some_and(|(seq, _)| *seq <= upto) {
            let Some((_, counts)) = self.telling.pop_front() else { break };
            for (told, count) in told.iter_mut().zip(counts) {
                *told += count;
            }
            has_told = true;
        }
        has_told
    }

    /// The record with this number is lost: what it was to tell is untold again.
    pub(crate) fn lost(&mut self, seq: u64) {
        self.telling.retain(|(telling, _)| *telling != seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_and_again_when_the_telling_is_lost() {
        let (mut ledger, dropped, mut told, time) =
            (Ledger::default(), [10, 0, 1, 0], [3, 0, 0, 0], EventTime);
        ledger.see(Loss::Full, time(10), time(20));
        ledger.see(Loss::Full, time(5), time(15));
        let gap = ledger.untold(dropped, told);
        assert_eq!((gap.counts, gap.spans[0], gap.spans[2]), ([7, 0, 1, 0], Some((time(5), time(20))), None));
        ledger.tell(41, [7, 0, 0, 0]);
        assert_eq!(ledger.untold(dropped, told).counts, [0, 0, 1, 0]);
        ledger.lost(41);
        assert_eq!(ledger.untold(dropped, told).counts, [7, 0, 1, 0]);
        ledger.tell(42, [7, 0, 1, 0]);
        assert!(!ledger.safe(41, &mut told) && ledger.safe(42, &mut told) && !ledger.safe(43, &mut told));
        assert_eq!(told, dropped);
        assert!(ledger.untold(dropped, told).is_empty());
        assert!(ledger.untold([1; 4], [2; 4]).is_empty(), "a file that says more was told than lost");
    }
}
