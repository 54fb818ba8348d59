//! Owns the stages' state and moves things from one to the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ClockQuality, Uptime, UtcTime};
use crate::distill::Distiller;
use crate::egress::Door;
use crate::flow::{
    AssetId, Budget, Event, EventId, Inference, Outbound, Outcome, Priority, Report, SampleBatch, StreamId,
    Subject, When, Window,
};
use crate::infer::{Batch, ScheduleCounts, Scheduler, Work, WorkInput};
use crate::pipeline::plan::{PipelinePlan, StreamPlan};
use crate::tally::{DropReason, Stage, Tally};
use crate::units::{Bytes, Ratio};
use crate::window::Windower;

/// The brain of the gateway.
pub struct Pipeline {
    streams: Vec<StreamState>,
    schedule: Scheduler,
    distiller: Distiller,
    door: Door,
    epoch: u32,
    number: u64,
    budget: Budget,
    /// Pieces of work at the models.
    in_flight: u64,
    /// What the infer stage counts beyond its schedule: stretched hops, failures, results.
    infer: Tally,
    /// Windows that were not judged because hops are stretched, by [`Priority`].
    stretched: [u64; 3],
}

struct StreamState {
    plan: StreamPlan,
    windower: Option<Windower>,
    /// Windows closed of each source, to judge every n-th when hops are stretched. One entry per series at most.
    closed: BTreeMap<AssetId, u64>,
}

/// Sums over the windowers of all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowTotals {
    /// Windows closed.
    pub windows: u64,
    /// Samples accepted out of order.
    pub reordered: u64,
    /// Samples whose stamp lay in the future and was clamped.
    pub clamped: u64,
}

impl Pipeline {
    /// A brain that has seen nothing.
    pub fn new(plan: PipelinePlan) -> Self {
        let stream = |plan: StreamPlan| StreamState {
            windower: plan.window.map(Windower::new),
            plan,
            closed: BTreeMap::new(),
        };
        Self {
            streams: plan.streams.into_iter().map(stream).collect(),
            schedule: Scheduler::new(plan.schedule),
            distiller: Distiller::new(plan.distill, plan.models),
            door: Door::new(plan.policies, plan.words),
            epoch: plan.epoch,
            number: 0,
            budget: Budget::NOMINAL,
            in_flight: 0,
            infer: Tally::new(),
            stretched: [0; 3],
        }
    }

    /// Bytes the windows of each stream may take, by `StreamId`.
    pub fn limit_windows(&mut self, bytes: &[u64]) {
        for (stream, bytes) in self.streams.iter_mut().zip(bytes) {
            if let Some(windower) = &mut stream.windower {
                windower.limit_bytes(*bytes);
            }
        }
    }

    /// Takes the samples of one message.
    pub fn push_samples(&mut self, batch: &SampleBatch, wall: UtcTime) {
        let Some(windower) = self.windower_of(batch.stream) else { return };
        windower.push(batch, wall);
        self.queue_windows(batch.stream, batch.received);
    }

    /// Takes a report.
    pub fn push_report(&mut self, report: Report) {
        let (stream, now) = (report.stream, report.received);
        let subject = Subject {
            stream,
            asset: report.asset,
            when: When::At(report.at),
            completeness: None,
            report: Some(report),
        };
        self.queue_work(subject, WorkInput::Report, now);
    }

    /// Closes what has been idle for too long.
    pub fn tick(&mut self, now: Uptime) {
        for index in 0..self.streams.len() {
            let stream = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
            if let Some(windower) = self.windower_of(stream) {
                windower.close_due(now);
                self.queue_windows(stream, now);
            }
        }
    }

