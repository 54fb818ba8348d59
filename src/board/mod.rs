//! What the hardware is: board profiles.
//!
//! # Invariants
//! A [`Profile`] is valid: every value was checked when it was parsed, and all faults were named at once.

mod attached;
mod builtin;
mod hardware;
mod profile;
mod reader;
mod recognise;
mod tables;

pub use attached::read_hardware;
pub use builtin::builtin;
pub use hardware::{Clash, Driver, HardwarePlan, Line, LineError, Lines, SensorPlan, SensorRole};
pub use profile::{BoardBudget, Cooling, Cpufreq, PowerModel, Presence, Profile, Recognise, Thermal};
pub use reader::ProfileFault;
pub use recognise::{Basis, Recognised, recognise};
