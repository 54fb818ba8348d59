//! Nothing of the plant gets through the door: canaries in every field, looked for in every encoding.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

#[path = "support/frames.rs"]
mod frames;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EventTime};
use tidegate::egress::{Declared, Door, Entities, LevelChange, ModelWords, Policy, TaskWords, level};
use tidegate::flow::{
    AssetId, BudgetReason, Change, Entity, Event, EventId, Extracted, Facts, FeatureSummary, Grain,
    LabelSummary, Level, Local, LocalEntity, Named, Priority, Private, StreamId, StreamKind, Summary,
    TaskResult, TaskSummary, TimeSpan, Verdict, When,
};
use tidegate::tally::DropReason;
use tidegate::wire::{Encoder, Origin, encode_json, encode_record};

/// Makes texts and numbers that occur nowhere else and remembers them.
struct Canaries {
    random: fastrand::Rng,
    texts: Vec<String>,
    numbers: Vec<f32>,
}

impl Canaries {
    fn text(&mut self) -> String {
        let text = format!("canary{:08x}", self.random.u32(..));
        self.texts.push(text.clone());
        text
    }

    fn word(&mut self) -> Arc<str> {
        self.text().into()
    }

    fn private(&mut self) -> Private {
        Private::new(self.text())
    }

    /// A number whose shortest form has at least eight digits.
    fn number(&mut self) -> f32 {
        loop {
            let number = self.random.f32();
            if number.to_string().len() >= 10 && number > 0.1 {
                self.numbers.push(number);
                return number;
            }
        }
    }
}

fn event(canaries: &mut Canaries, number: u64, kind: StreamKind) -> Event {
    let declared = |name: &str, value| Named { name: name.into(), value };
    let from = 1_795_143_600_000_000 + canaries.random.i64(0..1_000_000_000);
    let span = TimeSpan { from: EventTime(from), to: EventTime(from + 60_000_001) };
    let scores = vec![declared("none", canaries.number()), declared("severe", canaries.number())];
    Event {
        facts: Facts {
            id: EventId { epoch: 7, number },
            stream: canaries.word(),
            kind,
            when: if kind == StreamKind::Sensor { When::Span(span) } else { When::At(span.from) },
            clock: ClockQuality::Synced,
            model: "pump@1.0.0".into(),
            results: vec![TaskResult {
                task: "leak".into(),
                label: "severe".into(),
                score: canaries.number(),
                verdict: Verdict::Accepted,
                scores,
            }],
            features: vec![
                declared("vs1.rms", canaries.number()),
                declared("vs1.fine", canaries.number()),
                Named { name: canaries.word(), value: canaries.number() },
            ],
            entities: vec![
                Entity { kind: "Item".into(), value: Some(canaries.word()) },
                Entity { kind: canaries.word(), value: Some(canaries.word()) },
            ],
            extraction: (number % 4 > 1)
                .then(|| Extracted { model: "marker@1.0.0".into(), verdict: Verdict::Accepted }),
            completeness: Some(canaries.number()),
            change: Change::New,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        },
        local: Local {
            stream: StreamId(0),
            asset: AssetId(3),
            reference: Some(canaries.private()),
            text: Some(canaries.private()),
            entities: vec![LocalEntity {
                text: canaries.private(),
                start: 0,
                end: 14,
                score: canaries.number(),
            }],
            alarm: Some(vec![canaries.word()]),
            alarm_changed: true,
        },
        forward: true,
    }
}

fn door() -> Door {
    let declared = |name: &str, resolution| Declared { name: name.into(), resolution };
    let policy = Policy {
        stream: "hydraulics-1".into(),
        features: vec![declared("vs1.rms", 0.001), declared("vs1.fine", 0.000_1)],
        entities: Entities::Vocabulary,
        scores: true,
    };
    let words = ModelWords {
        id: "pump@1.0.0".into(),
        tasks: vec![TaskWords { task: "leak".into(), labels: vec!["none".into(), "severe".into()] }],
        entity_types: vec!["Item".into()],
        vocabulary: vec!["pump".into()],
    };
    let marker = ModelWords { id: "marker@1.0.0".into(), tasks: vec![], ..words.clone() };
    Door::new(vec![policy], vec![words, marker])
}

