//! CARD: a million topics, sources and ids. Is memory bounded, is every one of them counted, do good streams go on?
//!
//! Every byte is counted here: the allocator of the program is that of this test.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, Uptime, UtcTime};
use tidegate::config::Config;
use tidegate::flow::{Report, SampleBatch, StreamId};
use tidegate::infer::WorkInput;
use tidegate::ingest::{Ingest, Message, Sink};
use tidegate::pipeline::Pipeline;
use tidegate::runtime::{Models, memory_plan, plan};
use tidegate::tally::{DropReason, Stage};
use tidegate_alloc::{Account, Entered, enter};

#[global_allocator]
static ALLOCATOR: tidegate_alloc::Counting = tidegate_alloc::Counting;

/// How many of each.
const MILLION: u32 = 1_000_000;

/// Seed of the order in which strangers come.
const SEED: u64 = 0x0CA2_D1A1;

/// A good message comes after so many of the flood.
const GOOD_EVERY: u32 = 100;

/// What memory may grow by while nine tenths of the flood come: buffers that double once more.
const GROWTH_MAX: usize = 64 << 10;

const CONFIG: &str = r#"
[gateway]
site = "s"
id = "g"
state_dir = "/tmp"
[plant]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "mqtt://127.0.0.1:2"
[budget]
memory = "64 MiB"
[[models]]
name = "none"
path = "/none"
[[streams]]
name = "good"
kind = "sensor"
topic = "plant/pump/telemetry"
payload = { format = "json", time = "ts", values = ["a", "b"] }
window = { length = "10 s", hop = "10 s", lateness = "0 s", period = "1 s" }
features = ["a.mean"]
forward = { events = "all" }
[[streams]]
name = "flood"
kind = "sensor"
topic = "strangers/#"
payload = { format = "json", time = "ts", values = ["a", "b"] }
window = { length = "10 s", hop = "10 s", lateness = "0 s", period = "1 s" }
features = ["a.mean"]
forward = { events = "all" }
[[streams]]
name = "reports"
kind = "report"
topic = "reports/log"
payload = { format = "json", text = "text", id = "id" }
classifier = "none"
forward = { events = "all" }
"#;

const GOOD: StreamId = StreamId(0);
const FLOOD: StreamId = StreamId(1);
const REPORTS: StreamId = StreamId(2);

/// The stages that see what comes in, with the limits of the plan, and a model's thread that judges all at once.
struct Gateway {
    config: Config,
    ingest: Ingest,
    pipeline: Pipeline,
    judged: [u64; 3],
    second: u32,
}

struct Feed<'a>(&'a mut Pipeline, UtcTime);

impl Sink for Feed<'_> {
    fn samples(&mut self, batch: &SampleBatch) {
        self.0.push_samples(batch, self.1);
    }

    fn report(&mut self, report: Report) {
        self.0.push_report(report);
    }
}

impl Gateway {
    fn new(topic_bytes: u32) -> Self {
        let limits = format!("[limits]\ntopic_bytes = {topic_bytes}\n[[streams]]");
        let config = Config::parse(&CONFIG.replacen("[[streams]]", &limits, 1)).unwrap();
        let (ingest, pipeline) = plan(&config, &[None], &[None], 1).ok().unwrap().stages();
        Self { config, ingest, pipeline, judged: [0; 3], second: 0 }
    }

    fn send(&mut self, topic: &str, payload: &str) {
        let (now, micros) = (self.now(), EARLIEST_PLAUSIBLE.0 + i64::from(self.second) * 1_000_000);
        let wall = UtcTime { micros, quality: ClockQuality::Synced };
        let (topic, payload) = (topic.as_bytes(), payload.as_bytes());
        let message = Message { topic, payload, received: now, arrival: EventTime(micros) };
        self.ingest.accept(&message, &mut Feed(&mut self.pipeline, wall));
        self.judge();
    }

