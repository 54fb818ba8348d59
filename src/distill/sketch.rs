//! How values were distributed: a quantile sketch that is as fine as its range allows and merges without loss.
//!
//! # Invariants
//! The same values give the same sketch, however they were split and in whatever order the parts were merged.
//! A quantile is off by at most the error that follows from the bins (`Sketch::error`). At most [`BINS_MAX`] bins for each sign.
//!
//! # Why
//! The bins are those of `DDSketch`: logarithmic, so that merging is adding. With one width for everything they are too
//! wide for a pressure of 101 ± 0.5 bar or too many for a vibration over four decades. So there is a ladder of widths,
//! each twice the one below; a sketch takes the narrowest with which its range fits into [`BINS_MAX`] bins. Going up a
//! step joins pairs of bins and moves no value over an edge, so the last width depends on the values alone.

use sketches_ddsketch::{Config, DDSketch};

use crate::distill::bins::{Bin, Sign, bins};

/// Bins for each sign. Sixty values of an hour within a factor of two fall into half of them: about 60 bytes, each bin
/// 1.1 % wide.
pub(crate) const BINS_MAX: i32 = 64;

/// Widths to choose from: the natural logarithm of the ratio of a bin's edges is 2^-14 (0.006 %) for the first, 2 for
/// the last, with which [`BINS_MAX`] bins hold every single-precision number.
pub(crate) const LEVEL_MAX: u8 = 15;

/// Amounts up to this count as zero.
const VALUE_MIN: f64 = 1e-9;

/// The same for the library: below the middle of every bin that holds a greater one.
const MIDDLE_MIN: f64 = 1e-12;

/// A sketch being filled.
pub(crate) struct Sketch {
    level: u8,
    /// Lowest and highest bin in use, by sign.
    positive: Option<(i32, i32)>,
    negative: Option<(i32, i32)>,
    /// The bins of the first level and of the present one.
    finest: Config,
    config: Config,
    inner: DDSketch,
}

impl Sketch {
    /// A sketch of nothing.
    pub(crate) fn new() -> Self {
        let finest = config(0);
        let inner = DDSketch::new(finest);
        Self { level: 0, positive: None, negative: None, finest, config: finest, inner }
    }

    /// Takes in a finite value `count` times.
    pub(crate) fn add(&mut self, value: f32, count: u64) {
        let amount = f64::from(value).abs();
        if amount <= VALUE_MIN {
            self.inner.add_with_count(0.0, count);
            return;
        }
        let sign = if value < 0.0 { Sign::Negative } else { Sign::Positive };
        self.add_bin(Bin { sign, key: self.finest.key(amount), count }, 0);
    }