#[test]
fn no_text_and_no_number_of_the_plant_gets_through_the_door() {
    let mut canaries = Canaries { random: fastrand::Rng::with_seed(7), texts: vec![], numbers: vec![] };
    let mut door = door();
    let events: Vec<_> = (0..200)
        .map(|number| {
            let kind = if number % 2 == 0 { StreamKind::Sensor } else { StreamKind::Report };
            door.pass(&event(&mut canaries, number, kind)).unwrap()
        })
        .collect();
    let origin = Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() };
    let (mut json, mut batch, mut records) = (Vec::new(), Vec::new(), Vec::new());
    encode_json(&origin, &events, &mut json);
    Encoder::new().encode(&origin, &events, &mut batch).unwrap();
    for event in &events {
        encode_record(event, &mut records).unwrap();
    }
    let body = frames::body(&batch);
    assert!(contains(&json, b"vs1.rms") && contains(&body, b"vs1.rms") && contains(&records, b"vs1.rms"));
    assert!(canaries.texts.len() > 1_000 && canaries.numbers.len() > 1_000);
    for (name, out) in [("json", &json), ("batch", &batch), ("body", &body), ("records", &records)] {
        assert!(!contains(out, b"canary"), "{name}");
        let nine: BTreeSet<_> = out.windows(9).collect();
        let four: BTreeSet<_> = out.windows(4).collect();
        for text in &canaries.texts {
            assert!(!nine.contains(&text.as_bytes()[5..14]), "{text} in {name}");
        }
        for number in &canaries.numbers {
            let digits = number.to_string();
            assert!(!nine.contains(&digits.as_bytes()[..9]), "{digits} in {name}");
            assert!(!four.contains(&number.to_le_bytes()[..]), "bits of {digits} in {name}");
        }
    }
}

/// A summary as a stranger might have stored it: words of no list, numbers finer than declared, bytes in the sketch.
fn told(canaries: &mut Canaries, number: u64) -> Facts {
    let mut facts = event(canaries, number, StreamKind::Sensor).facts;
    facts.stream = "hydraulics-1".into();
    let mut feature = |name: Arc<str>| FeatureSummary {
        name,
        count: 60,
        min: canaries.number(),
        max: canaries.number(),
        mean: canaries.number(),
        quantiles: [canaries.number(), canaries.number(), canaries.number()],
        sketch: canaries.text().into_bytes().into(),
    };
    let features = vec![feature("vs1.rms".into()), feature("vs1.secret".into())];
    let mut label = |label: &str| LabelSummary {
        label: if label.is_empty() { canaries.word() } else { label.into() },
        count: 30,
        first: EventTime(1_795_143_600_000_000),
        last: EventTime(1_795_143_600_000_000),
        longest: Duration::ZERO,
    };
    let mut task = |task: &str, labels: &[&str]| TaskSummary {
        task: task.into(),
        labels: labels.iter().map(|name| label(name)).collect(),
        lead: Duration::ZERO,
        trail: Duration::ZERO,
    };
    let known = task("leak", &["none", "severe"]);
    let stranger = task("leak", &["none", ""]);
    let tasks = vec![known.clone(), stranger, TaskSummary { task: canaries.word(), ..known }];
    if number.is_multiple_of(3) {
        // A model that is not there any more.
        facts.model = canaries.word();
    }
    facts.summary = Some(Arc::new(Summary { grain: Grain::Hour, events: 60, tasks, features }));
    facts
}