    /// Sends a row of samples of this second.
    fn send_samples(&mut self, topic: &str) {
        let at = EARLIEST_PLAUSIBLE.0 / 1_000 + i64::from(self.second) * 1_000;
        self.send(topic, &format!(r#"{{"ts":{at},"a":1.5,"b":2.5}}"#));
    }

    fn now(&self) -> Uptime {
        Uptime(u64::from(self.second) * 1_000_000_000)
    }

    fn judge(&mut self) {
        let now = self.now();
        self.pipeline.tick(now);
        while let Some(mut batch) = self.pipeline.next_batch(now) {
            for work in batch.work.drain(..) {
                self.judged[usize::from(work.subject.stream.0)] += 1;
                if let WorkInput::Window(window) = work.input {
                    self.pipeline.recycle(window);
                }
            }
            self.pipeline.settle(batch, Duration::ZERO, now);
        }
    }

    /// Sends the flood: one message after the other by number, and between them good ones, one a second.
    fn flood(&mut self, mut message: impl FnMut(&mut Self, u32)) {
        bounded(|number| {
            message(self, number);
            if number.is_multiple_of(GOOD_EVERY) {
                self.second += 1;
                self.send_samples("plant/pump/telemetry");
            }
        })
        .unwrap();
        self.pipeline.finish(self.now());
        self.judge();
    }

    /// Nothing of the good stream is missing, and every message and sample is accounted for.
    fn check(&self) {
        let good = u64::from(MILLION / GOOD_EVERY);
        assert_eq!(
            (self.ingest.stream_tally(GOOD).received, self.ingest.stream_tally(GOOD).passed),
            (good, good)
        );
        assert_eq!(
            self.judged[usize::from(GOOD.0)],
            good / 10 + 1,
            "windows of the good stream, second 1 to the last"
        );
        assert!(self.ingest.tally().balances(0), "{:?}", self.ingest.tally());
        for stage in [Stage::Window, Stage::Infer] {
            let (tally, held) = self.pipeline.count(stage);
            assert!(tally.balances(held), "{tally:?} {held}");
        }
    }
}

/// Bytes this test holds: every test has an account of its own, since they run side by side.
fn held() -> usize {
    tidegate_alloc::live(ACCOUNT.with(Cell::get))
}

thread_local! {
    static ACCOUNT: Cell<Account> = const { Cell::new(Account::OTHER) };
}

/// Books what this thread takes from now on to an account of its own.
fn on_account(number: u8) -> Entered {
    ACCOUNT.set(Account::new(number));
    enter(Account::new(number))
}

/// Runs a million steps. An error with the growth if memory still grows in the last nine tenths of them.
fn bounded(mut step: impl FnMut(u32)) -> Result<(), usize> {
    fastrand::seed(SEED);
    (0..MILLION / 10).for_each(&mut step);
    let before = held();
    (MILLION / 10..MILLION).for_each(&mut step);
    let growth = held().saturating_sub(before);
    if growth > GROWTH_MAX { Err(growth) } else { Ok(()) }
}

#[test]
fn a_million_topics_are_counted_one_by_one_and_take_what_the_plan_says() {
    let _account = on_account(1);
    let mut gateway = Gateway::new(256);
    // As long as a topic may be: the tables are planned for that.
    let filling = "x".repeat(200);
    let (mut kept, mut before) = (0, held());
    gateway.flood(|gateway, number| {
        if number == 0 {
            before = held();
        }
        gateway.send_samples(&format!("strangers/{number:08}/{filling}/{}", fastrand::u32(..)));
        if number == MILLION - 1 {
            kept = held().saturating_sub(before);
        }
    });
    gateway.check();
    let series = u64::from(gateway.config.limits.series);
    let flood = gateway.ingest.stream_tally(FLOOD);
    // Of the sources a third of one half is kept for each stream; the flood has its own part and the shared half.
    let admitted = series - 2 * (series / 2 / 3);
    assert_eq!((flood.received, flood.passed), (u64::from(MILLION), admitted));
    assert_eq!(flood.dropped(DropReason::SeriesLimit), u64::from(MILLION) - admitted);
    let plan = memory_plan(&gateway.config, &Models::none());
    let planned: u64 = plan
        .iter()
        .filter(|part| part.what.starts_with("sources") || part.what.starts_with("open windows"))
        .map(|part| part.bytes.0)
        .sum();
    println!("seed {SEED:#x}: {MILLION} topics, {admitted} admitted, {kept} bytes kept of {planned} planned");
    assert!(kept as u64 <= planned, "{kept} of {planned}");
}

#[test]
fn a_source_that_comes_after_the_flood_still_finds_its_place() {
    let _account = on_account(2);
    let mut gateway = Gateway::new(64);
    for number in 0..20_000 {
        gateway.send_samples(&format!("strangers/{number}"));
    }
    gateway.send_samples("plant/pump/telemetry");
    assert_eq!(gateway.ingest.stream_tally(GOOD).passed, 1);
}

#[test]
fn a_million_topics_that_nobody_asked_for_leave_nothing_behind() {
    let _account = on_account(3);
    let mut gateway = Gateway::new(64);
    gateway.flood(|gateway, number| gateway.send_samples(&format!("nobody/{number}/{}", fastrand::u32(..))));
    gateway.check();
    assert_eq!(gateway.ingest.tally().dropped(DropReason::NoStream), u64::from(MILLION));
    println!("seed {SEED:#x}: {MILLION} topics of no stream");
}

#[test]
fn a_million_reports_with_ids_of_their_own_leave_nothing_behind() {
    let _account = on_account(4);
    let mut gateway = Gateway::new(64);
    gateway.flood(|gateway, number| {
        let text = format!(r#"{{"id":"{number}-{}","text":"pump trips"}}"#, fastrand::u64(..));
        gateway.send("reports/log", &text);
    });
    gateway.check();
    assert_eq!(gateway.judged[usize::from(REPORTS.0)], u64::from(MILLION));
    println!("seed {SEED:#x}: {MILLION} ids");
}

/// The planted bug: a table that remembers every topic it has seen, as the topic cache would without its limit.
#[test]
fn a_table_that_remembers_every_topic_is_caught() {
    let _account = on_account(5);
    let mut seen = HashSet::new();
    let grown = bounded(|number| {
        seen.insert(format!("strangers/{number}"));
    });
    assert!(grown.unwrap_err() > 10 << 20);
}
