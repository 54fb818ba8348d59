//! What the hardware is: board profiles.
//!
//! # Invariants
//! A [`Profile`] is valid: every value was checked when it was parsed, and all faults were named at once.

mod builtin;
mod hardware;
mod profile;
mod reader;
mod recognise;

pub use builtin::builtin;
pub use hardware::{Driver, HardwarePlan, Line, Lines, SensorPlan, SensorRole};
pub use profile::{BoardBudget, Presence, Profile, Recognise, Thermal};
pub use reader::ProfileFault;
pub use recognise::{Basis, Recognised, recognise};
