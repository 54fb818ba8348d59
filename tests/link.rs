//! Row LINK of the fault matrix in real time: the program between two Mosquittos, its way upstream through a bad link.
//!
//! The matrix by a clock of its own is `src/runtime/link/tests.rs`; here the same links are run as they are, all at once,
//! so that the slowest decides: 40 s in all. `cargo test --test link -- --nocapture` prints what each has shown.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and tell why"
)]

mod common;

#[path = "support/chaos_proxy.rs"]
#[expect(dead_code, reason = "a cut at one byte is for runs by the thousand")]
mod chaos_proxy;
#[path = "support/tcp_ends.rs"]
mod tcp_ends;
mod service {
    #![allow(dead_code, reason = "a part of what the tests of the service use")]
    pub(crate) mod gate;
    pub(crate) mod gateway;
    pub(crate) mod tap;
    pub(crate) mod world;
}

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use chaos_proxy::{Blow, ChaosProxy, Passage, Split, Weather};
use common::mosquitto::Mosquitto;
use service::gateway::Gateway;
use service::tap::{Seen, Tap, feed};
use service::world::{Plan, config, events, good, unique, value_of};
use tcp_ends::TcpEnds;
use tidegate::io::mqtt::Protocol;
use tokio::time::Instant;

/// Events of each gateway: those that wait when its link comes up, then those of every second.
const BACKLOG: u64 = 200;
const LIVE: u64 = 10;

/// Shortest wait between a connection's end and the next attempt, less what a busy machine blurs.
const FLOOR: Duration = Duration::from_millis(80);

/// One gateway and what stands between it and the shore.
struct Row {
    name: &'static str,
    weather: Weather,
    blows: Vec<Blow>,
    keep_alive: Duration,
    /// Whether the broker upstream dies after the backlog and comes back without its memory.
    amnesia: bool,
}

impl Row {
    fn new(name: &'static str, round_trip: f64, rate: u32) -> Self {
        let round_trip = Duration::from_secs_f64(round_trip);
        let weather = Weather { round_trip, rate: Some(rate), split: Split::Whole, stall: None };
        Self { name, weather, blows: Vec::new(), keep_alive: Duration::from_secs(30), amnesia: false }
    }
}

/// A row that runs.
struct Running {
    row: Row,
    proxy: ChaosProxy,
    shore: Mosquitto,
    tap: Tap,
    gateway: Gateway,
}

fn rows() -> Vec<Row> {
    let half_open = |keep_alive| Row {
        blows: vec![Blow::HalfOpen(1_000, Duration::from_secs(8))],
        keep_alive: Duration::from_secs(keep_alive),
        ..Row::new("half-open for 8 s", 0.6, 9_600)
    };
    let satellite = |name, rate| Row { keep_alive: Duration::from_mins(2), ..Row::new(name, 20.0, rate) };
    vec![
        Row::new("0.6 s, 2.4 kbit/s", 0.6, 2_400),
        Row::new("0.6 s, 64 kbit/s", 0.6, 64_000),
        Row::new("5 s, 2.4 kbit/s", 5.0, 2_400),
        Row {
            weather: Weather { split: Split::Bytes, ..Row::new("", 0.6, 9_600).weather },
            ..Row::new("0.6 s, byte by byte", 0.6, 9_600)
        },
        Row {
            weather: Weather { stall: Some(Duration::from_secs(4)), ..Row::new("", 0.6, 9_600).weather },
            ..Row::new("0.6 s, stalls up to 4 s", 0.6, 9_600)
        },
        Row {
            blows: vec![Blow::ResetUp(300), Blow::ResetDown(5), Blow::ResetUp(9), Blow::ResetUp(1_100)],
            ..Row::new("0.6 s, 4 resets in mid-frame", 0.6, 9_600)
        },
        Row { amnesia: true, ..Row::new("0.6 s, broker dies and forgets", 0.6, 9_600) },
        half_open(5),
        satellite("20 s, 2.4 kbit/s", 2_400),
        satellite("20 s, 64 kbit/s", 64_000),
    ]
}

