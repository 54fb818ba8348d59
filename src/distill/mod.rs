//! Inferences to events (pure): change detection with hysteresis and dwell, standing alarms, rate limit.
//!
//! # Invariants
//! Every judged inference gives exactly one event for the plant; whether it also goes upstream is decided here.
//! A task's standing label changes only after the new one has been seen for the whole dwell, in event time that
//! neither a clock step back nor a jump ahead can shorten. Raising and clearing of an alarm alternate.
//! At any time `received = passed + dropped{reason}`: nothing is held here.
//!
//! # Never
//! No clock, no I/O, no names of other rooms: labels come from the models' closed lists given at the start.
//!
//! # Why
//! The dwell is kept per task and not per set of labels: one jittery task would otherwise hide every change of
//! the others.

mod bins;
mod bucket;
mod coarsen;
mod config;
mod distiller;
mod feature;
mod group;
mod rate;
mod rows;
mod sketch;
mod standing;

pub use coarsen::{CoarsenCounts, Coarsener, Drawn, GROUPS_MAX, Gap, OPEN_MAX};
pub use config::{DistillConfig, ForwardEvents, ModelNames, StreamPolicy, TaskNames};
pub use distiller::{ASSETS_MAX, Distiller};
pub use group::Original;