    /// Adds all values of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for bin in bins(&other.inner.to_java_bytes()).unwrap_or_default() {
            self.add_bin(bin, other.level);
        }
    }

    /// Values in it.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.inner.count() as u64
    }

    /// The value below which this share of all lies; `None` when there is none.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        self.inner.quantile(share).ok().flatten()
    }

    /// By how much of itself a quantile may be off.
    #[cfg(test)]
    pub(crate) fn error(&self) -> f64 {
        half_width(self.level)
    }

    /// Appends its bytes: the level, then the bins in the format of `sketches-java`, as the library writes them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.level);
        let bytes = self.inner.to_java_bytes();
        out.extend_from_slice(crate::distill::bins::without_header(&bytes));
    }

    /// Reads a sketch of `count` values; `None` if these bytes are none.
    pub(crate) fn read(bytes: &[u8], count: u64) -> Option<Self> {
        let (&level, rest) = bytes.split_first()?;
        if level > LEVEL_MAX {
            return None;
        }
        let bins = bins(rest)?;
        let limit = key_limit(level);
        let total = bins.iter().try_fold(0_u64, |sum, bin| sum.checked_add(bin.count))?;
        let fits = bins.len() <= 2 * BINS_MAX.unsigned_abs() as usize + 1
            && bins.iter().all(|bin| (-limit..=limit).contains(&bin.key));
        if total != count || !fits {
            return None;
        }
        let mut sketch = Self::new();
        sketch.rise(level);
        for bin in bins {
            sketch.add_bin(bin, level);
        }
        Some(sketch)
    }

    /// Adds a bin of a level; the wider of both levels decides, and a wider one still if the range needs it.
    fn add_bin(&mut self, bin: Bin, level: u8) {
        if bin.sign == Sign::Zero {
            self.inner.add_with_count(0.0, bin.count);
            return;
        }
        self.rise(level);
        let key = bin.key >> (self.level - level);
        let range = match bin.sign {
            Sign::Negative => &mut self.negative,
            Sign::Positive | Sign::Zero => &mut self.positive,
        };
        let (low, high) = range.map_or((key, key), |(low, high)| (low.min(key), high.max(key)));
        *range = Some((low, high));
        let fits = |steps: &u8| (high >> steps) - (low >> steps) < BINS_MAX;
        let top = LEVEL_MAX - self.level;
        let steps = (0..=top).find(fits).unwrap_or(top);
        self.rise(self.level + steps);
        self.put(bin.sign, key >> steps, bin.count);
    }

    /// Goes up to a level, if it is above, by joining bins.
    fn rise(&mut self, level: u8) {
        if level <= self.level {
            return;
        }
        let steps = level - self.level;
        let found = bins(&self.inner.to_java_bytes()).unwrap_or_default();
        let up = |range: (i32, i32)| (range.0 >> steps, range.1 >> steps);
        self.config = config(level);
        self.inner = DDSketch::new(self.config);
        self.level = level;
        self.positive = self.positive.map(up);
        self.negative = self.negative.map(up);
        for bin in found {
            self.put(bin.sign, bin.key >> steps, bin.count);
        }
    }

    /// Counts values into a bin of the present level, by way of the value in its middle.
    fn put(&mut self, sign: Sign, key: i32, count: u64) {
        let middle = match sign {
            Sign::Zero => 0.0,
            Sign::Positive => self.config.value(key),
            Sign::Negative => -self.config.value(key),
        };
        self.inner.add_with_count(middle, count);
    }
}

/// Half the width of a level's bins, relative to the value in their middle.
fn half_width(level: u8) -> f64 {
    let width = 2_f64.powi(i32::from(level) - 14);
    (width / 2.0).tanh()
}

fn config(level: u8) -> Config {
    Config::new(half_width(level), BINS_MAX.unsigned_abs(), MIDDLE_MIN)
}

