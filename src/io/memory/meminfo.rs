//! What the whole system can still give.

use std::path::Path;

use crate::io::memory::kernel_file::text;
use crate::units::Bytes;

/// `MemAvailable`: what can be had without swapping; `None` before Linux 3.14 or where the file is hidden.
pub(crate) fn available(root: &Path) -> Option<Bytes> {
    let text = text(&root.join("proc/meminfo"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024).map(Bytes)
}
