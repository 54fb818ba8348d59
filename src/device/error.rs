//! Why a sensor could not be read, for the person who must mend it.

use embedded_hal::i2c::{Error, ErrorKind};

/// Why a sensor could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeviceError {
    /// Nothing answers at its address, or the bus itself failed.
    #[error("{why}")]
    Bus {
        /// What the bus said.
        why: String,
        /// Whether it was no more than an address that nobody acknowledged.
        silent: bool,
    },
    /// It says what it cannot measure: a broken chip, another chip, or one that has not measured yet.
    #[error("says {value} {unit}, outside {low} to {high} {unit}: check the sensor and its driver")]
    Absurd {
        /// What it said.
        value: f32,
        /// The unit of all three.
        unit: &'static str,
        /// Least it can measure.
        low: f32,
        /// Most it can measure.
        high: f32,
    },
    /// What it said was garbled on the way.
    #[error("the checksum is wrong: check wiring, length of the cable and pull-ups")]
    Checksum,
    /// Another chip is at its address.
    #[error(
        "another chip is at this address: its number is {found:#06x}, not {expected:#06x}; check driver and address"
    )]
    OtherChip {
        /// Number it gives.
        found: u16,
        /// Number of the chip that the driver is for.
        expected: u16,
    },
    /// Its driver cannot use what it answers.
    #[error("{0}")]
    Unusable(&'static str),
}

impl DeviceError {
    /// What a bus said.
    #[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
    pub(in crate::device) fn bus(error: impl Error + std::fmt::Display) -> Self {
        let silent = matches!(error.kind(), ErrorKind::NoAcknowledge(_));
        Self::Bus { why: error.to_string(), silent }
    }

    /// Whether nothing is there: for a sensor that is optional, no fault.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Bus { silent, .. } => *silent,
            Self::Absurd { .. } | Self::Checksum | Self::OtherChip { .. } | Self::Unusable(_) => false,
        }
    }
}

/// A value, if a sensor of this range can have measured it. Never NaN.
pub(in crate::device) fn within(
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    unit: &'static str,
) -> Result<f32, DeviceError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(DeviceError::Absurd { value, unit, low: *range.start(), high: *range.end() })
}
