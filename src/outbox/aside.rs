//! Records that could not be delivered however often it was tried: kept for whoever wants to know why, out of the way of
//! the others.
//!
//! # Invariants
//! At most [`ASIDE_MAX`] of them, the oldest gives way. Losing them loses nothing else: they count as undeliverable.

use std::io;

use crate::clock::EventTime;
use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::record::{PAYLOAD_BYTES_MAX, Record, Seq};
use crate::outbox::segment::{FORMAT, used};

/// Files kept: enough to see what kind of record it is; a flood of them has one cause.
pub const ASIDE_MAX: u64 = 64;

/// Length of what stands before the payload.
const HEAD_BYTES: usize = 48;

/// Files are written in whole units of this.
const UNIT: usize = 512;

const MAGIC: [u8; 8] = *b"TGOUTASD";

/// A record set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it was.
    pub lane: Lane,
    /// What it was.
    pub record: Record,
    /// Counts the records ever set aside.
    pub(crate) count: u64,
}

/// The ring of files.
#[derive(Debug, Default)]
pub(crate) struct AsideRing {
    /// Records ever set aside, as far as the files tell.
    count: u64,
    /// Space of each file that is there, by its number.
    used: std::collections::BTreeMap<u64, u64>,
}

impl AsideRing {
    /// Finds what earlier runs have set aside.
    pub(crate) fn open<D: DiskRead>(disk: &mut D) -> Self {
        // Whatever is wrong with them, nothing depends on it.
        let found = aside(disk).unwrap_or_default();
        let mut ring = Self::default();
        for aside in found {
            ring.count = ring.count.max(aside.count);
            ring.used.insert(aside.count % ASIDE_MAX, space(&aside.record));
        }
        ring
    }

    /// Space they take on disk.
    pub(crate) fn used(&self) -> u64 {
        self.used.values().sum()
    }

    /// Space one more takes in addition.
    pub(crate) fn growth(&self, record: &Record) -> u64 {
        let old = self.used.get(&((self.count + 1) % ASIDE_MAX)).copied().unwrap_or_default();
        space(record).saturating_sub(old)
    }

    /// Keeps a record, in the place of the oldest if there are too many.
    pub(crate) fn keep<D: Disk>(
        &mut self,
        disk: &mut D,
        lane: Lane,
        record: Record,
    ) -> Result<(), OutboxError> {
        let count = self.count + 1;
        let name = name(count % ASIDE_MAX);
        let space = space(&record);
        let bytes = encode(&Aside { lane, record, count });
        let written = match disk.create(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created,
        };
        written.and_then(|()| disk.write_at(&name, 0, &bytes)).map_err(OutboxError::write(&name))?;
        disk.sync(&name).map_err(OutboxError::sync(&name))?;
        disk.sync_dir().map_err(OutboxError::sync("."))?;
        self.count = count;
        self.used.insert(count % ASIDE_MAX, space);
        Ok(())
    }
}

/// All records that were set aside and are still there, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn aside<D: DiskRead>(disk: &mut D) -> Result<Vec<Aside>, OutboxError> {
    let names = disk.list().map_err(OutboxError::List)?;
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| (0..ASIDE_MAX).any(|number| *name == self::name(number))) {
        let len = usize::try_from(disk.len(&name).map_err(OutboxError::read(&name))?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(HEAD_BYTES + PAYLOAD_BYTES_MAX as usize + UNIT)];
        // One that cannot be read is as good as gone.
        let read = disk.read_at(&name, 0, &mut bytes).unwrap_or_default();
        bytes.truncate(read);
        found.extend(decode(&bytes));
    }
    found.sort_unstable_by_key(|aside| aside.count);
    Ok(found)
}

fn name(number: u64) -> String {
    format!("aside-{number:02}")
}

fn space(record: &Record) -> u64 {
    used((HEAD_BYTES + record.payload.len()) as u64)
}

/// `[magic][format u16][lane u8][0][length u32][count u64][number u64][time i64][0 u32][crc32c u32][payload]`, then zeros.
fn encode(aside: &Aside) -> Vec<u8> {
    let Record { seq, at, payload } = &aside.record;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len() + UNIT);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[aside.lane.number(), 0]);
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&aside.count.to_le_bytes());
    bytes.extend_from_slice(&seq.0.to_le_bytes());
    bytes.extend_from_slice(&at.0.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Aside> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (content, crc) = head.split_last_chunk::<4>()?;
    let word = |at: usize| Some(u64::from_le_bytes(*content.get(at..)?.first_chunk()?));
    let length = u32::from_le_bytes(*content.get(12..)?.first_chunk()?);
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    let is_whole = u32::from_le_bytes(*crc) == crc32c::crc32c_append(crc32c::crc32c(content), payload);
    if !is_whole || !content.starts_with(&MAGIC) {
        return None;
    }
    let lane = Lane::from_number(*content.get(10)?)?;
    let (seq, at) = (Seq(word(24)?), EventTime(word(32)?.cast_signed()));
    Some(Aside { lane, record: Record { seq, at, payload: payload.to_vec() }, count: word(16)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_bit_passes_for_a_record() {
        let record = Record { seq: Seq(7), at: EventTime(-5), payload: b"poison".to_vec() };
        let aside = Aside { lane: Lane::Bulk, record, count: 70 };
        let bytes = encode(&aside);
        assert_eq!((bytes.len(), decode(&bytes)), (UNIT, Some(aside)));
        for bit in 0..(HEAD_BYTES + 6) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes[..50]), None);
    }
}
