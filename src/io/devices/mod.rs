//! Buses and lines of the board: `/dev/i2c-N` and `/dev/gpiochipN`, or files that stand in for them.
//!
//! # Invariants
//! * Below `/` the kernel's devices are used; below any other root files stand in, and no device is ever touched.
//! * A chip that is not there, one that went and a bus that hangs are all errors of one transaction, never a panic and
//!   never longer than the kernel waits (its adapters give up after about a second).

mod bus;
mod lines;
mod probe;
mod registers;

pub use bus::{BusError, I2cBus, open_bus, open_sensor};
pub use lines::{InputPin, LineError, OutputLine, wait_for_edge};
pub use probe::{Probe, probe};
pub use registers::{RegisterFiles, write_registers};
