//! Statistics of one channel in the time domain, in 64-bit floating point.

use crate::clock::EventTime;
use crate::flow::Series;

/// A value closer to the mean than this share of the greatest magnitude is rounding, not a crossing.
const CROSSING_TOLERANCE: f64 = 1e-12;

/// Moments and extremes of one channel.
///
/// Two passes, the second around the mean: the columns are in memory, and this is both quicker and more exact than
/// the running update, which divides once per sample.
pub(crate) struct Moments {
    count: f64,
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    mean_square: f64,
    second: f64,
    third: f64,
    fourth: f64,
}

impl Moments {
    /// `None` without values.
    pub(crate) fn of(values: &[f32]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.iter().map(|&value| f64::from(value)) {
            sum += value;
            squares += value * value;
            min = min.min(value);
            max = max.max(value);
        }
        let mean = sum / count;
        let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
        for value in values {
            let deviation = f64::from(*value) - mean;
            let square = deviation * deviation;
            second += square;
            third += square * deviation;
            fourth += square * square;
        }
        Some(Self {
            count,
            mean,
            min,
            max,
            mean_square: squares / count,
            second: second / count,
            third: third / count,
            fourth: fourth / count,
        })
    }

    /// Whether all values are equal. Asked of the extremes, not of the variance, which rounding keeps from zero.
    pub(crate) fn constant(&self) -> bool {
        self.min >= self.max
    }

    pub(crate) fn std(&self) -> f64 {
        if self.constant() { 0.0 } else { self.second.sqrt() }
    }

    pub(crate) fn rms(&self) -> f64 {
        self.mean_square.sqrt()
    }

    pub(crate) fn crest(&self) -> Option<f64> {
        (self.mean_square > 0.0).then(|| self.magnitude() / self.rms())
    }

    pub(crate) fn skewness(&self) -> Option<f64> {
        (!self.constant()).then(|| self.third / self.second.powf(1.5))
    }

    pub(crate) fn kurtosis(&self) -> Option<f64> {
        (!self.constant()).then(|| self.fourth / (self.second * self.second) - 3.0)
    }

    /// Least squares slope per second over the real times.
    pub(crate) fn slope(&self, series: &Series) -> Option<f64> {
        let first = *series.at.first()?;
        if series.at.len() < 2 {
            return None;
        }
        let seconds = || series.at.iter().map(|at| at.micros_since(first) as f64 * 1e-6);
        let middle = seconds().sum::<f64>() / self.count;
        let (mut across, mut along) = (0.0, 0.0);
        for (time, value) in seconds().zip(&series.values) {
            let offset = time - middle;
            across += offset * (f64::from(*value) - self.mean);
            along += offset * offset;
        }
        (along > 0.0).then(|| if self.constant() { 0.0 } else { across / along })
    }

    /// Changes of sign around the mean.
    pub(crate) fn zero_crossings(&self, values: &[f32]) -> u32 {
        let tolerance = self.magnitude() * CROSSING_TOLERANCE;
        let mut crossings = 0;
        let mut above = None;
        for value in values {
            let deviation = f64::from(*value) - self.mean;
            if deviation.abs() > tolerance {
                let now = deviation > 0.0;
                crossings += u32::from(above.is_some_and(|before| before != now));
                above = Some(now);
            }
        }
        crossings
    }

    fn magnitude(&self) -> f64 {
        self.max.abs().max(self.min.abs())
    }
}

/// Mean of the values with `from <= t < to`, in seconds since `start`. `None` where there are none.
pub(crate) fn mean_within(series: &Series, start: EventTime, from: f64, to: f64) -> Option<f64> {
    // Stamps are whole microseconds: 2.007 s times a million is a little more than 2,007,000 of them.
    let before = |seconds: f64| {
        let limit = (seconds * 1e6).round();
        series.at.partition_point(|at| (at.micros_since(start) as f64) < limit)
    };
    let values = series.values.get(before(from)..before(to)).filter(|values| !values.is_empty())?;
    Some(values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64)
}

