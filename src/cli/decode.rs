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
