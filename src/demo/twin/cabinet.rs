//! The board in its cabinet: what is outside of it, what it does with the work it is given, what it shows.

use std::time::Duration;

use crate::demo::twin::battery::Battery;
use crate::demo::twin::board::{Board, Cooling, Point};
use crate::demo::twin::firmware::Firmware;
use crate::demo::twin::sensor::{Sensor, SensorFault};
use crate::demo::twin::thermal::Thermal;
use crate::units::{Celsius, Ratio, Volts, Watts};

/// What is outside of the board: whoever plays the scene sets it at any time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outside {
    /// The air in the cabinet.
    pub ambient: Celsius,
    /// Whether the mains are there.
    pub mains: bool,
    /// Voltage at the board's input; below 4.63 V the firmware says so.
    pub supply: Volts,
    /// What is wrong with the chip's thermometer.
    pub fault: SensorFault,
    /// Whether the zone has trip points.
    pub trip_points: bool,
    /// Whether the kernel shows the clock the firmware allows. That of the Raspberry Pi shows what it asked for (raspberrypi/linux issue
    /// 2986); boards whose kernel slows the chip itself show it.
    pub clock_shown: bool,
    /// The fan, where there is one: its cooling replaces the board's own while it turns.
    pub fan: Option<Cooling>,
}

/// The board.
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    board: Board,
    /// What is outside of it.
    pub outside: Outside,
    thermal: Thermal,
    firmware: Firmware,
    battery: Option<Battery>,
    draw: Watts,
    /// What the thermometer said last before it failed.
    last: Sensor,
    /// Time since it was asked last, and how often it was.
    since: Duration,
    conversions: u32,
}

/// Between two conversions of the thermometer.
const CONVERT_EVERY: Duration = Duration::from_secs(1);

impl Outside {
    /// Nothing is wrong.
    pub fn at(ambient: Celsius) -> Self {
        Self {
            ambient,
            mains: true,
            supply: Volts(5.1),
            fault: SensorFault::None,
            trip_points: true,
            clock_shown: true,
            fan: None,
        }
    }
}

impl Twin {
    /// A board that has been idle for long.
    pub fn settled(board: Board, outside: Outside) -> Self {
        let cooling = outside.fan.unwrap_or(board.cooling);
        let mut thermal = Thermal::settled(&cooling, outside.ambient, board.idle, board.beside);
        // Leakage and temperature depend on one another; three rounds leave less than a tenth of a degree.
        for _ in 0..3 {
            let chip = board.chip(board.top(), 0.0, thermal.chip());
            thermal = Thermal::settled(&cooling, outside.ambient, chip, board.beside);
        }
        let last = Sensor::of(thermal.chip());
        Self {
            board,
            outside,
            thermal,
            firmware: Firmware::default(),
            battery: None,
            draw: Watts(0.0),
            last,
            since: Duration::ZERO,
            conversions: 0,
        }
    }

    /// With a battery behind it.
    #[must_use]
    pub fn with_battery(mut self, battery: Battery) -> Self {
        self.battery = Some(battery);
        self
    }

    /// Lets time pass in which so many cores were busy on average. They were busy at [`Self::point`]: ask before.
    pub fn advance(&mut self, time: Duration, busy: f32) {
        let cooling = self.outside.fan.unwrap_or(self.board.cooling);
        let chip = self.board.chip(self.point(), busy, self.thermal.chip());
        self.thermal.advance(time, &cooling, self.outside.ambient, (chip, self.board.beside));
        self.draw = Watts(chip.0 + self.board.beside.0);
        let lowest = self.lowest();
        self.firmware.advance(time, self.thermal.chip(), self.outside.supply, lowest);
        if let Some(battery) = &mut self.battery {
            // The charger of a small supply gives as much again as the board takes. Assumption.
            battery.advance(time, Watts(if self.outside.mains { self.draw.0 } else { -self.draw.0 }));
        }
        self.since += time;
        if self.since >= CONVERT_EVERY && self.outside.fault == SensorFault::None {
            self.since = Duration::ZERO;
            self.conversions = self.conversions.wrapping_add(1);
            self.last = Sensor::noisy(self.thermal.chip(), self.conversions);
        }
    }

    /// The clock there is now, and its voltage.
    pub fn point(&self) -> Point {
        let step = self.firmware.step(self.lowest());
        self.board.points.get(step).copied().unwrap_or_else(|| self.board.top())
    }

    /// The clock as a share of the highest.
    pub fn clock(&self) -> Ratio {
        Ratio::of(self.point().mhz, self.board.top().mhz)
    }

