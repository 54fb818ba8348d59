//! One feature over many events: count, extremes, exact sum, sketch.

use std::sync::Arc;

use crate::distill::sketch::Sketch;
use crate::flow::FeatureSummary;

/// Quantiles told of a feature.
const QUANTILES: [f64; 3] = [0.05, 0.5, 0.95];

/// Sums are kept in units of 2^-64: whole numbers, so that they come out the same in any order. What goes beyond
/// ±9.2e18 stays there; the mean then keeps to the extremes.
const UNITS: f64 = 18_446_744_073_709_551_616.0;

/// Count that a summary may claim for one feature when its sketch cannot be read.
const COUNT_MAX: u64 = 1 << 48;

/// A feature being summed up.
pub(crate) struct FeatureTotal {
    count: u64,
    min: f32,
    max: f32,
    sum: i128,
    sketch: Sketch,
}

impl FeatureTotal {
    /// Of no value yet.
    pub(crate) fn new() -> Self {
        Self { count: 0, min: f32::INFINITY, max: f32::NEG_INFINITY, sum: 0, sketch: Sketch::new() }
    }

    /// Takes in one value; what is not a number is left out.
    pub(crate) fn add(&mut self, value: f32) {
        if value.is_finite() {
            self.count += 1;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.sum = self.sum.saturating_add(units(f64::from(value)));
            self.sketch.add(value, 1);
        }
    }

    /// Takes in a summary; `false` when its sketch could not be read: its values then count as so many of its mean. One
    /// that cannot be is left out.
    pub(crate) fn add_summary(&mut self, summary: &FeatureSummary) -> bool {
        let claims = [summary.min, summary.max, summary.mean];
        let possible = claims.iter().all(|value| value.is_finite()) && summary.min <= summary.max;
        if summary.count == 0 || !possible {
            return false;
        }
        let kept = read_kept(&summary.sketch, summary.count);
        let readable = kept.is_some();
        let (count, sum, sketch) = kept.map_or_else(
            || {
                let count = summary.count.min(COUNT_MAX);
                let mut sketch = Sketch::new();
                sketch.add(summary.mean, count);
                (count, units(f64::from(summary.mean)).saturating_mul(i128::from(count)), sketch)
            },
            |(sum, sketch)| (summary.count, sum, sketch),
        );
        self.count = self.count.saturating_add(count);
        self.min = self.min.min(summary.min);
        self.max = self.max.max(summary.max);
        self.sum = self.sum.saturating_add(sum);
        self.sketch.merge(&sketch);
        readable
    }

    /// What is told of it; `None` before the first value.
    pub(crate) fn summary(&self, name: &Arc<str>) -> Option<FeatureSummary> {
        if self.count == 0 {
            return None;
        }
        let told = |value: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "meant: the nearest single-precision number")]
            let value = value as f32;
            value.clamp(self.min, self.max)
        };
        let mut kept = Vec::new();
        write_sum(self.sum, &mut kept);
        self.sketch.write(&mut kept);
        Some(FeatureSummary {
            name: Arc::clone(name),
            count: self.count,
            min: self.min,
            max: self.max,
            mean: told(self.sum as f64 / UNITS / self.count as f64),
            quantiles: QUANTILES.map(|share| told(self.sketch.quantile(share).unwrap_or_default())),
            sketch: kept.into(),
        })
    }
}

/// A value in the units of sums.
fn units(value: f64) -> i128 {
    #[expect(clippy::cast_possible_truncation, reason = "stops at the ends of the range, as documented")]
    let units = (value * UNITS) as i128;
    units
}

/// The sum and the sketch behind it, as [`FeatureTotal::summary`] writes them.
fn read_kept(bytes: &[u8], count: u64) -> Option<(i128, Sketch)> {
    let (sum, rest) = read_sum(bytes)?;
    Some((sum, Sketch::read(rest, count)?))
}

