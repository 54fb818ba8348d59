//! One lane: its segments, its numbers and its cursor. Writing and making durable.

use std::collections::VecDeque;
use std::io;

use crate::outbox::cursor::{Losses, Mark, SlotFile};
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::record::Entry;
use crate::outbox::scan::{Extent, ScanBuffer, survey};
use crate::outbox::segment::{self, FORMAT, HEAD_BYTES, Salt, Segment, SegmentHeader};
use crate::outbox::spare::Spares;
use crate::outbox::tail::{TAIL_BYTES_MAX, Tail};
use crate::ranges::Ranges;

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
    /// Whether the last segment takes records; its end is in `tail` then.
    pub(crate) open: bool,
    /// Whether the name of the last segment is durable.
    pub(crate) named: bool,
    pub(crate) tail: Tail,
    /// Number of the next record.
    pub(crate) next: u64,
    /// Everything up to here survives a power cut.
    pub(crate) durable: u64,
    /// Everything up to here is done with: acknowledged, or dropped.
    pub(crate) acked: u64,
    /// Done with beyond that.
    pub(crate) done: Ranges,
    /// Records lost since the lane exists, by reason, and how many of these upstream was told of.
    pub(crate) dropped: Losses,
    pub(crate) told: Losses,
    /// What the cursor file says.
    pub(crate) saved: Mark,
    /// Records done with since then.
    pub(crate) unsaved: u64,
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
    /// There is no room for another segment, or the disk refuses; nothing of the record is left.
    Refused(io::Error),
}

impl Log {
    /// A lane as its cursor leaves it, without segments.
    pub(crate) fn new(lane: Lane, cursor: SlotFile, mark: Mark) -> Self {
        Self {
            lane,
            segments: VecDeque::new(),
            open: false,
            named: true,
            tail: Tail::default(),
            next: mark.acked.saturating_add(1),
            durable: mark.acked,
            acked: mark.acked,
            done: mark.done.clone(),
            dropped: mark.dropped,
            told: mark.told,
            saved: mark,
            unsaved: 0,
            cursor,
            epoch: 0,
            used: 0,
            newest: None,
            read_hint: Position::default(),
            oldest_hint: Position::default(),
        }
    }

    /// Begins the run of an epoch: the cursor file is there, and what has been passed goes.
    pub(crate) fn start<D: Disk>(
        &mut self,
        disk: &mut D,
        spares: &mut Spares,
        epoch: u32,
    ) -> Result<(), OutboxError> {
        self.epoch = epoch;
        let mark = self.mark(self.acked);
        if self.cursor.prepare(disk, &mark.to_slot())? {
            self.saved = mark;
        }
        self.collect(disk, spares)
    }

    /// Whether a record of this length would start a new segment.
    pub(crate) fn needs_segment(&self, frame_bytes: u64, segment_bytes: u64) -> bool {
        !self.open || self.tail.end() + frame_bytes > segment_bytes
    }

    /// Records stored and not done with.
    pub(crate) fn held(&self) -> u64 {
        self.segments.iter().map(|segment| segment.unacked).sum()
    }

    /// Adds a record to the end, in memory: [`Log::sync`] writes it. Starts a new segment where needed, with `salt`. Syncs
    /// before that, and when too much is waiting.
    pub(crate) fn append<D: Disk>(
        &mut self,
        disk: &mut D,
        spares: &mut Spares,
        entry: Entry<'_>,
        segment_bytes: u64,
        salt: impl FnOnce() -> u64,
    ) -> Result<Wrote, OutboxError> {
        let frame_bytes = entry.frame_bytes();
        let full = self.open && self.tail.end() + frame_bytes > segment_bytes;
        if full || self.tail.pending() > 0 && self.tail.pending() + frame_bytes > TAIL_BYTES_MAX {
            self.sync_now(disk)?;
        }
        self.open &= !full;
        if !self.open
            && let Err(source) = self.start_segment(disk, spares, salt())
        {
            return Ok(Wrote::Refused(source));
        }
        let seq = self.next;
        let held = u64::from(!self.is_done(seq));
        let Some(last) = self.segments.back_mut() else {
            return Ok(Wrote::Refused(io::Error::from(io::ErrorKind::NotFound)));
        };
        let Salt::Known(salt) = last.salt else {
            return Ok(Wrote::Refused(io::Error::from(io::ErrorKind::NotFound)));
        };
        assert_eq!(last.last + 1, seq, "numbers rise by one within a segment");
        self.tail.push(salt, seq, &entry);
        last.len = self.tail.end();
        last.last = seq;
        last.unacked += held;
        self.next += 1;
        self.newest = Some(entry.at);
        Ok(Wrote::Stored(seq))
    }

