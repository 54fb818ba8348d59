//! What was measured of the board at one moment, beside its temperature: memory, supply, cabinet.

use crate::units::{Bytes, Celsius, Ratio, Volts, Watts};

/// A measurement that may not be to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sensed<T> {
    /// Nothing is there to measure it.
    #[default]
    Absent,
    /// Something is there and says nothing, or nothing that can be believed.
    Lost,
    /// This was measured.
    Known(T),
}

/// What the kernel says of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryReading {
    /// Memory this process has taken that no file backs.
    pub used: Bytes,
    /// What the control group has taken, page cache included, and the least limit on the way up to the root; `None`
    /// without a limit.
    pub group: Option<GroupMemory>,
    /// What the whole system can still give without swapping (`MemAvailable`).
    pub available: Option<Bytes>,
    /// Share of the last ten seconds in which some task waited for memory (PSI, `some avg10`).
    pub stalled: Option<Ratio>,
}

/// Memory of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMemory {
    /// Taken, without what the kernel can drop at once (inactive file pages).
    pub used: Bytes,
    /// From here on the kernel kills.
    pub max: Option<Bytes>,
    /// From here on the kernel slows us (`memory.high`).
    pub high: Option<Bytes>,
    /// Times the limit was met since the group was made.
    pub refused: u64,
    /// Processes killed in it since it was made.
    pub killed: u64,
}

/// What is known of the supply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PowerReading {
    /// What feeds the board.
    pub source: PowerSource,
    /// Charge of the battery.
    pub charge: Sensed<Ratio>,
    /// Voltage of the supply or the battery.
    pub voltage: Sensed<Volts>,
    /// What the board draws.
    pub draw: Sensed<Watts>,
    /// The power-fail input says that the supply ends now.
    pub failing: bool,
}

/// What feeds the board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PowerSource {
    /// Nothing tells.
    #[default]
    Unknown,
    /// Mains, or whatever does not run down.
    Mains,
    /// A battery.
    Battery,
}

/// What the hardware beside the processor says, as the governor hears it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HardwareReading {
    /// The warmest cabinet sensor.
    pub cabinet: Sensed<Celsius>,
    /// The supply, as sensors and inputs tell it.
    pub power: PowerReading,
}

impl<T> Sensed<T> {
    /// The same of what was measured.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sensed<U> {
        match self {
            Self::Absent => Sensed::Absent,
            Self::Lost => Sensed::Lost,
            Self::Known(value) => Sensed::Known(change(value)),
        }
    }
}

impl<T: Copy> Sensed<T> {
    /// What was measured.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Lost => None,
        }
    }
}

impl PowerSource {
    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Mains => "mains",
            Self::Battery => "battery",
        }
    }
}
