//! The upstream format (pure): records, batches, event JSON. `docs/wire.md` describes it to the byte.
//!
//! # Invariants
//! Reading is total: any bytes give a value or an error, never a panic, and never more memory than the limits of
//! [`limits`] allow. What is written reads back equal, given values at the resolution of the door.
//!
//! # Never
//! Only facts that have passed the door are encoded for upstream. The local part is written in one place, the
//! event JSON for the plant's own broker.
//!
//! # Why
//! The binary format is postcard's, of the structures in `schema.rs`: who has these and postcard can read it. An event
//! alone is a row, in the outbox and in a batch of one; several are columns. Batches are written part by part from
//! the events themselves: no intermediate copy, and nothing allocated once the buffers have grown.

#[cfg(test)]
mod arbitrary;
mod batch;
mod codes;
mod columns;
mod dictionary;
mod error;
mod frame;
mod json;
pub mod limits;
mod origin;
mod parse;
mod reader;
mod record;
mod row;
mod rows;
mod schema;
mod summary_json;
mod tasks;
mod time;
mod told;

pub use batch::{Batch, Encoder, decode_batch};
pub use error::WireError;
pub use json::{encode_json, write_event};
pub use origin::Origin;
pub use parse::parse_event;
pub use reader::{BatchReader, Fault};
pub use record::{decode_record, encode_record};
