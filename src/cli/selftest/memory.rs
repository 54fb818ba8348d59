//! Memory: of the board, of the control group, and whether the kernel tells of pressure.

use std::path::Path;

use crate::board::Profile;
use crate::cli::selftest::board::unreadable;
use crate::cli::selftest::finding::Finding;
use crate::io::admission::chain;
use crate::io::memory::read_memory;
use crate::io::sysfs::Sysfs;

/// What the governor hears of memory, and whether the clock is set.
pub(in crate::cli::selftest) fn examine(profile: &Profile, root: &Path) -> Vec<Finding> {
    let sysfs = Sysfs::at(root);
    let found = read_memory(root);
    let process = match sysfs.process_memory() {
        Ok(_) => Finding::ok("memory of this process", found.used.to_string()),
        Err(error) => {
            let why = format!("{}: the heap alone is counted", chain(&error));
            Finding::absent("memory of this process", why)
        }
    };
    let least = profile.memory.map_or(String::new(), |memory| format!(", of {memory} at least"));
    let system = match found.available {
        Some(available) => Finding::ok("memory of the system", format!("{available} available{least}")),
        None => Finding::absent("memory of the system", "hidden (ProcSubset=pid): the control group tells"),
    };
    let group = match found.group {
        Some(group) => {
            let limit = group.max.map_or("no limit".to_owned(), |max| format!("limit {max}"));
            Finding::ok("control group", format!("{} used, {limit}, {} kills", group.used, group.killed))
        }
        None => Finding::absent("control group", "no limit of memory: budget.memory alone counts"),
    };
    let pressure = match found.stalled {
        Some(share) => {
            Finding::ok("memory pressure", format!("{:.1} % of the last 10 s", share.get() * 100.0))
        }
        None => {
            Finding::absent("memory pressure", "the kernel does not tell (psi=1): limits are watched without")
        }
    };
    let clock = match sysfs.time_synchronized() {
        Ok(true) => Finding::ok("clock", "set from the network"),
        Ok(false) => {
            Finding::absent("clock", "no time service has confirmed it: events say so until one has")
        }
        Err(error) => unreadable("clock", &error),
    };
    vec![process, system, group, pressure, clock]
}
