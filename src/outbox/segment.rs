//! One segment file: its name, its header, and what is known of it in memory.

use crate::outbox::lane::Lane;

/// Version of all files of the outbox. A file with a greater one is refused, an older one is read.
pub const FORMAT: u16 = 2;

/// Where frames start. The header stands at 0 and again at 512, in another sector, so that one bad byte or sector does
/// not take the salt and with it every record away.
pub(crate) const FRAMES_OFFSET: u64 = HEAD_BYTES as u64;

/// What stands before the first frame.
pub(crate) const HEAD_BYTES: usize = 1024;

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
    /// Format it was written in.
    pub(crate) format: u16,
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
    /// It is the segment that its name says.
    Valid(SegmentHeader),
    /// Intact, and of a newer format.
    Newer(u16),
    /// Intact, and of another segment, or nothing but zeros, or nothing: the header of this one never became durable, and neither did
    /// a record behind it.
    Unwritten,
    /// Both copies are damaged.
    Damaged,
}

/// One copy of a header.
enum Copy {
    Valid(SegmentHeader),
    Newer(u16),
    Blank,
    Damaged,
}

impl SegmentHeader {
    /// Everything that stands before the first frame.
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let mut copy = Vec::with_capacity(HEADER_BYTES);
        copy.extend_from_slice(&MAGIC);
        copy.extend_from_slice(&self.format.to_le_bytes());
        copy.push(self.lane.number());
        copy.push(0);
        copy.extend_from_slice(&self.epoch.to_le_bytes());
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.extend_from_slice(&self.first.to_le_bytes());
        copy.resize(HEADER_BYTES - 4, 0);
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        for place in head.chunks_exact_mut(COPY_OFFSET) {
            for (target, byte) in place.iter_mut().zip(&copy) {
                *target = *byte;
            }
        }
        head
    }

    /// Whatever headers stand in the head of a file.
    pub(crate) fn any(head: &[u8]) -> impl Iterator<Item = Self> {
        copies(head).into_iter().filter_map(|copy| match copy {
            Copy::Valid(header) => Some(header),
            Copy::Newer(_) | Copy::Blank | Copy::Damaged => None,
        })
    }

    /// Reads the head of the segment of a lane that starts with record `first`, from either copy.
    pub(crate) fn parse(head: &[u8], lane: Lane, first: u64) -> HeaderRead {
        let (mut foreign, mut blank) = (false, 0);
        for copy in copies(head) {
            match copy {
                Copy::Newer(format) => return HeaderRead::Newer(format),
                Copy::Valid(header) if header.lane == lane && header.first == first => {
                    return HeaderRead::Valid(header);
                }
                Copy::Valid(_) => foreign = true,
                Copy::Blank => blank += 1,
                Copy::Damaged => {}
            }
        }
        if foreign || blank == 2 { HeaderRead::Unwritten } else { HeaderRead::Damaged }
    }
}

fn copies(head: &[u8]) -> [Copy; 2] {
    [0, COPY_OFFSET].map(|at| head.get(at..at + HEADER_BYTES).map_or(Copy::Blank, parse_copy))
}

