//! What the governor knows, for people.

use crate::clock::Uptime;
use crate::flow::{Budget, MemoryReading, PowerReading, Sensed};
use crate::governor::config::GovernorConfig;
use crate::units::{Bytes, Celsius, Ratio, Watts};

/// What the governor knows, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorStatus {
    /// What is allowed now.
    pub budget: Budget,
    /// Since when the level is what it is.
    pub since: Uptime,
    /// Changes of the level since the start.
    pub changes: u64,
    /// The temperature, as read; `None` if it was not to be had.
    pub temperature: Option<Celsius>,
    /// What it will be soon, if it is believed.
    pub forecast: Option<Celsius>,
    /// The lowest trip point; `None` before the first readings and without a sensor.
    pub trip: Option<Celsius>,
    /// The temperature that is not to be exceeded, below the trip point.
    pub target: Option<Celsius>,
    /// Share of the thermal headroom left by the forecast: 1 at the cool end or below, 0 at the target or above;
    /// `None` where the temperature is not known.
    pub headroom: Option<f32>,
    /// The air in the cabinet, as read.
    pub cabinet: Sensed<Celsius>,
    /// Clock of the processor as a share of its highest.
    pub clock: Option<Ratio>,
    /// The clock is held down at this moment.
    pub throttled: bool,
    /// The supply is too weak at this moment.
    pub under_voltage: bool,
    /// Neither of both is known: the flags of the board are there and cannot be read.
    pub flags_lost: bool,
    /// What is known of the supply.
    pub power: PowerReading,
    /// What a busy core draws: measured where the supply is metered, else as the board file says.
    pub core: Option<Watts>,
    /// Memory, as read.
    pub memory: MemoryReading,
    /// Memory the process may use.
    pub memory_limit: Bytes,
}

impl GovernorStatus {
    /// Before the first readings.
    pub(crate) fn new(config: &GovernorConfig) -> Self {
        Self {
            budget: Budget { cpu: config.cpu, ..Budget::NOMINAL },
            since: Uptime::ZERO,
            changes: 0,
            temperature: None,
            forecast: None,
            trip: None,
            target: None,
            headroom: None,
            cabinet: Sensed::Absent,
            clock: None,
            throttled: false,
            under_voltage: false,
            flags_lost: false,
            power: PowerReading::default(),
            core: config.core,
            memory: MemoryReading::default(),
            memory_limit: config.memory,
        }
    }

    /// Memory used as a share of what the process may use.
    pub fn memory_share(&self) -> f32 {
        self.memory.used.0 as f32 / self.memory_limit.0.max(1) as f32
    }
}
