//! The outside world: every adapter, and only adapters.

pub mod admission;
pub mod mqtt;
pub mod disk;
mod sysfs;

pub use sysfs::{
    ProcessMemory, Sysfs, SysfsError, ThermalZone, ThrottleFlags, Trip, TripKind, hottest, trip_points,
};
mod recording;

pub use recording::{Recording, RecordingError, RecordingFormat, Row};
