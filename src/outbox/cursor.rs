//! Small durable facts: how far a lane is done with, the epoch, and the note of the caller.
//!
//! # Invariants
//! A file holds two slots of 512 bytes, each in its own sector. A value is written to the slot that does not hold the
//! newest one and synced, so that a cut at any instant leaves the old value or the new one.

use std::io;

use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::segment::{BLOCK_BYTES, FORMAT};
use crate::ranges::{Range, Ranges};

/// Ranges a cursor slot holds: when there are more, the records of the shortest are sent again after a restart. One comes
/// about with each connection that ends before the backlog is through.
pub(crate) const DONE_RANGES_MAX: usize = 8;

/// Name of the file with the epoch.
pub(crate) const EPOCH_FILE: &str = "epoch";

/// Space the small files take: three cursors, the epoch and the note.
pub(crate) const SMALL_FILES_BYTES: u64 = 5 * BLOCK_BYTES;

/// What a slot holds besides its head.
pub(crate) const BODY_BYTES: usize = SLOT_BYTES - HEAD_BYTES - CRC_BYTES;

/// Reasons for which records are lost, in the order of `flow::GapReason`: full, expired, damaged, undeliverable.
pub(crate) type Losses = [u64; 4];

const SLOT_BYTES: usize = 512;
const FILE_BYTES: usize = 2 * SLOT_BYTES;
/// Length of the part that all formats have in common, its checksum included.
const HEAD_BYTES: usize = 48;
const CRC_BYTES: usize = 4;
const MAGIC: [u8; 8] = *b"TGOUTCUR";

/// What a cursor file remembers of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything up to here is done with; 0 in the epoch file.
    pub(crate) acked: u64,
    /// The epoch in which it was written.
    pub(crate) epoch: u32,
    /// Records lost since the lane exists, without ever being acknowledged.
    pub(crate) dropped: Losses,
    /// How many of these a durable gap record tells of.
    pub(crate) told: Losses,
    /// Beyond `acked`.
    pub(crate) done: Ranges,
}

/// A slot as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) acked: u64,
    pub(crate) epoch: u32,
    /// At most [`BODY_BYTES`]; zeros behind what was saved.
    pub(crate) body: Vec<u8>,
}

/// A two-slot file.
#[derive(Clone, Debug)]
pub(crate) struct SlotFile {
    pub(crate) name: String,
    generation: u64,
}

/// What a two-slot file holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) file: SlotFile,
    pub(crate) newest: Option<Slot>,
    /// Both slots are sound, so that the newest is what was saved last.
    pub(crate) certain: bool,
}

/// Name of the cursor file of a lane.
pub(crate) fn cursor_name(lane: Lane) -> String {
    format!("cursor-{}", lane.as_str())
}

impl SlotFile {
    /// Reads the newest intact slot. A file that is missing, or has none, gives none.
    pub(crate) fn load<D: DiskRead>(disk: &mut D, name: String) -> Result<Loaded, OutboxError> {
        let mut bytes = [0; FILE_BYTES];
        match disk.read_at(&name, 0, &mut bytes) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
            Err(source) => return Err(OutboxError::Read { file: name, source }),
        }
        let mut newest: Option<(u64, Slot)> = None;
        let mut certain = true;
        for slot in bytes.chunks(SLOT_BYTES) {
            match parse(slot) {
                SlotRead::Valid(generation, slot) => {
                    if newest.as_ref().is_none_or(|(known, _)| generation > *known) {
                        newest = Some((generation, slot));
                    }
                }
                SlotRead::Newer(found) => {
                    return Err(OutboxError::Version { file: name, found, supported: FORMAT });
                }
                SlotRead::Damaged => certain = false,
            }
        }
        let generation = newest.as_ref().map_or(0, |(generation, _)| *generation);
        let newest = newest.map(|(_, slot)| slot);
        Ok(Loaded { file: Self { name, generation }, newest, certain })
    }

    /// Makes sure that the file is there in full length, so that later writes need no new space. The caller syncs the
    /// directory. An existing file of the right length is left alone. Returns whether `slot` was written.
    pub(crate) fn prepare<D: Disk>(&mut self, disk: &mut D, slot: &Slot) -> Result<bool, OutboxError> {
        let created = match disk.create(&self.name) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(OutboxError::Write { file: self.name.clone(), source }),
        };
        let len = disk.len(&self.name).map_err(OutboxError::read(&self.name))?;
        if !created && len >= FILE_BYTES as u64 && self.generation > 0 {
            return Ok(false);
        }
        self.generation += 2;
        let mut bytes = encode(self.generation, slot);
        bytes.extend(encode(self.generation - 1, slot));
        if self.generation % 2 == 1 {
            bytes.rotate_right(SLOT_BYTES);
        }
        disk.write_at(&self.name, 0, &bytes).map_err(OutboxError::write(&self.name))?;
        disk.sync(&self.name).map_err(OutboxError::sync(&self.name))?;
        Ok(true)
    }

    /// Writes a slot durably.
    pub(crate) fn save<D: Disk>(&mut self, disk: &mut D, slot: &Slot) -> Result<(), OutboxError> {
        let generation = self.generation + 1;
        let offset = (generation % 2) * SLOT_BYTES as u64;
        let bytes = encode(generation, slot);
        disk.write_at(&self.name, offset, &bytes).map_err(OutboxError::write(&self.name))?;
        disk.sync(&self.name).map_err(OutboxError::sync(&self.name))?;
        self.generation = generation;
        Ok(())
    }
}

