//! Bounded pending work: what runs next and with what else, what is too old, what is shed when there is too much.
//!
//! # Invariants
//! Never more than its capacity. `received = passed + dropped + held` at any time. Work of one stream stays in order.

use std::collections::VecDeque;

use crate::clock::Uptime;
use crate::flow::{Budget, ModelId, Priority, Subject, VariantRule, Window};
use crate::infer::BATCH_MIN;
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

/// Work that goes to the models' thread together: all of one model and one lane.
pub struct Batch {
    /// Whose it is.
    pub model: ModelId,
    /// Which form of the model is to run.
    pub variant: VariantRule,
    /// The lane of all of it.
    pub priority: Priority,
    /// After this none of it is worth anything. Each piece has its own deadline, this one or an earlier.
    pub deadline: Uptime,
    /// In the order it is judged, at least one.
    pub work: Vec<Work>,
}

/// Bytes of reports that go together. Whoever is more urgent waits for the whole batch: eight reports of the longest
/// kind take eight times as long as one, and gain nothing, because each fills runs of its own.
const BATCH_TEXT_MAX: usize = 16 << 10;

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
    /// Emptied buffers of batches that came back, used again.
    spare: Vec<Vec<Work>>,
    tally: Tally,
}

impl WorkQueue {
    /// An empty queue for at most `capacity` pieces of work over all lanes.
    pub fn new(capacity: usize) -> Self {
        let lane = || VecDeque::with_capacity(capacity);
        Self { lanes: [lane(), lane(), lane()], capacity, spare: Vec::new(), tally: Tally::new() }
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

    /// The next batch the budget allows. Drops and counts what is past its deadline or not allowed.
    ///
    /// The oldest of the most urgent work goes, and with it what else waits in its lane for the same model, up to
    /// `batch_max` of the model and up to [`BATCH_TEXT_MAX`], if that is enough to be worth one run.
    pub fn next_batch(
        &mut self,
        now: Uptime,
        budget: &Budget,
        batch_max: impl Fn(ModelId) -> usize,
    ) -> Option<Batch> {
        for (priority, lane) in Priority::ALL.into_iter().zip(&mut self.lanes) {
            if !budget.admit.allows(priority) {
                self.tally.drop(DropReason::Budget, lane.len() as u64);
                lane.clear();
            }
        }
        self.drop_stale(now);
        let lane = self.lanes.iter_mut().find(|lane| !lane.is_empty())?;
        let first = lane.pop_front()?;
        let (model, priority) = (first.model, first.priority);
        let more = (together(&first, lane) + 1).min(batch_max(model)).saturating_sub(1);
        let more = if more + 1 < BATCH_MIN { 0 } else { more };
        let mut work = self.spare.pop().unwrap_or_default();
        work.push(first);
        for _ in 0..more {
            let next = lane.iter().position(|work| work.model == model);
            work.extend(next.and_then(|index| lane.remove(index)));
        }
        self.tally.passed += work.len() as u64;
        let deadline = work.iter().map(|work| work.deadline).max()?;
        Some(Batch { model, variant: budget.variant, priority, deadline, work })
    }

    /// Takes back the emptied buffer of a batch, to use it again.
    pub fn recycle(&mut self, mut batch: Batch) {
        batch.work.clear();
        self.spare.push(batch.work);
    }

    /// Drops all that waits, counted as stopped: the gateway is going down and the grace is over.
    pub fn clear(&mut self) {
        self.tally.drop(DropReason::Stopped, self.held() as u64);
        self.lanes.iter_mut().for_each(VecDeque::clear);
    }

    /// Whether work of a lane waits.
    pub fn waits(&self, priority: Priority) -> bool {
        self.lanes.get(priority as usize).is_some_and(|lane| !lane.is_empty())
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

/// How many in the lane for the model of `first` can go with it before their texts are too long.
fn together(first: &Work, lane: &VecDeque<Work>) -> usize {
    let mut sum = text_bytes(first);
    let same = lane.iter().filter(|work| work.model == first.model);
    let fits = same.take_while(|work| {
        sum += text_bytes(work);
        sum <= BATCH_TEXT_MAX
    });
    fits.count()
}

fn text_bytes(work: &Work) -> usize {
    work.subject.report.as_ref().map_or(0, |report| report.text.expose().len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::EventTime;
    use crate::flow::{Admit, AssetId, Private, Report, StreamId, When};

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
        let mut batch = queue.next_batch(Uptime(now), &allowing(admit), |_| 1)?;
        let number = batch.work.pop().map(|work| work.subject.asset.0);
        queue.recycle(batch);
        number
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
            let allowed = self.list.len();
            self.budget += (before - allowed) as u64;
            self.list.retain(|held| held.2 >= now);
            self.stale += (allowed - self.list.len()) as u64;
            let best = self.list.iter().map(|held| held.1).min()?;
            let index = self.list.iter().position(|held| held.1 == best)?;
            self.passed += 1;
            Some(self.list.remove(index).0)
        }
    }

    /// Work of streams 0 to 3, of which each two share a model; the last one is urgent.
    fn of_stream(number: u32, stream: u16) -> Work {
        let priority = if stream == 3 { Priority::Alarm } else { Priority::Normal };
        let mut work = work(number, priority, 0, 9);
        work.subject.stream = StreamId(stream);
        Work { model: ModelId(stream % 2), ..work }
    }

    fn next_batch(queue: &mut WorkQueue, size: usize) -> Vec<u32> {
        let batch = queue.next_batch(Uptime::ZERO, &Budget::NOMINAL, |_| size);
        batch.map_or_else(Vec::new, |batch| {
            let numbers = batch.work.iter().map(|work| work.subject.asset.0).collect();
            queue.recycle(batch);
            numbers
        })
    }

    #[test]
    fn streams_of_one_model_and_lane_share_a_batch_and_the_alarm_goes_first() {
        let mut queue = WorkQueue::new(64);
        let streams = [0, 1, 1, 2, 3, 1, 0, 1, 0, 0, 2, 1];
        for (number, stream) in (0..).zip(streams) {
            assert_eq!(shed(queue.push(of_stream(number, stream))), None);
        }
        assert_eq!(next_batch(&mut queue, 7), [4], "the alarm waits for nobody");
        assert_eq!(next_batch(&mut queue, 7), [0, 3, 6, 8, 9, 10]);
        for one in [1, 2, 5, 7, 11] {
            assert_eq!(
                next_batch(&mut queue, 7),
                [one],
                "too few to be worth it, and nothing waits for more"
            );
        }
        assert!(next_batch(&mut queue, 7).is_empty());
        (0..9).for_each(|number| assert_eq!(shed(queue.push(of_stream(number, 0))), None));
        assert_eq!(next_batch(&mut queue, 1), [0], "a model that takes one at a time");
        assert_eq!(next_batch(&mut queue, 8).len(), 8);
    }

    #[test]
    fn long_reports_go_one_by_one_so_that_an_alarm_waits_for_one_of_them_only() {
        let report = |number, bytes: usize| {
            let mut work = of_stream(number, 0);
            let (stream, asset, at) = (work.subject.stream, work.subject.asset, EventTime(0));
            let (received, text) = (Uptime::ZERO, Private::new("x".repeat(bytes)));
            work.subject.report =
                Some(Report { stream, asset, at, received, reference: None, text, class: None });
            work
        };
        let mut queue = WorkQueue::new(64);
        (0..8).for_each(|number| assert_eq!(shed(queue.push(report(number, 64 << 10))), None));
        for expect in [0, 1] {
            assert_eq!(shed(queue.push(of_stream(9, 3))), None);
            assert_eq!(next_batch(&mut queue, 8), [9]);
            assert_eq!(next_batch(&mut queue, 8), [expect]);
        }
        let mut queue = WorkQueue::new(64);
        (0..8).for_each(|number| assert_eq!(shed(queue.push(report(number, BATCH_TEXT_MAX / 8))), None));
        assert_eq!(shed(queue.push(report(8, BATCH_TEXT_MAX))), None);
        assert_eq!(next_batch(&mut queue, 9).len(), 8, "usual ones go together");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn all_work_comes_out_once_one_model_at_a_time_and_each_stream_in_order(
            steps in proptest::collection::vec((0_u16..4, any::<bool>()), 1..60),
            sizes in [0_usize..10, 0_usize..10],
        ) {
            let mut queue = WorkQueue::new(64);
            let (mut out, mut pushed) = (Vec::new(), 0);
            let size_of = |model: ModelId| sizes[usize::from(model.0)];
            let mut run = |queue: &mut WorkQueue| {
                let Some(batch) = queue.next_batch(Uptime::ZERO, &Budget::NOMINAL, size_of) else {
                    return Ok(());
                };
                let one = |work: &Work| (work.model, work.priority) == (batch.model, batch.priority);
                prop_assert!(batch.work.iter().all(one));
                let size = batch.work.len();
                prop_assert!(size == 1 || (BATCH_MIN..=size_of(batch.model)).contains(&size), "{}", size);
                out.extend(batch.work.iter().map(|work| (work.subject.stream.0, work.subject.asset.0)));
                Ok(())
            };
            for (number, (stream, taken)) in (0_u32..).zip(steps) {
                prop_assert_eq!(shed(queue.push(of_stream(number, stream))), None);
                pushed += 1;
                if taken {
                    run(&mut queue)?;
                }
            }
            while queue.held() > 0 {
                run(&mut queue)?;
            }
            prop_assert_eq!(out.len(), pushed);
            for stream in 0..4 {
                let numbers: Vec<u32> = out.iter().filter(|one| one.0 == stream).map(|one| one.1).collect();
                prop_assert!(numbers.is_sorted_by(|a, b| a < b), "stream {}: {:?}", stream, numbers);
            }
        }

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
