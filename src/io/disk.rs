//! A directory of the file system as the disk of the outbox.
//!
//! # Invariants
//! A file that was written and not synced stays open: the kernel reports a failed write-back only to handles that were open
//! when it happened.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::outbox::{Disk, DiskRead};

/// Name of the file that is locked while a directory is in use. It stays empty.
const LOCK_FILE: &str = "lock";

/// Files kept open: three lanes with the segment written and the one read, four small files, and some to spare.
const OPEN_MAX: usize = 16;

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
}

#[derive(Debug)]
struct OpenFile {
    file: File,
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
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), handle, _lock: lock, open: BTreeMap::new() }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::Busy { path: path.to_owned() }),
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
        self.open.insert(name.to_owned(), OpenFile { file, dirty: false });
    }
}

impl DiskRead for Directory {
    fn list(&mut self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn len(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.file.metadata()?.len())
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        read_at(&self.file(name)?.file, offset, into)
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
        let open = self.file(name)?;
        open.dirty = true;
        open.file.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let open = self.file(name)?;
        open.dirty = true;
        open.file.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let open = self.file(name)?;
        open.file.sync_data()?;
        open.dirty = false;
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.handle.sync_all()
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
        Ok(std::fs::metadata(self.path.join(name))?.len())
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
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
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

fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, e));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
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
    use crate::clock::EventTime;
    use crate::outbox::{Appended, Lane, Outbox, OutboxConfig, Seq};

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
        drop(first);
        Directory::open(&path).unwrap();
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
        let open = || Outbox::open(Directory::open(&path).unwrap(), OutboxConfig::default(), 1);
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
        let open = || Outbox::open(Directory::open(&path).unwrap(), OutboxConfig::default(), 1).unwrap();
        let mut outbox = open().outbox;
        let appended = outbox.append(Lane::Normal, b"hello", EventTime(5)).unwrap();
        assert_eq!(appended, Appended::Stored(Seq(1)));
        outbox.sync().unwrap();
        drop(outbox);
        let mut opened = open();
        assert_eq!(opened.recovered.records, 1);
        assert_eq!(opened.outbox.epoch(), 2);
        let mut records = Vec::new();
        opened.outbox.read(Lane::Normal, Seq(1), 10, 1000, &mut records).unwrap();
        assert_eq!(records[0].payload, b"hello");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for name in DirectoryView::open(&path).unwrap().list().unwrap() {
            let mode = std::fs::metadata(path.join(&name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }
}
