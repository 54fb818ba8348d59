//! The end of the open segment, in memory: what is not durable yet, and the records that share a sector with it.
//!
//! # Invariants
//! The file is written in whole units only; the last one is filled with zeros and written again when it gets more. Every
//! record a write in progress could harm is here, from its first byte, until the write is durable.

use crate::outbox::record::{self, Entry, FRAME_HEADER_BYTES, FrameHeader};
use crate::outbox::segment::FRAMES_OFFSET;

/// What waits for a sync at most, before one is made: a third of a second of a fast writer.
pub(crate) const TAIL_BYTES_MAX: u64 = 256 << 10;

/// The end of a segment.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Starts in the file at `base`.
    bytes: Vec<u8>,
    /// A multiple of `unit`.
    base: u64,
    /// Where the first whole frame starts that is kept, and its number.
    frame: (u64, u64),
    /// Where the next write starts: a multiple of `unit`.
    from: u64,
    /// Durable up to here.
    synced: u64,
    unit: u64,
}

/// A frame that is still in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) seq: u64,
    pub(crate) entry: Entry<'a>,
}

impl Tail {
    /// Starts a segment: the header waits like a record.
    pub(crate) fn start(&mut self, unit: u64, header: &[u8], first: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(header);
        self.base = 0;
        self.frame = (FRAMES_OFFSET, first);
        self.from = 0;
        self.synced = 0;
        self.unit = unit;
    }

    /// Goes on with a segment whose frames end at `end`; the last of them starts at `frame` with number `seq`. Returns
    /// where to read from, and how much: what is read belongs into the buffer.
    pub(crate) fn resume(&mut self, unit: u64, (frame, seq): (u64, u64), end: u64) -> (u64, &mut [u8]) {
        self.base = frame - frame % unit;
        self.frame = (frame, seq);
        self.from = end - end % unit;
        self.synced = end;
        self.unit = unit;
        self.bytes.clear();
        self.bytes.resize(usize::try_from(end - self.base).unwrap_or_default(), 0);
        (self.base, &mut self.bytes)
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, salt: u64, seq: u64, entry: &Entry<'_>) {
        record::encode(&mut self.bytes, salt, seq, entry);
    }

    /// Where it ends in the file.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Bytes that are not durable.
    pub(crate) fn pending(&self) -> u64 {
        self.end() - self.synced
    }

    /// Shows what has to be written, and where, to `write`: whole units.
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(u64, &[u8]) -> T) -> T {
        let (end, padded) = (self.bytes.len(), self.index(self.end().next_multiple_of(self.unit.max(1))));
        self.bytes.resize(padded, 0);
        let from = self.index(self.from);
        let written = write(self.from, self.bytes.get(from..).unwrap_or_default());
        self.bytes.truncate(end);
        written
    }

    /// Records that everything is durable, and keeps only the records that the next write touches.
    pub(crate) fn settle(&mut self) {
        self.synced = self.end();
        self.from = self.synced - self.synced % self.unit.max(1);
        while let Some(header) = self.header(self.frame.0)
            && self.frame.0 + header.frame_bytes() <= self.from
        {
            self.frame = (self.frame.0 + header.frame_bytes(), header.seq + 1);
        }
        let base = self.frame.0.min(self.from);
        let base = base - base % self.unit.max(1);
        self.bytes.drain(..self.index(base).min(self.bytes.len()));
        self.base = base;
    }

    /// Where the first frame starts that is kept, and its number.
    pub(crate) fn first(&self) -> (u64, u64) {
        self.frame
    }

    /// The frames that are kept, oldest first.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Kept<'_>> {
        let mut offset = self.frame.0;
        std::iter::from_fn(move || {
            let header = self.header(offset)?;
            let body = self.index(offset + FRAME_HEADER_BYTES)..self.index(offset + header.frame_bytes());
            let payload = self.bytes.get(body)?;
            offset += header.frame_bytes();
            Some(Kept { seq: header.seq, entry: Entry { payload, at: header.at } })
        })
    }

    fn header(&self, offset: u64) -> Option<FrameHeader> {
        FrameHeader::parse(self.bytes.get(self.index(offset)..)?)
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes what the tail shows into a file in memory.
    fn flush(tail: &mut Tail, file: &mut Vec<u8>) -> usize {
        let written = tail.write(|offset, bytes| {
            assert_eq!((offset % 512, bytes.len() % 512), (0, 0), "whole sectors");
            let offset = usize::try_from(offset).unwrap();
            file.resize(file.len().max(offset + bytes.len()), 0xee);
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        tail.settle();
        written
    }

    #[test]
    fn every_record_that_shares_a_sector_with_the_next_write_is_kept() {
        let (mut tail, mut file) = (Tail::default(), Vec::new());
        tail.start(512, &[7; 1024], 40);
        let entry = |payload| Entry { payload, at: 5 };
        let lengths = [100, 300, 88, 1, 1_000, 462, 3, 900];
        for (seq, length) in (40..).zip(lengths) {
            tail.push(9, seq, &entry(&[1; 1_000][..length]));
            let end = tail.end();
            let written = flush(&mut tail, &mut file);
            assert!(written <= length + 24 + 1024 + 512, "{seq}: {written} bytes for {length}");
            let kept: Vec<u64> = tail.frames().map(|kept| kept.seq).collect();
            assert!(kept.is_empty() || kept.last() == Some(&seq), "{kept:?}");
            let (frame, first) = tail.first();
            assert!(frame >= end - end % 512 || first <= seq, "record {first} at {frame}");
            assert!(kept.len() <= 3, "{kept:?}");
        }
        // All frames lie in the file, one behind the other.
        let mut offset = 1024;
        for (seq, length) in (40..).zip(lengths) {
            let header = FrameHeader::parse(&file[offset..]).unwrap();
            assert_eq!((header.seq, header.payload_bytes as usize), (seq, length));
            offset += 24 + length;
        }
        assert!(file[offset..].iter().all(|&byte| byte == 0), "filled with zeros");
    }

    #[test]
    fn a_segment_goes_on_where_it_ended() {
        let (mut tail, mut file) = (Tail::default(), Vec::new());
        tail.start(512, &[7; 1024], 1);
        let entry = Entry { payload: &[3; 200], at: 5 };
        for seq in 1..=4 {
            tail.push(9, seq, &entry);
        }
        flush(&mut tail, &mut file);
        let (mut again, end) = (Tail::default(), tail.end());
        let (from, into) = again.resume(512, tail.first(), end);
        let from = usize::try_from(from).unwrap();
        into.copy_from_slice(&file[from..from + into.len()]);
        for tail in [&mut tail, &mut again] {
            assert_eq!(tail.pending(), 0);
            tail.push(9, 5, &entry);
        }
        let mut other = file.clone();
        flush(&mut tail, &mut file);
        flush(&mut again, &mut other);
        assert_eq!(file, other);
        assert_eq!(
            tail.frames().map(|kept| kept.seq).collect::<Vec<_>>(),
            again.frames().map(|kept| kept.seq).collect::<Vec<_>>()
        );
    }
}
