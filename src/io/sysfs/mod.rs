//! What Linux tells in small files: heat, clock, cooling, supply, memory of this process, which board this is, whether the
//! time is known.
//!
//! # Invariants
//! * Everything lies below one root, so that tests and a recorded board can stand in for the real one.
//! * What the kernel does not offer is `None` or empty; what it offers and cannot be understood is an error.

mod board;
mod cooling;
mod cpufreq;
mod file;
mod process;
mod root;
mod supply;
#[cfg(test)]
mod test_tree;
mod thermal;
mod throttling;

pub use cooling::CoolingDevice;
pub use cpufreq::{ClockPolicy, clock_share};
pub use file::SysfsError;
pub use process::ProcessMemory;
pub use root::Sysfs;
pub use supply::{PowerSupply, SupplyKind, power};
pub use thermal::{ThermalZone, Trip, TripKind, hottest, trip_points};
pub use throttling::ThrottleFlags;
