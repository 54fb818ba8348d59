//! Inferences to events (pure): change detection with hysteresis and dwell, standing alarms, rate limit; and many old
//! events to few summaries.
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
//!
//! # Drawing together
//! [`Coarsener`] makes room where there is no link: many stored events become one summary of a stream over ten minutes,
//! an hour or a day of UTC, and summaries become coarser ones; oldest first, and no more than needed. Nothing it says
//! depends on the order in which it came about, but the rows of a label: those are exact for parts that follow one
//! another. No event disappears: the events of all summaries, gaps and records that stay add up to what was taken.

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

pub use coarsen::{Aim, COARSENING_BYTES_MAX, CoarsenCounts, Coarsener, Drawn, GROUPS_MAX, Gap, OPEN_MAX};
pub use config::{DistillConfig, ForwardEvents, ModelNames, StreamPolicy, TaskNames};
pub use distiller::{ASSETS_MAX, Distiller};
pub use group::Original;
