//! The outside world: every adapter, and only adapters.

pub mod admission;
pub mod devices;
pub mod disk;
pub mod files;
pub mod memory;
pub mod mqtt;
pub mod program;
pub mod recording;
pub mod rows;
pub mod scratch;
pub mod sysfs;
pub mod systemd;
pub mod thread_meter;
pub mod watchdog_device;
