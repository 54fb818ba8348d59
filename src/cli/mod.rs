//! One file per command.

pub mod features;
pub mod decode;
pub mod recorded;