impl Mark {
    /// The mark in a slot; one of format 1 has no counts and no ranges.
    pub(crate) fn from_slot(slot: &Slot) -> Self {
        let mut words = slot.body.chunks_exact(8).map(|word| {
            let (word, _) = word.split_first_chunk().unwrap_or((&[0; 8], &[]));
            u64::from_le_bytes(*word)
        });
        let mut next = || words.next().unwrap_or_default();
        let dropped = std::array::from_fn(|_| next());
        let told = std::array::from_fn(|_| next());
        let ranges: [Range; DONE_RANGES_MAX] = std::array::from_fn(|_| (next(), next()));
        let mut done = Ranges::default();
        for (from, upto) in ranges {
            // One that breaks the order is left out.
            if from > slot.acked.saturating_add(1) {
                done.insert(from, upto);
            }
        }
        Self { acked: slot.acked, epoch: slot.epoch, dropped, told, done }
    }

    /// The slot for a mark.
    pub(crate) fn to_slot(&self) -> Slot {
        let ranges = self.done.ranges().iter().flat_map(|&(from, upto)| [from, upto]);
        let words = self.dropped.into_iter().chain(self.told).chain(ranges);
        let body = words.flat_map(u64::to_le_bytes).collect();
        Slot { acked: self.acked, epoch: self.epoch, body }
    }
}

enum SlotRead {
    Valid(u64, Slot),
    Newer(u16),
    Damaged,
}

fn encode(generation: u64, slot: &Slot) -> Vec<u8> {
    assert!(slot.body.len() <= BODY_BYTES, "the length of a slot is checked before");
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&slot.epoch.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&slot.acked.to_le_bytes());
    bytes.resize(HEAD_BYTES - CRC_BYTES, 0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(&slot.body);
    bytes.resize(SLOT_BYTES - CRC_BYTES, 0);
    bytes.extend_from_slice(&slot_checksum(&bytes).to_le_bytes());
    bytes
}

/// Magic, format and the place of the first checksum stay the same in every format, so that a newer one can be told from
/// damage. Format 1 ends with that checksum.
fn parse(slot: &[u8]) -> SlotRead {
    let fields = || {
        let rest = checked(slot.get(..HEAD_BYTES)?)?.strip_prefix(&MAGIC)?;
        let (format, rest) = rest.split_first_chunk::<2>()?;
        let format = u16::from_le_bytes(*format);
        if format > FORMAT {
            return Some(SlotRead::Newer(format));
        }
        let body = if format < 2 { &[] } else { body(slot)? };
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (acked, _) = rest.split_first_chunk::<8>()?;
        let (acked, epoch) = (u64::from_le_bytes(*acked), u32::from_le_bytes(*epoch));
        let slot = Slot { acked, epoch, body: body.to_vec() };
        Some(SlotRead::Valid(u64::from_le_bytes(*generation), slot))
    };
    fields().unwrap_or(SlotRead::Damaged)
}

/// What stands behind the head, if it belongs to this head.
fn body(slot: &[u8]) -> Option<&[u8]> {
    let (content, crc) = slot.split_last_chunk::<CRC_BYTES>()?;
    (u32::from_le_bytes(*crc) == slot_checksum(content)).then_some(content.get(HEAD_BYTES..)?)
}

/// Covers the body, then the head without its own checksum: behind bytes that end with their checksum the state of a CRC is
/// always the same, whatever they are.
fn slot_checksum(content: &[u8]) -> u32 {
    let (head, body) = content.split_at(HEAD_BYTES.min(content.len()));
    let head = head.get(..HEAD_BYTES - CRC_BYTES).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(body), head)
}

/// What stands before a checksum, if the checksum is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
    (u32::from_le_bytes(*crc) == crc32c::crc32c(content)).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_saved() {
        let mut done = Ranges::default();
        for index in 0..DONE_RANGES_MAX as u64 {
            done.insert(100 + 10 * index, 104 + 10 * index);
        }
        let mark = Mark { acked: 7, epoch: 3, dropped: [1, 2, 3, 4], told: [1, 0, 3, 0], done };
        let bytes = encode(9, &mark.to_slot());
        assert_eq!(bytes.len(), SLOT_BYTES);
        let SlotRead::Valid(9, slot) = parse(&bytes) else { panic!("not read") };
        assert_eq!(Mark::from_slot(&slot), mark);
        for byte in 0..SLOT_BYTES {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x04;
            assert!(matches!(parse(&damaged), SlotRead::Damaged), "byte {byte}");
        }
        // A write that ends in the middle. The crash test found that a sound head went with any body.
        let other = Mark { acked: 9, ..Mark::default() };
        let newer = encode(11, &other.to_slot());
        for torn in 1..SLOT_BYTES {
            let slot = [&newer[..torn], &bytes[torn..]].concat();
            let same = slot == newer || slot == bytes;
            assert!(same || matches!(parse(&slot), SlotRead::Damaged), "torn at {torn}");
        }
    }
}
