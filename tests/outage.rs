//! A month without a link in little space: what is left of it when the link is back.
//!
//! `cargo test --test outage -- --nocapture` prints the figures; `OUTAGE_RATE=4` in the environment makes the plant of the
//! month in 8 MiB four times as busy.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidegate::clock::{ClockQuality, EventTime, UtcTime};
use tidegate::egress;
use tidegate::flow::{EventId, Facts, GapReason, Grain, Outbound, Priority, TimeSpan};
use tidegate::outbox::{Appended, Coarsened, Lane, Outbox, OutboxConfig, Seq, WhenFull};
use tidegate::runtime::{Coarsening, SummaryIds};
use tidegate::tally::DropReason;
use tidegate::units::Bytes;

#[path = "support/memory_disk.rs"]
mod memory_disk;
#[path = "support/story.rs"]
mod story;

use memory_disk::MemoryDisk;
use story::{DAY, HOUR, Ledger, MINUTE, Plant, START, STREAMS, begin, door, read, record};

const SEED: u64 = 20_261_120;
const DAYS: i64 = 30;

/// The gateway's outbox and what its thread does.
struct Gateway {
    disk: MemoryDisk,
    outbox: Outbox<MemoryDisk>,
    merger: Coarsening,
    appended: Ledger,
    alarms: BTreeSet<EventId>,
    payload: u64,
    rounds: u64,
    peak: u64,
}

/// By what each hour of each stream is told.
#[derive(Debug, Default, PartialEq)]
struct Hours {
    events: usize,
    ten_minutes: usize,
    hour: usize,
    day: usize,
    nothing: usize,
}

fn wall(at: i64) -> UtcTime {
    UtcTime { micros: at, quality: ClockQuality::Synced }
}

impl Gateway {
    fn new(size_max: u64) -> Self {
        let disk = MemoryDisk::default();
        let config = OutboxConfig {
            size_max: Bytes(size_max),
            segment_bytes: Bytes(std::env::var("SEG").map_or(128, |v| v.parse().unwrap()) << 10),
            when_full: WhenFull::Coarsen,
            age_max: Duration::from_hours(60 * 24),
            ..OutboxConfig::default()
        };
        let outbox = Outbox::open(disk.clone(), config, SEED, wall(START)).unwrap().outbox;
        let merger = Coarsening::new(door(), SummaryIds::new(outbox.epoch()));
        let (appended, alarms) = (Ledger::default(), BTreeSet::new());
        Self { disk, outbox, merger, appended, alarms, payload: 0, rounds: 0, peak: 0 }
    }

    fn store(&mut self, event: &Outbound, at: i64) {
        let facts = event.facts();
        self.appended.add(facts);
        if facts.priority == Priority::Alarm {
            self.alarms.insert(facts.id);
        }
        let record = record(event);
        self.payload += record.len() as u64;
        let stored = self.outbox.append(lane(facts.priority), &record, EventTime(at)).unwrap();
        assert!(matches!(stored, Appended::Stored(_)), "{stored:?}");
    }

    /// What the thread of the outbox does about every minute: sync, make room, tell of losses.
    fn turn(&mut self, at: i64) {
        self.outbox.sync().unwrap();
        let limit = self.outbox.config().size_max.0 / 8 * 7;
        while self.outbox.used().0 > limit {
            let bytes = |outbox: &mut Outbox<_>, lane| outbox.stat(lane).unwrap().bytes.0;
            let bulk = 2 * bytes(&mut self.outbox, Lane::Bulk) > bytes(&mut self.outbox, Lane::Normal);
            let lanes =
                if bulk { [Priority::Bulk, Priority::Normal] } else { [Priority::Normal, Priority::Bulk] };
            let gained = lanes.into_iter().any(|priority| {
                let outcome = self.outbox.coarsen(lane(priority), self.merger.on(priority)).unwrap();
                matches!(outcome, Coarsened::Done { .. })
            });
            if !gained {
                break;
            }
            self.rounds += 1;
        }
        for priority in [Priority::Normal, Priority::Bulk] {
            let untold = self.outbox.gaps(lane(priority));
            for (index, reason) in GapReason::ALL.into_iter().enumerate() {
                if untold.counts[index] > 0 {
                    let (from, to) = untold.spans[index].unwrap_or((EventTime(at), EventTime(at)));
                    let mut counts = [0; 4];
                    counts[index] = untold.counts[index];
                    self.tell((priority, reason), counts, TimeSpan { from, to }, at);
                }
            }
        }
        self.peak = self.peak.max(self.disk.bytes());
    }

    fn tell(&mut self, (priority, reason): (Priority, GapReason), counts: [u64; 4], span: TimeSpan, at: i64) {
        let events = counts.iter().sum();
        let id = self.merger.ids().take();
        let gap = egress::gap(id, priority, reason, events, span, ClockQuality::Synced);
        let stored = self.outbox.append(lane(priority), &record(&gap), EventTime(at)).unwrap();
        let Appended::Stored(seq) = stored else { panic!("{stored:?}") };
        self.outbox.told(lane(priority), seq, counts);
    }

