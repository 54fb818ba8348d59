//! A temperature and what becomes of it: whether to believe the sensor, the forecast, and how much of the way from fine
//! to too hot is used.

use std::time::Duration;

use heapless::Deque;

use crate::clock::Uptime;
use crate::flow::BudgetReason;
use crate::governor::config::{
    CRITICAL_MARGIN, CUT_MARGIN, EMERGENCY_MARGIN, FALL_SETTLES, HOLD_MARGIN, HOT_MARGIN, JUMP_MAX, MARGIN,
    PLAUSIBLE_MAX, PLAUSIBLE_MIN, SLOPE_WINDOW, STEADY_PART,
};
use crate::governor::demand::{Demand, Rungs, WARM, left};
use crate::units::Celsius;

/// Readings kept for the slope: one a second.
const READINGS_MAX: usize = 64;

/// Shortest time a slope is drawn through.
const SLOPE_MIN: Duration = Duration::from_secs(10);

/// Use per degree beyond the target, whatever the headroom below it: the hysteresis is then a degree.
const BEYOND: f32 = 0.1;

/// Where the levels of heat begin. While the cut of processor time holds the chip nothing is shed.
pub(crate) const HEAT_RUNGS: Rungs =
    Rungs { warm: WARM, hot: at(HOT_MARGIN), critical: at(CRITICAL_MARGIN), emergency: at(EMERGENCY_MARGIN) };

/// Narrowest way from fine to too hot, in degrees, whatever the trip points say.
const SPAN_MIN: f32 = 1.0;

/// A temperature that is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Believed {
    /// As measured.
    pub(crate) measured: Celsius,
    /// Expected after the configured time, never below the measured one.
    pub(crate) forecast: Celsius,
}

/// Follows one temperature.
#[derive(Debug)]
pub(crate) struct Thermometer {
    ahead: Duration,
    frozen_after: Option<Duration>,
    readings: Deque<(Uptime, f32), READINGS_MAX>,
    /// The last reading that was believed, and the last one that was within the plausible range.
    believed: Option<f32>,
    seen: Option<Seen>,
    /// Since when the sensor has said the very same.
    same_since: Option<(u32, Uptime)>,
}

/// Readings near one another: the last of them, and since when.
#[derive(Clone, Copy, Debug)]
struct Seen {
    degrees: f32,
    since: Uptime,
}

impl Thermometer {
    /// Forecasts so far ahead; believes the very same reading for so long.
    pub(crate) fn new(ahead: Duration, frozen_after: Option<Duration>) -> Self {
        Self { ahead, frozen_after, readings: Deque::new(), believed: None, seen: None, same_since: None }
    }

    /// Takes a reading; `None` when the sensor is lost, frozen or absurd.
    pub(crate) fn read(&mut self, at: Uptime, temperature: Option<Celsius>) -> Option<Believed> {
        let Celsius(degrees) = temperature?;
        if self.is_frozen(at, degrees) || !self.is_plausible(at, degrees) {
            return None;
        }
        if self.readings.is_full() {
            self.readings.pop_front();
        }
        let kept = self.readings.push_back((at, degrees)).is_ok();
        debug_assert!(kept, "room was made for it");
        while self.readings.front().is_some_and(|&(then, _)| at.since(then) > SLOPE_WINDOW) {
            self.readings.pop_front();
        }
        let measured = self.steadied(at);
        // A falling temperature earns nothing in advance: cooling ends sooner than it looks.
        let forecast = measured + self.slope().max(0.0) * self.ahead.as_secs_f32();
        Some(Believed { measured: Celsius(measured), forecast: Celsius(forecast) })
    }

    /// The mean of the last readings without the highest and the lowest of them: finer than the steps of the sensor, and
    /// a single slip does not move it.
    fn steadied(&self, at: Uptime) -> f32 {
        let lately =
            self.readings.iter().rev().filter(|&&(then, _)| at.since(then) <= self.ahead / STEADY_PART);
        let mut degrees: heapless::Vec<f32, READINGS_MAX> = lately.map(|&(_, degrees)| degrees).collect();
        degrees.sort_unstable_by(f32::total_cmp);
        let kept = match degrees.as_slice() {
            [_, kept @ .., _] if !kept.is_empty() => kept,
            all => all,
        };
        kept.iter().sum::<f32>() / kept.len().max(1) as f32
    }

    fn is_frozen(&mut self, at: Uptime, degrees: f32) -> bool {
        let since = match self.same_since {
            Some((bits, since)) if bits == degrees.to_bits() => since,
            Some(_) | None => at,
        };
        self.same_since = Some((degrees.to_bits(), since));
        self.frozen_after.is_some_and(|limit| at.since(since) >= limit)
    }

