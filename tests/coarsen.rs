//! Records drawn together: nothing is lost, whatever is drawn together with what, and in whatever order.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidegate::clock::{ClockQuality, EventTime};
use tidegate::distill::{Aim, Coarsener, Drawn, GROUPS_MAX};
use tidegate::egress::{self, Door, LevelChange, level};
use tidegate::flow::{
    BudgetReason, EventId, Facts, GapReason, Grain, Level, Outbound, Priority, TimeSpan, When,
};
use tidegate::outbox::Coarsen;
use tidegate::runtime::{Coarsening, SUMMARY_NUMBERS_FROM, SummaryIds};

#[path = "support/story.rs"]
mod story;

use story::{DAY, HOUR, Ledger, MINUTE, Plant, START, STREAMS, door, read, record};

/// A lane: records with their times, the oldest first.
type Queue = VecDeque<(Vec<u8>, EventTime)>;

fn coarsening(door: Door) -> Coarsening {
    Coarsening::new(door, SummaryIds::new(1))
}

/// Draws the oldest `count` records together, as the outbox does with its oldest segment.
fn draw(queue: &mut Queue, merger: &mut Coarsening, count: usize) {
    for (record, at) in queue.drain(..count.min(queue.len())) {
        merger.on(Priority::Normal).take(&record, at);
    }
    merger.finish(&mut |record, at| queue.push_back((record.to_vec(), at)));
}

fn ledger<'a>(records: impl IntoIterator<Item = &'a (Vec<u8>, EventTime)>) -> Ledger {
    let mut ledger = Ledger::default();
    for (record, _) in records {
        ledger.add(&read(record));
    }
    ledger
}

fn queue_of(events: &[Outbound]) -> Queue {
    let stored = |event: &Outbound| (record(event), EventTime(story::begin(event.facts())));
    events.iter().map(stored).collect()
}

