//! What is lost on purpose or by the medium, and what upstream was told of it.
//!
//! # Invariants
//! A loss counts as told only when the record that tells it is durable or delivered; if that record is lost itself, it is
//! untold again. The counts lie in the lane's cursor; what is here is gone with the power, and told again then.

use std::collections::VecDeque;

use crate::clock::{ClockQuality, EventTime, UtcTime};
use crate::outbox::cursor::Losses;
use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::finish::Loss;
use crate::outbox::lane::Lane;
use crate::outbox::outbox::Outbox;
use crate::outbox::record::Seq;
use crate::tally::DropReason;

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

impl<D: Disk> Outbox<D> {
    /// Keeps a record aside that cannot be delivered, if there is room, and is done with it: it counts as undeliverable.
    ///
    /// # Errors
    /// When the disk cannot be read or written: the record waits then as before, or is at least done with.
    pub fn set_aside(&mut self, lane: Lane, seq: Seq) -> Result<(), OutboxError> {
        let mut found = Vec::new();
        self.read(lane, seq, seq, 1, usize::MAX, &mut found)?;
        let Some(record) = found.pop() else { return Ok(()) };
        let (at, growth) = (record.at, self.aside.growth(&record));
        let kept = if self.used().0 + growth <= self.config.size_max.0 {
            self.aside.keep(&mut self.disk, lane, record)
        } else {
            Ok(())
        };
        let Self { disk, buffer, logs, sides, tally, .. } = self;
        let (log, side) = Self::lane_of(logs, sides, lane);
        let settled = log.settle(disk, buffer, seq.0, seq.0)?;
        let lost = settled.records + side.hold.settle(seq.0, seq.0);
        log.lose(Loss::Undeliverable, lost);
        side.ledger.see(Loss::Undeliverable, at, at);
        tally.drop(DropReason::Undeliverable, lost);
        tally.received += settled.forgotten;
        self.heeded(kept)?;
        self.collect(lane)
    }

    /// What upstream has not been told of: records of a lane that will never be acknowledged.
    pub fn gaps(&self, lane: Lane) -> Gap {
        let log = self.log(lane);
        self.side(lane).ledger.untold(log.dropped, log.told)
    }

    /// The record `seq`, appended a moment ago, tells upstream of these losses. They count as told when it is durable or
    /// delivered.
    pub fn told(&mut self, lane: Lane, seq: Seq, counts: [u64; 4]) {
        self.side_mut(lane).ledger.tell(seq.0, counts);
    }

    /// Drops durable records older than the age allowed. Does nothing while the wall clock is not set.
    ///
    /// # Errors
    /// As for [`Outbox::advance`].
    pub fn expire(&mut self, now: UtcTime) -> Result<(), OutboxError> {
        if now.quality == ClockQuality::Unset {
            return Ok(());
        }
        for lane in Lane::ALL {
            let Self { disk, buffer, logs, tally, config, .. } = self;
            let log = Self::log_of(logs, lane);
            let from = log.oldest(disk, buffer)?;
            let Some(upto) = log.expired(disk, buffer, now.into(), config.age_max)? else { continue };
            let expired = log.pass(disk, buffer, upto)?;
            log.lose(Loss::Expired, expired);
            tally.drop(DropReason::Expired, expired);
            let to = log.oldest(disk, buffer)?.or(log.newest.map(EventTime));
            if let Some((from, to)) = from.zip(to) {
                self.side_mut(lane).ledger.see(Loss::Expired, from, to);
            }
            self.collect(lane)?;
        }
        Ok(())
    }

    /// Counts a record that is lost for want of room.
    pub(crate) fn lose(&mut self, lane: Lane, reason: DropReason, at: EventTime) {
        self.tally.drop(reason, 1);
        if matches!(reason, DropReason::OutboxFull | DropReason::OutboxReject) {
            let (log, side) = Self::lane_of(&mut self.logs, &mut self.sides, lane);
            log.lose(Loss::Full, 1);
            side.ledger.see(Loss::Full, at, at);
        }
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
