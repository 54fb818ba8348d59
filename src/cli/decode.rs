//! `tidegate decode`: upstream batches to JSON lines.

use std::io::{self, Read, Write};

use crate::wire::{BatchReader, Fault, write_event};

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What a run of [`decode_stream`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Batches, each line of JSON counting as one.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged places.
    pub faults: u64,
}

/// Prints every event of a stream of batches, compact or JSON, as one line of event JSON.
///
/// A damaged place is given to `on_fault` with its offset; printing goes on at the next batch behind it.
pub fn decode_stream(
    mut input: impl Read,
    mut out: impl Write,
    mut on_fault: impl FnMut(&Fault),
) -> io::Result<Decoded> {
    let mut reader = BatchReader::new();
    let mut decoded = Decoded::default();
    let mut piece = vec![0; PIECE_BYTES];
    let mut lines = Vec::new();
    let mut ended = false;
    while !ended {
        let count = match input.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        ended = count == 0;
        if ended {
            reader.end();
        }
        decoded.bytes += count as u64;
        reader.push(piece.get(..count).unwrap_or_default());
        while let Some(next) = reader.next_batch() {
            match next {
                Ok(batch) => {
                    decoded.batches += 1;
                    decoded.events += batch.events.len() as u64;
                    lines.clear();
                    for event in &batch.events {
                        write_event(&mut lines, &batch.origin, event.facts(), None);
                        lines.push(b'\n');
                    }
                    out.write_all(&lines)?;
                }
                Err(fault) => {
                    decoded.faults += 1;
                    on_fault(&fault);
                }
            }
        }
    }
    out.flush()?;
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireError;

    const LINE: &str = concat!(
        r#"{"v":1,"id":"s/g/1/2","stream":"a","kind":"sensor","from":"2026-11-20T03:00:00Z","#,
        r#""to":"2026-11-20T03:01:00Z","clock":"synced","model":"m@1","label":"x","score":0.9,"#,
        r#""verdict":"accepted","change":"same","priority":"bulk","historical":true}"#
    );

    #[test]
    fn events_are_printed_and_damage_is_told_by_offset() {
        let input = format!("{LINE}\nnot an event\n{LINE}");
        let (mut out, mut faults) = (Vec::new(), Vec::new());
        let decoded = decode_stream(input.as_bytes(), &mut out, |fault| faults.push(fault.clone())).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{LINE}\n{LINE}\n"));
        assert_eq!(decoded, Decoded { batches: 2, events: 2, bytes: input.len() as u64, faults: 1 });
        assert_eq!(faults, [Fault { offset: LINE.len() as u64 + 1, error: WireError::NotABatch }]);
    }

    #[test]
    fn an_input_that_fails_is_an_error_and_not_an_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        assert!(decode_stream(Broken, Vec::new(), |_| ()).is_err());
    }
}
