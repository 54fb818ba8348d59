//! Work at the models' thread: what runs next, and with what else in one run.
//!
//! # Invariants
//! Work of one stream stays in order. Nothing waits for a batch to fill: what is there is taken, at once.

use std::collections::VecDeque;

use crate::flow::ModelId;
use crate::infer::{BATCH_MIN, Work};

/// Bytes of reports that go together. Whoever is more urgent waits for the whole batch: eight reports of the longest
/// kind take eight times as long as one, and gain nothing, because each fills runs of its own.
const BATCH_TEXT_MAX: usize = 16 << 10;

/// Work that waits for its turn, in the order it came. Bounded by what the brain gives out.
#[derive(Default)]
pub(in crate::runtime) struct Batches {
    waiting: VecDeque<Work>,
}

impl Batches {
    /// Adds work.
    pub(in crate::runtime) fn push(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    /// True if nothing waits.
    pub(in crate::runtime) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Moves the oldest of the most urgent work into `batch`. After it goes what else waits for the same model, most
    /// urgent first, up to the size that `batch_max` says for the model and up to [`BATCH_TEXT_MAX`], if that is enough
    /// to be worth one run.
    pub(in crate::runtime) fn take(&mut self, batch: &mut Vec<Work>, batch_max: impl Fn(ModelId) -> usize) {
        // The first of equals is the oldest.
        let Some(first) = self.waiting.iter().min_by_key(|work| work.priority) else { return };
        let model = first.model;
        let size = self.together(model).min(batch_max(model));
        for _ in 0..if size < BATCH_MIN { 1 } else { size } {
            let same = self.waiting.iter().enumerate().filter(|(_, work)| work.model == model);
            let next = same.min_by_key(|(_, work)| work.priority).map(|(index, _)| index);
            batch.extend(next.and_then(|index| self.waiting.remove(index)));
        }
    }

    /// How many for a model can go together before their texts are too long.
    fn together(&self, model: ModelId) -> usize {
        let same = self.waiting.iter().filter(|work| work.model == model);
        let mut same: Vec<_> = same.map(|work| (work.priority, text_bytes(work))).collect();
        same.sort_by_key(|(priority, _)| *priority);
        let mut sum = 0;
        let fits = same.iter().take_while(|(_, bytes)| {
            sum += bytes;
            sum <= BATCH_TEXT_MAX
        });
        fits.count()
    }
}

fn text_bytes(work: &Work) -> usize {
    work.subject.report.as_ref().map_or(0, |report| report.text.expose().len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{EventTime, Uptime};
    use crate::flow::{AssetId, Priority, Private, Report, StreamId, Subject, When};
    use crate::infer::WorkInput;

    /// The number tells it from others; streams 0 to 3, of which each two share a model and each has its priority.
    fn work(number: u32, stream: u16) -> Work {
        let subject = Subject {
            stream: StreamId(stream),
            asset: AssetId(number),
            when: When::At(EventTime(0)),
            completeness: None,
            report: None,
        };
        let priority = if stream == 3 { Priority::Alarm } else { Priority::Normal };
        let (queued, deadline) = (Uptime::ZERO, Uptime::ZERO);
        Work { subject, model: ModelId(stream % 2), input: WorkInput::Report, priority, queued, deadline }
    }

    fn take(batches: &mut Batches, size: usize) -> Vec<u32> {
        let mut batch = Vec::new();
        batches.take(&mut batch, |_| size);
        batch.iter().map(|work| work.subject.asset.0).collect()
    }

    #[test]
    fn streams_of_one_model_share_a_batch_and_the_alarm_goes_first() {
        let mut batches = Batches::default();
        for (number, stream) in
            [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 1), (7, 3), (8, 1), (9, 1), (10, 0)]
        {
            batches.push(work(number, stream));
        }
        assert_eq!(
            take(&mut batches, 7),
            [4, 7, 1, 2, 5, 6, 8],
            "alarms, and who waits longest for their model"
        );
        for one in [0, 3, 9, 10] {
            assert_eq!(take(&mut batches, 7), [one], "too few to be worth it, and nothing waits for more");
        }
        assert!(batches.is_empty() && take(&mut batches, 7).is_empty());
        (0..9).for_each(|number| batches.push(work(number, 0)));
        assert_eq!(take(&mut batches, 1), [0], "a model that takes one at a time");
        assert_eq!(take(&mut batches, 8).len(), 8);
    }

    #[test]
    fn long_reports_go_one_by_one_so_that_an_alarm_waits_for_one_of_them_only() {
        let report = |number, bytes: usize| {
            let mut work = work(number, 0);
            let (stream, asset, at) = (work.subject.stream, work.subject.asset, EventTime(0));
            let (received, text) = (Uptime::ZERO, Private::new("x".repeat(bytes)));
            work.subject.report =
                Some(Report { stream, asset, at, received, reference: None, text, class: None });
            work
        };
        let mut batches = Batches::default();
        (0..8).for_each(|number| batches.push(report(number, 64 << 10)));
        for expect in [0, 1] {
            batches.push(work(9, 3));
            assert_eq!(take(&mut batches, 8), [9]);
            assert_eq!(take(&mut batches, 8), [expect]);
        }
        let mut batches = Batches::default();
        (0..8).for_each(|number| batches.push(report(number, BATCH_TEXT_MAX / 8)));
        batches.push(report(8, BATCH_TEXT_MAX));
        assert_eq!(take(&mut batches, 9).len(), 8, "usual ones go together");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn all_work_comes_out_once_one_model_at_a_time_and_each_stream_in_order(
            steps in proptest::collection::vec((0_u16..4, any::<bool>()), 1..60),
            sizes in [0_usize..10, 0_usize..10],
        ) {
            let mut batches = Batches::default();
            let (mut out, mut pushed) = (Vec::new(), 0);
            let mut run = |batches: &mut Batches| {
                let mut batch = Vec::new();
                batches.take(&mut batch, |model| sizes[usize::from(model.0)]);
                let model = batch.first().map_or(ModelId(0), |work| work.model);
                prop_assert!(batch.iter().all(|work| work.model == model));
                let size = batch.len();
                prop_assert!(size == 1 || (BATCH_MIN..=sizes[usize::from(model.0)]).contains(&size), "{}", size);
                out.extend(batch.iter().map(|work| (work.subject.stream.0, work.subject.asset.0)));
                Ok(())
            };
            for (number, (stream, taken)) in (0_u32..).zip(steps) {
                batches.push(work(number, stream));
                pushed += 1;
                if taken {
                    run(&mut batches)?;
                }
            }
            while !batches.is_empty() {
                run(&mut batches)?;
            }
            prop_assert_eq!(out.len(), pushed);
            for stream in 0..4 {
                let numbers: Vec<u32> = out.iter().filter(|one| one.0 == stream).map(|one| one.1).collect();
                prop_assert!(numbers.is_sorted_by(|a, b| a < b), "stream {}: {:?}", stream, numbers);
            }
        }
    }
}
