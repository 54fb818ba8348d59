//! Events for the tests of this room.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::clock::{ClockQuality, EventTime};
use crate::flow::{
    Change, Entity, EventId, Extracted, Facts, FeatureSummary, GapReason, Grain, LabelSummary, Named,
    Outbound, Priority, StreamKind, Summary, TaskResult, TaskSummary, TimeSpan, Verdict, When,
};
use crate::wire::codes::unscaled;
use crate::wire::frame::{MAGIC, VERSION};
use crate::wire::origin::Origin;

pub(crate) fn origin() -> Origin {
    Origin { site: "mv-aurora".into(), gateway: "engine-room-1".into() }
}

/// A frame with a right head around anything.
pub(crate) fn framed(version: u8, coding: u8, body: usize, stored: &[u8]) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[version, coding]].concat();
    for length in [body, stored.len()] {
        let length = u32::try_from(length).unwrap();
        if version == VERSION {
            out.extend(postcard::to_stdvec(&length).unwrap());
        } else {
            out.extend(length.to_le_bytes());
        }
    }
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), stored);
    out.extend(checksum.to_le_bytes());
    out.extend_from_slice(stored);
    out
}

fn word() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        8 => prop::sample::select(vec!["pump", "severe", "none", "vs1.rms", "", "q\"uote\\"]).prop_map(Arc::from),
        1 => "\\PC{0,12}".prop_map(Arc::from),
    ]
}

fn share() -> impl Strategy<Value = f32> {
    (0_u8..=100).prop_map(|hundredths| unscaled(i64::from(hundredths), 2))
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (-100_000_i64..100_000).prop_map(|steps| unscaled(steps, 3)),
        1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
    ]
}

fn when() -> impl Strategy<Value = When> {
    let millis = |ms: i64| EventTime(ms * 1_000);
    let start = prop_oneof![
        4 => 1_760_000_000_i64..1_800_000_000,
        1 => -62_167_219_200_i64..253_402_300_000,
    ];
    let start = (start, 0_i64..1_000).prop_map(|(s, ms)| s * 1_000 + if ms < 700 { 0 } else { ms });
    (start, prop::option::of(-10_i64..600_000)).prop_map(move |(start, length)| match length {
        Some(length) => When::Span(TimeSpan { from: millis(start), to: millis(start + length) }),
        None => When::At(millis(start)),
    })
}

fn named(value: impl Strategy<Value = f32>) -> impl Strategy<Value = Named> {
    (word(), value).prop_map(|(name, value)| Named { name, value })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![Verdict::Accepted, Verdict::Uncertain, Verdict::OutOfScope])
}

fn result() -> impl Strategy<Value = TaskResult> {
    let scores = prop::collection::vec(named(share()), 0..3);
    (word(), word(), share(), verdict(), scores)
        .prop_map(|(task, label, score, verdict, scores)| TaskResult { task, label, score, verdict, scores })
}

prop_compose! {
    fn states()(
        kind in prop::sample::select(vec![StreamKind::Sensor, StreamKind::Report]),
        clock in prop::sample::select(vec![ClockQuality::Synced, ClockQuality::Unknown, ClockQuality::Unset]),
        change in prop::sample::select(vec![Change::New, Change::Same, Change::Pending, Change::Cleared]),
        priority in prop::sample::select(Priority::ALL.to_vec()),
        historical in any::<bool>(),
        completeness in prop::option::of(share()),
    ) -> (StreamKind, ClockQuality, Change, Priority, bool, Option<f32>) {
        (kind, clock, change, priority, historical, completeness)
    }
}

