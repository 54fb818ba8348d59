//! Months of a small plant as stored records, and what of them must still be told at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::clock::{ClockQuality, EventTime};
use tidegate::egress::{Declared, Door, Entities, ModelWords, Policy, TaskWords};
use tidegate::flow::{
    AssetId, Change, Entity, Event, EventId, Extracted, Facts, Grain, Local, Named, Outbound, Priority,
    StreamId, StreamKind, TaskResult, TimeSpan, Verdict, When,
};
use tidegate::wire::{decode_record, encode_record};

/// 2026-11-01T00:00:00Z.
pub(crate) const START: i64 = 1_793_491_200_000_000;

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Streams: three of sensors, one of reports.
pub(crate) const STREAMS: [&str; 4] = ["pump-1", "pump-2", "cooler", "log"];

const TASKS: [(&str, &[&str]); 2] =
    [("leak", &["none", "weak", "severe"]), ("valve", &["optimal", "lag", "failure"])];
const REPORT_LABELS: [&str; 4] = ["wear", "leak", "electrical", "other"];
const FEATURES: [(&str, f32); 4] =
    [("vs1.rms", 0.001), ("ps1.mean", 0.01), ("ts1.mean", 0.1), ("fs1.min", 0.01)];

/// The door of the plant's gateway.
pub(crate) fn door() -> Door {
    let policy = |stream: &&str| Policy {
        stream: Arc::from(*stream),
        features: FEATURES.map(|(name, resolution)| Declared { name: name.into(), resolution }).to_vec(),
        entities: Entities::Vocabulary,
        scores: false,
    };
    let words = |labels: &[&str]| labels.iter().map(|label| Arc::from(*label)).collect::<Vec<_>>();
    let pump = ModelWords {
        id: "pump@1.0.0".into(),
        tasks: TASKS
            .iter()
            .map(|(task, labels)| TaskWords { task: (*task).into(), labels: words(labels) })
            .collect(),
        entity_types: vec![],
        vocabulary: vec![],
    };
    let report = ModelWords {
        id: "report@1.0.0".into(),
        tasks: vec![TaskWords { task: "".into(), labels: words(&REPORT_LABELS) }],
        entity_types: words(&["Item"]),
        vocabulary: words(&["pump", "hose", "valve"]),
    };
    Door::new(STREAMS.iter().map(policy).collect(), vec![pump, report])
}

/// Makes the events, in order of time.
pub(crate) struct Plant {
    random: fastrand::Rng,
    door: Door,
    number: u64,
    /// State of each sensor stream: label of each task, features.
    labels: [[usize; 2]; 3],
    levels: [[f32; 4]; 3],
}

impl Plant {
    pub(crate) fn new(seed: u64) -> Self {
        let levels = [[0.61, 101.3, 45.0, 8.0], [0.58, 99.8, 52.0, 7.5], [2.4, 6.1, 21.0, 0.2]];
        Self { random: fastrand::Rng::with_seed(seed), door: door(), number: 0, labels: [[0; 2]; 3], levels }
    }

    /// One event that has passed the door.
    pub(crate) fn event(&mut self, stream: usize, from: i64, length: i64, priority: Priority) -> Outbound {
        self.number += 1;
        let (results, features, entities) = if stream < 3 { self.window(stream) } else { self.report() };
        let report = stream == 3;
        let span = TimeSpan { from: EventTime(from), to: EventTime(from + length) };
        let marker = Extracted { model: "report@1.0.0".into(), verdict: Verdict::Accepted };
        let facts = Facts {
            id: EventId { epoch: 1, number: self.number },
            stream: STREAMS[stream].into(),
            kind: if report { StreamKind::Report } else { StreamKind::Sensor },
            when: if report { When::At(span.from) } else { When::Span(span) },
            clock: ClockQuality::Synced,
            model: if report { "report@1.0.0".into() } else { "pump@1.0.0".into() },
            results,
            features,
            entities,
            extraction: report.then_some(marker),
            completeness: (!report).then_some(1.0),
            change: Change::Same,
            priority,
            historical: false,
            summary: None,
        };
        let local = Local {
            stream: StreamId(u16::try_from(stream).unwrap()),
            asset: AssetId(0),
            reference: None,
            text: None,
            entities: vec![],
            alarm: None,
            alarm_changed: priority == Priority::Alarm,
        };
        self.door.pass(&Event { facts, local, forward: true }).unwrap()
    }

