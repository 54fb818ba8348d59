//! Row LINK of the fault matrix: the service's own forward path over bad links, by a clock that the test owns.
//!
//! Everything between the outbox on disk and the broker is the real thing: outbox thread, session, MQTT client, sockets.
//! The link is `tests/support/chaos_proxy.rs`, the broker `tests/support/far_broker.rs`; all of it runs on one executor
//! whose clock stands still while anything can go on. `cargo test --lib link_tests -- --nocapture` prints the matrix;
//! `LINK_SEED=n` runs it with another seed, `LINK_FULL=1` resets at every byte instead of every 13th and draws 1,000
//! mixtures instead of 30.

#[path = "../../../tests/support/chaos_proxy.rs"]
mod chaos_proxy;
#[path = "../../../tests/support/far_broker.rs"]
mod far_broker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::chaos_proxy::{Blow, ChaosProxy, Passage, Split, Weather};
use self::far_broker::{FarBroker, Manner};
use crate::clock::{Clock, ClockQuality, EventTime, SystemClock, Uptime};
use crate::config::UpstreamEncoding;
use crate::egress::Door;
use crate::flow::{Change, EventId, Facts, Named, Outbound, Priority, StreamKind, When};
use crate::forward::{Backoff, ForwardConfig, LaneStart, Moment, Session};
use crate::io::disk::Directory;
use crate::io::mqtt::{Endpoint, Protocol};
use crate::outbox::{Lane, Outbox, OutboxConfig};
use crate::runtime::coarsening::Coarsening;
use crate::runtime::forward::{Forward, Wires};
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::room::Room;
use crate::runtime::status::Topics;
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::target::Target;
use crate::telemetry::{Metrics, Progress};
use crate::wire::{BatchReader, Encoder, Origin, encode_record};

/// The configuration's defaults upstream.
const KEEP_ALIVE: Duration = Duration::from_mins(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(90);

/// Timers of the executor have this grain.
const CLOCK_TICK: Duration = Duration::from_millis(2);

/// Whatever the link does, everything has arrived after so long.
const PATIENCE: Duration = Duration::from_hours(4);

/// One run: a link, what befalls it, what is to be delivered.
#[derive(Clone)]
struct Case {
    weather: Weather,
    blows: Vec<Blow>,
    manner: Manner,
    /// Events in the outbox when the link comes up, and events that come while it works, with the time between.
    backlog: u64,
    live: u64,
    live_every: Duration,
    /// The broker forgets everything after the n-th live event, for each of these.
    amnesia: Vec<u64>,
    config: ForwardConfig,
    keep_alive: Duration,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            weather: weather(2.0, 9_600),
            blows: Vec::new(),
            manner: Manner::Once,
            backlog: 300,
            live: 60,
            live_every: Duration::from_secs(7),
            amnesia: Vec::new(),
            config: ForwardConfig::default(),
            keep_alive: KEEP_ALIVE,
        }
    }
}

/// A gateway that forwards, with its outbox, a link and a broker.
struct Ends {
    case: Case,
    broker: FarBroker,
    proxy: ChaosProxy,
    requests: mpsc::Sender<OutboxRequest>,
    report: watch::Receiver<OutboxReport>,
    grace: watch::Sender<Option<Uptime>>,
    forward: JoinHandle<()>,
    began: Instant,
    _folder: tempfile::TempDir,
}

/// What a run has shown.
struct Shown {
    /// How many events there were.
    wanted: u64,
    /// Ids and how often each arrived.
    arrived: BTreeMap<u64, u32>,
    /// Bytes of the batches that brought something new.
    new_bytes: u64,
    passages: Vec<Passage>,
    /// Until everything had arrived and the cursor knew.
    took: Duration,
}

fn virtual_now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A value that compresses like one of a plant: three decimals, of which two are noise.
fn reading(name: &str, number: u64) -> Named {
    let noise =
        fastrand::Rng::with_seed(number ^ name.len() as u64 ^ u64::from(name.as_bytes()[0]) << 20).u32(..200);
    Named { name: name.into(), value: (40_000 + noise) as f32 / 1_000.0 }
}

