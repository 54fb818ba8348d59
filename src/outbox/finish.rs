//! One lane: what is done with. Acknowledging, dropping, removing.
//!
//! # Invariants
//! A segment goes only when a durable cursor says that everything in it is done with.

use std::io;

use crate::outbox::cursor::{DONE_RANGES_MAX, Losses, Mark};
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::log::Log;
use crate::outbox::scan::{Extent, ScanBuffer, survey};
use crate::outbox::segment::{Salt, Segment};
use crate::outbox::spare::Spares;

/// Records done with that the durable cursor may lag behind: what is sent twice after a power cut. Each cursor write costs a
/// sector and a flush, and four group commits of a full outbox are as many records; at a calm rate the checkpoints of the
/// caller come first.
const CURSOR_LAG_RECORDS_MAX: u64 = 4_096;

/// Why stored records never reach upstream, in the order of `flow::GapReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// They gave way when the outbox was full.
    Full,
    /// They were older than allowed.
    Expired,
    /// The medium lost them.
    Damaged,
    /// The broker would not take them.
    Undeliverable,
}

/// What becomes of counts when records are done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Records that were held before.
    pub(crate) records: u64,
    /// Records of ranges for which there was no room: they are held again.
    pub(crate) forgotten: u64,
}

/// What dropping a segment has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evicted {
    /// Records lost.
    pub(crate) records: u64,
    /// Whether there is more room than before.
    pub(crate) freed: bool,
}

