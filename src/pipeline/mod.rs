//! The brain (pure): samples and reports in, work for the models out, inferences in, events out.
//!
//! # Invariants
//! Single owner of every stage's state. For each stage `in = out + dropped{reason} + held` at any time, see
//! [`Pipeline::count`]. Time is an argument; the same calls give the same events.
//!
//! # Never
//! No I/O, no clock, no tasks: `runtime/` moves things in and out.

mod brain;
mod plan;

pub use brain::{Pipeline, WindowTotals};
pub use plan::{PipelinePlan, StreamPlan};