/// No single-precision number above [`VALUE_MIN`] falls into a bin beyond this.
fn key_limit(level: u8) -> i32 {
    // ln(f32::MAX) is 88.7, in bins of 2^-14.
    ((89 << 14) >> level) + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch_of(values: &[f32]) -> Sketch {
        let mut sketch = Sketch::new();
        for value in values {
            sketch.add(*value, 1);
        }
        sketch
    }

    fn bytes(sketch: &Sketch) -> Vec<u8> {
        let mut out = Vec::new();
        sketch.write(&mut out);
        out
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            6 => (-2_000_000_i32..2_000_000).prop_map(|steps| steps as f32 / 1_000.0),
            2 => 99.0_f32..103.0,
            1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
        ]
    }

    /// The value at a rank, the way the library counts ranks.
    fn naive(values: &[f32], share: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small rank")]
        let rank = (share * (sorted.len() as f64 - 1.0)) as usize;
        f64::from(sorted[rank])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_same_values_give_the_same_bytes_however_split_and_merged(
            values in prop::collection::vec(value(), 1..120), cuts in prop::collection::vec(any::<u8>(), 0..6), seed in any::<u64>(),
        ) {
            let whole = bytes(&sketch_of(&values));
            let mut parts = vec![Vec::new(); cuts.len() + 1];
            for (index, value) in values.iter().enumerate() {
                let part = cuts.get(index % (cuts.len() + 1)).map_or(index, |cut| index + usize::from(*cut));
                let part = part % parts.len();
                parts[part].push(*value);
            }
            let mut sketches: Vec<_> = parts.iter().map(|part| sketch_of(part)).collect();
            let mut random = fastrand::Rng::with_seed(seed);
            while sketches.len() > 1 {
                let one = sketches.swap_remove(random.usize(..sketches.len()));
                let into = random.usize(..sketches.len());
                sketches[into].merge(&one);
            }
            prop_assert_eq!(bytes(&sketches[0]), whole);
        }

        #[test]
        fn a_quantile_is_off_by_no_more_than_the_error_that_is_stated(
            values in prop::collection::vec(value(), 1..200),
        ) {
            let sketch = sketch_of(&values);
            prop_assert_eq!(sketch.count(), values.len() as u64);
            for share in [0.05, 0.5, 0.95] {
                let (exact, told) = (naive(&values, share), sketch.quantile(share).unwrap());
                // Rounding of the logarithm: a millionth of a bin.
                let allowed = exact.abs() * (sketch.error() + 1e-9) + VALUE_MIN;
                prop_assert!((told - exact).abs() <= allowed, "{share}: {told} for {exact}, allowed {allowed}");
            }
        }

        #[test]
        fn the_error_follows_the_range(low in 1e-3_f32..1e3, ratio in 1.000_1_f32..100.0, inner in prop::collection::vec(0.0_f32..1.0, 0..50)) {
            let high = low * ratio;
            let values: Vec<_> = inner.iter().map(|at| low + (high - low) * at).chain([low, high]).collect();
            let sketch = sketch_of(&values);
            // A step up comes when the range does not fit; then it fills half of the bins at least.
            let range = f64::from(ratio).ln();
            let allowed = (range / f64::from(BINS_MAX - 2)).max(2_f64.powi(-15) * 1.01).tanh();
            prop_assert!(sketch.error() <= allowed, "{} for a ratio of {ratio}, allowed {allowed}", sketch.error());
        }

        #[test]
        fn bytes_read_back_and_any_others_are_a_sketch_or_nothing(
            values in prop::collection::vec(value(), 0..80), at in any::<prop::sample::Index>(), with in any::<u8>(),
            noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut written = bytes(&sketch_of(&values));
            let read = Sketch::read(&written, values.len() as u64).unwrap();
            prop_assert_eq!(bytes(&read), written.clone());
            prop_assert!(Sketch::read(&written, values.len() as u64 + 1).is_none());
            let at = at.index(written.len());
            written[at] = with;
            drop(Sketch::read(&written, values.len() as u64));
            drop(Sketch::read(&noise, 3));
        }
    }

    #[test]
    fn a_narrow_range_far_from_zero_is_told_apart() {
        // A mains frequency: 49.95 to 50.05 Hz.
        let values: Vec<_> = (0_u8..=100).map(|step| 49.95 + f32::from(step) / 1_000.0).collect();
        let sketch = sketch_of(&values);
        assert!((sketch.quantile(0.05).unwrap() - 49.955).abs() < 0.002, "{:?}", sketch.quantile(0.05));
        assert!((sketch.quantile(0.95).unwrap() - 50.045).abs() < 0.002, "{:?}", sketch.quantile(0.95));
    }

    #[test]
    fn every_single_precision_number_fits() {
        let values = [f32::MAX, -f32::MAX, 1.1e-9, -1.1e-9, f32::MIN_POSITIVE, 0.0, -0.0, 1.0];
        let sketch = sketch_of(&values);
        assert_eq!((sketch.level, sketch.count()), (LEVEL_MAX, 8));
        let read = bins(&sketch.inner.to_java_bytes()).unwrap();
        assert_eq!(read.iter().filter(|bin| bin.sign == Sign::Zero).map(|bin| bin.count).sum::<u64>(), 3);
    }

    #[test]
    fn a_planted_bug_is_seen_joining_bins_on_a_moved_grid() {
        // As if a step up cut the bins anew instead of joining pairs: the quantile leaves the error stated.
        let values: Vec<_> = (1_u16..200).map(|step| f32::from(step) * 0.37).collect();
        let mut moved = Sketch::new();
        for value in &values {
            moved.add(*value, 1);
        }
        let found = bins(&moved.inner.to_java_bytes()).unwrap();
        moved.inner = DDSketch::new(config(moved.level));
        for bin in &found {
            moved.put(bin.sign, bin.key + 1, bin.count);
        }
        assert_ne!(bytes(&moved), bytes(&sketch_of(&values)));
        let (exact, told) = (naive(&values, 0.5), moved.quantile(0.5).unwrap());
        assert!((told - exact).abs() > exact.abs() * moved.error(), "{told} for {exact}");
    }
}
