//! Nothing of the plant gets through the door: canaries in every field, looked for in every encoding.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate::clock::{ClockQuality, EventTime};
use tidegate::egress::{Declared, Door, Entities, ModelWords, Policy, TaskWords};
use tidegate::flow::{
    AssetId, Change, Entity, Event, EventId, Extracted, Facts, Local, LocalEntity, Named, Priority, Private,
    StreamId, StreamKind, TaskResult, TimeSpan, Verdict, When,
};
use tidegate::wire::{Encoder, Origin, encode_json, encode_record};

/// Bytes of the frame before the body.
const HEADER: usize = 16;

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
    let length = u32::from_le_bytes(batch[4..8].try_into().unwrap()) as usize;
    let body = match batch[3] {
        0 => batch[HEADER..].to_vec(),
        _ => zstd::bulk::decompress(&batch[HEADER..], length).unwrap(),
    };
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

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
