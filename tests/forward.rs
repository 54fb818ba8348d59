//! The forward session over a byte-exact socket: a month of budget, records that kill the connection, clocks that lie.
//!
//! Nothing sleeps; a month takes seconds. `FORWARD_SEED=… cargo test --test forward` repeats one run.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

#[path = "forward/world.rs"]
mod world;

use std::env;
use std::time::Duration;

use tidegate::forward::ForwardConfig;
use tidegate::units::{BitRate, Bytes};

use world::{Bug, Plan, Wall, World};

const DAILY: u64 = 1_000_000;
const DAYS: u64 = 30;
const HOUR: u64 = 3_600;

fn seeds(count: u64) -> std::ops::Range<u64> {
    let one = env::var("FORWARD_SEED").ok().and_then(|seed| seed.parse().ok());
    one.map_or(0..count, |seed: u64| seed..seed + 1)
}

/// A satellite link with a budget, outages, restarts and power cuts, and more to say than the day allows.
fn month(seed: u64, bug: Bug) -> World {
    run_month(seed, bug, false)
}

fn run_month(seed: u64, bug: Bug, flood: bool) -> World {
    let config = ForwardConfig {
        daily: Some(Bytes(DAILY)),
        rate: seed.is_multiple_of(3).then_some(BitRate(32_000)),
        keep_alive: Duration::from_mins(2),
        tls: true,
        ..ForwardConfig::default()
    };
    let plan = Plan {
        days: DAYS,
        outages: 60,
        restarts: 20,
        cuts: 20,
        bug,
        append_every: Duration::from_secs(80),
        clump: 20,
        flood,
        ..Plan::quiet(config)
    };
    let mut world = World::new(seed, plan);
    world.run();
    world
}

#[test]
fn no_day_of_a_month_costs_a_byte_more_than_its_budget() {
    for seed in seeds(3) {
        let world = month(seed, Bug::None);
        let (dearest, bytes) = world.dearest_day();
        let full = world.full_days();
        let used = full.iter().sum::<u64>() as f64 / (full.len() as u64 * DAILY) as f64;
        println!(
            "seed {seed}: {DAYS} days, {} boots, {} connections, {} notes written; dearest day {dearest}: {bytes} of {DAILY} bytes; \
             used {:.1} % of the days ({:.1} % of the ordinary share); {} of {} alarms within an hour of link, {} records sent, {} twice",
            world.boots,
            world.connections,
            world.notes,
            used * 100.0,
            used * 100.0 / 0.9,
            world.alarms_in_time,
            world.alarms,
            world.delivered(),
            world.twice,
        );
        assert!(bytes <= DAILY, "FORWARD_SEED={seed}: {bytes} bytes on day {dearest}");
        assert!(used > 0.85, "FORWARD_SEED={seed}: used {used}");
        assert!(
            world.alarms_in_time * 100 >= world.alarms * 99,
            "FORWARD_SEED={seed}: alarms have a share of their own"
        );
        assert!(world.alarms > 100 && world.boots > 30);
    }
}

#[test]
fn a_flood_of_alarms_uses_the_last_byte_and_not_one_more() {
    for seed in seeds(3) {
        let world = run_month(seed, Bug::None, true);
        let (dearest, bytes) = world.dearest_day();
        let used = world.full_days().iter().sum::<u64>() as f64 / (DAYS * DAILY) as f64;
        println!(
            "seed {seed}: alarms without end: dearest day {dearest}: {bytes} of {DAILY} bytes; used {:.1} %",
            used * 100.0
        );
        assert!(bytes <= DAILY, "FORWARD_SEED={seed}: {bytes} bytes on day {dearest}");
        assert!(bytes > DAILY - 5_000 && used > 0.94, "FORWARD_SEED={seed}: {bytes}, {used}");
    }
}

#[test]
fn a_month_with_a_planted_bug_exceeds_the_budget() {
    for bug in [Bug::NoteForgotten, Bug::ReceivedUncounted, Bug::HandshakeUncounted, Bug::LocalTime] {
        let found = (0..6).find_map(|run| {
            let (seed, is_flooded) = (run / 2, run % 2 == 1);
            let (day, bytes) = run_month(seed, bug, is_flooded).dearest_day();
            (bytes > DAILY).then_some((seed, day, bytes))
        });
        let (seed, day, bytes) = found.unwrap_or_else(|| panic!("{bug:?} was not noticed"));
        println!("{bug:?}: seed {seed}: {bytes} bytes on day {day}");
    }
}

#[test]
fn alarms_need_the_share_that_is_kept_for_them() {
    let found = (0..3).find_map(|seed| {
        let world = month(seed, Bug::NoShare);
        (world.alarms_in_time * 10 < world.alarms * 9).then_some((seed, world.alarms - world.alarms_in_time))
    });
    let (seed, late) = found.expect("a budget without a share for alarms was not noticed");
    println!("NoShare: seed {seed}: {late} alarms late");
}

