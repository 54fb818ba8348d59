//! Ranges of a lane that are done with although earlier records are not.
//!
//! # Invariants
//! Ranges rise, neither overlap nor touch, and lie beyond the number up to which everything is done with. Their number is
//! bounded, in memory and, closer, in a cursor slot.

/// Ranges a cursor slot holds: when there are more, the records of the smallest are sent again after a restart. One comes
/// about with each connection that ends before the backlog is through.
pub(crate) const DONE_RANGES_MAX: usize = 8;

/// Ranges in memory: beyond that the smallest is forgotten at once. A link would have to come and go as often while one
/// backlog waits.
pub(crate) const KNOWN_RANGES_MAX: usize = 64;

/// First and last number of a range.
pub(crate) type Range = (u64, u64);

/// The ranges of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done(Vec<Range>);

impl Done {
    /// Takes ranges that a cursor slot held; those that break the order are left out.
    pub(crate) fn new(acked: u64, ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut done = Self::default();
        for (from, upto) in ranges {
            if from > acked.saturating_add(1) {
                done.insert(from, upto);
            }
        }
        done
    }

    /// Adds a range, joined with those it meets. When there are too many the smallest is forgotten and returned.
    pub(crate) fn insert(&mut self, mut from: u64, mut upto: u64) -> Option<Range> {
        if from > upto {
            return None;
        }
        self.0.retain(|&(first, last)| {
            let apart = last.saturating_add(1) < from || upto.saturating_add(1) < first;
            if !apart {
                (from, upto) = (from.min(first), upto.max(last));
            }
            apart
        });
        let index = self.0.partition_point(|range| range.0 < from);
        self.0.insert(index, (from, upto));
        if self.0.len() > KNOWN_RANGES_MAX { self.forget_smallest() } else { None }
    }

    /// Whether one more range is kept in any case.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < KNOWN_RANGES_MAX
    }

    /// As much of it as a slot holds: the largest.
    pub(crate) fn to_slot(&self) -> Self {
        let mut largest = self.clone();
        while largest.0.len() > DONE_RANGES_MAX {
            largest.forget_smallest();
        }
        largest
    }

    fn forget_smallest(&mut self) -> Option<Range> {
        let smallest = (0..self.0.len()).min_by_key(|&i| self.0.get(i).map(|(from, upto)| upto - from))?;
        Some(self.0.remove(smallest))
    }

    /// The last number of the range that holds `seq`.
    pub(crate) fn end_of(&self, seq: u64) -> Option<u64> {
        self.0.iter().find(|range| (range.0..=range.1).contains(&seq)).map(|range| range.1)
    }

    /// The greatest number in a range, 0 without one.
    pub(crate) fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// How many numbers from `from` to `upto` are in ranges.
    pub(crate) fn count(&self, from: u64, upto: u64) -> u64 {
        let within = |&(first, last): &Range| (upto.min(last) + 1).saturating_sub(from.max(first));
        self.0.iter().map(within).sum()
    }

    /// Drops what lies at or before `acked`, joins what meets it, and returns how far everything is done with then.
    pub(crate) fn pass(&mut self, mut acked: u64) -> u64 {
        self.0.retain(|&(from, upto)| {
            if from <= acked.saturating_add(1) {
                acked = acked.max(upto);
                return false;
            }
            true
        });
        acked
    }

    /// All ranges, rising.
    pub(crate) fn ranges(&self) -> &[Range] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_range_is_forgotten_when_there_are_too_many() {
        let mut done = Done::default();
        for index in 0..=KNOWN_RANGES_MAX as u64 {
            done.insert(100 * index + 10, 100 * index + 20 + index);
        }
        assert_eq!(done.ranges().len(), KNOWN_RANGES_MAX);
        assert_eq!(done.ranges()[0], (110, 121), "the first was the shortest");
        let saved = done.to_slot();
        assert_eq!(
            saved.ranges(),
            &done.ranges()[KNOWN_RANGES_MAX - DONE_RANGES_MAX..],
            "the last are the longest"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_are_a_set_of_numbers(inserts in prop::collection::vec((2..60_u64, 0..6_u64), 0..8), acked in 0..40_u64) {
            let mut set = std::collections::BTreeSet::new();
            let mut done = Done::default();
            for (from, more) in inserts {
                done.insert(from, from + more);
                set.extend(from..=from + more);
            }
            for seq in 1..70 {
                prop_assert_eq!(done.end_of(seq).is_some(), set.contains(&seq));
                prop_assert_eq!(done.count(seq, seq + 9), set.range(seq..seq + 10).count() as u64);
            }
            let mut reached = acked;
            while set.contains(&(reached + 1)) || set.range(reached + 1..).next() == Some(&(reached + 1)) {
                reached += 1;
            }
            prop_assert_eq!(done.pass(acked), reached);
            set.retain(|&seq| seq > reached);
            let left: Vec<u64> = done.ranges().iter().flat_map(|range| range.0..=range.1).collect();
            prop_assert_eq!(left, set.into_iter().collect::<Vec<_>>());
            prop_assert!(done.ranges().is_sorted_by(|a, b| a.1 + 1 < b.0));
        }
    }
}
