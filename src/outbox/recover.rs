//! One lane at open: what a crash has left, made into a queue again.
//!
//! # Invariants
//! No content makes this fail, except an intact file of a newer format. Only the last segment is read: opening takes as long
//! with a full outbox as with an empty one.

use std::collections::VecDeque;

use crate::outbox::cursor::{Mark, SlotFile, cursor_name};
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::finish::Loss;
use crate::outbox::lane::Lane;
use crate::outbox::log::Log;
use crate::outbox::record::FRAME_BYTES_MIN;
use crate::outbox::scan::{Extent, ScanBuffer, Survey, survey};
use crate::outbox::segment::{self, FORMAT, HEAD_BYTES, HeaderRead, Salt, Segment, SegmentHeader};
use crate::outbox::spare::Spares;

/// What opening has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records waiting to be sent. Damage in segments that are full already is found when they are read.
    pub records: u64,
    /// Places with damage in what had been durable.
    pub damaged_ranges: u64,
    /// Records lost in them, where that can be known.
    pub damaged_records: u64,
    /// Segments found.
    pub segments: u64,
}

/// A lane and the greatest epoch seen in it.
pub(crate) struct Recovered {
    pub(crate) log: Log,
    pub(crate) epoch: u32,
}

/// Reads a lane whose segments start with the records `firsts`, in rising order.
pub(crate) fn recover<D: Disk>(
    disk: &mut D,
    buffer: &mut ScanBuffer,
    spares: &mut Spares,
    lane: Lane,
    firsts: &[u64],
    recovery: &mut Recovery,
) -> Result<Recovered, OutboxError> {
    let loaded = SlotFile::load(disk, cursor_name(lane))?;
    let start = firsts.first().map_or(0, |first| first.saturating_sub(1));
    let mark = loaded.newest.as_ref().map(Mark::from_slot);
    // Without a cursor everything is sent again.
    let mut log =
        Log::new(lane, loaded.file, mark.clone().unwrap_or(Mark { acked: start, ..Mark::default() }));
    let mut epoch = log.saved.epoch;
    log.saved = mark.unwrap_or_default();
    if loaded.certain && log.acked < start {
        // The cursor goes before the segments, always: somebody has taken them away.
        let missing = log.span(1, start);
        log.lose(Loss::Damaged, missing);
        recovery.damaged_ranges += u64::from(missing > 0);
        recovery.damaged_records += missing;
    }
    log.acked = log.done.pass(log.acked.max(start));
    let mut head = Head::Unwritten;
    for (index, &first) in firsts.iter().enumerate() {
        let (name, follower) = (segment::name(lane, first), firsts.get(index + 1).copied());
        if follower.is_none() {
            // It may come from a process that died between write and sync: it is in memory, not on the medium.
            disk.sync(&name).map_err(OutboxError::sync(&name))?;
        }
        let file_bytes = disk.len(&name).map_err(OutboxError::read(&name))?;
        let mut segment = sealed(name, first, follower, file_bytes);
        if index == 0 || follower.is_none() {
            head = read_head(disk, &segment.name, lane, first)?;
            segment.salt = head.salt();
            epoch = epoch.max(head.epoch());
        }
        log.used += segment.used();
        log.segments.push_back(segment);
    }
    recovery.segments += log.segments.len() as u64;
    let end = log.read_end(disk, buffer, spares, head)?;
    let last = log.segments.back().map_or(0, |segment| segment.last).max(log.done.last());
    log.next = last.max(log.acked).max(start).saturating_add(1);
    log.durable = log.next - 1;
    log.count(disk, buffer, end.as_ref(), recovery)?;
    if let Some(end) = end {
        log.reopen(disk, &end);
    }
    buffer.forget();
    Ok(Recovered { log, epoch })
}

/// What the last segment of a lane has turned out to be.
#[derive(Debug, Default)]
struct End {
    survey: Survey,
    /// Offset, number and end of each frame that reaches into the last unit, oldest first.
    frames: VecDeque<(u64, u64, u64)>,
    newest: Option<i64>,
    /// Whether it was written as this program writes it.
    current: bool,
}

