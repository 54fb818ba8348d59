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

/// Records are still being lost until none was for this long: the oldest segment goes all at once, which makes room
/// for a while.
const LOSSES_OVER: Duration = Duration::from_mins(1);

/// A disk that fails goes on failing: it is said this often.
const WARN_EVERY: Duration = Duration::from_mins(1);

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
    /// Read records of a lane.
    Read {
        /// Which lane.
        lane: Lane,
        /// First record wanted.
        from: Seq,
        /// None beyond this one.
        upto: Seq,
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
    /// A range beyond the cursor has been acknowledged: live records that went before the backlog.
    Settle {
        /// Which lane.
        lane: Lane,
        /// The first of them.
        from: Seq,
        /// The last of them.
        upto: Seq,
    },
    /// A record that cannot be delivered: kept aside, counted, and done with.
    SetAside {
        /// Which lane.
        lane: Lane,
        /// Which record.
        seq: Seq,
    },
    /// Keep a note of the caller durably, then answer whether it is. Of two that differ the later counts.
    Remember {
        /// The note, at most 400 bytes.
        note: Vec<u8>,
        /// Told when it is durable, or cannot be made so now.
        reply: oneshot::Sender<bool>,
    },
    /// Make everything durable now, then answer.
    Sync(oneshot::Sender<()>),
}

/// Records read.
pub(in crate::runtime) struct Reading {
    pub(in crate::runtime) records: Vec<Record>,
    /// Everything of the lane up to here could be read then: what is durable, and on a disk that takes nothing what memory
    /// has.
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
    /// Records dropped or refused for want of space when last looked at, and when there were new ones: to log entering
    /// and leaving only.
    lost: u64,
    lost_at: Option<Uptime>,
    /// When it was last said that the disk fails.
    warned: Option<Uptime>,
}

impl<D: Disk> OutboxWorker<D> {
    /// Runs until nobody can ask any more; then makes everything durable.
    ///
    /// # Errors
    /// When the disk can no longer be trusted.
    pub(in crate::runtime) async fn run(mut self) -> Result<(), OutboxError> {
        let mut turn = Turn::default();
        self.tell_durable();
        // The first status speaks of the outbox that was found, not of an empty one.
        let now = self.clock.uptime();
        let told = self.tell_report(now, &mut turn);
        turn.tolerate(now, told, "count what is stored")?;
        loop {
            let now = self.clock.uptime();
            self.progress.tick(Task::Outbox, now);
            let wake = turn.sync_due.unwrap_or_else(|| now.after(IDLE_TURN));
            let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
            match tokio::time::timeout_at(wake, self.requests.recv()).await {
                Ok(Some(request)) => {
                    let served = self.serve(request, &mut turn);
                    turn.tolerate(now, served, "serve a request")?;
                }
                Ok(None) => break,
                Err(_due) => {
                    if turn.pending == 0 {
                        // Idle: the cursors catch up, so that a restart sends little twice.
                        turn.tolerate(now, self.outbox.checkpoint(), "save the cursors")?;
                    }
                }
            }
            let now = self.clock.uptime();
            let full = turn.pending >= u64::from(self.outbox.config().batch_records_max);
            if full || turn.sync_due.is_some_and(|due| due <= now) {
                self.sync(&mut turn)?;
            }
            if now.since(turn.reported) >= IDLE_TURN {
                turn.tolerate(now, self.outbox.expire(self.clock.utc()), "drop what is too old")?;
                let told = self.tell_report(now, &mut turn);
                turn.tolerate(now, told, "count what is stored")?;
            }
        }
        self.sync(&mut turn)?;
        // All is durable: without the cursors some of it is sent twice, that is all.
        let now = self.clock.uptime();
        turn.tolerate(now, self.outbox.checkpoint(), "save the cursors")?;
        let told = self.tell_report(now, &mut turn);
        turn.tolerate(now, told, "count what is stored")?;
        info!("closed the outbox");
        Ok(())
    }