async fn start(row: Row, plant: u16, number: u64) -> Running {
    let shore = Mosquitto::start(false);
    let tap = Tap::new(shore.port(), "shore");
    let (ends, port) = TcpEnds::before(shore.port()).await;
    let proxy = ChaosProxy::start(ends, row.weather, row.blows.clone(), 20_261_120 + number);
    let plan = Plan { protocol: Protocol::V311, ..Plan::default() };
    let text = config(&format!("gw-{number}"), plant, port, &plan);
    // The rule of the documents: four round trips and ten seconds.
    let connect = (row.weather.round_trip * 4).as_secs() + 10;
    let times = format!("connect_timeout = \"{connect} s\"\nkeep_alive = \"{} s\"", row.keep_alive.as_secs());
    let gateway = Gateway::start(&text.replace("connect_timeout = \"5 s\"", &times));
    Running { row, proxy, shore, tap, gateway }
}

/// How often each value has arrived.
fn arrived(seen: &[Seen]) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for value in events(seen).iter().filter_map(value_of) {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// Waits until everything up to a value has arrived; meanwhile the link works.
async fn delivered(running: &Running, upto: u64) {
    while (arrived(&running.tap.all()).range(..upto).count() as u64) < upto {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Longest time a connection that the broker had welcomed was believed in after it was swallowed.
fn believed(passages: &[Passage]) -> Option<Duration> {
    let believed = |passage: &Passage| {
        let since = passage.swallowed.filter(|_| passage.down > 0)?;
        Some(passage.closed.map_or(Duration::MAX, |closed| closed.saturating_duration_since(since)))
    };
    passages.iter().filter_map(believed).max()
}

/// One row to its end. The broker's death stops its link for a moment, which is as good as any other break.
async fn run(row: Row, plant: u16, number: u64) {
    let mut running = start(row, plant, number).await;
    let began = Instant::now();
    delivered(&running, BACKLOG).await;
    if running.row.amnesia {
        running.shore.restart();
        running.tap.subscribed(2);
    }
    delivered(&running, BACKLOG + LIVE).await;
    let took = began.elapsed();
    let seen = running.tap.all();
    unique(&events(&seen));
    let counts = arrived(&seen);
    let twice: u32 = counts.values().map(|count| count - 1).sum();
    let passages = running.proxy.passages();
    let bytes: u64 = passages.iter().map(|passage| passage.up + passage.down).sum();
    let batches: usize =
        seen.iter().filter(|seen| seen.topic.contains("/up/")).map(|seen| seen.payload.len()).sum();
    let believed = believed(&passages);
    println!(
        "LINK real time, {:<31}: {} events, {twice} twice, {:>2} connects, {:>5.1} s, {bytes} bytes for batches of {batches}{}",
        running.row.name,
        counts.len(),
        passages.len(),
        took.as_secs_f64(),
        believed
            .map_or_else(String::new, |took| format!(", half-open believed for {:.1} s", took.as_secs_f64())),
    );
    assert_eq!(counts.len() as u64, BACKLOG + LIVE, "{}", running.row.name);
    let limit = running.row.keep_alive.mul_f64(1.5) + running.row.weather.round_trip;
    assert!(believed.is_none_or(|took| took <= limit + Duration::from_secs(1)), "{passages:#?}");
    for pair in passages.windows(2) {
        assert!(pair[1].opened.duration_since(pair[0].closed.unwrap()) >= FLOOR, "{passages:#?}");
    }
    assert_eq!(running.gateway.terminate().code(), Some(0));
}

#[test]
fn the_program_delivers_every_event_once_over_links_as_they_are() {
    let plant = Mosquitto::start(false);
    let (port, rows) = (plant.port(), rows());
    let ear = Tap::new(port, "ear");
    let count = rows.len();
    let run = |(row, number)| {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(run(row, port, number));
    };
    std::thread::scope(|scope| {
        let rows: Vec<_> = rows.into_iter().zip(0..).map(|row| scope.spawn(move || run(row))).collect();
        ear.wait(0, "every gateway on line", |seen| {
            let online = |seen: &&Seen| seen.topic.ends_with("status/available") && seen.text() == "online";
            (seen.iter().filter(online).count() >= count).then_some(())
        });
        feed(port, good(0..BACKLOG));
        let (tick, ticks) = mpsc::channel::<()>();
        for value in BACKLOG..BACKLOG + LIVE {
            assert!(ticks.recv_timeout(Duration::from_secs(1)).is_err());
            feed(port, good(value..value + 1));
        }
        drop(tick);
        for row in rows {
            row.join().unwrap();
        }
    });
}
