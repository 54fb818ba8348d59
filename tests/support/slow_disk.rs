//! A disk that takes its time: everything is done by the one below it, after whatever the test has happen before.

use std::io;

use crate::io::disk::Directory;
use crate::outbox::{Disk, DiskRead};

/// What happens before the disk does as it is asked.
pub(crate) trait Before {
    /// So many bytes are to be read or written.
    fn moves(&mut self, bytes: usize);
    /// A file is to be made durable, or the names of all of them.
    fn syncs(&mut self, name: Option<&str>);
}

/// The disk and what happens before.
pub(crate) struct SlowDisk<B> {
    pub(crate) disk: Directory,
    pub(crate) before: B,
}

impl<B: Before> DiskRead for SlowDisk<B> {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn len(&mut self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.before.moves(into.len());
        self.disk.read_at(name, offset, into)
    }
}

impl<B: Before> Disk for SlowDisk<B> {
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.before.moves(bytes.len());
        self.disk.write_at(name, offset, bytes)
    }
    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.disk.allocate(name, len)
    }
    fn unit(&mut self) -> u64 {
        self.disk.unit()
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.before.syncs(Some(name));
        self.disk.sync(name)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.before.syncs(None);
        self.disk.sync_dir()
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn free_bytes(&mut self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}
