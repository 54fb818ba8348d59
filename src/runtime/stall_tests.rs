//! A disk that stalls: who waits, and who does not.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, EventTime, SystemClock};
use crate::egress::Door;
use crate::io::disk::Directory;
use crate::outbox::{Lane, Outbox, OutboxConfig};
use crate::runtime::coarsening::Coarsening;
use crate::runtime::limits::{REQUESTS_MAX, URGENT_MAX};
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::room::Room;
use crate::runtime::slow_disk::{Before, SlowDisk};
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::threads::thread;
use crate::telemetry::{Metrics, Progress};

/// Whether syncs pass, how many wait, and the files that were synced.
#[derive(Default)]
struct Gate {
    closed: bool,
    waiting: usize,
    synced: Vec<String>,
}

/// Syncs wait for a gate.
struct Stalling(Arc<(Mutex<Gate>, Condvar)>);

impl Before for Stalling {
    fn moves(&mut self, _bytes: usize) {}

    fn syncs(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        let (gate, turn) = &*self.0;
        let mut gate = gate.lock().unwrap();
        gate.waiting += 1;
        turn.notify_all();
        while gate.closed {
            gate = turn.wait(gate).unwrap();
        }
        gate.waiting -= 1;
        gate.synced.push(name.to_owned());
    }
}

fn append(lane: Lane) -> OutboxRequest {
    OutboxRequest::Append { lane, payload: vec![7; 200], at: EventTime(0), room: None }
}

/// A disk may stall for seconds. What is not urgent waits, first in the channel and then at its source: memory does not
/// grow. Alarms have a way of their own, and are the first on the disk when it goes on.
#[tokio::test]
async fn alarms_pass_a_channel_that_a_stalling_disk_has_filled() {
    let temporary = tempfile::tempdir().unwrap();
    let gate = Arc::new((Mutex::new(Gate::default()), Condvar::new()));
    let before = Stalling(Arc::clone(&gate));
    let disk = SlowDisk { disk: Directory::open(temporary.path()).unwrap(), before };
    let sync_interval = Duration::from_millis(1);
    let config = OutboxConfig { sync_interval, batch_records_max: 16, ..OutboxConfig::default() };
    let clock = SystemClock::start();
    let outbox = Outbox::open(disk, config, 1, clock.utc()).unwrap().outbox;
    let (urgent, urgent_seen) = mpsc::channel(URGENT_MAX);
    let (requests, requests_seen) = mpsc::channel(REQUESTS_MAX);
    let door = Door::new(Vec::new(), Vec::new());
    let worker = OutboxWorker {
        room: Room::new(Coarsening::new(door, SummaryIds::new(outbox.epoch()))),
        outbox,
        urgent: urgent_seen,
        power_fail: mpsc::channel(1).1,
        flushed: watch::channel(None).0,
        requests: requests_seen,
        durable: watch::channel([0; 3]).0,
        report: watch::channel(OutboxReport::default()).0,
        metrics: Arc::new(Metrics::new()),
        progress: Arc::new(Progress::new(clock.uptime())),
        clock,
    };
    {
        let mut state = gate.0.lock().unwrap();
        (state.closed, state.synced) = (true, Vec::new());
    }
    let ended = thread("tg-test", worker.run()).unwrap();
    requests.send(append(Lane::Bulk)).await.unwrap();
    drop(gate.1.wait_while(gate.0.lock().unwrap(), |state| state.waiting == 0).unwrap());
    let mut waiting = 0;
    while requests.try_send(append(Lane::Bulk)).is_ok() {
        waiting += 1;
    }
    assert_eq!(waiting, REQUESTS_MAX, "then whoever has more waits");
    let behind = requests.try_send(append(Lane::Alarm));
    assert!(matches!(behind, Err(TrySendError::Full(_))), "on the way of the others an alarm would wait");
    for _ in 0..URGENT_MAX {
        assert!(urgent.try_send(append(Lane::Alarm)).is_ok());
    }
    gate.0.lock().unwrap().closed = false;
    gate.1.notify_all();
    drop((urgent, requests));
    ended.await.unwrap().unwrap();
    let synced = std::mem::take(&mut gate.0.lock().unwrap().synced);
    let lanes: Vec<_> = synced.iter().filter(|name| name.contains(".seg")).map(|name| &name[..5]).collect();
    let alarms = lanes.iter().filter(|lane| **lane == "alarm").count();
    println!("STALLS: {waiting} waited, {URGENT_MAX} alarms in {alarms} syncs behind the one that stalled");
    assert_eq!(alarms, URGENT_MAX / 16, "{lanes:?}");
    assert!(lanes[1..=alarms].iter().all(|lane| *lane == "alarm"), "{lanes:?}");
    assert!(lanes[alarms + 1..].iter().all(|lane| *lane == "bulk-"), "{lanes:?}");
}
