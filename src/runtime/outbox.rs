//! The outbox's thread: appends, syncs in groups, reads for the forwarder. The only one that waits for the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::outbox::{Action, Appended, Disk, Lane, LaneStat, Outbox, OutboxError, Record, Seq};
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Bytes;

/// How long the rate at which the outbox fills is averaged: long enough to smooth bursts, short enough to follow
/// a change of the plant's state within an hour.
const RATE_WINDOW: Duration = Duration::from_mins(10);

/// What the thread is asked.
pub(in crate::runtime) enum OutboxRequest {
    /// Store a record; durable after at most the sync interval.
    Append {
        /// Which lane.
        lane: Lane,
        /// The record.
        payload: Vec<u8>,
        /// Wall time.
        at: EventTime,
    },
    /// Read durable records.
    Read {
        /// Which lane.
        lane: Lane,
        /// First record wanted.
        from: Seq,
        /// At most so many.
        records_max: usize,
        /// At most so many bytes, but at least one record.
        bytes_max: usize,
        /// Where to put them.
        reply: oneshot::Sender<Reading>,
    },
    /// Everything up to here has been acknowledged.
    Advance {
        /// Which lane.
        lane: Lane,
        /// The last of them.
        upto: Seq,
    },
    /// Make everything durable now, then answer.
    Sync(oneshot::Sender<()>),
}

/// Records read.
pub(in crate::runtime) struct Reading {
    pub(in crate::runtime) records: Vec<Record>,
    /// Everything of the lane up to here was durable when they were read.
    pub(in crate::runtime) durable: Seq,
}

/// The outbox in figures.
#[derive(Clone, Debug, Default)]
pub(in crate::runtime) struct OutboxReport {
    /// By lane, most urgent first.
    pub(in crate::runtime) lanes: Vec<LaneStat>,
    /// Space on disk.
    pub(in crate::runtime) used: Bytes,
    /// Space allowed.
    pub(in crate::runtime) size_max: Bytes,
    /// Bytes a second at which it fills while nothing is acknowledged.
    pub(in crate::runtime) fill_rate: f64,
}

/// The thread's state.
pub(in crate::runtime) struct OutboxWorker<D> {
    pub(in crate::runtime) outbox: Outbox<D>,
    pub(in crate::runtime) requests: mpsc::Receiver<OutboxRequest>,
    pub(in crate::runtime) durable: watch::Sender<[u64; 3]>,
    pub(in crate::runtime) report: watch::Sender<OutboxReport>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// What the loop keeps from turn to turn.
#[derive(Default)]
struct Turn {
    /// Records appended and not yet durable.
    pending: u64,
    /// When they must be.
    sync_due: Option<Uptime>,
    /// Bytes appended since the last report.
    appended_bytes: u64,
    reported: Uptime,
    fill_rate: f64,
    /// Whether records are being dropped or refused, to log entering and leaving only.
    shedding: bool,
}

impl<D: Disk> OutboxWorker<D> {
    /// Runs until nobody can ask any more; then makes everything durable.
    ///
    /// # Errors
    /// When the disk can no longer be trusted.
    pub(in crate::runtime) async fn run(mut self) -> Result<(), OutboxError> {
        let mut turn = Turn::default();
        self.tell_durable();
        loop {
            let now = self.clock.uptime();
            self.progress.tick(Task::Outbox, now);
            let wake = turn.sync_due.unwrap_or_else(|| now.after(IDLE_TURN));
            let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
            match tokio::time::timeout_at(wake, self.requests.recv()).await {
                Ok(Some(request)) => {
                    let served = self.serve(request, &mut turn);
                    tolerate(served, "serve a request")?;
                }
                Ok(None) => break,
                Err(_due) => {
                    if turn.pending == 0 {
                        // Idle: the cursors catch up, so that a restart sends little twice.
                        tolerate(self.outbox.checkpoint(), "save the cursors")?;
                    }
                }
            }
            let now = self.clock.uptime();
            let full = turn.pending >= u64::from(self.outbox.config().batch_records_max);
            if full || turn.sync_due.is_some_and(|due| due <= now) {
                self.sync(&mut turn)?;
            }
            if now.since(turn.reported) >= IDLE_TURN {
                tolerate(self.outbox.expire(self.clock.utc()), "drop what is too old")?;
                let told = self.tell_report(now, &mut turn);
                tolerate(told, "count what is stored")?;
            }
        }
        self.sync(&mut turn)?;
        self.outbox.checkpoint()?;
        self.tell_report(self.clock.uptime(), &mut turn)?;
        info!("closed the outbox");
        Ok(())
    }

