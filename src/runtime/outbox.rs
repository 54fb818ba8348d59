//! The outbox's thread: appends, syncs in groups, reads for the forwarder. Whoever stores an event waits for no disk.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::outbox::{Appended, Disk, DiskState, Lane, LaneStat, Outbox, OutboxError, Record, Seq};
use crate::runtime::gaps::GapTeller;
use crate::runtime::power_fail::{Flushed, PowerFail};
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::room::Room;
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Bytes;
use crate::wire::encode_record;

/// How long the rate at which the outbox fills is averaged: long enough to smooth bursts, short enough to follow
/// a change of the plant's state within an hour.
const RATE_WINDOW: Duration = Duration::from_mins(10);

/// Records are still being lost until none was for this long: the oldest segment goes all at once, which makes room
/// for a while.
const LOSSES_OVER: Duration = Duration::from_mins(1);

/// A disk that fails goes on failing: it is said this often.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// A disk that fails is tried again this often: what waits in memory is on it at most 5 s after it works.
const MEND_EVERY: Duration = Duration::from_secs(2);

/// The cursors are saved at least so often while records are done with: what a power cut sends twice. Each costs a flush.
const CURSORS_EVERY: Duration = Duration::from_secs(5);

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
        /// The room it takes on its way, until this is dropped.
        room: Option<OwnedSemaphorePermit>,
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
    /// What the disk does.
    pub(in crate::runtime) disk: DiskState,
    /// Records that no file has, and the memory they take.
    pub(in crate::runtime) held: u64,
    pub(in crate::runtime) held_bytes: Bytes,
    /// Bytes given to the disk for one byte of payload, since the start.
    pub(in crate::runtime) amplification: Option<f64>,
    /// Bytes given to the disk in a day at the rate of the time since the start.
    pub(in crate::runtime) written_a_day: Bytes,
}

