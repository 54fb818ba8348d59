//! A month without a link in 8 MiB: what is left of it when the link is back.
//!
//! `cargo test --test outage -- --nocapture` prints the figures.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use tidegate::clock::EventTime;
use tidegate::flow::{Grain, Priority};
use tidegate::outbox::Coarsen;
use tidegate::runtime::{Coarsening, SummaryIds};

#[path = "support/story.rs"]
mod story;

use story::{DAY, HOUR, Ledger, MINUTE, Plant, START, STREAMS, begin, door, read, record};

const SEED: u64 = 20_261_120;
const SIZE_MAX: usize = 8 << 20;
const SEGMENT: usize = 128 << 10;

/// Stand-in for the outbox: segments of records.
#[derive(Default)]
struct Lane {
    segments: VecDeque<Vec<(Vec<u8>, EventTime)>>,
    bytes: usize,
}

impl Lane {
    fn append(&mut self, record: Vec<u8>, at: EventTime) {
        let len = record.len() + 24;
        let full = |segment: &Vec<(Vec<u8>, EventTime)>| {
            segment.iter().map(|(record, _)| record.len() + 24).sum::<usize>() + len > SEGMENT
        };
        if self.segments.back().is_none_or(full) {
            self.segments.push_back(Vec::new());
        }
        self.segments.back_mut().unwrap().push((record, at));
        self.bytes += len;
    }
}

struct Figures {
    appended: u64,
    rounds: u64,
    bytes_in: usize,
    peak: usize,
    records: usize,
    bytes: usize,
    /// Hours of each stream told by: events, ten minutes, hour, day, nothing.
    hours: [usize; 5],
}

fn run(days: i64, rate: i64, _label: &str) -> (Figures, Coarsening) {
    let mut plant = Plant::new(SEED);
    let mut merger = Coarsening::new(door(), SummaryIds::new(1));
    let mut lanes = [Lane::default(), Lane::default(), Lane::default()];
    let mut appended = Ledger::default();
    let mut alarms = BTreeSet::new();
    let mut figures =
        Figures { appended: 0, rounds: 0, bytes_in: 0, peak: 0, records: 0, bytes: 0, hours: [0; 5] };
    let length = MINUTE / rate;
    for step in 0..days * DAY / length {
        let at = START + step * length;
        let mut events: Vec<_> =
            (0..3).map(|stream| plant.event(stream, at, length, Priority::Normal)).collect();
        if step % 3 == 0 {
            events.push(plant.event(3, at, 0, Priority::Bulk));
        }
        if step % 240 == 17 {
            events.push(plant.event(usize::try_from(step / 240 % 3).unwrap(), at, length, Priority::Alarm));
        }
        for event in events {
            let facts = event.facts();
            appended.add(facts);
            if facts.priority == Priority::Alarm {
                alarms.insert(facts.id);
            }
            let record = record(&event);
            figures.appended += 1;
            figures.bytes_in += record.len();
            lanes[facts.priority as usize].append(record, EventTime(at));
        }
        while lanes.iter().map(|lane| lane.bytes).sum::<usize>() > SIZE_MAX / 8 * 7 {
            figures.rounds += 1;
            let index =
                if lanes[2].segments.len() > 1 && lanes[2].bytes * 2 > lanes[1].bytes { 2 } else { 1 };
            let priority = Priority::ALL[index];
            let segment = lanes[index].segments.pop_front().unwrap();
            for (record, at) in &segment {
                lanes[index].bytes -= record.len() + 24;
                merger.on(priority).take(record, *at);
            }
            merger.finish(&mut |record, at| lanes[index].append(record.to_vec(), at));
        }
        figures.peak = figures.peak.max(lanes.iter().map(|lane| lane.bytes).sum());
    }
    let mut told = Ledger::default();
    let mut hours: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for lane in &lanes {
        for (record, _) in lane.segments.iter().flatten() {
            figures.records += 1;
            figures.bytes += record.len();
            let facts = read(record);
            told.add(&facts);
            if facts.priority == Priority::Alarm {
                assert!(alarms.remove(&facts.id), "an alarm twice");
                assert!(facts.summary.is_none(), "an alarm drawn together");
                continue;
            }
            let grain = facts.summary.as_ref().map(|summary| summary.grain);
            let from = begin(&facts);
            let mut cover = |hour: i64, rank: usize| {
                let best = hours.entry((facts.stream.to_string(), hour.div_euclid(HOUR))).or_insert(rank);
                *best = (*best).min(rank);
            };
            match grain {
                None => cover(from, 0),
                Some(Grain::TenMinutes) => cover(from, 1),
                Some(Grain::Hour) => cover(from, 2),
                Some(Grain::Day) => (0..24).for_each(|hour| cover(from + hour * HOUR, 3)),
                Some(Grain::Gap(_)) => {}
            }
        }
    }
    assert!(alarms.is_empty(), "{} alarms did not arrive", alarms.len());
    assert_eq!(told.differs(&appended), None);
    for stream in STREAMS {
        for hour in START / HOUR..(START + days * DAY) / HOUR {
            let rank = hours.get(&(stream.to_owned(), hour)).copied().unwrap_or(4);
            figures.hours[rank] += 1;
        }
    }
    (figures, merger)
}

fn figures(rate: i64, label: &str) {
    let started = Instant::now();
    let (figures, merger) = run(30, rate, label);
    let [events, tens, hours, days, nothing] = figures.hours;
    println!(
        "{label}: {} events, {} KiB of records; peak {} KiB; {} rounds; left {} records, {} KiB; hours by events {events}, ten minutes {tens}, hour {hours}, day {days}, nothing {nothing}; {:.1} s; {:?}",
        figures.appended,
        figures.bytes_in >> 10,
        figures.peak >> 10,
        figures.rounds,
        figures.records,
        figures.bytes >> 10,
        started.elapsed().as_secs_f64(),
        merger.counts(),
    );
}

#[test]
fn a_month_without_a_link_keeps_every_alarm_and_every_hour() {
    figures(1, "a window a minute");
}

#[test]
fn at_four_times_the_rate() {
    figures(4, "four windows a minute");
}

#[test]
fn zz_time() {
    let t = Instant::now();
    let mut plant = Plant::new(1);
    let events: Vec<_> =
        (0..10_000).map(|i| plant.event(0, START + i * MINUTE, MINUTE, Priority::Normal)).collect();
    println!("make {:?}", t.elapsed());
    let t = Instant::now();
    let records: Vec<_> = events.iter().map(record).collect();
    println!("encode {:?}, {} bytes", t.elapsed(), records[5].len());
    let t = Instant::now();
    for r in &records {
        read(r);
    }
    println!("decode {:?}", t.elapsed());
    let t = Instant::now();
    let mut c = tidegate::distill::Coarsener::default();
    for (r, e) in records.iter().zip(&events) {
        c.take(e.facts(), r, EventTime(0));
    }
    println!("take {:?}", t.elapsed());
    let t = Instant::now();
    let n = c.finish(tidegate::distill::Aim { hours: 0, days: usize::MAX }, 0, |_| 1000).len();
    println!("finish {:?} {n}", t.elapsed());
}
