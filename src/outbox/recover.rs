//! One lane at open: what a crash has left, made into a queue again.
//!
//! # Invariants
//! No content makes this fail, except an intact file of a newer format. Only the end of the last segment is ever cut; damage
//! elsewhere is skipped and counted.

use std::collections::VecDeque;

use crate::outbox::cursor::{SlotFile, cursor_name};
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::log::{Log, Position};
use crate::outbox::record::FRAME_BYTES_MIN;
use crate::outbox::scan::{Extent, ScanBuffer, survey};
use crate::outbox::segment::{self, FORMAT, FRAMES_OFFSET, HeaderRead, Segment, SegmentHeader};

/// What opening has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records waiting to be sent.
    pub records: u64,
    /// Their payloads in bytes.
    pub bytes: u64,
    /// Bytes of unfinished writes cut from the ends of lanes. They were never promised to be durable.
    pub truncated_bytes: u64,
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
    lane: Lane,
    firsts: &[u64],
    recovery: &mut Recovery,
) -> Result<Recovered, OutboxError> {
    let (cursor, mark) = SlotFile::load(disk, cursor_name(lane))?;
    // Without a cursor everything is sent again.
    let acked =
        mark.map_or_else(|| firsts.first().map_or(0, |first| first.saturating_sub(1)), |mark| mark.acked);
    let mut lane_scan = LaneScan {
        log: Log {
            lane,
            segments: VecDeque::new(),
            open: false,
            named: true,
            next: acked.saturating_add(1),
            durable: acked,
            acked,
            saved: mark.map_or(0, |mark| mark.acked),
            cursor,
            epoch: 0,
            used: 0,
            newest: None,
            read_hint: Position::default(),
            oldest_hint: Position::default(),
        },
        epoch: mark.map_or(0, |mark| mark.epoch),
        recovery,
    };
    let followers = firsts.iter().skip(1).copied().map(Some).chain([None]);
    for (&first, follower) in firsts.iter().zip(followers) {
        lane_scan.segment(disk, buffer, first, follower)?;
    }
    let LaneScan { mut log, epoch, .. } = lane_scan;
    log.durable = log.next - 1;
    buffer.forget();
    Ok(Recovered { log, epoch })
}

struct LaneScan<'a> {
    log: Log,
    epoch: u32,
    recovery: &'a mut Recovery,
}

impl LaneScan<'_> {
    /// Takes in one segment; `follower` is the first record of the next one.
    fn segment<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        first: u64,
        follower: Option<u64>,
    ) -> Result<(), OutboxError> {
        let name = segment::name(self.log.lane, first);
        if follower.is_none() {
            // It may come from a process that died between write and sync: it is in memory, not on the medium.
            disk.sync(&name).map_err(OutboxError::sync(&name))?;
        }
        let len = disk.len(&name).map_err(OutboxError::read(&name))?;
        self.recovery.segments += 1;
        let mut segment =
            Segment { name, first, last: 0, salt: 0, len, synced: len, unacked: 0, dense: false };
        match read_header(disk, &segment.name)? {
            HeaderRead::Newer(found) => {
                return Err(OutboxError::Version { file: segment.name, found, supported: FORMAT });
            }
            HeaderRead::Valid(header) if header.lane == self.log.lane && header.first == first => {
                self.epoch = self.epoch.max(header.epoch);
                segment.salt = header.salt;
                self.frames(disk, buffer, &mut segment, follower)?;
            }
            HeaderRead::Valid(_) | HeaderRead::Damaged => self.headless(&mut segment, follower),
        }
        if segment.last < first && follower.is_none() {
            // Its first record was never finished. The name is free for the next segment.
            return disk.remove(&segment.name).map_err(OutboxError::write(&segment.name));
        }
        self.log.next = self.log.next.max(segment.last.saturating_add(1));
        self.log.used += segment.used();
        self.log.segments.push_back(segment);
        Ok(())
    }

    fn frames<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        segment: &mut Segment,
        follower: Option<u64>,
    ) -> Result<(), OutboxError> {
        let acked = self.log.acked;
        let extent = Extent { name: &segment.name, salt: segment.salt, end: segment.len };
        let (mut unacked, mut bytes, mut readable, mut newest) = (0, 0, 0, None);
        let survey = survey(disk, buffer, extent, segment.first, |header, payload| {
            readable += 1;
            newest = Some(header.at);
            if header.seq > acked {
                unacked += 1;
                bytes += payload.len() as u64;
            }
        })?;
        segment.last = follower.map_or(survey.last, |follower| follower.saturating_sub(1));
        segment.unacked = unacked;
        segment.dense = segment.first + readable == segment.last + 1;
        self.recovery.records += unacked;
        self.recovery.bytes += bytes;
        self.recovery.damaged_ranges += survey.damaged_ranges;
        if survey.last < segment.last {
            self.recovery.damaged_ranges += 1;
        }
        self.count_missing(segment);
        if follower.is_none() && survey.unreadable {
            // What cannot be read now may be read later: its numbers are not given out again.
            segment.last += (segment.len - survey.end) / FRAME_BYTES_MIN;
            self.recovery.damaged_ranges += 1;
        }
        self.log.newest = newest.or(self.log.newest);
        if follower.is_none() && survey.end < segment.len && !survey.unreadable {
            disk.truncate(&segment.name, survey.end).map_err(OutboxError::write(&segment.name))?;
            disk.sync(&segment.name).map_err(OutboxError::sync(&segment.name))?;
            self.recovery.truncated_bytes += segment.len - survey.end;
            segment.len = survey.end;
        }
        segment.synced = segment.len;
        Ok(())
    }

    /// Both headers are gone and the salt with them: nothing in it can be told from noise.
    fn headless(&mut self, segment: &mut Segment, follower: Option<u64>) {
        // Numbers that it may have held are not given out again.
        let records_max = segment.len.saturating_sub(FRAMES_OFFSET) / FRAME_BYTES_MIN;
        segment.last = follower.unwrap_or(segment.first.saturating_add(records_max)).saturating_sub(1);
        segment.synced = 0;
        if follower.is_some() {
            self.recovery.damaged_ranges += 1;
            self.count_missing(segment);
        } else {
            self.recovery.truncated_bytes += segment.len;
        }
    }

    fn count_missing(&mut self, segment: &Segment) {
        let due = segment.last.saturating_sub(self.log.acked.max(segment.first.saturating_sub(1)));
        self.recovery.damaged_records += due.saturating_sub(segment.unacked);
    }
}

/// Reads the head of a segment; bytes that the medium has lost count as damage.
pub(crate) fn read_header<D: DiskRead>(disk: &mut D, name: &str) -> Result<HeaderRead, OutboxError> {
    let mut head = [0; 1024];
    match disk.read_at(name, 0, &mut head) {
        Ok(read) => Ok(SegmentHeader::parse(head.get(..read).unwrap_or_default())),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Ok(HeaderRead::Damaged),
        Err(source) => Err(OutboxError::Read { file: name.to_owned(), source }),
    }
}
