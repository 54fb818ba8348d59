//! The upstream format byte by byte: what this version writes, and what every released one has written.
//!
//! `UPDATE_GOLDEN=1 cargo test --test wire_golden` rewrites the files; a change of a released one is a new version.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "support/frames.rs"]
mod frames;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frames::body;
use tidegate::clock::{ClockQuality, EventTime};
use tidegate::flow::{
    Change, Entity, EventId, Extracted, Facts, FeatureSummary, GapReason, Grain, LabelSummary, Named,
    Outbound, Priority, StreamKind, Summary, TaskResult, TaskSummary, TimeSpan, Verdict, When,
};
use tidegate::wire::{Encoder, Origin, decode_batch, decode_record, encode_json, encode_record};

fn origin() -> Origin {
    Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() }
}

fn named(name: &str, value: f32) -> Named {
    Named { name: name.into(), value }
}

fn result(task: &str, label: &str, score: f32, verdict: Verdict) -> TaskResult {
    TaskResult { task: task.into(), label: label.into(), score, verdict, scores: vec![] }
}

fn at(second: i64) -> EventTime {
    EventTime(1_795_143_600_000_000 + second * 1_000_000)
}

/// Two windows of one stream: the second changed and waited in the outbox.
fn windows() -> Vec<Outbound> {
    let first = Facts {
        id: EventId { epoch: 7, number: 1042 },
        stream: "hydraulics-1".into(),
        kind: StreamKind::Sensor,
        when: When::Span(TimeSpan { from: at(0), to: at(60) }),
        clock: ClockQuality::Synced,
        model: "hydraulic-condition@1.2.0".into(),
        results: vec![
            result("pump-leak", "none", 0.97, Verdict::Accepted),
            result("cooler", "full", 0.88, Verdict::Accepted),
        ],
        features: vec![named("vs1.rms", 0.61), named("ce.mean", 47.25), named("ts1.slope", 1.0 / 3.0)],
        entities: vec![],
        extraction: None,
        completeness: Some(0.98),
        change: Change::Same,
        priority: Priority::Normal,
        historical: false,
        summary: None,
    };
    let mut second = first.clone();
    second.id.number += 1;
    second.when = When::Span(TimeSpan { from: at(60), to: at(120) });
    second.results[0] = result("pump-leak", "severe", 0.91, Verdict::Accepted);
    second.results[1] = result("cooler", "reduced", 0.44, Verdict::Uncertain);
    second.features = vec![named("vs1.rms", 0.645), named("ce.mean", 46.5), named("ts1.slope", -0.1)];
    (second.change, second.priority, second.historical) = (Change::New, Priority::Alarm, true);
    vec![Outbound::passed(first), Outbound::passed(second)]
}

fn report() -> Outbound {
    let entity = |kind: &str, value: Option<&str>| Entity { kind: kind.into(), value: value.map(Arc::from) };
    let mut result = result("", "Leaking", 0.88, Verdict::Accepted);
    result.scores = vec![named("Leaking", 0.88), named("Overheating", 0.12)];
    Outbound::passed(Facts {
        id: EventId { epoch: 8, number: 1 },
        stream: "work-orders".into(),
        kind: StreamKind::Report,
        when: When::At(EventTime(at(3).0 + 250_000)),
        clock: ClockQuality::Unknown,
        model: "failure-mode@1.0.0".into(),
        results: vec![result],
        features: vec![],
        entities: vec![entity("Item", Some("hydraulic pump")), entity("Observation", None)],
        extraction: None,
        completeness: None,
        change: Change::New,
        priority: Priority::Bulk,
        historical: false,
        summary: None,
    })
}

/// The same report with its entities marked by another model, and one that has nothing but entities.
fn marked() -> Vec<Outbound> {
    let model: Arc<str> = "work-order-entities@1.0.0".into();
    let mut both = report().facts().clone();
    both.extraction = Some(Extracted { model: model.clone(), verdict: Verdict::Uncertain });
    let mut alone = both.clone();
    alone.results.clear();
    (alone.model, alone.id.number) = (model, 2);
    vec![Outbound::passed(both), Outbound::passed(alone)]
}

fn all() -> Vec<Outbound> {
    [windows(), vec![report()]].concat()
}

