//! A few stretches of numbers, kept sorted and apart.

/// Stretches of record numbers, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Ranges(Vec<(u64, u64)>);

/// Stretches remembered. Beyond it the shortest is forgotten: its records are sent twice, which costs bytes and loses
/// nothing. One is added by each connection that ends before the backlog does.
const RANGES_MAX: usize = 64;

impl Ranges {
    /// Adds a stretch.
    pub(in crate::forward) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        self.0.retain(|&(from, upto)| {
            let apart = upto.saturating_add(1) < first || from > last.saturating_add(1);
            if !apart {
                first = first.min(from);
                last = last.max(upto);
            }
            apart
        });
        let at = self.0.partition_point(|&(from, _)| from < first);
        self.0.insert(at, (first, last));
        if self.0.len() > RANGES_MAX
            && let Some((at, _)) = self.0.iter().enumerate().min_by_key(|(_, (from, upto))| upto - from)
        {
            self.0.remove(at);
        }
    }

    /// Adds all stretches of another.
    pub(in crate::forward) fn insert_all(&mut self, other: &Self) {
        for &(first, last) in &other.0 {
            self.insert(first, last);
        }
    }

    /// Takes a stretch out.
    pub(in crate::forward) fn remove(&mut self, first: u64, last: u64) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for &(from, upto) in &self.0 {
            if upto < first || from > last {
                left.push((from, upto));
                continue;
            }
            if from < first {
                left.push((from, first - 1));
            }
            if upto > last {
                left.push((last + 1, upto));
            }
        }
        self.0 = left;
    }

    /// The lowest stretch.
    pub(in crate::forward) fn lowest(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// The lowest stretch between two numbers that is not in here.
    pub(in crate::forward) fn gap(&self, from: u64, upto: u64) -> Option<(u64, u64)> {
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

    pub(in crate::forward) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::forward) fn clear(&mut self) {
        self.0.clear();
    }

    /// Numbers in it above `floor` and up to `ceiling`.
    pub(in crate::forward) fn count(&self, floor: u64, ceiling: u64) -> u64 {
        let inside = |&(first, last): &(u64, u64)| {
            (last.min(ceiling) + 1).saturating_sub(first.max(floor.saturating_add(1)))
        };
        self.0.iter().map(inside).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_the_set_it_stands_for() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..30 {
                let first = random.u64(1..80);
                let last = random.u64(first..(first + 12).min(90));
                if random.u8(..3) == 0 {
                    ranges.remove(first, last);
                    set.retain(|number| !(first..=last).contains(number));
                } else {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                }
                let listed: BTreeSet<u64> = ranges.0.iter().flat_map(|&(from, upto)| from..=upto).collect();
                assert_eq!(listed, set);
                assert!(ranges.0.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{ranges:?}");
                assert_eq!(ranges.count(5, 60), set.range(6..=60).count() as u64);
                let from = (10..=70).find(|number| !set.contains(number));
                let gap = from.map(|from| {
                    (from, (from..=70).take_while(|number| !set.contains(number)).last().unwrap())
                });
                assert_eq!(ranges.gap(10, 70), gap);
            }
        }
    }

    #[test]
    fn too_many_stretches_cost_the_shortest() {
        let mut ranges = Ranges::default();
        ranges.insert(1, 1);
        for stretch in 1..=RANGES_MAX as u64 {
            ranges.insert(stretch * 10, stretch * 10 + 5);
        }
        assert_eq!(ranges.0.len(), RANGES_MAX);
        assert_eq!(ranges.lowest(), Some((10, 15)));
    }
}
