//! What the governor is worth in a hot cabinet, and what it costs: prints JSON, which `scripts/bench budget` reads.
//!
//! The governor and the brain of the service on a simulated board (`tests/support/hot_box.rs`), with the costs of the shipped models as they
//! are measured in this very run. Three gateways have the same load: one that judges piece by piece with no governor, one with the
//! scheduler and its batches and no governor, and the whole. The firmware of the board slows the chip in all three.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for measurements"
)]

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::clock::{Clock, ClockQuality, SystemClock, Uptime};
use tidegate::demo::twin::{Board, Cooling, Outside, Twin};
use tidegate::flow::{FailureReason, Inference, Outcome, Priority, StreamId};
use tidegate::governor::{Governor, Readings};
use tidegate::infer::{BATCH_MAX, Work, WorkInput};
use tidegate::pipeline::Pipeline;
use tidegate::units::Celsius;

#[path = "budget/costs.rs"]
mod costs;
#[path = "../tests/support/hot_box.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod hot_box;

use hot_box::{Cost, Feed, HotBox, Planted, Record, Scene, TRIP, governor_config, plan, row};

/// Models of the load, and the share of its processor time that each takes, one by one: lane, model, share, deadline in seconds.
const LOAD: [(Priority, &str, f64, u64); 5] = [
    (Priority::Alarm, "hydraulic-condition", 0.05, 2),
    (Priority::Normal, "hydraulic-condition", 0.30, 10),
    (Priority::Normal, "excavator-triage", 0.25, 10),
    (Priority::Bulk, "failure-mode", 0.20, 60),
    (Priority::Bulk, "work-order-entities", 0.20, 60),
];

/// Processor time the load asks for, judged one by one at the full clock, in cores. The models have one thread.
const LOADS: [f64; 5] = [0.5, 0.8, 1.2, 2.0, 3.0];

/// Cores that are busy with everything else: broker, decoding, other services.
const SYSTEMS: [f32; 3] = [0.4, 0.8, 1.2];

/// The cabinet of the issue.
const HOT: f32 = 45.0;

/// A piece of work here stands for as many of the plant, each with its cost: an hour has thousands instead of millions.
const GROUP: u32 = 200;

/// Work waiting at most: two seconds of it, as in the service, where pieces are as many times smaller.
const PIECES_MAX: usize = 128;

/// A Cortex-A72 takes so many times as long as the processor this runs on. Assumption; the shares of the load do not depend on it.
const SLOWER: u32 = 5;

/// Pieces that come at once when the brain is timed, and that may wait.
const TOGETHER: u64 = 16;
const WAITING: usize = 1_024;

/// Before anything counts: the case has settled after five times its time constant.
const SETTLE: Duration = Duration::from_mins(45);
const HOUR: Duration = Duration::from_hours(1);

/// Which gateway.
#[derive(Clone, Copy, PartialEq)]
enum Gateway {
    /// One piece at a time, no governor.
    Plain,
    /// The scheduler with its batches, no governor.
    Off,
    /// The whole.
    On,
}

struct Bench {
    costs: Vec<Cost>,
    wake: Duration,
    clock: SystemClock,
}

impl Bench {
    fn scene(&self, gateway: Gateway, ambient: f32, load: f64, system: f32) -> Scene {
        let feed = |&(priority, model, share, deadline): &(Priority, &str, f64, u64)| {
            let place = models().iter().position(|name| *name == model).unwrap();
            let every = self.costs[place].single.div_f64(load * share);
            let model = u16::try_from(place).unwrap();
            Feed { priority, model, every, deadline: Duration::from_secs(deadline) }
        };
        Scene {
            board: Board::pi_4(Cooling::PASSIVE),
            outside: Outside::at(Celsius(ambient)),
            battery: None,
            feeds: LOAD.iter().map(feed).collect(),
            costs: self.costs.clone(),
            wake: self.wake,
            batch_max: if gateway == Gateway::Plain { 1 } else { BATCH_MAX },
            pieces_max: PIECES_MAX,
            system,
            governor: (gateway == Gateway::On).then(governor_config),
            planted: Planted::Nothing,
            seed: 5,
        }
    }

