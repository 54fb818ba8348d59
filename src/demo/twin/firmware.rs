//! The firmware of the Raspberry Pi 4: when it holds the clock down, and the flags it shows.

use std::time::Duration;

use crate::units::{Celsius, Volts};

/// From here on the cores are slowed progressively (Raspberry Pi documentation, "Frequency management and thermal control").
pub(crate) const SOFT: Celsius = Celsius(80.0);

/// From here on everything is as slow as it goes (the same).
pub(crate) const HARD: Celsius = Celsius(85.0);

/// How far below [`SOFT`] a step is given back. Assumption.
const GIVE_BACK: f32 = 1.0;

/// Between two steps. Assumption: the clock was seen to change from one second to the next.
const STEP_EVERY: Duration = Duration::from_secs(1);

/// Below this the supply is too weak, and the clock is capped (Raspberry Pi documentation, "Power supplies": 4.63 V).
pub(crate) const UNDER_VOLTAGE: Volts = Volts(4.63);

/// What the firmware does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Firmware {
    /// Steps below the highest clock for heat.
    steps: usize,
    since_step: Duration,
    under_voltage: bool,
    /// Bits 16 to 19.
    ever: u32,
}

impl Firmware {
    /// Looks at chip and supply; `lowest` is the number of the lowest clock.
    pub fn advance(&mut self, time: Duration, chip: Celsius, supply: Volts, lowest: usize) {
        self.under_voltage = supply.0 < UNDER_VOLTAGE.0;
        self.since_step += time;
        if chip.0 >= HARD.0 {
            self.steps = lowest;
        } else if self.since_step >= STEP_EVERY {
            self.since_step = Duration::ZERO;
            if chip.0 >= SOFT.0 {
                self.steps = (self.steps + 1).min(lowest);
            } else if chip.0 < SOFT.0 - GIVE_BACK {
                self.steps = self.steps.saturating_sub(1);
            }
        }
        self.ever |= self.now();
    }

    /// Which of the clocks is allowed, 0 being the highest.
    pub fn step(&self, lowest: usize) -> usize {
        if self.under_voltage { lowest } else { self.steps.min(lowest) }
    }

    /// The supply is too weak at this moment.
    pub fn under_voltage(&self) -> bool {
        self.under_voltage
    }

    /// As `get_throttled` shows it (raspberrypi/linux pull request 2397).
    pub fn flags(&self) -> u32 {
        self.now() | (self.ever << 16)
    }

    /// Bits 0 under-voltage, 1 clock capped, 2 throttled.
    fn now(&self) -> u32 {
        let heat = self.steps > 0;
        u32::from(self.under_voltage) | u32::from(self.under_voltage || heat) << 1 | u32::from(heat) << 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GOOD: Volts = Volts(5.1);

    #[test]
    fn it_slows_step_by_step_from_80_and_at_once_at_85_and_remembers() {
        let mut firmware = Firmware::default();
        let mut at = |degrees: f32| {
            firmware.advance(SECOND, Celsius(degrees), GOOD, 3);
            (firmware.step(3), firmware.flags())
        };
        assert_eq!(at(79.9), (0, 0));
        assert_eq!(at(80.0), (1, 0x6_0006));
        assert_eq!(at(80.5).0, 2);
        assert_eq!(at(79.5).0, 2, "within what is given back");
        assert_eq!(at(78.9).0, 1);
        assert_eq!(at(70.0), (0, 0x6_0000));
        assert_eq!(at(85.0).0, 3);
    }

    #[test]
    fn a_weak_supply_caps_the_clock_while_it_lasts() {
        let mut firmware = Firmware::default();
        firmware.advance(SECOND, Celsius(40.0), Volts(4.5), 3);
        assert_eq!((firmware.step(3), firmware.flags(), firmware.under_voltage()), (3, 0x3_0003, true));
        firmware.advance(SECOND, Celsius(40.0), GOOD, 3);
        assert_eq!((firmware.step(3), firmware.flags(), firmware.under_voltage()), (0, 0x3_0000, false));
    }
}