/// So many windows and reports, a minute apart.
fn minutes(plant: &mut Plant, minutes: i64) -> Vec<Outbound> {
    let mut events = Vec::new();
    for minute in 0..minutes {
        let at = START + minute * MINUTE;
        events.extend((0..3).map(|stream| plant.event(stream, at, MINUTE, Priority::Normal)));
        if minute % 7 == 0 {
            events.push(plant.event(3, at, 0, Priority::Normal));
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_is_drawn_together_counts_and_extremes_stay_exact(
        seed in any::<u64>(), length in 30_i64..400, rounds in prop::collection::vec(1_usize..600, 1..14),
    ) {
        let mut queue = queue_of(&minutes(&mut Plant::new(seed), length));
        let appended = ledger(&queue);
        let mut merger = coarsening(door());
        for round in rounds {
            draw(&mut queue, &mut merger, round);
            prop_assert_eq!(ledger(&queue).differs(&appended), None);
        }
        let counts = merger.counts();
        prop_assert_eq!((counts.undecodable, counts.refused, counts.merged.unreadable_sketches), (0, 0, 0));
    }

    #[test]
    fn in_the_end_a_day_is_the_same_however_it_came_about(
        seed in any::<u64>(), length in 200_i64..500, rounds in prop::collection::vec(1_usize..600, 0..8),
    ) {
        let events = minutes(&mut Plant::new(seed), length);
        let days = |rounds: &[usize]| -> Vec<Facts> {
            let mut queue = queue_of(&events);
            let mut merger = coarsening(door());
            for round in rounds {
                draw(&mut queue, &mut merger, *round);
            }
            let mut coarsener = Coarsener::default();
            for (record, at) in &queue {
                coarsener.take(&read(record), record, *at);
            }
            let summary = |drawn: Drawn| match drawn {
                Drawn::Summary(facts, _) => without_rows(facts),
                Drawn::Original(original) => panic!("{original:?} instead of a day"),
                Drawn::Gap(gap) => panic!("{gap:?} instead of a day"),
            };
            // Records are so long that all of them are worth a summary.
            coarsener.finish(Aim { hours: 0, days: 0 }, 10_000, |_| 1).into_iter().map(summary).collect()
        };
        let direct = days(&[]);
        prop_assert_eq!(direct.len(), STREAMS.len());
        prop_assert_eq!(days(&rounds), direct);
    }
}

/// Rows depend on which parts are neighbours; everything else must not.
fn without_rows(mut facts: Facts) -> Facts {
    let mut summary = facts.summary.as_deref().unwrap().clone();
    for task in &mut summary.tasks {
        (task.lead, task.trail) = (Duration::ZERO, Duration::ZERO);
        for label in &mut task.labels {
            label.longest = Duration::ZERO;
        }
    }
    facts.summary = Some(Arc::new(summary));
    facts
}

#[test]
fn each_round_leaves_a_quarter_and_makes_the_oldest_coarser_first() {
    let mut queue = queue_of(&minutes(&mut Plant::new(1), 30 * 60));
    let mut merger = coarsening(door());
    let bytes = |queue: &Queue| queue.iter().map(|(record, _)| record.len() + 24).sum::<usize>();
    let mut rounds = Vec::new();
    for _ in 0..6 {
        let (before, all) = (bytes(&queue), queue.len());
        draw(&mut queue, &mut merger, all);
        let grains: Vec<_> =
            queue.iter().filter_map(|(record, _)| Some(read(record).summary?.grain)).collect();
        let count = |grain| grains.iter().filter(|it| **it == grain).count();
        rounds.push((bytes(&queue) * 100 / before, [Grain::TenMinutes, Grain::Hour, Grain::Day].map(count)));
        let (left, hours) = (bytes(&queue), count(Grain::Hour));
        let fine = count(Grain::TenMinutes);
        assert!(left * 4 <= before || fine == 0 && (left * 2 <= before || hours == 0), "{rounds:?}");
        let coarse = |grain: Grain| grains.iter().rposition(|it| *it == grain);
        let fine = |grain: Grain| grains.iter().position(|it| *it == grain);
        for (wide, narrow) in [(Grain::Hour, Grain::TenMinutes), (Grain::Day, Grain::Hour)] {
            if let (Some(wide), Some(narrow)) = (coarse(wide), fine(narrow)) {
                assert!(wide < narrow + STREAMS.len(), "the coarse ones are the older ones: {rounds:?}");
            }
        }
    }
    assert!(rounds[0].1[0] > 0 && rounds[0].1[2] == 0, "ten minutes are enough at first: {rounds:?}");
    assert!(rounds[1].1[1] > 0 && rounds[1].1[2] == 0, "then hours: {rounds:?}");
    assert!(rounds[5].1[2] > 0, "then days: {rounds:?}");
    let times: Vec<_> = queue.iter().map(|(record, _)| story::begin(&read(record))).collect();
    assert!(times.is_sorted(), "handed out in order of time");
    let same = |seed| {
        let mut queue = queue_of(&minutes(&mut Plant::new(seed), 600));
        let all = queue.len();
        draw(&mut queue, &mut coarsening(door()), all);
        queue
    };
    assert_eq!(same(3), same(3), "the same events give the same records");
}

#[test]
fn a_few_reports_stay_as_they_are() {
    let mut plant = Plant::new(2);
    let mut events: Vec<_> =
        (0..3).map(|hour| plant.event(3, START + hour * HOUR, 0, Priority::Normal)).collect();
    let kept: Vec<_> = events.iter().map(record).collect();
    events.extend(minutes(&mut plant, 240).into_iter().filter(|event| &*event.facts().stream == "pump-1"));
    let mut queue = queue_of(&events);
    let all = queue.len();
    draw(&mut queue, &mut coarsening(door()), all);
    assert!(queue.len() < 40, "{}", queue.len());
    for kept in kept {
        assert!(queue.iter().any(|(record, _)| *record == kept), "a summary of one report says less");
    }
}

#[test]
fn changes_of_the_level_are_drawn_together_and_not_lost() {
    let changes: Vec<_> = (0..200_i64)
        .map(|minute| {
            let state = Level::ALL[usize::try_from(minute).unwrap() % 3];
            let change = LevelChange {
                level: state,
                reason: BudgetReason::Temperature,
                temperature: Some(70.0),
                headroom: Some(0.2),
                memory: None,
            };
            let id = EventId { epoch: 1, number: minute.unsigned_abs() };
            level(id, &change, EventTime(START + minute * MINUTE), ClockQuality::Synced)
        })
        .collect();
    let mut queue = queue_of(&changes);
    let (all, appended) = (queue.len(), ledger(&queue).events());
    let mut merger = coarsening(door());
    draw(&mut queue, &mut merger, all);
    let told = ledger(&queue);
    assert!(queue.len() < all / 4, "{}", queue.len());
    assert_eq!((merger.counts().refused, told.gaps.len(), told.events()), (0, 0, appended));
    let words = queue.iter().filter_map(|(record, _)| read(record).summary.clone());
    assert!(words.flat_map(|summary| summary.tasks.clone()).any(|task| &*task.task == "level"));
}

#[test]
fn summaries_have_ids_that_no_event_has() {
    let mut queue = queue_of(&minutes(&mut Plant::new(4), 300));
    let mut merger = coarsening(door());
    for _ in 0..3 {
        let all = queue.len();
        draw(&mut queue, &mut merger, all);
    }
    let mut ids: Vec<EventId> = queue.iter().map(|(record, _)| read(record).id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each once");
    assert!(ids.iter().all(|id| id.number >= SUMMARY_NUMBERS_FROM || id.number < 10_000));
}

#[test]
fn what_cannot_be_read_or_may_not_leave_is_told_as_lost() {
    let mut queue = queue_of(&minutes(&mut Plant::new(5), 60));
    let appended = ledger(&queue).events();
    let at = queue[0].1;
    for spoiled in [&[][..], &[77, 1, 2], &[1]] {
        queue.push_front((spoiled.to_vec(), at));
    }
    // A stream that is in the configuration no more.
    for _ in 0..30 {
        queue.push_back((stranger(), at));
    }
    let mut merger = coarsening(door());
    let all = queue.len();
    draw(&mut queue, &mut merger, all);
    let told = ledger(&queue);
    assert_eq!(merger.counts().undecodable, 3);
    assert_eq!(merger.counts().refused, 30);
    assert_eq!(told.gaps[&("normal".to_owned(), "undeliverable")], 33);
    assert_eq!(told.events(), appended + 33);
}

/// The record of an event of a stream that only an earlier configuration had.
fn stranger() -> Vec<u8> {
    let mut record = record(&Plant::new(6).event(0, START, MINUTE, Priority::Normal));
    let place = record.windows(6).position(|window| window == STREAMS[0].as_bytes()).unwrap();
    record[place..place + 6].copy_from_slice(b"gone-1");
    record
}

#[test]
fn gaps_of_one_day_and_reason_add_up_and_never_disappear() {
    let gap = |number, reason, events, at: i64| {
        let span = TimeSpan { from: EventTime(at), to: EventTime(at + MINUTE) };
        egress::gap(
            EventId { epoch: 1, number },
            Priority::Normal,
            reason,
            events,
            span,
            ClockQuality::Synced,
        )
    };
    let mut queue = Queue::new();
    let mut told = 0;
    for number in 0..500_u64 {
        let reason = GapReason::ALL[usize::try_from(number % 4).unwrap()];
        let at = START + i64::try_from(number).unwrap() * HOUR / 4;
        queue.push_back((record(&gap(number, reason, number, at)), EventTime(at)));
        told += number;
    }
    let mut merger = coarsening(door());
    for _ in 0..5 {
        let all = queue.len();
        draw(&mut queue, &mut merger, all);
        assert_eq!(ledger(&queue).lost(), told);
    }
    assert_eq!(queue.len(), 4 * 6, "four reasons on six days");
    let first = read(&queue[0].0);
    let When::Span(span) = first.when else { panic!("{first:?}") };
    assert!(span.from.0 == START && span.to.0 > START + DAY - HOUR - MINUTE && span.to.0 <= START + DAY);
    assert_eq!((&*first.stream, &*first.model), ("normal", ""));
}

#[test]
fn memory_is_bounded_whatever_the_times_of_events_are() {
    let mut plant = Plant::new(7);
    // Every event in an hour of its own, then in a day of its own: a source with a broken clock.
    for (step, hurried) in [(HOUR, true), (40 * DAY, true)] {
        let mut merger = coarsening(door());
        let count = i64::try_from(GROUPS_MAX).unwrap() + 500;
        let mut appended = 0;
        for index in 0..count {
            let event = plant.event(0, START + index * step, MINUTE, Priority::Normal);
            merger.on(Priority::Normal).take(&record(&event), EventTime(0));
            appended += 1;
        }
        let mut queue = Queue::new();
        merger.finish(&mut |record, at| queue.push_back((record.to_vec(), at)));
        let merged = merger.counts().merged;
        assert_eq!(merged.hurried > 0, hurried, "{merged:?}");
        assert!(queue.len() <= GROUPS_MAX + 300, "{}", queue.len());
        let told = ledger(&queue);
        assert_eq!(told.events(), appended);
        assert_eq!(told.lost(), merged.overflowed, "{merged:?}");
        assert_eq!(merged.overflowed > 0, step > DAY, "{merged:?}");
    }
}

#[test]
fn a_damaged_record_is_told_as_something_and_stops_nothing() {
    let mut queue = queue_of(&minutes(&mut Plant::new(9), 200));
    let mut merger = coarsening(door());
    for _ in 0..2 {
        let (half, all) = (queue.len() / 2, queue.len());
        draw(&mut queue, &mut merger, half);
        let mut random = fastrand::Rng::with_seed(u64::try_from(all).unwrap());
        for (record, _) in &mut queue {
            for _ in 0..random.usize(..3) {
                let at = random.usize(..record.len());
                record[at] = random.u8(..);
            }
        }
        let records = queue.len();
        draw(&mut queue, &mut merger, records);
        assert!(!queue.is_empty());
    }
    let counts = merger.counts();
    assert!(counts.undecodable > 10 && counts.merged.unreadable_sketches > 0, "{counts:?}");
    assert!(ledger(&queue).gaps[&("normal".to_owned(), "undeliverable")] > 10);
}

#[test]
fn planted_bugs_are_seen_by_the_ledger() {
    let mut queue = queue_of(&minutes(&mut Plant::new(8), 600));
    let appended = ledger(&queue);
    let all = queue.len();
    draw(&mut queue, &mut coarsening(door()), all);
    assert_eq!(ledger(&queue).differs(&appended), None);
    let planted = |spoil: fn(&mut Queue)| {
        let mut queue = queue.clone();
        spoil(&mut queue);
        ledger(&queue).differs(&appended)
    };
    assert!(planted(|queue| drop(queue.pop_back())).is_some(), "a summary lost");
    assert!(planted(|queue| queue.push_back(queue[3].clone())).is_some(), "a summary told twice");
    let swapped = |queue: &mut Queue| {
        // One event less here, one more there: the sum is right, the streams are not.
        let index: Vec<_> =
            (0..queue.len()).filter(|index| read(&queue[*index].0).summary.is_some()).collect();
        let (one, other) = (index[0], index[1]);
        assert_ne!(read(&queue[one].0).stream, read(&queue[other].0).stream);
        queue[other].0 = queue[one].0.clone();
    };
    assert!(planted(swapped).is_some(), "one stream told in place of another");
}
