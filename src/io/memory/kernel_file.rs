//! Small files of the kernel as text and as lines of a name and a number.

use std::path::Path;

use crate::io::files::read_at_once;

/// Longest file read: `memory.stat`, the longest of them, has about 60 lines.
const FILE_MAX: u64 = 16 << 10;

/// The text; `None` where it is not there or cannot be read.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = read_at_once(path, FILE_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number a file consists of.
pub(crate) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The number behind a name at the beginning of a line.
pub(crate) fn named(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}
