//! A directory of the file system as the disk of the outbox.
//!
//! # Invariants
//! * A file that was written and not synced stays open: the kernel reports a failed write-back only to handles that were
//!   open when it happened.
//! * Nothing counts as synced that the next start would not find: a file that is not in its place any more is a failure.
//!
//! # Why
//! Writes go past the page cache (`O_DIRECT`) where the file system takes that: a sync then writes the sectors that changed
//! and not the pages around them, and a write that fails says so itself. Reads go through the cache.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, fstatvfs};
use rustix::io::Errno;

use crate::outbox::{Disk, DiskRead};

/// Name of the file that is locked while a directory is in use. It stays empty.
const LOCK_FILE: &str = "lock";

/// Files kept open: three lanes with the segment written and the one read, four small files, and some to spare.
const OPEN_MAX: usize = 16;

/// Unit of writes past the page cache on common media, and on those with longer sectors.
const UNITS: [u64; 2] = [512, 4096];

/// Written at once past the page cache: as much as common controllers take in one command.
const STAGE_BYTES: usize = 64 << 10;

/// What the memory of such a write starts at a multiple of.
const STAGE_ALIGN: usize = 4096;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there and cannot be made, or cannot be entered.
    #[error("open directory {}: check that it exists or can be made and belongs to this user", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("another tidegate uses {}: stop it, or give each a state_dir of its own", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
}

/// A directory of this process alone, with files that only its user can read.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Open for syncing names.
    handle: File,
    /// Keeps the lock until drop.
    _lock: File,
    open: BTreeMap<String, OpenFile>,
    /// Which of [`UNITS`] the file system takes; behind them all, none.
    unit: usize,
    stage: Stage,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    /// The same file, past the page cache; opened for the first write.
    direct: Option<File>,
    /// Written and not synced.
    dirty: bool,
}

impl Directory {
    /// Opens a directory for one process, and makes it (mode 0700) where it is missing.
    ///
    /// # Errors
    /// When it cannot be made or entered, or another process uses it.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Open { path: path.to_owned(), source };
        let is_new = !path.try_exists().map_err(failed)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        if is_new {
            sync_parent(path).map_err(failed)?;
        }
        let handle = File::open(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = open_plain(&mut options, &path.join(LOCK_FILE)).map_err(failed)?;
        let locked =
            flock(&lock, FlockOperation::NonBlockingLockExclusive).and_then(|()| lock_directory(&handle));
        match locked {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                handle,
                _lock: lock,
                open: BTreeMap::new(),
                unit: 0,
                stage: Stage::default(),
            }),
            Err(Errno::WOULDBLOCK) => Err(DirectoryError::Busy { path: path.to_owned() }),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut OpenFile> {
        if !self.open.contains_key(name) {
            let file = open_plain(OpenOptions::new().read(true).write(true), &self.path.join(name))?;
            self.keep(name, file);
        }
        self.open.get_mut(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn keep(&mut self, name: &str, file: File) {
        if self.open.len() >= OPEN_MAX {
            let clean = self.open.iter().find(|(_, open)| !open.dirty).map(|(name, _)| name.clone());
            if let Some(clean) = clean {
                self.open.remove(&clean);
            }
        }
        let path = self.path.join(name);
        self.open.insert(name.to_owned(), OpenFile { file, path, direct: None, dirty: false });
    }

    /// Writes past the page cache. `false` when that cannot be done with this range or this file system.
    fn write_direct(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        while let Some(&unit) = UNITS.get(self.unit) {
            if !offset.is_multiple_of(unit) || !(bytes.len() as u64).is_multiple_of(unit) {
                return Ok(false);
            }
            let Self { open, stage, .. } = self;
            let Some(open) = open.get_mut(name) else { return Ok(false) };
            match open.write_direct(stage, offset, bytes) {
                Err(e) if is_unsupported(&e) => self.unit += 1,
                written => return written.and(Ok(true)),
            }
        }
        Ok(false)
    }
}

impl OpenFile {
    fn write_direct(&mut self, stage: &mut Stage, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.direct {
            Some(file) => file,
            none => {
                let flags = OFlags::DIRECT.bits().cast_signed();
                none.insert(OpenOptions::new().write(true).custom_flags(flags).open(&self.path)?)
            }
        };
        for (chunk, offset) in bytes.chunks(STAGE_BYTES).zip((offset..).step_by(STAGE_BYTES)) {
            file.write_all_at(stage.load(chunk), offset)?;
        }
        Ok(())
    }
}

/// Memory for writes past the page cache: it has to start at the boundary of a page.
#[derive(Debug, Default)]
struct Stage(Vec<u8>);

impl Stage {
    /// A copy of at most [`STAGE_BYTES`].
    fn load(&mut self, bytes: &[u8]) -> &[u8] {
        self.0.resize(STAGE_BYTES + STAGE_ALIGN, 0);
        let start = self.0.as_ptr().align_offset(STAGE_ALIGN);
        let place = self.0.get_mut(start..).unwrap_or_default();
        for (target, byte) in place.iter_mut().zip(bytes) {
            *target = *byte;
        }
        place.get(..bytes.len()).unwrap_or_default()
    }
}

/// Whether the file system does not do this at all, or not in this unit.
fn is_unsupported(error: &io::Error) -> bool {
    let codes = [Errno::INVAL, Errno::OPNOTSUPP];
    codes.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl DiskRead for Directory {
    fn list(&mut self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        len(&self.path.join(name))
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self.file(name) {
            Ok(open) => read_at(&open.file, offset, into),
            // Of a directory that was moved away nothing is lost: it may come back.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                check_place(&self.handle, &self.path).and(Err(e))
            }
            Err(e) => Err(e),
        }
    }
}

impl Disk for Directory {
    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        self.keep(name, file);
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.dirty = true;
        if self.write_direct(name, offset, bytes)? {
            return Ok(());
        }
        self.file(name)?.file.write_all_at(bytes, offset)
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        match fallocate(&self.file(name)?.file, FallocateFlags::empty(), 0, len) {
            // Only asks for the room at once, in one piece.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let zeros = vec![0; STAGE_BYTES];
        let mut offset = 0;
        while offset < len {
            let bytes = usize::try_from(len - offset).unwrap_or(usize::MAX).min(STAGE_BYTES);
            self.write_at(name, offset, zeros.get(..bytes).unwrap_or_default())?;
            offset += bytes as u64;
        }
        Ok(())
    }

    fn unit(&mut self) -> u64 {
        UNITS.get(self.unit).or(UNITS.first()).copied().unwrap_or(1)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let open = self.file(name)?;
        open.file.sync_data()?;
        check_place(&open.file, &open.path)?;
        open.dirty = false;
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.handle.sync_all()?;
        check_place(&self.handle, &self.path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))?;
        self.open.remove(to);
        if let Some(open) = self.open.remove(from) {
            let path = self.path.join(to);
            self.open.insert(to.to_owned(), OpenFile { path, ..open });
        }
        Ok(())
    }

    fn free_bytes(&mut self) -> io::Result<u64> {
        let file_system = fstatvfs(&self.handle)?;
        Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.open.remove(name);
        Ok(())
    }
}

/// A directory as it is, for looking only: takes no lock and changes nothing, also while the service runs.
#[derive(Debug)]
pub struct DirectoryView {
    path: PathBuf,
}

impl DirectoryView {
    /// Looks at a directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        match std::fs::read_dir(path) {
            Ok(_) => Ok(Self { path: path.to_owned() }),
            Err(source) => Err(DirectoryError::Open { path: path.to_owned(), source }),
        }
    }
}

