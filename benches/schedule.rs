//! What it costs to decide what runs next: processor time of the scheduler for each piece of work, from the push to the
//! settling of its batch. Budget 10 µs on the device: at the hundred windows and reports a second of a busy plant a
//! thousandth of a core.
//!
//! `cargo bench --bench schedule` prints one line per load and ends with 1 if one of them takes more than the budget.

#![expect(clippy::print_stdout, reason = "its output")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use tidegate::clock::{EventTime, SystemClock, Uptime};
use tidegate::flow::{
    AssetId, Budget, Completeness, ModelId, Priority, StreamId, Subject, TimeSpan, When, Window,
};
use tidegate::infer::schedule::HOLD_UP_MAX;
use tidegate::infer::{Batch, ScheduleConfig, Scheduler, Work, WorkInput};
use tidegate::units::{Bytes, Millicores};

/// Pieces of work per run.
const PIECES: u32 = 200_000;

/// A device is five times slower than this machine.
const BUDGET: Duration = Duration::from_micros(2);

/// A plant and what its models take.
struct Load {
    name: &'static str,
    streams: u16,
    /// Between two pieces of work.
    every: Duration,
    /// One piece takes the models.
    cost: Duration,
    budget: Budget,
}

fn work(number: u32, stream: u16, now: Uptime) -> Work {
    let (stream, asset) = (StreamId(stream), AssetId(number));
    let span = TimeSpan { from: EventTime(0), to: EventTime(1) };
    let window = Window { stream, asset, span, completeness: Completeness::default(), series: Vec::new() };
    let subject = Subject { stream, asset, when: When::Span(span), completeness: None, report: None };
    let priority = match stream.0 % 4 {
        0 => Priority::Alarm,
        1 | 2 => Priority::Normal,
        _ => Priority::Bulk,
    };
    let deadline = now.after(Duration::from_secs(10));
    let model = ModelId(stream.0 % 3);
    Work { subject, model, input: WorkInput::Window(window), priority, queued: now, deadline }
}

/// Processor time per piece, and the share of them that was judged.
fn run(load: &Load, clock: &SystemClock) -> (Duration, f64) {
    let (batch_max, costs) = (vec![8; 3], Vec::new());
    let config = ScheduleConfig {
        pieces_max: 256,
        bytes_max: Bytes(64 << 20),
        batch_max,
        costs,
        hold_up_max: HOLD_UP_MAX,
    };
    let mut scheduler = Scheduler::new(config);
    scheduler.set_budget(load.budget);
    // The models' thread, in the time of the load.
    let mut running: Option<(Batch, Duration, Uptime)> = None;
    let mut next: Option<Batch> = None;
    let begun = clock.thread_time();
    for number in 0..PIECES {
        let now = Uptime::ZERO.after(load.every * number);
        let stream = u16::try_from(number % u32::from(load.streams)).unwrap_or(0);
        scheduler.push(work(number, stream, now), &mut |work| drop(black_box(work)));
        loop {
            if let Some((batch, spent, _)) = running.take_if(|(.., end)| *end <= now) {
                scheduler.settle(batch, spent, now);
            }
            let given = next.take().or_else(|| scheduler.next_batch(now, &mut |work| drop(black_box(work))));
            let Some(batch) = given else { break };
            if running.is_some() {
                next = Some(batch);
                break;
            }
            let spent = load.cost * u32::try_from(batch.work.len()).unwrap_or(1);
            running = Some((batch, spent, now.after(spent)));
        }
        black_box(scheduler.poll_timeout());
    }
    let each = clock.thread_time().saturating_sub(begun) / PIECES;
    (each, scheduler.tally().passed as f64 / f64::from(PIECES))
}

fn main() -> ExitCode {
    let clock = SystemClock::start();
    let (ms, us) = (Duration::from_millis, Duration::from_micros);
    let gather = Budget { gather: Duration::from_secs(1), ..Budget::NOMINAL };
    let limited = Budget { cpu: Millicores(300), ..gather };
    let loads = [
        Load {
            name: "a quarter of the time, 4 streams",
            streams: 4,
            every: ms(4),
            cost: ms(1),
            budget: Budget::NOMINAL,
        },
        Load {
            name: "a quarter, 64 streams",
            streams: 64,
            every: ms(4),
            cost: ms(1),
            budget: Budget::NOMINAL,
        },
        Load { name: "gathering, 4 streams", streams: 4, every: ms(4), cost: ms(1), budget: gather },
        Load {
            name: "twice what can be done, 4 streams",
            streams: 4,
            every: ms(10),
            cost: ms(20),
            budget: Budget::NOMINAL,
        },
        Load {
            name: "twice, small models, 64 streams",
            streams: 64,
            every: us(50),
            cost: us(100),
            budget: Budget::NOMINAL,
        },
        Load {
            name: "three times a budget, gathering",
            streams: 8,
            every: ms(10),
            cost: ms(10),
            budget: limited,
        },
    ];
    let mut worst = Duration::ZERO;
    for load in &loads {
        let (each, judged) = run(load, &clock);
        let share = each.as_secs_f64() / load.cost.as_secs_f64() / judged * 100.0;
        println!(
            "{:<36} {:>6} ns a piece, {:>3.0} % judged, {share:.3} % of the models' time",
            load.name,
            each.as_nanos(),
            judged * 100.0
        );
        worst = worst.max(each);
    }
    if worst > BUDGET { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
