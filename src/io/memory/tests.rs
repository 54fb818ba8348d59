//! Does the reading say what a real kernel's files say, whichever version, and nothing where they do not?

use std::fs;

use super::*;
use crate::flow::GroupMemory;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

const MIB: u64 = 1 << 20;
const UNIT: &str = "sys/fs/cgroup/system.slice/tidegate.service";

#[test]
fn version_2_is_read_with_the_cache_that_can_go_taken_off() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/system.slice/tidegate.service\n"),
        (&format!("{UNIT}/memory.current"), "104857600\n"),
        (&format!("{UNIT}/memory.max"), "268435456\n"),
        (&format!("{UNIT}/memory.high"), "201326592\n"),
        (&format!("{UNIT}/memory.stat"), "anon 52428800\nfile 52428800\ninactive_file 41943040\n"),
        (&format!("{UNIT}/memory.events"), "low 0\nhigh 3\nmax 2\noom 1\noom_kill 1\n"),
        (
            &format!("{UNIT}/memory.pressure"),
            "some avg10=12.50 avg60=0.00 avg300=0.00 total=5\nfull avg10=1.00\n",
        ),
        ("proc/pressure/memory", "some avg10=2.00 avg60=0.00 avg300=0.00 total=5\n"),
        ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable:     512 kB\n"),
        ("proc/self/status", "VmRSS:\t2048 kB\nRssAnon:\t1024 kB\n"),
    ]);
    let reading = read_memory(root.path());
    let group = GroupMemory {
        used: Bytes(60 * MIB),
        max: Some(Bytes(256 * MIB)),
        high: Some(Bytes(192 * MIB)),
        refused: 2,
        killed: 1,
    };
    assert_eq!(reading.group, Some(group));
    assert_eq!((reading.used, reading.available), (Bytes(MIB), Some(Bytes(512 << 10))));
    assert_eq!(reading.stalled.map(Ratio::get), Some(0.125), "the worse of the two");
}

#[test]
fn version_1_is_read_beside_an_empty_version_2() {
    let group = "sys/fs/cgroup/memory/box";
    let root = tree(&[
        ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box\n1:cpu:/\n0::/\n"),
        ("sys/fs/cgroup/unified/cgroup.procs", "1\n"),
        (&format!("{group}/memory.usage_in_bytes"), "50331648\n"),
        (&format!("{group}/memory.limit_in_bytes"), "67108864\n"),
        (&format!("{group}/memory.failcnt"), "17\n"),
        (&format!("{group}/memory.stat"), "inactive_file 1\ntotal_inactive_file 16777216\n"),
        (&format!("{group}/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "900000000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ]);
    let group =
        GroupMemory { used: Bytes(32 * MIB), max: Some(Bytes(64 * MIB)), high: None, refused: 17, killed: 4 };
    assert_eq!(read_memory(root.path()).group, Some(group));
}

#[test]
fn the_limit_that_is_nearest_on_the_way_up_counts() {
    let parent = "sys/fs/cgroup/system.slice";
    let root = tree(&[
        ("proc/self/cgroup", "0::/system.slice/tidegate.service\n"),
        (&format!("{UNIT}/memory.current"), &(100 * MIB).to_string()),
        (&format!("{UNIT}/memory.max"), &(256 * MIB).to_string()),
        (&format!("{UNIT}/memory.high"), &(180 * MIB).to_string()),
        (&format!("{parent}/memory.current"), &(480 * MIB).to_string()),
        (&format!("{parent}/memory.max"), &(512 * MIB).to_string()),
        (&format!("{parent}/memory.high"), "max\n"),
    ]);
    let group = read_memory(root.path()).group.unwrap();
    assert_eq!((group.used, group.max), (Bytes(480 * MIB), Some(Bytes(512 * MIB))), "32 MiB are left there");
    assert_eq!(group.high, Some(Bytes(560 * MIB)), "80 MiB are left to the soft limit of our own group");
}

#[test]
fn in_a_container_the_mount_is_the_group() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/../../outside/the/namespace\n"),
        ("sys/fs/cgroup/memory.current", "1048576\n"),
        ("sys/fs/cgroup/memory.max", "2097152\n"),
    ]);
    assert_eq!(read_memory(root.path()).group.unwrap().max, Some(Bytes(2 * MIB)));
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_no_number() {
    assert_eq!(read_memory(tree(&[]).path()), MemoryReading::default());
    for text in ["", "\n", "max\n", "-1\n", "99999999999999999999999\n", "many", "\u{0}"] {
        let root = tree(&[
            ("proc/self/cgroup", "0::/\n4:memory\nrubbish\n"),
            ("sys/fs/cgroup/memory.current", "1048576\n"),
            ("sys/fs/cgroup/memory.max", text),
            ("sys/fs/cgroup/memory.high", text),
            ("proc/meminfo", &format!("MemAvailable: {text} kB\n")),
            ("proc/pressure/memory", &format!("some avg10={text} avg60=0\n")),
        ]);
        assert_eq!(read_memory(root.path()), MemoryReading::default(), "{text:?}");
    }
}

#[test]
fn this_machine_can_be_read() {
    let reading = read_memory(Path::new("/"));
    assert!(reading.used > Bytes(0) && reading.available.is_none_or(|left| left > Bytes(0)));
    if let Some(group) = reading.group {
        assert!(group.used > Bytes(0) && (group.max.is_some() || group.high.is_some()));
    }
}
