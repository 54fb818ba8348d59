//! A gateway that forwards, its outbox on disk, a bad link and a broker, all of it in the time of the test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::UpstreamEncoding;
use crate::egress::Door;
use crate::forward::{ForwardConfig, LaneStart, Moment, Session};
use crate::io::disk::Directory;
use crate::io::mqtt::{Endpoint, Protocol};
use crate::outbox::{Lane, Outbox, OutboxConfig};
use crate::runtime::coarsening::Coarsening;
use crate::runtime::forward::{Forward, Wires as ForwardWires};
use crate::runtime::link_tests::chaos_proxy::{Blow, ChaosProxy, Weather};
use crate::runtime::link_tests::far_broker::{FarBroker, Manner};
use crate::runtime::link_tests::shown::Shown;
use crate::runtime::link_tests::wire::{Dialer, Wires, listen};
use crate::runtime::link_tests::{event, virtual_now, weather};
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::room::Room;
use crate::runtime::status::Topics;
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::target::Target;
use crate::telemetry::{Metrics, Progress};
use crate::wire::{BatchReader, Encoder, Origin, encode_record};

/// Wall time of every run: events expire by it.
pub(in crate::runtime::link_tests) const WALL: EventTime = EventTime(1_795_000_000_000_000);

/// The configuration's defaults upstream.
const KEEP_ALIVE: Duration = Duration::from_mins(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(90);

/// Whatever the link does, everything has arrived after so long.
const PATIENCE: Duration = Duration::from_hours(4);

/// One run: a link, what befalls it, what is to be delivered.
#[derive(Clone)]
pub(in crate::runtime::link_tests) struct Case {
    pub(in crate::runtime::link_tests) weather: Weather,
    pub(in crate::runtime::link_tests) blows: Vec<Blow>,
    pub(in crate::runtime::link_tests) manner: Manner,
    /// Events in the outbox when the link comes up, and events that come while it works, with the time between.
    pub(in crate::runtime::link_tests) backlog: u64,
    pub(in crate::runtime::link_tests) live: u64,
    pub(in crate::runtime::link_tests) live_every: Duration,
    /// The broker forgets everything after the n-th live event, for each of these.
    pub(in crate::runtime::link_tests) amnesia: Vec<u64>,
    pub(in crate::runtime::link_tests) config: ForwardConfig,
    pub(in crate::runtime::link_tests) keep_alive: Duration,
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
pub(in crate::runtime::link_tests) struct Ends {
    case: Case,
    broker: FarBroker,
    proxy: ChaosProxy,
    requests: mpsc::Sender<OutboxRequest>,
    report: watch::Receiver<OutboxReport>,
    grace: watch::Sender<Option<Uptime>>,
    forward: JoinHandle<()>,
    began: std::time::Instant,
    _folder: tempfile::TempDir,
}

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(WALL.0.unsigned_abs())
}

impl Ends {
    fn start(case: Case, seed: u64) -> Self {
        fastrand::seed(seed);
        let broker = FarBroker::start(case.manner);
        let (dialer, near) = listen();
        let wires = Wires { near, far: broker.dialer() };
        let proxy = ChaosProxy::start(wires, case.weather, case.blows.clone(), seed);
        let folder = folder();
        let (requests, report, durable) = start_outbox(folder.path());
        let (grace, grace_seen) = watch::channel(None);
        let forward = forward(&case, dialer, requests.clone(), durable, grace_seen);
        let (forward, began) = (tokio::spawn(forward.run()), virtual_now());
        Self { case, broker, proxy, requests, report, grace, forward, began, _folder: folder }
    }

    /// Runs a case to its end.
    pub(in crate::runtime::link_tests) async fn run(case: Case, seed: u64) -> Shown {
        let ends = Self::start(case, seed);
        ends.drain().await;
        let shown = ends.shown();
        ends.end().await;
        shown
    }

    async fn append(&self, number: u64) {
        let mut payload = Vec::new();
        encode_record(&event(number, false), &mut payload).unwrap();
        self.requests
            .send(OutboxRequest::Append { lane: Lane::Normal, payload, at: WALL, room: None })
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
            took: virtual_now() - self.began,
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
    let clock = SystemClock::by(virtual_now, wall);
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
    dialer: Dialer,
    outbox: mpsc::Sender<OutboxRequest>,
    durable: watch::Receiver<[u64; 3]>,
    grace: watch::Receiver<Option<Uptime>>,
) -> Forward {
    let clock = SystemClock::by(virtual_now, wall);
    let config = ForwardConfig { keep_alive: case.keep_alive, ..case.config.clone() };
    let endpoint = Endpoint {
        protocol: Protocol::V311,
        clean_start: true,
        keep_alive: case.keep_alive,
        connect_timeout: CONNECT_TIMEOUT,
        ..Endpoint::new("mqtt://far".parse().unwrap(), "tidegate-test-gw")
    };
    Forward {
        target: Target {
            endpoint,
            password_file: None,
            dial: Some(Box::new(move || Box::new(dialer.dial()))),
        },
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
        wires: ForwardWires::default(),
        clock,
    }
}
