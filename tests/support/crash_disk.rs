//! A disk in memory that can lose its power: what is live and what is durable are two images.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use tidegate::outbox::{Disk, DiskRead};

/// Unit in which a medium keeps or loses what was not synced.
const SECTOR: usize = 512;

/// Unit of the page cache.
const PAGE: usize = 4096;

/// Frames start here in a segment; stale bytes are only ever placed behind it.
const FRAMES_OFFSET: usize = 1024;

/// Old files remembered for their bytes.
const STALE_MAX: usize = 4;

/// Bugs, planted in the disk: it behaves as if the product had them. Each must be noticed by whoever checks recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    /// Acknowledged before fsync: `sync` of a segment returns without doing anything.
    Sync,
    /// The directory is never synced after a segment got its name.
    SyncDir,
    /// Checksums without a salt: frames of earlier segments pass in a file that is used again.
    Salt,
    /// Checksums not looked at: half-written frames pass.
    Checksum,
    /// A segment is used again before the cursor that passes it is durable.
    Cursor,
    /// Records are drawn together, and gone, before what stands for them is durable.
    Draw,
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
    /// Names and lengths; new extents read as zeros.
    Zeros,
    /// Each sector of 512 bytes, and each change of a name, by the toss of a coin; lost sectors are as before, half
    /// written, zeros, or bytes of an older file there.
    Sectors(u64),
    /// The same by pages of 4,096 bytes.
    Pages(u64),
}

/// A write that is not durable.
#[derive(Clone, Debug)]
struct Change(usize, Vec<u8>);

