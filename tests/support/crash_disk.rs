//! A disk in memory that can lose its power: what is live and what is durable are two images.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use tidegate::outbox::{Disk, DiskRead};

/// Unit in which a medium keeps or loses what was not synced.
const SECTOR: usize = 512;

/// Frames start here in a segment; stale bytes are only ever placed behind it.
const FRAMES_OFFSET: usize = 1024;

/// Ways in which the disk, not the product, is wrong: each must be noticed by whoever checks recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    /// `sync` of a segment returns without doing anything: as if records were acknowledged before fsync.
    Sync,
    /// `sync_dir` leaves new segments out: as if the directory were never synced after making one.
    SyncDir,
}

/// What of the unsynced state a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing that was not synced.
    Durable,
    /// All of it.
    Live,
    /// All of it, but of the last write only the first bytes.
    Torn(usize),
    /// Contents, not names.
    NamesLost,
    /// Names, not contents.
    ContentsLost,
    /// Each sector and each name by the toss of a coin; lost sectors read as zeros or as bytes of an older file there.
    Sectors(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Contents that cuts have taken, by name: what the medium may still hold in the same place.
    stale: BTreeMap<String, Vec<u8>>,
    operations: usize,
    crash_at: Option<usize>,
    off: bool,
    lie: Lie,
    capacity: Option<usize>,
    fail_sync: bool,
    unreadable: Option<(String, usize)>,
    last_write: Option<usize>,
}

/// A handle; clones share the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDisk(Rc<RefCell<State>>);

impl CrashDisk {
    pub(crate) fn new(lie: Lie) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().lie = lie;
        disk
    }

    /// Takes the power away during the n-th changing operation from now, the first being 0.
    pub(crate) fn crash_after(&self, operations: Option<usize>) {
        let mut state = self.0.borrow_mut();
        state.operations = 0;
        state.crash_at = operations;
    }

    /// Changing operations since the last [`CrashDisk::crash_after`].
    pub(crate) fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    /// Whether the power is off.
    pub(crate) fn is_off(&self) -> bool {
        self.0.borrow().off
    }

    /// Length of the write during which the power went; 0 if it was another operation.
    pub(crate) fn last_write_bytes(&self) -> usize {
        let state = self.0.borrow();
        let change = state.last_write.and_then(|inode| state.inodes[inode].pending.last());
        match change {
            Some(Change::Write(_, bytes)) => bytes.len(),
            None => 0,
        }
    }

    /// The disk after power comes back; `self` stays as it is, so that many remains can be tried.
    pub(crate) fn reboot(&self, remains: Remains) -> Self {
        let state = self.0.borrow();
        let mut coin = Coin(if let Remains::Sectors(seed) = remains { seed } else { 0 });
        let names = match remains {
            Remains::Durable | Remains::NamesLost => state.durable_names.clone(),
            Remains::Live | Remains::Torn(_) | Remains::ContentsLost => state.names.clone(),
            Remains::Sectors(_) => mixed_names(&state, &mut coin),
        };
        let mut after = State { lie: state.lie, stale: state.stale.clone(), ..State::default() };
        for (name, &inode) in &names {
            let file = &state.inodes[inode];
            let content = match remains {
                Remains::Durable | Remains::ContentsLost => file.durable.clone(),
                Remains::Torn(kept) if state.last_write == Some(inode) => torn(file, kept),
                Remains::Live | Remains::NamesLost | Remains::Torn(_) => file.live.clone(),
                Remains::Sectors(_) => mixed_sectors(file, state.stale.get(name), &mut coin),
            };
            after.names.insert(name.clone(), after.inodes.len());
            let pending = Vec::new();
            after.inodes.push(Inode { live: content.clone(), durable: content, pending });
        }
        after.durable_names.clone_from(&after.names);
        for (name, &inode) in &state.names {
            after.stale.insert(name.clone(), state.inodes[inode].live.clone());
        }
        Self(Rc::new(RefCell::new(after)))
    }

    /// Limits the bytes of all files; more gives `StorageFull` after half of the write was done.
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.0.borrow_mut().capacity = bytes;
    }

    /// Makes every sync fail.
    pub(crate) fn fail_sync(&self, fail: bool) {
        self.0.borrow_mut().fail_sync = fail;
    }

    /// Makes the sector of a file with this offset unreadable.
    pub(crate) fn lose_sector(&self, name: &str, offset: usize) {
        self.0.borrow_mut().unreadable = Some((name.to_owned(), offset / SECTOR * SECTOR));
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.0.borrow();
        state.names.values().map(|&inode| state.inodes[inode].live.len()).sum()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().names.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.0.borrow();
        state.inodes[state.names[name]].live.clone()
    }

    /// Replaces a file, live and durable: damage, or a file of another program.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let mut state = self.0.borrow_mut();
        let inode = state.inodes.len();
        state.inodes.push(Inode { live: content.into(), durable: content.into(), pending: Vec::new() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.0.borrow_mut();
        state.names.remove(name);
        state.durable_names.remove(name);
    }
}

impl State {
    /// Counts a changing operation; `true` when it is the one during which the power goes.
    fn begin(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(power());
        }
        self.off = self.crash_at == Some(self.operations);
        self.operations += 1;
        self.last_write = None;
        Ok(self.off)
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change(&mut self, inode: usize, change: Change) {
        apply(&mut self.inodes[inode].live, &change);
        self.inodes[inode].pending.push(change);
        self.last_write = Some(inode);
    }
}