prop_compose! {
    fn facts()(
        epoch in any::<u32>(),
        number in any::<u64>(),
        stream in word(),
        model in word(),
        when in when(),
        results in prop::collection::vec(result(), 0..4),
        features in prop::collection::vec(named(number()), 0..4),
        entities in prop::collection::vec((word(), prop::option::of(word())), 0..3),
        (kind, clock, change, priority, historical, completeness) in states(),
        extraction in prop::option::of((word(), verdict())),
    ) -> Facts {
        // Without a task the extraction is that of the event's own model.
        let own = |other| if results.is_empty() { Arc::clone(&model) } else { other };
        let extraction = extraction.map(|(other, verdict)| Extracted { model: own(other), verdict });
        let entities = entities.into_iter().map(|(kind, value)| Entity { kind, value }).collect();
        let id = EventId { epoch, number };
        Facts {
            id, stream, kind, when, clock, model, results, features, entities, extraction, completeness, change,
            priority, historical, summary: None,
        }
    }
}

prop_compose! {
    fn label_summary()(
        label in word(),
        count in any::<u64>(),
        // Milliseconds.
        first in 0_i64..4_000_000_000_000,
        lasts in -10_i64..100_000_000,
        longest in 0_u64..1 << 40,
    ) -> LabelSummary {
        let at = |ms: i64| EventTime(ms * 1_000);
        let longest = Duration::from_millis(longest);
        LabelSummary { label, count, first: at(first), last: at(first + lasts), longest }
    }
}

prop_compose! {
    fn feature_summary()(
        name in word(), count in any::<u64>(), values in [number(), number(), number(), number(), number(), number()],
    ) -> FeatureSummary {
        let [min, max, mean, low, median, high] = values;
        FeatureSummary { name, count, min, max, mean, quantiles: [low, median, high], sketch: Arc::default() }
    }
}

fn summary() -> impl Strategy<Value = Summary> {
    let gap = prop::sample::select(GapReason::ALL.to_vec()).prop_map(Grain::Gap);
    let grain = prop_oneof![Just(Grain::TenMinutes), Just(Grain::Hour), Just(Grain::Day), gap];
    let task = (word(), prop::collection::vec(label_summary(), 0..3))
        .prop_map(|(task, labels)| TaskSummary { task, labels, lead: Duration::ZERO, trail: Duration::ZERO });
    let tasks = prop::collection::vec(task, 0..3);
    (grain, any::<u64>(), tasks, prop::collection::vec(feature_summary(), 0..3))
        .prop_map(|(grain, events, tasks, features)| Summary { grain, events, tasks, features })
}

/// An event that stands for several.
fn with_summary((mut facts, summary): (Facts, Summary)) -> Facts {
    (facts.results, facts.features, facts.entities) = (vec![], vec![], vec![]);
    facts.extraction = None;
    if matches!(summary.grain, Grain::Gap(_)) {
        // Event JSON has no other kind for it.
        facts.kind = StreamKind::Sensor;
    }
    Facts { summary: Some(Arc::new(summary)), ..facts }
}

/// Any event that the door could have made, and stranger ones.
pub(crate) fn event() -> impl Strategy<Value = Outbound> {
    prop_oneof![4 => facts(), 1 => (facts(), summary()).prop_map(with_summary)].prop_map(Outbound::passed)
}

/// Several events; some repeat the structure of others, as those of one stream do.
pub(crate) fn events() -> impl Strategy<Value = Vec<Outbound>> {
    let moved = |(event, repeats): (Outbound, Vec<(i64, f32)>)| {
        let again = repeats.into_iter().map({
            let facts = event.facts().clone();
            move |(seconds, value)| {
                let mut facts = facts.clone();
                facts.id.number = facts.id.number.wrapping_add(1);
                facts.when = match facts.when {
                    When::Span(span) => When::Span(TimeSpan {
                        from: span.from,
                        to: EventTime(span.to.0 + seconds * 1_000_000),
                    }),
                    When::At(at) => When::At(EventTime(at.0 + seconds * 1_000_000)),
                };
                facts.features.iter_mut().for_each(|feature| feature.value = value);
                Outbound::passed(facts)
            }
        });
        std::iter::once(event.clone()).chain(again).collect::<Vec<_>>()
    };
    let streams = (event(), prop::collection::vec((0_i64..100, number()), 0..6)).prop_map(moved);
    prop::collection::vec(streams, 1..5).prop_map(|streams| streams.concat())
}
