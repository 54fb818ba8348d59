//! The only door to the outside (pure): declared features at their resolution, closed words, nothing else.
//!
//! # Invariants
//! What leaves is built anew from the policy's and the models' own words; no text of the event is passed on. A word
//! that is not on a list stops the event or, for an entity, becomes null. `received = passed + dropped{reason}`.
//!
//! # Never
//! The local part of an event is read for its stream index and for nothing else.

mod config;
mod door;
mod level;
mod summary;

pub use config::{Declared, Entities, ModelWords, Policy, TaskWords};
pub use door::Door;
pub use level::{GOVERNOR_STREAM, LevelChange, level};
pub use summary::gap;