impl DiskRead for CrashDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        let state = self.0.borrow();
        Ok(state.inodes[state.inode(name)?].live.len() as u64)
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.0.borrow();
        let live = &state.inodes[state.inode(name)?].live;
        let from = usize::try_from(offset).unwrap().min(live.len());
        let read = into.len().min(live.len() - from);
        if let Some((lost, sector)) = &state.unreadable
            && lost == name
            && from < sector + SECTOR
            && from + read > *sector
        {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        into[..read].copy_from_slice(&live[from..from + read]);
        Ok(read)
    }
}

impl Disk for CrashDisk {
    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        if state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        if dies { Err(power()) } else { Ok(()) }
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let used = self.bytes();
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        let inode = state.inode(name)?;
        let offset = usize::try_from(offset).unwrap();
        let len = state.inodes[inode].live.len();
        assert!(offset <= len, "a hole in {name}");
        let growth = (offset + bytes.len()).saturating_sub(len);
        if growth > 0 && state.capacity.is_some_and(|capacity| used + growth > capacity) {
            state.change(inode, Change::Write(offset, bytes[..bytes.len() / 2].to_vec()));
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.change(inode, Change::Write(offset, bytes.to_vec()));
        if dies { Err(power()) } else { Ok(()) }
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let used = self.bytes();
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        let (inode, len) = (state.inode(name)?, usize::try_from(len).unwrap());
        let room = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        state.change(inode, Change::Write(0, vec![0; len.min(room)]));
        if room < len {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if dies { Err(power()) } else { Ok(()) }
    }

    fn unit(&mut self) -> u64 {
        SECTOR as u64
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        let inode = state.inode(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        if dies { Err(power()) } else { Ok(()) }
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let capacity = self.0.borrow().capacity;
        Ok(capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.bytes()) as u64))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.begin()? {
            return Err(power());
        }
        let inode = state.inode(name)?;
        if state.fail_sync {
            return Err(io::Error::from_raw_os_error(5));
        }
        if state.lie != Lie::Sync || !is_segment(name) {
            let file = &mut state.inodes[inode];
            file.durable.clone_from(&file.live);
            file.pending.clear();
        }
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.begin()? {
            return Err(power());
        }
        let State { names, durable_names, lie, .. } = &mut *state;
        let kept = |name: &&String| *lie != Lie::SyncDir || !is_segment(name);
        let synced: Vec<_> = names.iter().filter(|(name, _)| kept(name)).collect();
        durable_names.retain(|name, _| names.contains_key(name));
        durable_names.extend(synced.into_iter().map(|(name, &inode)| (name.clone(), inode)));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        state.inode(name)?;
        state.names.remove(name);
        if dies { Err(power()) } else { Ok(()) }
    }
}

/// A generator for tests (xorshift): the same tosses for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Coin(pub(crate) u64);

impl Coin {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn is_segment(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extension == "seg")
}

fn power() -> io::Error {
    io::Error::other("power is off")
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, bytes) => {
            content.resize(content.len().max(offset + bytes.len()), 0);
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
}

fn torn(file: &Inode, kept: usize) -> Vec<u8> {
    let mut content = file.durable.clone();
    let (last, earlier) = file.pending.split_last().unwrap();
    for change in earlier {
        apply(&mut content, change);
    }
    let Change::Write(offset, bytes) = last;
    apply(&mut content, &Change::Write(*offset, bytes[..kept.min(bytes.len())].to_vec()));
    content
}

/// Every name that differs between the images is the one or the other.
fn mixed_names(state: &State, coin: &mut Coin) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for name in state.names.keys().chain(state.durable_names.keys()) {
        let images = [state.names.get(name), state.durable_names.get(name)];
        if !names.contains_key(name)
            && let Some(&inode) = images[usize::try_from(coin.below(2)).unwrap()]
        {
            names.insert(name.clone(), inode);
        }
    }
    names
}

/// The length of one image, and each sector that differs from the one, the other, zero or stale.
fn mixed_sectors(file: &Inode, stale: Option<&Vec<u8>>, coin: &mut Coin) -> Vec<u8> {
    if file.pending.is_empty() {
        return file.durable.clone();
    }
    let len = if coin.below(4) == 0 { file.durable.len() } else { file.live.len() };
    let mut content = vec![0; len];
    for (index, sector) in content.chunks_mut(SECTOR).enumerate() {
        let from = index * SECTOR;
        let source = if part(&file.live, from) == part(&file.durable, from) {
            Some(&file.live)
        } else {
            match coin.below(4) {
                0 if from >= file.durable.len() && from >= FRAMES_OFFSET => stale,
                0 | 1 => Some(&file.durable),
                2 | 3 => Some(&file.live),
                _ => unreachable!("below 4"),
            }
        };
        let bytes = source.map_or(&[][..], |source| part(source, from));
        let kept = bytes.len().min(sector.len());
        sector[..kept].copy_from_slice(&bytes[..kept]);
    }
    content
}

fn part(content: &[u8], from: usize) -> &[u8] {
    let from = from.min(content.len());
    &content[from..content.len().min(from + SECTOR)]
}
