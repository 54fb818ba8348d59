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
    out: impl Write,
    mut on_fault: impl FnMut(&Fault),
) -> io::Result<Decoded> {
    let mut reader = BatchReader::new();
    let mut printer = Printer::new(out, None);
    let mut piece = vec![0; PIECE_BYTES];
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
        printer.decoded.bytes += count as u64;
        reader.push(piece.get(..count).unwrap_or_default());
        printer.drain(&mut reader, &mut on_fault)?;
    }
    printer.out.flush()?;
    Ok(printer.decoded)
}

/// Prints the events of batches, as many as are wanted.
pub(in crate::cli) struct Printer<W> {
    out: W,
    /// Events that are still wanted; `None` for all there will be.
    left: Option<u64>,
    lines: Vec<u8>,
    decoded: Decoded,
}

impl<W: Write> Printer<W> {
    /// Prints at most `count` events.
    pub(in crate::cli) fn new(out: W, count: Option<u64>) -> Self {
        Self { out, left: count, lines: Vec::new(), decoded: Decoded::default() }
    }

    /// Prints a message, which holds whole batches, and flushes. False if it held more events than were wanted.
    pub(in crate::cli) fn message(
        &mut self,
        payload: &[u8],
        on_fault: impl FnMut(&Fault),
    ) -> io::Result<bool> {
        let mut reader = BatchReader::new();
        reader.push(payload);
        reader.end();
        self.decoded.bytes += payload.len() as u64;
        let all = self.drain(&mut reader, on_fault)?;
        self.out.flush()?;
        Ok(all)
    }

    /// What has been printed.
    pub(in crate::cli) fn decoded(&self) -> Decoded {
        self.decoded
    }

    /// Whether as many events have been printed as are wanted.
    pub(in crate::cli) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints the batches a reader has. False if they hold more events than are wanted.
    fn drain(&mut self, reader: &mut BatchReader, mut on_fault: impl FnMut(&Fault)) -> io::Result<bool> {
        while let Some(next) = reader.next_batch() {
            match next {
                Ok(batch) => {
                    let wanted =
                        self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
                    self.lines.clear();
                    for event in batch.events.iter().take(wanted) {
                        write_event(&mut self.lines, &batch.origin, event.facts(), None);
                        self.lines.push(b'\n');
                    }
                    self.out.write_all(&self.lines)?;
                    let printed = batch.events.len().min(wanted) as u64;
                    self.decoded.batches += 1;
                    self.decoded.events += printed;
                    self.left = self.left.map(|left| left.saturating_sub(printed));
                    if batch.events.len() > wanted {
                        return Ok(false);
                    }
                }
                Err(fault) => {
                    self.decoded.faults += 1;
                    on_fault(&fault);
                }
            }
        }
        Ok(true)
    }
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
    fn summaries_and_gaps_are_printed_like_events() {
        let frames = include_bytes!("../../tests/golden/wire/batch-2-summary.bin");
        let mut out = Vec::new();
        let decoded = decode_stream(frames.as_slice(), &mut out, |fault| panic!("{fault:?}")).unwrap();
        assert_eq!((decoded.batches, decoded.events), (1, 4));
        let expected = include_str!("../../tests/golden/wire/events-summary.json");
        assert!(String::from_utf8(out).unwrap().starts_with(expected));
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
