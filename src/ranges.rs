//! A bounded set of record numbers, as ranges: what is done with although earlier records are not.
//!
//! # Invariants
//! Ranges rise, neither overlap nor touch, and there are never more than [`RANGES_MAX`].

/// First and last number of a range.
pub type Range = (u64, u64);

/// Ranges kept: beyond that the shortest is forgotten, and its records are sent twice, which costs bytes and loses nothing.
/// One comes about with each connection that ends before the backlog is through.
pub const RANGES_MAX: usize = 64;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Adds a range, joined with those it meets. When there are too many the shortest is forgotten and returned.
    pub fn insert(&mut self, mut from: u64, mut upto: u64) -> Option<Range> {
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
        if self.0.len() > RANGES_MAX { self.forget_shortest() } else { None }
    }

    /// Adds all ranges of another set.
    pub fn insert_all(&mut self, other: &Self) {
        for &(from, upto) in &other.0 {
            self.insert(from, upto);
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, from: u64, upto: u64) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for &(first, last) in &self.0 {
            if last < from || first > upto {
                left.push((first, last));
                continue;
            }
            if first < from {
                left.push((first, from - 1));
            }
            if last > upto {
                left.push((upto + 1, last));
            }
        }
        self.0 = left;
    }

    /// Drops what lies at or before `acked`, joins what meets it, and returns how far every number is in then.
    pub fn pass(&mut self, mut acked: u64) -> u64 {
        self.0.retain(|&(from, upto)| {
            if from <= acked.saturating_add(1) {
                acked = acked.max(upto);
                return false;
            }
            true
        });
        acked
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The longest ranges of it, at most so many.
    #[must_use]
    pub fn longest(&self, ranges_max: usize) -> Self {
        let mut longest = self.clone();
        while longest.0.len() > ranges_max {
            longest.forget_shortest();
        }
        longest
    }

    /// Whether one more range is kept in any case.
    pub fn has_room(&self) -> bool {
        self.0.len() < RANGES_MAX
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ranges, rising.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The lowest range.
    pub fn lowest(&self) -> Option<Range> {
        self.0.first().copied()
    }

    /// The greatest number, 0 without one.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// The last number of the range that holds `number`.
    pub fn end_of(&self, number: u64) -> Option<u64> {
        self.0.iter().find(|range| (range.0..=range.1).contains(&number)).map(|range| range.1)
    }

    /// How many numbers from `from` to `upto` are in it.
    pub fn count(&self, from: u64, upto: u64) -> u64 {
        let within = |&(first, last): &Range| (upto.min(last) + 1).saturating_sub(from.max(first));
        self.0.iter().map(within).sum()
    }

    /// The lowest range between two numbers that is not in it.
    pub fn gap(&self, from: u64, upto: u64) -> Option<Range> {
        let (mut from, mut end) = (from, upto);
        for &(first, last) in &self.0 {
            if last < from {
                continue;
            }
            if first > from {
                end = end.min(first - 1);
                break;
            }
            from = last.saturating_add(1);
        }
        (from <= end).then_some((from, end))
    }

    fn forget_shortest(&mut self) -> Option<Range> {
        let (at, _) = self.0.iter().enumerate().min_by_key(|(_, (from, upto))| upto - from)?;
        Some(self.0.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.ranges().iter().flat_map(|&(from, upto)| from..=upto).collect()
    }

    #[test]
    fn the_shortest_range_is_forgotten_when_there_are_too_many() {
        let mut ranges = Ranges::default();
        for index in 0..RANGES_MAX as u64 {
            assert_eq!(ranges.insert(100 * index + 10, 100 * index + 20 + index), None);
        }
        assert!(!ranges.has_room());
        assert_eq!(ranges.insert(9_000, 9_005), Some((9_000, 9_005)));
        assert_eq!((ranges.ranges().len(), ranges.lowest()), (RANGES_MAX, Some((10, 20))));
        assert_eq!(
            ranges.longest(8).ranges(),
            &ranges.ranges()[RANGES_MAX - 8..],
            "the last are the longest"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_are_a_set_of_numbers(
            steps in prop::collection::vec((2..60_u64, 0..9_u64, prop::bool::weighted(0.3)), 0..24),
            acked in 0..40_u64,
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (from, more, is_removed) in steps {
                if is_removed {
                    ranges.remove(from, from + more);
                    set.retain(|number| !(from..=from + more).contains(number));
                } else {
                    ranges.insert(from, from + more);
                    set.extend(from..=from + more);
                }
                prop_assert!(ranges.ranges().is_sorted_by(|a, b| a.1 + 1 < b.0));
                prop_assert_eq!(&numbers(&ranges), &set);
            }
            for number in 1..70 {
                prop_assert_eq!(ranges.end_of(number).is_some(), set.contains(&number));
                prop_assert_eq!(ranges.count(number, number + 9), set.range(number..number + 10).count() as u64);
                let from = (number..=75).find(|number| !set.contains(number));
                let gap = from.map(|from| (from, (from..=75).take_while(|number| !set.contains(number)).last().unwrap()));
                prop_assert_eq!(ranges.gap(number, 75), gap);
            }
            prop_assert_eq!(ranges.last(), set.last().copied().unwrap_or(0));
            let mut reached = acked;
            while set.contains(&(reached + 1)) {
                reached += 1;
            }
            // A range that holds `acked` itself is passed to its end as well.
            prop_assert_eq!(ranges.pass(acked), reached);
            set.retain(|&number| number > reached);
            prop_assert_eq!(numbers(&ranges), set);
        }
    }
}
