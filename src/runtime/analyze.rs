//! The brain's shell: decodes what comes in, feeds the models, tells the plant, stores what may leave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::clock::{Clock, EventTime, SystemClock, Uptime, UtcTime};
use crate::device::seam::Samples;
use crate::flow::{Budget, Change, Event, Inference, Priority, Report, SampleBatch, StreamId};
use crate::governor::GovernorStatus;
use crate::infer::{BATCH_MAX, BATCHES_OUT_MAX, Batch};
use crate::ingest::{Ingest, Message, Sink};
use crate::io::mqtt::{Inbound, Unsent};
use crate::outbox::Lane;
use crate::pipeline::Pipeline;
use crate::runtime::arrivals::Arrivals;
use crate::runtime::complaints::Complaints;
use crate::runtime::crowd::{Crowd, TURN_MESSAGES};
use crate::runtime::decisions::Decisions;
use crate::runtime::hardware::{HardwareCommands, Measurements};
use crate::runtime::infer::{DRAIN_MAX, Judged};
use crate::runtime::outbox::OutboxRequest;
use crate::runtime::plant::PlantInput;
use crate::runtime::records::{NewRecord, RecordWays};
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::status::Topics;
use crate::tally::Stage;
use crate::telemetry::{Metric, Metrics, Progress, Purpose, Task, book};
use crate::units::Ratio;
use crate::wire::{Origin, encode_record, write_event};

/// How soon to try again when the connection to the plant had no room for acknowledgements or decisions: its poller
/// moves thousands of packets a second.
const LINK_RETRY: Duration = Duration::from_millis(5);

/// Pieces of work at the models' thread at most.
pub(in crate::runtime) const WORK_IN_FLIGHT: u64 = (BATCHES_OUT_MAX * BATCH_MAX) as u64;

/// The shell of the brain.
pub(in crate::runtime) struct Analyze {
    pub(in crate::runtime) ingest: Ingest,
    pub(in crate::runtime) pipeline: Pipeline,
    pub(in crate::runtime) inputs: mpsc::Receiver<PlantInput>,
    pub(in crate::runtime) work: mpsc::Sender<Batch>,
    pub(in crate::runtime) results: mpsc::Receiver<Judged>,
    /// The ways of records to the outbox: that of alarms goes past a queue that a slow disk holds up.
    pub(in crate::runtime) records: RecordWays,
    pub(in crate::runtime) outbox: mpsc::Sender<OutboxRequest>,
    pub(in crate::runtime) budget: watch::Receiver<Budget>,
    /// Tells the clock of the chip.
    pub(in crate::runtime) governor: watch::Receiver<GovernorStatus>,
    /// From when on models that are away may be asked, and since when work has waited for them.
    pub(in crate::runtime) turns: watch::Receiver<Arc<[Option<Uptime>]>>,
    pub(in crate::runtime) waiting: watch::Sender<Vec<Option<Uptime>>>,
    pub(in crate::runtime) since: Vec<Option<Uptime>>,
    /// The streams that are not judged for now.
    pub(in crate::runtime) paused: watch::Receiver<Arc<[StreamId]>>,
    /// What the board measures itself.
    pub(in crate::runtime) measurements: Measurements,
    /// Shows alarms at the cabinet.
    pub(in crate::runtime) panel: HardwareCommands,
    pub(in crate::runtime) decisions: Decisions,
    pub(in crate::runtime) complaints: Complaints,
    pub(in crate::runtime) arrivals: Arrivals,
    /// Taken over and not acknowledged yet, because the connection had no room for it. At most 65,535, the packet ids
    /// of a connection, whatever the broker thinks of our limits.
    pub(in crate::runtime) unacked: VecDeque<Inbound>,
    pub(in crate::runtime) crowd: Crowd,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) origin: Origin,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// Puts what ingest decodes into the brain.
struct Feed<'a> {
    pipeline: &'a mut Pipeline,
    wall: UtcTime,
}

impl Sink for Feed<'_> {
    fn samples(&mut self, batch: &SampleBatch) {
        let _booked = book(Purpose::Window);
        self.pipeline.push_samples(batch, self.wall);
    }

    fn report(&mut self, report: Report) {
        let _booked = book(Purpose::Window);
        self.pipeline.push_report(report);
    }
}

