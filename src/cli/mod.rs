//! One file per command.

pub mod features;
pub mod recorded;