/// Quantile of sorted values with linear interpolation; `share` from 0 to 1.
pub(crate) fn quantile(sorted: &[f32], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)? as f64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= place < length")]
    let index = place as usize;
    let low = f64::from(*sorted.get(index)?);
    let high = sorted.get(index + 1).map_or(low, |&value| f64::from(value));
    Some(low + (high - low) * (place - place.floor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-9 * right.abs().max(1.0)
    }

    #[test]
    fn moments_of_one_to_four_are_those_of_the_textbook() {
        let moments = Moments::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!(close(moments.mean, 2.5));
        assert!(close(moments.std(), 1.25_f64.sqrt()));
        assert!(close(moments.rms(), 7.5_f64.sqrt()));
        assert!(close(moments.crest().unwrap(), 4.0 / 7.5_f64.sqrt()));
        assert!(close(moments.skewness().unwrap(), 0.0));
        assert!(close(moments.kurtosis().unwrap(), -1.36));
    }

    #[test]
    fn a_great_offset_does_not_eat_the_spread() {
        let values: Vec<f32> = (0..1000u16).map(|n| 1.0e6 + f32::from(n % 2)).collect();
        let moments = Moments::of(&values).unwrap();
        assert!(close(moments.std(), 0.5));
        assert!(close(moments.kurtosis().unwrap(), -2.0));
    }

    #[test]
    fn constant_values_have_no_shape_and_no_crossings() {
        let values = [0.1_f32; 333];
        let moments = Moments::of(&values).unwrap();
        assert!(moments.std() == 0.0);
        assert!(moments.skewness().is_none() && moments.kurtosis().is_none());
        assert_eq!(moments.zero_crossings(&values), 0);
        assert!(Moments::of(&[0.0; 5]).unwrap().crest().is_none());
        assert!(Moments::of(&[]).is_none());
    }

    #[test]
    fn the_slope_follows_the_times_and_not_the_rows() {
        let at: Vec<EventTime> = [0, 1_000_000, 5_000_000].map(EventTime).to_vec();
        let series = Series { at, values: vec![1.0, 3.0, 11.0] };
        let moments = Moments::of(&series.values).unwrap();
        assert!(close(moments.slope(&series).unwrap(), 2.0));
        let single = Series { at: vec![EventTime(3)], values: vec![1.0] };
        assert!(Moments::of(&single.values).unwrap().slope(&single).is_none());
    }

    #[test]
    fn crossings_are_counted_around_the_mean() {
        for (values, expect) in
            [(&[1.0, 3.0, 1.0, 3.0][..], 3), (&[1.0, 2.0, 3.0], 1), (&[5.0], 0), (&[2.0, 0.0, 0.0, 2.0], 2)]
        {
            assert_eq!(Moments::of(values).unwrap().zero_crossings(values), expect, "{values:?}");
        }
    }

    #[test]
    fn an_interval_holds_its_first_instant_and_not_its_last() {
        let at = [0, 2_007_000, 4_000_000, 9_000_000].map(EventTime).to_vec();
        let series = Series { at, values: vec![1.0, 2.0, 4.0, 8.0] };
        let within = |from, to| mean_within(&series, EventTime(0), from, to);
        assert_eq!(
            (within(2.007, 4.0), within(0.0, 4.0), within(4.0, 9.1)),
            (Some(2.0), Some(1.5), Some(6.0))
        );
        assert_eq!((within(5.0, 9.0), within(10.0, 11.0)), (None, None));
        assert_eq!(mean_within(&series, EventTime(1_993_000), 0.0, 2.007), Some(2.0));
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (share, expect) in [(0.0, 1.0), (0.5, 3.0), (1.0, 8.0), (0.9, 6.8)] {
            assert!(close(quantile(&sorted, share).unwrap(), expect), "{share}");
        }
        assert!(quantile(&[], 0.5).is_none());
    }
}
