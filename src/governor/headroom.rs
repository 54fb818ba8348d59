//! How much of the way from fine to too hot is used, forecast included; and whether to believe the sensor.

use std::time::Duration;

use heapless::Deque;

use crate::clock::Uptime;
use crate::governor::config::{GovernorConfig, JUMP_MAX, MARGIN, PLAUSIBLE_MAX, PLAUSIBLE_MIN, SLOPE_WINDOW};
use crate::units::Celsius;

/// Readings kept for the slope: one a second.
const READINGS_MAX: usize = 64;

/// Shortest time a slope is drawn through.
const SLOPE_MIN: Duration = Duration::from_secs(10);

/// Narrowest way from fine to too hot, in degrees, whatever the trip points say.
const SPAN_MIN: f32 = 1.0;

/// What a reading says of the heat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Heat {
    /// A temperature that is believed.
    Known {
        /// Temperature expected after the configured time, never below the present one.
        forecast: Celsius,
        /// Share of the headroom used then: 0 at `ok`, 1 at the target; may lie outside.
        used: f32,
    },
    /// The sensor is lost, frozen or absurd.
    Fault,
}

/// Follows one temperature.
#[derive(Debug)]
pub(crate) struct Thermometer {
    ok: Celsius,
    forecast: Duration,
    frozen_after: Option<Duration>,
    readings: Deque<(Uptime, f32), READINGS_MAX>,
    /// The last reading that was believed, and the last one that was within the plausible range.
    believed: Option<f32>,
    seen: Option<f32>,
    /// Since when the sensor has said the very same.
    same_since: Option<(u32, Uptime)>,
}

impl Thermometer {
    pub(crate) fn new(config: &GovernorConfig) -> Self {
        Self {
            ok: config.ok,
            forecast: config.forecast,
            frozen_after: config.frozen_after,
            readings: Deque::new(),
            believed: None,
            seen: None,
            same_since: None,
        }
    }

    /// Takes a reading and the lowest trip point.
    pub(crate) fn read(&mut self, at: Uptime, temperature: Option<Celsius>, trip: Celsius) -> Heat {
        let Some(Celsius(degrees)) = temperature.filter(|_| trip.0.is_finite()) else { return Heat::Fault };
        if self.is_frozen(at, degrees) || !self.is_plausible(degrees) {
            return Heat::Fault;
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
        let forecast = degrees + self.slope().max(0.0) * self.forecast.as_secs_f32();
        let span = (target(trip).0 - self.ok.0).max(SPAN_MIN);
        Heat::Known { forecast: Celsius(forecast), used: (forecast - self.ok.0) / span }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn thermometer(frozen_after: Option<Duration>) -> Thermometer {
        Thermometer::new(&GovernorConfig {
            has_sensor: true,
            ok: Celsius(50.0),
            memory: Bytes(1),
            frozen_after,
            dwell: Duration::ZERO,
            dwell_max: Duration::ZERO,
            forecast: crate::governor::config::FORECAST,
        })
    }

    fn read(thermometer: &mut Thermometer, second: u64, degrees: f32) -> Heat {
        thermometer.read(Uptime(second * 1_000_000_000), Some(Celsius(degrees)), Celsius(85.0))
    }

    #[test]
    fn the_use_is_zero_at_ok_and_one_at_the_target() {
        for (degrees, expect) in [(50.0, 0.0), (65.0, 0.5), (80.0, 1.0), (35.0, -0.5), (95.0, 1.5)] {
            let heat = read(&mut thermometer(None), 0, degrees);
            assert_eq!(heat, Heat::Known { forecast: Celsius(degrees), used: expect });
        }
    }

    #[test]
    fn a_rising_temperature_is_forecast_and_a_falling_one_is_not() {
        for (slope, expect) in [(0.5_f32, 60.0 + 0.5 * 40.0 + 15.0), (-0.5, 60.0 - 0.5 * 40.0)] {
            let mut rising = thermometer(None);
            let mut last = Heat::Fault;
            for second in 0..=40_u16 {
                last = read(&mut rising, u64::from(second), 60.0 + slope * f32::from(second));
            }
            let Heat::Known { forecast, .. } = last else { panic!("fault") };
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
            let mut last = Heat::Fault;
            for (&degrees, second) in degrees.iter().zip(0..) {
                last = read(&mut sensor, second, degrees);
            }
            assert_eq!(last != Heat::Fault, *believed, "{degrees:?}");
        }
        assert_eq!(thermometer(None).read(Uptime(0), None, Celsius(85.0)), Heat::Fault);
        let no_trip = thermometer(None).read(Uptime(0), Some(Celsius(40.0)), Celsius(f32::NAN));
        assert_eq!(no_trip, Heat::Fault);
    }

    #[test]
    fn a_frozen_sensor_is_a_fault_where_it_should_vary() {
        let ten = Duration::from_mins(10);
        for (frozen_after, expect) in [(Some(ten), true), (None, false)] {
            let mut sensor = thermometer(frozen_after);
            for second in (0..600).step_by(5) {
                assert_ne!(read(&mut sensor, second, 45.5), Heat::Fault, "{second}");
            }
            assert_eq!(read(&mut sensor, 600, 45.5) == Heat::Fault, expect);
            assert_ne!(read(&mut sensor, 605, 45.6), Heat::Fault);
        }
    }
}