impl Log {
    /// Reads the last segment to its end; `None` when there is none with records in it.
    fn read_end<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        spares: &mut Spares,
        head: Head,
    ) -> Result<Option<End>, OutboxError> {
        let unit = disk.unit();
        let Some(mut last) = self.segments.pop_back() else { return Ok(None) };
        let mut end = End { current: head.is_current(), ..End::default() };
        end.current &= last.file_bytes == spares.file_bytes();
        let End { frames, newest, .. } = &mut end;
        let extent = Extent { last: u64::MAX, ..Extent::of(&last) };
        end.survey = survey(disk, buffer, extent, last.first, |found, _| {
            let header = found.header;
            *newest = Some(header.at);
            frames.push_back((found.offset, header.seq, found.end()));
            frames.retain(|frame| frame.2 > found.end() - found.end() % unit);
        })?;
        last.last = end.survey.last;
        let lost = head == Head::Lost || end.survey.unreadable;
        if last.last < last.first && !lost {
            // Its first record never became durable. The name is free for the next segment.
            self.used -= last.used();
            spares.give(disk, &last).map_err(OutboxError::write(&last.name))?;
            return Ok(None);
        }
        if lost {
            // Numbers it may have held are not given out again, and not missed: nobody knows how many there were.
            let records_max = last.file_bytes.saturating_sub(end.survey.end) / FRAME_BYTES_MIN;
            last.last = last.last.saturating_add(records_max.max(1));
            self.done.insert(end.survey.last + 1, last.last);
        }
        self.acked = self.done.pass(self.acked);
        self.newest = end.newest;
        self.segments.push_back(last);
        Ok(Some(end))
    }

    /// Counts what waits. Damage is looked for in the last segment only.
    fn count<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        end: Option<&End>,
        recovery: &mut Recovery,
    ) -> Result<(), OutboxError> {
        let held: Vec<u64> =
            self.segments.iter().map(|segment| self.span(segment.first, segment.last)).collect();
        for (segment, held) in self.segments.iter_mut().zip(held) {
            segment.unacked = held;
        }
        let survey = end.map(|end| end.survey).unwrap_or_default();
        let lost = self.segments.back().is_some_and(|last| last.salt == Salt::Lost);
        recovery.damaged_ranges += survey.damaged_ranges + u64::from(survey.unreadable || lost);
        if let Some(last) = self.segments.back().filter(|_| survey.damaged_ranges > 0 || survey.unreadable) {
            recovery.damaged_records += self.recount(disk, buffer, last.first)?;
        }
        self.slide();
        recovery.records += self.held();
        Ok(())
    }

    /// Goes on writing where the last segment ends, if all of it is sound.
    fn reopen<D: Disk>(&mut self, disk: &mut D, end: &End) {
        let Some(last) = self.segments.back_mut() else { return };
        let sound = !end.survey.unreadable && end.survey.damaged_ranges == 0 && last.salt != Salt::Lost;
        if !end.current || !sound || last.last + 1 != self.next {
            return;
        }
        let Some(&(offset, seq, _)) = end.frames.front() else { return };
        let (base, into) = self.tail.resume(disk.unit(), (offset, seq), end.survey.end);
        let wanted = into.len();
        // What cannot be read now was read a moment ago; a new segment does as well.
        if disk.read_at(&last.name, base, into).is_ok_and(|read| read == wanted) {
            last.len = end.survey.end;
            last.synced = end.survey.end;
            self.open = true;
        }
    }
}

/// A segment that takes no more records, as far as its name and length tell.
fn sealed(name: String, first: u64, follower: Option<u64>, file_bytes: u64) -> Segment {
    Segment {
        name,
        first,
        last: follower.unwrap_or(first) - 1,
        salt: Salt::Unread,
        len: file_bytes,
        synced: file_bytes,
        unacked: 0,
        dense: true,
        file_bytes,
        reusable: true,
    }
}

/// The head of a segment, of a format that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Read(SegmentHeader),
    Unwritten,
    Lost,
}

impl Head {
    fn salt(self) -> Salt {
        match self {
            Self::Read(header) => Salt::Known(header.salt),
            Self::Unwritten | Self::Lost => Salt::Lost,
        }
    }

    fn epoch(self) -> u32 {
        match self {
            Self::Read(header) => header.epoch,
            Self::Unwritten | Self::Lost => 0,
        }
    }

    fn is_current(self) -> bool {
        matches!(self, Self::Read(header) if header.format == FORMAT)
    }
}

fn read_head<D: DiskRead>(disk: &mut D, name: &str, lane: Lane, first: u64) -> Result<Head, OutboxError> {
    match read_header(disk, name, lane, first)? {
        HeaderRead::Valid(header) => Ok(Head::Read(header)),
        HeaderRead::Newer(found) => {
            Err(OutboxError::Version { file: name.to_owned(), found, supported: FORMAT })
        }
        HeaderRead::Unwritten => Ok(Head::Unwritten),
        HeaderRead::Damaged => Ok(Head::Lost),
    }
}

/// The salt of a segment, from its head.
pub(crate) fn read_salt<D: DiskRead>(
    disk: &mut D,
    name: &str,
    lane: Lane,
    first: u64,
) -> Result<Salt, OutboxError> {
    Ok(read_head(disk, name, lane, first)?.salt())
}

/// Reads the head of a segment; bytes that the medium has lost count as damage.
pub(crate) fn read_header<D: DiskRead>(
    disk: &mut D,
    name: &str,
    lane: Lane,
    first: u64,
) -> Result<HeaderRead, OutboxError> {
    let mut head = [0; HEAD_BYTES];
    match disk.read_at(name, 0, &mut head) {
        Ok(read) => Ok(SegmentHeader::parse(head.get(..read).unwrap_or_default(), lane, first)),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Ok(HeaderRead::Damaged),
        Err(source) => Err(OutboxError::Read { file: name.to_owned(), source }),
    }
}
