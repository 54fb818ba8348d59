//! A gateway's models in virtual time: streams that bring work, one thread that runs what the scheduler gives out.

use std::time::Duration;

use tidegate::clock::{EventTime, Uptime};
use tidegate::flow::{
    AssetId, Budget, Completeness, ModelId, Priority, Private, Report, StreamId, Subject, TimeSpan, When,
    Window,
};
use tidegate::infer::schedule::HOLD_UP_MAX;
use tidegate::infer::{Batch, ScheduleConfig, Scheduler, Work, WorkInput};
use tidegate::units::{Bytes, Ratio};

/// A stream as far as the scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) model: u16,
    pub(crate) priority: Priority,
    pub(crate) deadline: Duration,
    /// Length of its reports; 0 for windows.
    pub(crate) text: usize,
}

/// One piece of work of a stream, told from others by its number.
pub(crate) fn work(number: u32, stream: u16, of: Stream, now: Uptime) -> Work {
    let (stream, asset) = (StreamId(stream), AssetId(number));
    let span = TimeSpan { from: EventTime(0), to: EventTime(1) };
    let text = || Private::new("x".repeat(of.text));
    let report = (of.text > 0).then(|| Report {
        stream,
        asset,
        at: EventTime(0),
        received: now,
        reference: None,
        text: text(),
        class: None,
    });
    let window = || Window { stream, asset, span, completeness: Completeness::default(), series: Vec::new() };
    let input = if of.text > 0 { WorkInput::Report } else { WorkInput::Window(window()) };
    let subject = Subject { stream, asset, when: When::Span(span), completeness: None, report };
    let (model, priority) = (ModelId(of.model), of.priority);
    Work { subject, model, input, priority, queued: now, deadline: now.after(of.deadline) }
}

pub(crate) fn number(work: &Work) -> u32 {
    work.subject.asset.0
}

pub(crate) fn at(millis: u64) -> Uptime {
    Uptime::ZERO.after(Duration::from_millis(millis))
}

pub(crate) fn config(pieces_max: usize) -> ScheduleConfig {
    ScheduleConfig {
        pieces_max,
        bytes_max: Bytes(64 << 20),
        batch_max: vec![8; 4],
        costs: Vec::new(),
        hold_up_max: HOLD_UP_MAX,
    }
}

/// What happened to one piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) stream: u16,
    pub(crate) number: u32,
    pub(crate) priority: Priority,
    pub(crate) waited: Duration,
    pub(crate) is_late: bool,
}

/// When a batch ran and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) given: Uptime,
    pub(crate) spent: Duration,
    pub(crate) priority: Priority,
    pub(crate) pieces: usize,
}

/// The models' thread: runs the most urgent of the batches it has, one after the other.
pub(crate) struct Floor {
    pub(crate) scheduler: Scheduler,
    /// Time of one unit of size on the unthrottled chip, and of a batch besides, by model.
    pub(crate) costs: Vec<(Duration, Duration)>,
    /// Share of the clock at which the chip really runs.
    pub(crate) clock: f64,
    pub(crate) now: Uptime,
    pub(crate) done: Vec<Done>,
    pub(crate) runs: Vec<Run>,
    pub(crate) lost: u64,
    waiting: Vec<(Batch, Uptime)>,
    running: Option<(Batch, Run, Uptime)>,
}

impl Floor {
    pub(crate) fn new(config: ScheduleConfig, costs: &[(u64, u64)]) -> Self {
        let of =
            |(each, besides): &(u64, u64)| (Duration::from_micros(*each), Duration::from_micros(*besides));
        Self {
            scheduler: Scheduler::new(config),
            costs: costs.iter().map(of).collect(),
            clock: 1.0,
            now: Uptime::ZERO,
            done: Vec::new(),
            runs: Vec::new(),
            lost: 0,
            waiting: Vec::new(),
            running: None,
        }
    }

    /// The chip runs at a share of its clock; the scheduler is told, or not.
    pub(crate) fn throttle(&mut self, clock: f64, is_told: bool) {
        self.clock = clock;
        if is_told {
            self.scheduler.set_clock(Ratio::new(clock as f32).unwrap());
        }
    }

    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.scheduler.set_budget(budget);
    }

    pub(crate) fn push(&mut self, work: Work) {
        let lost = &mut self.lost;
        self.scheduler.push(work, &mut |_| *lost += 1);
        self.feed();
    }

    /// Lets time pass up to a moment; what falls due on the way happens at its time.
    pub(crate) fn until(&mut self, end: Uptime) {
        loop {
            self.feed();
            let ends = self.running.as_ref().map(|(.., end)| *end);
            let due = self.scheduler.poll_timeout().map(|due| due.max(Uptime(self.now.0 + 1)));
            let Some(next) = [ends, due].into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = next;
            if ends == Some(next) {
                self.finish();
            }
        }
        self.now = end;
        self.feed();
    }

    fn feed(&mut self) {
        let lost = &mut self.lost;
        while let Some(batch) = self.scheduler.next_batch(self.now, &mut |_| *lost += 1) {
            self.waiting.push((batch, self.now));
        }
        self.start();
    }

    fn start(&mut self) {
        let next = self.waiting.iter().enumerate().min_by_key(|(_, (batch, _))| batch.priority);
        let Some(next) = next.map(|(next, _)| next).filter(|_| self.running.is_none()) else { return };
        let (batch, given) = self.waiting.remove(next);
        let (each, besides) = self.costs[usize::from(batch.model.0)];
        let size: usize = batch
            .work
            .iter()
            .map(|work| work.subject.report.as_ref().map_or(1, |it| it.text.expose().len()))
            .sum();
        let fresh = batch.work.iter().any(|work| work.deadline >= self.now);
        // What is late before it begins is not run.
        let full = if fresh { besides + each * u32::try_from(size).unwrap() } else { Duration::ZERO };
        let spent = full.div_f64(self.clock);
        let run = Run { given, spent, priority: batch.priority, pieces: batch.work.len() };
        self.running = Some((batch, run, self.now.after(spent)));
    }

    fn finish(&mut self) {
        let Some((mut batch, run, end)) = self.running.take() else { return };
        for work in batch.work.drain(..) {
            self.done.push(Done {
                stream: work.subject.stream.0,
                number: number(&work),
                priority: work.priority,
                waited: end.since(work.queued),
                is_late: end > work.deadline,
            });
        }
        self.runs.push(run);
        self.scheduler.settle(batch, run.spent, self.now);
        self.start();
    }

    /// Pieces of a stream that were done in time.
    pub(crate) fn useful(&self, stream: u16) -> usize {
        self.done.iter().filter(|done| done.stream == stream && !done.is_late).count()
    }

    pub(crate) fn late(&self) -> usize {
        self.done.iter().filter(|done| done.is_late).count()
    }
}