    /// Whether a reading lies in the range and near the one before.
    ///
    /// A single absurd reading is not believed and forgotten. A second one like it is if it is hotter; that a chip is
    /// colder all at once is believed when it has lasted.
    fn is_plausible(&mut self, at: Uptime, degrees: f32) -> bool {
        if !(PLAUSIBLE_MIN.0..=PLAUSIBLE_MAX.0).contains(&degrees) {
            return false;
        }
        let near = |earlier: f32| (degrees - earlier).abs() <= JUMP_MAX;
        let before = self.seen.filter(|seen| near(seen.degrees));
        let since = before.map_or(at, |seen| seen.since);
        self.seen = Some(Seen { degrees, since });
        let steady = self.believed.is_none_or(near);
        let is_hotter = before.is_some() && self.believed.is_some_and(|believed| degrees > believed);
        let settles = self.frozen_after.map_or(FALL_SETTLES, |frozen| FALL_SETTLES.max(frozen));
        let moved = !steady && (is_hotter || at.since(since) >= settles);
        if moved {
            self.readings.clear();
        }
        if steady || moved {
            self.believed = Some(degrees);
        }
        steady || moved
    }

    /// Degrees per second by least squares; 0 while the readings span too little time.
    fn slope(&self) -> f32 {
        let (Some(&(first, _)), Some(&(last, _))) = (self.readings.front(), self.readings.back()) else {
            return 0.0;
        };
        if last.since(first) < SLOPE_MIN {
            return 0.0;
        }
        let count = self.readings.len() as f32;
        let seconds = |at: Uptime| at.since(first).as_secs_f32();
        let mean_at = self.readings.iter().map(|&(at, _)| seconds(at)).sum::<f32>() / count;
        let mean = self.readings.iter().map(|&(_, degrees)| degrees).sum::<f32>() / count;
        let (mut both, mut square) = (0.0_f32, 0.0_f32);
        for &(at, degrees) in &self.readings {
            let distance = seconds(at) - mean_at;
            both += distance * (degrees - mean);
            square += distance * distance;
        }
        if square > 0.0 { both / square } else { 0.0 }
    }
}

/// The temperature up to which all is well.
pub(crate) fn target(trip: Celsius) -> Celsius {
    Celsius(trip.0 - MARGIN)
}

/// Use so far below the trip point, beyond the target.
const fn at(margin: f32) -> f32 {
    1.0 + (MARGIN - margin) * BEYOND
}