    /// The clock in MHz as the kernel shows it.
    pub fn clock_shown(&self) -> u32 {
        if self.outside.clock_shown { self.point().mhz } else { self.board.top().mhz }
    }

    /// How hot the chip is, whatever its thermometer says.
    pub fn chip(&self) -> Celsius {
        self.thermal.chip()
    }

    /// How hot board and case are.
    pub fn case(&self) -> Celsius {
        self.thermal.board()
    }

    /// What the thermometer says.
    pub fn sensed(&self) -> Sensor {
        match self.outside.fault {
            SensorFault::None | SensorFault::Frozen => self.last,
            SensorFault::Lost => Sensor::Gone,
            #[expect(clippy::cast_possible_truncation, reason = "thousandths of what a sensor can say")]
            SensorFault::Says(Celsius(degrees)) => Sensor::Says((degrees * 1_000.0) as i32),
            SensorFault::Unreadable => Sensor::Unreadable,
        }
    }

    /// The firmware: flags and supply.
    pub fn firmware(&self) -> &Firmware {
        &self.firmware
    }

    /// The board's own numbers.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The battery, if there is one.
    pub fn battery(&self) -> Option<&Battery> {
        self.battery.as_ref()
    }

    /// What the board draws.
    pub fn draw(&self) -> Watts {
        self.draw
    }

    fn lowest(&self) -> usize {
        self.board.points.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after_an_hour(cooling: Cooling, ambient: f32, busy: f32) -> Twin {
        let mut twin = Twin::settled(Board::pi_4(cooling), Outside::at(Celsius(ambient)));
        (0..3_600).for_each(|_| twin.advance(SECOND, busy));
        twin
    }

    #[test]
    fn it_does_what_the_measurements_it_was_made_from_say() {
        // One core in a room: below 75 °C and at full clock; four: slowed, near 80 °C (R. Longbottom, no cooling).
        let one = after_an_hour(Cooling::BARE, 25.0, 1.0);
        assert!(one.chip().0 < 75.0 && one.clock().get() > 0.99, "{one:?}");
        let four = after_an_hour(Cooling::BARE, 25.0, 4.0);
        assert!(four.clock().get() < 0.99 && (78.0..85.0).contains(&four.chip().0), "{four:?}");
        // The heat-sink case holds four cores at 70 °C at full clock.
        let case = after_an_hour(Cooling::PASSIVE, 22.0, 4.0);
        assert!((68.0..73.0).contains(&case.chip().0) && case.clock().get() > 0.99, "{case:?}");
    }

    #[test]
    fn an_idle_board_stays_where_it_settled() {
        let twin = after_an_hour(Cooling::PASSIVE, 45.0, 0.0);
        let before = Twin::settled(Board::pi_4(Cooling::PASSIVE), Outside::at(Celsius(45.0)));
        assert!((twin.chip().0 - before.chip().0).abs() < 0.2, "{} {}", twin.chip().0, before.chip().0);
    }

    #[test]
    fn a_failed_thermometer_lies_and_the_chip_does_not() {
        let mut twin = after_an_hour(Cooling::PASSIVE, 45.0, 0.0);
        let before = twin.sensed();
        twin.outside.fault = SensorFault::Frozen;
        (0..600).for_each(|_| twin.advance(SECOND, 4.0));
        assert!(twin.sensed() == before && twin.chip().0 > 75.0);
        twin.outside.fault = SensorFault::Says(Celsius(-40.0));
        assert_eq!(twin.sensed().celsius(), Some(Celsius(-40.0)));
        twin.outside.fault = SensorFault::Lost;
        assert_eq!(twin.sensed(), Sensor::Gone);
        twin.outside.fault = SensorFault::None;
        twin.advance(SECOND, 0.0);
        assert!((twin.sensed().celsius().unwrap().0 - twin.chip().0).abs() < 0.8);
    }

    #[test]
    fn without_mains_the_battery_feeds_the_board() {
        let mut twin = after_an_hour(Cooling::PASSIVE, 25.0, 0.0).with_battery(Battery::full(10.0));
        twin.outside.mains = false;
        (0..3_600).for_each(|_| twin.advance(SECOND, 1.0));
        let left = twin.battery().map(|battery| battery.charge().get()).unwrap();
        assert!((0.5..0.65).contains(&left), "{left}");
        twin.outside.mains = true;
        (0..7_200).for_each(|_| twin.advance(SECOND, 1.0));
        assert!(twin.battery().is_some_and(|battery| battery.charge().get() > 0.99));
    }
}
