//! Small durable numbers: how far a lane is acknowledged, and the epoch.
//!
//! # Invariants
//! A file holds two slots of 512 bytes, each in its own sector. A value is written to the slot that does not hold the
//! newest one and synced, so that a cut at any instant leaves the old value or the new one.

use std::io;

use crate::outbox::disk::{Disk, DiskRead};
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::segment::{BLOCK_BYTES, FORMAT};

/// Name of the file with the epoch.
pub(crate) const EPOCH_FILE: &str = "epoch";

/// Space the small files take: three cursors and the epoch.
pub(crate) const SMALL_FILES_BYTES: u64 = 4 * BLOCK_BYTES;

const SLOT_BYTES: u64 = 512;
const FILE_BYTES: usize = 1024;
/// Length of the part of a slot that means something, checksum included.
const CONTENT_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"TGOUTCUR";

/// What a slot remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything up to here is done with; 0 in the epoch file.
    pub(crate) acked: u64,
    /// The epoch in which it was written.
    pub(crate) epoch: u32,
}

/// A two-slot file.
#[derive(Clone, Debug)]
pub(crate) struct SlotFile {
    pub(crate) name: String,
    generation: u64,
}

/// Name of the cursor file of a lane.
pub(crate) fn cursor_name(lane: Lane) -> String {
    format!("cursor-{}", lane.as_str())
}

impl SlotFile {
    /// Reads the newest intact slot. A file that is missing, or has none, gives no mark.
    pub(crate) fn load<D: DiskRead>(disk: &mut D, name: String) -> Result<(Self, Option<Mark>), OutboxError> {
        let mut bytes = [0; FILE_BYTES];
        match disk.read_at(&name, 0, &mut bytes) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
            Err(source) => return Err(OutboxError::Read { file: name, source }),
        }
        let mut newest: Option<(u64, Mark)> = None;
        for slot in bytes.chunks(512) {
            match parse(slot) {
                SlotRead::Valid(generation, mark) => {
                    if newest.is_none_or(|(known, _)| generation > known) {
                        newest = Some((generation, mark));
                    }
                }
                SlotRead::Newer(found) => {
                    return Err(OutboxError::Version { file: name, found, supported: FORMAT });
                }
                SlotRead::Damaged => {}
            }
        }
        let generation = newest.map_or(0, |(generation, _)| generation);
        Ok((Self { name, generation }, newest.map(|(_, mark)| mark)))
    }

    /// Makes sure that the file is there in full length, so that later writes need no new space. The caller syncs the
    /// directory. An existing file of the right length is left alone. Returns whether `mark` was written.
    pub(crate) fn prepare<D: Disk>(&mut self, disk: &mut D, mark: Mark) -> Result<bool, OutboxError> {
        let created = match disk.create(&self.name) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(OutboxError::Write { file: self.name.clone(), source }),
        };
        let len = disk.len(&self.name).map_err(OutboxError::read(&self.name))?;
        if !created && len >= FILE_BYTES as u64 && self.generation > 0 {
            return Ok(false);
        }
        self.generation += 1;
        let mut bytes = encode(self.generation, mark);
        bytes.resize(FILE_BYTES, 0);
        if self.generation % 2 == 1 {
            bytes.rotate_right(512);
        }
        disk.write_at(&self.name, 0, &bytes).map_err(OutboxError::write(&self.name))?;
        disk.sync(&self.name).map_err(OutboxError::sync(&self.name))?;
        Ok(true)
    }

    /// Writes a mark durably.
    pub(crate) fn save<D: Disk>(&mut self, disk: &mut D, mark: Mark) -> Result<(), OutboxError> {
        let generation = self.generation + 1;
        let offset = (generation % 2) * SLOT_BYTES;
        let mut slot = encode(generation, mark);
        slot.truncate(CONTENT_BYTES);
        disk.write_at(&self.name, offset, &slot).map_err(OutboxError::write(&self.name))?;
        disk.sync(&self.name).map_err(OutboxError::sync(&self.name))?;
        self.generation = generation;
        Ok(())
    }
}

enum SlotRead {
    Valid(u64, Mark),
    Newer(u16),
    Damaged,
}

fn encode(generation: u64, mark: Mark) -> Vec<u8> {
    let mut slot = Vec::with_capacity(FILE_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&FORMAT.to_le_bytes());
    slot.extend_from_slice(&[0; 2]);
    slot.extend_from_slice(&mark.epoch.to_le_bytes());
    slot.extend_from_slice(&generation.to_le_bytes());
    slot.extend_from_slice(&mark.acked.to_le_bytes());
    slot.resize(CONTENT_BYTES - 4, 0);
    slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
    slot
}

fn parse(slot: &[u8]) -> SlotRead {
    let fields = || {
        let (content, crc) = slot.get(..CONTENT_BYTES)?.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(content) {
            return None;
        }
        let rest = content.strip_prefix(&MAGIC)?;
        let (format, rest) = rest.split_first_chunk::<2>()?;
        let format = u16::from_le_bytes(*format);
        if format > FORMAT {
            return Some(SlotRead::Newer(format));
        }
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (acked, _) = rest.split_first_chunk::<8>()?;
        let mark = Mark { acked: u64::from_le_bytes(*acked), epoch: u32::from_le_bytes(*epoch) };
        Some(SlotRead::Valid(u64::from_le_bytes(*generation), mark))
    };
    fields().unwrap_or(SlotRead::Damaged)
}
