//! A temperature and what becomes of it: whether to believe the sensor, the forecast, and how much of the way from fine
//! to too hot is used.

use std::time::Duration;

use heapless::Deque;

use crate::clock::Uptime;
use crate::governor::config::{
    EMERGENCY_MARGIN, JUMP_MAX, MARGIN, PLAUSIBLE_MAX, PLAUSIBLE_MIN, SLOPE_WINDOW,
};
use crate::governor::demand::{CRITICAL, EMERGENCY};
use crate::units::Celsius;

/// Readings kept for the slope: one a second.
const READINGS_MAX: usize = 64;

/// Shortest time a slope is drawn through.
const SLOPE_MIN: Duration = Duration::from_secs(10);

/// Use per degree beyond the target: emergency begins where its margin says.
const BEYOND: f32 = (EMERGENCY - CRITICAL) / (MARGIN - EMERGENCY_MARGIN);

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
    seen: Option<f32>,
    /// Since when the sensor has said the very same.
    same_since: Option<(u32, Uptime)>,
}

impl Thermometer {
    /// Forecasts so far ahead; believes the very same reading for so long.
    pub(crate) fn new(ahead: Duration, frozen_after: Option<Duration>) -> Self {
        Self { ahead, frozen_after, readings: Deque::new(), believed: None, seen: None, same_since: None }
    }

    /// Takes a reading; `None` when the sensor is lost, frozen or absurd.
    pub(crate) fn read(&mut self, at: Uptime, temperature: Option<Celsius>) -> Option<Believed> {
        let Celsius(degrees) = temperature?;
        if self.is_frozen(at, degrees) || !self.is_plausible(degrees) {
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
        // A falling temperature earns nothing in advance: cooling ends sooner than it looks.
        let forecast = degrees + self.slope().max(0.0) * self.ahead.as_secs_f32();
        Some(Believed { measured: Celsius(degrees), forecast: Celsius(forecast) })
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
    /// A single absurd reading is not believed and forgotten; a second one like it is: the board was carried.
    fn is_plausible(&mut self, degrees: f32) -> bool {
        if !(PLAUSIBLE_MIN.0..=PLAUSIBLE_MAX.0).contains(&degrees) {
            return false;
        }
        let near =
            |earlier: Option<f32>| earlier.is_some_and(|earlier| (degrees - earlier).abs() <= JUMP_MAX);
        let steady = self.believed.is_none() || near(self.believed);
        let moved = !steady && near(self.seen);
        self.seen = Some(degrees);
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

/// The temperature that is not to be exceeded.
pub(crate) fn target(trip: Celsius) -> Celsius {
    Celsius(trip.0 - MARGIN)
}

/// How much of the headroom is used: 0 at `ok`, 1 at the target, by the forecast.
///
/// Beyond the target it counts in degrees, whatever the headroom. Emergency is for what has been measured: a forecast
/// alone does not silence alarms.
pub(crate) fn heat(temperature: Believed, ok: Celsius, trip: Celsius) -> f32 {
    let used = |Celsius(degrees)| {
        let (Celsius(ok), Celsius(target)) = (ok, target(trip));
        if degrees > target {
            CRITICAL + (degrees - target) * BEYOND
        } else {
            (degrees - ok) / (target - ok).max(SPAN_MIN)
        }
    };
    used(temperature.forecast).min(EMERGENCY.next_down()).max(used(temperature.measured))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::config::FORECAST;

    fn thermometer(frozen_after: Option<Duration>) -> Thermometer {
        Thermometer::new(FORECAST, frozen_after)
    }

    fn read(thermometer: &mut Thermometer, second: u64, degrees: f32) -> Option<Believed> {
        thermometer.read(Uptime(second * 1_000_000_000), Some(Celsius(degrees)))
    }

    #[test]
    fn the_use_is_zero_at_ok_one_at_the_target_and_counts_degrees_beyond() {
        let trip = Celsius(85.0);
        for (degrees, expect) in [
            (50.0, 0.0),
            (65.0, 0.5),
            (80.0, 1.0),
            (35.0, -0.5),
            (82.5, EMERGENCY),
            (85.0, 1.2),
            (105.0, 2.0),
        ] {
            let steady = Believed { measured: Celsius(degrees), forecast: Celsius(degrees) };
            let used = heat(steady, Celsius(50.0), trip);
            assert!((used - expect).abs() < 1e-4, "{degrees}: {used}");
        }
        let rising = Believed { measured: Celsius(79.0), forecast: Celsius(95.0) };
        let used = heat(rising, Celsius(50.0), trip);
        assert!((CRITICAL..EMERGENCY).contains(&used), "a forecast alone is no emergency: {used}");
    }

    #[test]
    fn hotter_never_uses_less_however_narrow_the_headroom() {
        for (ok, trip) in [(50.0, 85.0), (50.0, 55.0), (50.0, 55.5), (50.0, 40.0), (50.0, 120.0)] {
            let mut before = f32::MIN;
            for tenth in 0..1_500_u16 {
                let degrees = Celsius(f32::from(tenth) / 10.0);
                let steady = Believed { measured: degrees, forecast: degrees };
                let used = heat(steady, Celsius(ok), Celsius(trip));
                assert!(used >= before, "{degrees} of {ok}..{trip}: {used} after {before}");
                before = used;
            }
        }
    }

    #[test]
    fn a_rising_temperature_is_forecast_and_a_falling_one_is_not() {
        for (slope, expect) in [(0.5_f32, 60.0 + 0.5 * 40.0 + 15.0), (-0.5, 60.0 - 0.5 * 40.0)] {
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
