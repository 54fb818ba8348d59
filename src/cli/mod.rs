//! One file per command.

pub mod features;
