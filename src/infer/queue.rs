//! Bounded pending work: what runs next, what is too old, what is shed when there is too much.
//!
//! # Invariants
//! Never more than its capacity. `received = passed + dropped + held` at any time.

use std::collections::VecDeque;

use crate::clock::Uptime;
use crate::flow::{Budget, ModelId, Priority, Subject, Window};
use crate::tally::{DropReason, Tally};

/// Something to be judged.
pub struct Work {
    /// What it is about. A report's text is in `subject.report`.
    pub subject: Subject,
    /// By which model.
    pub model: ModelId,
    /// What the input is made from.
    pub input: WorkInput,
    /// Lane.
    pub priority: Priority,
    /// When it was queued.
    pub queued: Uptime,
    /// After this it is worthless.
    pub deadline: Uptime,
}

/// What the input is made from.
pub enum WorkInput {
    /// A window of samples.
    Window(Window),
    /// The report of the subject.
    Report,
}

/// What became of a push.
#[must_use]
#[expect(clippy::large_enum_variant, reason = "moved once; a box would be an allocation per shed window")]
pub enum Pushed {
    /// It waits.
    Queued,
    /// The queue was full and this went: perhaps the new one itself.
    Shed(Work),
}

/// Work that waits, most urgent lane first, oldest first within a lane.
pub struct WorkQueue {
    /// One per [`Priority::ALL`].
    lanes: [VecDeque<Work>; 3],
    capacity: usize,
    tally: Tally,
}

impl WorkQueue {
    /// An empty queue for at most `capacity` pieces of work over all lanes.
    pub fn new(capacity: usize) -> Self {
        let lane = || VecDeque::with_capacity(capacity);
        Self { lanes: [lane(), lane(), lane()], capacity, tally: Tally::new() }
    }

    /// Adds work. When full, first what is past its deadline goes, then the oldest of the least urgent lane.
    pub fn push(&mut self, work: Work) -> Pushed {
        self.tally.received += 1;
        if self.held() >= self.capacity {
            self.drop_stale(work.queued);
        }
        let victim = if self.held() < self.capacity { None } else { self.take_least(work.priority) };
        let full = victim.is_none() && self.held() >= self.capacity;
        if full {
            self.tally.drop(DropReason::QueueFull, 1);
            return Pushed::Shed(work);
        }
        if let Some(lane) = self.lane(work.priority) {
            lane.push_back(work);
        }
        match victim {
            Some(victim) => {
                self.tally.drop(DropReason::QueueFull, 1);
                Pushed::Shed(victim)
            }
            None => Pushed::Queued,
        }
    }

    /// The next piece of work the budget allows. Drops and counts what is past its deadline or not allowed.
    pub fn pop(&mut self, now: Uptime, budget: &Budget) -> Option<Work> {
        for (priority, lane) in Priority::ALL.into_iter().zip(&mut self.lanes) {
            if !budget.admit.allows(priority) {
                self.tally.drop(DropReason::Budget, lane.len() as u64);
                lane.clear();
            }
        }
        for lane in &mut self.lanes {
            while let Some(work) = lane.pop_front() {
                if work.deadline < now {
                    self.tally.drop(DropReason::Stale, 1);
                } else {
                    self.tally.passed += 1;
                    return Some(work);
                }
            }
        }
        None
    }

    /// Drops all that waits, counted as stopped: the gateway is going down and the grace is over.
    pub fn clear(&mut self) {
        self.tally.drop(DropReason::Stopped, self.held() as u64);
        self.lanes.iter_mut().for_each(VecDeque::clear);
    }

    /// Pieces of work that wait.
    pub fn held(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// What was counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn lane(&mut self, priority: Priority) -> Option<&mut VecDeque<Work>> {
        self.lanes.get_mut(priority as usize)
    }

    /// Takes the oldest of the least urgent lane that is not more urgent than `priority`.
    fn take_least(&mut self, priority: Priority) -> Option<Work> {
        let lanes = Priority::ALL.into_iter().zip(&mut self.lanes).rev();
        let mut lanes = lanes.take_while(|(lane, _)| *lane >= priority);
        lanes.find_map(|(_, lane)| lane.pop_front())
    }

    fn drop_stale(&mut self, now: Uptime) {
        let before = self.held();
        self.lanes.iter_mut().for_each(|lane| lane.retain(|work| work.deadline >= now));
        self.tally.drop(DropReason::Stale, (before - self.held()) as u64);
    }
}
