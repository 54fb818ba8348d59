//! Small text files: configuration, secrets, board profiles. Never read without a limit.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Longest configuration or profile: a thousand streams fit ten times.
pub const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Longest secret: a password, not a document.
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// Longest file of certificates: the bundle of a distribution, with every public authority, has 220 KiB.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is longer than such a file can be.
    #[error("read {}: longer than {limit} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// It is a folder, a pipe or a device.
    #[error("read {}: not a plain file", path.display())]
    NotPlain {
        /// Which file.
        path: PathBuf,
    },
    /// It is no text.
    #[error("read {}: not text in UTF-8", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
}

/// The text of a file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    read_limited(path, TEXT_BYTES_MAX)
}

/// The secret in a file, without the newline an editor leaves at its end.
pub fn read_secret(path: &Path) -> Result<String, FileError> {
    let bytes = read_bytes(path, SECRET_BYTES_MAX)?;
    let mut secret = String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.to_owned() })?;
    secret.truncate(secret.trim_end_matches(['\n', '\r']).len());
    Ok(secret)
}

/// The bytes of a file with certificates or a key.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, FileError> {
    read_bytes(path, PEM_BYTES_MAX)
}

/// Makes a folder, and those above it; one that holds something is left alone.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    match std::fs::read_dir(path).map_err(failed)?.next() {
        Some(_) => Err(failed(io::ErrorKind::DirectoryNotEmpty.into())),
        None => Ok(()),
    }
}

/// Writes a file, over one that is there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    std::fs::write(path, bytes).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Puts a file in the place of another, whole or not at all, and returns when it would survive a power cut.
///
/// For small state that changes seldom: a rename and two syncs. Its name must be free with `.new` behind it.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // A rest of an earlier attempt goes unopened: it may be a pipe, which would have to be waited for, or a link.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::create_new(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    File::open(folder)?.sync_all()
}

/// Makes a folder that only this user may enter, and those above it; one that is there is left as it is.
pub fn state_folder(path: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Opens a file for streaming.
pub fn open_file(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// The folders in a folder, by name; links to folders count as such.
pub fn list_folders(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read_error = |source| FileError::Read { path: path.to_owned(), source };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read_error)? {
        let entry = entry.map_err(read_error)?.path();
        if entry.is_dir() {
            folders.push(entry);
        }
    }
    folders.sort();
    Ok(folders)
}

/// Bytes of a file.
pub fn file_bytes(path: &Path) -> Result<u64, FileError> {
    let metadata = std::fs::metadata(path);
    metadata
        .map(|metadata| metadata.len())
        .map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// Opens for reading or writing what is there. Never waits for the other end of a pipe or for a device that is busy: what
/// would have to wait fails.
pub(crate) fn open_at_once(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    options.custom_flags(flags).open(path)
}

/// The beginning of a small file of the kernel, or of one that stands in for it. Waits for nobody: a pipe, or a driver that
/// would have to be waited for, did not answer.
pub(crate) fn read_at_once(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let silence = || io::Error::new(io::ErrorKind::WouldBlock, "did not answer");
    let file = open_at_once(path, OpenOptions::new().read(true))?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(silence());
    }
    let mut bytes = Vec::new();
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(silence()),
        Err(error) => Err(error),
    }
}

/// Reads a regular file, or fails if it is longer than `limit` bytes. Never waits for a pipe to be written to.
pub(crate) fn read_capped(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_at_once(path, OpenOptions::new().read(true))?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // A buffer that grows by doubling would take twice the file for a moment.
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(limit)).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The bytes of a plain file of at most this length.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let path = || path.to_owned();
    read_capped(&path(), limit).map_err(|source| {
        if source.kind() == io::ErrorKind::FileTooLarge {
            FileError::TooLong { path: path(), limit }
        } else if source.kind() == io::ErrorKind::InvalidInput {
            FileError::NotPlain { path: path() }
        } else {
            FileError::Read { path: path(), source }
        }
    })
}

/// Unlike the others it reads pipes: a configuration may come from another program.
fn read_limited(path: &Path, limit: u64) -> Result<String, FileError> {
    let read_error = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(read_error)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLong { path: path.to_owned(), limit });
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_its_newline_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " se cret \r\n").unwrap();
        assert_eq!(read_secret(&path).unwrap(), " se cret ");
    }

    /// The service reads secrets and certificates while it runs, on the task that does everything else. A pipe that
    /// nobody writes to stopped it for good, and /dev/zero as `ca_file` took a gigabyte in three seconds.
    #[test]
    fn secrets_and_certificates_are_plain_files_of_bounded_length() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, long] = ["pipe", "long"].map(|name| folder.path().join(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        File::create(&long).unwrap().set_len(1 << 30).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let expected = format!("read {}: not a plain file", path.display());
            assert_eq!(read_secret(path).unwrap_err().to_string(), expected);
            assert_eq!(read_pem(path).unwrap_err().to_string(), expected);
        }
        assert!(read_pem(&long).unwrap_err().to_string().ends_with("/long: longer than 1048576 bytes"));
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_rest_of_an_earlier_attempt_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join("x");
        assert!(replace_file(&path, b"1").unwrap_err().to_string().ends_with("/state/x"));
        state_folder(path.parent().unwrap()).unwrap();
        state_folder(path.parent().unwrap()).unwrap();
        for text in ["long text", "x", ""] {
            std::fs::write(folder.path().join("state/x.new"), "torn").unwrap();
            replace_file(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(read_text(&folder.path().join("state/x.new")).is_err());
    }

    /// A pipe there held up the thread of the state for good: orderly ends were taken for crashes.
    #[test]
    fn a_pipe_or_a_link_where_a_state_is_written_holds_up_nothing_and_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, fresh, other] = ["x", "x.new", "other"].map(|name| folder.path().join(name));
        for pipe in [&path, &fresh] {
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::RUSR).unwrap();
        }
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let at = path.clone();
        std::thread::spawn(move || done.send(replace_file(&at, b"1")).unwrap());
        ended.recv_timeout(std::time::Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(read_bytes(&path, 9).unwrap(), b"1");
        std::fs::write(&other, "another's").unwrap();
        std::os::unix::fs::symlink(&other, &fresh).unwrap();
        replace_file(&path, b"2").unwrap();
        assert_eq!(
            (read_bytes(&path, 9).unwrap(), read_text(&other).unwrap()),
            (b"2".to_vec(), "another's".into())
        );
    }

    #[test]
    fn absent_long_and_binary_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(read_text(&path).unwrap_err().to_string().ends_with("/x"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read_text(&path).unwrap_err().to_string().ends_with("/x: not text in UTF-8"));
        std::fs::write(&path, vec![b'a'; 4097]).unwrap();
        assert!(read_secret(&path).unwrap_err().to_string().ends_with("/x: longer than 4096 bytes"));
    }
}
