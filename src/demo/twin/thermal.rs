//! Two bodies and the air: the chip on its board or case, which gives the heat away.

use std::time::Duration;

use crate::demo::twin::board::Cooling;
use crate::units::{Celsius, Watts};

/// Longest step of the integration: a tenth of the chip's time constant of 14 s, where explicit Euler is good to a percent.
const STEP_MAX: f32 = 1.0;

/// Temperatures of the two bodies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thermal {
    chip: f32,
    board: f32,
}

impl Thermal {
    /// Where it settles with these watts in this air.
    pub fn settled(cooling: &Cooling, ambient: Celsius, chip: Watts, beside: Watts) -> Self {
        let board = ambient.0 + (chip.0 + beside.0) * cooling.board_to_air;
        Self { chip: board + chip.0 * cooling.chip_to_board, board }
    }

    /// The chip.
    pub fn chip(&self) -> Celsius {
        Celsius(self.chip)
    }

    /// The board or case.
    pub fn board(&self) -> Celsius {
        Celsius(self.board)
    }

    /// Lets time pass.
    pub fn advance(
        &mut self,
        time: Duration,
        cooling: &Cooling,
        ambient: Celsius,
        (chip, beside): (Watts, Watts),
    ) {
        let mut left = time.as_secs_f32();
        while left > 0.0 {
            let step = left.min(STEP_MAX);
            left -= step;
            let across = (self.chip - self.board) / cooling.chip_to_board;
            let away = (self.board - ambient.0) / cooling.board_to_air;
            self.chip += step * (chip.0 - across) / cooling.chip_capacity;
            self.board += step * (across + beside.0 - away) / cooling.board_capacity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_settles_where_the_sum_says_and_keeps_the_energy() {
        let cooling = Cooling::PASSIVE;
        let (ambient, watts) = (Celsius(22.0), (Watts(5.2), Watts(1.2)));
        let settled = Thermal::settled(&cooling, ambient, watts.0, watts.1);
        // The measurement the resistances come from.
        assert!(
            (settled.chip().0 - 70.0).abs() < 0.1 && (settled.board().0 - 45.4).abs() < 0.1,
            "{settled:?}"
        );
        let mut cold = Thermal::settled(&cooling, ambient, Watts(0.0), Watts(0.0));
        cold.advance(Duration::from_hours(2), &cooling, ambient, watts);
        assert!((cold.chip().0 - settled.chip().0).abs() < 0.1, "{cold:?}");
    }

    #[test]
    fn the_chip_answers_in_seconds_and_the_case_in_minutes() {
        let cooling = Cooling::PASSIVE;
        let mut thermal = Thermal::settled(&cooling, Celsius(45.0), Watts(1.5), Watts(1.2));
        let (chip, board) = (thermal.chip().0, thermal.board().0);
        thermal.advance(Duration::from_secs(30), &cooling, Celsius(45.0), (Watts(5.2), Watts(1.2)));
        assert!(thermal.chip().0 - chip > 12.0 && thermal.board().0 - board < 1.0, "{thermal:?}");
    }
}
