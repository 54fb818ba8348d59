//! Which work runs next and with what else, under a budget of processor time; what is too late, what is shed.
//!
//! The earliest deadline first within a lane, a more urgent lane before the others. Work that would not be done in time
//! is not started, and where not all that waits can be done in time, the stream that asks for most gives way: else
//! what is late would be whatever happens to stand behind a flood.
//!
//! # Invariants
//! Never more pieces and bytes than allowed. `received = passed + dropped + held` at any time. Work of one stream stays
//! in order, also where it was given out and came back unbegun. While a more urgent lane may run, none other does. Work of a
//! model whose turn it is not waits, whatever its lane. Nothing is allocated once as much has waited as ever does.
//!
//! # Why
//! Removing work where some of it would be late is the algorithm of Moore and Hodgson, with the stream that asks for
//! most in the place of the longest job.

mod bucket;
mod compose;
mod cost;
mod lines;
mod relief;
mod room;
mod turns;
mod under_way;

use std::sync::Arc;
use std::time::Duration;

pub use bucket::{BURST, Bucket, OVERDRAFT};
pub use compose::HOLD_UP_MAX;
pub use cost::{CostBook, TRUSTED};
pub use under_way::BATCHES_OUT_MAX;

use crate::clock::Uptime;
use crate::flow::{Budget, ModelId, Priority, StreamId};
use crate::infer::schedule::lines::Lines;
use crate::infer::schedule::under_way::UnderWay;
use crate::infer::work::{Batch, Work};
use crate::tally::{DropReason, Tally};
use crate::units::{Bytes, Ratio};

/// Bytes of reports that go together. Whoever is more urgent waits for the whole batch: eight reports of the longest
/// kind take eight times as long as one, and gain nothing, because each fills runs of its own.
const BATCH_TEXT_MAX: usize = 16 << 10;

/// Takes what is dropped, already counted: its buffers can be used again.
pub type Lost<'a> = &'a mut dyn FnMut(Work);

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub struct ScheduleConfig {
    /// Pieces that wait at most.
    pub pieces_max: usize,
    /// Memory of all that waits at most.
    pub bytes_max: Bytes,
    /// Inputs a model can judge in one run, by [`ModelId`]; 1 where nothing stands.
    pub batch_max: Vec<usize>,
    /// Processor time of one input, by [`ModelId`], where it is known before the start.
    pub costs: Vec<Option<Duration>>,
    /// Longest run of work that is no alarm, unless it is one piece: [`HOLD_UP_MAX`].
    pub hold_up_max: Duration,
}

/// What the scheduler has counted since the start, beside its [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleCounts {
    /// Batches given out.
    pub batches: u64,
    /// Processor time they took.
    pub spent: Duration,
    /// Pieces shed, by [`Priority`]: for want of room, of time or of budget.
    pub shed: [u64; 3],
    /// Times work waited because the budget of processor time was spent.
    pub waits: u64,
}

/// Work that waits, and what is known to decide about it.
pub struct Scheduler {
    config: ScheduleConfig,
    lines: Lines,
    costs: CostBook,
    bucket: Bucket,
    budget: Budget,
    paused: Vec<StreamId>,
    under_way: UnderWay,
    /// From when on models that are away may be asked.
    turns: Arc<[Option<Uptime>]>,
    /// Set when the gateway stops: nothing waits for others, nor for processor time.
    is_draining: bool,
    is_waiting: bool,
    at: Uptime,
    tally: Tally,
    counts: ScheduleCounts,
    /// Emptied buffers of batches that came back, used again.
    spare: Vec<Vec<Work>>,
    scratch: Scratch,
}

/// Buffers of one decision.
#[derive(Default)]
struct Scratch {
    /// How far each line has been looked at.
    places: Vec<usize>,
    /// The lines whose heads make up a batch.
    picked: Vec<usize>,
    /// What each line asks for, as far as it has been looked at.
    asked: Vec<Duration>,
}