fn event(number: u64, historical: bool) -> Outbound {
    Outbound::passed(Facts {
        id: EventId { epoch: 1, number },
        stream: "pump".into(),
        kind: StreamKind::Sensor,
        when: When::At(EventTime(1_795_000_000_000_000 + i64::try_from(number).unwrap() * 60_000_000)),
        clock: ClockQuality::Synced,
        model: "".into(),
        results: Vec::new(),
        features: ["ts1.mean", "vs1.rms", "ce.mean", "ps1.p95"].map(|name| reading(name, number)).into(),
        entities: Vec::new(),
        extraction: None,
        completeness: Some(1.0),
        change: Change::New,
        priority: Priority::Normal,
        historical,
        summary: None,
    })
}

impl Ends {
    async fn start(case: Case, seed: u64) -> Self {
        fastrand::seed(seed);
        let broker = FarBroker::start(case.manner).await;
        let proxy = ChaosProxy::start(broker.port(), case.weather, case.blows.clone(), seed).await;
        let folder = folder();
        let (requests, report, durable) = start_outbox(folder.path());
        let (grace, grace_seen) = watch::channel(None);
        let forward = forward(&case, proxy.port(), requests.clone(), durable, grace_seen);
        let (forward, began) = (tokio::spawn(forward.run()), Instant::now());
        Self { case, broker, proxy, requests, report, grace, forward, began, _folder: folder }
    }

    /// Runs a case to its end.
    async fn run(case: Case, seed: u64) -> Shown {
        let ends = Self::start(case, seed).await;
        ends.drain().await;
        let shown = ends.shown();
        ends.end().await;
        shown
    }

    async fn append(&self, number: u64) {
        let mut payload = Vec::new();
        encode_record(&event(number, false), &mut payload).unwrap();
        let at = EventTime(1_795_000_000_000_000);
        self.requests
            .send(OutboxRequest::Append { lane: Lane::Normal, payload, at, room: None })
            .await
            .unwrap();
    }

    /// Feeds the backlog and the live events and waits until the cursor has passed them all.
    async fn drain(&self) {
        let Case { backlog, live, live_every, ref amnesia, .. } = self.case;
        for number in 1..=backlog {
            self.append(number).await;
        }
        for number in 1..=live {
            sleep(live_every).await;
            self.append(backlog + number).await;
            if amnesia.contains(&number) {
                self.broker.restart();
            }
        }
        self.acked(backlog + live).await;
    }

    async fn acked(&self, upto: u64) {
        let mut report = self.report.clone();
        let all = report.wait_for(|report| report.lanes.iter().map(|lane| lane.acked.0).sum::<u64>() >= upto);
        let Ok(all) = tokio::time::timeout(PATIENCE, all).await else {
            panic!("not delivered within {PATIENCE:?}: {:?}", self.report.borrow().lanes)
        };
        drop(all);
    }

    fn shown(&self) -> Shown {
        let (mut arrived, mut new_bytes) = (BTreeMap::new(), 0);
        for taken in self.broker.taken().iter().filter(|taken| taken.topic.contains("/up/")) {
            assert_eq!(taken.qos, 1);
            let mut reader = BatchReader::new();
            reader.push(&taken.payload);
            reader.end();
            let mut is_new = false;
            while let Some(batch) = reader.next_batch() {
                for event in batch.unwrap().events {
                    let number = event.facts().id.number;
                    let mut known = event.clone();
                    known.set_historical();
                    assert_eq!(known, self::event(number, true), "one id, another event");
                    let count: &mut u32 = arrived.entry(number).or_default();
                    *count += 1;
                    is_new |= *count == 1;
                }
            }
            new_bytes += if is_new { taken.payload.len() as u64 } else { 0 };
        }
        Shown {
            wanted: self.case.backlog + self.case.live,
            arrived,
            new_bytes,
            passages: self.proxy.passages(),
            took: self.began.elapsed(),
        }
    }

    async fn end(self) {
        self.grace.send_replace(Some(Uptime(u64::MAX)));
        tokio::time::timeout(Duration::from_hours(1), self.forward)
            .await
            .expect("forward does not end")
            .unwrap();
    }
}