    /// An hour in the hot cabinet, after it has settled.
    fn hour(&self, gateway: Gateway, ambient: f32, load: f64, system: f32) -> Value {
        let mut cabinet = HotBox::new(self.scene(gateway, ambient, load, system));
        cabinet.run(SETTLE, |_, _| {});
        cabinet.forget();
        cabinet.run(HOUR, |_, _| {});
        let mut found = told(cabinet.record());
        found["level"] = json!(cabinet.budget().level.as_str());
        found
    }

    fn sweep(&self, ambient: f32, system: f32, loads: &[f64]) -> Vec<Value> {
        let row = |load: f64| {
            let [plain, off, on] = [Gateway::Plain, Gateway::Off, Gateway::On]
                .map(|gateway| self.hour(gateway, ambient, load, system));
            json!({ "ambient": ambient, "load": load, "system": system, "plain": plain, "off": off, "on": on })
        };
        loads.iter().copied().map(row).collect()
    }

    /// A day: the air of the cabinet from 28 °C before sunrise to 45 °C in the afternoon.
    fn day(&self, gateway: Gateway, length: Duration) -> Value {
        let mut cabinet = HotBox::new(self.scene(gateway, ambient(Uptime::ZERO).0, 1.2, 0.4));
        cabinet.run(length, |at, twin: &mut Twin| twin.outside.ambient = ambient(at));
        let record = cabinet.record();
        let ten = |minutes: &[hot_box::Minute]| {
            let most = |figure: fn(&hot_box::Minute) -> f32| minutes.iter().map(figure).fold(0.0, f32::max);
            let level = minutes.iter().map(|minute| minute.level).max().unwrap();
            let mean = |figure: fn(&hot_box::Minute) -> f32| {
                minutes.iter().map(figure).sum::<f32>() / minutes.len() as f32
            };
            json!({
                "ambient": round(most(|minute| minute.ambient)), "chip": round(most(|minute| minute.chip)), "level": level as u8,
                "clock": round(mean(|minute| minute.clock) * 100.0),
                "useful": minutes.iter().map(|minute| minute.useful).sum::<u64>() * u64::from(GROUP),
            })
        };
        let mut found = told(record);
        found["minutes"] = record.minutes.chunks(10).map(ten).collect();
        found
    }

    /// Processor time of the governor for a look, and of the brain for a piece of work, here.
    fn overhead(&self) -> Value {
        const LOOKS: u32 = 20_000;
        let mut governor = Governor::new(governor_config());
        let before = self.clock.thread_time();
        for second in 0..LOOKS {
            let at = Uptime::ZERO.after(Duration::from_secs(second.into()));
            let temperature = Some(Celsius(60.0 + (second % 40) as f32 / 4.0));
            governor.observe(Readings { at, temperature, trip: TRIP, ..Readings::default() });
        }
        let look = self.clock.thread_time().checked_sub(before).unwrap() / LOOKS;
        let ((piece, pieces_per_second), (flooded, _)) = (self.piece(TOGETHER), self.piece(1));
        json!({
            "look_ns": nanos(look), "piece_ns": nanos(piece), "pieces_per_second": pieces_per_second,
            "flooded_ns": nanos(flooded), "waiting": WAITING,
        })
    }

    /// Processor time of the brain for a piece of work, from the row to the settled batch, and how many pieces a second fill the models' thread of
    /// this machine. With less than all batches taken in a round the queue is full all the time.
    fn piece(&self, batches: u64) -> (Duration, f64) {
        const ROUNDS: u64 = 4_000;
        let mut scene = self.scene(Gateway::On, 20.0, 1.0, 0.0);
        scene.pieces_max = WAITING;
        let mut brain = Pipeline::new(plan(&scene));
        let before = self.clock.thread_time();
        for round in 0..ROUNDS {
            for place in 0..TOGETHER {
                let stream = StreamId(u16::try_from(place % LOAD.len() as u64).unwrap());
                let (batch, wall) = row(stream, Uptime((round * TOGETHER + place) * 1_000_000));
                brain.push_samples(&batch, wall);
            }
            let now = Uptime((round + 1) * TOGETHER * 1_000_000);
            for _ in 0..batches {
                let Some(mut batch) = brain.next_batch(now) else { break };
                for work in std::mem::take(&mut batch.work) {
                    let Work { subject, model, input, queued, .. } = work;
                    if let WorkInput::Window(window) = input {
                        brain.recycle(window);
                    }
                    let outcome = Outcome::Failed(FailureReason::Deadline);
                    let (took, spent) = (Duration::ZERO, Duration::ZERO);
                    let judged = Inference { subject, model, outcome, queued, took, spent };
                    brain.resolve(judged, ClockQuality::Synced);
                }
                brain.settle(batch, Duration::from_micros(10), now);
            }
        }
        let each =
            self.clock.thread_time().checked_sub(before).unwrap() / u32::try_from(ROUNDS * TOGETHER).unwrap();
        let a_second: f64 = scene.feeds.iter().map(|feed| 1.0 / feed.every.as_secs_f64()).sum();
        (each, a_second * f64::from(GROUP * SLOWER))
    }
}