    fn serve(&mut self, request: OutboxRequest, turn: &mut Turn) -> Result<(), OutboxError> {
        match request {
            OutboxRequest::Append { lane, payload, at } => {
                match self.outbox.append(lane, &payload, at)? {
                    Appended::Stored(_) => {
                        turn.pending += 1;
                        turn.appended_bytes += payload.len() as u64;
                        let interval = self.outbox.config().sync_interval;
                        let due = self.clock.uptime().after(interval);
                        turn.sync_due.get_or_insert(due);
                    }
                    Appended::Rejected(reason) => note_shedding(turn, true, reason.as_str()),
                }
                Ok(())
            }
            OutboxRequest::Read { lane, from, records_max, bytes_max, reply } => {
                let mut records = Vec::new();
                self.outbox.read(lane, from, records_max, bytes_max, &mut records)?;
                // The forwarder may have lost its connection meanwhile and dropped the question.
                best_effort(reply.send(Reading { records, durable: self.outbox.durable(lane) }));
                Ok(())
            }
            OutboxRequest::Advance { lane, upto } => self.outbox.advance(lane, upto),
            OutboxRequest::Sync(done) => {
                self.sync(turn)?;
                best_effort(done.send(()));
                Ok(())
            }
        }
    }

    fn sync(&mut self, turn: &mut Turn) -> Result<(), OutboxError> {
        turn.sync_due = None;
        if turn.pending == 0 {
            return Ok(());
        }
        self.outbox.sync()?;
        self.metrics.add(Metric::DurableRecords, std::mem::take(&mut turn.pending));
        self.metrics.add(Metric::Commits, 1);
        self.tell_durable();
        Ok(())
    }

    fn tell_durable(&self) {
        self.durable.send_replace(Lane::ALL.map(|lane| self.outbox.durable(lane).0));
    }

    fn tell_report(&mut self, now: Uptime, turn: &mut Turn) -> Result<(), OutboxError> {
        let seconds = now.since(turn.reported).as_secs_f64().max(1e-3);
        let rate = std::mem::take(&mut turn.appended_bytes) as f64 / seconds;
        // Exponential average; over the life so far while that is shorter than the window.
        let life = now.since(Uptime::ZERO).min(RATE_WINDOW).as_secs_f64().max(seconds);
        turn.fill_rate += (rate - turn.fill_rate) * (seconds / life).min(1.0);
        turn.reported = now;
        let mut lanes = Vec::with_capacity(Lane::ALL.len());
        for lane in Lane::ALL {
            lanes.push(self.outbox.stat(lane)?);
        }
        let used = self.outbox.used();
        let size_max = self.outbox.config().size_max;
        self.metrics.record(Stage::Outbox, self.outbox.tally().clone(), self.outbox.held());
        self.metrics.set(Metric::OutboxBytes, used.0);
        if turn.shedding && used.0 < size_max.0 / 10 * 9 {
            note_shedding(turn, false, "");
        }
        let dropped = self.outbox.tally().dropped(DropReason::OutboxFull);
        self.report.send_replace(OutboxReport { lanes, used, size_max, fill_rate: turn.fill_rate });
        if dropped > 0 && !turn.shedding && used.0 >= size_max.0 / 10 * 9 {
            note_shedding(turn, true, DropReason::OutboxFull.as_str());
        }
        Ok(())
    }
}

/// Ends the thread only for errors after which the disk cannot be trusted.
fn tolerate(result: Result<(), OutboxError>, doing: &'static str) -> Result<(), OutboxError> {
    match result {
        Err(error) if error.action() == Action::Retry => {
            warn!(%error, doing, "outbox met an error and goes on");
            Ok(())
        }
        other => other,
    }
}

/// Logs entering and leaving the shedding of records, not each of them.
fn note_shedding(turn: &mut Turn, shedding: bool, reason: &str) {
    if shedding && !turn.shedding {
        warn!(reason, "outbox began to drop records: raise outbox.size_max or mend the link");
    } else if !shedding && turn.shedding {
        info!("outbox has room again");
    }
    turn.shedding = shedding;
}