    /// When [`Self::tick`] or [`Self::next_batch`] next has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let windows = self.streams.iter().filter_map(|stream| stream.windower.as_ref()?.poll_timeout());
        windows.chain(self.schedule.poll_timeout()).min()
    }

    /// The end of the input: every open window closes, partial, and no work waits for others or for processor time.
    pub fn finish(&mut self, now: Uptime) {
        self.schedule.drain();
        for index in 0..self.streams.len() {
            let stream = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
            if let Some(windower) = self.windower_of(stream) {
                windower.finish();
                self.queue_windows(stream, now);
            }
        }
    }

    /// What heat and memory allow from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
        self.schedule.set_budget(budget);
    }

    /// The clock of the chip as a share of the unthrottled one: by it costs are compared.
    pub fn set_clock(&mut self, clock: Ratio) {
        self.schedule.set_clock(clock);
    }

    /// Pauses these streams and no others: what they bring is taken, cut into windows and counted, and not judged.
    pub fn set_paused(&mut self, streams: &[StreamId]) {
        let Self { streams: states, schedule, .. } = self;
        schedule.set_paused(streams, &mut |work| reclaim(states, work));
    }

    /// From when on each model that is away may be asked; `None` for one that may be asked.
    pub fn set_turns(&mut self, turns: Arc<[Option<Uptime>]>) {
        self.schedule.set_turns(turns);
    }

    /// Since when work has waited for each model that is away.
    pub fn waiting(&self, since: &mut Vec<Option<Uptime>>) {
        self.schedule.waiting(since);
    }

    /// The next work for the models; `None` also while they have enough.
    pub fn next_batch(&mut self, now: Uptime) -> Option<Batch> {
        let Self { streams, schedule, .. } = self;
        let batch = schedule.next_batch(now, &mut |work| reclaim(streams, work))?;
        self.in_flight += batch.work.len() as u64;
        Some(batch)
    }

    /// Takes back a batch whose work has been answered, with the processor time that all of it took.
    pub fn settle(&mut self, batch: Batch, spent: Duration, now: Uptime) {
        self.schedule.settle(batch, spent, now);
    }

    /// Takes back a batch that nobody has begun, because it is not its model's turn.
    pub fn put_back(&mut self, batch: Batch, now: Uptime) {
        self.in_flight = self.in_flight.saturating_sub(batch.work.len() as u64);
        let Self { streams, schedule, .. } = self;
        schedule.put_back(batch, now, &mut |work| reclaim(streams, work));
    }

    /// Takes back the buffers of a window that has been judged.
    pub fn recycle(&mut self, window: Window) {
        if let Some(windower) = self.windower_of(window.stream) {
            windower.recycle(window);
        }
    }

    /// Takes the result of a piece of work and makes the event of it.
    pub fn resolve(&mut self, inference: Inference, clock: ClockQuality) -> Option<Event> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Outcome::Failed(reason) = inference.outcome {
            self.infer.drop(reason.drop_reason(), 1);
            return None;
        }
        self.infer.passed += 1;
        let id = EventId { epoch: self.epoch, number: self.number + 1 };
        let event = self.distiller.judge(inference, id, clock).ok()?;
        self.number = id.number;
        Some(event)
    }

    /// What of an event may leave; `None` when it stays.
    pub fn pass(&mut self, event: &Event) -> Option<Outbound> {
        if event.forward { self.door.pass(event).ok() } else { None }
    }

    /// What is left of the work when the gateway stops. Counted.
    pub fn abandon(&mut self) {
        self.schedule.clear();
        self.infer.drop(DropReason::Stopped, std::mem::take(&mut self.in_flight));
    }

    /// In, out and dropped of one of the brain's stages, and what it holds.
    pub fn count(&self, stage: Stage) -> (Tally, u64) {
        match stage {
            Stage::Window => {
                let mut tally = Tally::new();
                let mut held = 0;
                for windower in self.streams.iter().filter_map(|stream| stream.windower.as_ref()) {
                    tally.add(windower.tally());
                    held += windower.held();
                }
                (tally, held)
            }
            Stage::Infer => {
                let mut tally = self.schedule.tally().clone();
                tally.passed = 0;
                tally.add(&self.infer);
                (tally, self.schedule.held() as u64 + self.in_flight)
            }
            Stage::Distill => (self.distiller.tally().clone(), 0),
            Stage::Egress => (self.door.tally().clone(), 0),
            Stage::Ingest | Stage::Hardware | Stage::Outbox | Stage::Plant => (Tally::new(), 0),
        }
    }

    /// Sums over all windowers.
    pub fn window_totals(&self) -> WindowTotals {
        let mut totals = WindowTotals::default();
        for windower in self.streams.iter().filter_map(|stream| stream.windower.as_ref()) {
            let counts = windower.counts();
            totals.windows += counts.windows;
            totals.reordered += counts.reordered;
            totals.clamped += counts.clamped;
        }
        totals
    }

    /// Work waiting for a model.
    pub fn queued(&self) -> usize {
        self.schedule.held()
    }

    /// Memory of the work waiting for a model.
    pub fn queued_bytes(&self) -> Bytes {
        self.schedule.held_bytes()
    }

    /// How full the room for waiting work is, 0 to 1.
    pub fn fullness(&self) -> f64 {
        self.schedule.fullness()
    }

    /// What was given to the models, what it cost and what was shed.
    pub fn schedule_counts(&self) -> ScheduleCounts {
        let mut counts = self.schedule.counts();
        counts.shed.iter_mut().zip(self.stretched).for_each(|(shed, stretched)| *shed += stretched);
        counts
    }

    /// Work at a model.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    fn windower_of(&mut self, stream: StreamId) -> Option<&mut Windower> {
        self.streams.get_mut(usize::from(stream.0))?.windower.as_mut()
    }

    /// Moves closed windows into the queue. When hops are stretched, only every n-th of a source is judged; alarm
    /// streams are never stretched.
    fn queue_windows(&mut self, stream: StreamId, now: Uptime) {
        loop {
            let Some(state) = self.streams.get_mut(usize::from(stream.0)) else { return };
            let Some(window) = state.windower.as_mut().and_then(Windower::pop) else { return };
            let closed = state.closed.entry(window.asset).or_default();
            *closed += 1;
            let stretch = if state.plan.priority == Priority::Alarm {
                1
            } else {
                u64::from(self.budget.stretch.max(1))
            };
            if closed.is_multiple_of(stretch) {
                let subject = Subject {
                    stream,
                    asset: window.asset,
                    when: When::Span(window.span),
                    completeness: Some(window.completeness),
                    report: None,
                };
                self.queue_work(subject, WorkInput::Window(window), now);
            } else {
                self.infer.received += 1;
                self.infer.drop(DropReason::Budget, 1);
                let lane = state.plan.priority as usize;
                self.stretched.iter_mut().skip(lane).take(1).for_each(|count| *count += 1);
                self.recycle(window);
            }
        }
    }

    fn queue_work(&mut self, subject: Subject, input: WorkInput, now: Uptime) {
        let Some(state) = self.streams.get(usize::from(subject.stream.0)) else { return };
        let plan = &state.plan;
        let work = Work {
            subject,
            model: plan.model,
            input,
            priority: plan.priority,
            queued: now,
            deadline: now.after(plan.deadline),
        };
        let Self { streams, schedule, .. } = self;
        schedule.push(work, &mut |work| reclaim(streams, work));
    }
}