#[test]
fn nothing_of_the_plant_gets_through_the_door_in_a_summary() {
    let mut canaries = Canaries { random: fastrand::Rng::with_seed(8), texts: vec![], numbers: vec![] };
    let door = door();
    let passed: Vec<_> =
        (0..200).map(|number| door.pass_summary(&told(&mut canaries, number)).unwrap()).collect();
    for event in &passed {
        let summary = event.facts().summary.as_ref().unwrap();
        let model = &*event.facts().model;
        let tasks: Vec<_> = summary.tasks.iter().map(|task| (&*task.task, task.labels.len())).collect();
        assert_eq!(tasks, if model.is_empty() { vec![] } else { vec![("leak", 2)] });
        let names: Vec<_> = summary.features.iter().map(|feature| &*feature.name).collect();
        assert_eq!((summary.events, names), (60, vec!["vs1.rms"]));
    }
    let mut stranger = told(&mut canaries, 1);
    stranger.stream = canaries.word();
    assert_eq!(door.pass_summary(&stranger), Err(DropReason::NotDeclared));
    let mut bare = told(&mut canaries, 1);
    bare.summary = None;
    assert_eq!(door.pass_summary(&bare), Err(DropReason::NotDeclared), "an event goes the other way");

    let origin = Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() };
    let (mut json, mut batch) = (Vec::new(), Vec::new());
    encode_json(&origin, &passed, &mut json);
    Encoder::new().encode(&origin, &passed, &mut batch).unwrap();
    let body = frames::body(&batch);
    assert!(contains(&json, b"vs1.rms") && contains(&body, b"vs1.rms"));
    assert!(canaries.texts.len() > 1_000 && canaries.numbers.len() > 1_000);
    for (name, out) in [("json", &json), ("batch", &batch), ("body", &body)] {
        assert!(!contains(out, b"canary"), "{name}");
        let nine: BTreeSet<_> = out.windows(9).collect();
        let four: BTreeSet<_> = out.windows(4).collect();
        for number in &canaries.numbers {
            let digits = number.to_string();
            assert!(!nine.contains(&digits.as_bytes()[..9]), "{digits} in {name}");
            assert!(!four.contains(&number.to_le_bytes()[..]), "bits of {digits} in {name}");
        }
    }
}

#[test]
fn a_summary_does_not_slip_through_the_door_of_events() {
    let mut canaries = Canaries { random: fastrand::Rng::with_seed(9), texts: vec![], numbers: vec![] };
    let mut event = event(&mut canaries, 1, StreamKind::Sensor);
    event.facts.summary = told(&mut canaries, 1).summary;
    assert_eq!(door().pass(&event).unwrap().facts().summary, None);
}

#[test]
fn a_change_of_the_level_says_closed_words_and_rounded_numbers_only() {
    let mut canaries = Canaries { random: fastrand::Rng::with_seed(10), texts: vec![], numbers: vec![] };
    let mut changes = Vec::new();
    for (number, &state) in Level::ALL.iter().cycle().take(200).enumerate() {
        let change = LevelChange {
            level: state,
            reason: BudgetReason::ALL[number % BudgetReason::ALL.len()],
            temperature: Some(canaries.number()),
            headroom: Some(canaries.number()),
            memory: Some(canaries.number()),
        };
        let id = EventId { epoch: 7, number: number as u64 };
        changes.push(level(id, &change, EventTime(1_795_143_600_000_001), ClockQuality::Synced));
    }
    let origin = Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() };
    let (mut json, mut batch) = (Vec::new(), Vec::new());
    encode_json(&origin, &changes, &mut json);
    Encoder::new().encode(&origin, &changes, &mut batch).unwrap();
    let body = frames::body(&batch);
    assert!(contains(&json, b"\"stream\":\"governor\"") && contains(&body, b"sensor-fault"));
    for (name, out) in [("json", &json), ("body", &body)] {
        let nine: BTreeSet<_> = out.windows(9).collect();
        let four: BTreeSet<_> = out.windows(4).collect();
        for number in &canaries.numbers {
            let digits = number.to_string();
            assert!(!nine.contains(&digits.as_bytes()[..9]), "{digits} in {name}");
            assert!(!four.contains(&number.to_le_bytes()[..]), "bits of {digits} in {name}");
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
