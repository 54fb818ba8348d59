//! From a message to its window: the whole way costs no heap allocation per message once it has seen some windows.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, Uptime, UtcTime};
use tidegate::distill::{DistillConfig, ForwardEvents, StreamPolicy};
use tidegate::flow::{
    AssetId, Budget, Completeness, ModelId, Priority, Report, SampleBatch, StreamId, StreamKind, Subject,
    TimeSpan, When, Window,
};
use tidegate::infer::schedule::HOLD_UP_MAX;
use tidegate::infer::{ScheduleConfig, Scheduler, Work, WorkInput};
use tidegate::ingest::{
    Ingest, IngestConfig, Limits, Message, PayloadFormat, Sink, StreamInput, TimeField, TimeUnit, TopicFilter,
};
use tidegate::pipeline::{Pipeline, PipelinePlan, StreamPlan};
use tidegate::tally::Stage;
use tidegate::units::{Bytes, Millicores};
use tidegate::window::{FUTURE_MAX, IDLE, Length, WindowConfig};

const NAMES: [&str; 8] = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"];

/// Messages of the first windows, in which buffers grow: three of sixty, a second apart.
const WARM_UP: u32 = 190;

struct Feed<'a> {
    pipeline: &'a mut Pipeline,
    wall: UtcTime,
}

impl Sink for Feed<'_> {
    fn samples(&mut self, batch: &SampleBatch) {
        self.pipeline.push_samples(batch, self.wall);
    }

    fn report(&mut self, report: Report) {
        self.pipeline.push_report(report);
    }
}

fn ingest() -> Ingest {
    let payload = PayloadFormat::Json {
        values: NAMES.map(str::to_owned).to_vec(),
        time: Some(TimeField { name: "ts".to_owned(), unit: TimeUnit::Auto }),
    };
    let filter = TopicFilter::parse("plant/+/telemetry").unwrap();
    let streams = vec![StreamInput { id: StreamId(0), filter, payload }];
    Ingest::new(IngestConfig { streams, limits: Limits::default() })
}

fn pipeline(length: Length) -> Pipeline {
    let window = WindowConfig {
        stream: StreamId(0),
        channels: 8,
        length,
        lateness: Duration::from_secs(2),
        idle: IDLE,
        future_max: FUTURE_MAX,
        period: None,
        samples_max: 4_096,
    };
    let policy = StreamPolicy {
        name: Arc::from("rig"),
        kind: StreamKind::Sensor,
        priority: Priority::Normal,
        events: ForwardEvents::All,
        dwell: Duration::ZERO,
        clear_dwell: Duration::ZERO,
        rate_max_per_hour: None,
        shown: Vec::new(),
        every: Vec::new(),
        show_text: false,
        extractor: None,
    };
    let stream = StreamPlan {
        window: Some(window),
        model: ModelId(0),
        priority: Priority::Normal,
        deadline: Duration::from_secs(10),
    };
    Pipeline::new(PipelinePlan {
        streams: vec![stream],
        distill: DistillConfig { streams: vec![policy] },
        models: Vec::new(),
        policies: Vec::new(),
        words: Vec::new(),
        epoch: 1,
        schedule: ScheduleConfig {
            pieces_max: 256,
            bytes_max: Bytes(16 << 20),
            batch_max: vec![8],
            costs: Vec::new(),
            hold_up_max: HOLD_UP_MAX,
        },
    })
}

/// Sends message `second`, and takes closed windows out of the queue and back, as a model's thread would.
fn turn(ingest: &mut Ingest, pipeline: &mut Pipeline, second: u32, payload: &[u8]) -> u64 {
    let now = Uptime(u64::from(second) * 1_000_000_000);
    let micros = EARLIEST_PLAUSIBLE.0 + i64::from(second) * 1_000_000;
    let wall = UtcTime { micros, quality: ClockQuality::Synced };
    let topic = if second.is_multiple_of(2) { b"plant/pump-1/telemetry" } else { b"plant/pump-2/telemetry" };
    let message = Message { topic, payload, received: now, arrival: EventTime(micros) };
    ingest.accept(&message, &mut Feed { pipeline, wall });
    pipeline.tick(now);
    let mut windows = 0;
    while let Some(mut batch) = pipeline.next_batch(now) {
        for work in batch.work.drain(..) {
            windows += 1;
            if let WorkInput::Window(window) = work.input {
                pipeline.recycle(window);
            }
        }
        pipeline.settle(batch, Duration::from_micros(30), now);
    }
    windows
}