    fn serve(&mut self, request: OutboxRequest, turn: &mut Turn) -> Result<(), OutboxError> {
        match request {
            OutboxRequest::Append { lane, payload, at } => {
                // What is refused is counted there and noticed with the next report.
                if let Appended::Stored(_) = self.outbox.append(lane, &payload, at)? {
                    turn.pending += 1;
                    turn.appended_bytes += payload.len() as u64;
                    let interval = self.outbox.config().sync_interval;
                    let due = self.clock.uptime().after(interval);
                    turn.sync_due.get_or_insert(due);
                }
                Ok(())
            }
            OutboxRequest::Read { lane, from, upto, records_max, bytes_max, reply } => {
                let mut records = Vec::new();
                self.outbox.read(lane, from, records_max, bytes_max, &mut records)?;
                records.retain(|record| record.seq <= upto);
                // The forwarder may have lost its connection meanwhile and dropped the question.
                best_effort(reply.send(Reading { records, durable: self.outbox.durable(lane) }));
                Ok(())
            }
            OutboxRequest::Advance { lane, upto } => self.outbox.advance(lane, upto),
            OutboxRequest::Settle { .. } => Ok(()),
            OutboxRequest::SetAside { .. } => Ok(()),
            OutboxRequest::Remember { reply, .. } => {
                best_effort(reply.send(false));
                Ok(())
            }
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
        let tally = self.outbox.tally();
        turn.note_lost(now, tally.dropped(DropReason::OutboxFull) + tally.dropped(DropReason::OutboxReject));
        self.report.send_replace(OutboxReport { lanes, used, size_max, fill_rate: turn.fill_rate });
        Ok(())
    }
}

impl Turn {
    /// Ends the thread only for errors after which the disk cannot be trusted.
    fn tolerate(
        &mut self,
        now: Uptime,
        result: Result<(), OutboxError>,
        doing: &'static str,
    ) -> Result<(), OutboxError> {
        match result {
            Err(error) if error.action() == Action::Retry => {
                if self.warned.is_none_or(|warned| now.since(warned) >= WARN_EVERY) {
                    self.warned = Some(now);
                    warn!(%error, doing, "outbox met an error and goes on");
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Logs entering and leaving the loss of records, not each of them.
    fn note_lost(&mut self, now: Uptime, lost: u64) {
        if lost > self.lost {
            if self.lost_at.is_none() {
                warn!(
                    lost,
                    "outbox drops records: raise outbox.size_max, mend the link, or look at the disk"
                );
            }
            self.lost_at = Some(now);
        } else if self.lost_at.is_some_and(|at| now.since(at) >= LOSSES_OVER) {
            info!(lost, "outbox drops no more records");
            self.lost_at = None;
        }
        self.lost = lost;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::io;
    use std::rc::Rc;

    use super::*;
    use crate::outbox::{DiskRead, OutboxConfig, SEGMENT_BYTES_MIN};

    /// A disk in memory that can fail; clones share it.
    #[derive(Clone, Default)]
    struct Memory(Rc<RefCell<State>>);

    #[derive(Default)]
    struct State {
        files: BTreeMap<String, Vec<u8>>,
        /// Files whose names begin so cannot be synced or written.
        unsyncable: Option<&'static str>,
        unwritable: Option<&'static str>,
    }

    fn fails(prefix: Option<&str>, name: &str) -> bool {
        prefix.is_some_and(|prefix| name.starts_with(prefix))
    }

    impl Memory {
        fn with<T>(&self, name: &str, work: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
            let mut state = self.0.borrow_mut();
            state.files.get_mut(name).map(work).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    impl DiskRead for Memory {
        fn list(&mut self) -> io::Result<Vec<String>> {
            Ok(self.0.borrow().files.keys().cloned().collect())
        }

        fn len(&mut self, name: &str) -> io::Result<u64> {
            self.with(name, |file| file.len() as u64)
        }

        fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let start = usize::try_from(offset).unwrap();
            self.with(name, |file| {
                let there = file.get(start..).unwrap_or_default();
                let count = there.len().min(into.len());
                into[..count].copy_from_slice(&there[..count]);
                count
            })
        }
    }

    impl Disk for Memory {
        fn create(&mut self, name: &str) -> io::Result<()> {
            if self.len(name).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.0.borrow_mut().files.insert(name.to_owned(), Vec::new());
            Ok(())
        }

        fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
            if fails(self.0.borrow().unwritable, name) {
                return Err(io::Error::other("worn out"));
            }
            let start = usize::try_from(offset).unwrap();
            self.with(name, |file| {
                file.resize(file.len().max(start + bytes.len()), 0);
                file[start..start + bytes.len()].copy_from_slice(bytes);
            })
        }

        fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
            self.with(name, |file| file.truncate(usize::try_from(len).unwrap()))
        }

        fn sync(&mut self, name: &str) -> io::Result<()> {
            if fails(self.0.borrow().unsyncable, name) { Err(io::Error::other("gone")) } else { Ok(()) }
        }

        fn sync_dir(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.0.borrow_mut().files.remove(name);
            Ok(())
        }
    }

    /// How the thread ended, and what it said of the normal lane.
    struct Ran {
        ended: Result<(), OutboxError>,
        durable: u64,
        /// Group commits and the records in them.
        commits: (u64, u64),
        metrics: Arc<Metrics>,
    }

    fn append(bytes: usize) -> OutboxRequest {
        OutboxRequest::Append { lane: Lane::Normal, payload: vec![7; bytes], at: EventTime(0) }
    }

    /// Runs the thread on requests that wait already, until all are served; the disk may begin to fail before.
    async fn run(requests: Vec<OutboxRequest>, fail: impl FnOnce(&mut State)) -> Ran {
        let config = OutboxConfig {
            size_max: OutboxConfig::size_min(SEGMENT_BYTES_MIN),
            segment_bytes: SEGMENT_BYTES_MIN,
            // Never due in a test.
            sync_interval: Duration::from_hours(1),
            batch_records_max: 4,
            ..OutboxConfig::default()
        };
        let disk = Memory::default();
        let outbox = Outbox::open(disk.clone(), config, 1).unwrap().outbox;
        fail(&mut disk.0.borrow_mut());
        let (sender, receiver) = mpsc::channel(requests.len());
        for request in requests {
            assert!(sender.try_send(request).is_ok());
        }
        drop(sender);
        let clock = SystemClock::start();
        let (durable, durable_seen) = watch::channel([0; 3]);
        let metrics = Arc::new(Metrics::new());
        let worker = OutboxWorker {
            outbox,
            requests: receiver,
            durable,
            report: watch::channel(OutboxReport::default()).0,
            metrics: Arc::clone(&metrics),
            progress: Arc::new(Progress::new(clock.uptime())),
            clock,
        };
        let ended = worker.run().await;
        let commits = (metrics.get(Metric::Commits), metrics.get(Metric::DurableRecords));
        let [_, durable, _] = *durable_seen.borrow();
        Ran { ended, durable, commits, metrics }
    }

    #[tokio::test]
    async fn records_share_a_commit_up_to_the_largest_batch_and_a_request_for_one() {
        let ran = run((0..10).map(|_| append(9)).collect(), |_| {}).await;
        assert_eq!((ran.durable, ran.commits), (10, (3, 10)), "four, four, and two at the end");
        assert!(ran.ended.is_ok());
        let (done, answer) = oneshot::channel();
        let requests = vec![append(9), append(9), OutboxRequest::Sync(done), append(9)];
        let ran = run(requests, |_| {}).await;
        assert_eq!((ran.durable, ran.commits), (3, (2, 3)));
        assert!(answer.await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_sync_ends_the_thread_and_nothing_after_it_is_called_durable() {
        let (done, answer) = oneshot::channel();
        let requests = vec![append(9), OutboxRequest::Sync(done), append(9)];
        let ran = run(requests, |disk| disk.unsyncable = Some("normal-")).await;
        assert!(matches!(ran.ended, Err(OutboxError::Sync { .. })), "{:?}", ran.ended);
        assert_eq!((ran.durable, ran.commits), (0, (0, 0)));
        assert!(answer.await.is_err(), "nobody is told that it is durable");
    }

    #[tokio::test]
    async fn what_a_failing_disk_costs_is_counted() {
        // More than fits, so that segments must go; their cursor cannot be written, so that they cannot.
        let requests = (0..100).map(|_| append(1_000)).collect();
        let ran = run(requests, |disk| disk.unwritable = Some("cursor-")).await;
        let count = ran.metrics.stage(Stage::Outbox);
        assert_eq!(count.tally.received, 100);
        assert!(count.tally.balances(count.held), "{:?} {}", count.tally, count.held);
        assert!(count.tally.dropped(DropReason::OutboxFull) > 0, "{:?}", count.tally);
    }

    #[tokio::test]
    async fn a_cursor_that_cannot_be_saved_at_the_end_is_no_failure() {
        let (done, _answer) = oneshot::channel();
        let advance = OutboxRequest::Advance { lane: Lane::Normal, upto: Seq(1) };
        let requests = vec![append(9), OutboxRequest::Sync(done), advance];
        let ran = run(requests, |disk| disk.unwritable = Some("cursor-")).await;
        assert!(ran.ended.is_ok() && ran.durable == 1, "{:?}", ran.ended);
    }

    #[test]
    fn a_loss_is_over_when_there_was_none_for_a_minute() {
        let mut turn = Turn::default();
        let at = |seconds| Uptime::ZERO.after(Duration::from_secs(seconds));
        for (second, lost, losing) in
            [(0, 0, false), (1, 5, true), (60, 5, true), (61, 5, false), (62, 5, false), (63, 6, true)]
        {
            turn.note_lost(at(second), lost);
            assert_eq!(turn.lost_at.is_some(), losing, "{second} s");
        }
    }
}
