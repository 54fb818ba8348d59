//! One file per payload format; total functions over bytes.

mod csv;
mod decoder;
mod envelope;
mod fields;
mod json;
mod nmea;
mod packed;
mod report;
mod rows;
mod scan;
mod senml;
mod time;

pub(crate) use decoder::{Decoder, Output};
pub(crate) use envelope::Envelope;
pub use time::parse_time;