/// The thread's state.
pub(in crate::runtime) struct OutboxWorker<D> {
    pub(in crate::runtime) outbox: Outbox<D>,
    /// Alarms come in here: they never wait behind anything else.
    pub(in crate::runtime) urgent: mpsc::Receiver<OutboxRequest>,
    /// The supply ends: ahead of alarms too, nobody knows how long it still lasts.
    pub(in crate::runtime) power_fail: mpsc::Receiver<PowerFail>,
    /// How the last flush went.
    pub(in crate::runtime) flushed: watch::Sender<Option<Flushed>>,
    pub(in crate::runtime) requests: mpsc::Receiver<OutboxRequest>,
    /// How far each lane can be read.
    pub(in crate::runtime) durable: watch::Sender<[u64; 3]>,
    /// Draws old events together; has the ids of events that tell of losses.
    pub(in crate::runtime) room: Room,
    pub(in crate::runtime) report: watch::Sender<OutboxReport>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// What the loop keeps from turn to turn.
#[derive(Default)]
pub(in crate::runtime) struct Turn {
    /// Records appended and not yet synced.
    pub(in crate::runtime) pending: u64,
    /// When they must be.
    sync_due: Option<Uptime>,
    /// Bytes appended since the last report, and in all.
    appended_bytes: u64,
    payload_bytes: u64,
    reported: Uptime,
    fill_rate: f64,
    /// Records dropped or refused for want of space when last looked at, and when there were new ones: to log entering
    /// and leaving only.
    lost: u64,
    lost_at: Option<Uptime>,
    /// The same of records that could not be read.
    damaged: u64,
    damage_told: Option<Uptime>,
    /// When it was last said that the disk fails, and what it did when last looked at.
    warned: Option<Uptime>,
    disk: DiskState,
    mended: Uptime,
    /// When the cursors were last saved.
    saved: Uptime,
    gaps: GapTeller,
}

impl<D: Disk> OutboxWorker<D> {
    /// Runs until nobody can ask any more; then makes everything durable that can be.
    ///
    /// # Errors
    /// When the disk took nothing to the end: what memory held is gone.
    pub(in crate::runtime) async fn run(mut self) -> Result<(), OutboxError> {
        let mut turn = Turn::default();
        self.tell_durable();
        // The first status speaks of the outbox that was found, not of an empty one.
        self.tell_report(self.clock.uptime(), &mut turn);
        loop {
            let now = self.clock.uptime();
            self.progress.tick(Task::Outbox, now);
            let wake = turn.sync_due.unwrap_or_else(|| now.after(IDLE_TURN));
            let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
            tokio::select! {
                biased;
                Some(fail) = self.power_fail.recv() => self.flush(fail, &mut turn),
                Some(request) = self.urgent.recv() => self.serve(request, &mut turn),
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request, &mut turn),
                    None => break,
                },
                () = tokio::time::sleep_until(wake) => {
                    if turn.pending == 0 {
                        // Idle: the cursors catch up, so that a restart sends little twice.
                        self.save_cursors(now, &mut turn);
                    }
                }
            }
            let now = self.clock.uptime();
            let full = turn.pending >= u64::from(self.outbox.config().batch_records_max);
            if full || turn.sync_due.is_some_and(|due| due <= now) {
                self.sync(&mut turn);
            }
            self.mend(now, &mut turn);
            self.make_room(now, &mut turn);
            if now.since(turn.reported) >= IDLE_TURN {
                turn.tolerate(now, &self.outbox.expire(self.clock.utc()), "drop what is too old");
                self.tell_gaps(now, &mut turn);
                self.tell_report(now, &mut turn);
            }
            if now.since(turn.saved) >= CURSORS_EVERY {
                self.save_cursors(now, &mut turn);
            }
        }
        while let Ok(request) = self.urgent.try_recv() {
            self.serve(request, &mut turn);
        }
        self.sync(&mut turn);
        // Without the cursors some records are sent twice, that is all.
        let now = self.clock.uptime();
        self.save_cursors(now, &mut turn);
        self.tell_report(now, &mut turn);
        info!("closed the outbox");
        self.outbox.sync()
    }

    pub(in crate::runtime) fn save_cursors(&mut self, now: Uptime, turn: &mut Turn) {
        turn.saved = now;
        turn.tolerate(now, &self.outbox.checkpoint(), "save the cursors");
    }

    pub(in crate::runtime) fn serve(&mut self, request: OutboxRequest, turn: &mut Turn) {
        let now = self.clock.uptime();
        match request {
            OutboxRequest::Append { lane, payload, at, room: _until_stored } => {
                self.append(lane, &payload, at, turn);
            }
            OutboxRequest::Read { lane, from, upto, records_max, bytes_max, reply } => {
                let mut records = Vec::new();
                let read = self.outbox.read(lane, from, upto, records_max, bytes_max, &mut records);
                if turn.tolerate(now, &read, "read records") {
                    self.room.handed_out(lane, &records, now);
                    // The forwarder may have lost its connection meanwhile and dropped the question.
                    best_effort(reply.send(Reading { records }));
                }
            }
            OutboxRequest::Advance { lane, upto } => {
                turn.tolerate(now, &self.outbox.advance(lane, upto), "move a cursor");
            }
            OutboxRequest::Settle { lane, from, upto } => {
                turn.tolerate(now, &self.outbox.settle(lane, from, upto), "move a cursor");
            }
            OutboxRequest::SetAside { lane, seq } => {
                turn.tolerate(now, &self.outbox.set_aside(lane, seq), "set a record aside");
            }
            OutboxRequest::Remember { note, reply } => {
                let is_durable = turn.tolerate(now, &self.outbox.remember(&note), "keep a note");
                best_effort(reply.send(is_durable));
            }
            OutboxRequest::Sync(done) => {
                if self.sync(turn) {
                    best_effort(done.send(()));
                }
            }
        }
    }

    fn append(&mut self, lane: Lane, payload: &[u8], at: EventTime, turn: &mut Turn) {
        // What is refused is counted there and noticed with the next report.
        if let Ok(Appended::Stored(_)) = self.outbox.append(lane, payload, at) {
            turn.pending += 1;
            turn.appended_bytes += payload.len() as u64;
            let due = self.clock.uptime().after(self.outbox.config().sync_interval);
            turn.sync_due.get_or_insert(due);
        }
    }

    /// Makes durable what can be; whether that is all.
    pub(in crate::runtime) fn sync(&mut self, turn: &mut Turn) -> bool {
        turn.sync_due = None;
        let appended = std::mem::take(&mut turn.pending);
        if appended == 0 && self.outbox.held_records() == 0 {
            return true;
        }
        let synced = self.outbox.sync();
        let is_durable = turn.tolerate(self.clock.uptime(), &synced, "make records durable");
        if is_durable {
            self.metrics.add(Metric::DurableRecords, appended);
            self.metrics.add(Metric::Commits, 1);
        }
        self.tell_durable();
        is_durable
    }

    /// Tries a disk that has failed again, now and then, and says when that begins and ends.
    fn mend(&mut self, now: Uptime, turn: &mut Turn) {
        if self.outbox.needs_mending() && now.since(turn.mended) >= MEND_EVERY {
            turn.mended = now;
            let held = self.outbox.held_records();
            if self.outbox.mend() {
                self.metrics.add(Metric::DurableRecords, held);
            }
            self.tell_durable();
        }
        let disk = self.outbox.disk_state();
        if disk != std::mem::replace(&mut turn.disk, disk) {
            match disk {
                DiskState::Ok => info!("the disk of the outbox works again, all records are on it"),
                DiskState::Full | DiskState::ReadOnly | DiskState::Failing => {
                    let remedy = remedy(disk);
                    warn!(disk = disk.as_str(), remedy, "records of the outbox wait in memory");
                }
            }
        }
    }

    /// Draws one old segment together if space runs short: the next turn takes the next one, so that nobody waits long.
    fn make_room(&mut self, now: Uptime, turn: &mut Turn) {
        match self.room.make(&mut self.outbox, now) {
            Ok(true) => self.tell_durable(),
            Ok(false) => {}
            Err(error) => {
                turn.tolerate(now, &Err(error), "draw old events together");
            }
        }
    }

    /// Stores an event for each lane that has lost something upstream does not know of.
    fn tell_gaps(&mut self, now: Uptime, turn: &mut Turn) {
        for lane in Lane::ALL {
            let untold = self.outbox.gaps(lane);
            if untold.is_empty() || !turn.gaps.is_due(lane, now) {
                continue;
            }
            let wall = self.clock.utc();
            let Some(telling) = turn.gaps.tell((lane, &untold), self.room.ids(), (now, wall)) else {
                continue;
            };
            let mut payload = Vec::new();
            if let Err(error) = encode_record(&telling.event, &mut payload) {
                error!(%error, "could not encode a gap");
                continue;
            }
            if let Ok(Appended::Stored(seq)) = self.outbox.append(lane, &payload, EventTime::from(wall)) {
                self.outbox.told(lane, seq, telling.counts);
                turn.pending += 1;
                turn.sync_due.get_or_insert(now.after(self.outbox.config().sync_interval));
            }
        }
    }

    fn tell_durable(&self) {
        let readable = Lane::ALL.map(|lane| self.outbox.readable(lane).0);
        self.durable.send_if_modified(|known| std::mem::replace(known, readable) != readable);
    }

    fn tell_report(&mut self, now: Uptime, turn: &mut Turn) {
        let seconds = now.since(turn.reported).as_secs_f64().max(1e-3);
        let appended = std::mem::take(&mut turn.appended_bytes);
        turn.payload_bytes += appended;
        // Exponential average; over the life so far while that is shorter than the window.
        let life = now.since(Uptime::ZERO).as_secs_f64().max(seconds);
        turn.fill_rate += (appended as f64 / seconds - turn.fill_rate)
            * (seconds / life.min(RATE_WINDOW.as_secs_f64())).min(1.0);
        turn.reported = now;
        let mut lanes = Vec::with_capacity(Lane::ALL.len());
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            match self.outbox.stat(lane) {
                Ok(stat) => lanes.push(stat),
                // A disk that cannot be asked: what it said last.
                Err(_) => lanes.extend(self.report.borrow().lanes.get(index)),
            }
        }
        let (used, written) = (self.outbox.used(), self.outbox.written());
        let tally = self.outbox.tally().clone();
        turn.note_lost(now, tally.dropped(DropReason::OutboxFull) + tally.dropped(DropReason::OutboxReject));
        turn.note_damaged(now, tally.dropped(DropReason::Damaged));
        self.metrics.record(Stage::Outbox, tally, self.outbox.held());
        for (metric, value) in [
            (Metric::OutboxBytes, used.0),
            (Metric::OutboxHeld, self.outbox.held_records()),
            (Metric::OutboxPayload, turn.payload_bytes),
            (Metric::OutboxWritten, written.0),
            (Metric::FailedSyncs, self.outbox.failed_syncs()),
        ] {
            self.metrics.set(metric, value);
        }
        self.room.report(&self.metrics);
        let amplification = (turn.payload_bytes > 0).then(|| written.0 as f64 / turn.payload_bytes as f64);
        let a_day = written.0 as f64 / life.max(MEND_EVERY.as_secs_f64()) * 86_400.0;
        self.report.send_replace(OutboxReport {
            lanes,
            used,
            size_max: self.outbox.config().size_max,
            fill_rate: turn.fill_rate,
            disk: self.outbox.disk_state(),
            held: self.outbox.held_records(),
            held_bytes: self.outbox.held_bytes(),
            amplification,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative; saturates"
            )]
            written_a_day: Bytes(a_day as u64),
        });
    }
}

