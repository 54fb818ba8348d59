//! Finds frames in a segment, over damage, with a bounded buffer.
//!
//! # Invariants
//! Memory is one chunk or one frame, whichever is longer, however long the file is.

use std::io;

use crate::outbox::disk::DiskRead;
use crate::outbox::error::OutboxError;
use crate::outbox::record::{FRAME_BYTES_MIN, FRAME_HEADER_BYTES, FrameHeader};
use crate::outbox::segment::{FRAMES_OFFSET, Salt, Segment};

/// Read at once: large enough that scanning is bound by the medium, small beside the memory budget.
const CHUNK_BYTES: u64 = 64 << 10;

/// What a bad read is repeated behind: the sector of the medium.
const SECTOR_BYTES: u64 = 512;

/// The part of a file in which frames are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) name: &'a str,
    pub(crate) salt: u64,
    /// Where it ends; nothing behind it is read.
    pub(crate) end: u64,
    /// Greatest number that belongs to it; behind it there are none.
    pub(crate) last: u64,
}

impl<'a> Extent<'a> {
    /// The durable part of a segment. Without its salt nothing in it is valid.
    pub(crate) fn of(segment: &'a Segment) -> Self {
        let (salt, end) = match segment.salt {
            Salt::Known(salt) => (salt, segment.synced),
            Salt::Unread | Salt::Lost => (0, 0),
        };
        Self { name: &segment.name, salt, end, last: segment.last }
    }
}

/// A valid frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
}

impl Found {
    /// Where the next frame starts.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.header.frame_bytes()
    }
}

/// The bytes last read from a file.
#[derive(Debug, Default)]
pub(crate) struct ScanBuffer {
    name: String,
    start: u64,
    bytes: Vec<u8>,
    /// Set when the medium refused bytes; whoever cares clears it before.
    pub(crate) unreadable: bool,
}

enum Tried {
    Frame(Found),
    NoFrame,
    Unreadable,
}

impl ScanBuffer {
    /// Forgets what was read, because a file of this name may be another one from now on.
    pub(crate) fn forget(&mut self) {
        self.name.clear();
        self.bytes.clear();
    }

    /// The payload of the frame found last.
    pub(crate) fn payload(&self, found: &Found) -> &[u8] {
        let from = found.offset + FRAME_HEADER_BYTES;
        self.held(from, u64::from(found.header.payload_bytes)).unwrap_or_default()
    }

    /// First valid frame at or behind `from`, in which `after` is the number of the record before `from`.
    ///
    /// Numbers rise by one in a segment, so behind damage of n bytes only a number that n bytes of frames can reach is
    /// believed.
    pub(crate) fn next_frame<D: DiskRead>(
        &mut self,
        disk: &mut D,
        extent: Extent<'_>,
        from: u64,
        after: u64,
    ) -> Result<Option<Found>, OutboxError> {
        let mut offset = from;
        if after >= extent.last {
            return Ok(None);
        }
        while offset.saturating_add(FRAME_BYTES_MIN) <= extent.end {
            let lost_max = (offset - from) / FRAME_BYTES_MIN;
            let tried = self.try_frame(disk, extent, offset, after, lost_max);
            match tried.map_err(OutboxError::read(extent.name))? {
                Tried::Frame(found) => return Ok(Some(found)),
                Tried::NoFrame => offset = self.behind_zeros(offset + 1),
                Tried::Unreadable => offset = (offset + 1).next_multiple_of(SECTOR_BYTES),
            }
        }
        Ok(None)
    }

    /// The next place from `offset` on where a frame may start: its length, in the first three bytes, is not zero.
    fn behind_zeros(&self, offset: u64) -> u64 {
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        match self.bytes.get(from..).map(|rest| rest.iter().position(|&byte| byte != 0)) {
            Some(Some(zeros)) => offset + (zeros as u64).saturating_sub(2),
            Some(None) => offset.max((self.start + self.bytes.len() as u64).saturating_sub(2)),
            None => offset,
        }
    }

