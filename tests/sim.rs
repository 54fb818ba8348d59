//! The seeded simulation: the real cores of the gateway in a world of faults, single thread, no real time.
//!
//! One seed makes the configuration, the data, the faults and the order of everything; half an hour of faults, then
//! peace until all is delivered. `sim/check.rs` holds what must be true after every happening, `sim/model.rs` what
//! must have been delivered. A failure prints the seed; `SIM_SEED=… cargo test --test sim` runs it alone, and
//! `SIM_SEEDS=from..to` as many as one likes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic_in_result_fn,
    reason = "a test program"
)]

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[path = "sim/broker.rs"]
mod broker;
#[path = "sim/check.rs"]
mod check;
#[expect(dead_code, reason = "the crash tests of the outbox use more of it")]
#[path = "support/crash_disk.rs"]
mod crash_disk;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/gateway.rs"]
mod gateway;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/plant.rs"]
mod plant;
#[path = "sim/schedule.rs"]
mod schedule;
#[path = "sim/shells.rs"]
mod shells;
#[path = "sim/world.rs"]
mod world;

use tidegate::tally::DropReason;

use faults::Planted;
use world::{Summary, run};

/// Seeds of every run of the tests.
const SEEDS: u64 = 200;

/// Reasons for which the faults are meant to make the gateway drop something.
const MEANT: [DropReason; 12] = [
    DropReason::NonFinite,
    DropReason::Late,
    DropReason::Duplicate,
    DropReason::Stale,
    DropReason::QueueFull,
    DropReason::Budget,
    DropReason::ModelFailed,
    DropReason::Unchanged,
    DropReason::RateLimit,
    DropReason::OutboxFull,
    DropReason::OutboxReject,
    DropReason::Expired,
];

/// Says how to repeat a run that panics.
struct Repeat(u64);

#[expect(clippy::print_stdout, reason = "what the test harness shows of a failed test")]
impl Drop for Repeat {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("SIM_SEED={} cargo test --test sim", self.0);
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed..seed + 1;
    }
    let range = env::var("SIM_SEEDS").ok();
    let range = range.as_deref().and_then(|range| range.split_once(".."));
    range.map_or(0..SEEDS, |(from, to)| from.parse().unwrap()..to.parse().unwrap())
}

#[test]
fn faults_lose_nothing_that_was_durable_and_not_dropped_by_a_policy() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut summaries = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(summaries);
            }
            let _repeat = Repeat(seed);
            summaries.push(run(seed, Planted::Nothing).map_err(|violation| (seed, violation))?);
        }
    };
    let results = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.map(|worker| worker.join().unwrap())
    });
    let mut summaries: Vec<Summary> = Vec::new();
    for result in results {
        match result {
            Ok(some) => summaries.extend(some),
            Err((seed, violation)) => panic!("SIM_SEED={seed} cargo test --test sim: {violation}"),
        }
    }
    let sum = |figure: fn(&Summary) -> u64| summaries.iter().map(figure).sum::<u64>();
    println!(
        "{} seeds, {} steps: {} events stored, {} had to be delivered, {} were, {} of them twice or more; {} dropped by policy; {} boots, {} connections",
        summaries.len(),
        sum(|s| s.steps),
        sum(|s| s.given as u64),
        sum(|s| s.must as u64),
        sum(|s| s.delivered as u64),
        sum(|s| s.twice as u64),
        sum(|s| s.dropped),
        sum(|s| u64::from(s.boots)),
        sum(|s| u64::from(s.connections)),
    );
    let seen = summaries.iter().fold(0, |seen, summary| seen | summary.reasons);
    let unseen = MEANT.iter().find(|reason| {
        let bit = DropReason::ALL.iter().position(|known| known == *reason);
        bit.is_some_and(|bit| seen >> bit & 1 == 0)
    });
    if summaries.len() > 100 {
        assert_eq!(unseen, None, "the faults are meant to reach every policy");
        assert!(sum(|s| s.twice as u64) > 100, "acknowledgements are meant to be lost");
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..4 {
        assert_eq!(run(seed, Planted::Nothing), run(seed, Planted::Nothing));
    }
}

#[test]
fn planted_bugs_are_noticed() {
    for (planted, words) in [
        (Planted::SyncIgnored, &["is lost", "come again"][..]),
        (Planted::DirectoryIgnored, &["is lost", "come again"]),
        (Planted::AckWithoutDelivery, &["is not upstream"]),
        (Planted::CursorJumps, &["nobody has acknowledged"]),
        (Planted::UptoIgnored, &["spins"]),
        (Planted::NoteForgotten, &["allowed are", "early"]),
        (Planted::TrafficUncounted, &["allowed are"]),
        (Planted::PoisonKept, &["not everything was delivered"]),
        (Planted::NeighbourSetAside, &["was set aside"]),
        (Planted::EpochForgotten, &["a second time"]),
        (Planted::DroppedInSilence, &["egress to outbox"]),
    ] {
        let fault = (0..SEEDS).find_map(|seed| Some((seed, run(seed, planted).err()?)));
        let (seed, fault) = fault.unwrap_or_else(|| panic!("{planted:?} was not noticed"));
        println!("{planted:?}: seed {seed}: {fault}");
        assert!(words.iter().any(|word| fault.contains(word)), "{planted:?}: {fault}");
    }
}
