//! One lane: its segments, its numbers and its cursor. Writing, acknowledging, removing.

use std::collections::VecDeque;
use std::io;

use crate::outbox::cursor::{Mark, SlotFile};
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::record::{self, FRAME_HEADER_BYTES};
use crate::outbox::scan::{Extent, ScanBuffer, survey};
use crate::outbox::segment::{self, FRAMES_OFFSET, Segment, SegmentHeader};

/// Acknowledged records the durable cursor may lag behind: what is sent twice after a power cut. Each cursor write costs
/// a block and a journal entry on flash.
const CURSOR_LAG_RECORDS_MAX: u64 = 256;

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// First record of the segment.
    pub(crate) first: u64,
    pub(crate) offset: u64,
    /// Number of the record before this place.
    pub(crate) after: u64,
}

/// The queue of one lane.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) lane: Lane,
    /// Oldest first.
    pub(crate) segments: VecDeque<Segment>,
    /// Whether the last segment takes records.
    pub(crate) open: bool,
    /// Whether the name of the last segment is durable.
    pub(crate) named: bool,
    /// Number of the next record.
    pub(crate) next: u64,
    /// Everything up to here survives a power cut.
    pub(crate) durable: u64,
    /// Everything up to here is done with: acknowledged, or dropped.
    pub(crate) acked: u64,
    /// What the cursor file says of `acked`.
    pub(crate) saved: u64,
    pub(crate) cursor: SlotFile,
    pub(crate) epoch: u32,
    /// Space of all segments.
    pub(crate) used: u64,
    /// Time of the newest record.
    pub(crate) newest: Option<i64>,
    /// Where the last read ended.
    pub(crate) read_hint: Position,
    /// Before the oldest record that is not acknowledged, or earlier.
    pub(crate) oldest_hint: Position,
}

/// How an append went.
#[derive(Debug)]
pub(crate) enum Wrote {
    Stored(u64),
    /// The disk has no room or refuses; nothing of the record is left in the segment.
    Refused(io::Error),
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
    /// Space an append would take in addition.
    pub(crate) fn growth(&self, payload_bytes: u64, segment_bytes: u64) -> u64 {
        let frame = FRAME_HEADER_BYTES + payload_bytes;
        match self.segments.back() {
            Some(last) if self.open && last.len + frame <= segment_bytes => {
                segment::used(last.len + frame) - last.used()
            }
            Some(_) | None => segment::used(FRAMES_OFFSET + frame),
        }
    }

    /// Records stored and not acknowledged.
    pub(crate) fn held(&self) -> u64 {
        self.segments.iter().map(|segment| segment.unacked).sum()
    }

    /// Writes a record to the end, without making it durable. Starts a new segment where needed, with `salt`.
    pub(crate) fn append<D: Disk>(
        &mut self,
        disk: &mut D,
        scratch: &mut Vec<u8>,
        (payload, at): (&[u8], i64),
        segment_bytes: u64,
        salt: impl FnOnce() -> u64,
    ) -> Result<Wrote, OutboxError> {
        let frame_bytes = FRAME_HEADER_BYTES + payload.len() as u64;
        if self.open && self.segments.back().is_some_and(|last| last.len + frame_bytes > segment_bytes) {
            self.seal(disk)?;
        }
        if !self.open
            && let Err(source) = self.start_segment(disk, salt())
        {
            return Ok(Wrote::Refused(source));
        }
        let seq = self.next;
        let Some(last) = self.segments.back_mut() else {
            return Ok(Wrote::Refused(io::Error::from(io::ErrorKind::NotFound)));
        };
        assert_eq!(last.last + 1, seq, "numbers rise by one within a segment");
        record::encode(scratch, last.salt, seq, at, payload);
        if let Err(source) = disk.write_at(&last.name, last.len, scratch) {
            // Should the torn frame stay, the next record overwrites it, and recovery cuts it off.
            match disk.truncate(&last.name, last.len) {
                Ok(()) | Err(_) => {}
            }
            return Ok(Wrote::Refused(source));
        }
        let used_before = last.used();
        last.len += scratch.len() as u64;
        last.last = seq;
        last.unacked += 1;
        self.used += last.used() - used_before;
        self.next += 1;
        self.newest = Some(at);
        Ok(Wrote::Stored(seq))
    }

    /// Makes everything appended durable. Returns whether the directory has to be synced before this is true.
    pub(crate) fn sync<D: Disk>(&mut self, disk: &mut D) -> Result<bool, OutboxError> {
        if let Some(last) = self.segments.back()
            && self.open
            && last.synced < last.len
        {
            disk.sync(&last.name).map_err(OutboxError::sync(&last.name))?;
            return Ok(!self.named);
        }
        Ok(false)
    }

    /// Records that [`Log::sync`], and the sync of the directory where it asked for one, has succeeded.
    pub(crate) fn synced(&mut self) {
        if let Some(last) = self.segments.back_mut()
            && self.open
        {
            self.named |= last.synced < last.len;
            last.synced = last.len;
            self.durable = self.durable.max(last.last);
        }
    }

    /// Ends the open segment: what is in it becomes durable, and the next record starts a new one.
    fn seal<D: Disk>(&mut self, disk: &mut D) -> Result<(), OutboxError> {
        if self.sync(disk)? {
            disk.sync_dir().map_err(OutboxError::sync("."))?;
        }
        self.synced();
        self.open = false;
        Ok(())
    }

