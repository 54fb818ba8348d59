//! What sensors on I2C say and what lines of GPIO mean: drivers, decoding, rhythms. Pure: a bus is an argument.
//!
//! # Invariants
//! * Drivers are generic over the traits of `embedded-hal` 1.0; who opens a bus is not their business.
//! * What a sensor says is believed only inside the range of its data sheet; what is outside is an error, never a value.
//! * The gateway and its hardware meet in [`seam`], as plain data both ways.

mod climate;
mod error;
mod evidence;
mod led;
mod panel;
mod power;
mod registers;
mod schedule;
pub mod seam;
mod sensor;
mod temperature;
mod vibration;

pub use error::DeviceError;
pub use evidence::Evidence;
pub use panel::{Panel, Relay};
pub use schedule::{FaultChange, Schedule};
pub use sensor::{Bus, SETTLE, Sensor, addresses, rate_of, sensor, unit_of};