impl DiskRead for DirectoryView {
    fn list(&mut self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        len(&self.path.join(name))
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        read_at(&open_plain(OpenOptions::new().read(true), &self.path.join(name))?, offset, into)
    }
}

/// Opens a plain file. A pipe in its place is an error, and is not waited for.
fn open_plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(not_plain())
}

/// All names in UTF-8; others are not ours. What stands under a name of ours and is no plain file fails when it is opened.
fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Length of a plain file, which needs not be opened for it.
fn len(path: &Path) -> io::Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(not_plain()) }
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")
}

fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, e));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Locks the directory itself as well, so that whoever deletes the file with the lock does not let a second process in. File
/// systems that cannot do it have the lock of the file.
fn lock_directory(handle: &File) -> Result<(), Errno> {
    match flock(handle, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Errno::WOULDBLOCK),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether an open file is still the one that its path leads to.
fn check_place(file: &File, path: &Path) -> io::Result<()> {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let found = std::fs::metadata(path).map(place);
    if found.is_ok_and(|found| file.metadata().map(place).is_ok_and(|open| open == found)) {
        return Ok(());
    }
    let why = "it was moved, deleted or replaced while in use";
    Err(io::Error::other(why))
}

/// Makes the name of a new directory durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::{ClockQuality, EventTime, UtcTime};
    use crate::outbox::{Appended, Lane, Outbox, OutboxConfig, Seq};

    const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

    #[test]
    fn a_second_process_is_told_who_is_there() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state/outbox");
        let first = Directory::open(&path).unwrap();
        let second = Directory::open(&path).unwrap_err();
        assert!(
            second.to_string().starts_with(&format!("another tidegate uses {}:", path.display())),
            "{second}"
        );
        // Deleted as a stale one: a second gateway came in, and both wrote the same segments.
        std::fs::remove_file(path.join(LOCK_FILE)).unwrap();
        assert!(matches!(Directory::open(&path), Err(DirectoryError::Busy { .. })));
        drop(first);
        Directory::open(&path).unwrap();
    }

    /// Files of the outbox deleted, or all of it moved away, under a running service: it went on in files that no start
    /// would find, and called that durable.
    #[test]
    fn what_no_start_would_find_is_not_durable() {
        let temporary = tempfile::tempdir().unwrap();
        let (path, moved) = (temporary.path().join("outbox"), temporary.path().join("moved"));
        let open =
            || Outbox::open(Directory::open(&path).unwrap(), OutboxConfig::default(), 1, NO_CLOCK).unwrap();
        let segments = || {
            let files = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|file| file.extension().is_some()).collect::<Vec<_>>()
        };
        let mut outbox = open().outbox;
        let store = |outbox: &mut Outbox<Directory>| {
            assert!(matches!(outbox.append(Lane::Normal, b"hello", EventTime(5)), Ok(Appended::Stored(_))));
            outbox.sync()
        };
        store(&mut outbox).unwrap();
        for file in segments() {
            std::fs::remove_file(file).unwrap();
        }
        store(&mut outbox).unwrap_or_else(|_| assert!(outbox.mend(), "it goes into another file"));
        assert_eq!(outbox.durable(Lane::Normal), Seq(2));

        std::fs::rename(&path, &moved).unwrap();
        store(&mut outbox).unwrap_err();
        std::fs::create_dir(&path).unwrap();
        assert!(!outbox.mend(), "in a directory that is not locked nothing counts");
        assert_eq!(outbox.durable(Lane::Normal), Seq(2));
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&moved, &path).unwrap();
        assert!(outbox.mend());
        assert_eq!(outbox.durable(Lane::Normal), Seq(3));
        drop(outbox);
        assert!((2..=3).contains(&open().recovered.records), "the first was deleted, maybe");
    }

    /// A pipe in the place of a file of the outbox: `tidegate run` waited for ever at the lock and `tidegate outbox
    /// verify` at the other files, without a word. Whatever is no plain file is now an error that names it.
    #[test]
    fn a_pipe_or_a_device_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let pipe = |name: &str| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path.join(name), rustix::fs::Mode::from(0o600)).unwrap();
        };
        pipe("epoch");
        std::os::unix::fs::symlink("/dev/zero", path.join("cursor-bulk")).unwrap();
        let mut directory = Directory::open(path).unwrap();
        let mut view = DirectoryView::open(path).unwrap();
        for name in ["epoch", "cursor-bulk"] {
            for result in [directory.read_at(name, 0, &mut [0; 8]), view.read_at(name, 0, &mut [0; 8])] {
                assert_eq!(result.unwrap_err().to_string(), "not a plain file", "{name}");
            }
        }
        drop(directory);
        std::fs::remove_file(path.join(LOCK_FILE)).unwrap();
        pipe(LOCK_FILE);
        assert!(matches!(Directory::open(path), Err(DirectoryError::Open { .. })));
    }

    /// A folder (or a link, or a pipe) with the name of the next segment was overlooked at the start, and then every new
    /// record was refused because the name was taken, for ever. It is refused at the start now; a link to a plain file
    /// is that file.
    #[test]
    fn what_stands_in_the_way_of_a_segment_is_told_at_the_start() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("outbox");
        let open = || Outbox::open(Directory::open(&path).unwrap(), OutboxConfig::default(), 1, NO_CLOCK);
        let store = |outbox: &mut Outbox<Directory>| {
            let appended = outbox.append(Lane::Normal, b"hello", EventTime(5)).unwrap();
            assert!(matches!(appended, Appended::Stored(_)));
            outbox.sync().unwrap();
        };
        store(&mut open().unwrap().outbox);
        let (segment, moved) = (path.join("normal-00000000000000000001.seg"), temporary.path().join("moved"));
        std::fs::rename(&segment, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &segment).unwrap();
        let mut opened = open().unwrap();
        assert_eq!(opened.recovered.records, 1);
        store(&mut opened.outbox);
        drop(opened);
        std::fs::create_dir(path.join("normal-00000000000000000003.seg")).unwrap();
        assert!(open().unwrap_err().to_string().contains("normal-00000000000000000003.seg"));
    }

    #[test]
    fn records_survive_on_a_real_file_system_and_only_their_user_can_read_them() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("outbox");
        let open =
            || Outbox::open(Directory::open(&path).unwrap(), OutboxConfig::default(), 1, NO_CLOCK).unwrap();
        let mut outbox = open().outbox;
        let appended = outbox.append(Lane::Normal, b"hello", EventTime(5)).unwrap();
        assert_eq!(appended, Appended::Stored(Seq(1)));
        outbox.sync().unwrap();
        drop(outbox);
        let mut opened = open();
        assert_eq!(opened.recovered.records, 1);
        assert_eq!(opened.outbox.epoch(), 2);
        let mut records = Vec::new();
        opened.outbox.read(Lane::Normal, Seq(1), Seq(u64::MAX), 10, 1000, &mut records).unwrap();
        assert_eq!(records[0].payload, b"hello");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for name in DirectoryView::open(&path).unwrap().list().unwrap() {
            let mode = std::fs::metadata(path.join(&name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }
}
