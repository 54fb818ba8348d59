//! What judging costs in energy, and how much a busy core draws, learnt from a meter at the supply.

use std::time::Duration;

use crate::units::{Joules, Millicores, Watts};

/// How many readings a meter is followed for: an hour of one a second.
const READINGS: f64 = 3_600.0;

/// Readings before the meter is believed more than the board file.
const READINGS_MIN: f64 = 120.0;

/// Least spread of the processor time, in cores: through a load that stands still no slope can be drawn.
const SPREAD_MIN: f64 = 0.05;

/// What one core can draw at all, in watts: a slope outside is something else that was switched.
const CORE_MIN: f64 = 0.05;
const CORE_MAX: f64 = 50.0;

/// Energy of this much processor time on a core that draws so much while busy.
pub fn energy(spent: Duration, core: Watts) -> Joules {
    Joules(spent.as_secs_f32() * core.0)
}

/// Draws a line through draw over processor time, the past fading.
#[derive(Debug)]
pub(crate) struct CoreMeter {
    told: Option<Watts>,
    weight: f64,
    /// Weighted means of cores, watts, cores², cores x watts.
    cores: f64,
    watts: f64,
    square: f64,
    both: f64,
}

impl CoreMeter {
    /// Starts with what the board file says.
    pub(crate) fn new(told: Option<Watts>) -> Self {
        Self { told, weight: 0.0, cores: 0.0, watts: 0.0, square: 0.0, both: 0.0 }
    }

    /// Takes what the board drew while the models took so much processor time.
    pub(crate) fn read(&mut self, draw: Watts, busy: Millicores) {
        let (watts, cores) = (f64::from(draw.0), f64::from(busy.0) / 1e3);
        if !watts.is_finite() || watts < 0.0 {
            return;
        }
        self.weight = self.weight.mul_add(1.0 - 1.0 / READINGS, 1.0);
        let part = 1.0 / self.weight;
        self.cores += (cores - self.cores) * part;
        self.watts += (watts - self.watts) * part;
        self.square += (cores * cores - self.square) * part;
        self.both += (cores * watts - self.both) * part;
    }

    /// What a busy core draws: measured where that can be, else as the board file says.
    pub(crate) fn core(&self) -> Option<Watts> {
        let spread = self.cores.mul_add(-self.cores, self.square);
        let slope = self.cores.mul_add(-self.watts, self.both) / spread;
        let known = self.weight >= READINGS_MIN && spread >= SPREAD_MIN * SPREAD_MIN;
        let measured = known && (CORE_MIN..=CORE_MAX).contains(&slope);
        #[expect(clippy::cast_possible_truncation, reason = "from 0.05 to 50 watts")]
        let slope = slope as f32;
        if measured { Some(Watts(slope)) } else { self.told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_milliseconds_of_a_core_of_nine_tenths_of_a_watt_are_nine_millijoules() {
        let Joules(joules) = energy(Duration::from_millis(10), Watts(0.9));
        assert!((joules - 0.009).abs() < 1e-6);
    }

    #[test]
    fn a_meter_finds_what_a_core_draws_and_is_not_believed_without_a_spread() {
        let told = Some(Watts(0.9));
        let mut random = fastrand::Rng::with_seed(5);
        let (mut varied, mut flat, mut wild) =
            (CoreMeter::new(told), CoreMeter::new(None), CoreMeter::new(told));
        for second in 0..600_u32 {
            let busy = Millicores((second % 60) * 20);
            let noise = random.f32() * 0.4 - 0.2;
            varied.read(Watts(2.7 + 1.3 * busy.0 as f32 / 1e3 + noise), busy);
            varied.read(Watts(f32::NAN), busy);
            flat.read(Watts(3.0 + noise), Millicores(500));
            wild.read(Watts(20.0 - busy.0 as f32 / 100.0), busy);
            if second == 50 {
                assert_eq!(varied.core(), told, "too early to tell");
            }
        }
        let Watts(core) = varied.core().unwrap();
        assert!((core - 1.3).abs() < 0.1, "{core}");
        assert_eq!((flat.core(), wild.core()), (None, told));
    }
}
