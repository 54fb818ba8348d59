//! The outside world: every adapter, and only adapters.

mod sysfs;

pub use sysfs::{
    ProcessMemory, Sysfs, SysfsError, ThermalZone, ThrottleFlags, Trip, TripKind, hottest, trip_points,
};
