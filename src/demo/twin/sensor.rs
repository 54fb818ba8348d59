//! The thermometer of the chip, and what may be wrong with it.

use crate::units::Celsius;

/// What is wrong with a thermometer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum SensorFault {
    /// Nothing.
    #[default]
    None,
    /// The zone is gone.
    Lost,
    /// It says what it said when it froze.
    Frozen,
    /// It says this.
    Says(Celsius),
    /// Reading it is an error.
    Unreadable,
}

/// What reading the thermometer gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sensor {
    /// A temperature in thousandths of a degree.
    Says(i32),
    /// The zone is not there.
    Gone,
    /// An error.
    Unreadable,
}

/// Thousandths of a degree a step of the converter is worth, and its zero (Linux, `drivers/thermal/broadcom/bcm2711_thermal.c` and the slope and
/// offset of the BCM2711).
const STEP: f32 = 487.0;
const ZERO: f32 = 410_040.0;

impl Sensor {
    /// What a chip this hot is read as.
    #[expect(clippy::cast_possible_truncation, reason = "thousandths of a degree of a chip")]
    pub fn of(chip: Celsius) -> Self {
        let code = ((ZERO - chip.0 * 1_000.0) / STEP).round();
        Self::Says((ZERO - code * STEP).round() as i32)
    }

    /// The same with the scatter of about one step that real readings have: a sensor that says the very same for minutes is broken.
    pub fn noisy(chip: Celsius, conversion: u32) -> Self {
        // Multiples of the golden section, taken modulo 1, are spread evenly and never repeat.
        let scatter = (conversion as f32 * 0.618_034).fract() - 0.5;
        Self::of(Celsius(chip.0 + scatter * STEP / 1_000.0))
    }

    /// The temperature, where there is one.
    pub fn celsius(self) -> Option<Celsius> {
        match self {
            Self::Says(thousandths) => Some(Celsius(thousandths as f32 / 1_000.0)),
            Self::Gone | Self::Unreadable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_steps_by_about_half_a_degree() {
        let read = |degrees| Sensor::of(Celsius(degrees)).celsius().unwrap().0;
        for degrees in [-10.0_f32, 25.0, 45.3, 79.9, 110.0] {
            assert!((read(degrees) - degrees).abs() <= 0.25, "{degrees}: {}", read(degrees));
        }
        assert!((read(50.0) - read(50.1)).abs() < f32::EPSILON);
        let scattered = (0..60).map(|number| Sensor::noisy(Celsius(50.1), number).celsius().unwrap().0);
        assert!(scattered.clone().any(|degrees| (degrees - read(50.1)).abs() > 0.1));
        assert!(scattered.clone().all(|degrees| (degrees - 50.1).abs() <= 0.5));
        assert_eq!((Sensor::Gone.celsius(), Sensor::Unreadable.celsius()), (None, None));
    }
}