impl Analyze {
    /// Runs until the input ends and the models have answered, or the outbox is gone.
    pub(in crate::runtime) async fn run(mut self) {
        let mut inputs = Vec::with_capacity(TURN_MESSAGES);
        let mut reported = Uptime::ZERO;
        // Those of before the restart.
        let paused = self.paused.borrow_and_update().clone();
        self.pipeline.set_paused(&paused);
        loop {
            let wake = self.wake();
            let room = self.crowd.admits(self.pipeline.fullness(), self.clock.uptime());
            tokio::select! {
                biased;
                Some(judged) = self.results.recv() => self.settle(judged).await,
                count = self.inputs.recv_many(&mut inputs, room), if room > 0 => {
                    if count == 0 || self.take(&mut inputs) {
                        break;
                    }
                }
                Some(samples) = self.measurements.recv() => self.measure(&samples),
                Ok(()) = self.budget.changed() => {}
                Ok(()) = self.turns.changed() => {}
                Ok(()) = self.paused.changed() => self.paused.mark_changed(),
                () = tokio::time::sleep_until(wake) => {}
            }
            while let Ok(judged) = self.results.try_recv() {
                self.settle(judged).await;
            }
            let now = self.clock.uptime();
            self.pipeline.set_budget(*self.budget.borrow());
            // Where the clock of the chip is not known, a change of it looks like one of the models.
            self.pipeline.set_clock(self.governor.borrow().clock.unwrap_or(Ratio::of(1, 1)));
            if self.paused.has_changed().unwrap_or(false) {
                let paused = self.paused.borrow_and_update().clone();
                self.pipeline.set_paused(&paused);
            }
            self.tick(now);
            self.feed_models(now);
            self.tell_link();
            self.progress.tick(Task::Analyze, now);
            if now.since(reported) >= IDLE_TURN {
                reported = now;
                self.report();
            }
        }
        self.drain().await;
        self.report();
    }

    /// Closes what has been idle for too long.
    fn tick(&mut self, now: Uptime) {
        let _booked = book(Purpose::Window);
        self.pipeline.tick(now);
    }

    /// When to wake at the latest: something closes, or it is time to tick.
    fn wake(&self) -> tokio::time::Instant {
        let idle = self.clock.uptime().after(if self.is_held_up() { LINK_RETRY } else { IDLE_TURN });
        let due = self.pipeline.poll_timeout().map_or(idle, |due| due.min(idle));
        tokio::time::Instant::from_std(self.clock.instant(due))
    }

    /// Takes what came from the plant; true at the end of the input.
    fn take(&mut self, inputs: &mut Vec<PlantInput>) -> bool {
        let (received, wall) = (self.clock.uptime(), self.clock.utc());
        let mut ended = false;
        for input in inputs.drain(..) {
            match input {
                PlantInput::Message(message, _room) => {
                    let mut feed = Feed { pipeline: &mut self.pipeline, wall };
                    let arrival = self.arrivals.next(received, wall);
                    accept(&mut self.ingest, &message, (received, arrival), &mut feed);
                    self.metrics.add(Metric::PlantBytes, message.payload().len() as u64);
                    self.unacked.push_back(message.receipt());
                }
                PlantInput::Taken(receipt) => self.unacked.push_back(receipt),
                PlantInput::Up(publisher) => self.decisions.up(publisher),
                PlantInput::Down => self.decisions.down(),
                PlantInput::End => ended = true,
            }
        }
        ended
    }

    /// Takes what the board has measured: the same way as samples of the plant, past the decoders.
    fn measure(&mut self, samples: &Samples) {
        let (received, wall) = (self.clock.uptime(), self.clock.utc());
        self.measurements.feed(
            samples,
            received,
            |taken| self.arrivals.of(taken, received, wall),
            |batch| self.pipeline.push_samples(batch, wall),
        );
    }

    /// Tells the broker what has been taken over. What finds no room on the connection is told later: a broker that
    /// waits for an acknowledgement sends less, and in the end nothing.
    fn acknowledge(&mut self) {
        let Some(publisher) = self.decisions.publisher() else {
            // On the next connection the broker sends them again.
            self.unacked.clear();
            return;
        };
        let full = |message: &Inbound| matches!(publisher.ack(message), Err(Unsent::Full));
        let told = self.unacked.iter().position(full).unwrap_or(self.unacked.len());
        self.unacked.drain(..told);
    }

    /// Gives the connection to the plant what it takes: acknowledgements, then decisions.
    fn tell_link(&mut self) {
        self.acknowledge();
        self.decisions.flush();
    }

    /// Whether the connection to the plant had no room for something.
    fn is_held_up(&self) -> bool {
        !self.unacked.is_empty() || self.decisions.is_held_up()
    }

    fn feed_models(&mut self, now: Uptime) {
        let turns = self.turns.borrow().clone();
        self.pipeline.set_turns(turns);
        while let Some(batch) = self.pipeline.next_batch(now) {
            // Its capacity is the number of batches out, so there is room; it is closed only after this task.
            best_effort(self.work.try_send(batch));
        }
        self.pipeline.waiting(&mut self.since);
        self.waiting.send_if_modified(|told| {
            let is_new = *told != self.since;
            told.clone_from(&self.since);
            is_new
        });
    }

    /// Takes back a batch with its answers.
    async fn settle(&mut self, judged: Judged) {
        let Judged { batch, answers } = judged;
        if answers.is_empty() {
            return self.pipeline.put_back(batch, self.clock.uptime());
        }
        self.pipeline.settle(
            batch,
            answers.iter().map(|answer| answer.inference.spent).sum(),
            self.clock.uptime(),
        );
        for answer in answers {
            if let Some(window) = answer.window {
                self.pipeline.recycle(window);
            }
            self.resolve(answer.inference).await;
        }
    }

