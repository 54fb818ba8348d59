//! One lane: reading what is durable, in order, over damage.

use std::io;
use std::time::Duration;

use crate::clock::{EARLIEST_PLAUSIBLE, EventTime};
use crate::outbox::disk::DiskRead;
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::log::{Log, Position};
use crate::outbox::record::{Record, Seq};
use crate::outbox::recover::read_salt;
use crate::outbox::scan::{Extent, Found, ScanBuffer};
use crate::outbox::segment::{FRAMES_OFFSET, Salt, Segment};

/// How much to read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimit {
    /// Greatest number wanted.
    pub(crate) upto: u64,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Log {
    /// Appends durable records that are not done with, from `from` on, to `out`, and returns how many records were found
    /// to be gone.
    pub(crate) fn read<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        from: u64,
        limit: ReadLimit,
        out: &mut Vec<Record>,
    ) -> Result<u64, OutboxError> {
        let (from, upto) = (from.max(self.acked.saturating_add(1)), limit.upto.min(self.durable));
        let mut position = self.seek(from, self.read_hint);
        let (mut records, mut bytes) = (0, 0_usize);
        let mut gap: Option<u64> = None;
        while records < limit.records {
            let wanted = from.max(position.after.saturating_add(1));
            if let Some(end) = self.done.end_of(wanted) {
                position = self.seek(end.saturating_add(1), position);
            }
            let wanted = from.max(position.after.saturating_add(1));
            if wanted > upto {
                break;
            }
            let before = position;
            let found = self.step(disk, buffer, &mut position)?;
            let next = found.map_or(upto.saturating_add(1), |found| found.header.seq);
            if self.span(wanted, (next - 1).min(upto)) > 0 {
                gap = gap.or(Some(before.first));
            }
            let Some(found) = found else { break };
            if next > upto {
                position = before;
                break;
            }
            if next < from || self.is_done(next) {
                continue;
            }
            let payload = buffer.payload(&found);
            if records > 0 && bytes.saturating_add(payload.len()) > limit.bytes {
                position = before;
                break;
            }
            records += 1;
            bytes += payload.len();
            out.push(Record { seq: Seq(next), at: EventTime(found.header.at), payload: payload.to_vec() });
        }
        self.read_hint = position;
        gap.map_or(Ok(0), |first| self.recount_range(disk, buffer, first, position.first))
    }

    /// Number of the last record that is older than `age_max`, if the front of the lane is.
    ///
    /// A record with a time before the gateway knew the time counts as older than its successor; nothing else is known.
    pub(crate) fn expired<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        now: EventTime,
        age_max: Duration,
    ) -> Result<Option<u64>, OutboxError> {
        let cutoff = now.before(age_max);
        let mut position = self.seek(self.acked.saturating_add(1), self.oldest_hint);
        let mut upto = None;
        while let Some(found) = self.step(disk, buffer, &mut position)? {
            let at = EventTime(found.header.at);
            if self.is_done(found.header.seq) || at < EARLIEST_PLAUSIBLE {
                continue;
            }
            if at >= cutoff {
                break;
            }
            upto = Some(found.header.seq);
            self.oldest_hint = position;
        }
        Ok(upto)
    }

    /// Time of the oldest durable record that is not acknowledged.
    pub(crate) fn oldest<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
    ) -> Result<Option<EventTime>, OutboxError> {
        let mut position = self.seek(self.acked.saturating_add(1), self.oldest_hint);
        loop {
            self.oldest_hint = position;
            let Some(found) = self.step(disk, buffer, &mut position)? else { return Ok(None) };
            if !self.is_done(found.header.seq) {
                return Ok(Some(EventTime(found.header.at)));
            }
        }
    }

    /// A place at or before a record: the hint if it is in the same segment and not behind it.
    fn seek(&self, seq: u64, hint: Position) -> Position {
        let index = self.segments.partition_point(|segment| segment.first <= seq).saturating_sub(1);
        match self.segments.get(index) {
            Some(segment) if hint.first == segment.first && hint.after < seq => hint,
            Some(segment) => start_of(segment),
            None => Position::default(),
        }
    }

    /// The next durable record, done with or not.
    fn step<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        position: &mut Position,
    ) -> Result<Option<Found>, OutboxError> {
        let mut index = self.segments.partition_point(|segment| segment.first < position.first);
        while let Some(segment) = self.segments.get_mut(index) {
            if segment.first != position.first {
                *position = start_of(segment);
            }
            match look(disk, buffer, segment, self.lane, position) {
                Ok(Some(found)) => {
                    position.offset = found.end();
                    position.after = found.header.seq;
                    return Ok(Some(found));
                }
                Ok(None) => index += 1,
                Err(error) if is_gone(&error) && self.do_without(index) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A segment whose file somebody has taken away is damaged throughout. Returns `false` while its end is in memory: the
    /// next sync puts that into another file.
    fn do_without(&mut self, index: usize) -> bool {
        let is_open = self.open && index + 1 == self.segments.len();
        if is_open && self.tail.pending() > 0 {
            return false;
        }
        self.open &= !is_open;
        if let Some(segment) = self.segments.get_mut(index) {
            segment.salt = Salt::Lost;
            segment.reusable = false;
        }
        true
    }

    fn recount_range<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        first: u64,
        last: u64,
    ) -> Result<u64, OutboxError> {
        let range =
            self.segments.iter().map(|segment| segment.first).filter(|id| (first..=last).contains(id));
        let mut gone = 0;
        for id in range.collect::<Vec<_>>() {
            gone += self.recount(disk, buffer, id)?;
        }
        Ok(gone)
    }
}

/// The next frame of a segment.
fn look<D: DiskRead>(
    disk: &mut D,
    buffer: &mut ScanBuffer,
    segment: &mut Segment,
    lane: Lane,
    position: &Position,
) -> Result<Option<Found>, OutboxError> {
    if segment.salt == Salt::Unread {
        segment.salt = read_salt(disk, &segment.name, lane, segment.first)?;
    }
    buffer.next_frame(disk, Extent::of(segment), position.offset, position.after)
}

/// Whether an error says that a file is not there, or something else is in its place: waiting brings nothing back.
fn is_gone(error: &OutboxError) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::IsADirectory, io::ErrorKind::InvalidInput];
    matches!(error, OutboxError::Read { source, .. } if kinds.contains(&source.kind()))
}

fn start_of(segment: &Segment) -> Position {
    Position { first: segment.first, offset: FRAMES_OFFSET, after: segment.first.saturating_sub(1) }
}