/// In memory where there is a file system for it: the disk is not what is tested here, and syncs take real time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn start_outbox(
    folder: &Path,
) -> (mpsc::Sender<OutboxRequest>, watch::Receiver<OutboxReport>, watch::Receiver<[u64; 3]>) {
    let clock = SystemClock::by(virtual_now);
    let directory = Directory::open(folder).unwrap();
    let outbox = Outbox::open(directory, OutboxConfig::default(), 7, clock.utc()).unwrap().outbox;
    let (requests, requests_seen) = mpsc::channel(128);
    let (durable, durable_seen) = watch::channel([0; 3]);
    let (report, report_seen) = watch::channel(OutboxReport::default());
    let worker = OutboxWorker {
        room: Room::new(Coarsening::new(Door::new(Vec::new(), Vec::new()), SummaryIds::new(outbox.epoch()))),
        outbox,
        urgent: mpsc::channel(1).1,
        power_fail: mpsc::channel(1).1,
        flushed: watch::channel(None).0,
        requests: requests_seen,
        durable,
        report,
        metrics: Arc::new(Metrics::new()),
        progress: Arc::new(Progress::new(Uptime::ZERO)),
        clock,
    };
    tokio::spawn(worker.run());
    (requests, report_seen, durable_seen)
}

fn forward(
    case: &Case,
    port: u16,
    outbox: mpsc::Sender<OutboxRequest>,
    durable: watch::Receiver<[u64; 3]>,
    grace: watch::Receiver<Option<Uptime>>,
) -> Forward {
    let clock = SystemClock::by(virtual_now);
    let config = ForwardConfig { keep_alive: case.keep_alive, ..case.config.clone() };
    let endpoint = Endpoint {
        protocol: Protocol::V311,
        clean_start: true,
        keep_alive: case.keep_alive,
        connect_timeout: CONNECT_TIMEOUT,
        ..Endpoint::new(format!("mqtt://127.0.0.1:{port}").parse().unwrap(), "tidegate-test-gw")
    };
    Forward {
        target: Target { endpoint, password_file: None },
        session: Session::new(
            config,
            &std::array::from_fn(|_| LaneStart::default()),
            &[],
            Moment { up: clock.uptime(), utc: clock.utc() },
            0.0,
        ),
        encoding: UpstreamEncoding::Compact,
        encoder: Encoder::new(),
        origin: Origin { site: "test".into(), gateway: "gw".into() },
        topics: Topics::new("test", "gw", &["pump"].into_iter()),
        outbox,
        durable,
        status: watch::channel(None).0,
        grace,
        health: watch::channel(Arc::from("{\"v\":1,\"status\":\"up\"}")).1,
        metrics: Arc::new(Metrics::new()),
        progress: Arc::new(Progress::new(Uptime::ZERO)),
        wires: Wires::default(),
        clock,
    }
}

impl Shown {
    /// What was lost, or came from nowhere.
    fn astray(&self) -> Vec<u64> {
        let lost = (1..=self.wanted).filter(|number| !self.arrived.contains_key(number));
        lost.chain(self.arrived.keys().copied().filter(|number| *number > self.wanted)).collect()
    }

    /// Events that came again: the reader throws them away by id.
    fn twice(&self) -> u64 {
        self.arrived.values().map(|count| u64::from(count - 1)).sum()
    }

    fn bytes(&self) -> u64 {
        self.passages.iter().map(|passage| passage.up + passage.down).sum()
    }

    /// Bytes on the link beyond the batches that brought something new, in percent of those.
    fn overhead(&self) -> f64 {
        (self.bytes() as f64 / self.new_bytes as f64 - 1.0) * 100.0
    }

    /// Attempts sooner after the end of the one before than the floor of the back-off.
    fn hasty(&self) -> usize {
        let floor = Backoff::new(ForwardConfig::default().backoff_min, Duration::from_hours(1)).fail(0.0);
        let is_hasty = |pair: &&[Passage]| {
            pair[0].closed.is_none_or(|ended| pair[1].opened.duration_since(ended) + CLOCK_TICK < floor)
        };
        self.passages.windows(2).filter(is_hasty).count()
    }

    /// The longest time a connection that the broker had welcomed was believed in after it was swallowed.
    fn believed(&self) -> Option<Duration> {
        let believed = |passage: &Passage| {
            let since = passage.swallowed.filter(|_| passage.down > 0)?;
            Some(passage.closed.map_or(Duration::MAX, |closed| closed.saturating_duration_since(since)))
        };
        self.passages.iter().filter_map(believed).max()
    }

    /// Everything arrived, and nobody was pestered.
    fn check(&self, what: &str) {
        assert_eq!(self.astray(), Vec::<u64>::new(), "{what}: lost or invented");
        assert_eq!(self.hasty(), 0, "{what}: {:#?}", self.passages);
    }
}

/// All runs, which takes minutes, instead of a part.
fn is_full() -> bool {
    std::env::var_os("LINK_FULL").is_some()
}