/// What the operator can do about a disk.
pub(in crate::runtime) fn remedy(disk: DiskState) -> &'static str {
    match disk {
        DiskState::Ok => "none needed",
        DiskState::Full => "free space below gateway.state_dir, or lower outbox.free_min",
        DiskState::ReadOnly => {
            "look at dmesg, check the file system of gateway.state_dir, remount it read-write"
        }
        DiskState::Failing => {
            "look at dmesg, replace the medium of gateway.state_dir; if somebody moved or deleted it, restart"
        }
    }
}

impl Turn {
    /// Whether it worked. What did not is said now and then: nothing is lost by it, and it is tried again.
    fn tolerate(&mut self, now: Uptime, result: &Result<(), OutboxError>, doing: &'static str) -> bool {
        if let Err(error) = result
            && self.warned.is_none_or(|warned| now.since(warned) >= WARN_EVERY)
        {
            self.warned = Some(now);
            warn!(%error, cause = error.source().map(ToString::to_string), doing, "outbox met an error and goes on");
        }
        result.is_ok()
    }

    /// Logs that records were unreadable, now and then.
    fn note_damaged(&mut self, now: Uptime, damaged: u64) {
        if damaged > self.damaged && self.damage_told.is_none_or(|told| now.since(told) >= WARN_EVERY) {
            self.damage_told = Some(now);
            self.damaged = damaged;
            warn!(
                damaged,
                "records of the outbox are unreadable or gone: look at tidegate outbox verify and dmesg"
            );
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
#[path = "../../tests/support/memory_disk.rs"]
#[expect(dead_code, reason = "shared with the simulated outage, which counts bytes")]
mod memory_disk;

#[cfg(test)]
mod tests {
    use super::memory_disk::MemoryDisk;
    use super::*;
    use crate::egress::Door;
    use crate::outbox::{OutboxConfig, SEGMENT_BYTES_MIN};
    use crate::runtime::coarsening::Coarsening;
    use crate::runtime::summary_ids::SummaryIds;

    /// How the thread ended, and what it said of the normal lane.
    struct Ran {
        ended: Result<(), OutboxError>,
        durable: u64,
        /// Group commits and the records in them.
        commits: (u64, u64),
        metrics: Arc<Metrics>,
    }

    fn append(bytes: usize) -> OutboxRequest {
        OutboxRequest::Append { lane: Lane::Normal, payload: vec![7; bytes], at: EventTime(0), room: None }
    }

    /// Runs the thread on requests that wait already, until all are served; the disk may begin to fail before.
    async fn run(requests: Vec<OutboxRequest>, fail: impl FnOnce(&MemoryDisk)) -> Ran {
        let config = OutboxConfig {
            size_max: OutboxConfig::size_min(SEGMENT_BYTES_MIN),
            segment_bytes: SEGMENT_BYTES_MIN,
            // Never due in a test.
            sync_interval: Duration::from_hours(1),
            batch_records_max: 4,
            ..OutboxConfig::default()
        };
        let disk = MemoryDisk::default();
        let outbox = Outbox::open(disk.clone(), config, 1, SystemClock::start().utc()).unwrap().outbox;
        fail(&disk);
        let (sender, receiver) = mpsc::channel(requests.len());
        for request in requests {
            assert!(sender.try_send(request).is_ok());
        }
        drop(sender);
        let clock = SystemClock::start();
        let (durable, durable_seen) = watch::channel([0; 3]);
        let metrics = Arc::new(Metrics::new());
        let worker = OutboxWorker {
            room: Room::new(Coarsening::new(
                Door::new(Vec::new(), Vec::new()),
                SummaryIds::new(outbox.epoch()),
            )),
            outbox,
            urgent: mpsc::channel(1).1,
            power_fail: mpsc::channel(1).1,
            flushed: watch::channel(None).0,
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
    async fn a_failed_sync_is_made_good_in_another_file_and_nobody_notices() {
        let (done, answer) = oneshot::channel();
        let requests = vec![append(9), OutboxRequest::Sync(done), append(9)];
        let ran = run(requests, |disk| disk.refuse_sync("normal-")).await;
        assert_eq!((ran.ended.is_ok(), ran.durable), (true, 2));
        assert!(answer.await.is_ok());
        assert_eq!(
            ran.metrics.get(Metric::FailedSyncs),
            2,
            "the new file has the same name when the next record comes"
        );
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_synced_at_all_makes_nothing_durable_and_says_so_at_the_end() {
        let (done, answer) = oneshot::channel();
        let requests = vec![append(9), OutboxRequest::Sync(done), append(9)];
        let ran = run(requests, |disk| disk.refuse_sync("")).await;
        assert!(matches!(ran.ended, Err(OutboxError::Held { records: 2, .. })), "{:?}", ran.ended);
        assert_eq!(ran.commits, (0, 0));
        assert_eq!(ran.durable, 2, "it can be read while the thread runs, and so delivered");
        assert!(answer.await.is_err(), "nobody is told that it is durable");
    }

    #[tokio::test]
    async fn what_a_failing_disk_costs_is_counted() {
        // More than fits, so that segments must go; their cursor cannot be written, so that they cannot. Memory takes the
        // rest until it is full as well.
        let requests = (0..1_500).map(|_| append(1_000)).collect();
        let ran = run(requests, |disk| disk.refuse_write("cursor-")).await;
        let count = ran.metrics.stage(Stage::Outbox);
        assert_eq!(count.tally.received, 1_500);
        assert!(count.tally.balances(count.held), "{:?} {}", count.tally, count.held);
        let dropped = count.tally.dropped(DropReason::OutboxFull);
        assert!(dropped > 0 && count.held > 985, "{:?}, {} held", count.tally, count.held);
    }

    #[tokio::test]
    async fn a_cursor_that_cannot_be_saved_at_the_end_is_no_failure() {
        let (done, _answer) = oneshot::channel();
        let advance = OutboxRequest::Advance { lane: Lane::Normal, upto: Seq(1) };
        let requests = vec![append(9), OutboxRequest::Sync(done), advance];
        let ran = run(requests, |disk| disk.refuse_write("cursor-")).await;
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
