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

    /// Takes in a summary; `false` when its sketch could not be read. Its values then count as so many of its mean.
    pub(crate) fn add_summary(&mut self, summary: &FeatureSummary) -> bool {
        let claims = [summary.min, summary.max, summary.mean];
        if summary.count == 0 || claims.iter().any(|value| !value.is_finite()) {
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
