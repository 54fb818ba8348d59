//! Samples to windows, in event time (pure).
//!
//! # Invariants
//! * Each source has its own watermark: one bad clock neither holds nor poisons the others.
//! * A batch is one step: all its samples are filed before its newest time closes anything, so a row that spans
//!   the channels of one message is never torn.
//! * A sample earlier than the end of the last closed window of its source is late, whatever else could hold it.
//! * Windows without samples are never emitted, and a jump of time costs no more than a step.
//! * Buffers of all sources and closed windows never take more than the limit, but for one window. A sample that finds no
//!   room is dropped as `window-full`, a new source as `series-limit`; what other sources hold is not touched.
//! * `received = passed + dropped + held` after every call; a sample has passed when the last window that can
//!   hold it has closed.
//!
//! # Never
//! No clock: event time comes with the samples, uptime and wall time are arguments. Event time may run a thousand
//! times faster than uptime (recorded data), so the two are compared only to refuse stamps from the future.

mod column;
mod config;
mod counts;
mod grid;
mod outlet;
mod shape;
mod source;
mod watermark;
mod windower;

pub use config::{
    BYTES_MAX, FUTURE_MAX, IDLE, LATENESS, LENGTH_MAX, Length, OVERLAP_MAX, SAMPLES_MAX, SOURCES_MAX,
    WindowConfig,
};
pub use counts::WindowCounts;
pub use source::source_bytes;
pub use windower::Windower;
