//! How values were distributed: a quantile sketch that is as fine as its range allows and merges without loss.
//!
//! # Invariants
//! The same values give the same sketch, however they were split and in whatever order the parts were merged.
//! A quantile is off by at most [`Sketch::error`] of its value. At most [`BINS_MAX`] bins for each sign.
//!
//! # Why
//! The bins are those of DDSketch: logarithmic, so that merging is adding. With one width for everything they are too
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
    inner: DDSketch,
}

impl Sketch {
    /// A sketch of nothing.
    pub(crate) fn new() -> Self {
        Self { level: 0, positive: None, negative: None, inner: DDSketch::new(config(0)) }
    }

    /// Takes in a finite value `count` times.
    pub(crate) fn add(&mut self, value: f32, count: u64) {
        let amount = f64::from(value).abs();
        if amount <= VALUE_MIN {
            self.inner.add_with_count(0.0, count);
            return;
        }
        let sign = if value < 0.0 { Sign::Negative } else { Sign::Positive };
        self.add_bin(Bin { sign, key: config(0).key(amount), count }, 0);
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
        loop {
            let key = bin.key >> (self.level - level);
            let range = match bin.sign {
                Sign::Negative => &mut self.negative,
                Sign::Positive | Sign::Zero => &mut self.positive,
            };
            let (low, high) = range.map_or((key, key), |(low, high)| (low.min(key), high.max(key)));
            if high - low < BINS_MAX || self.level == LEVEL_MAX {
                *range = Some((low, high));
                self.put(bin.sign, key, bin.count);
                return;
            }
            self.rise(self.level + 1);
        }
    }

    /// Goes up to a level, if it is above, by joining bins.
    fn rise(&mut self, level: u8) {
        if level <= self.level {
            return;
        }
        let steps = level - self.level;
        let found = bins(&self.inner.to_java_bytes()).unwrap_or_default();
        let up = |range: (i32, i32)| (range.0 >> steps, range.1 >> steps);
        self.inner = DDSketch::new(config(level));
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
            Sign::Positive => config(self.level).value(key),
            Sign::Negative => -config(self.level).value(key),
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
