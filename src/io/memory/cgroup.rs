//! The control group of this process and those above it, version 2 or 1 of the kernel's interface.
//!
//! A limit anywhere on the way up to the root kills just as one of our own, so all of them are read, and the one that is
//! nearest counts.

use std::path::{Component, Path, PathBuf};

use crate::flow::GroupMemory;
use crate::io::memory::kernel_file::{named, number, text};
use crate::io::memory::pressure::some_avg10;
use crate::units::{Bytes, Ratio};

/// Most groups on the way up that are looked at; systemd makes about six.
const DEPTH_MAX: usize = 16;

/// Version 1 writes a number near 2⁶³ where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// One group: its folder and how its files are named.
pub(crate) struct Group {
    folder: PathBuf,
    interface: Interface,
}

#[derive(Clone, Copy)]
enum Interface {
    V1,
    V2,
}

/// What one group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    used: u64,
    max: Option<u64>,
    high: Option<u64>,
}

/// The group of this process, then those above it; empty where there is none with an account of memory.
pub(crate) fn own_groups(root: &Path) -> Vec<Group> {
    let Some(membership) = text(&root.join("proc/self/cgroup")) else { return Vec::new() };
    // Lines of hierarchy:controllers:path. Where version 1 has the memory controller, version 2 has none.
    let fields = |line: &'_ str| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        Some((fields.next()?, fields.next()?))
    };
    let lines: Vec<_> = membership.lines().filter_map(fields).collect();
    let holds_memory = |controllers: &str| controllers.split(',').any(|controller| controller == "memory");
    let (interface, mounts, path) = if let Some((_, path)) = lines.iter().find(|(word, _)| holds_memory(word))
    {
        (Interface::V1, &["sys/fs/cgroup/memory"][..], path)
    } else if let Some((_, path)) = lines.iter().find(|(word, _)| word.is_empty()) {
        (Interface::V2, &["sys/fs/cgroup", "sys/fs/cgroup/unified"][..], path)
    } else {
        return Vec::new();
    };
    mounts
        .iter()
        .map(|mount| on_the_way_up(&root.join(mount), path, interface))
        .find(|groups| !groups.is_empty())
        .unwrap_or_default()
}

/// The folders from a group up to the mount that account for memory. In a container the path may be one of the outside:
/// what is not there is left out, and the mount itself is the container's group.
fn on_the_way_up(mount: &Path, path: &str, interface: Interface) -> Vec<Group> {
    let names: Vec<_> = Path::new(path)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        })
        .take(DEPTH_MAX)
        .collect();
    let folder = |depth: usize| mount.join(names.iter().take(depth).collect::<PathBuf>());
    let groups = (0..=names.len()).rev().map(|depth| Group { folder: folder(depth), interface });
    groups.filter(|group| group.limits().is_some()).collect()
}

impl Group {
    /// Share of the last ten seconds in which some task of the group waited for memory; version 2 only.
    pub(crate) fn pressure(&self) -> Option<Ratio> {
        some_avg10(&self.folder.join("memory.pressure"))
    }

    fn file(&self, v2: &str, v1: &str) -> PathBuf {
        self.folder.join(match self.interface {
            Interface::V2 => v2,
            Interface::V1 => v1,
        })
    }

    fn limits(&self) -> Option<Limits> {
        let taken = number(&self.file("memory.current", "memory.usage_in_bytes"))?;
        let stat = text(&self.folder.join("memory.stat")).unwrap_or_default();
        // Version 1 counts the groups below apart; `total_` includes them, as version 2 does.
        let inactive = match self.interface {
            Interface::V2 => named(&stat, "inactive_file"),
            Interface::V1 => named(&stat, "total_inactive_file"),
        };
        let max = number(&self.file("memory.max", "memory.limit_in_bytes"));
        let high = match self.interface {
            Interface::V2 => number(&self.folder.join("memory.high")),
            Interface::V1 => None,
        };
        let limit = |limit: &u64| *limit < NO_LIMIT;
        Some(Limits {
            used: taken.saturating_sub(inactive.unwrap_or(0)),
            max: max.filter(limit),
            high: high.filter(limit),
        })
    }

    /// Times the limit was met, and processes killed.
    fn events(&self) -> (u64, u64) {
        let text = |file: &str| text(&self.folder.join(file)).unwrap_or_default();
        match self.interface {
            Interface::V2 => {
                let events = text("memory.events");
                let count = |name| named(&events, name).unwrap_or(0);
                (count("max"), count("oom_kill"))
            }
            Interface::V1 => (
                number(&self.folder.join("memory.failcnt")).unwrap_or(0),
                named(&text("memory.oom_control"), "oom_kill").unwrap_or(0),
            ),
        }
    }
}

/// What counts of all of them: use and limit of the group that is nearest to its limit, and the soft limit that is
/// nearest, told as if it were a limit of that group. `None` without any limit. Groups above may count others too.
pub(crate) fn tightest(groups: &[Group]) -> Option<GroupMemory> {
    let limits: Vec<Limits> = groups.iter().filter_map(Group::limits).collect();
    let room = |limits: &Limits, limit: Option<u64>| Some(limit?.saturating_sub(limits.used));
    let own = *limits.first()?;
    let nearest = limits.iter().filter(|group| group.max.is_some());
    let nearest = nearest.min_by_key(|group| room(group, group.max)).copied().unwrap_or(own);
    let high = limits.iter().filter_map(|group| room(group, group.high)).min();
    if nearest.max.is_none() && high.is_none() {
        return None;
    }
    let (refused, killed) = groups.first().map(Group::events)?;
    Some(GroupMemory {
        used: Bytes(nearest.used),
        max: nearest.max.map(Bytes),
        high: high.map(|room| Bytes(nearest.used.saturating_add(room))),
        refused,
        killed,
    })
}