    /// Writes and syncs everything appended. Returns whether the directory has to be synced before it is durable.
    ///
    /// After an error the segment must not be written or synced again: see [`Log::rewrite`].
    pub(crate) fn sync<D: Disk>(&mut self, disk: &mut D) -> Result<bool, OutboxError> {
        if let Some(last) = self.segments.back()
            && self.open
            && self.tail.pending() > 0
        {
            let name = &last.name;
            self.tail
                .write(|offset, bytes| disk.write_at(name, offset, bytes))
                .and_then(|()| disk.sync(name))
                .map_err(OutboxError::sync(name))?;
            return Ok(!self.named);
        }
        Ok(false)
    }

    /// Records that [`Log::sync`], and the sync of the directory where it asked for one, has succeeded.
    pub(crate) fn synced(&mut self) {
        if let Some(last) = self.segments.back_mut()
            && self.open
            && self.tail.pending() > 0
        {
            self.named = true;
            self.tail.settle();
            last.synced = last.len;
            self.durable = self.durable.max(last.last);
        }
    }

    fn sync_now<D: Disk>(&mut self, disk: &mut D) -> Result<(), OutboxError> {
        if self.sync(disk)? {
            disk.sync_dir().map_err(OutboxError::sync("."))?;
        }
        self.synced();
        Ok(())
    }

    fn start_segment<D: Disk>(&mut self, disk: &mut D, spares: &mut Spares, salt: u64) -> io::Result<()> {
        let name = segment::name(self.lane, self.next);
        spares.take(disk, &name)?;
        let segment = Segment::new(name, self.next, salt, spares.file_bytes());
        self.tail.start(disk.unit(), &self.header(salt, self.next), self.next);
        self.used += segment.used();
        self.segments.push_back(segment);
        self.open = true;
        self.named = false;
        Ok(())
    }

    /// The head of a segment of this lane.
    pub(crate) fn header(&self, salt: u64, first: u64) -> [u8; HEAD_BYTES] {
        SegmentHeader { format: FORMAT, lane: self.lane, epoch: self.epoch, salt, first }.encode()
    }

    /// Numbers from `from` to `upto` that are not done with.
    pub(crate) fn span(&self, from: u64, upto: u64) -> u64 {
        let from = from.max(self.acked.saturating_add(1));
        if upto < from { 0 } else { upto - from + 1 - self.done.count(from, upto) }
    }

    /// Whether a record is done with.
    pub(crate) fn is_done(&self, seq: u64) -> bool {
        seq <= self.acked || self.done.end_of(seq).is_some()
    }

    /// Valid records of a segment that are not done with.
    pub(crate) fn live<D: DiskRead>(
        &self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        segment: &Segment,
    ) -> Result<u64, OutboxError> {
        if segment.dense {
            return Ok(self.span(segment.first, segment.last));
        }
        let mut count = self.span(self.durable.max(segment.first.saturating_sub(1)) + 1, segment.last);
        if let Salt::Known(_) = segment.salt {
            survey(disk, buffer, Extent::of(segment), segment.first, |found, _| {
                count += u64::from(found.header.seq <= self.durable && !self.is_done(found.header.seq));
            })?;
        }
        Ok(count)
    }
}
