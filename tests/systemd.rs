//! The unit file agrees with the default configuration and with the program.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tidegate::board::{Profile, builtin};
use tidegate::config::{Config, DEFAULT_CONFIG};
use tidegate::runtime::{ADMISSION_SECONDS, DRAIN_TOTAL};
use tidegate::telemetry::Task;

fn unit() -> BTreeMap<String, String> {
    let text = include_str!("../systemd/tidegate.service");
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn number(key: &str) -> u64 {
    let text = unit()[key].clone();
    text.trim_end_matches('M').parse().unwrap()
}

#[test]
fn memory_limit_leaves_room_above_the_budget() {
    let config = Config::parse(DEFAULT_CONFIG).unwrap();
    let built_in = ("built in", config.budget.memory);
    let boards =
        builtin().into_iter().map(|(name, text)| (name, Profile::parse(text).unwrap().budget.memory));
    for (name, budget) in boards.chain([built_in]) {
        assert!((budget.0 >> 20) + 32 <= number("MemoryMax"), "{name}: {budget}");
    }
    assert!(number("MemoryMax") <= 2 * (built_in.1.0 >> 20), "a limit that limits nothing");
}

#[test]
fn watchdog_waits_longer_than_the_longest_allowed_silence() {
    let longest = Task::ALL.map(Task::silence_max).into_iter().max().unwrap().as_secs();
    assert!(number("WatchdogSec") >= 2 * longest, "{longest}");
}

#[test]
fn starting_may_take_as_long_as_the_examination_of_several_models() {
    assert!(number("TimeoutStartSec") >= 8 * u64::from(ADMISSION_SECONDS));
    assert_eq!(unit()["StartLimitIntervalSec"], "0", "an unattended gateway is never given up");
}

#[test]
fn stopping_may_take_as_long_as_the_drain() {
    assert!(number("TimeoutStopSec") > DRAIN_TOTAL.as_secs());
}

/// Names of the threads the service starts, as its sources spell them.
fn threads(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Other commands and tests have threads of their own.
        if path.ends_with("runtime/commands") || path.to_string_lossy().ends_with("tests.rs") {
            continue;
        }
        if path.is_dir() {
            threads(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            found.extend(text.split('"').filter(|word| word.starts_with("tg-")).map(str::to_owned));
        }
    }
}

#[test]
fn every_thread_finds_room_below_the_limit_of_tasks() {
    let mut named = BTreeSet::new();
    for room in ["io", "runtime"] {
        threads(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut named);
    }
    assert!(named.contains("tg-lines") && named.contains("tg-load"), "{named:?}");
    // The main one, two that models hold for ever, the child that examines a model.
    let at_once = named.len() as u64 + 4;
    // As many again for names that are looked up, each on a thread that may be slow to return.
    assert!(number("TasksMax") >= 2 * at_once, "{at_once} at once");
}

#[test]
fn the_sandbox_hides_nothing_the_governor_reads() {
    let unit = unit();
    // /proc/meminfo and /proc/pressure; /sys/class; the control group of the service.
    for hiding in ["ProcSubset", "InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "RootImage"] {
        assert!(!unit.contains_key(hiding), "{hiding}");
    }
    for readable in ["ProtectKernelTunables", "ProtectControlGroups"] {
        assert_eq!(unit[readable], "yes", "{readable}: anything else may take it away altogether");
    }
}

#[test]
fn devices_are_hidden_but_for_the_drop_in() {
    let drop_in = include_str!("../systemd/hardware.conf");
    assert_eq!(unit()["PrivateDevices"], "yes");
    for line in [
        "PrivateDevices=no",
        "DevicePolicy=closed",
        "DeviceAllow=char-i2c rw",
        "DeviceAllow=char-gpiochip rw",
        "SupplementaryGroups=i2c gpio",
        "# DeviceAllow=/dev/watchdog0 rw",
    ] {
        assert!(drop_in.lines().any(|known| known == line), "{line}");
    }
}

#[test]
fn configuration_faults_are_not_retried_and_cores_are_not_kept() {
    assert_eq!(unit()["RestartPreventExitStatus"], "78");
    assert_eq!(unit()["LimitCORE"], "0");
    assert_eq!(unit()["Type"], "notify");
}
