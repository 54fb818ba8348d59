//! The held samples of one channel, in order of time.

use std::collections::VecDeque;

use crate::clock::EventTime;
use crate::flow::{Series, TimeSpan};

/// Samples of one channel as two queues of equal length, times strictly increasing.
#[derive(Default)]
pub(crate) struct Column {
    at: VecDeque<EventTime>,
    values: VecDeque<f32>,
}

/// What became of a sample handed to a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filed {
    /// After all others.
    Appended,
    /// Before one already there.
    Reordered,
    /// Its instant is taken; the first one stays.
    Duplicate,
}

impl Column {
    pub(crate) fn file(&mut self, at: EventTime, value: f32) -> Filed {
        if self.at.back().is_none_or(|&last| last < at) {
            self.at.push_back(at);
            self.values.push_back(value);
            return Filed::Appended;
        }
        match self.at.binary_search(&at) {
            Ok(_) => Filed::Duplicate,
            Err(place) => {
                self.at.insert(place, at);
                self.values.insert(place, value);
                Filed::Reordered
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// Bytes of the heap it takes.
    pub(crate) fn bytes(&self) -> u64 {
        deque_bytes(&self.at) + deque_bytes(&self.values)
    }

    /// Bytes it would take beyond those for one sample more; mostly none.
    pub(crate) fn growth(&self) -> u64 {
        deque_growth(&self.at) + deque_growth(&self.values)
    }

    /// Makes room for one sample more.
    pub(crate) fn grow(&mut self) {
        grow(&mut self.at);
        grow(&mut self.values);
    }

    pub(crate) fn first(&self) -> Option<EventTime> {
        self.at.front().copied()
    }

    pub(crate) fn last(&self) -> Option<EventTime> {
        self.at.back().copied()
    }

    /// Replaces the series by the samples of a span.
    pub(crate) fn copy_into(&self, span: TimeSpan, series: &mut Series) {
        series.at.clear();
        series.values.clear();
        let from = self.at.partition_point(|&at| at < span.from);
        let to = self.at.partition_point(|&at| at < span.to).max(from);
        // No more than is needed: closed windows are what waits in the queue.
        series.at.reserve_exact(to - from);
        series.values.reserve_exact(to - from);
        series.at.extend(self.at.range(from..to));
        series.values.extend(self.values.range(from..to));
    }

    /// Forgets the samples before an instant; returns how many.
    pub(crate) fn release_before(&mut self, at: EventTime) -> u64 {
        let count = self.at.partition_point(|&held| held < at);
        self.at.drain(..count);
        self.values.drain(..count);
        count as u64
    }

    /// Gives the memory of an empty column back.
    pub(crate) fn shrink(&mut self) {
        self.at.shrink_to_fit();
        self.values.shrink_to_fit();
    }
}

/// Items a buffer grows by: half of what it holds, so that little is taken that is not used.
fn step(held: usize) -> usize {
    (held / 2).max(STEP_MIN)
}

/// Smallest growth of a buffer, in items: of a million sources that speak once, each takes this.
const STEP_MIN: usize = 4;

/// Bytes of the heap a buffer takes.
pub(crate) fn deque_bytes<T>(deque: &VecDeque<T>) -> u64 {
    (deque.capacity() * size_of::<T>()) as u64
}

/// Bytes a buffer would take beyond those for one item more.
pub(crate) fn deque_growth<T>(deque: &VecDeque<T>) -> u64 {
    if deque.len() < deque.capacity() { 0 } else { (step(deque.len()) * size_of::<T>()) as u64 }
}

/// Makes room for one item more.
pub(crate) fn grow<T>(deque: &mut VecDeque<T>) {
    if deque.len() == deque.capacity() {
        deque.reserve_exact(step(deque.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::Filed::{Appended, Duplicate, Reordered};
    use super::*;

    #[test]
    fn the_first_sample_of_an_instant_stays_and_order_is_restored() {
        let mut column = Column::default();
        let filed: Vec<Filed> = [(3, 0.3), (1, 0.1), (3, 9.9), (2, 0.2), (1, 9.9), (4, 0.4)]
            .into_iter()
            .map(|(at, value)| column.file(EventTime(at), value))
            .collect();
        assert_eq!(filed, [Appended, Reordered, Duplicate, Reordered, Duplicate, Appended]);
        let mut series = Series { at: vec![EventTime(7)], values: vec![7.0] };
        column.copy_into(TimeSpan { from: EventTime(1), to: EventTime(4) }, &mut series);
        assert_eq!(series.values, [0.1, 0.2, 0.3]);
        assert_eq!((column.release_before(EventTime(3)), column.len()), (2, 2));
        assert_eq!((column.first(), column.last()), (Some(EventTime(3)), Some(EventTime(4))));
    }
}