    /// Everything that is left, as it would be sent; acknowledged batch by batch.
    fn drain(&mut self) -> Vec<Facts> {
        self.outbox.sync().unwrap();
        let mut sent = Vec::new();
        for lane in Lane::ALL {
            let mut from = Seq(self.outbox.acked(lane).0 + 1);
            let mut batch = Vec::new();
            loop {
                batch.clear();
                let durable = self.outbox.durable(lane);
                self.outbox.read(lane, from, durable, 256, 64 << 10, &mut batch).unwrap();
                let Some(last) = batch.last().map(|record| record.seq) else { break };
                sent.extend(batch.iter().map(|record| read(&record.payload)));
                self.outbox.advance(lane, last).unwrap();
                from = Seq(last.0 + 1);
            }
        }
        assert_eq!(self.outbox.held(), 0, "all is acknowledged");
        assert!(self.outbox.tally().balances(0), "{:?}", self.outbox.tally());
        sent
    }
}

fn lane(priority: Priority) -> Lane {
    match priority {
        Priority::Alarm => Lane::Alarm,
        Priority::Normal => Lane::Normal,
        Priority::Bulk => Lane::Bulk,
    }
}

/// Lets the plant run without a link: three streams of windows, reports on the bulk lane, an alarm every four hours.
fn outage(gateway: &mut Gateway, rate: i64) {
    let mut plant = Plant::new(SEED);
    let length = MINUTE / rate;
    for step in 0..DAYS * DAY / length {
        let at = START + step * length;
        for stream in 0..3 {
            gateway.store(&plant.event(stream, at, length, Priority::Normal), at);
        }
        if step % 3 == 0 {
            gateway.store(&plant.event(3, at, 0, Priority::Bulk), at);
        }
        if at % (4 * HOUR) == 17 * MINUTE {
            gateway.store(&plant.event(0, at, length, Priority::Alarm), at);
        }
        if step % 4 == 3 {
            gateway.turn(at);
        }
    }
}

/// Checks what arrived and says by what each hour is told.
fn told(gateway: &mut Gateway) -> (Hours, usize, u64) {
    let sent = gateway.drain();
    let mut ledger = Ledger::default();
    let mut hours: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for facts in &sent {
        ledger.add(facts);
        let ranks = match facts.summary.as_ref().map(|summary| summary.grain) {
            None if facts.priority == Priority::Alarm => {
                assert!(gateway.alarms.remove(&facts.id), "an alarm twice, or none of ours");
                continue;
            }
            None => 0..1,
            Some(Grain::TenMinutes) => 1..2,
            Some(Grain::Hour) => 2..3,
            Some(Grain::Day) => 3..4,
            Some(Grain::Gap(_)) => 0..0,
        };
        assert_ne!(facts.priority, Priority::Alarm, "an alarm drawn together");
        for rank in ranks {
            let covered = if rank == 3 { 24 } else { 1 };
            for hour in 0..covered {
                let hour = begin(facts).div_euclid(HOUR) + hour;
                let best = hours.entry((facts.stream.to_string(), hour)).or_insert(rank);
                *best = rank.min(*best);
            }
        }
    }
    assert!(gateway.alarms.is_empty(), "{} alarms did not arrive", gateway.alarms.len());
    assert_eq!(ledger.differs(&gateway.appended), None);
    let mut found = Hours::default();
    for stream in STREAMS {
        for hour in START / HOUR..START / HOUR + 24 * DAYS {
            match hours.get(&(stream.to_owned(), hour)) {
                Some(0) => found.events += 1,
                Some(1) => found.ten_minutes += 1,
                Some(2) => found.hour += 1,
                Some(_) => found.day += 1,
                None => found.nothing += 1,
            }
        }
    }
    (found, sent.len(), ledger.lost())
}

fn run(size_max: u64, rate: i64) -> Hours {
    let started = Instant::now();
    let mut gateway = Gateway::new(size_max);
    outage(&mut gateway, rate);
    let (appended, payload, written) = (gateway.appended.events(), gateway.payload, gateway.disk.written());
    let alarms = gateway.alarms.len();
    let (hours, sent, lost) = told(&mut gateway);
    assert!(gateway.peak <= size_max, "{} bytes on disk", gateway.peak);
    let drawn = gateway.outbox.tally().dropped(DropReason::Coarsened);
    println!(
        "{DAYS} days, {appended} events ({} a day), {} KiB of records into {} KiB (peak {} KiB), seed {SEED}:",
        appended / u64::try_from(DAYS).unwrap(),
        payload >> 10,
        size_max >> 10,
        gateway.peak >> 10,
    );
    println!(
        "  {} rounds drew {drawn} records together; {} KiB written for each of payload; {sent} records arrived, {alarms} alarms, {lost} events lost",
        gateway.rounds,
        written as f64 / payload as f64,
    );
    println!("  hours of {} streams: {hours:?}; {:.1} s", STREAMS.len(), started.elapsed().as_secs_f64());
    println!("  {:?}", gateway.merger.counts());
    hours
}

#[test]
fn a_month_in_8_mib_keeps_every_alarm_and_a_summary_of_every_hour() {
    let rate = std::env::var("OUTAGE_RATE").map_or(1, |rate| rate.parse().unwrap());
    let hours = run(8 << 20, rate);
    assert_eq!((hours.day, hours.nothing), (0, 0), "{hours:?}");
    assert!(hours.events > 0 && hours.ten_minutes + hours.hour > 0, "{hours:?}");
}
