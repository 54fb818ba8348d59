//! One segment file: its name, its header, and what is known of it in memory.

use crate::outbox::lane::Lane;

/// Version of all files of the outbox. A file with a greater one is refused, an older one is read.
pub const FORMAT: u16 = 1;

/// Where frames start. The header stands at 0 and again at 512, in another sector, so that one bad byte or sector does
/// not take the salt and with it every record away.
pub(crate) const FRAMES_OFFSET: u64 = 1024;

/// Distance of the second copy of the header.
const COPY_OFFSET: usize = 512;

/// What a file takes on disk is a multiple of this: the block of ext4 and f2fs.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// Length of the part of the header that means something, checksum included.
const HEADER_BYTES: usize = 48;

/// Greatest number a segment can start with: far from any in use, and far enough from the end to count on.
const FIRST_MAX: u64 = u64::MAX / 4;

const MAGIC: [u8; 8] = *b"TGOUTSEG";

/// First bytes of a segment, written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) lane: Lane,
    /// Epoch of the outbox when it was created.
    pub(crate) epoch: u32,
    /// Mixed into every checksum of the segment.
    pub(crate) salt: u64,
    /// Number of the first record; also in the name, and the id of the segment.
    pub(crate) first: u64,
}

/// What the head of a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    Valid(SegmentHeader),
    /// Intact, and of a newer format.
    Newer(u16),
    /// Both copies are damaged or were never written.
    Damaged,
}

impl SegmentHeader {
    /// Everything that stands before the first frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_OFFSET);
        copy.extend_from_slice(&MAGIC);
        copy.extend_from_slice(&FORMAT.to_le_bytes());
        copy.push(self.lane.number());
        copy.push(0);
        copy.extend_from_slice(&self.epoch.to_le_bytes());
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.extend_from_slice(&self.first.to_le_bytes());
        copy.resize(HEADER_BYTES - 4, 0);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        copy.resize(COPY_OFFSET, 0);
        copy.extend_from_within(..);
        copy
    }

    /// Reads the head of a segment file from either copy.
    pub(crate) fn parse(head: &[u8]) -> HeaderRead {
        let first = head.get(..HEADER_BYTES).map_or(HeaderRead::Damaged, parse_copy);
        if first != HeaderRead::Damaged {
            return first;
        }
        head.get(COPY_OFFSET..COPY_OFFSET + HEADER_BYTES).map_or(HeaderRead::Damaged, parse_copy)
    }
}

/// Magic, format and the place of the checksum stay the same in every format, so that a newer one can be told from damage.
fn parse_copy(copy: &[u8]) -> HeaderRead {
    let fields = || {
        let (content, crc) = copy.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(content) {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?;
        let (format, rest) = rest.split_first_chunk::<2>()?;
        let format = u16::from_le_bytes(*format);
        if format > FORMAT {
            return Some(HeaderRead::Newer(format));
        }
        let (&[lane, _], rest) = rest.split_first_chunk::<2>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<8>()?;
        let (first, _) = rest.split_first_chunk::<8>()?;
        Some(HeaderRead::Valid(SegmentHeader {
            lane: Lane::from_number(lane)?,
            epoch: u32::from_le_bytes(*epoch),
            salt: u64::from_le_bytes(*salt),
            first: u64::from_le_bytes(*first),
        }))
    };
    fields().unwrap_or(HeaderRead::Damaged)
}

/// Name of the segment of a lane that starts with a record.
pub(crate) fn name(lane: Lane, first: u64) -> String {
    format!("{}-{first:020}.seg", lane.as_str())
}

/// Lane and first record of a segment; `None` for other files.
pub(crate) fn parse_name(name: &str) -> Option<(Lane, u64)> {
    let (lane, digits) = name.strip_suffix(".seg")?.split_once('-')?;
    let lane = Lane::ALL.into_iter().find(|known| known.as_str() == lane)?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let first = plain.then(|| digits.parse().ok()).flatten()?;
    (1..=FIRST_MAX).contains(&first).then_some((lane, first))
}

/// A segment as the running outbox knows it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    /// Number of its first record.
    pub(crate) first: u64,
    /// Greatest number it can hold a record of; `first - 1` when none was appended.
    pub(crate) last: u64,
    pub(crate) salt: u64,
    /// Length of the file as far as it is understood.
    pub(crate) len: u64,
    /// Part of `len` that is durable, and therefore may be read.
    pub(crate) synced: u64,
    /// Records that can be read and are not acknowledged.
    pub(crate) unacked: u64,
    /// Whether every number from `first` to `last` has its record, so that counting needs no reading.
    pub(crate) dense: bool,
}

impl Segment {
    /// Space it takes.
    pub(crate) fn used(&self) -> u64 {
        used(self.len)
    }
}

/// Space a file of a length takes on disk.
pub(crate) fn used(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader { lane: Lane::Normal, epoch: 7, salt: 0xfeed, first: 42 };

    #[test]
    fn either_copy_of_the_header_is_enough() {
        let head = HEADER.encode();
        assert_eq!(head.len() as u64, FRAMES_OFFSET);
        assert_eq!(SegmentHeader::parse(&head), HeaderRead::Valid(HEADER));
        for byte in 0..head.len() {
            let mut damaged = head.clone();
            damaged[byte] ^= 0x10;
            assert_eq!(SegmentHeader::parse(&damaged), HeaderRead::Valid(HEADER), "byte {byte}");
        }
        assert_eq!(SegmentHeader::parse(&[0; 1024]), HeaderRead::Damaged);
        assert_eq!(SegmentHeader::parse(&head[..20]), HeaderRead::Damaged);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut head = HEADER.encode();
        head[8] = 2;
        assert_eq!(
            SegmentHeader::parse(&head),
            HeaderRead::Valid(HEADER),
            "checksum says damage, the copy is good"
        );
        let crc = crc32c::crc32c(&head[..HEADER_BYTES - 4]).to_le_bytes();
        head[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::parse(&head), HeaderRead::Newer(2));
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        assert_eq!(parse_name(&name(Lane::Bulk, 17)), Some((Lane::Bulk, 17)));
        for other in [
            "bulk-17.seg",
            "lock",
            "epoch",
            "bulk-+0000000000000000017.seg",
            "x-00000000000000000017.seg",
            "bulk-00000000000000000000.seg",
            "bulk-18446744073709551615.seg",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