impl Log {
    /// Marks everything up to `upto` as done with, in memory, and returns how many records that were.
    pub(crate) fn pass<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        upto: u64,
    ) -> Result<u64, OutboxError> {
        let upto = upto.min(self.next - 1);
        self.durable = self.durable.max(upto);
        Ok(self.settle(disk, buffer, self.acked + 1, upto)?.records)
    }

    /// Marks the numbers from `from` to `upto` as done with, in memory.
    pub(crate) fn settle<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        from: u64,
        upto: u64,
    ) -> Result<Settled, OutboxError> {
        let (from, upto) = (from.max(self.acked + 1), upto.min(self.durable));
        let mut settled = Settled::default();
        if upto < from {
            return Ok(settled);
        }
        let before = (self.acked, self.done.clone());
        let forgotten = if from == self.acked + 1 {
            // Moving the cursor needs no range, however many there are.
            self.acked = upto;
            None
        } else {
            self.done.insert(from, upto)
        };
        self.acked = self.done.pass(self.acked);
        // All that changed, or may have.
        let (first, last) = forgotten.map_or((from, upto), |range| (from.min(range.0), upto.max(range.1)));
        let start = self.segments.partition_point(|segment| segment.last < first);
        let mut counts = Vec::new();
        for segment in self.segments.iter().skip(start).take_while(|segment| segment.first <= last) {
            match self.live(disk, buffer, segment) {
                Ok(count) => counts.push(count),
                Err(error) => {
                    (self.acked, self.done) = before;
                    return Err(error);
                }
            }
        }
        for (segment, count) in self.segments.iter_mut().skip(start).zip(counts) {
            settled.records += segment.unacked.saturating_sub(count);
            settled.forgotten += count.saturating_sub(segment.unacked);
            segment.unacked = count;
        }
        self.unsaved += settled.records;
        self.slide();
        Ok(settled)
    }

    /// Counts the records from `from` on, which were marked as done with when they were appended and are not any more.
    pub(crate) fn show(&mut self, from: u64) {
        let counts: Vec<u64> =
            self.segments.iter().map(|segment| self.span(segment.first.max(from), segment.last)).collect();
        for (segment, count) in self.segments.iter_mut().zip(counts) {
            segment.unacked += count;
        }
    }

    /// Reads a segment again after damage was met in it, and returns how many records are gone. Their numbers are done with.
    pub(crate) fn recount<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        first: u64,
    ) -> Result<u64, OutboxError> {
        let Some(index) = self.segments.iter().position(|segment| segment.first == first) else {
            return Ok(0);
        };
        let Some(segment) = self.segments.get(index) else { return Ok(0) };
        let last = segment.last.min(self.durable);
        let (mut missing, mut expected) = (Vec::new(), first);
        let mut live = self.span(last + 1, segment.last);
        if let Salt::Known(_) = segment.salt {
            survey(disk, buffer, Extent::of(segment), first, |found, _| {
                let seq = found.header.seq;
                if seq > expected {
                    missing.push((expected, seq - 1));
                }
                expected = seq + 1;
                live += u64::from(seq <= last && !self.is_done(seq));
            })?;
        }
        if expected <= last {
            missing.push((expected, last));
        }
        let Some(segment) = self.segments.get_mut(index) else { return Ok(0) };
        let lost = segment.unacked.saturating_sub(live);
        segment.unacked -= lost;
        segment.dense = false;
        self.lose(Loss::Damaged, lost);
        for (from, upto) in missing {
            // So that they are not missed again after a restart; where there is no room they are.
            if self.done.has_room() && self.span(from, upto) > 0 {
                self.done.insert(from.max(self.acked + 1), upto);
            }
        }
        self.acked = self.done.pass(self.acked);
        self.slide();
        Ok(lost)
    }

    /// Counts records that will never be acknowledged. The count is durable with the next cursor.
    pub(crate) fn lose(&mut self, reason: Loss, records: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += records;
        }
    }

    /// Passes sealed segments at the front that hold nothing any more.
    pub(crate) fn slide(&mut self) {
        let sealed = self.segments.len() - usize::from(self.open);
        for segment in self.segments.iter().take(sealed) {
            if segment.unacked > 0 {
                break;
            }
            self.acked = self.acked.max(segment.last);
        }
        self.acked = self.done.pass(self.acked);
    }

    /// Saves the cursor when it lags too far or segments wait for it, then takes the segments that it has passed out of use.
    pub(crate) fn collect<D: Disk>(&mut self, disk: &mut D, spares: &mut Spares) -> Result<(), OutboxError> {
        let waiting = self.sealed().any(|segment| segment.unacked == 0);
        if waiting || self.unsaved >= CURSOR_LAG_RECORDS_MAX || self.dropped != self.saved.dropped {
            self.save_cursor(disk, self.acked)?;
        }
        let mut index = 0;
        while let Some(segment) = self.segments.get(index)
            && index + usize::from(self.open) < self.segments.len()
        {
            if !self.is_passed(segment) {
                index += 1;
                continue;
            }
            match spares.give(disk, segment) {
                Ok(()) => {}
                // Somebody has taken it away, or put something else there, which is left alone.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
                // What cannot be removed now is tried again with the next acknowledgement.
                Err(_) => break,
            }
            self.used -= segment.used();
            self.segments.remove(index);
        }
        Ok(())
    }

    /// Makes the cursor durable at `acked`, with everything else it says.
    pub(crate) fn save_cursor<D: Disk>(&mut self, disk: &mut D, acked: u64) -> Result<(), OutboxError> {
        self.save(disk, acked, self.dropped)
    }

    fn save<D: Disk>(&mut self, disk: &mut D, acked: u64, dropped: Losses) -> Result<(), OutboxError> {
        let mark = Mark { dropped, ..self.mark(acked) };
        if (Mark { epoch: self.saved.epoch, ..mark.clone() }) != self.saved {
            self.cursor.save(disk, &mark.to_slot())?;
            self.saved = mark;
            self.unsaved = 0;
        }
        Ok(())
    }

    /// What the cursor should say, with everything up to `acked` done with.
    pub(crate) fn mark(&self, acked: u64) -> Mark {
        let mut done = self.done.clone();
        let acked = done.pass(acked.max(self.acked));
        let done = done.longest(DONE_RANGES_MAX);
        Mark { acked, epoch: self.epoch, dropped: self.dropped, told: self.told, done }
    }

    /// Drops the oldest segment, whatever is in it. The cursor passes it durably, and says how much was lost, before it goes.
    pub(crate) fn drop_oldest<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        spares: &mut Spares,
    ) -> Result<Evicted, OutboxError> {
        let kept = Evicted { records: 0, freed: false };
        let Some(front) = self.segments.front() else { return Ok(kept) };
        let (last, lost, segments_before) = (front.last, front.unacked, self.segments.len());
        let mut dropped = self.dropped;
        if let Some(count) = dropped.get_mut(Loss::Full as usize) {
            *count += lost;
        }
        match self.save(disk, last, dropped) {
            Ok(()) => self.dropped = dropped,
            // Without a cursor behind it the segment must stay.
            Err(OutboxError::Write { .. }) => return Ok(kept),
            Err(e) => return Err(e),
        }
        if segments_before == 1 {
            self.open = false;
        }
        let records = self.pass(disk, buffer, last)?;
        match self.collect(disk, spares) {
            // What has been passed is counted in any case; what cannot go now goes later.
            Ok(()) | Err(OutboxError::Write { .. }) => {}
            Err(e) => return Err(e),
        }
        Ok(Evicted { records, freed: self.segments.len() < segments_before })
    }

    /// Segments that take no more records.
    fn sealed(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take(self.segments.len() - usize::from(self.open))
    }

    /// Whether the durable cursor says that all of a segment is done with.
    fn is_passed(&self, segment: &Segment) -> bool {
        let first = segment.first.max(self.saved.acked.saturating_add(1));
        first > segment.last || self.saved.done.end_of(first).is_some_and(|end| end >= segment.last)
    }
}
