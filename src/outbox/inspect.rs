//! Looks at an outbox without changing it: while the service runs, after it stopped, or on a copied directory.

use std::io;

use crate::clock::EventTime;
use crate::outbox::aside::aside;
use crate::outbox::cursor::{EPOCH_FILE, Mark, SlotFile, cursor_name};
use crate::outbox::disk::DiskRead;
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::record::{Record, Seq};
use crate::outbox::recover::read_header;
use crate::outbox::scan::{Extent, ScanBuffer, survey};
use crate::outbox::segment::{self, FORMAT, HeaderRead, parse_name};
use crate::outbox::spare::is_spare;
use crate::ranges::Ranges;
use crate::units::Bytes;

/// What an outbox holds and how sound it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Number of the last opening; `None` when there was none or its file is damaged.
    pub epoch: Option<u32>,
    /// In the order of [`Lane::ALL`].
    pub lanes: Vec<LaneInspection>,
    /// Files that wait to be written again.
    pub spares: u64,
    /// Records that could not be delivered and were set aside.
    pub aside: u64,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInspection {
    /// Which.
    pub lane: Lane,
    /// Files.
    pub segments: u64,
    /// Records that wait to be sent.
    pub records: u64,
    /// Their payloads.
    pub payload_bytes: Bytes,
    /// What the segments take on disk.
    pub disk_bytes: Bytes,
    /// Time of the first record that waits.
    pub oldest: Option<EventTime>,
    /// Time of the last record.
    pub newest: Option<EventTime>,
    /// Everything up to here is acknowledged or dropped, says the cursor; it may lag. `None` when it cannot be read.
    pub acked: Option<Seq>,
    /// First and last number of each range beyond `acked` that is done with.
    pub done: Vec<(Seq, Seq)>,
    /// Records ever lost: for want of room, too old, by the medium, not to be delivered.
    pub lost: [u64; 4],
    /// Of these, told upstream.
    pub told: [u64; 4],
    /// Oldest format of a segment; `None` without one that can be read.
    pub format: Option<u16>,
    /// Number of the last record.
    pub last: Seq,
    /// Places with damage.
    pub damaged_ranges: u64,
    /// Waiting records lost in them, where that can be known.
    pub damaged_records: u64,
    /// Bytes behind the last record: a write under way, or one that a power cut has stopped.
    pub unfinished_bytes: Bytes,
}

impl Inspection {
    /// Whether nothing is damaged. Unfinished bytes are no damage.
    pub fn is_sound(&self) -> bool {
        self.lanes.iter().all(|lane| lane.damaged_ranges == 0)
    }
}

/// Reads everything, checks every checksum.
///
/// # Errors
/// When the directory cannot be read, or a newer tidegate wrote it.
pub fn inspect<D: DiskRead>(disk: &mut D) -> Result<Inspection, OutboxError> {
    let epoch = SlotFile::load(disk, EPOCH_FILE.to_owned())?.newest.map(|slot| slot.epoch);
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        lanes.push(walk(disk, lane, &mut |_| {})?);
    }
    let names = disk.list().map_err(OutboxError::List)?;
    let spares = names.iter().filter(|name| is_spare(name)).count() as u64;
    Ok(Inspection { epoch, lanes, spares, aside: aside(disk)?.len() as u64 })
}

/// Shows the records of a lane that wait, oldest first, to `visit`.
///
/// # Errors
/// As for [`inspect`].
pub fn peek<D: DiskRead>(disk: &mut D, lane: Lane, mut visit: impl FnMut(Record)) -> Result<(), OutboxError> {
    walk(disk, lane, &mut visit).map(drop)
}

fn walk<D: DiskRead>(
    disk: &mut D,
    lane: Lane,
    visit: &mut dyn FnMut(Record),
) -> Result<LaneInspection, OutboxError> {
    let names = disk.list().map_err(OutboxError::List)?;
    let mut firsts: Vec<u64> =
        names.iter().filter_map(|name| parse_name(name)).filter(|name| name.0 == lane).map(|n| n.1).collect();
    firsts.sort_unstable();
    let mark = SlotFile::load(disk, cursor_name(lane))?.newest.as_ref().map(Mark::from_slot);
    let acked = mark.as_ref().map(|mark| Seq(mark.acked));
    let Mark { done, dropped, told, .. } = mark.unwrap_or_default();
    let mut report = LaneInspection {
        lane,
        segments: 0,
        records: 0,
        payload_bytes: Bytes(0),
        disk_bytes: Bytes(0),
        oldest: None,
        newest: None,
        acked,
        done: done.ranges().iter().map(|&(from, upto)| (Seq(from), Seq(upto))).collect(),
        lost: dropped,
        told,
        format: None,
        last: acked.unwrap_or_default(),
        damaged_ranges: 0,
        damaged_records: 0,
        unfinished_bytes: Bytes(0),
    };
    let mut buffer = ScanBuffer::default();
    let followers = firsts.iter().skip(1).copied().map(Some).chain([None]);
    for (&first, follower) in firsts.iter().zip(followers) {
        match report.segment(disk, &mut buffer, &done, (first, follower), visit) {
            // Delivered and removed since the directory was listed.
            Err(OutboxError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(report)
}

impl LaneInspection {
    fn segment<D: DiskRead>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        done: &Ranges,
        (first, follower): (u64, Option<u64>),
        visit: &mut dyn FnMut(Record),
    ) -> Result<(), OutboxError> {
        let name = segment::name(self.lane, first);
        let len = disk.len(&name).map_err(OutboxError::read(&name))?;
        let acked = self.acked.map_or(0, |acked| acked.0).max(first.saturating_sub(1));
        let (salt, format) = match read_header(disk, &name, self.lane, first)? {
            HeaderRead::Newer(found) => {
                return Err(OutboxError::Version { file: name, found, supported: FORMAT });
            }
            HeaderRead::Valid(header) => (Some(header.salt), header.format),
            // Made a moment ago, or before a power cut: nothing in it is durable yet.
            HeaderRead::Unwritten if follower.is_none() => (None, FORMAT),
            HeaderRead::Unwritten | HeaderRead::Damaged => (None, 0),
        };
        self.segments += 1;
        if format > 0 {
            self.format = Some(self.format.map_or(format, |known| known.min(format)));
        }
        self.disk_bytes.0 += segment::used(len);
        let last = follower.map_or(u64::MAX, |follower| follower.saturating_sub(1));
        let extent =
            Extent { name: &name, salt: salt.unwrap_or_default(), end: salt.map_or(0, |_| len), last };
        let mut waiting = 0;
        let survey = survey(disk, buffer, extent, first, |found, payload| {
            let (seq, at) = (Seq(found.header.seq), EventTime(found.header.at));
            self.newest = Some(at);
            if seq.0 > acked && done.end_of(seq.0).is_none() {
                waiting += 1;
                self.oldest = self.oldest.or(Some(at));
                self.payload_bytes.0 += payload.len() as u64;
                visit(Record { seq, at, payload: payload.to_vec() });
            }
        })?;
        let last = follower.map_or(survey.last, |_| last);
        let due = last.saturating_sub(acked) - if last > acked { done.count(acked + 1, last) } else { 0 };
        self.records += waiting;
        self.last = self.last.max(Seq(survey.last));
        self.damaged_records += due.saturating_sub(waiting);
        self.damaged_ranges +=
            survey.damaged_ranges + u64::from(due > 0 && survey.last < last || format == 0);
        if follower.is_none() && format == 1 {
            self.unfinished_bytes.0 += len.saturating_sub(survey.end);
        }
        Ok(())
    }
}
