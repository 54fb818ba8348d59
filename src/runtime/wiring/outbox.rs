//! The outbox's thread: opened, started, and the ways to it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::clock::Clock;
use crate::config::Config;
use crate::egress::Door;
use crate::flow::Budget;
use crate::forward::LaneStart;
use crate::io::disk::Directory;
use crate::outbox::{Lane, Outbox, OutboxError};
use crate::runtime::coarsening::Coarsening;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::hardware::OnPowerFail;
use crate::runtime::limits::{REQUESTS_MAX, URGENT_MAX};
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::power_fail::{Flushed, POWER_FAIL_MAX, PowerFail};
use crate::runtime::records::RecordWays;
use crate::runtime::retry::best_effort;
use crate::runtime::room::Room;
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::threads::thread;
use crate::telemetry::{Purpose, book, booked};

/// The outbox's thread and the ways to it.
pub(in crate::runtime::wiring) struct OutboxSide {
    pub(in crate::runtime::wiring) epoch: u32,
    /// Where the forwarder goes on: cursors, what was delivered beyond them, and its note.
    pub(in crate::runtime::wiring) starts: [LaneStart; 3],
    pub(in crate::runtime::wiring) note: Vec<u8>,
    pub(in crate::runtime::wiring) records: RecordWays,
    pub(in crate::runtime::wiring) requests: mpsc::Sender<OutboxRequest>,
    /// Where the power-fail input is told, and how the flush went.
    pub(in crate::runtime::wiring) power_fail: mpsc::Sender<PowerFail>,
    pub(in crate::runtime::wiring) flushed: watch::Receiver<Option<Flushed>>,
    pub(in crate::runtime::wiring) durable: watch::Receiver<[u64; 3]>,
    pub(in crate::runtime::wiring) report: watch::Receiver<OutboxReport>,
    pub(in crate::runtime::wiring) done: oneshot::Receiver<Result<(), OutboxError>>,
}

pub(in crate::runtime::wiring) fn start_outbox(
    config: &Config,
    door: Door,
    budget: watch::Receiver<Budget>,
    common: &Common,
) -> Result<OutboxSide, WiringError> {
    let _booked = book(Purpose::Outbox);
    let path = config.gateway.state_dir.join("outbox");
    let directory = Directory::open(&path)?;
    // The salt needs to differ from run to run, not to be secret.
    let entropy = fastrand::u64(..);
    let opened = Outbox::open(directory, config.outbox.clone(), entropy, common.clock.utc())
        .map_err(|source| WiringError::Outbox { directory: path.display().to_string(), source })?;
    let (outbox, recovered) = (opened.outbox, opened.recovered);
    info!(epoch = outbox.epoch(), ?recovered, "opened the outbox");
    let (urgent, urgent_seen) = mpsc::channel(URGENT_MAX);
    let (requests, requests_seen) = mpsc::channel(REQUESTS_MAX);
    let (power_fail, power_fail_seen) = mpsc::channel(POWER_FAIL_MAX);
    let (flushed, flushed_seen) = watch::channel(None);
    let (durable, durable_seen) = watch::channel(Lane::ALL.map(|lane| outbox.durable(lane).0));
    let (report, report_seen) = watch::channel(OutboxReport::default());
    let start = |lane| LaneStart { acked: outbox.acked(lane).0, done: outbox.done(lane).to_vec() };
    let (epoch, starts, note) = (outbox.epoch(), Lane::ALL.map(start), outbox.remembered().to_vec());
    let worker = OutboxWorker {
        room: Room::new(Coarsening::new(door, SummaryIds::new(outbox.epoch()))).sparing(budget),
        outbox,
        urgent: urgent_seen,
        power_fail: power_fail_seen,
        flushed,
        requests: requests_seen,
        durable,
        report,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    let done = thread("tg-outbox", booked(Purpose::Outbox, worker.run())).map_err(WiringError::Thread)?;
    Ok(OutboxSide {
        epoch,
        starts,
        note,
        records: RecordWays::new(urgent, requests.clone(), Arc::clone(&common.metrics)),
        requests,
        power_fail,
        flushed: flushed_seen,
        durable: durable_seen,
        report: report_seen,
        done,
    })
}

/// Flushes the outbox at the edge, on the thread that saw it. A flush that is under way serves this edge too.
pub(in crate::runtime::wiring) fn on_power_fail(outbox: &OutboxSide) -> OnPowerFail {
    let flush = outbox.power_fail.clone();
    Arc::new(move |at| best_effort(flush.try_send(PowerFail { at })))
}
