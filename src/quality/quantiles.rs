//! Quantiles of measured times.

/// The sorted values of a measurement.
pub struct Quantiles {
    sorted: Vec<u64>,
}

impl Quantiles {
    /// Of these values, in any order.
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self { sorted: values }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The smallest value that at least this share of all does not exceed (nearest rank); `None` without values.
    pub fn at(&self, share: f64) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to the number of values"
        )]
        let rank = (share.clamp(0.0, 1.0) * self.sorted.len() as f64).ceil().max(1.0) as usize;
        self.sorted.get(rank - 1).copied()
    }

    /// Their mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.sorted.iter().map(|value| *value as f64).sum();
        (!self.sorted.is_empty()).then(|| sum / self.sorted.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let hundred = Quantiles::of((1..=100).rev().collect());
        let at = |share| hundred.at(share);
        assert_eq!([at(0.0), at(0.5), at(0.99), at(1.0)], [Some(1), Some(50), Some(99), Some(100)]);
        assert_eq!(hundred.mean(), Some(50.5));
        let one = Quantiles::of(vec![7]);
        assert_eq!((one.at(0.01), one.at(0.99)), (Some(7), Some(7)));
        let none = Quantiles::of(Vec::new());
        assert_eq!((none.at(0.5), none.mean(), none.count()), (None, None, 0));
    }
}
