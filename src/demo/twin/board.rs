//! The numbers of a Raspberry Pi 4 Model B, each with its source.

use crate::units::{Celsius, Watts};

/// A clock of the processor and the voltage it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Clock in MHz.
    pub mhz: u32,
    /// Core voltage in volts.
    pub volts: f32,
}

/// How the heat gets out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cooling {
    /// From the chip to the board or the case it is pressed against, K/W.
    pub chip_to_board: f32,
    /// From there to the air around it, K/W.
    pub board_to_air: f32,
    /// Heat capacity of the chip with its lid, J/K.
    pub chip_capacity: f32,
    /// Heat capacity of board and case, J/K.
    pub board_capacity: f32,
}

/// What is known of the board.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// Clocks from the highest to the lowest.
    pub points: &'static [Point],
    /// Processor cores.
    pub cores: f32,
    /// Everything beside the chip: memory, USB, Ethernet, losses of the supply.
    pub beside: Watts,
    /// The chip when nothing runs, leakage left out.
    pub idle: Watts,
    /// A core that is busy all the time at the highest clock.
    pub core: Watts,
    /// Leakage of the chip at [`Self::LEAKAGE_AT`].
    pub leakage: Watts,
    /// How its heat gets out.
    pub cooling: Cooling,
}

/// Clocks: "normally between 1500, 1000, 750 and 600 MHz" (R. Longbottom, Raspberry Pi 4 CPU MHz throttling performance effects). Voltages
/// are an assumption: 0.88 V at the top as the firmware of late 2019 sets it, falling to 0.84 V.
const POINTS: [Point; 4] = [
    Point { mhz: 1_500, volts: 0.88 },
    Point { mhz: 1_000, volts: 0.86 },
    Point { mhz: 750, volts: 0.84 },
    Point { mhz: 600, volts: 0.84 },
];

impl Cooling {
    /// A heat-sink case of aluminium. Measured at full load, 6.4 W: chip 70 °C, case 45.4 °C (djstein.com, Raspberry Pi 4B case test); a room
    /// of 22 °C is an assumption. The chip's share of the watts, 5.2 W, crosses the first resistance, all 6.4 W the second. The case's time
    /// constant of 9 minutes fits "elevated for at least 10 minutes"; 140 J/K is 100 g of aluminium and 50 g of board.
    pub const PASSIVE: Self =
        Self { chip_to_board: 4.73, board_to_air: 3.66, chip_capacity: 3.0, board_capacity: 140.0 };

    /// The bare board. Measured when idle: chip 27 K, memory beside it 25 K above the air (pi-plates.com, thermocouples); one core at work
    /// stays below 75 °C in a room of 25 °C, four reach 80 °C within a minute (R. Longbottom, stress tests). Convection grows with the heat: a
    /// little less than the 9 K/W of the idle board fits both.
    pub const BARE: Self =
        Self { chip_to_board: 5.0, board_to_air: 8.6, chip_capacity: 3.0, board_capacity: 50.0 };

    /// The case with a fan: about 10 K less than the heat-sink case (djstein.com), which is 60 °C at full load.
    pub const FAN: Self =
        Self { chip_to_board: 4.73, board_to_air: 2.1, chip_capacity: 3.0, board_capacity: 140.0 };
}

impl Board {
    /// Temperature at which [`Self::leakage`] is given.
    pub const LEAKAGE_AT: Celsius = Celsius(50.0);

    /// Degrees by which leakage doubles. Assumption: the usual range of 28 nm is 20 to 30.
    pub const LEAKAGE_DOUBLES: f32 = 25.0;

    /// A Raspberry Pi 4 Model B.
    ///
    /// Idle 540 mA (2.7 W), four cores at work 1,280 mA (6.4 W) at 5 V (J. Geerling, power consumption benchmarks; the second agrees with
    /// 6.41 W of The `MagPi` 88): 0.925 W a core. How the 2.7 W divide is an assumption: 1.2 W beside the chip, 0.3 W leakage at 50 °C.
    pub fn pi_4(cooling: Cooling) -> Self {
        Self {
            points: &POINTS,
            cores: 4.0,
            beside: Watts(1.2),
            idle: Watts(1.2),
            core: Watts(0.925),
            leakage: Watts(0.3),
            cooling,
        }
    }

    /// The highest clock.
    pub fn top(&self) -> Point {
        self.points.first().copied().unwrap_or(Point { mhz: 1, volts: 1.0 })
    }

    /// Watts of the chip at this clock, with so many cores busy, this hot: switching goes with clock and the square of the voltage,
    /// leakage with the voltage and the temperature.
    pub fn chip(&self, point: Point, busy: f32, at: Celsius) -> Watts {
        let top = self.top();
        let volts = point.volts / top.volts;
        let clock = point.mhz as f32 / top.mhz as f32;
        let switching = self.core.0 * busy.clamp(0.0, self.cores) * clock * volts * volts;
        let hotter = (at.0 - Self::LEAKAGE_AT.0) / Self::LEAKAGE_DOUBLES;
        Watts(self.idle.0 + switching + self.leakage.0 * volts * hotter.exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_draws_what_was_measured() {
        let board = Board::pi_4(Cooling::PASSIVE);
        let draw = |busy| board.beside.0 + board.chip(board.top(), busy, Board::LEAKAGE_AT).0;
        assert!(
            (draw(0.0) - 2.7).abs() < 0.01 && (draw(4.0) - 6.4).abs() < 0.01,
            "{} {}",
            draw(0.0),
            draw(4.0)
        );
        // Beyond its cores there is nothing to heat.
        assert!((draw(9.0) - draw(4.0)).abs() < f32::EPSILON);
    }

    #[test]
    fn a_slower_clock_takes_fewer_joules_for_the_same_work() {
        let board = Board::pi_4(Cooling::PASSIVE);
        let joules = |point: Point| {
            let watts = board.chip(point, 1.0, Celsius(75.0)).0 - board.chip(point, 0.0, Celsius(75.0)).0;
            watts / point.mhz as f32
        };
        let each: Vec<f32> = board.points.iter().map(|point| joules(*point)).collect();
        assert!(each.windows(2).all(|pair| pair[1] <= pair[0] * 1.000_01), "{each:?}");
    }
}
