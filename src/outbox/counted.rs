//! Counts what is given to the disk: flash wears by the byte.

use std::io;

use crate::outbox::disk::{Disk, DiskRead};

/// A disk and the bytes written to it.
#[derive(Debug)]
pub(crate) struct Counted<D> {
    disk: D,
    /// Bytes written since the opening, files made ahead of need included.
    pub(crate) written: u64,
}

impl<D> Counted<D> {
    /// Nothing is written yet.
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, written: 0 }
    }
}

impl<D: DiskRead> DiskRead for Counted<D> {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, into)
    }
}

impl<D: Disk> Disk for Counted<D> {
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.disk.write_at(name, offset, bytes)
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.written += len;
        self.disk.allocate(name, len)
    }

    fn unit(&mut self) -> u64 {
        self.disk.unit()
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}
