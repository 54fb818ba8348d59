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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::EventTime;
    use crate::flow::{Admit, AssetId, StreamId, When};

    /// Work with a number by which it is told from others.
    fn work(number: u32, priority: Priority, queued: u64, deadline: u64) -> Work {
        let subject = Subject {
            stream: StreamId(0),
            asset: AssetId(number),
            when: When::At(EventTime(0)),
            completeness: None,
            report: None,
        };
        let (queued, deadline) = (Uptime(queued), Uptime(deadline));
        Work { subject, model: ModelId(0), input: WorkInput::Report, priority, queued, deadline }
    }

    fn allowing(admit: Admit) -> Budget {
        Budget { admit, ..Budget::NOMINAL }
    }

    fn shed(pushed: Pushed) -> Option<u32> {
        match pushed {
            Pushed::Queued => None,
            Pushed::Shed(victim) => Some(victim.subject.asset.0),
        }
    }

    fn pop(queue: &mut WorkQueue, now: u64, admit: Admit) -> Option<u32> {
        queue.pop(Uptime(now), &allowing(admit)).map(|work| work.subject.asset.0)
    }

    #[test]
    fn a_full_queue_sheds_the_oldest_of_the_least_urgent_lane_even_if_that_is_the_new_one() {
        let mut queue = WorkQueue::new(3);
        assert_eq!(shed(queue.push(work(1, Priority::Normal, 0, 9))), None);
        assert_eq!(shed(queue.push(work(2, Priority::Bulk, 0, 9))), None);
        assert_eq!(shed(queue.push(work(3, Priority::Bulk, 0, 9))), None);
        assert_eq!(shed(queue.push(work(4, Priority::Normal, 0, 9))), Some(2));
        assert_eq!(shed(queue.push(work(5, Priority::Alarm, 0, 9))), Some(3));
        assert_eq!(shed(queue.push(work(6, Priority::Bulk, 0, 9))), Some(6));
        assert_eq!(shed(queue.push(work(7, Priority::Normal, 0, 9))), Some(1));
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, 0, Admit::All)).collect();
        assert_eq!(order, [5, 4, 7]);
        assert_eq!(queue.tally().dropped(DropReason::QueueFull), 4);
    }

    #[test]
    fn what_is_stale_goes_before_anything_that_is_not() {
        let mut queue = WorkQueue::new(2);
        assert_eq!(shed(queue.push(work(1, Priority::Alarm, 0, 5))), None);
        assert_eq!(shed(queue.push(work(2, Priority::Bulk, 0, 50))), None);
        assert_eq!(shed(queue.push(work(3, Priority::Bulk, 6, 50))), None);
        assert_eq!(queue.tally().dropped(DropReason::Stale), 1);
        assert_eq!(pop(&mut queue, 50, Admit::All), Some(2), "the deadline itself is in time");
        assert_eq!(pop(&mut queue, 51, Admit::All), None);
    }

    #[test]
    fn a_queue_of_nothing_takes_nothing() {
        let mut queue = WorkQueue::new(0);
        assert_eq!(shed(queue.push(work(1, Priority::Alarm, 0, 5))), Some(1));
        assert!(queue.tally().balances(0));
    }

    /// The obvious queue: one list, searched each time.
    #[derive(Default)]
    struct Naive {
        list: Vec<(u32, Priority, u64)>,
        stale: u64,
        full: u64,
        budget: u64,
        passed: u64,
    }

    impl Naive {
        fn push(&mut self, capacity: usize, new: (u32, Priority, u64), now: u64) -> Option<u32> {
            if self.list.len() >= capacity {
                let before = self.list.len();
                self.list.retain(|held| held.2 >= now);
                self.stale += (before - self.list.len()) as u64;
            }
            self.list.push(new);
            if self.list.len() <= capacity {
                return None;
            }
            self.full += 1;
            let worst = self.list.iter().map(|held| held.1).max()?;
            let index = self.list.iter().position(|held| held.1 == worst)?;
            Some(self.list.remove(index).0)
        }

        fn pop(&mut self, now: u64, admit: Admit) -> Option<u32> {
            let before = self.list.len();
            self.list.retain(|held| admit.allows(held.1));
            self.budget += (before - self.list.len()) as u64;
            loop {
                let best = self.list.iter().map(|held| held.1).min()?;
                let index = self.list.iter().position(|held| held.1 == best)?;
                let held = self.list.remove(index);
                if held.2 >= now {
                    self.passed += 1;
                    return Some(held.0);
                }
                self.stale += 1;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_queue_does_what_the_obvious_one_does(
            capacity in 0_usize..6,
            steps in proptest::collection::vec((0_usize..5, 0_u64..8, 0_usize..8), 1..80),
        ) {
            let (mut queue, mut naive) = (WorkQueue::new(capacity), Naive::default());
            for (number, (lane, patience, kind)) in (0_u32..).zip(steps) {
                let now = u64::from(number);
                if let Some(&priority) = Priority::ALL.get(lane) {
                    let deadline = now + patience;
                    let found = shed(queue.push(work(number, priority, now, deadline)));
                    prop_assert_eq!(found, naive.push(capacity, (number, priority, deadline), now));
                } else {
                    let admit = match kind {
                        0 => Admit::Nothing,
                        1 => Admit::Alarm,
                        2 => Admit::Normal,
                        _ => Admit::All,
                    };
                    prop_assert_eq!(pop(&mut queue, now, admit), naive.pop(now, admit));
                }
                prop_assert!(queue.held() <= capacity);
                prop_assert_eq!(queue.held(), naive.list.len());
                let tally = queue.tally();
                prop_assert!(tally.balances(queue.held() as u64));
                prop_assert_eq!(
                    [tally.dropped(DropReason::Stale), tally.dropped(DropReason::QueueFull), tally.dropped(DropReason::Budget), tally.passed],
                    [naive.stale, naive.full, naive.budget, naive.passed]
                );
            }
            queue.clear();
            prop_assert!(queue.tally().balances(0));
        }
    }
}