fn seed() -> u64 {
    std::env::var("LINK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120)
}

fn weather(round_trip: f64, rate: u32) -> Weather {
    let round_trip = Duration::from_secs_f64(round_trip);
    Weather { round_trip, rate: Some(rate), split: Split::Whole, stall: None }
}

fn links() -> impl Iterator<Item = (f64, u32)> {
    [0.6, 2.0, 5.0, 10.0, 20.0].into_iter().flat_map(|rtt| [2_400, 9_600, 64_000].map(|rate| (rtt, rate)))
}

/// The time until half-open must be noticed: the issue's own bound.
fn noticed_within(case: &Case) -> Duration {
    case.keep_alive.mul_f64(1.5) + case.weather.round_trip
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_over_every_link() {
    println!("LINK seed {}; overhead: bytes both ways beyond the batches that brought something new", seed());
    for (round_trip, rate) in links() {
        let weather = weather(round_trip, rate);
        let drain = Case { weather, backlog: 2_000, live: 0, ..Case::default() };
        let live = Case { weather, backlog: 0, ..Case::default() };
        for (what, case, overhead_max) in [("backlog", drain, 25.0), ("live", live, f64::MAX)] {
            let wanted = case.backlog + case.live;
            let shown = Ends::run(case, seed()).await;
            println!(
                "LINK rtt {round_trip:>4} s, {:>4.1} kbit/s, {what:<7}: {wanted} events in {:>6.1} s, {} connect, {} twice, \
                 {:>5} bytes in batches, overhead {:.1} %",
                f64::from(rate) / 1000.0,
                shown.took.as_secs_f64(),
                shown.passages.len(),
                shown.twice(),
                shown.new_bytes,
                shown.overhead(),
            );
            shown.check(what);
            assert_eq!((shown.twice(), shown.passages.len()), (0, 1));
            assert!(shown.overhead() <= overhead_max);
        }
    }
}

/// Stalls, resets, silence and forgetful brokers over every link; each with seeds of its own.
#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_whatever_befalls_the_link() {
    let silence = Duration::from_mins(10);
    for (name, fault) in [
        (
            "stalls up to 40 s",
            &(|case: &mut Case| case.weather.stall = Some(Duration::from_secs(40))) as &dyn Fn(&mut Case),
        ),
        ("every byte by itself", &|case| case.weather.split = Split::Bytes),
        ("acknowledged twice", &|case| case.manner = Manner::Twice),
        ("5 resets", &|case| {
            case.blows = vec![
                Blow::ResetUp(300),
                Blow::ResetDown(5),
                Blow::ResetUp(9),
                Blow::ResetUp(700),
                Blow::ResetDown(12),
            ];
        }),
        ("half-open for 10 min, twice", &|case| {
            case.blows = vec![Blow::HalfOpen(400, silence), Blow::HalfOpen(100, silence)];
        }),
        ("broker forgets 5 times", &|case| case.amnesia = vec![3, 4, 20, 40, 55]),
    ] {
        let (mut twice, mut connects, mut slowest, mut believed) = (0, 0, Duration::ZERO, Duration::ZERO);
        for ((round_trip, rate), offset) in links().zip(0..) {
            let mut case = Case { weather: weather(round_trip, rate), ..Case::default() };
            fault(&mut case);
            let limit = noticed_within(&case);
            let shown = Ends::run(case, seed() + offset).await;
            let what = format!("{name}, rtt {round_trip} s, {rate} bit/s, seed {}", seed() + offset);
            shown.check(&what);
            if let Some(took) = shown.believed() {
                assert!(
                    took <= limit,
                    "{what}: half-open believed for {took:?}, not {limit:?}: {:#?}",
                    shown.passages
                );
                believed = believed.max(took);
            }
            twice += shown.twice();
            connects += shown.passages.len();
            slowest = slowest.max(shown.took);
        }
        println!(
            "LINK {name}: 15 links, {} events, 0 lost, {twice} came again, {connects} connects, slowest {:.0} s, \
             half-open believed for at most {:.0} s",
            15 * 360,
            slowest.as_secs_f64(),
            believed.as_secs_f64(),
        );
    }
}

/// A run of a few events, for rows of hundreds of runs.
fn short() -> Case {
    Case { backlog: 40, live: 3, ..Case::default() }
}

/// The stream is cut in two at each of its first bytes, and a reset falls at each of them: in the welcome, in the
/// header of a publish, in its payload, in an acknowledgement.
#[tokio::test(start_paused = true)]
async fn a_cut_or_a_reset_at_any_byte_loses_nothing() {
    let clean = Ends::run(short(), seed()).await;
    clean.check("clean");
    let (up, down) = (clean.passages[0].up, clean.passages[0].down);
    let (mut runs, mut twice) = (0, 0);
    let step = if is_full() { 1 } else { 13 };
    for (what, bytes, case) in [
        (
            "cut at byte",
            up.max(down),
            &(|at| Case { weather: Weather { split: Split::At(at), ..short().weather }, ..short() })
                as &dyn Fn(u64) -> Case,
        ),
        ("reset up at byte", up, &|at| Case { blows: vec![Blow::ResetUp(at)], ..short() }),
        ("reset down at byte", down, &|at| Case { blows: vec![Blow::ResetDown(at)], ..short() }),
    ] {
        for at in (0..bytes).step_by(step) {
            let shown = Ends::run(case(at), seed() + at).await;
            shown.check(&format!("{what} {at}"));
            runs += 1;
            twice += shown.twice();
        }
        println!("LINK {what} 0 to {}, each {step}. of them: nothing lost", bytes - 1);
    }
    println!("LINK byte by byte: {runs} runs of 43 events, 0 lost, {twice} came again");
}

/// Weather, blows and forgetful brokers drawn by lot.
#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_in_any_mixture_of_faults() {
    let (mut twice, mut connects) = (0, 0);
    let mixtures = if is_full() { 1_000 } else { 30 };
    for seed in (seed()..).take(mixtures) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut case = Case::default();
        let (round_trip, rate) = links().nth(random.usize(..15)).unwrap();
        case.weather = weather(round_trip, rate);
        case.weather.stall = random.bool().then(|| Duration::from_secs(random.u64(1..60)));
        case.weather.split = [Split::Whole, Split::Bytes, Split::At(random.u64(1..2_000))][random.usize(..3)];
        case.blows = (0..random.u32(..6))
            .map(|_| match random.u8(..5) {
                0 => Blow::HalfOpen(random.u64(..3_000), Duration::from_secs(random.u64(1..900))),
                1 | 2 => Blow::ResetDown(random.u64(..200)),
                _ => Blow::ResetUp(random.u64(..4_000)),
            })
            .collect();
        case.amnesia = (0..random.u32(..4)).map(|_| random.u64(1..60)).collect();
        case.manner = if random.bool() { Manner::Once } else { Manner::Twice };
        let shown = Ends::run(case, seed).await;
        shown.check(&format!("LINK_SEED={seed}"));
        twice += shown.twice();
        connects += shown.passages.len();
    }
    println!(
        "LINK mixtures: {mixtures} seeds from {}, {} events, 0 lost, {twice} came again, {connects} connects",
        seed(),
        360 * mixtures
    );
}