/// Zero bits at the end, then the rest in groups of seven bits, the lowest first, the sign in the last bit.
fn write_sum(sum: i128, out: &mut Vec<u8>) {
    let zeros = if sum == 0 { 0 } else { sum.trailing_zeros() };
    out.push(u8::try_from(zeros).unwrap_or_default());
    let short = sum >> zeros;
    let mut rest = ((short << 1) ^ (short >> 127)).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Undoes [`write_sum`], and gives the bytes behind.
fn read_sum(bytes: &[u8]) -> Option<(i128, &[u8])> {
    let (&zeros, mut rest) = bytes.split_first()?;
    let mut value = 0_u128;
    for place in 0_u32..19 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        value |= u128::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte < 0x80 {
            let short = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            let sum = short.checked_shl(u32::from(zeros))?;
            return (sum >> zeros == short).then_some((sum, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total_of(values: &[f32]) -> FeatureTotal {
        let mut total = FeatureTotal::new();
        for value in values {
            total.add(*value);
        }
        total
    }

    fn summary_of(values: &[f32]) -> FeatureSummary {
        total_of(values).summary(&"vs1.rms".into()).unwrap()
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-2_000_000_i32..2_000_000).prop_map(|steps| steps as f32 / 1_000.0),
            1 => -1e12_f32..1e12,
        ]
    }

    proptest! {
        #[test]
        fn a_feature_is_the_same_however_its_values_were_split_and_merged(
            values in prop::collection::vec(value(), 1..60), seed in any::<u64>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut parts: Vec<FeatureSummary> = values.iter().map(|value| summary_of(&[*value])).collect();
            while parts.len() > 1 {
                let one = parts.swap_remove(random.usize(..parts.len()));
                let other = parts.swap_remove(random.usize(..parts.len()));
                let mut both = FeatureTotal::new();
                prop_assert!(both.add_summary(&one) && both.add_summary(&other));
                parts.push(both.summary(&"vs1.rms".into()).unwrap());
            }
            prop_assert_eq!(&parts[0], &summary_of(&values));
            let extremes = values.iter().fold((f32::MAX, f32::MIN), |(min, max), value| (min.min(*value), max.max(*value)));
            prop_assert_eq!((parts[0].count, parts[0].min, parts[0].max), (values.len() as u64, extremes.0, extremes.1));
            let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
            prop_assert!((f64::from(parts[0].mean) - mean).abs() <= mean.abs() * 1e-6 + 1e-3, "{} {mean}", parts[0].mean);
        }

        #[test]
        fn sums_read_back_and_any_bytes_are_a_sum_or_nothing(sum in any::<i128>(), zeros in 0_u32..127, noise in prop::collection::vec(any::<u8>(), 0..30)) {
            let sum = sum >> zeros << zeros;
            let mut out = Vec::new();
            write_sum(sum, &mut out);
            out.push(7);
            prop_assert_eq!(read_sum(&out), Some((sum, &[7][..])));
            prop_assert!(read_sum(&noise).is_none_or(|(_, rest)| rest.len() < noise.len()));
        }
    }

    #[test]
    fn a_mean_of_means_is_seen_as_the_bug_it_is() {
        let values = [1.0, 2.0, 3.0, 50.0];
        let (one, other) = (summary_of(&values[..3]), summary_of(&values[3..]));
        let mean = f32::midpoint(one.mean, other.mean);
        assert!((mean - summary_of(&values).mean).abs() > 1.0);
    }

    #[test]
    fn a_summary_whose_sketch_cannot_be_read_counts_as_its_mean() {
        let spoiled = FeatureSummary { sketch: Arc::from([99_u8]), ..summary_of(&[1.0, 2.0, 9.0]) };
        let mut total = total_of(&[4.0]);
        assert!(!total.add_summary(&spoiled));
        let told = total.summary(&"vs1.rms".into()).unwrap();
        assert_eq!((told.count, told.min, told.max, told.mean), (4, 1.0, 9.0, 4.0));
        for (count, mean) in [(0, 1.0), (3, f32::NAN)] {
            assert!(!total.add_summary(&FeatureSummary { count, mean, ..spoiled.clone() }));
        }
        assert!(!total.add_summary(&FeatureSummary { min: 9.0, max: 1.0, ..spoiled.clone() }));
        assert_eq!(total.summary(&"vs1.rms".into()), Some(told));
    }

    #[test]
    fn tiny_and_huge_values_are_summed_up() {
        let told = summary_of(&[1e-15, 3e-15]);
        assert!((told.mean / 2e-15 - 1.0).abs() < 1e-3, "{}", told.mean);
        let told = summary_of(&[f32::MAX, f32::MAX]);
        assert!(told.mean <= told.max && told.min.to_bits() == f32::MAX.to_bits(), "{told:?}");
        assert!(FeatureTotal::new().summary(&"vs1.rms".into()).is_none());
        assert_eq!(summary_of(&[1.0, f32::NAN, f32::INFINITY]).count, 1);
    }
}