/// The air of the cabinet: coldest at 4 in the morning, hottest twelve hours later.
fn ambient(at: Uptime) -> Celsius {
    let hours = at.since(Uptime::ZERO).as_secs_f32() / 3_600.0;
    Celsius(36.5 - 8.5 * ((hours - 4.0) / 24.0 * std::f32::consts::TAU).cos())
}

fn models() -> Vec<&'static str> {
    let mut names: Vec<&str> = LOAD.iter().map(|(_, model, ..)| *model).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn told(record: &Record) -> Value {
    let deadline = Duration::from_secs(LOAD[0].3);
    let group = |counts: [u64; 3]| counts.map(|count| count * u64::from(GROUP));
    json!({
        "offered": group(record.offered), "useful": group(record.useful), "late": group(record.late),
        "peak": round(record.peak), "changes": record.changes.len(), "slowed_s": record.slowed.as_secs(),
        "alarm_p99_ms": round(record.alarm_quantile(0.99).as_secs_f32() * 1e3), "alarm_deadline_ms": round(deadline.as_secs_f32() * 1e3),
        "alarms_missed": record.alarms_missed, "busy_s": record.busy.as_secs(), "joules": record.joules.round(),
    })
}

/// Costs to take instead of measuring them, in nanoseconds: `costs=SINGLE/BATCH,…` by model in the order of their names, batch 0 for none.
/// A build without optimisation measures nothing that is worth anything.
fn costs_given() -> Option<Vec<Cost>> {
    let text = std::env::args().find_map(|word| word.strip_prefix("costs=").map(str::to_owned))?;
    let cost = |pair: &str| {
        let (single, batch) = pair.split_once('/').unwrap();
        let [single, batch] = [single, batch].map(|nanos| Duration::from_nanos(nanos.parse().unwrap()));
        let batches = !batch.is_zero();
        Cost { single, batch: if batches { batch } else { single * 8 }, batches, cheapest: 1.0 }
    };
    Some(text.split(',').map(cost).collect())
}

fn round(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

fn main() {
    let clock = SystemClock::start();
    let wake = costs::measure_wake();
    let measured =
        costs_given().unwrap_or_else(|| models().iter().map(|name| costs::measure(&clock, name)).collect());
    let here: Vec<Value> = models()
        .iter()
        .zip(&measured)
        .map(|(name, cost)| {
            json!({ "model": name, "single_ns": nanos(cost.single), "batch_ns": nanos(cost.batch), "batches": cost.batches })
        })
        .collect();
    let scale = SLOWER * GROUP;
    let stands = |cost: &Cost| Cost { single: cost.single * scale, batch: cost.batch * scale, ..*cost };
    let bench = Bench { costs: measured.iter().map(stands).collect(), wake: wake * scale, clock };
    let before = bench.clock.uptime();
    // To see that it runs: one row and an hour of the day. No figures to quote.
    let quick = std::env::args().any(|word| word == "quick");
    let (systems, loads, length) =
        if quick { (&SYSTEMS[..1], &LOADS[..1], HOUR) } else { (&SYSTEMS[..], &LOADS[..], HOUR * 24) };
    let sweep: Vec<Value> = systems.iter().flat_map(|system| bench.sweep(HOT, *system, loads)).collect();
    let day = json!({ "off": bench.day(Gateway::Off, length), "on": bench.day(Gateway::On, length) });
    let found = json!({
        "v": 1, "costs": here, "wake_ns": nanos(wake), "group": GROUP, "slower": SLOWER, "batch": BATCH_MAX,
        "sweep": sweep, "day": day, "overhead": bench.overhead(),
        "took_s": bench.clock.uptime().since(before).as_secs(),
    });
    println!("{found}");
}