/// A change of the directory that is not durable.
#[derive(Clone, Debug)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
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
    /// What was done to names since they were durable.
    renames: Vec<Naming>,
    /// Contents of files that are gone: what the medium may still hold where a new one comes to lie.
    stale: Vec<Vec<u8>>,
    operations: usize,
    crash_at: Option<usize>,
    off: bool,
    lie: Lie,
    capacity: Option<usize>,
    fail_sync: bool,
    unreadable: Option<(String, usize)>,
    last_write: Option<usize>,
    /// Of every segment header ever written; for planted bugs only.
    salts: BTreeSet<u64>,
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
        change.map_or(0, |Change(_, bytes)| bytes.len())
    }

    /// The disk after power comes back; `self` stays as it is, so that many remains can be tried.
    pub(crate) fn reboot(&self, remains: Remains) -> Self {
        let state = self.0.borrow();
        let (seed, unit) = match remains {
            Remains::Sectors(seed) => (seed, SECTOR),
            Remains::Pages(seed) => (seed, PAGE),
            Remains::Durable
            | Remains::Live
            | Remains::Torn(_)
            | Remains::NamesLost
            | Remains::ContentsLost
            | Remains::Zeros => (0, SECTOR),
        };
        let mut coin = Coin(seed);
        let names = match remains {
            Remains::Durable | Remains::NamesLost => state.durable_names.clone(),
            Remains::Live | Remains::Torn(_) | Remains::ContentsLost | Remains::Zeros => state.names.clone(),
            Remains::Sectors(_) | Remains::Pages(_) => some_names(&state, &mut coin),
        };
        let mut after = State { lie: state.lie, stale: state.stale.clone(), ..State::default() };
        for (name, &inode) in &names {
            let file = &state.inodes[inode];
            let mut content = match remains {
                Remains::Durable | Remains::ContentsLost => file.durable.clone(),
                Remains::Torn(kept) if state.last_write == Some(inode) => torn(file, kept),
                Remains::Live | Remains::NamesLost | Remains::Torn(_) => file.live.clone(),
                Remains::Zeros => zeroed(file),
                Remains::Sectors(_) | Remains::Pages(_) => mixed(file, &state.stale, unit, &mut coin),
            };
            if is_segment(name) {
                planted::sign(state.lie, &mut content, &state.salts);
            }
            after.names.insert(name.clone(), after.inodes.len());
            let pending = Vec::new();
            after.inodes.push(Inode { live: content.clone(), durable: content, pending });
        }
        after.durable_names.clone_from(&after.names);
        after.salts.clone_from(&state.salts);
        after.stale.extend(state.gone(&names).map(|file| file.live.clone()));
        let surplus = after.stale.len().saturating_sub(STALE_MAX);
        after.stale.drain(..surplus);
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

    /// Files that no name leads to any more.
    fn gone(&self, names: &BTreeMap<String, usize>) -> impl Iterator<Item = &Inode> {
        let kept: BTreeSet<usize> = names.values().copied().collect();
        self.inodes.iter().enumerate().filter(move |(inode, _)| !kept.contains(inode)).map(|(_, file)| file)
    }

    fn rename(&mut self, naming: Naming) {
        name(&mut self.names, &naming);
        self.renames.push(naming);
    }

    fn change(&mut self, inode: usize, change: Change) {
        if self.lie != Lie::None && change.0 == 0 {
            self.salts.extend(planted::salt(&change.1));
        }
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
        state.rename(Naming::Create(name.to_owned(), inode));
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
            state.change(inode, Change(offset, bytes[..bytes.len() / 2].to_vec()));
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.change(inode, Change(offset, bytes.to_vec()));
        if dies { Err(power()) } else { Ok(()) }
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let used = self.bytes();
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        let (inode, len) = (state.inode(name)?, usize::try_from(len).unwrap());
        let room = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        state.change(inode, Change(0, vec![0; len.min(room)]));
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
        state.inode(from)?;
        state.rename(Naming::Rename(from.to_owned(), to.to_owned()));
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
        let skipped = match state.lie {
            Lie::Sync => is_segment(name),
            Lie::Cursor => name.starts_with("cursor"),
            Lie::Draw => {
                state.inodes[inode].pending.iter().any(|Change(_, bytes)| planted::stands_for_others(bytes))
            }
            Lie::None | Lie::SyncDir | Lie::Salt | Lie::Checksum => false,
        };
        if !skipped {
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
        let (lie, renames) = (state.lie, std::mem::take(&mut state.renames));
        for naming in renames {
            let kept = match &naming {
                Naming::Create(name, _) | Naming::Rename(_, name) => lie != Lie::SyncDir || !is_segment(name),
                Naming::Remove(_) => true,
            };
            if kept {
                name(&mut state.durable_names, &naming);
            }
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let dies = state.begin()?;
        state.inode(name)?;
        state.rename(Naming::Remove(name.to_owned()));
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

fn apply(content: &mut Vec<u8>, Change(offset, bytes): &Change) {
    content.resize(content.len().max(offset + bytes.len()), 0);
    content[*offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Changes a directory; what has no source any more changes nothing.
fn name(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
        Naming::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Naming::Remove(name) => drop(names.remove(name)),
    }
}

fn torn(file: &Inode, kept: usize) -> Vec<u8> {
    let mut content = file.durable.clone();
    let (last, earlier) = file.pending.split_last().unwrap();
    for change in earlier {
        apply(&mut content, change);
    }
    apply(&mut content, &Change(last.0, last.1[..kept.min(last.1.len())].to_vec()));
    content
}

/// Some of the changes to the directory, in their order.
fn some_names(state: &State, coin: &mut Coin) -> BTreeMap<String, usize> {
    let mut names = state.durable_names.clone();
    for naming in &state.renames {
        if coin.below(2) == 0 {
            name(&mut names, naming);
        }
    }
    names
}

/// What lies behind the durable end was never written.
fn zeroed(file: &Inode) -> Vec<u8> {
    let mut content = file.durable.clone();
    content.resize(file.live.len(), 0);
    content
}

/// The length of one image, and each unit that differs from the one, the other, half of each, zero or stale.
fn mixed(file: &Inode, stale: &[Vec<u8>], unit: usize, coin: &mut Coin) -> Vec<u8> {
    if file.pending.is_empty() {
        return file.durable.clone();
    }
    let (live, durable) = (&file.live, &file.durable);
    let len = if coin.below(4) == 0 { durable.len() } else { live.len() };
    let mut content = live.clone();
    content.truncate(len);
    for (index, place) in content.chunks_mut(unit).enumerate() {
        let from = index * unit;
        if part(live, from, unit) == part(durable, from, unit) {
            continue;
        }
        let is_new = from >= durable.len();
        match coin.below(6) {
            0 if is_new && from >= FRAMES_OFFSET && !stale.is_empty() => {
                let old = &stale[usize::try_from(coin.below(stale.len() as u64)).unwrap()];
                fill(place, part(old, from, unit));
            }
            0 | 1 if is_new => place.fill(0),
            0 | 1 => fill(place, part(durable, from, unit)),
            2 => {
                let kept = usize::try_from(coin.below(unit as u64)).unwrap().min(place.len());
                fill(&mut place[kept..], part(durable, from + kept, unit - kept));
            }
            _ => {}
        }
    }
    content
}

fn fill(place: &mut [u8], bytes: &[u8]) {
    let kept = bytes.len().min(place.len());
    place[..kept].copy_from_slice(&bytes[..kept]);
    place[kept..].fill(0);
}

fn part(content: &[u8], from: usize, unit: usize) -> &[u8] {
    let from = from.min(content.len());
    &content[from..content.len().min(from + unit)]
}

/// What the planted bugs need to know of the format.
mod planted {
    use std::collections::BTreeSet;

    use super::{FRAMES_OFFSET, Lie};

    const FRAME_HEADER: usize = 24;

    /// The salt in what is written to the beginning of a segment.
    pub(crate) fn salt(bytes: &[u8]) -> Option<u64> {
        bytes.starts_with(b"TGOUTSEG").then(|| u64::from_le_bytes(bytes[16..24].try_into().unwrap()))
    }

    /// Whether a write brings a record that stands for others.
    pub(crate) fn stands_for_others(bytes: &[u8]) -> bool {
        bytes.windows(4).any(|word| word == b"SUMM")
    }

    /// Makes frames pass that a product with the bug would let pass.
    pub(crate) fn sign(lie: Lie, content: &mut [u8], salts: &BTreeSet<u64>) {
        let Some(salt) = salt(content).filter(|_| matches!(lie, Lie::Salt | Lie::Checksum)) else { return };
        let mut expected = u64::from_le_bytes(content[24..32].try_into().unwrap());
        let mut offset = FRAMES_OFFSET;
        while offset + FRAME_HEADER <= content.len() {
            let (kind, len) = (content[offset + 3], word(content, offset) & 0xff_ffff);
            let end = offset + FRAME_HEADER + 8 * usize::from(kind == 1) + len as usize;
            let seq = u64::from_le_bytes(content[offset + 8..offset + 16].try_into().unwrap());
            let plausible = kind <= 1 && len > 0 && end <= content.len() && seq == expected;
            let crc = word(content, offset + 4);
            let passes = plausible
                && match lie {
                    Lie::Checksum => true,
                    Lie::Salt => salts.iter().any(|&salt| crc == checksum(salt, &content[offset..end])),
                    Lie::None | Lie::Sync | Lie::SyncDir | Lie::Cursor | Lie::Draw => false,
                };
            if !passes {
                return;
            }
            let crc = checksum(salt, &content[offset..end]);
            content[offset + 4..offset + 8].copy_from_slice(&crc.to_le_bytes());
            (offset, expected) = (end, expected + 1);
        }
    }

    fn word(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    fn checksum(salt: u64, frame: &[u8]) -> u32 {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &frame[..4]);
        crc32c::crc32c_append(crc, &frame[8..])
    }
}
