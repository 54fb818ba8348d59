//! A disk in memory that fails as disks and kernels do: what a failed sync took with it stays readable and is not there
//! after a power cut, and the next sync has nothing to report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use tidegate::outbox::{Disk, DiskRead};

pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EDQUOT: i32 = 122;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EIO: i32 = 5;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create,
    Write,
    Sync,
    Rename,
    SyncDir,
    Remove,
}

/// What fails: these deeds, with this error, so many times (`u32::MAX`: until it is mended).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) deeds: &'static [Deed],
    pub(crate) errno: i32,
    /// Deeds of this kind that succeed before.
    pub(crate) after: u32,
    pub(crate) times: u32,
}

/// A mistake of the program that this disk makes in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Planted {
    #[default]
    None,
    /// A sync that fails is asked again, and believed.
    RetrySync,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What a reader sees.
    live: Vec<u8>,
    /// What is on the medium.
    medium: Vec<u8>,
    /// Written and on its way.
    dirty: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    names_dirty: bool,
    fault: Option<Fault>,
    capacity: usize,
    /// Taken by somebody else.
    foreign: usize,
    planted: Planted,
    failed: BTreeMap<&'static str, u64>,
}

/// A handle; clones share the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultDisk(Rc<RefCell<State>>);

impl FaultDisk {
    pub(crate) fn new(capacity: usize, planted: Planted) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().capacity = capacity;
        disk.0.borrow_mut().planted = planted;
        disk
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.0.borrow_mut().fault = Some(fault);
    }

    /// Somebody else takes all that is left but `room` bytes.
    pub(crate) fn fill(&self, room: usize) {
        let mut state = self.0.borrow_mut();
        state.foreign = state.capacity.saturating_sub(state.taken() + room);
    }

    /// Everything works again.
    pub(crate) fn mend(&self) {
        let mut state = self.0.borrow_mut();
        (state.fault, state.foreign) = (None, 0);
    }

    /// Power off and on: what is on the medium is all there is.
    pub(crate) fn cut(&self) {
        let mut state = self.0.borrow_mut();
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            file.live = file.medium.clone();
            file.dirty.clear();
        }
        (state.names_dirty, state.fault) = (false, None);
    }

    /// Deeds that failed, by errno.
    pub(crate) fn failed(&self) -> BTreeMap<&'static str, u64> {
        self.0.borrow().failed.clone()
    }

    fn with<T>(&self, deed: Deed, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        if let Some(errno) = state.strikes(deed) {
            if deed == Deed::SyncDir {
                state.names_dirty = false;
            }
            return Err(io::Error::from_raw_os_error(errno));
        }
        work(&mut state)
    }
}

impl State {
    fn taken(&self) -> usize {
        self.names.values().map(|&index| self.files[index].live.len()).sum()
    }

    fn strikes(&mut self, deed: Deed) -> Option<i32> {
        let fault = self.fault.as_mut().filter(|fault| fault.deeds.contains(&deed))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        if fault.times == 0 {
            return None;
        }
        fault.times = if fault.times == u32::MAX { fault.times } else { fault.times - 1 };
        let errno = fault.errno;
        let word = match errno {
            ENOSPC => "ENOSPC",
            EDQUOT => "EDQUOT",
            EROFS => "EROFS",
            _ => "EIO",
        };
        *self.failed.entry(word).or_default() += 1;
        Some(errno)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let index = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.files[index])
    }

    fn grow(&mut self, name: &str, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.file(name)?.live.len());
        if self.taken() + self.foreign + more > self.capacity {
            *self.failed.entry("ENOSPC").or_default() += 1;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.grow(name, offset + bytes.len())?;
        let file = self.file(name)?;
        put(&mut file.live, offset, bytes);
        file.dirty.push((offset, bytes.to_vec()));
        Ok(())
    }
}

fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if target.len() < offset + bytes.len() {
        target.resize(offset + bytes.len(), 0);
    }
    target[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl DiskRead for FaultDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.0.borrow_mut().file(name)?.live.len() as u64)
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let there = state.file(name)?.live.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

impl Disk for FaultDisk {
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.with(Deed::Create, |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.push(File::default());
            state.names.insert(name.to_owned(), state.files.len() - 1);
            state.names_dirty = true;
            Ok(())
        })
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(Deed::Write, |state| state.write(name, usize::try_from(offset).unwrap(), bytes))
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.with(Deed::Write, |state| state.write(name, 0, &vec![0; usize::try_from(len).unwrap()]))
    }

    fn unit(&mut self) -> u64 {
        512
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let (struck, planted) = (state.strikes(Deed::Sync), state.planted);
        let file = state.file(name)?;
        let dirty = std::mem::take(&mut file.dirty);
        if let Some(errno) = struck {
            // The kernel has marked the pages clean: asked again it has nothing to write, and says so.
            return match planted {
                Planted::None => Err(io::Error::from_raw_os_error(errno)),
                Planted::RetrySync => Ok(()),
            };
        }
        for (offset, bytes) in dirty {
            put(&mut file.medium, offset, &bytes);
        }
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.with(Deed::SyncDir, |state| {
            if std::mem::take(&mut state.names_dirty) {
                state.durable_names = state.names.clone();
            }
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(Deed::Rename, |state| {
            let index = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), index);
            state.names_dirty = true;
            Ok(())
        })
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let state = self.0.borrow();
        Ok(state.capacity.saturating_sub(state.taken() + state.foreign) as u64)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(Deed::Remove, |state| {
            state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.names_dirty = true;
            Ok(())
        })
    }
}