fn payload(second: u32) -> Vec<u8> {
    let at = EARLIEST_PLAUSIBLE.0 / 1_000 + i64::from(second) * 1_000;
    format!(
        r#"{{"ts":{at},"ts1":35.{second:05},"ts2":40.9,"ts3":38.4,"ts4":30.6,"vs1":0.5,"ce":39.6,"cp":1.8,"se":59.1}}"#
    )
    .into_bytes()
}

#[test]
fn a_message_allocates_nothing_on_its_way_into_a_window_nor_a_window_on_its_way_to_a_model() {
    let minute = Duration::from_mins(1);
    let lengths = [
        ("tumbling", Length::Time { length: minute, hop: minute }),
        ("hopping", Length::Time { length: minute, hop: Duration::from_secs(10) }),
        ("rows", Length::Count { samples: 16, hop: 8 }),
        ("each row", Length::Count { samples: 1, hop: 1 }),
    ];
    for (name, length) in lengths {
        let (mut ingest, mut pipeline) = (ingest(), pipeline(length));
        for second in 0..WARM_UP {
            turn(&mut ingest, &mut pipeline, second, &payload(second));
        }
        let mut windows = 0;
        for second in WARM_UP..WARM_UP + 600 {
            let payload = payload(second);
            let used = allocation_counter::measure(|| {
                windows += turn(&mut ingest, &mut pipeline, second, &payload);
            });
            assert_eq!(used.count_total, 0, "{name}: message {second}, {} bytes", used.bytes_total);
        }
        assert!(windows >= 10, "{name}: {windows} windows");
        let (tally, held) = pipeline.count(Stage::Window);
        assert!(tally.balances(held) && tally.dropped_total() == 0, "{name}: {tally:?}");
        assert_eq!(tally.received, 8 * ingest.tally().passed);
    }
}

#[test]
fn a_schedule_that_was_full_once_allocates_nothing_while_it_batches_gathers_and_sheds() {
    let (pieces_max, batch_max) = (64, vec![8, 8]);
    let config = ScheduleConfig {
        pieces_max,
        bytes_max: Bytes(1 << 20),
        batch_max,
        costs: Vec::new(),
        hold_up_max: HOLD_UP_MAX,
    };
    let mut scheduler = Scheduler::new(config);
    scheduler.set_budget(Budget {
        cpu: Millicores(800),
        gather: Duration::from_millis(20),
        ..Budget::NOMINAL
    });
    let work = |number: u32, now: Uptime| {
        let (stream, asset) = (StreamId((number % 5) as u16), AssetId(number));
        let span = TimeSpan { from: EventTime(0), to: EventTime(1) };
        let completeness = Completeness::default();
        let window = Window { stream, asset, span, completeness, series: Vec::new() };
        let when = When::Span(span);
        Work {
            subject: Subject { stream, asset, when, completeness: None, report: None },
            model: ModelId(stream.0 % 2),
            input: WorkInput::Window(window),
            priority: Priority::ALL[usize::from(stream.0 % 3)],
            queued: now,
            deadline: now.after(Duration::from_millis(100)),
        }
    };
    let mut lost = 0;
    let mut turn = |number: u32| {
        let now = Uptime(u64::from(number) * 1_000_000);
        scheduler.push(work(number, now), &mut |_| lost += 1);
        if number.is_multiple_of(9)
            && let Some(batch) = scheduler.next_batch(now, &mut |_| lost += 1)
        {
            let spent = Duration::from_millis(2) * u32::try_from(batch.work.len()).unwrap();
            scheduler.settle(batch, spent, now);
        }
    };
    (0..10_000).for_each(&mut turn);
    let used = allocation_counter::measure(|| (10_000..20_000).for_each(&mut turn));
    assert_eq!(used.count_total, 0, "{} bytes", used.bytes_total);
    let tally = scheduler.tally();
    assert!(tally.passed > 5_000 && lost > 5_000 && tally.balances(scheduler.held() as u64), "{tally:?}");
}