/// Takes back the buffers of work that was dropped.
fn reclaim(streams: &mut [StreamState], work: Work) {
    let WorkInput::Window(window) = work.input else { return };
    let windower = streams.get_mut(usize::from(window.stream.0)).and_then(|state| state.windower.as_mut());
    if let Some(windower) = windower {
        windower.recycle(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EventTime;
    use crate::distill::DistillConfig;
    use crate::flow::{Admit, BudgetReason, Level, ModelId, Quality, Sample, SignalId};
    use crate::infer::ScheduleConfig;
    use crate::infer::schedule::HOLD_UP_MAX;
    use crate::window::{Length, WindowConfig};

    /// A stream of one channel whose every row is a window.
    fn plan() -> PipelinePlan {
        let window = WindowConfig {
            stream: StreamId(0),
            channels: 1,
            length: Length::Count { samples: 1, hop: 1 },
            lateness: Duration::ZERO,
            idle: Duration::from_secs(5),
            future_max: Duration::from_mins(1),
            period: None,
            samples_max: 16,
        };
        let stream = StreamPlan {
            window: Some(window),
            model: ModelId(0),
            priority: Priority::Normal,
            deadline: Duration::from_mins(1),
        };
        PipelinePlan {
            streams: vec![stream],
            distill: DistillConfig { streams: Vec::new() },
            models: Vec::new(),
            policies: Vec::new(),
            words: Vec::new(),
            epoch: 1,
            schedule: ScheduleConfig {
                pieces_max: 100,
                bytes_max: Bytes(1 << 20),
                batch_max: Vec::new(),
                costs: Vec::new(),
                hold_up_max: HOLD_UP_MAX,
            },
        }
    }

    #[test]
    fn a_paused_stream_is_counted_and_not_judged_until_it_is_resumed() {
        let mut pipeline = Pipeline::new(plan());
        let push = |pipeline: &mut Pipeline, second: i64| {
            let at = EventTime(1_800_000_000_000_000 + second * 1_000_000);
            let samples = vec![Sample { signal: SignalId(0), at, value: 1.0, quality: Quality::Good }];
            let batch =
                SampleBatch { stream: StreamId(0), asset: AssetId(0), received: Uptime::ZERO, samples };
            pipeline.push_samples(&batch, UtcTime { micros: at.0, quality: ClockQuality::Synced });
        };
        pipeline.set_paused(&[StreamId(0)]);
        (0..5).for_each(|second| push(&mut pipeline, second));
        let (tally, held) = pipeline.count(Stage::Infer);
        assert!(tally.balances(held) && tally.dropped(DropReason::Paused) == 5 && held == 0, "{tally:?}");
        pipeline.set_paused(&[StreamId(7)]);
        (5..8).for_each(|second| push(&mut pipeline, second));
        let (tally, held) = pipeline.count(Stage::Infer);
        assert!(tally.balances(held) && tally.dropped(DropReason::Paused) == 5 && held == 3, "{tally:?}");
    }

    #[test]
    fn stretched_hops_leave_no_source_out() {
        let mut pipeline = Pipeline::new(plan());
        let (level, admit, reason) = (Level::Warm, Admit::All, BudgetReason::Temperature);
        pipeline.set_budget(Budget { level, stretch: 2, admit, reason, ..Budget::NOMINAL });
        // Two sources in step: every second window of the stream is always of the same one.
        for second in 0..20 {
            for asset in [AssetId(0), AssetId(1)] {
                let at = EventTime(1_800_000_000_000_000 + second * 1_000_000);
                let samples = vec![Sample { signal: SignalId(0), at, value: 1.0, quality: Quality::Good }];
                let batch = SampleBatch { stream: StreamId(0), asset, received: Uptime::ZERO, samples };
                let wall = UtcTime { micros: at.0, quality: ClockQuality::Synced };
                pipeline.push_samples(&batch, wall);
            }
        }
        let mut judged = [0, 0];
        while let Some(batch) = pipeline.next_batch(Uptime::ZERO) {
            batch.work.iter().for_each(|work| judged[work.subject.asset.0 as usize] += 1);
            pipeline.settle(batch, Duration::ZERO, Uptime::ZERO);
        }
        assert_eq!(judged, [10, 10]);
        let (tally, held) = pipeline.count(Stage::Infer);
        assert!(tally.balances(held) && tally.dropped(DropReason::Budget) == 20, "{tally:?}");
    }
}
