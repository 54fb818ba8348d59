//! The grid of time windows: aligned to 1970, so that a restart cuts the same windows.

use std::time::Duration;

use crate::clock::EventTime;
use crate::flow::TimeSpan;
use crate::window::config::{LENGTH_MAX, OVERLAP_MAX};

/// Windows `k*hop <= t < k*hop + length` for every whole k.
///
/// Both are at most [`LENGTH_MAX`] and times at most [`crate::window::watermark::STAMP_MAX`], so no sum overflows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    length: i64,
    hop: i64,
}

impl Grid {
    /// The configuration has refused lengths outside the limits; holding them here keeps every loop finite.
    pub(crate) fn new(length: Duration, hop: Duration) -> Self {
        let length = micros(length.min(LENGTH_MAX)).max(1);
        let hop_min = length.div_euclid(i64::from(OVERLAP_MAX)).max(1);
        Self { length, hop: micros(hop.min(LENGTH_MAX)).max(hop_min) }
    }

    /// Length in microseconds.
    pub(crate) fn length(self) -> i64 {
        self.length
    }

    /// Whether any window covers this instant; not so between hops longer than the length.
    pub(crate) fn covers(self, at: EventTime) -> bool {
        at.0.rem_euclid(self.hop) < self.length
    }

    /// The earliest window that ends after this instant.
    pub(crate) fn first_ending_after(self, at: EventTime) -> TimeSpan {
        self.span((at.0 - self.length).div_euclid(self.hop) + 1)
    }

    /// The latest window that starts at or before this instant.
    pub(crate) fn last_starting_by(self, at: EventTime) -> TimeSpan {
        self.span(at.0.div_euclid(self.hop))
    }

    /// The end of the latest window that ends at or before this instant.
    pub(crate) fn last_end_by(self, at: EventTime) -> EventTime {
        self.span((at.0 - self.length).div_euclid(self.hop)).to
    }

    /// Start of the window after this one.
    pub(crate) fn next_start(self, span: TimeSpan) -> EventTime {
        EventTime(span.from.0 + self.hop)
    }

    /// How many windows end after `from` and at or before `to`, both being ends of windows.
    pub(crate) fn ends_between(self, from: EventTime, to: EventTime) -> u64 {
        u64::try_from(to.micros_since(from).div_euclid(self.hop)).unwrap_or(0)
    }

    fn span(self, index: i64) -> TimeSpan {
        let from = index * self.hop;
        TimeSpan { from: EventTime(from), to: EventTime(from + self.length) }
    }
}

/// Whole microseconds; saturates.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(length: u64, hop: u64) -> Grid {
        Grid::new(Duration::from_micros(length), Duration::from_micros(hop))
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_also_before_it() {
        let tumbling = grid(10, 10);
        for (at, from) in [(0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (25, 20)] {
            let span = tumbling.last_starting_by(EventTime(at));
            assert_eq!((span.from.0, span.to.0), (from, from + 10), "{at}");
            assert_eq!(tumbling.first_ending_after(EventTime(at)), span, "{at}");
        }
    }

    #[test]
    fn hopping_windows_cover_an_instant_length_over_hop_times() {
        let hopping = grid(30, 10);
        assert_eq!(hopping.first_ending_after(EventTime(25)).from, EventTime(0));
        assert_eq!(hopping.last_starting_by(EventTime(25)).from, EventTime(20));
        assert_eq!(hopping.last_end_by(EventTime(39)), EventTime(30));
        assert_eq!(hopping.last_end_by(EventTime(40)), EventTime(40));
    }

    #[test]
    fn hops_longer_than_the_length_leave_instants_uncovered() {
        let sparse = grid(3, 10);
        let covered: Vec<i64> = (-10..10).filter(|&at| sparse.covers(EventTime(at))).collect();
        assert_eq!(covered, [-10, -9, -8, 0, 1, 2]);
    }

    #[test]
    fn the_overlap_is_bounded_whatever_was_configured() {
        let absurd = grid(1_000_000, 0);
        assert_eq!(absurd.hop, 1_000_000 / i64::from(OVERLAP_MAX));
    }
}
