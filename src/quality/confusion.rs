//! What was answered for what was true, class by class.

/// Counts of answers by truth and prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    /// Row by row: the truth; within a row: the prediction.
    counts: Vec<u64>,
}

/// The figures of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// How often it is true.
    pub support: u64,
    /// How often it is answered.
    pub predicted: u64,
    /// How often both.
    pub right: u64,
}

/// A mistake and how often it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What was true.
    pub truth: usize,
    /// What was answered.
    pub predicted: usize,
    /// How often.
    pub count: u64,
}

impl Confusion {
    /// Of so many labels, nothing counted yet.
    pub fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels] }
    }

    /// Counts one answer; one with a label there is not is ignored.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        if truth < self.labels
            && let Some(count) = self.counts.get_mut(truth * self.labels + predicted)
            && predicted < self.labels
        {
            *count += 1;
        }
    }

    /// Number of labels.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// How often this was answered for that.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.row(truth).get(predicted).copied().unwrap_or(0)
    }

    /// All answers.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Share of right answers; `None` without answers.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.labels).map(|label| self.count(label, label)).sum();
        share(right, self.total())
    }

    /// The figures of one class.
    pub fn class(&self, label: usize) -> Class {
        Class {
            support: self.row(label).iter().sum(),
            predicted: (0..self.labels).map(|truth| self.count(truth, label)).sum(),
            right: self.count(label, label),
        }
    }

    /// Mean F1 over the classes that are true or answered at least once; `None` if there are none.
    pub fn macro_f1(&self) -> Option<f64> {
        let seen = (0..self.labels).map(|label| self.class(label)).filter(|class| class.is_seen());
        let (sum, count) = seen.fold((0.0, 0_u32), |(sum, count), class| (sum + class.f1(), count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The most frequent mistakes, by count and then by label.
    pub fn worst(&self, most: usize) -> Vec<Mistake> {
        let pairs = (0..self.labels).flat_map(|truth| (0..self.labels).map(move |other| (truth, other)));
        let mistakes = pairs.filter(|(truth, predicted)| truth != predicted);
        let mut mistakes: Vec<Mistake> = mistakes
            .map(|(truth, predicted)| Mistake { truth, predicted, count: self.count(truth, predicted) })
            .filter(|mistake| mistake.count > 0)
            .collect();
        mistakes.sort_by_key(|mistake| (std::cmp::Reverse(mistake.count), mistake.truth, mistake.predicted));
        mistakes.truncate(most);
        mistakes
    }

    fn row(&self, truth: usize) -> &[u64] {
        self.counts.chunks(self.labels.max(1)).nth(truth).unwrap_or(&[])
    }
}

impl Class {
    /// Adds the counts of another, as for a mean over all answers.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            support: self.support + other.support,
            predicted: self.predicted + other.predicted,
            right: self.right + other.right,
        }
    }

    /// Whether it is true or answered at least once.
    pub fn is_seen(self) -> bool {
        self.support > 0 || self.predicted > 0
    }

    /// Share of the answers that are right; 0 without answers.
    pub fn precision(self) -> f64 {
        share(self.right, self.predicted).unwrap_or(0.0)
    }

    /// Share of the truths that were found; 0 if there are none.
    pub fn recall(self) -> f64 {
        share(self.right, self.support).unwrap_or(0.0)
    }

    /// Harmonic mean of precision and recall; 0 if both are.
    pub fn f1(self) -> f64 {
        share(2 * self.right, self.support + self.predicted).unwrap_or(0.0)
    }
}

/// A part of a whole; `None` of nothing.
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 10 answers over three labels: 0 is right 4 of 5 times, 1 is right 1 of 3, 2 is right 2 of 2.
    fn ten() -> Confusion {
        let mut confusion = Confusion::new(4);
        for (truth, predicted) in
            [(0, 0), (0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (1, 2), (2, 2), (2, 2)]
        {
            confusion.add(truth, predicted);
        }
        confusion
    }

    #[test]
    fn the_figures_are_those_of_a_hand_calculation() {
        let confusion = ten();
        assert_eq!((confusion.total(), confusion.accuracy()), (10, Some(0.7)));
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        let [zero, one, two, three] = [0, 1, 2, 3].map(|label| confusion.class(label));
        assert_eq!((zero.support, zero.predicted, zero.right), (5, 4, 4));
        near(zero.precision(), 1.0);
        near(zero.recall(), 0.8);
        near(zero.f1(), 8.0 / 9.0);
        near(one.f1(), 2.0 / 5.0);
        near(two.f1(), 4.0 / 6.0);
        assert!(!three.is_seen());
        // The fourth label never occurs and does not count.
        near(confusion.macro_f1().unwrap(), (8.0 / 9.0 + 2.0 / 5.0 + 4.0 / 6.0) / 3.0);
    }

    #[test]
    fn the_worst_pairs_come_first() {
        let worst = ten().worst(5);
        let pairs: Vec<_> = worst.iter().map(|pair| (pair.truth, pair.predicted, pair.count)).collect();
        assert_eq!(pairs, [(1, 2, 2), (0, 1, 1)]);
        assert_eq!(ten().worst(1).len(), 1);
    }

    #[test]
    fn nothing_counted_gives_nothing_and_unknown_labels_are_not_counted() {
        let mut none = Confusion::new(2);
        none.add(2, 0);
        none.add(0, 2);
        none.add(1, 2);
        assert_eq!((none.total(), none.accuracy(), none.macro_f1()), (0, None, None));
        assert_eq!(Confusion::new(0).worst(3), []);
    }
}