/// The rows must see what they are for.
#[tokio::test(start_paused = true)]
async fn planted_bugs_are_seen() {
    // A broker that acknowledges and throws away: to the gateway all is well.
    let lost = Ends::run(Case { manner: Manner::Lying, ..short() }, seed()).await.astray();
    assert!(!lost.is_empty(), "a lost event is not seen");

    // No acknowledgement is missed and no ping: half-open is believed for hours.
    let deaf = ForwardConfig { ack_timeout: Duration::from_hours(3), ..ForwardConfig::default() };
    let blind = Case {
        blows: vec![Blow::HalfOpen(100, Duration::from_mins(10))],
        config: deaf,
        keep_alive: Duration::from_hours(2),
        ..short()
    };
    let limit = noticed_within(&Case::default());
    let believed = Ends::run(blind, seed()).await.believed();
    assert!(believed.is_some_and(|took| took > limit), "{believed:?}");

    // A back-off of next to nothing.
    let hasty = ForwardConfig { backoff_min: Duration::from_millis(10), ..ForwardConfig::default() };
    let blows = vec![Blow::ResetUp(9); 40];
    let hasty = Ends::run(Case { blows, config: hasty, ..short() }, seed()).await.hasty();
    assert!(hasty > 0, "hasty attempts are not seen");
    println!(
        "LINK planted bugs: caught, 3 of 3 ({} events lost, half-open believed for {believed:?}, {hasty} hasty attempts)",
        lost.len()
    );
}
