//! Bytes of the plant to samples and reports (pure).
//!
//! # Invariants
//! Every function here is total over bytes: whatever arrives is decoded or rejected with a counted reason. A message
//! is taken whole or not at all. `received = passed + dropped{reason}` per stream and in all, at any time.
//!
//! # Never
//! No recursion over input, no allocation for a sensor message in steady state, no clock.
//!
//! # Why
//! An own JSON scanner and not serde: the limits on depth and keys hold while scanning, the words `NaN` and
//! `Infinity` that many plants write become bad samples and not errors, and nothing is allocated.

mod config;
mod decode;
#[expect(clippy::module_inception, reason = "the file of the room's main noun, as in every room")]
mod ingest;
mod route;
mod topic;

pub use config::{
    Columns, Encoding, IngestConfig, Limits, PayloadFormat, SampleRate, StreamInput, TimeField, TimeUnit,
};
pub use decode::parse_time;
pub use ingest::{Ingest, Message, Sink};
pub use topic::{FilterError, TopicFilter};
