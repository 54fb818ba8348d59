//! Room on disk: the size limit, the space that stays free on the file system, the reserve of alarms, and what gives way.
//!
//! # Invariants
//! * All files together never take more than `size_max`.
//! * A lane never takes room from a more urgent one, and only alarms take the last spare segment.

use std::io;

use crate::clock::EventTime;
use crate::outbox::config::WhenFull;
use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::finish::Loss;
use crate::outbox::lane::Lane;
use crate::outbox::outbox::Outbox;
use crate::outbox::record::Entry;
use crate::outbox::segment;
use crate::outbox::trouble::DiskState;
use crate::tally::DropReason;

/// Segments that only alarms may take, ready on disk before it is full.
pub(crate) const RESERVE_SEGMENTS: u64 = 1;

/// Segments kept free for alarms when new records are refused; the reserve is one of them.
const ALARM_SEGMENTS: u64 = 2;

impl<D: Disk> Outbox<D> {
    /// Makes room for a record by the policy, and a file for it if it needs one; gives the reason to refuse it when that
    /// takes refusing.
    pub(crate) fn make_room(
        &mut self,
        lane: Lane,
        entry: &Entry<'_>,
    ) -> Result<Option<DropReason>, OutboxError> {
        let segment_bytes = self.config.segment_bytes.0;
        loop {
            if !self.log(lane).needs_segment(entry.frame_bytes(), segment_bytes) {
                return Ok(None);
            }
            if self.used().0 + segment::used(self.spares.file_bytes()) <= self.allowed(lane) {
                self.trim_spares();
                self.make_file(lane)?;
                return Ok(None);
            }
            let freed = match self.config.when_full {
                WhenFull::RejectNew => return Ok(Some(DropReason::OutboxReject)),
                WhenFull::DropOldest | WhenFull::Coarsen => self.give_way(lane)?,
            };
            if !freed {
                return Ok(Some(DropReason::OutboxFull));
            }
        }
    }

    /// The same without dropping anything.
    pub(crate) fn find_room(&mut self, lane: Lane, entry: &Entry<'_>) -> Result<(), OutboxError> {
        if !self.log(lane).needs_segment(entry.frame_bytes(), self.config.segment_bytes.0) {
            return Ok(());
        }
        if self.used().0 + segment::used(self.spares.file_bytes()) > self.allowed(lane) {
            return Err(OutboxError::NoRoom { lane: lane.as_str() });
        }
        self.make_file(lane)
    }

    /// Has the reserve ready again, if the disk has room for it.
    pub(crate) fn refill_reserve(&mut self) -> Result<(), OutboxError> {
        let file = segment::used(self.spares.file_bytes());
        while (self.spares.count() as u64) < RESERVE_SEGMENTS
            && self.used().0 + self.spares.used() + file <= self.config.size_max.0
        {
            self.add_spare()?;
        }
        Ok(())
    }

    /// Drops the oldest segment of the least urgent lane that has one and is not more urgent than `lane`.
    pub(crate) fn give_way(&mut self, lane: Lane) -> Result<bool, OutboxError> {
        for victim in Lane::ALL.into_iter().rev().filter(|&victim| victim >= lane) {
            if self.evict(victim)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next segment of a lane finds a file: a spare beyond the reserve, or a new one made now.
    fn make_file(&mut self, lane: Lane) -> Result<(), OutboxError> {
        let reserve = if lane == Lane::Alarm { 0 } else { RESERVE_SEGMENTS };
        if self.spares.count() as u64 > reserve {
            return Ok(());
        }
        match self.add_spare() {
            // Least urgent first, as at the limit, but only for alarms: the others wait in memory.
            Err(error) if lane == Lane::Alarm && error.is_full() && self.gives_way() => {
                if self.give_way(lane)? { Ok(()) } else { Err(error) }
            }
            made => made,
        }
    }

    fn add_spare(&mut self) -> Result<(), OutboxError> {
        let free = self.disk.free_bytes().map_err(OutboxError::write("spare"))?;
        if free < self.config.free_min.0.saturating_add(self.spares.file_bytes()) {
            return Err(OutboxError::write("spare")(io::ErrorKind::StorageFull.into()));
        }
        self.spares.add(&mut self.disk).map_err(OutboxError::write("spare"))
    }

    /// Whether stored records give way to new ones.
    pub(crate) fn gives_way(&self) -> bool {
        match self.config.when_full {
            WhenFull::DropOldest | WhenFull::Coarsen => true,
            WhenFull::RejectNew => false,
        }
    }

    /// Removes files that wait to be written again while all files together take more than they may: after the limit was
    /// lowered.
    fn trim_spares(&mut self) {
        while self.used().0 + self.spares.used() > self.config.size_max.0 {
            if !self.spares.remove(&mut self.disk).unwrap_or(false) {
                return;
            }
        }
    }

    /// Space a lane may fill the outbox to.
    fn allowed(&self, lane: Lane) -> u64 {
        let file = segment::used(self.spares.file_bytes());
        let reserve = match (self.config.when_full, lane) {
            (_, Lane::Alarm) => 0,
            (WhenFull::DropOldest | WhenFull::Coarsen, _) => RESERVE_SEGMENTS * file,
            (WhenFull::RejectNew, _) => (ALARM_SEGMENTS * file).saturating_sub(self.log(Lane::Alarm).used),
        };
        self.config.size_max.0.saturating_sub(reserve)
    }

    fn evict(&mut self, victim: Lane) -> Result<bool, OutboxError> {
        let (from, is_empty) = (self.oldest(victim), self.log(victim).segments.is_empty());
        let Self { disk, buffer, spares, .. } = self;
        let (log, side) = Self::lane_of(&mut self.logs, &mut self.sides, victim);
        let evicted = log.drop_oldest(disk, buffer, spares)?;
        side.is_broken &= log.open;
        self.tally.drop(DropReason::OutboxFull, evicted.records);
        if evicted.records > 0 {
            let to = self.oldest(victim).or(self.log(victim).newest.map(EventTime));
            if let Some((from, to)) = from.zip(to) {
                self.side_mut(victim).ledger.see(Loss::Full, from, to);
            }
        }
        if !is_empty && !evicted.freed {
            // Its cursor could not be written, or its file not be taken away.
            self.state = DiskState::Failing;
            return Err(OutboxError::NoRoom { lane: victim.as_str() });
        }
        Ok(evicted.freed)
    }

    fn oldest(&mut self, lane: Lane) -> Option<EventTime> {
        let Self { disk, buffer, logs, .. } = self;
        // Only the times of a gap depend on it.
        Self::log_of(logs, lane).oldest(disk, buffer).ok().flatten()
    }
}