impl Scheduler {
    /// Nothing waits yet.
    pub fn new(config: ScheduleConfig) -> Self {
        Self {
            costs: CostBook::new(&config.costs),
            config,
            lines: Lines::default(),
            bucket: Bucket::new(),
            budget: Budget::NOMINAL,
            paused: Vec::new(),
            under_way: UnderWay::default(),
            turns: Arc::default(),
            is_draining: false,
            is_waiting: false,
            at: Uptime::ZERO,
            tally: Tally::new(),
            counts: ScheduleCounts::default(),
            spare: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// What may be spent from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// The clock of the chip as a share of the unthrottled one.
    pub fn set_clock(&mut self, clock: Ratio) {
        self.costs.set_clock(clock);
    }

    /// The streams that are paused from now on, all of them. What waits of them is dropped.
    pub fn set_paused(&mut self, streams: &[StreamId], lost: Lost<'_>) {
        self.paused.clear();
        self.paused.extend_from_slice(streams);
        for stream in streams {
            while let Some(work) = self.lines.pop(stream.0.into()) {
                self.lose(work, DropReason::Paused, lost);
            }
        }
    }

    /// The gateway stops: nothing waits for others, nor for processor time.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Adds work. When there is no room, what is past its deadline goes first; then, of the least urgent lane, the
    /// oldest of the stream that takes the most room, perhaps the new piece itself.
    pub fn push(&mut self, work: Work, lost: Lost<'_>) {
        self.tally.received += 1;
        self.at = self.at.max(work.queued);
        if self.paused.contains(&work.subject.stream) {
            return self.lose(work, DropReason::Paused, lost);
        }
        let bytes = work.bytes();
        if !self.fits(bytes) {
            self.drop_stale(work.queued, lost);
        }
        while !self.fits(bytes) {
            let Some(victim) = self.largest(&work, bytes).and_then(|line| self.lines.pop(line)) else {
                return self.lose(work, DropReason::QueueFull, lost);
            };
            self.lose(victim, DropReason::QueueFull, lost);
        }
        self.lines.push(work, bytes);
    }

    /// The next batch the budget allows; `None` also while the models have enough. Drops and counts what is past its
    /// deadline, cannot be done before it, or is not allowed.
    pub fn next_batch(&mut self, now: Uptime, lost: Lost<'_>) -> Option<Batch> {
        self.at = self.at.max(now);
        self.bucket.refill(now, self.budget.cpu);
        if self.lines.held() == 0 || !self.under_way.has_room(Priority::Alarm) {
            return None;
        }
        self.drop_refused(lost);
        self.drop_stale(now, lost);
        for lane in Priority::ALL {
            if self.lines.held_in(lane) == 0 {
                continue;
            }
            if !self.may_start(lane) {
                return None;
            }
            self.relieve(lane, now, lost);
            if let Some(line) = self.choose(lane, now) {
                return self.compose(line, now);
            }
        }
        None
    }

    /// Takes a batch back, with the processor time that all of it took.
    pub fn settle(&mut self, mut batch: Batch, spent: Duration, now: Uptime) {
        batch.work.clear();
        self.spare.push(batch.work);
        let Some(given) = self.under_way.take(batch.ticket, now) else { return };
        self.counts.spent += spent;
        self.bucket.correct(given.expected, spent);
        // One that was refused or given up says nothing of what the model costs.
        if !spent.is_zero() {
            self.costs.learn(given.model, given.variant, given.size, spent, now);
        }
    }

    /// When [`Self::next_batch`] may have something that it does not have now, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let lanes = Priority::ALL.into_iter().filter(|lane| self.lines.held_in(*lane) > 0);
        lanes.filter_map(|lane| self.poll_lane(lane)).min()
    }

    /// The same of one lane. What of a lane waits for its model holds up no other lane.
    fn poll_lane(&self, lane: Priority) -> Option<Uptime> {
        if !self.under_way.has_room(lane) {
            return None;
        }
        if !self.bucket.allows(lane) {
            return self.bucket.opens(lane);
        }
        let heads = (0..self.lines.len()).filter_map(|line| self.lines.at(line, 0));
        let of_lane = heads.filter(|work| work.priority == lane);
        let ready =
            |work: &Work| self.turn(work.model).map_or(Uptime::ZERO, |turn| turn).max(self.gathered(work));
        of_lane.map(ready).filter(|at| *at > self.at).min()
    }

    /// Drops all that waits or is under way: the grace is over. What waits is counted as stopped here, what is under way by
    /// whoever counts it.
    pub fn clear(&mut self) {
        for line in 0..self.lines.len() {
            while self.lines.pop(line).is_some() {
                self.tally.drop(DropReason::Stopped, 1);
            }
        }
        self.under_way.clear();
    }

    /// Pieces of work that wait.
    pub fn held(&self) -> usize {
        self.lines.held()
    }

    /// Memory of what waits.
    pub fn held_bytes(&self) -> Bytes {
        Bytes(self.lines.bytes())
    }

    /// How full it is, 0 to 1, by pieces or by bytes.
    pub fn fullness(&self) -> f64 {
        let share = |held: u64, most: u64| if most == 0 { 1.0 } else { held as f64 / most as f64 };
        let pieces = share(self.lines.held() as u64, self.config.pieces_max as u64);
        pieces.max(share(self.lines.bytes(), self.config.bytes_max.0)).min(1.0)
    }

    /// What was counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was counted beside.
    pub fn counts(&self) -> ScheduleCounts {
        self.counts
    }

    /// Whether work of a lane that waits may go out; counts when the budget is what holds it up.
    fn may_start(&mut self, lane: Priority) -> bool {
        if !self.under_way.has_room(lane) {
            return false;
        }
        let may = self.is_draining || self.bucket.allows(lane);
        if !may && !self.is_waiting {
            self.counts.waits += 1;
        }
        self.is_waiting = !may;
        may
    }

    /// What a piece of work costs alone; nothing where that is not known.
    fn cost(&self, work: &Work, now: Uptime) -> Duration {
        self.costs.trust(work.model, self.budget.variant, work.size(), now).unwrap_or_default()
    }

    fn batch_max(&self, model: ModelId) -> usize {
        self.config.batch_max.get(usize::from(model.0)).copied().unwrap_or(1)
    }

    fn lose(&mut self, work: Work, reason: DropReason, lost: Lost<'_>) {
        self.tally.drop(reason, 1);
        if reason != DropReason::Paused
            && let Some(shed) = self.counts.shed.get_mut(work.priority as usize)
        {
            *shed += 1;
        }
        lost(work);
    }
}
