//! Memory of this process.

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, malformed, read};
use crate::units::Bytes;

/// Memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// All resident pages (`VmRSS`), the program's own files included.
    pub resident: Bytes,
    /// Resident pages no file backs (`RssAnon`): heap and stacks; `None` before Linux 4.5.
    pub anonymous: Option<Bytes>,
}

impl Sysfs {
    /// Memory of this process.
    pub fn process_memory(&self) -> Result<ProcessMemory, SysfsError> {
        let path = self.path("proc/self/status");
        let text = read(&path)?;
        let resident = field(&text, "VmRSS").ok_or_else(|| malformed(&path, &text, "a line VmRSS in kB"))?;
        Ok(ProcessMemory { resident, anonymous: field(&text, "RssAnon") })
    }
}

/// The value of a line `name:   123 kB`.
fn field(text: &str, name: &str) -> Option<Bytes> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024).map(Bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::sysfs::test_tree::tree;

    #[test]
    fn memory_is_read_in_kibibytes() {
        let status =
            b"Name:\ttidegate\nVmHWM:\t  9999 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nThreads:\t4\n";
        let (_root, sysfs) = tree(&[("proc/self/status", status)]);
        let memory = sysfs.process_memory().unwrap();
        assert_eq!(memory, ProcessMemory { resident: Bytes(2 << 20), anonymous: Some(Bytes(1 << 20)) });
        for garbage in [
            &b""[..],
            b"VmRSS: many kB\n",
            b"VmRSS: 3 MB\n",
            b"VmRSS: 99999999999999999999 kB\n",
            b"\xff\xfe",
        ] {
            let (_root, sysfs) = tree(&[("proc/self/status", garbage)]);
            assert!(matches!(sysfs.process_memory(), Err(SysfsError::Malformed { .. })));
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let memory = Sysfs::at(Path::new("/")).process_memory().unwrap();
        assert!(memory.resident > Bytes(1 << 20));
    }
}