/// What the chip asks for; its use is 0 at `ok` and 1 at the target.
///
/// The forecast cuts processor time. It sheds nothing and silences nothing: hot and beyond are for what was measured.
pub(crate) fn heat(temperature: Believed, ok: Celsius, trip: Celsius) -> Demand {
    let used = |Celsius(degrees)| {
        let (Celsius(ok), Celsius(target)) = (ok, target(trip));
        if degrees > target { at(trip.0 - degrees) } else { (degrees - ok) / (target - ok).max(SPAN_MIN) }
    };
    let soon = used(temperature.forecast);
    let leaves = left(soon, at(CUT_MARGIN), at(HOLD_MARGIN));
    let used = soon.min(HEAT_RUNGS.hot.next_down()).max(used(temperature.measured));
    Demand { used, leaves, reason: BudgetReason::Temperature }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Level;
    use crate::governor::config::{CUT_FLOOR, FORECAST};

    fn thermometer(frozen_after: Option<Duration>) -> Thermometer {
        Thermometer::new(FORECAST, frozen_after)
    }

    fn read(thermometer: &mut Thermometer, second: u64, degrees: f32) -> Option<Believed> {
        thermometer.read(Uptime(second * 1_000_000_000), Some(Celsius(degrees)))
    }

    #[test]
    fn the_use_is_zero_at_ok_one_at_the_target_and_a_tenth_more_with_each_degree_beyond() {
        let trip = Celsius(85.0);
        for (degrees, expect) in
            [(50.0, 0.0), (65.0, 0.5), (80.0, 1.0), (35.0, -0.5), (82.5, 1.25), (85.0, 1.5), (105.0, 3.5)]
        {
            let steady = Believed { measured: Celsius(degrees), forecast: Celsius(degrees) };
            let used = heat(steady, Celsius(50.0), trip).used;
            assert!((used - expect).abs() < 1e-4, "{degrees}: {used}");
        }
        let rising = Believed { measured: Celsius(79.0), forecast: Celsius(95.0) };
        let demand = heat(rising, Celsius(50.0), trip);
        assert_eq!(HEAT_RUNGS.reached(demand.used), Level::Warm, "a forecast sheds nothing");
        assert!((demand.leaves - CUT_FLOOR).abs() < 1e-5, "a forecast cuts: {}", demand.leaves);
    }

    #[test]
    fn hotter_never_uses_less_however_narrow_the_headroom() {
        for (ok, trip) in [(50.0, 85.0), (50.0, 55.0), (50.0, 55.5), (50.0, 40.0), (50.0, 120.0)] {
            let mut before = f32::MIN;
            for tenth in 0..1_500_u16 {
                let degrees = Celsius(f32::from(tenth) / 10.0);
                let steady = Believed { measured: degrees, forecast: degrees };
                let used = heat(steady, Celsius(ok), Celsius(trip)).used;
                assert!(used >= before, "{degrees} of {ok}..{trip}: {used} after {before}");
                before = used;
            }
        }
    }

    #[test]
    fn a_rising_temperature_is_forecast_and_a_falling_one_is_not() {
        // From the mean of six seconds, which is that of two and a half ago.
        for (slope, expect) in [(0.5_f32, 60.0 + 0.5 * 37.5 + 15.0), (-0.5, 60.0 - 0.5 * 37.5)] {
            let mut sensor = thermometer(None);
            let mut last = None;
            for second in 0..=40_u16 {
                last = read(&mut sensor, u64::from(second), 60.0 + slope * f32::from(second));
            }
            let forecast = last.unwrap().forecast;
            assert!((forecast.0 - expect).abs() < 0.01, "{slope}: {forecast}");
        }
    }

    #[test]
    fn what_cannot_be_a_temperature_is_a_fault() {
        let cases: &[(&[f32], bool)] = &[
            (&[40.0, 69.0], true),
            (&[40.0, 71.0], false),
            (&[40.0, 71.0, 41.0], true),
            (&[40.0, 71.0, 72.0], true),
            (&[72.0, 40.0, 40.5], false),
            (&[72.0, 40.0, 40.5, 71.0], true),
            (&[40.0, 140.0, 80.0], false),
            (&[-41.0], false),
            (&[151.0], false),
            (&[f32::NAN], false),
            (&[f32::INFINITY], false),
        ];
        for (degrees, believed) in cases {
            let mut sensor = thermometer(None);
            let mut last = None;
            for (&degrees, second) in degrees.iter().zip(0..) {
                last = read(&mut sensor, second, degrees);
            }
            assert_eq!(last.is_some(), *believed, "{degrees:?}");
        }
        assert_eq!(thermometer(None).read(Uptime(0), None), None);
    }

    #[test]
    fn a_fall_no_chip_can_have_is_believed_when_it_has_lasted() {
        let mut sensor = thermometer(None);
        assert!(read(&mut sensor, 0, 75.0).is_some());
        let believed = (1..900).find(|second| read(&mut sensor, *second, -40.0).is_some());
        assert_eq!(believed, Some(1 + FALL_SETTLES.as_secs()));
        // Stuck there, where being frozen takes longer to be seen.
        let mut sensor = thermometer(Some(3 * FALL_SETTLES));
        assert!(read(&mut sensor, 0, 75.0).is_some());
        assert_eq!((1..9_000).find(|second| read(&mut sensor, *second, -40.0).is_some()), None);
    }

    #[test]
    fn a_leap_that_is_believed_counts_at_once_and_is_no_slope() {
        let mut sensor = thermometer(None);
        (0..60).for_each(|second| assert!(read(&mut sensor, second, 40.0).is_some()));
        assert_eq!(read(&mut sensor, 60, 78.0), None);
        let steady = Believed { measured: Celsius(78.0), forecast: Celsius(78.0) };
        assert_eq!(read(&mut sensor, 61, 78.0), Some(steady), "not averaged with what was before");
    }

    #[test]
    fn the_steps_of_a_sensor_are_averaged_and_a_slip_moves_nothing() {
        let mut sensor = thermometer(None);
        for (second, degrees) in (0..40).zip([70.0, 70.5].into_iter().cycle()) {
            let Celsius(measured) = read(&mut sensor, second, degrees).unwrap().measured;
            assert!(second < 6 || (measured - 70.25).abs() < 0.13, "{second}: {measured}");
        }
        let Celsius(slipped) = read(&mut sensor, 40, 95.0).unwrap().measured;
        assert!((slipped - 70.25).abs() < 0.26, "{slipped}");
    }

    #[test]
    fn a_frozen_sensor_is_a_fault_where_it_should_vary() {
        let ten = Duration::from_mins(10);
        for (frozen_after, expect) in [(Some(ten), true), (None, false)] {
            let mut sensor = thermometer(frozen_after);
            for second in (0..600).step_by(5) {
                assert!(read(&mut sensor, second, 45.5).is_some(), "{second}");
            }
            assert_eq!(read(&mut sensor, 600, 45.5).is_none(), expect);
            assert!(read(&mut sensor, 605, 45.6).is_some());
        }
    }
}
