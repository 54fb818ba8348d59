//! Heat, supply and sensors: does the gateway keep the chip cool and its alarms in time, whatever the cabinet does (row THERM)?
//!
//! The governor and the brain of the service on a simulated Raspberry Pi 4 in a heat-sink case, in virtual time; see
//! `support/hot_box.rs`. `THERM_SEED=… cargo test --test thermal -- --nocapture` plays it with other arrivals.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test program")]

use std::time::Duration;

use tidegate::clock::Uptime;
use tidegate::demo::twin::{Battery, Board, Content, Cooling, Outside, SensorFault, Twin};
use tidegate::flow::{BudgetReason, Level, Priority};
use tidegate::governor::GovernorConfig;
use tidegate::infer::BATCH_MAX;
use tidegate::io::sysfs::{Sysfs, hottest, trip_points};
use tidegate::runtime::board_profile;
use tidegate::units::{Celsius, Volts};

#[path = "support/hot_box.rs"]
#[expect(dead_code, reason = "the benchmark of the budget uses the rest of it")]
mod hot_box;

use hot_box::{Cost, Feed, HotBox, Planted, Record, Scene, TRIP, governor_config};

/// Never above this.
const CEILING: f32 = TRIP.0 - 2.0;

/// Changes of level in an hour at most.
const CHANGES_MAX: usize = 6;

const HOUR: Duration = Duration::from_hours(1);