/// What is left of an hour of windows, and a gap: what the outbox stores and, without sketches and rows, what is sent.
fn told(sketch: &[u8], row_ms: u64) -> Vec<Outbound> {
    let (lead, trail) = (Duration::from_millis(row_ms), Duration::from_millis(row_ms / 2));
    let label = |label: &str, count, first, last, longest| LabelSummary {
        label: label.into(),
        count,
        first: at(first),
        last: at(last),
        longest: Duration::from_millis(longest),
    };
    let tasks = vec![
        TaskSummary {
            task: "pump-leak".into(),
            labels: vec![label("none", 57, 0, 3_540, 1_860_000), label("severe", 3, 1_920, 2_040, 180_500)],
            lead,
            trail,
        },
        TaskSummary {
            task: "cooler".into(),
            labels: vec![label("full", 60, 0, 3_540, 3_600_000)],
            lead,
            trail,
        },
    ];
    let feature = |name: &str, min, max, mean, quantiles| FeatureSummary {
        name: name.into(),
        count: 60,
        min,
        max,
        mean,
        quantiles,
        sketch: sketch.into(),
    };
    let features = vec![
        feature("vs1.rms", 0.58, 0.702, 0.613, [0.59, 0.61, 0.652]),
        feature("ts1.mean", -4.5, 12.0, 1.0 / 3.0, [-2.5, 0.5, 11.5]),
    ];
    let mut hour = windows().remove(0).facts().clone();
    (hour.results, hour.features, hour.completeness) = (vec![], vec![], None);
    hour.id = EventId { epoch: 7, number: 1 << 48 };
    hour.when = When::Span(TimeSpan { from: at(0), to: at(3_600) });
    let mut gap = hour.clone();
    hour.summary = Some(Arc::new(Summary { grain: Grain::Hour, events: 60, tasks, features }));
    (gap.id.number, gap.stream, gap.model) = (gap.id.number + 1, "normal".into(), "".into());
    let lost =
        Summary { grain: Grain::Gap(GapReason::Expired), events: 1_440, tasks: vec![], features: vec![] };
    gap.summary = Some(Arc::new(lost));
    vec![Outbound::passed(hour), Outbound::passed(gap)]
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(name)
}

/// The stored bytes of a golden file, after writing `current` to it if asked to.
fn golden(name: &str, current: &[u8]) -> Vec<u8> {
    let path = path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, current).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

#[test]
fn records_are_written_as_before() {
    for (name, event) in [
        ("record-window.bin", windows().remove(1)),
        ("record-report.bin", report()),
        ("record-marked.bin", marked().remove(0)),
        ("record-summary.bin", told(&[3, 1, 4], 1_860_000).remove(0)),
        ("record-gap.bin", told(&[], 0).remove(1)),
    ] {
        let mut record = Vec::new();
        encode_record(&event, &mut record).unwrap();
        let stored = golden(name, &record);
        assert_eq!(record, stored, "{name}");
        assert_eq!(decode_record(&stored).unwrap(), event, "{name}");
    }
}

#[test]
fn batches_are_written_as_before() {
    for (name, events) in [
        ("batch-2-one.bin", vec![report()]),
        ("batch-2-three.bin", all()),
        ("batch-2-marked.bin", marked()),
        ("batch-2-gap.bin", told(&[], 0).split_off(1)),
        ("batch-2-summary.bin", [told(&[], 0), windows()].concat()),
    ] {
        let mut batch = Vec::new();
        Encoder::new().encode(&origin(), &events, &mut batch).unwrap();
        let stored = golden(name, &batch);
        // The compressor may find another way to say the same in a later version; the body may not change.
        assert_eq!(body(&batch), body(&stored), "{name}");
        let (read, used) = decode_batch(&stored).unwrap();
        assert_eq!((read.origin, read.events), (origin(), events), "{name}");
        assert_eq!(used, stored.len(), "{name}");
    }
}

/// Nobody writes these any more: they are what they were.
#[test]
fn batches_of_version_1_are_read() {
    for (name, events) in
        [("batch-one.bin", vec![report()]), ("batch-three.bin", all()), ("batch-marked.bin", marked())]
    {
        let stored = fs::read(path(name)).unwrap();
        assert_eq!(stored[2], 1, "{name}");
        let (read, used) = decode_batch(&stored).unwrap();
        assert_eq!((read.origin, read.events), (origin(), events), "{name}");
        assert_eq!(used, stored.len(), "{name}");
    }
}

#[test]
fn the_body_of_a_batch_is_written_as_before() {
    let mut batch = Vec::new();
    Encoder::new().encode(&origin(), &all(), &mut batch).unwrap();
    let body = body(&batch);
    assert_eq!(body, golden("body-three.bin", &body));
}

#[test]
fn event_json_is_written_as_before() {
    for (name, events) in
        [("events.json", all()), ("events-marked.json", marked()), ("events-summary.json", told(&[], 0))]
    {
        let mut lines = Vec::new();
        encode_json(&origin(), &events, &mut lines);
        let stored = golden(name, &lines);
        assert_eq!(String::from_utf8(lines).unwrap(), String::from_utf8(stored).unwrap());
    }
}

#[test]
fn the_dictionary_is_the_one_that_was_released() {
    // A changed dictionary makes every batch sent with it unreadable. Make another one with another number.
    assert_eq!((frames::DICTIONARY.len(), crc32c::crc32c(frames::DICTIONARY)), (8_192, 0xe9a3_be7e));
}
