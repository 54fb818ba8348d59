//! A Raspberry Pi 4 in a cabinet that exists only here: heat, firmware, supply and sensors (pure).
//!
//! # Invariants
//! * Heat comes from work: the watts of a step are those of the processor time it was given, nothing else heats.
//! * Nothing is random and nothing reads a clock: the same steps give the same temperatures.
//! * Every number that describes the board stands in `board.rs` with its source, or is called an assumption there.

mod battery;
mod board;
mod cabinet;
mod firmware;
mod sensor;
mod thermal;
mod tree;

pub use battery::Battery;
pub use board::{Board, Cooling, Point};
pub use cabinet::{Outside, Twin};
pub use firmware::Firmware;
pub use sensor::{Sensor, SensorFault};
pub use thermal::Thermal;
pub use tree::{Content, TreeFile};