    fn window(&mut self, stream: usize) -> (Vec<TaskResult>, Vec<Named>, Vec<Entity>) {
        let random = &mut self.random;
        for (state, (_, labels)) in self.labels[stream].iter_mut().zip(TASKS) {
            if random.u16(..500) == 0 {
                *state = random.usize(..labels.len());
            }
        }
        let result = |(state, (task, labels)): (&usize, (&str, &[&str]))| TaskResult {
            task: task.into(),
            label: labels[*state].into(),
            score: 0.9,
            verdict: Verdict::Accepted,
            scores: vec![],
        };
        let results = self.labels[stream].iter().zip(TASKS).map(result).collect();
        let features = FEATURES.iter().zip(&mut self.levels[stream]).map(|((name, _), level)| {
            *level *= 1.0 + (random.f32() - 0.5) * 0.004;
            Named { name: (*name).into(), value: *level * (1.0 + (random.f32() - 0.5) * 0.02) }
        });
        (results, features.collect(), vec![])
    }

    fn report(&mut self) -> (Vec<TaskResult>, Vec<Named>, Vec<Entity>) {
        let label = REPORT_LABELS[self.random.usize(..4)].into();
        let result =
            TaskResult { task: "".into(), label, score: 0.8, verdict: Verdict::Accepted, scores: vec![] };
        let value = ["pump", "hose", "valve"][self.random.usize(..3)];
        (vec![result], vec![], vec![Entity { kind: "Item".into(), value: Some(value.into()) }])
    }
}

/// The record of an event.
pub(crate) fn record(event: &Outbound) -> Vec<u8> {
    let mut out = Vec::new();
    encode_record(event, &mut out).unwrap();
    out
}

/// What is told of one stream, from events and summaries alike. Gaps are told of lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) events: u64,
    /// (task, label) → count, first, last.
    pub(crate) labels: BTreeMap<(String, String), (u64, i64, i64)>,
    /// feature → count, min, max.
    pub(crate) features: BTreeMap<String, (u64, f32, f32)>,
}

/// What is told of everything, by the name of the stream; of gaps by the name of the lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    pub(crate) streams: BTreeMap<String, Told>,
    /// Lane and reason → lost events.
    pub(crate) gaps: BTreeMap<(String, &'static str), u64>,
}

impl Ledger {
    pub(crate) fn add(&mut self, facts: &Facts) {
        let Some(summary) = &facts.summary else {
            self.add_event(facts);
            return;
        };
        if let Grain::Gap(reason) = summary.grain {
            *self.gaps.entry((facts.stream.to_string(), reason.as_str())).or_default() += summary.events;
            return;
        }
        let told = self.streams.entry(facts.stream.to_string()).or_default();
        told.events += summary.events;
        for task in &summary.tasks {
            for label in &task.labels {
                told.label(&task.task, &label.label, label.count, (label.first.0, label.last.0));
            }
        }
        for feature in &summary.features {
            told.feature(&feature.name, feature.count, (feature.min, feature.max));
        }
    }

    fn add_event(&mut self, facts: &Facts) {
        let told = self.streams.entry(facts.stream.to_string()).or_default();
        told.events += 1;
        let at = begin(facts);
        for result in &facts.results {
            told.label(&result.task, &result.label, 1, (at, at));
        }
        for feature in &facts.features {
            told.feature(&feature.name, 1, (feature.value, feature.value));
        }
    }

    /// Everything that was appended, lost events included.
    pub(crate) fn events(&self) -> u64 {
        self.streams.values().map(|told| told.events).sum::<u64>() + self.lost()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.gaps.values().sum()
    }

    /// The first difference to what was appended, in words; streams of which events are lost are not compared.
    pub(crate) fn differs(&self, appended: &Self) -> Option<String> {
        if self.events() != appended.events() {
            return Some(format!("{} events are told of {}", self.events(), appended.events()));
        }
        if self.lost() > 0 {
            return None;
        }
        let differ = |(name, told): (&String, &Told)| {
            (self.streams.get(name) != Some(told))
                .then(|| format!("{name}: {:?} instead of {told:?}", self.streams.get(name)))
        };
        appended.streams.iter().find_map(differ)
    }
}

impl Told {
    fn label(&mut self, task: &str, label: &str, count: u64, (first, last): (i64, i64)) {
        let sum = self.labels.entry((task.to_owned(), label.to_owned())).or_insert((0, i64::MAX, i64::MIN));
        *sum = (sum.0 + count, sum.1.min(first), sum.2.max(last));
    }

    fn feature(&mut self, name: &str, count: u64, (min, max): (f32, f32)) {
        let sum = self.features.entry(name.to_owned()).or_insert((0, f32::MAX, f32::MIN));
        *sum = (sum.0 + count, sum.1.min(min), sum.2.max(max));
    }
}

/// The instant by which an event is counted.
pub(crate) fn begin(facts: &Facts) -> i64 {
    match facts.when {
        When::Span(span) => span.from.0,
        When::At(at) => at.0,
    }
}

/// What a stored record says.
pub(crate) fn read(record: &[u8]) -> Facts {
    decode_record(record).unwrap().facts().clone()
}
