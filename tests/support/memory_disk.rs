//! A disk in memory that does what it is told, and fails where it is told to: for tests of what is stored, not of how.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use tidegate::outbox::{Disk, DiskRead};

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    written: u64,
    /// Files whose names begin so cannot be synced or written.
    unsyncable: Option<&'static str>,
    unwritable: Option<&'static str>,
}

fn fails(prefix: Option<&str>, name: &str) -> bool {
    prefix.is_some_and(|prefix| name.starts_with(prefix))
}

impl MemoryDisk {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.borrow().files.values().map(|file| file.len() as u64).sum()
    }

    /// Bytes written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.0.borrow().written
    }

    /// From now on files whose names begin so cannot be synced.
    pub(crate) fn refuse_sync(&self, prefix: &'static str) {
        self.0.borrow_mut().unsyncable = Some(prefix);
    }

    /// From now on files whose names begin so cannot be written.
    pub(crate) fn refuse_write(&self, prefix: &'static str) {
        self.0.borrow_mut().unwritable = Some(prefix);
    }

    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.0.borrow_mut().files.get_mut(name).map(work).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskRead for MemoryDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().files.keys().cloned().collect())
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        self.with(name, |file| file.len() as u64)
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap();
        self.with(name, |file| {
            let there = file.get(start..).unwrap_or_default();
            let count = there.len().min(into.len());
            into[..count].copy_from_slice(&there[..count]);
            count
        })
    }
}

impl Disk for MemoryDisk {
    fn create(&mut self, name: &str) -> io::Result<()> {
        let taken = self.0.borrow_mut().files.insert(name.to_owned(), Vec::new()).is_some();
        assert!(!taken, "{name} is there already");
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if fails(self.0.borrow().unwritable, name) {
            return Err(io::Error::other("worn out"));
        }
        self.0.borrow_mut().written += bytes.len() as u64;
        let start = usize::try_from(offset).unwrap();
        self.with(name, |file| {
            file.resize(file.len().max(start + bytes.len()), 0);
            file[start..start + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.with(name, |file| file.resize(usize::try_from(len).unwrap(), 0))
    }

    fn unit(&mut self) -> u64 {
        512
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        if fails(self.0.borrow().unsyncable, name) {
            return Err(io::Error::other("gone"));
        }
        self.with(name, |_| ())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.0.borrow_mut().files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.0.borrow_mut().files.insert(to.to_owned(), file);
        Ok(())
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
