//! Owns the stages' state and moves things from one to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{ClockQuality, Uptime, UtcTime};
use crate::distill::Distiller;
use crate::egress::Door;
use crate::flow::{
    AssetId, Budget, Event, EventId, Inference, ModelId, Outbound, Outcome, Priority, Report, SampleBatch,
    StreamId, Subject, When, Window,
};
use crate::infer::{Batch, Pushed, Work, WorkInput, WorkQueue};
use crate::pipeline::plan::{PipelinePlan, StreamPlan};
use crate::tally::{DropReason, Stage, Tally};
use crate::window::Windower;

/// Batches at the models' thread: one that runs, and the next, so that it never waits for the brain.
const BATCHES_OUT_USUAL: usize = 2;

/// Batches there when alarms wait: they do not wait until a place is free.
pub const BATCHES_OUT_MAX: usize = BATCHES_OUT_USUAL + 1;

/// The brain of the gateway.
pub struct Pipeline {
    streams: Vec<StreamState>,
    queue: WorkQueue,
    distiller: Distiller,
    door: Door,
    epoch: u32,
    number: u64,
    budget: Budget,
    /// By `ModelId`.
    batch_max: Vec<usize>,
    /// Pieces of work at the models, and in how many batches.
    in_flight: u64,
    batches_out: usize,
    /// What the infer stage counts beyond its queue: stretched hops, failures, results.
    infer: Tally,
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
            queue: WorkQueue::new(plan.queue_max),
            distiller: Distiller::new(plan.distill, plan.models),
            door: Door::new(plan.policies, plan.words),
            epoch: plan.epoch,
            number: 0,
            budget: Budget::NOMINAL,
            batch_max: plan.batch_max,
            in_flight: 0,
            batches_out: 0,
            infer: Tally::new(),
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

    /// When [`Self::tick`] next has something to do.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        self.streams.iter().filter_map(|stream| stream.windower.as_ref()?.poll_timeout()).min()
    }

    /// The end of the input: every open window closes, partial.
    pub fn finish(&mut self, now: Uptime) {
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
    }

    /// The next work for the models; `None` also while they have enough.
    pub fn next_batch(&mut self, now: Uptime) -> Option<Batch> {
        let is_urgent = self.queue.waits(Priority::Alarm);
        if self.batches_out >= if is_urgent { BATCHES_OUT_MAX } else { BATCHES_OUT_USUAL } {
            return None;
        }
        let batch_max = &self.batch_max;
        let of_model = |model: ModelId| batch_max.get(usize::from(model.0)).copied().unwrap_or(1);
        let batch = self.queue.next_batch(now, &self.budget, of_model)?;
        self.in_flight += batch.work.len() as u64;
        self.batches_out += 1;
        Some(batch)
    }

    /// Takes back a batch whose work has been answered, with the processor time all of it took.
    pub fn settle(&mut self, batch: Batch, _spent: Duration) {
        self.batches_out = self.batches_out.saturating_sub(1);
        self.queue.recycle(batch);
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
        self.queue.clear();
        self.infer.drop(DropReason::Stopped, std::mem::take(&mut self.in_flight));
        self.batches_out = 0;
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
                let mut tally = self.queue.tally().clone();
                tally.passed = 0;
                tally.add(&self.infer);
                (tally, self.queue.held() as u64 + self.in_flight)
            }
            Stage::Distill => (self.distiller.tally().clone(), 0),
            Stage::Egress => (self.door.tally().clone(), 0),
            Stage::Ingest | Stage::Outbox | Stage::Plant => (Tally::new(), 0),
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
        self.queue.held()
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
        if let Pushed::Shed(Work { input: WorkInput::Window(window), .. }) = self.queue.push(work) {
            self.recycle(window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EventTime;
    use crate::distill::DistillConfig;
    use crate::flow::{Admit, BudgetReason, Level, Quality, Sample, SignalId};
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
            queue_max: 100,
            batch_max: Vec::new(),
        }
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
            pipeline.settle(batch, Duration::ZERO);
        }
        assert_eq!(judged, [10, 10]);
        let (tally, held) = pipeline.count(Stage::Infer);
        assert!(tally.balances(held) && tally.dropped(DropReason::Budget) == 20, "{tally:?}");
    }
}