/// A fast link, one record in the backlog at which the broker dies, and live records besides.
fn poisoned(seed: u64, bug: Bug, restarts: u64) -> World {
    let poison = 1 + seed * 37 % 900;
    let plan = Plan {
        days: 1,
        poison: Some(poison),
        restart_every: (restarts > 0).then(|| Duration::from_secs(2 + seed % 3)),
        restarts_max: restarts,
        backlog: 1_000,
        trip: Duration::from_millis(20),
        bits_per_second: 10_000_000,
        bug,
        append_every: Duration::from_secs(10),
        ..Plan::quiet(ForwardConfig::default())
    };
    let mut world = World::new(seed, plan);
    world.run();
    world
}

#[test]
fn a_record_at_which_the_broker_dies_is_set_aside_and_the_rest_goes_on() {
    for seed in seeds(40) {
        for restarts in [0, 3] {
            let world = poisoned(seed, Bug::None, restarts);
            let (tries, took) = (world.poison_tries, world.backlog_done.expect("the rest arrives"));
            if seed < 5 {
                println!(
                    "seed {seed}, {restarts} restarts: {} connections lost, {tries} tries alone, the rest after {took:?}",
                    world.deaths,
                );
            }
            assert!(tries <= 3, "FORWARD_SEED={seed}: {tries} tries");
            assert_eq!(world.aside, 1, "FORWARD_SEED={seed}");
            assert!(restarts > 0 || took <= Duration::from_secs(10), "FORWARD_SEED={seed}: {took:?}");
            world.complete();
        }
    }
}

#[test]
fn a_poison_that_is_not_set_aside_blocks_its_lane() {
    let world = poisoned(1, Bug::PoisonKept, 0);
    println!("PoisonKept: {} connections lost in a day", world.deaths);
    assert!(world.backlog_done.is_none() && world.deaths > 20);
}

#[test]
fn clocks_that_lie_lose_nothing_make_no_storm_and_buy_nothing() {
    let year = 365 * 86_400;
    let walls = [
        ("1970, never set", Wall::Unset { until: u64::MAX }),
        ("1970, set after an hour", Wall::Unset { until: HOUR }),
        ("ten years on", Wall::Jump { at: HOUR, by: 10 * year }),
        ("a year back", Wall::Jump { at: HOUR, by: -year }),
        ("into 2038", Wall::Jump { at: HOUR, by: 2_147_483_640 - 1_795_143_600 }),
        ("a step each second", Wall::Steps),
        ("a day each second", Wall::Days),
        ("frozen", Wall::Frozen),
    ];
    for (name, wall) in walls {
        for seed in seeds(2) {
            let config = ForwardConfig { daily: Some(Bytes(DAILY)), tls: true, ..ForwardConfig::default() };
            let plan = Plan {
                days: 6,
                outages: 12,
                restarts: 2,
                wall,
                backlog: 20_000,
                append_every: Duration::from_mins(10),
                clump: 20,
                ..Plan::quiet(config)
            };
            let mut world = World::new(seed, plan);
            world.run();
            if seed == 0 {
                println!(
                    "{name}: seed {seed}: {} of {} records sent, {} twice, {} turns an hour, {} connections, {} bytes in 6 days, dearest 24 hours {}",
                    world.delivered(),
                    world.appended(),
                    world.twice,
                    world.turns / (6 * 24),
                    world.connections,
                    world.bytes,
                    world.dearest_span(),
                );
            }
            assert!(world.overtaken <= 12, "{name}, seed {seed}: {} batches out of order", world.overtaken);
            assert!(world.turns / (6 * 24) < 20_000, "{name}, seed {seed}: {} turns", world.turns);
            assert!(world.connections < 600, "{name}, seed {seed}: {} connections", world.connections);
            assert!(world.dearest_span() <= 3 * DAILY + world.restarted() * DAILY, "{name}, seed {seed}");
            assert!(world.delivered() > 0);
        }
    }
}

#[test]
fn the_backlog_and_the_last_lane_move_while_live_records_never_rest() {
    let plan = Plan {
        days: 1,
        backlog: 200_000,
        append_every: Duration::from_millis(400),
        bits_per_second: 64_000,
        ..Plan::quiet(ForwardConfig::default())
    };
    let mut world = World::new(1, plan);
    world.run();
    let [_, normal, bulk] = world.delivered_by_lane();
    println!(
        "normal {normal}, bulk {bulk}; live batches {}, backlog batches {}; oldest live record waited {:?}",
        world.live_batches, world.backlog_batches, world.live_waited
    );
    assert!(world.backlog_done.is_some_and(|took| took < Duration::from_hours(4)), "the backlog moves");
    assert!(bulk > 0 && world.live_waited < Duration::from_mins(3));
}
