//! Files of removed segments that wait to be written again.
//!
//! # Invariants
//! A file is taken only under its own name and given back only when a durable cursor has passed what it holds. What is in it
//! does not matter: the next segment has another salt. One that is not there any more is done without.
//!
//! # Why
//! A file that is as long as it will be, and written throughout, costs nothing but its content when it is written again: no
//! blocks to find, no length to note, nothing for the journal of the file system.

use std::io;

use crate::outbox::disk::Disk;
use crate::outbox::lane::Lane;
use crate::outbox::segment::{self, HEAD_BYTES, Segment, SegmentHeader};

/// Files kept at most: one for each lane that fills up, the next alarm segment, and two for a lane that drains faster than
/// another fills.
pub(crate) const SPARES_MAX: usize = 6;

/// Greatest number in a name: three digits.
const NUMBER_MAX: u16 = 999;

/// The files that can be taken.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Numbers in the names, in any order.
    numbers: Vec<u16>,
    /// Length of each.
    file_bytes: u64,
}

impl Spares {
    /// Finds the files an earlier run has left. Those of another length are removed.
    pub(crate) fn open<D: Disk>(disk: &mut D, names: &[String], file_bytes: u64) -> io::Result<Self> {
        let mut spares = Self { numbers: Vec::with_capacity(SPARES_MAX), file_bytes };
        for number in names.iter().filter_map(|name| parse_name(name)) {
            if spares.numbers.len() < SPARES_MAX && disk.len(&name(number))? == file_bytes {
                spares.numbers.push(number);
            } else {
                disk.remove(&name(number))?;
            }
        }
        Ok(spares)
    }

    /// Removes files that say they are a segment which is still to come: their names were lost with the power before anything
    /// in them was durable, and under the same name again their old content would look right.
    pub(crate) fn drop_future<D: Disk>(
        &mut self,
        disk: &mut D,
        next: impl Fn(Lane) -> u64,
    ) -> io::Result<()> {
        let mut kept = Vec::with_capacity(SPARES_MAX);
        for number in std::mem::take(&mut self.numbers) {
            let mut head = [0; HEAD_BYTES];
            let is_past = match disk.read_at(&name(number), 0, &mut head) {
                Ok(_) => SegmentHeader::any(&head).all(|header| header.first < next(header.lane)),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => false,
                Err(e) => return Err(e),
            };
            if is_past {
                kept.push(number);
            } else {
                disk.remove(&name(number))?;
            }
        }
        self.numbers = kept;
        Ok(())
    }

    /// Length of a new segment's file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Space they take.
    pub(crate) fn used(&self) -> u64 {
        self.numbers.len() as u64 * segment::used(self.file_bytes)
    }

    /// Gives a spare the name of a new segment; without a spare a new file is made. The name is not durable yet.
    pub(crate) fn take<D: Disk>(&mut self, disk: &mut D, name: &str) -> io::Result<()> {
        while let Some(&number) = self.numbers.last() {
            match disk.rename(&self::name(number), name) {
                // Somebody has deleted it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(source),
                Ok(()) => {
                    self.numbers.pop();
                    return Ok(());
                }
            }
            self.numbers.pop();
        }
        make(disk, name, self.file_bytes)
    }

    /// A file to write under a name that nothing is read from yet. The caller renames it, or takes it away.
    pub(crate) fn borrow<D: Disk>(&mut self, disk: &mut D) -> io::Result<String> {
        while let Some(number) = self.numbers.pop() {
            match disk.len(&name(number)) {
                // Somebody has deleted it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                known => return known.map(|_| name(number)),
            }
        }
        let name = name(self.free_number());
        make(disk, &name, self.file_bytes)?;
        Ok(name)
    }

    /// Makes one more, ahead of need.
    pub(crate) fn add<D: Disk>(&mut self, disk: &mut D) -> io::Result<()> {
        let number = self.free_number();
        make(disk, &name(number), self.file_bytes)?;
        self.numbers.push(number);
        Ok(())
    }

    /// Takes a segment that nobody needs any more out of use: its file becomes a spare, or goes.
    pub(crate) fn give<D: Disk>(&mut self, disk: &mut D, segment: &Segment) -> io::Result<()> {
        if self.numbers.len() >= SPARES_MAX || !segment.reusable || segment.file_bytes != self.file_bytes {
            return disk.remove(&segment.name);
        }
        let number = self.free_number();
        disk.rename(&segment.name, &name(number))?;
        self.numbers.push(number);
        Ok(())
    }

    /// Removes one, for the space. Returns whether there was one.
    pub(crate) fn remove<D: Disk>(&mut self, disk: &mut D) -> io::Result<bool> {
        let Some(&number) = self.numbers.last() else { return Ok(false) };
        match disk.remove(&name(number)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            // Or somebody has deleted it.
            Ok(()) | Err(_) => {}
        }
        self.numbers.pop();
        Ok(true)
    }

    fn free_number(&self) -> u16 {
        (1..=NUMBER_MAX).find(|number| !self.numbers.contains(number)).unwrap_or_default()
    }
}

fn make<D: Disk>(disk: &mut D, name: &str, file_bytes: u64) -> io::Result<()> {
    match disk.create(name) {
        // Left by an attempt that could not even be undone. Nothing is known of it, so nothing is in it.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(name)?;
            disk.create(name)?;
        }
        created => created?,
    }
    match disk.allocate(name, file_bytes) {
        Ok(()) => Ok(()),
        Err(source) => disk.remove(name).and(Err(source)),
    }
}

fn name(number: u16) -> String {
    format!("spare-{number:03}.seg")
}

/// Whether a file is one of these.
pub(crate) fn is_spare(name: &str) -> bool {
    parse_name(name).is_some()
}

fn parse_name(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("spare-")?.strip_suffix(".seg")?;
    let plain = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
