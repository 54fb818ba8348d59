//! The outside world: every adapter, and only adapters.

pub mod admission;
pub mod mqtt;
pub mod disk;
