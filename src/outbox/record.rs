//! One record and its frame on disk: `[len u32][crc32c u32][seq u64][time i64][payload]`, little-endian, in formats 1 and 2.
//!
//! # Why
//! The checksum covers the salt of the segment as well, so that bytes which an older segment left in the same place on the
//! medium, or a payload made to look like a frame, never pass for a record.

use crate::clock::EventTime;

/// Number of a record in its lane: starts at 1 and rises by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the lane.
    pub seq: Seq,
    /// The time it was appended with.
    pub at: EventTime,
    /// The bytes appended, never empty.
    pub payload: Vec<u8>,
}

/// What is appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) payload: &'a [u8],
    /// Microseconds since 1970.
    pub(crate) at: i64,
}

impl Entry<'_> {
    /// Length of its frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES + self.payload.len() as u64
    }
}

/// Length of a frame before its payload.
pub(crate) const FRAME_HEADER_BYTES: u64 = 24;

/// Shortest frame: payloads are not empty.
pub(crate) const FRAME_BYTES_MIN: u64 = FRAME_HEADER_BYTES + 1;

/// Longest payload. The wire packs events into batches of a few KiB; a length beyond this is damage, not a record.
pub const PAYLOAD_BYTES_MAX: u32 = 256 << 10;

/// What a frame says before its payload; to be believed only after [`FrameHeader::matches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_bytes: u32,
    crc: u32,
    pub(crate) seq: u64,
    pub(crate) at: i64,
}

impl FrameHeader {
    /// Reads the first bytes of a frame; `None` when they cannot be one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (payload_bytes, rest) = bytes.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (at, _) = rest.split_first_chunk()?;
        let header = Self {
            payload_bytes: u32::from_le_bytes(*payload_bytes),
            crc: u32::from_le_bytes(*crc),
            seq: u64::from_le_bytes(*seq),
            at: i64::from_le_bytes(*at),
        };
        (1..=PAYLOAD_BYTES_MAX).contains(&header.payload_bytes).then_some(header)
    }

    /// Whether header and payload are as they were written in a segment with this salt.
    pub(crate) fn matches(&self, salt: u64, payload: &[u8]) -> bool {
        self.crc == checksum(salt, self.payload_bytes, self.seq, self.at, payload)
    }

    /// Length of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES + u64::from(self.payload_bytes)
    }
}

/// Appends the frame of a record to `out`. The payload is at most [`PAYLOAD_BYTES_MAX`] long.
pub(crate) fn encode(out: &mut Vec<u8>, salt: u64, seq: u64, entry: &Entry<'_>) {
    let payload_bytes = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
    assert!((1..=PAYLOAD_BYTES_MAX).contains(&payload_bytes), "payload length is checked before");
    let crc = checksum(salt, payload_bytes, seq, entry.at, entry.payload);
    out.extend_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&entry.at.to_le_bytes());
    out.extend_from_slice(entry.payload);
}

fn checksum(salt: u64, payload_bytes: u32, seq: u64, at: i64, payload: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&salt.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &payload_bytes.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &seq.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &at.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(salt: u64, seq: u64, at: i64, payload: &[u8]) -> Vec<u8> {
        let (mut out, entry) = (Vec::new(), Entry { payload, at });
        encode(&mut out, salt, seq, &entry);
        assert_eq!(out.len() as u64, entry.frame_bytes());
        out
    }

    fn passes(frame: &[u8], salt: u64) -> bool {
        FrameHeader::parse(frame).is_some_and(|header| {
            let end = usize::try_from(header.frame_bytes()).unwrap();
            frame.get(24..end).is_some_and(|body| header.matches(salt, body))
        })
    }

    #[test]
    fn a_frame_is_the_same_bytes_for_ever() {
        let frame = frame(0x0102_0304_0506_0708, 7, 1_767_225_600_000_000, b"ok");
        let crc = u32::from_le_bytes(frame[4..8].try_into().unwrap());
        assert_eq!(frame[..4], [2, 0, 0, 0]);
        assert_eq!(frame[8..16], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frame[24..], *b"ok");
        assert_eq!(crc, 0x4546_5ec0, "formats 1 and 2; a change here needs a new format version");
    }

    #[test]
    fn no_changed_bit_and_no_other_salt_passes() {
        let frame = frame(99, 3, -5, b"payload");
        assert!(passes(&frame, 99));
        assert!(!passes(&frame, 98));
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!passes(&damaged, 99), "bit {bit}");
        }
        assert!(!passes(&[0; 64], 99), "zeros are no record");
    }
}