fn seed() -> u64 {
    std::env::var("THERM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5)
}

/// Broker, decoding, the system: a third of a core.
const SYSTEM: f32 = 0.33;

/// A plant that keeps the models' thread busy nine tenths of the time, one by one.
fn scene(cooling: Cooling, ambient: f32) -> Scene {
    let feed = |priority, model, every, deadline| Feed {
        priority,
        model,
        every: Duration::from_millis(every),
        deadline: Duration::from_secs(deadline),
    };
    let cost = |single, batch| Cost {
        single: Duration::from_millis(single),
        batch: Duration::from_millis(batch),
        // As admission has it: what takes long is not run in batches, or an alarm would wait for all of one.
        batches: single < 100,
        cheapest: 0.7,
    };
    Scene {
        board: Board::pi_4(cooling),
        outside: Outside::at(Celsius(ambient)),
        battery: None,
        feeds: vec![
            feed(Priority::Alarm, 0, 1_000, 2),
            feed(Priority::Normal, 1, 200, 10),
            feed(Priority::Normal, 1, 200, 10),
            feed(Priority::Bulk, 2, 500, 60),
        ],
        costs: vec![cost(20, 90), cost(30, 130), cost(280, 2_000)],
        wake: Duration::ZERO,
        batch_max: BATCH_MAX,
        pieces_max: 1_024,
        system: SYSTEM,
        governor: Some(governor_config()),
        planted: Planted::Nothing,
        seed: seed(),
    }
}

/// The chip of a gateway that judges nothing at all: below this no ladder can bring it.
fn floor(cooling: Cooling, ambient: f32) -> f32 {
    let mut twin = Twin::settled(Board::pi_4(cooling), Outside::at(Celsius(ambient)));
    (0..3_600).for_each(|_| twin.advance(Duration::from_secs(1), SYSTEM));
    twin.chip().0
}

/// What must hold however hot it was, from the end of a record.
fn faults(record: &Record, what: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if record.peak > CEILING {
        faults.push(format!("{what}: {:.1} °C, at most {CEILING}", record.peak));
    }
    let changes = record.changes_an_hour();
    if changes > CHANGES_MAX {
        faults.push(format!("{what}: {changes} changes of level in an hour, at most {CHANGES_MAX}"));
    }
    if record.alarms_missed > 0 {
        faults.push(format!("{what}: {} alarms were not judged in time", record.alarms_missed));
    }
    faults
}

fn tell(what: &str, record: &Record) {
    let highest = record.changes.iter().map(|(_, level)| *level).max().unwrap_or_default();
    println!(
        "THERM seed {} {what}: peak {:.1} °C, {} changes ({} in the worst hour), highest {}, {} of {} judged, {} alarms missed, {} in an emergency, slowed {:.0} s",
        seed(),
        record.peak,
        record.changes.len(),
        record.changes_an_hour(),
        highest.as_str(),
        record.useful(),
        record.offered.iter().sum::<u64>(),
        record.alarms_missed,
        record.alarms_excused,
        record.slowed.as_secs_f32(),
    );
}

fn play(scene: Scene, time: Duration, script: impl FnMut(Uptime, &mut Twin)) -> HotBox {
    let mut cabinet = HotBox::new(scene);
    cabinet.run(time, script);
    let (tally, held) = cabinet.infer_count();
    assert!(tally.balances(held), "in = out + dropped + held: {tally:?}");
    cabinet
}

#[test]
fn the_chip_stays_below_the_trip_point_in_every_ambient_from_15_to_60() {
    for ambient in (15_u16..=60).step_by(5).map(f32::from) {
        let cabinet = play(scene(Cooling::PASSIVE, ambient), HOUR * 2, |_, _| {});
        let (record, floor) = (cabinet.record(), floor(Cooling::PASSIVE, ambient));
        tell(&format!("ambient {ambient:.0} °C"), record);
        if floor > CEILING {
            // Nothing can help: whatever heats it is not ours. Nothing is judged, nothing is said to be fine.
            assert_eq!(cabinet.budget().level, Level::Emergency, "{floor}");
            continue;
        }
        assert_eq!(faults(record, &format!("ambient {ambient:.0} °C")), Vec::<String>::new());
        assert!(record.useful[0] > 0, "alarms are judged");
    }
}

/// Goes up and down through all of it without stopping.
#[test]
fn a_cabinet_that_heats_up_and_cools_down_is_followed_and_everything_is_judged_again() {
    let ambient = |at: Uptime| {
        let step = at.since(Uptime::ZERO).as_secs() / 1_800;
        let up = u16::try_from(step.min(18 - step.min(18))).unwrap();
        Celsius(15.0 + 4.0 * f32::from(up))
    };
    let mut cabinet =
        play(scene(Cooling::PASSIVE, 15.0), HOUR * 10, |at, twin| twin.outside.ambient = ambient(at));
    tell("15 to 51 °C and back in steps", cabinet.record());
    assert_eq!(faults(cabinet.record(), "steps"), Vec::<String>::new());
    let (before, offered) = (cabinet.record().useful(), cabinet.record().offered.iter().sum::<u64>());
    cabinet.run(HOUR, |_, _| {});
    let (after, offered_after) = (cabinet.record().useful(), cabinet.record().offered.iter().sum::<u64>());
    assert_eq!(cabinet.budget().level, Level::Nominal);
    assert!((after - before) * 100 >= (offered_after - offered) * 99, "all is judged again");
}

#[test]
fn a_fan_that_fails_costs_work_and_no_alarm() {
    let mut scene = scene(Cooling::PASSIVE, 50.0);
    scene.outside.fan = Some(Cooling::FAN);
    let cabinet = play(scene, HOUR * 6, |at, twin| {
        let turns = !(HOUR..HOUR * 3).contains(&at.since(Uptime::ZERO));
        twin.outside.fan = turns.then_some(Cooling::FAN);
    });
    tell("fan lost for two hours, 50 °C", cabinet.record());
    assert_eq!(faults(cabinet.record(), "fan"), Vec::<String>::new());
    assert!(cabinet.record().changes.iter().any(|(_, level)| *level >= Level::Warm));
    assert!(cabinet.budget().level <= Level::Warm, "it recovers: {:?}", cabinet.budget());
}

/// Two hours with a broken thermometer in a cabinet that needs one.
fn broken_thermometer(fault: SensorFault, planted: Planted) -> Vec<String> {
    let what = format!("{fault:?}");
    let mut blind = Vec::new();
    let mut scene = Scene { planted, ..scene(Cooling::PASSIVE, 51.0) };
    if planted == Planted::LostIsZero {
        // The very same for ten minutes is found out by itself: a second defence, which would hide the bug.
        scene.governor = scene.governor.map(|config| GovernorConfig { frozen_after: None, ..config });
    }
    let mut cabinet = HotBox::new(scene);
    cabinet.run(HOUR, |_, _| {});
    cabinet.run(HOUR * 2, |_, twin| twin.outside.fault = fault);
    if cabinet.budget().level < Level::Hot {
        blind.push(format!("{what}: {} with nothing to go by", cabinet.budget().level.as_str()));
    }
    cabinet.run(HOUR * 2, |_, twin| twin.outside.fault = SensorFault::None);
    tell(&format!("thermometer {what}"), cabinet.record());
    blind.extend(faults(cabinet.record(), &what));
    if planted == Planted::Nothing {
        let reason = cabinet.budget().reason;
        assert_ne!(reason, BudgetReason::SensorFault, "{what}: it is believed again");
    }
    blind
}

#[test]
fn a_broken_thermometer_is_never_cool() {
    let says = |degrees| SensorFault::Says(Celsius(degrees));
    for fault in [SensorFault::Lost, SensorFault::Frozen, says(-40.0), says(200.0), SensorFault::Unreadable] {
        assert_eq!(broken_thermometer(fault, Planted::Nothing), Vec::<String>::new());
    }
}

/// The supply sags for ten seconds every two minutes; what is judged takes most of its deadline.
fn sagging_supply(planted: Planted) -> Vec<String> {
    let mut scene = Scene { planted, ..scene(Cooling::PASSIVE, 25.0) };
    scene.feeds.truncate(2);
    scene.feeds[1].deadline = Duration::from_millis(500);
    scene.feeds[1].every = Duration::from_secs(2);
    let long = Duration::from_millis(300);
    scene.costs[1] = Cost { single: long, batch: long * 8, batches: false, cheapest: 1.0 };
    let mut cabinet = HotBox::new(scene);
    let mut sagged = Vec::new();
    cabinet.run(HOUR * 2, |at, twin| {
        let second = at.since(Uptime::ZERO).as_secs();
        let sags = second < 3_600 && second % 120 < 10;
        twin.outside.supply = Volts(if sags { 4.5 } else { 5.1 });
    });
    tell("a supply that sags", cabinet.record());
    let record = cabinet.record();
    sagged.extend(faults(record, "supply"));
    if !record.changes.iter().any(|(_, level)| *level == Level::Hot) {
        sagged.push("under-voltage is not hot".to_owned());
    }
    // After the last of it: whatever was slow then is not slow now.
    let last = record.minutes.iter().rev().take(30).map(|minute| minute.useful).sum::<u64>();
    let alarms = 30 * 60;
    if last < alarms + alarms / 4 {
        sagged.push(format!("{last} judged in the last half hour, {alarms} of them alarms"));
    }
    println!("THERM seed {} {planted:?}: {} started and not done in time", seed(), record.late[1]);
    if record.late[1] > 24 {
        sagged.push(format!("{} were started and not done in time", record.late[1]));
    }
    sagged
}

#[test]
fn a_sagging_supply_spares_the_flash_and_its_slow_clock_is_no_slow_model() {
    assert_eq!(sagging_supply(Planted::Nothing), Vec::<String>::new());
    let mut cabinet = HotBox::new(scene(Cooling::PASSIVE, 25.0));
    cabinet.run(Duration::from_secs(30), |_, twin| twin.outside.supply = Volts(4.5));
    let budget = cabinet.budget();
    assert!(budget.spare_flash && budget.level >= Level::Hot, "{budget:?}");
    assert_eq!(budget.reason, BudgetReason::UnderVoltage);
}

#[test]
fn on_battery_less_is_judged_the_lower_it_is() {
    let mut scene = scene(Cooling::PASSIVE, 25.0);
    scene.battery = Some(Battery::full(12.0));
    let mut seen = Vec::new();
    let mut cabinet = HotBox::new(scene);
    for (hours, mains) in [(1, true), (1, false), (2, false), (6, true)] {
        cabinet.run(HOUR * hours, |_, twin| twin.outside.mains = mains);
        seen.push(cabinet.budget().level);
    }
    tell("on battery", cabinet.record());
    assert_eq!(seen, [Level::Nominal, Level::Warm, Level::Critical, Level::Nominal]);
    assert_eq!(faults(cabinet.record(), "battery"), Vec::<String>::new());
}

/// The firmware holds the clock down though nothing else is wrong: the scale of temperatures does not say so.
#[test]
fn a_chip_that_is_slowed_is_at_least_warm() {
    let cabinet = play(scene(Cooling::BARE, 45.0), Duration::from_mins(10), |_, _| {});
    tell("bare board, 45 °C", cabinet.record());
    assert!(cabinet.budget().level >= Level::Warm && cabinet.record().slowed > Duration::ZERO);
}

/// What the service's own reader makes of the board's files, with each defect of them.
#[test]
fn the_files_of_the_board_say_what_the_board_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut twin = Twin::settled(Board::pi_4(Cooling::PASSIVE), Outside::at(Celsius(45.0)));
    let write = |twin: &Twin| {
        for file in twin.files() {
            let path = folder.path().join(file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            drop(std::fs::remove_file(&path));
            drop(std::fs::remove_dir(&path));
            match file.content {
                Content::Text(text) => std::fs::write(path, text).unwrap(),
                Content::Absent => {}
                Content::Unreadable => std::fs::create_dir(path).unwrap(),
            }
        }
    };
    let thermal = board_profile(Some("raspberry-pi-4"), &Sysfs::at(folder.path())).unwrap().thermal.unwrap();
    let read = || {
        let zones = Sysfs::at(folder.path()).thermal_zones().unwrap();
        (hottest(&zones, &thermal.zones), thermal.trip_among(trip_points(&zones, &thermal.zones)))
    };
    write(&twin);
    let (temperature, trip) = read();
    assert!((temperature.unwrap().0 - twin.chip().0).abs() < 0.5 && trip == TRIP);
    twin.outside.trip_points = false;
    write(&twin);
    assert_eq!(read().1, TRIP, "without trip points the board file's own");
    for (fault, expect) in [
        (SensorFault::Lost, None),
        (SensorFault::Unreadable, None),
        (SensorFault::Says(Celsius(-40.0)), Some(Celsius(-40.0))),
        (SensorFault::Says(Celsius(200.0)), Some(Celsius(200.0))),
    ] {
        twin.outside.fault = fault;
        write(&twin);
        assert_eq!(read(), (expect, TRIP), "{fault:?}");
    }
}

/// Air that comes and goes every twenty minutes, across the levels.
fn breathing_cabinet(planted: Planted) -> Record {
    let ambient = |at: Uptime| {
        let turns = at.since(Uptime::ZERO).as_secs_f32() / 1_200.0;
        Celsius(51.0 + 7.0 * (turns * std::f32::consts::TAU).sin())
    };
    let scene = Scene { planted, ..scene(Cooling::PASSIVE, 51.0) };
    let cabinet = play(scene, HOUR * 3, |at, twin| twin.outside.ambient = ambient(at));
    tell(&format!("air comes and goes, {planted:?}"), cabinet.record());
    cabinet.record().clone()
}

#[test]
fn without_hysteresis_the_level_flaps_and_the_test_sees_it() {
    let found = faults(&breathing_cabinet(Planted::NoHysteresis), "planted");
    assert!(found.iter().any(|fault| fault.contains("changes of level")), "{found:?}");
    assert_eq!(faults(&breathing_cabinet(Planted::Nothing), "sound"), Vec::<String>::new());
}

#[test]
fn a_lost_thermometer_read_as_zero_is_seen() {
    let found = broken_thermometer(SensorFault::Lost, Planted::LostIsZero);
    assert!(found.iter().any(|fault| fault.contains("nothing to go by")), "{found:?}");
}

#[test]
fn costs_that_are_not_normalised_by_the_clock_are_seen() {
    let found = sagging_supply(Planted::CostNotNormalised);
    assert!(!found.is_empty());
    println!("THERM seed {} planted: cost not normalised: {found:?}", seed());
}
