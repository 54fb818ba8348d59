//! What the stages cost by themselves. A budget is what a gateway with a Cortex-A53 can spend: this machine must stay
//! five times below it.
//!
//! The load they are cut for: 2,000 messages of eight values a second, a window a second, a report a second.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, Uptime, UtcTime};
use tidegate::features::{Extractor, FeatureLayout};
use tidegate::flow::{
    AssetId, Change, Completeness, EventId, Facts, FeatureVector, Named, Outbound, Priority, Quality, Report,
    Sample, SampleBatch, Series, SignalId, StreamId, StreamKind, TaskResult, TimeSpan, Verdict, When, Window,
};
use tidegate::ingest::{
    Ingest, IngestConfig, Limits, Message, PayloadFormat, Sink, StreamInput, TimeField, TimeUnit, TopicFilter,
};
use tidegate::io::disk::Directory;
use tidegate::outbox::{Lane, Outbox, OutboxConfig};
use tidegate::text::{NgramConfig, NgramEncoder};
use tidegate::window::{FUTURE_MAX, IDLE, Length, WindowConfig, Windower};
use tidegate::wire::{Encoder, Origin, encode_record};

const NAMES: [&str; 8] = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"];
const MINUTE: Duration = Duration::from_mins(1);

struct Nowhere;

impl Sink for Nowhere {
    fn samples(&mut self, batch: &SampleBatch) {
        black_box(batch.samples.len());
    }

    fn report(&mut self, _: Report) {}
}

/// Budget 10 µs per message on the device: 2 % of a core at 2,000 a second.
fn decode_json(criterion: &mut Criterion) {
    let payload = PayloadFormat::Json {
        values: NAMES.map(str::to_owned).to_vec(),
        time: Some(TimeField { name: "ts".to_owned(), unit: TimeUnit::Auto }),
    };
    let filter = TopicFilter::parse("plant/rig").unwrap();
    let streams = vec![StreamInput { id: StreamId(0), filter, payload }];
    let mut ingest = Ingest::new(IngestConfig { streams, limits: Limits::default() });
    let payload = br#"{"ts":"2026-11-20T03:00:00.250Z","ts1":35.570,"ts2":40.961,"ts3":38.320,"ts4":30.363,"vs1":0.604,"ce":47.202,"cp":2.184,"se":68.039}"#;
    criterion.bench_function("decode a JSON message of 8 values", |bencher| {
        bencher.iter(|| {
            let message = Message {
                topic: b"plant/rig",
                payload: black_box(payload),
                received: Uptime(1),
                arrival: EventTime(1),
            };
            ingest.accept(&message, &mut Nowhere);
        });
    });
}

/// Budget 10 µs per message on the device, its share of a closing window included.
fn window(criterion: &mut Criterion) {
    let mut windower = Windower::new(WindowConfig {
        stream: StreamId(0),
        channels: 8,
        length: Length::Time { length: MINUTE, hop: MINUTE },
        lateness: Duration::from_secs(2),
        idle: IDLE,
        future_max: FUTURE_MAX,
        period: None,
        samples_max: 4_096,
    });
    let sample =
        |signal| Sample { signal: SignalId(signal), at: EventTime(0), value: 1.5, quality: Quality::Good };
    let mut batch = SampleBatch {
        stream: StreamId(0),
        asset: AssetId(0),
        received: Uptime::ZERO,
        samples: (0..8).map(sample).collect(),
    };
    let mut second = 0_i64;
    criterion.bench_function("file a row of 8 values, windows of 60 rows", |bencher| {
        bencher.iter(|| {
            second += 1;
            let at = EventTime(EARLIEST_PLAUSIBLE.0 + second * 1_000_000);
            batch.samples.iter_mut().for_each(|sample| sample.at = at);
            batch.received = Uptime(second.unsigned_abs() * 1_000_000_000);
            windower.push(&batch, UtcTime { micros: at.0, quality: ClockQuality::Synced });
            while let Some(window) = windower.pop() {
                windower.recycle(window);
            }
        });
    });
}