    fn try_frame<D: DiskRead>(
        &mut self,
        disk: &mut D,
        extent: Extent<'_>,
        offset: u64,
        after: u64,
        lost_max: u64,
    ) -> io::Result<Tried> {
        let Some(head) = self.fetch(disk, extent, offset, FRAME_HEADER_BYTES)? else {
            return Ok(Tried::Unreadable);
        };
        let Some(header) = FrameHeader::parse(head) else { return Ok(Tried::NoFrame) };
        let plausible = header.seq > after && header.seq <= extent.last && header.seq - after - 1 <= lost_max;
        let found = Found { header, offset };
        if !plausible || found.end() > extent.end {
            return Ok(Tried::NoFrame);
        }
        let Some(frame) = self.fetch(disk, extent, offset, header.frame_bytes())? else {
            return Ok(Tried::Unreadable);
        };
        let payload = frame.get(24..).unwrap_or_default();
        Ok(if header.matches(extent.salt, payload) { Tried::Frame(found) } else { Tried::NoFrame })
    }

    /// `want` bytes at `offset`, fewer at the end of the file; `None` when the medium has lost them.
    fn fetch<D: DiskRead>(
        &mut self,
        disk: &mut D,
        extent: Extent<'_>,
        offset: u64,
        want: u64,
    ) -> io::Result<Option<&[u8]>> {
        let want = want.min(extent.end.saturating_sub(offset));
        if self.name != extent.name || self.held(offset, want).is_none() {
            let generous = want.max(CHUNK_BYTES).min(extent.end.saturating_sub(offset));
            let loaded = self.load(disk, extent.name, offset, generous)?
                || (generous > want && self.load(disk, extent.name, offset, want)?);
            if !loaded {
                self.unreadable = true;
                return Ok(None);
            }
        }
        let have = want.min((self.bytes.len() as u64).saturating_sub(offset.saturating_sub(self.start)));
        Ok(Some(self.held(offset, have).unwrap_or_default()))
    }

    fn load<D: DiskRead>(&mut self, disk: &mut D, name: &str, offset: u64, want: u64) -> io::Result<bool> {
        self.forget();
        self.bytes.resize(usize::try_from(want).unwrap_or(usize::MAX), 0);
        match disk.read_at(name, offset, &mut self.bytes) {
            Ok(read) => {
                self.bytes.truncate(read);
                self.name.push_str(name);
                self.start = offset;
                Ok(true)
            }
            Err(e) => {
                self.forget();
                if e.kind() == io::ErrorKind::InvalidData { Ok(false) } else { Err(e) }
            }
        }
    }

    fn held(&self, offset: u64, want: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(usize::try_from(want).ok()?)?)
    }
}

/// What reading a whole extent has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Number of the last valid record, `first - 1` without one.
    pub(crate) last: u64,
    /// Where the last valid frame ends.
    pub(crate) end: u64,
    /// Runs of bytes between valid frames that are none.
    pub(crate) damaged_ranges: u64,
    /// Whether the medium refused bytes.
    pub(crate) unreadable: bool,
}

/// Reads all frames of an extent whose first record is `first`, and shows each valid one to `visit`.
pub(crate) fn survey<D: DiskRead>(
    disk: &mut D,
    buffer: &mut ScanBuffer,
    extent: Extent<'_>,
    first: u64,
    mut visit: impl FnMut(&Found, &[u8]),
) -> Result<Survey, OutboxError> {
    buffer.unreadable = false;
    let mut survey = Survey { last: first.saturating_sub(1), end: FRAMES_OFFSET, ..Survey::default() };
    while let Some(found) = buffer.next_frame(disk, extent, survey.end, survey.last)? {
        if found.offset > survey.end {
            survey.damaged_ranges += 1;
        }
        survey.last = found.header.seq;
        survey.end = found.end();
        visit(&found, buffer.payload(&found));
    }
    survey.unreadable = buffer.unreadable;
    Ok(survey)
}