    fn start_segment<D: Disk>(&mut self, disk: &mut D, salt: u64) -> io::Result<()> {
        let header = SegmentHeader { lane: self.lane, epoch: self.epoch, salt, first: self.next };
        let name = segment::name(self.lane, self.next);
        disk.create(&name)?;
        if let Err(source) = disk.write_at(&name, 0, &header.encode()) {
            // If it cannot be removed either, the name stays taken and appends are refused until the disk recovers.
            return disk.remove(&name).and(Err(source));
        }
        let segment = Segment {
            name,
            first: self.next,
            last: self.next - 1,
            salt,
            len: FRAMES_OFFSET,
            synced: FRAMES_OFFSET,
            unacked: 0,
            dense: true,
        };
        self.used += segment.used();
        self.segments.push_back(segment);
        self.open = true;
        self.named = false;
        Ok(())
    }

    /// Marks everything up to `upto` as done with, in memory, and returns how many records that were.
    pub(crate) fn pass<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        upto: u64,
    ) -> Result<u64, OutboxError> {
        let upto = upto.min(self.next - 1);
        if upto <= self.acked {
            return Ok(0);
        }
        let mut passed = 0;
        for segment in &mut self.segments {
            if segment.first > upto {
                break;
            }
            let left = if segment.last <= upto {
                0
            } else if segment.dense {
                segment.last - upto
            } else {
                count_after(disk, buffer, segment, upto)? + segment.last.saturating_sub(self.durable)
            };
            passed += segment.unacked.saturating_sub(left);
            segment.unacked = segment.unacked.min(left);
        }
        self.acked = upto;
        self.durable = self.durable.max(upto);
        self.settle();
        Ok(passed)
    }

    /// Reads a segment again after damage was met in it, and returns how many records are gone.
    pub(crate) fn recount<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        first: u64,
    ) -> Result<u64, OutboxError> {
        let (acked, durable) = (self.acked, self.durable);
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.first == first) else {
            return Ok(0);
        };
        let readable = count_after(disk, buffer, segment, acked)? + segment.last.saturating_sub(durable);
        let lost = segment.unacked.saturating_sub(readable);
        segment.unacked -= lost;
        segment.dense &= lost == 0;
        self.settle();
        Ok(lost)
    }

    /// Passes sealed segments at the front that hold nothing any more.
    fn settle(&mut self) {
        let sealed = self.segments.len() - usize::from(self.open);
        for segment in self.segments.iter().take(sealed) {
            if segment.unacked > 0 {
                break;
            }
            self.acked = self.acked.max(segment.last);
        }
    }

    /// Saves the cursor when it lags too far or segments wait for it, then removes the segments that it has passed.
    pub(crate) fn collect<D: Disk>(&mut self, disk: &mut D) -> Result<(), OutboxError> {
        let waiting = self.removable(self.acked).is_some();
        if waiting || self.acked.saturating_sub(self.saved) >= CURSOR_LAG_RECORDS_MAX {
            self.save_cursor(disk, self.acked)?;
        }
        // A segment that cannot be removed now is tried again with the next acknowledgement.
        while let Some(front) = self.removable(self.saved) {
            match disk.remove(&front.name) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => break,
            }
            self.used -= front.used();
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Makes the cursor durable at `acked`.
    pub(crate) fn save_cursor<D: Disk>(&mut self, disk: &mut D, acked: u64) -> Result<(), OutboxError> {
        if acked > self.saved {
            self.cursor.save(disk, Mark { acked, epoch: self.epoch })?;
            self.saved = acked;
        }
        Ok(())
    }

    /// Drops the oldest segment, whatever is in it. The cursor passes it durably before it goes.
    pub(crate) fn drop_oldest<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
    ) -> Result<Evicted, OutboxError> {
        let kept = Evicted { records: 0, freed: false };
        let Some(front) = self.segments.front() else { return Ok(kept) };
        let (last, segments_before) = (front.last, self.segments.len());
        match self.save_cursor(disk, last.max(self.acked)) {
            Ok(()) => {}
            // Without a cursor behind it the segment must stay.
            Err(OutboxError::Write { .. }) => return Ok(kept),
            Err(e) => return Err(e),
        }
        if segments_before == 1 {
            self.open = false;
        }
        let records = self.pass(disk, buffer, last)?;
        match self.collect(disk) {
            // What has been passed is counted in any case; what cannot go now goes later.
            Ok(()) | Err(OutboxError::Write { .. }) => {}
            Err(e) => return Err(e),
        }
        Ok(Evicted { records, freed: self.segments.len() < segments_before })
    }

    fn removable(&self, cursor: u64) -> Option<&Segment> {
        let sealed = self.segments.len() > usize::from(self.open);
        self.segments.front().filter(|front| sealed && front.last <= cursor)
    }
}

/// Valid records of the durable part of a segment behind a number.
fn count_after<D: DiskRead>(
    disk: &mut D,
    buffer: &mut ScanBuffer,
    segment: &Segment,
    after: u64,
) -> Result<u64, OutboxError> {
    let extent = Extent { name: &segment.name, salt: segment.salt, end: segment.synced };
    let mut count = 0;
    survey(disk, buffer, extent, segment.first, |header, _| count += u64::from(header.seq > after))?;
    Ok(count)
}
