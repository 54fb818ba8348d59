//! One event as the outbox stores it: a version byte, then its row.
//!
//! # Why
//! The gateway's name is not repeated in each record; the batch that carries it upstream says it once. Damage is
//! the outbox's to find: its frames have their own checksum.

use crate::flow::Outbound;
use crate::wire::error::WireError;
use crate::wire::limits::RECORD_BYTES_MAX;
use crate::wire::row::{event_of, row_of};
use crate::wire::schema::{put, read};

/// Version of the record format. Later ones are added; this one stays readable.
const VERSION: u8 = 1;

/// Appends the record of an event. On error `out` is as before.
pub fn encode_record(event: &Outbound, out: &mut Vec<u8>) -> Result<(), WireError> {
    let row = row_of(event.facts())?;
    let start = out.len();
    out.push(VERSION);
    let written = put(out, &row);
    let too_long = out.len() - start > RECORD_BYTES_MAX;
    let result = if too_long { Err(WireError::Limit { what: "length of a record" }) } else { written };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Reads a record back. All of `bytes` must belong to it.
pub fn decode_record(bytes: &[u8]) -> Result<Outbound, WireError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(WireError::Limit { what: "length of a record" });
    }
    match bytes.split_first() {
        Some((&VERSION, row)) => event_of(&read(row)?),
        Some((&found, _)) => Err(WireError::Version { found }),
        None => Err(WireError::Incomplete { need: 1, have: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary::event;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn a_record_reads_back_equal(event in event()) {
            let mut out = vec![9];
            encode_record(&event, &mut out).unwrap();
            prop_assert_eq!(out[0], 9);
            prop_assert_eq!(decode_record(&out[1..]).unwrap(), event);
        }

        #[test]
        fn a_damaged_record_is_an_event_or_an_error(
            event in event(), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let mut out = Vec::new();
            encode_record(&event, &mut out).unwrap();
            let at = at.index(out.len());
            out[at] = with;
            drop(decode_record(&out));
            prop_assert!(decode_record(&out[..at]).is_err());
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_named_as_such() {
        assert_eq!(decode_record(&[2, 1]), Err(WireError::Version { found: 2 }));
        assert!(decode_record(&[]).is_err());
        assert!(decode_record(&vec![1; RECORD_BYTES_MAX + 1]).is_err());
    }
}
