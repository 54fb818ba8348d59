//! A battery behind the supply: lithium iron phosphate, four cells, seen through an INA219 at its terminals.

use std::time::Duration;

use crate::units::{Ratio, Volts, Watts};

/// The shunt of the INA219.
const SHUNT_OHMS: f32 = 0.1;

/// Losses between battery and board. Assumption.
const EFFICIENCY: f32 = 0.85;

/// Voltage at a charge: points of a usual discharge curve of four cells. Assumption.
const CURVE: [(f32, f32); 6] =
    [(0.0, 10.5), (0.05, 12.0), (0.2, 12.8), (0.5, 13.1), (0.9, 13.3), (1.0, 13.6)];

/// Charge of a battery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Battery {
    watt_hours: f32,
    charge: f32,
    amperes: f32,
}

impl Battery {
    /// A full one.
    pub fn full(watt_hours: f32) -> Self {
        Self { watt_hours, charge: 1.0, amperes: 0.0 }
    }

    /// Charges it with these watts, or feeds the board with them where they are negative.
    pub fn advance(&mut self, time: Duration, watts: Watts) {
        let drawn = if watts.0 < 0.0 { watts.0 / EFFICIENCY } else { watts.0 * EFFICIENCY };
        self.amperes = drawn / self.voltage().0.max(1.0);
        let hours = time.as_secs_f32() / 3_600.0;
        self.charge = (self.charge + drawn * hours / self.watt_hours).clamp(0.0, 1.0);
    }

    /// Share that is left.
    pub fn charge(&self) -> Ratio {
        Ratio::new(self.charge).unwrap_or_default()
    }

    /// At its terminals.
    pub fn voltage(&self) -> Volts {
        let mut before = (0.0, 10.5);
        for point in CURVE {
            if self.charge <= point.0 {
                let width: f32 = (point.0 - before.0).max(f32::MIN_POSITIVE);
                return Volts(before.1 + (point.1 - before.1) * (self.charge - before.0) / width);
            }
            before = point;
        }
        Volts(before.1)
    }

    /// The registers of the INA219 as they are on the wire (datasheet SBOS448: 10 µV and 4 mV a step): configuration, shunt, bus.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range of the part"
    )]
    pub fn registers(&self) -> [(u8, [u8; 2]); 3] {
        let shunt = (self.amperes * SHUNT_OHMS / 10e-6).round().clamp(-32_000.0, 32_000.0) as i16;
        let bus = ((self.voltage().0 / 4e-3).round() as u16) << 3 | 0b10;
        [(0, [0x39, 0x9f]), (1, shunt.to_be_bytes()), (2, bus.to_be_bytes())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_down_in_the_time_the_sum_says() {
        let mut battery = Battery::full(20.0);
        let hours = 20.0 * EFFICIENCY / 3.0;
        battery.advance(Duration::from_secs_f32(hours * 1_800.0), Watts(-3.0));
        assert!((battery.charge().get() - 0.5).abs() < 0.01, "{battery:?}");
        battery.advance(Duration::from_hours(9), Watts(-3.0));
        assert_eq!((battery.charge().get(), battery.voltage()), (0.0, Volts(10.5)));
    }

    #[test]
    fn the_registers_say_voltage_and_current() {
        let mut battery = Battery::full(20.0);
        battery.advance(Duration::from_secs(1), Watts(-3.0));
        let [_, (_, shunt), (_, bus)] = battery.registers();
        let volts = f32::from(u16::from_be_bytes(bus) >> 3) * 4e-3;
        let amperes = f32::from(i16::from_be_bytes(shunt)) * 10e-6 / SHUNT_OHMS;
        assert!((volts - battery.voltage().0).abs() < 0.004, "{volts}");
        assert!((volts * amperes * EFFICIENCY + 3.0).abs() < 0.02, "{amperes}");
    }
}
