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