/// Budget 2 ms per window on the device, spectra included.
fn features(criterion: &mut Criterion) {
    let series = Series {
        at: (0..60).map(|n| EventTime(i64::from(n) * 1_000_000)).collect(),
        values: (0..60_u16).map(|n| f32::from(n.wrapping_mul(40_503) >> 4)).collect(),
    };
    let window = Window {
        stream: StreamId(0),
        asset: AssetId(0),
        span: TimeSpan { from: EventTime(0), to: EventTime(60_000_000) },
        completeness: Completeness::default(),
        series: vec![series; 8],
    };
    let layout = FeatureLayout::resolve(&["*.*".to_owned()], &NAMES.map(str::to_owned)).unwrap();
    let (mut extractor, mut vector) = (Extractor::new(), FeatureVector::default());
    criterion.bench_function("all features of 8 channels of 60 samples", |bencher| {
        bencher.iter(|| extractor.extract(&layout, black_box(&window), &mut vector));
    });
}

/// Budget 1 ms per report on the device.
fn encode_text(criterion: &mut Criterion) {
    let mut encoder = NgramEncoder::new(NgramConfig::new(2048, 1, 4).unwrap());
    let text =
        "Hydraulic pump no. 3 leaks at the shaft seal, 6,5 bar instead of 11; topped up 4 l, replace seal";
    let mut out = Vec::new();
    criterion.bench_function("n-grams of a report of 96 bytes", |bencher| {
        bencher.iter(|| encoder.encode(black_box(text), &mut out));
    });
}

fn event(number: u64) -> Outbound {
    let from = EventTime(EARLIEST_PLAUSIBLE.0 + i64::try_from(number).unwrap() * 60_000_000);
    let result = TaskResult {
        task: "pump-leak".into(),
        label: "severe".into(),
        score: 0.93,
        scores: vec![],
        verdict: Verdict::Accepted,
    };
    Outbound::passed(Facts {
        id: EventId { epoch: 7, number },
        stream: "hydraulics-1".into(),
        kind: StreamKind::Sensor,
        when: When::Span(TimeSpan { from, to: from.after(MINUTE) }),
        clock: ClockQuality::Synced,
        model: "hydraulic-condition@1.2.0".into(),
        results: vec![result.clone(), TaskResult { task: "cooler".into(), ..result }],
        features: vec![Named { name: "vs1.rms".into(), value: 0.61 }],
        entities: vec![],
        extraction: None,
        completeness: Some(0.98),
        change: Change::Same,
        priority: Priority::Normal,
        historical: false,
        summary: None,
    })
}

/// Budget 20 µs per record and 20 µs per event of a batch on the device.
fn encode_events(criterion: &mut Criterion) {
    let origin = Origin { site: Arc::from("mv-aurora"), gateway: Arc::from("engine-room-1") };
    let events: Vec<Outbound> = (0..64).map(event).collect();
    let mut out = Vec::new();
    let first = event(1);
    criterion.bench_function("encode an event as a record", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_record(black_box(&first), &mut out).is_ok()
        });
    });
    let mut encoder = Encoder::new();
    criterion.bench_function("encode a batch of 64 events, compressed", |bencher| {
        bencher.iter(|| {
            out.clear();
            encoder.encode(&origin, black_box(&events), &mut out).is_ok()
        });
    });
}

/// Budget 50 µs per record on the device, without the sync that many records share.
fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let now = UtcTime { micros: EARLIEST_PLAUSIBLE.0, quality: ClockQuality::Synced };
    let mut outbox = Outbox::open(directory, OutboxConfig::default(), 1, now).unwrap().outbox;
    let payload = [7; 200];
    criterion.bench_function("append a record of 200 bytes", |bencher| {
        bencher.iter(|| outbox.append(Lane::Normal, black_box(&payload), EARLIEST_PLAUSIBLE).is_ok());
    });
}

/// A second each: enough to see what doubles.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = stages;
    config = quick();
    targets = decode_json, window, features, encode_text, encode_events, append
}
criterion_main!(stages);