    async fn resolve(&mut self, inference: Inference) {
        let clock = self.clock.utc().quality;
        let Some(event) = self.pipeline.resolve(inference, clock) else { return };
        self.tell_plant(&event);
        if let Some(outbound) = self.pipeline.pass(&event) {
            let mut payload = Vec::new();
            if let Err(error) = encode_record(&outbound, &mut payload) {
                tracing::error!(%error, "could not encode an event");
                return;
            }
            let lane = lane_of(outbound.facts().priority);
            let at = EventTime::from(self.clock.utc());
            self.records.append(NewRecord { lane, payload, at }).await;
        }
    }

    fn tell_plant(&mut self, event: &Event) {
        let asset = self.ingest.asset_name(event.local.asset);
        let mut payload = Vec::with_capacity(512);
        write_event(&mut payload, &self.origin, &event.facts, Some((&event.local, asset)));
        let source = (event.local.stream, event.local.asset);
        let is_first = event.facts.change == Change::New && self.decisions.is_first(event.local.stream);
        if event.local.alarm_changed || is_first {
            let topic = self.topics.alarm(event.local.stream);
            let standing = event.local.alarm.is_some().then(|| payload.clone());
            self.decisions.alarm(source, topic, standing);
            self.panel.alarms(self.decisions.standing());
        }
        self.metrics.add(Metric::Decisions, 1);
        self.decisions.publish(self.topics.event(event.local.stream), payload);
    }

    /// The end of the input: open windows close, the models answer, the plant is told, the rest is counted.
    async fn drain(&mut self) {
        while let Some(samples) = self.measurements.try_recv() {
            self.measure(&samples);
        }
        let now = self.clock.uptime();
        self.pipeline.finish(now);
        let end = now.after(DRAIN_MAX);
        let until = tokio::time::Instant::from_std(self.clock.instant(end));
        loop {
            self.feed_models(self.clock.uptime());
            // The last messages taken are acknowledged here: the broker would send them to the next start as new.
            self.tell_link();
            if self.pipeline.in_flight() == 0 {
                break;
            }
            match tokio::time::timeout_at(until, self.results.recv()).await {
                Ok(Some(judged)) => self.settle(judged).await,
                Ok(None) | Err(_) => break,
            }
        }
        self.pipeline.abandon();
        let (synced, done) = oneshot::channel();
        if self.outbox.send(OutboxRequest::Sync(synced)).await.is_ok() {
            // An outbox that fails here is reported by its own end.
            best_effort(done.await);
        }
        self.tell_link();
        while self.is_held_up() && self.clock.uptime() < end {
            tokio::time::sleep(LINK_RETRY).await;
            self.tell_link();
        }
        self.decisions.abandon();
        info!("finished the work at hand");
    }

    /// Hands the counts over to the metrics.
    fn report(&mut self) {
        self.complaints.look(&self.ingest, self.clock.uptime());
        self.metrics.record(Stage::Ingest, self.ingest.tally().clone(), 0);
        let (tally, held) = self.measurements.count();
        self.metrics.record(Stage::Hardware, tally, held);
        for stage in [Stage::Window, Stage::Infer, Stage::Distill, Stage::Egress] {
            let (tally, held) = self.pipeline.count(stage);
            self.metrics.record(stage, tally, held);
        }
        let (tally, held) = self.decisions.count();
        self.metrics.record(Stage::Plant, tally, held);
        self.metrics.set(Metric::StandingAlarms, self.decisions.standing() as u64);
        self.metrics.set(Metric::UnkeptAlarms, self.decisions.unkept());
        let totals = self.pipeline.window_totals();
        self.metrics.set(Metric::Windows, totals.windows);
        self.metrics.set(Metric::Reordered, totals.reordered);
        self.metrics.set(Metric::Clamped, totals.clamped);
        self.metrics.set(Metric::Series, self.ingest.series_count() as u64);
        self.metrics.set(Metric::QueuedWork, self.pipeline.queued() as u64);
        self.metrics.set(Metric::QueuedBytes, self.pipeline.queued_bytes().0);
        let counts = self.pipeline.schedule_counts();
        self.metrics.set(Metric::InferBatches, counts.batches);
        self.metrics.set(Metric::InferBusy, u64::try_from(counts.spent.as_micros()).unwrap_or(u64::MAX));
        self.metrics.set(Metric::BudgetWaits, counts.waits);
        for (metric, shed) in
            [Metric::ShedAlarms, Metric::ShedNormal, Metric::ShedBulk].into_iter().zip(counts.shed)
        {
            self.metrics.set(metric, shed);
        }
    }
}

fn accept(
    ingest: &mut Ingest,
    message: &Inbound,
    (received, arrival): (Uptime, EventTime),
    feed: &mut Feed<'_>,
) {
    let _booked = book(Purpose::Ingest);
    ingest.accept(&Message { topic: message.topic(), payload: message.payload(), received, arrival }, feed);
}

/// The outbox's lane of a priority.
pub(in crate::runtime) fn lane_of(priority: Priority) -> Lane {
    match priority {
        Priority::Alarm => Lane::Alarm,
        Priority::Normal => Lane::Normal,
        Priority::Bulk => Lane::Bulk,
    }
}
