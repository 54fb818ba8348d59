//! The outside world: every adapter, and only adapters.

pub mod disk;
