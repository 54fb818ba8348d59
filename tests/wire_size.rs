//! How many bytes an event costs upstream: `cargo test --test wire_size -- --nocapture` prints the figures.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test of figures it makes itself"
)]

use std::sync::Arc;

use tidegate::clock::{ClockQuality, EventTime};
use tidegate::flow::{
    Change, Entity, EventId, Facts, Named, Outbound, Priority, StreamKind, TaskResult, TimeSpan, Verdict,
    When,
};
use tidegate::wire::{Encoder, Origin, encode_json, encode_record};

const TASKS: [(&str, &[&str]); 3] = [
    ("pump-leak", &["none", "weak", "severe"]),
    ("cooler", &["near-failure", "reduced", "full"]),
    ("valve", &["near-failure", "severe-lag", "small-lag", "optimal"]),
];

/// What a plant sends in an hour: mostly windows of four hydraulic units, now and then a report.
struct Plant {
    random: fastrand::Rng,
    number: u64,
    minute: i64,
    scores: bool,
}

impl Plant {
    fn share(&mut self, from: u32) -> f32 {
        (f64::from(self.random.u32(from..=100)) / 100.0) as f32
    }

    fn event(&mut self) -> Outbound {
        self.number += 1;
        if self.number.is_multiple_of(4) {
            self.minute += 1;
        }
        let facts = if self.random.u8(..) < 26 { self.report() } else { self.window() };
        Outbound::passed(facts)
    }

    fn window(&mut self) -> Facts {
        let from = EventTime(1_795_143_600_000_000 + self.minute * 60_000_000);
        let rms = (600.0 + f64::from(self.random.u8(0..80))).round() / 1000.0;
        let temperature = (450.0 + f64::from(self.random.u8(0..30))).round() / 10.0;
        let results = TASKS.map(|(task, labels)| {
            let usual = labels[if self.random.u8(..) < 20 { 0 } else { labels.len() - 1 }];
            let shown = if self.scores { labels } else { &[] };
            let scores =
                shown.iter().map(|label| Named { name: (*label).into(), value: self.share(0) }).collect();
            TaskResult {
                task: task.into(),
                label: usual.into(),
                verdict: if self.random.u8(..) < 10 { Verdict::Uncertain } else { Verdict::Accepted },
                scores,
                score: self.share(85),
            }
        });
        Facts {
            id: EventId { epoch: 7, number: self.number },
            stream: format!("hydraulics-{}", self.number % 4).into(),
            kind: StreamKind::Sensor,
            when: When::Span(TimeSpan { from, to: EventTime(from.0 + 60_000_000) }),
            clock: ClockQuality::Synced,
            model: "hydraulic-condition@1.2.0".into(),
            results: results.to_vec(),
            features: vec![
                Named { name: "vs1.rms".into(), value: rms as f32 },
                Named { name: "ts1.mean".into(), value: temperature as f32 },
            ],
            entities: vec![],
            extraction: None,
            completeness: Some(self.share(97)),
            change: if self.random.u8(..) < 20 { Change::New } else { Change::Same },
            priority: Priority::Normal,
            historical: false,
            summary: None,
        }
    }

    fn report(&mut self) -> Facts {
        let mut facts = self.window();
        let words = ["hydraulic pump", "hose", "seal", "filter", "bearing"];
        let modes = ["Leaking", "Overheating", "Noise", "Electrical", "Structural Damage"];
        let mut entity = |kind: &str| {
            let value =
                (self.random.u8(..) < 180).then(|| Arc::from(words[self.random.usize(..words.len())]));
            Entity { kind: kind.into(), value }
        };
        facts.entities = vec![entity("Item"), entity("Observation")];
        facts.kind = StreamKind::Report;
        facts.stream = "work-orders".into();
        facts.model = "failure-mode@1.0.0".into();
        facts.results.truncate(1);
        facts.results[0].task = "".into();
        facts.results[0].label = modes[self.random.usize(..modes.len())].into();
        facts.when = When::At(EventTime(1_795_143_600_000_000 + self.random.i64(0..3_600_000) * 1_000));
        (facts.features, facts.completeness) = (vec![], None);
        facts
    }
}

/// Bytes of one event: as a record, in a batch of `count`, as JSON.
fn measure(count: usize, scores: bool) -> (f64, f64, f64) {
    let origin = Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() };
    let mut plant = Plant { random: fastrand::Rng::with_seed(1), number: 0, minute: 0, scores };
    let mut encoder = Encoder::new();
    let (mut batches, mut lines, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = 4_096 / count;
    for _ in 0..rounds {
        let events: Vec<_> = (0..count).map(|_| plant.event()).collect();
        encoder.encode(&origin, &events, &mut batches).unwrap();
        encode_json(&origin, &events, &mut lines);
        for event in &events {
            encode_record(event, &mut records).unwrap();
        }
    }
    let per_event = |bytes: usize| bytes as f64 / (rounds * count) as f64;
    (per_event(records.len()), per_event(batches.len()), per_event(lines.len()))
}

#[test]
fn a_compact_event_costs_a_small_part_of_its_json() {
    println!("events  scores  record  compact    JSON  bytes per event");
    for (count, scores, compact_max) in
        [(1, false, 260.0), (8, false, 60.0), (256, false, 16.0), (8, true, 75.0), (256, true, 28.0)]
    {
        let (record, compact, json) = measure(count, scores);
        println!("{count:6}  {scores:6}  {record:6.1}  {compact:7.1}  {json:6.1}");
        assert!(compact < compact_max, "{compact} bytes in batches of {count}");
    }
}
