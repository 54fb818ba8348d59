//! When the disk fails: what was to be written waits in memory, and goes into another file as soon as one can be written.
//!
//! # Invariants
//! * A file of which a write or a sync has failed is never written or synced again: what the medium holds of it is unknown,
//!   and the kernel may have marked its pages clean, so that a second sync that succeeds would prove nothing.
//! * Everything such a file may have lost is in memory, in the tail of its log, until another file has it durably.
//! * Memory is bounded: at the limit the oldest of the least urgent lane is given up and counted.

use std::io;

use crate::clock::EventTime;
use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::hold::{HELD_BYTES_MAX, Held, Hold};
use crate::outbox::lane::Lane;
use crate::outbox::log::Wrote;
use crate::outbox::outbox::Outbox;
use crate::outbox::record::{Entry, Record, Seq};
use crate::tally::DropReason;
use crate::units::Bytes;

/// One part in this many of the memory is kept for alarms when new records are refused.
const ALARM_SHARE: u64 = 4;

/// What the disk of the outbox does at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskState {
    /// It takes what it is given.
    #[default]
    Ok,
    /// It has no room, or less than `free_min`.
    Full,
    /// It was made read-only.
    ReadOnly,
    /// It fails.
    Failing,
}

impl DiskState {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Failing => "failing",
        }
    }

    /// What an error says about the disk.
    fn of(error: &io::Error) -> Self {
        if is_full(error) {
            Self::Full
        } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            Self::ReadOnly
        } else {
            Self::Failing
        }
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl<D: Disk> Outbox<D> {
    /// What the disk does at present, as far as is known.
    pub fn disk_state(&self) -> DiskState {
        self.state
    }

    /// Records that no file has, or only one that has failed: they can be read, and may be gone with the power.
    pub fn held_records(&self) -> u64 {
        Lane::ALL.into_iter().filter(|&lane| self.is_behind(lane)).map(|lane| self.waiting(lane)).sum()
    }

    /// Memory that records take which no file has.
    pub fn held_bytes(&self) -> Bytes {
        Bytes(self.sides.iter().map(|side| side.hold.bytes()).sum())
    }

    /// Syncs that failed since the opening.
    pub fn failed_syncs(&self) -> u64 {
        self.failed_syncs
    }

    /// Everything of a lane up to here can be read: what is durable, and while the disk takes nothing what memory has.
    pub fn readable(&self, lane: Lane) -> Seq {
        if self.state == DiskState::Ok && !self.is_behind(lane) {
            self.durable(lane)
        } else {
            self.appended(lane)
        }
    }

    /// Whether the disk has failed and [`Outbox::mend`] has not had success since.
    pub fn needs_mending(&self) -> bool {
        self.state != DiskState::Ok || Lane::ALL.into_iter().any(|lane| self.is_behind(lane))
    }

    /// Tries to write what memory holds, most urgent first, and finds out whether the disk works again. To be called every
    /// few seconds while it [is needed](Outbox::needs_mending). Returns whether all is well.
    pub fn mend(&mut self) -> bool {
        if !self.needs_mending() {
            return true;
        }
        let mended =
            Lane::ALL.into_iter().try_for_each(|lane| self.write_back(lane)).and_then(|()| self.probe());
        match mended {
            Ok(()) => self.state = DiskState::Ok,
            Err(error) => self.heed(&error),
        }
        !self.needs_mending()
    }

    /// Remembers what an error says about the disk.
    pub(crate) fn heed(&mut self, error: &OutboxError) {
        if let Some(source) = error.disk_error() {
            self.state = DiskState::of(source);
        }
    }

    /// The same, passing the result on.
    pub(crate) fn heeded<T>(&mut self, result: Result<T, OutboxError>) -> Result<T, OutboxError> {
        result.inspect_err(|error| self.heed(error))
    }

    /// Whether a lane has records that no sound file has.
    pub(crate) fn is_behind(&self, lane: Lane) -> bool {
        let side = self.side(lane);
        side.is_broken || !side.hold.is_empty() || side.next > self.log(lane).next
    }

    /// Whether new records of a lane go to memory.
    pub(crate) fn is_held_back(&self, lane: Lane) -> bool {
        match self.state {
            // A lane whose file has room goes on.
            DiskState::Ok | DiskState::Full => self.is_behind(lane),
            DiskState::ReadOnly | DiskState::Failing => true,
        }
    }

    /// Records of a lane that are not durable and not done with.
    pub(crate) fn waiting(&self, lane: Lane) -> u64 {
        let log = self.log(lane);
        log.span(log.durable + 1, log.next - 1) + self.side(lane).hold.waiting()
    }

    /// Everything of a lane up to here is read from files.
    pub(crate) fn in_files(&self, lane: Lane) -> u64 {
        let log = self.log(lane);
        if self.side(lane).is_broken { log.durable.min(log.tail.first().1 - 1) } else { log.durable }
    }

    /// Records that are read from memory, oldest first.
    pub(crate) fn in_memory(&self, lane: Lane, from: u64, upto: u64) -> impl Iterator<Item = Record> {
        let log = self.log(lane);
        let tail = log
            .tail
            .frames()
            .filter(move |kept| log.open && (from..=upto).contains(&kept.seq) && !log.is_done(kept.seq));
        let tail = tail.map(|kept| Record {
            seq: Seq(kept.seq),
            at: EventTime(kept.entry.at),
            payload: kept.entry.payload.to_vec(),
        });
        tail.chain(self.side(lane).hold.read(from, upto))
    }

    /// Writes a record to the end of a lane that has room for it.
    pub(crate) fn write(&mut self, lane: Lane, entry: Entry<'_>) -> Result<u64, OutboxError> {
        match self.try_write(lane, entry) {
            // Before it was written a sync was due, and failed.
            Err(error) if error.is_sync() => self.rewrite(lane)?,
            written => return written,
        }
        match self.try_write(lane, entry) {
            Err(error) if error.is_sync() => {
                self.rewrite(lane)?;
                Err(error)
            }
            written => written,
        }
    }

    fn try_write(&mut self, lane: Lane, entry: Entry<'_>) -> Result<u64, OutboxError> {
        let Self { disk, buffer, logs, spares, config, salts, .. } = self;
        let wrote = Self::log_of(logs, lane).append(disk, spares, entry, config.segment_bytes.0, || {
            buffer.forget();
            next_salt(salts)
        });
        match wrote? {
            Wrote::Stored(seq) => Ok(seq),
            Wrote::Refused(source) => Err(OutboxError::write(lane.as_str())(source)),
        }
    }

    /// Makes what is in the open segment of a lane durable; if that fails, in another file, at once.
    pub(crate) fn sync_lane(&mut self, lane: Lane) -> Result<(), OutboxError> {
        let Self { disk, logs, .. } = self;
        let log = Self::log_of(logs, lane);
        let synced = log.sync(disk).and_then(|has_new_name| {
            if has_new_name { disk.sync_dir().map_err(OutboxError::sync(".")) } else { Ok(()) }
        });
        match synced {
            Ok(()) => {
                log.synced();
                self.safe(lane);
                Ok(())
            }
            // What it says of the disk shows in what becomes of the other file.
            Err(_) => self.rewrite(lane),
        }
    }

    /// After a failed write or sync: leaves the open segment alone for ever and writes what it may have lost elsewhere.
    fn rewrite(&mut self, lane: Lane) -> Result<(), OutboxError> {
        let Self { disk, buffer, logs, sides, spares, salts, .. } = self;
        let (log, side) = Self::lane_of(logs, sides, lane);
        if !side.is_broken {
            side.is_broken = true;
            self.failed_syncs += 1;
        }
        buffer.forget();
        let rewritten = log.rewrite(disk, spares, next_salt(salts));
        buffer.forget();
        side.is_broken = rewritten.is_err();
        self.heeded(rewritten)?;
        self.safe(lane);
        Ok(())
    }

    /// Writes what only memory has of a lane.
    fn write_back(&mut self, lane: Lane) -> Result<(), OutboxError> {
        if self.side(lane).is_broken {
            self.rewrite(lane)?;
        }
        while let Some(held) = self.side_mut(lane).hold.pop() {
            if held.done {
                continue;
            }
            if let Err(error) = self.skip_to(lane, held.seq) {
                self.side_mut(lane).hold.push_front(held);
                return Err(error);
            }
            let written = match self.make_room(lane, &held.entry()) {
                Ok(None) => self.write(lane, held.entry()).map(drop),
                Ok(Some(reason)) => {
                    // There is room for less now than memory held, and all that is stored is more urgent.
                    self.give_up(lane, &held, reason);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                self.side_mut(lane).hold.push_front(held);
                return Err(error);
            }
        }
        let next = self.side(lane).next;
        self.skip_to(lane, next)?;
        self.sync_lane(lane)
    }

    /// The next record of a lane gets this number; those before it are done with, or were given up.
    pub(crate) fn skip_to(&mut self, lane: Lane, next: u64) -> Result<(), OutboxError> {
        if next <= self.log(lane).next {
            return Ok(());
        }
        self.sync_lane(lane)?;
        let Self { disk, buffer, logs, tally, .. } = self;
        let settled = Self::log_of(logs, lane).skip_to(disk, buffer, next)?;
        tally.received += settled.forgotten;
        Ok(())
    }

    /// Finds out whether the disk as a whole takes something: the reserve, and the cursors, written anew.
    fn probe(&mut self) -> Result<(), OutboxError> {
        self.refill_reserve()?;
        let Self { disk, logs, spares, .. } = self;
        for log in logs {
            log.rewrite_cursor(disk)?;
            log.collect(disk, spares)?;
        }
        Ok(())
    }

    /// Keeps a record in memory until the disk works again.
    pub(crate) fn keep(&mut self, lane: Lane, entry: &Entry<'_>) -> Result<u64, DropReason> {
        let cost = Hold::cost(entry.payload);
        if !self.gives_way() {
            let reserve = if lane == Lane::Alarm { 0 } else { HELD_BYTES_MAX / ALARM_SHARE };
            if self.held_bytes().0 + cost > HELD_BYTES_MAX - reserve {
                return Err(DropReason::OutboxReject);
            }
        }
        while self.held_bytes().0 + cost > HELD_BYTES_MAX {
            if !self.relieve(lane) {
                return Err(DropReason::OutboxFull);
            }
        }
        let seq = self.appended(lane).0 + 1;
        let side = self.side_mut(lane);
        side.hold.push(seq, entry);
        side.next = seq + 1;
        Ok(seq)
    }

    /// Makes memory free for a lane. On a full disk the oldest on disk goes, so that what waits can be written; else the
    /// oldest in memory. The least urgent first, nothing more urgent than the lane.
    fn relieve(&mut self, lane: Lane) -> bool {
        let before = self.held_bytes();
        if self.state == DiskState::Full && self.give_way(lane).unwrap_or(false) {
            let written = Lane::ALL.into_iter().try_for_each(|lane| self.write_back(lane));
            drop(self.heeded(written));
            if self.held_bytes() < before {
                return true;
            }
        }
        Lane::ALL.into_iter().rev().filter(|&victim| victim >= lane).any(|victim| self.shed(victim))
    }

    /// Gives up the oldest record of a lane that only memory has.
    fn shed(&mut self, lane: Lane) -> bool {
        let Some(held) = self.side_mut(lane).hold.pop() else { return false };
        self.give_up(lane, &held, DropReason::OutboxFull);
        true
    }

    fn give_up(&mut self, lane: Lane, held: &Held, reason: DropReason) {
        if !held.done {
            self.lose(lane, reason, EventTime(held.at));
        }
        self.side_mut(lane).ledger.lost(held.seq);
    }

    /// What is durable or delivered by now has told what it was to tell.
    pub(crate) fn safe(&mut self, lane: Lane) {
        let upto = self.durable(lane).max(self.acked(lane)).0;
        let (log, side) = Self::lane_of(&mut self.logs, &mut self.sides, lane);
        side.ledger.safe(upto, &mut log.told);
    }
}

/// Steps a splitmix64 generator: every segment of every run has its own salt.
fn next_salt(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
