//! The unit file agrees with the default configuration and with the program.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::BTreeMap;

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
    let budget = config.budget.memory.0 >> 20;
    assert!((budget + 32..=budget * 2).contains(&number("MemoryMax")), "{budget}");
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

#[test]
fn configuration_faults_are_not_retried_and_cores_are_not_kept() {
    assert_eq!(unit()["RestartPreventExitStatus"], "78");
    assert_eq!(unit()["LimitCORE"], "0");
    assert_eq!(unit()["Type"], "notify");
}
