//! Heat, supply and sensors: does the gateway keep the chip cool and its alarms in time, whatever the cabinet does (row THERM)?
//!
//! The governor and the brain of the service on a simulated Raspberry Pi 4 in a heat-sink case, in virtual time; see
//! `support/hot_box.rs`. `THERM_SEED=… cargo test --test thermal -- --nocapture` plays it with other arrivals.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test program")]

use std::time::Duration;

use tidegate::demo::twin::{Battery, Board, Cooling, Outside, SensorFault, Twin};
use tidegate::flow::{Level, Priority};
use tidegate::infer::BATCH_MAX;
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
        batches: true,
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

fn play(scene: Scene, time: Duration, script: impl FnMut(tidegate::clock::Uptime, &mut Twin)) -> HotBox {
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
