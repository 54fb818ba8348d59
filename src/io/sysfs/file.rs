//! One small file: its text, its number, or why not.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::io::files::read_at_once;

/// Longest file read: sysfs gives at most a page, `/proc/self/status` less than two.
const FILE_MAX: u64 = 64 << 10;

/// Why a file of the kernel could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SysfsError {
    /// It is there and cannot be read: no permission, or its driver failed.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("understand {}: found {found:?}, expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// How it begins.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
}

/// The text of a file, with what is not UTF-8 replaced. Everything waits for it, so it waits for nothing.
pub(in crate::io::sysfs) fn read(path: &Path) -> Result<String, SysfsError> {
    let bytes = read_at_once(path, FILE_MAX);
    let bytes = bytes.map_err(|source| SysfsError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same; `None` where there is no such file.
pub(in crate::io::sysfs) fn read_if_present(path: &Path) -> Result<Option<String>, SysfsError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(SysfsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number a file consists of.
pub(in crate::io::sysfs) fn number<T: FromStr>(path: &Path, expected: &'static str) -> Result<T, SysfsError> {
    let text = read(path)?;
    text.trim().parse().map_err(|_| malformed(path, &text, expected))
}

/// Says what was found in place of what was expected.
pub(in crate::io::sysfs) fn malformed(path: &Path, found: &str, expected: &'static str) -> SysfsError {
    SysfsError::Malformed { path: path.to_owned(), found: found.chars().take(40).collect(), expected }
}
