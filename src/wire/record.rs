//! One event as the outbox stores it: a version byte, then the columns of a batch of one.
//!
//! # Why
//! The gateway's name is not repeated in each record; the batch that carries it upstream says it once. Damage is
//! the outbox's to find: its frames have their own checksum.

use crate::flow::Outbound;
use crate::wire::columns::Columns;
use crate::wire::error::WireError;
use crate::wire::limits::RECORD_BYTES_MAX;
use crate::wire::primitive::Bytes;
use crate::wire::rows::read_rows;

/// Version of the record format. Later ones are added; this one stays readable.
const VERSION: u8 = 1;

/// Appends the record of an event. On error `out` is as before.
pub fn encode_record(event: &Outbound, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.push(VERSION);
    let written = Columns::default().write(std::slice::from_ref(event), out);
    let too_long = out.len() - start > RECORD_BYTES_MAX;
    match written {
        Ok(()) if !too_long => Ok(()),
        Ok(()) => {
            out.truncate(start);
            Err(WireError::Limit { what: "length of a record" })
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Reads a record back. All of `bytes` must belong to it.
pub fn decode_record(bytes: &[u8]) -> Result<Outbound, WireError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(WireError::Limit { what: "length of a record" });
    }
    let mut bytes = Bytes::new(bytes);
    match bytes.byte()? {
        VERSION => {}
        found => return Err(WireError::Version { found }),
    }
    let mut events = read_rows(&mut bytes)?;
    match (events.pop(), events.is_empty()) {
        (Some(event), true) => Ok(event),
        (Some(_) | None, _) => Err(WireError::Invalid { what: "number of events in a record" }),
    }
}