/// Magic, format and the place of the checksum stay the same in every format, so that a newer one can be told from damage.
fn parse_copy(copy: &[u8]) -> Copy {
    let fields = || {
        let (content, crc) = copy.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(content) {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?;
        let (format, rest) = rest.split_first_chunk::<2>()?;
        let format = u16::from_le_bytes(*format);
        if format > FORMAT {
            return Some(Copy::Newer(format));
        }
        let (&[lane, _], rest) = rest.split_first_chunk::<2>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first_chunk::<8>()?;
        let (first, _) = rest.split_first_chunk::<8>()?;
        Some(Copy::Valid(SegmentHeader {
            format,
            lane: Lane::from_number(lane)?,
            epoch: u32::from_le_bytes(*epoch),
            salt: u64::from_le_bytes(*salt),
            first: u64::from_le_bytes(*first),
        }))
    };
    let blank = || if copy.iter().all(|&byte| byte == 0) { Copy::Blank } else { Copy::Damaged };
    fields().unwrap_or_else(blank)
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

/// The salt of a segment, without which none of its records can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Salt {
    /// The header has not been read yet.
    Unread,
    Known(u64),
    /// The header is damaged.
    Lost,
}

/// A segment as the running outbox knows it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    /// Number of its first record.
    pub(crate) first: u64,
    /// Greatest number it can hold a record of; `first - 1` when none was appended.
    pub(crate) last: u64,
    pub(crate) salt: Salt,
    /// Where frames end, as far as that is known; the length of the file otherwise.
    pub(crate) len: u64,
    /// Part of `len` that is durable, and therefore may be read.
    pub(crate) synced: u64,
    /// Records that can be read and are not done with.
    pub(crate) unacked: u64,
    /// Whether every number from `first` to `last` has its record or is done with, so that counting needs no reading.
    pub(crate) dense: bool,
    /// Length of the file.
    pub(crate) file_bytes: u64,
    /// Whether the file may be used again: written by this format, and never failed.
    pub(crate) reusable: bool,
}

impl Segment {
    /// One without records.
    pub(crate) fn new(name: String, first: u64, salt: u64, file_bytes: u64) -> Self {
        Self {
            name,
            first,
            last: first - 1,
            salt: Salt::Known(salt),
            len: FRAMES_OFFSET,
            synced: FRAMES_OFFSET,
            unacked: 0,
            dense: true,
            file_bytes,
            reusable: true,
        }
    }

    /// Space it takes.
    pub(crate) fn used(&self) -> u64 {
        used(self.file_bytes)
    }
}

/// Space a file of a length takes on disk.
pub(crate) fn used(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader =
        SegmentHeader { format: FORMAT, lane: Lane::Normal, epoch: 7, salt: 0xfeed, first: 42 };

    fn parse(head: &[u8]) -> HeaderRead {
        SegmentHeader::parse(head, Lane::Normal, 42)
    }

    #[test]
    fn either_copy_of_the_header_is_enough() {
        let head = HEADER.encode();
        assert_eq!(head.len() as u64, FRAMES_OFFSET);
        assert_eq!(parse(&head), HeaderRead::Valid(HEADER));
        for byte in 0..head.len() {
            let mut damaged = head;
            damaged[byte] ^= 0x10;
            assert_eq!(parse(&damaged), HeaderRead::Valid(HEADER), "byte {byte}");
        }
        assert_eq!(parse(&head[..20]), HeaderRead::Unwritten);
    }

    /// A recycled file of which one sector, or none, has got its new header.
    #[test]
    fn the_header_of_another_segment_is_none() {
        let (ours, theirs) = (HEADER.encode(), SegmentHeader { first: 41, ..HEADER }.encode());
        assert_eq!(parse(&[&theirs[..512], &ours[512..]].concat()), HeaderRead::Valid(HEADER));
        assert_eq!(parse(&[&ours[..512], &theirs[512..]].concat()), HeaderRead::Valid(HEADER));
        assert_eq!(parse(&theirs), HeaderRead::Unwritten);
        assert_eq!(parse(&SegmentHeader { lane: Lane::Bulk, ..HEADER }.encode()), HeaderRead::Unwritten);
        assert_eq!(parse(&[0; 1024]), HeaderRead::Unwritten);
        assert_eq!(parse(&[1; 1024]), HeaderRead::Damaged);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut head = HEADER.encode();
        head[8] = 3;
        assert_eq!(parse(&head), HeaderRead::Valid(HEADER), "checksum says damage, the copy is good");
        assert_eq!(parse(&SegmentHeader { format: 3, ..HEADER }.encode()), HeaderRead::Newer(3));
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        assert_eq!(parse_name(&name(Lane::Bulk, 17)), Some((Lane::Bulk, 17)));
        for other in [
            "bulk-17.seg",
            "lock",
            "epoch",
            "spare-001.seg",
            "bulk-+0000000000000000017.seg",
            "x-00000000000000000017.seg",
            "bulk-00000000000000000000.seg",
            "bulk-18446744073709551615.seg",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
