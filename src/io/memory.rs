//! What the kernel says of memory: of this process, of its control group and every one above it, of the whole system.
//!
//! # Invariants
//! * Everything lies below one root, so that tests and a recorded board can stand in for the real one.
//! * What the kernel does not offer, hides from a unit (`ProcSubset=pid`), or what cannot be understood is `None`: the
//!   budget of the process holds in any case, and a limit is never guessed.

mod cgroup;
mod kernel_file;
mod meminfo;
mod pressure;

use std::path::Path;

use crate::flow::MemoryReading;
use crate::io::sysfs::Sysfs;
use crate::units::{Bytes, Ratio};

/// Reads all of it: about a dozen small files.
pub fn read_memory(root: &Path) -> MemoryReading {
    let taken = Sysfs::at(root).process_memory();
    let used = taken.map_or(Bytes(0), |memory| memory.anonymous.unwrap_or(memory.resident));
    let groups = cgroup::own_groups(root);
    let own = groups.first().and_then(cgroup::Group::pressure);
    let stalled = [own, pressure::of_the_system(root)].into_iter().flatten().map(Ratio::get).reduce(f32::max);
    MemoryReading {
        used,
        group: cgroup::tightest(&groups),
        available: meminfo::available(root),
        stalled: stalled.and_then(Ratio::new),
    }
}

#[cfg(test)]
mod tests;
