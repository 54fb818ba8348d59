//! A few hundred bytes that the caller wants to find again after a power cut.

use crate::outbox::cursor::{BODY_BYTES, Slot, SlotFile};
use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;

/// Name of the file with the note.
pub(crate) const NOTE_FILE: &str = "note";

/// Longest note; what a slot holds, less room for a length and for later.
pub const NOTE_BYTES_MAX: usize = 400;

const LENGTH_BYTES: usize = 2;
const _: () = assert!(NOTE_BYTES_MAX + LENGTH_BYTES <= BODY_BYTES, "a note fits into a slot");

/// The note in memory and on disk.
#[derive(Debug)]
pub(crate) struct Note {
    file: SlotFile,
    epoch: u32,
    bytes: Vec<u8>,
}

impl Note {
    /// Reads the note of an earlier run; empty when there was none or it is damaged. The caller syncs the directory.
    pub(crate) fn open<D: Disk>(disk: &mut D, epoch: u32) -> Result<Self, OutboxError> {
        let loaded = SlotFile::load(disk, NOTE_FILE.to_owned())?;
        let bytes = loaded.newest.as_ref().and_then(parse).unwrap_or_default();
        let mut note = Self { file: loaded.file, epoch, bytes };
        let slot = note.slot(&note.bytes);
        note.file.prepare(disk, &slot)?;
        Ok(note)
    }

    /// What was remembered last.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes a note durably; the same one again costs nothing.
    pub(crate) fn save<D: Disk>(&mut self, disk: &mut D, bytes: &[u8]) -> Result<(), OutboxError> {
        assert!(bytes.len() <= NOTE_BYTES_MAX, "a note of {} bytes", bytes.len());
        if bytes != self.bytes {
            self.file.save(disk, &self.slot(bytes))?;
            self.bytes = bytes.to_vec();
        }
        Ok(())
    }

    fn slot(&self, bytes: &[u8]) -> Slot {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let mut body = length.to_le_bytes().to_vec();
        body.extend_from_slice(bytes);
        Slot { acked: 0, epoch: self.epoch, body }
    }
}

fn parse(slot: &Slot) -> Option<Vec<u8>> {
    let (length, rest) = slot.body.split_first_chunk()?;
    Some(rest.get(..usize::from(u16::from_le_bytes(*length)))?.to_vec())
}
