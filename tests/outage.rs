//! A month without a link in little space: what is left of it when the link is back.
//!
//! `cargo test --test outage -- --nocapture` prints the figures; `OUTAGE_RATE=4` in the environment makes the plant of the
//! month in 8 MiB four times as busy.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate::clock::{Clock, ClockQuality, EventTime, SystemClock, Uptime, UtcTime};
use tidegate::config::{Config, DEFAULT_CONFIG};
use tidegate::egress;
use tidegate::flow::{EventId, Facts, GapReason, Grain, Outbound, Priority, TimeSpan};
use tidegate::outbox::{Appended, Lane, Outbox, OutboxConfig, Seq, WhenFull};
use tidegate::runtime::{Coarsening, Room, SummaryIds};
use tidegate::tally::DropReason;
use tidegate::units::Bytes;

#[path = "support/memory_disk.rs"]
#[expect(dead_code, reason = "shared with the tests of the outbox's thread, which make it fail")]
mod memory_disk;
#[path = "support/story.rs"]
mod story;

use memory_disk::MemoryDisk;
use story::{DAY, HOUR, Ledger, MINUTE, Plant, START, STREAMS, begin, door, read, record};

const SEED: u64 = 20_261_120;

/// The gateway's outbox and what its thread does.
struct Gateway {
    disk: MemoryDisk,
    outbox: Outbox<MemoryDisk>,
    room: Room,
    ids: SummaryIds,
    appended: Ledger,
    alarms: BTreeSet<EventId>,
    payload: u64,
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

fn uptime(at: i64) -> Uptime {
    Uptime::ZERO.after(Duration::from_micros((at - START).unsigned_abs()))
}

impl Gateway {
    fn new(config: OutboxConfig) -> Self {
        let disk = MemoryDisk::default();
        let outbox = Outbox::open(disk.clone(), config, SEED, wall(START)).unwrap().outbox;
        let room = Room::new(Coarsening::new(door(), SummaryIds::new(outbox.epoch())));
        let ids = SummaryIds::new(outbox.epoch() + 1);
        let (appended, alarms) = (Ledger::default(), BTreeSet::new());
        Self { disk, outbox, room, ids, appended, alarms, payload: 0, peak: 0 }
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

    /// What the thread of the outbox does every few minutes: sync, make room, tell of losses.
    fn turn(&mut self, at: i64) {
        self.outbox.sync().unwrap();
        while self.room.make(&mut self.outbox, uptime(at)).unwrap() {}
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
        let id = self.ids.take();
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
fn outage(gateway: &mut Gateway, days: i64, rate: i64) {
    let mut plant = Plant::new(SEED);
    let length = MINUTE / rate;
    for step in 0..days * DAY / length {
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
fn told(gateway: &mut Gateway, days: i64) -> (Hours, usize, u64) {
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
        for hour in START / HOUR..START / HOUR + 24 * days {
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

fn run(config: OutboxConfig, days: i64, rate: i64) -> (Hours, u64) {
    let (clock, size_max) = (SystemClock::start(), config.size_max.0);
    let mut gateway = Gateway::new(config);
    outage(&mut gateway, days, rate);
    let (appended, payload, written) = (gateway.appended.events(), gateway.payload, gateway.disk.written());
    let alarms = gateway.alarms.len();
    let (hours, sent, lost) = told(&mut gateway, days);
    assert!(gateway.peak <= size_max, "{} bytes on disk", gateway.peak);
    let drawn = gateway.outbox.tally().dropped(DropReason::Coarsened);
    println!(
        "{days} days without a link, {appended} events ({} a day), {} KiB of records into {} KiB (peak {} KiB), seed {SEED}:",
        appended / days.unsigned_abs(),
        payload >> 10,
        size_max >> 10,
        gateway.peak >> 10,
    );
    println!(
        "  {} segments with {drawn} records drawn together; {:.2} bytes written for one of payload; {sent} records arrive, all {alarms} alarms among them; {lost} events told as lost",
        gateway.room.rounds(),
        written as f64 / payload as f64,
    );
    println!(
        "  {} streams of {} hours: {hours:?}; {:.1} s",
        STREAMS.len(),
        24 * days,
        clock.uptime().since(Uptime::ZERO).as_secs_f64()
    );
    let counts = gateway.room.merger().counts();
    assert_eq!((counts.undecodable, counts.refused, counts.merged.overflowed), (0, 0, 0));
    assert_eq!(
        (counts.merged.hurried, counts.merged.untold_names, counts.merged.unreadable_sketches),
        (0, 0, 0)
    );
    (hours, lost)
}

fn coarsen(size_max: u64, segment_bytes: u64) -> OutboxConfig {
    OutboxConfig { size_max: Bytes(size_max), segment_bytes: Bytes(segment_bytes), ..configured("8 MiB") }
}

/// As the operator gets it.
fn configured(size_max: &str) -> OutboxConfig {
    let text = DEFAULT_CONFIG.replace("size_max = \"256 MiB\"", &format!("size_max = \"{size_max}\""));
    let text = text.replace("when_full = \"drop-oldest\"", "when_full = \"coarsen\"");
    let text = text.replace("age_max = \"30 d\"", "age_max = \"60 d\"");
    let outbox = Config::parse(&text).unwrap().outbox;
    assert_eq!(outbox.when_full, WhenFull::Coarsen);
    outbox
}

#[test]
fn a_month_in_8_mib_keeps_every_alarm_and_a_summary_of_every_hour() {
    let rate = std::env::var("OUTAGE_RATE").map_or(1, |rate| rate.parse().unwrap());
    let (hours, lost) = run(configured("8 MiB"), 30, rate);
    assert_eq!((hours.day, hours.nothing, lost), (0, 0, 0), "{hours:?}");
    assert!(hours.events > 0 && hours.ten_minutes + hours.hour > 0, "{hours:?}");
}

#[test]
fn in_far_too_little_space_days_are_left_and_nothing_is_lost() {
    let (hours, lost) = run(coarsen(512 << 10, 16 << 10), 8, 1);
    assert_eq!((hours.nothing, lost), (0, 0), "{hours:?}");
    assert!(hours.day > 0, "{hours:?}");
}

#[test]
fn what_is_on_its_way_is_not_drawn_together() {
    let mut gateway = Gateway::new(coarsen(256 << 10, 8 << 10));
    let mut plant = Plant::new(SEED);
    let mut at = START;
    while gateway.outbox.used().0 <= (256 << 10) / 8 * 7 {
        at += MINUTE;
        gateway.store(&plant.event(0, at, MINUTE, Priority::Normal), at);
    }
    gateway.outbox.sync().unwrap();
    let mut sent = Vec::new();
    let durable = gateway.outbox.durable(Lane::Normal);
    gateway.outbox.read(Lane::Normal, Seq(1), durable, 100, usize::MAX, &mut sent).unwrap();
    gateway.room.handed_out(Lane::Normal, &sent, uptime(at));
    assert!(gateway.room.make(&mut gateway.outbox, uptime(at)).unwrap(), "others are");
    let mut again = Vec::new();
    gateway.outbox.read(Lane::Normal, Seq(1), durable, 100, usize::MAX, &mut again).unwrap();
    assert_eq!(again, sent, "they are all there");
    // Fifteen minutes later the link is away again, without an acknowledgement.
    let later = uptime(at + 16 * MINUTE);
    for minute in 0..90 {
        gateway.store(&plant.event(0, at + minute * MINUTE, MINUTE, Priority::Normal), at);
    }
    gateway.outbox.sync().unwrap();
    while gateway.room.make(&mut gateway.outbox, later).unwrap() {}
    again.clear();
    gateway.outbox.read(Lane::Normal, Seq(1), durable, 100, usize::MAX, &mut again).unwrap();
    assert_ne!(again, sent);
    gateway.appended.streams.values().for_each(|told| assert!(told.events > 0));
    let (hours, _, lost) = told(&mut gateway, 0);
    assert_eq!((hours, lost), (Hours::default(), 0), "each is told once");
}
