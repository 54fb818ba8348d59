//! Batches one after the other from a stream of bytes, going on behind damage.

use crate::wire::batch::{Batch, decode_batch};
use crate::wire::error::WireError;
use crate::wire::frame::{Head, MAGIC, VERSION, VERSION_1};
use crate::wire::limits::BODY_BYTES_MAX;

/// How an event line begins. Where to go on after damage.
const LINE_START: &[u8] = b"{\"v\":";

/// How a frame of each version begins.
const FRAME_STARTS: [[u8; 3]; 2] = [[MAGIC[0], MAGIC[1], VERSION_1], [MAGIC[0], MAGIC[1], VERSION]];

/// A place where the bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset of the first wrong byte from the start of the stream.
    pub offset: u64,
    /// What is wrong there.
    pub error: WireError,
}

/// Cuts a stream into batches. Bytes are pushed in pieces of any size; holds at most one item and one piece.
#[derive(Default)]
pub struct BatchReader {
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    start: usize,
    /// Offset of the buffer's first byte in the stream.
    base: u64,
    /// No more bytes will come.
    ended: bool,
    /// Inside damage that has been reported already.
    lost: bool,
}

impl BatchReader {
    /// Starts at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the stream. Call [`next_batch`](Self::next_batch) until it gives nothing before
    /// adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that the stream has ended.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next batch or fault; `None` when more bytes are needed or the stream is used up. One damaged place
    /// gives one fault.
    pub fn next_batch(&mut self) -> Option<Result<Batch, Fault>> {
        loop {
            self.skip_blank();
            let rest = self.buffer.get(self.start..).filter(|rest| !rest.is_empty())?;
            let error = match self.decode(rest) {
                Ok((batch, used)) => {
                    self.start += used;
                    self.lost = false;
                    return Some(Ok(batch));
                }
                Err(WireError::Incomplete { .. }) if !self.ended => return None,
                Err(error) => error,
            };
            let fault = Fault { offset: self.base + self.start as u64, error };
            self.skip_damage();
            if !std::mem::replace(&mut self.lost, true) {
                return Some(Err(fault));
            }
        }
    }

    /// Decodes at the start of `rest`, waiting for a whole line or frame unless the stream has ended.
    fn decode(&self, rest: &[u8]) -> Result<(Batch, usize), WireError> {
        let is_line = rest.first() == Some(&b'{');
        if is_line && !self.ended && !rest.contains(&b'\n') {
            if rest.len() > BODY_BYTES_MAX {
                return Err(WireError::Limit { what: "length of a line" });
            }
            return Err(WireError::Incomplete { need: rest.len() + 1, have: rest.len() });
        }
        decode_batch(rest)
    }

    fn skip_blank(&mut self) {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).count();
        self.start += blank;
    }

    /// Goes on to the next place that looks like a beginning.
    fn skip_damage(&mut self) {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let keep = if self.ended { 0 } else { LINE_START.len() - 1 };
        let next = (1..rest.len()).find(|at| {
            let candidate = rest.get(*at..).unwrap_or_default();
            let line = candidate.starts_with(LINE_START);
            let frame = FRAME_STARTS.iter().any(|start| candidate.starts_with(start))
                && matches!(Head::read(candidate), Ok(_) | Err(WireError::Incomplete { .. }));
            line || frame
        });
        // What may be the beginning of a beginning stays for the next piece.
        self.start += next.unwrap_or_else(|| rest.len().saturating_sub(keep).max(1)).min(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary::{events, origin};
    use crate::wire::batch::Encoder;
    use crate::wire::json::encode_json;

    /// Reads a stream in pieces of the given size: events read, offsets of faults.
    fn read(stream: &[u8], piece: usize) -> (usize, Vec<u64>) {
        let mut reader = BatchReader::new();
        let (mut events, mut faults) = (0, Vec::new());
        let mut drain = |reader: &mut BatchReader| {
            while let Some(next) = reader.next_batch() {
                match next {
                    Ok(batch) => events += batch.events.len(),
                    Err(fault) => faults.push(fault.offset),
                }
            }
        };
        for bytes in stream.chunks(piece) {
            reader.push(bytes);
            drain(&mut reader);
        }
        reader.end();
        drain(&mut reader);
        (events, faults)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn batches_of_both_encodings_follow_one_another_in_pieces_of_any_size(
            batches in prop::collection::vec((events(), any::<bool>()), 1..6), piece in 1_usize..5_000,
        ) {
            let (mut stream, mut expected) = (Vec::new(), 0);
            for (events, compact) in &batches {
                expected += events.len();
                if *compact {
                    Encoder::new().encode(&origin(), events, &mut stream).unwrap();
                } else {
                    encode_json(&origin(), events, &mut stream);
                }
            }
            prop_assert_eq!(read(&stream, piece), (expected, vec![]));
        }

        #[test]
        fn damage_in_one_batch_is_reported_once_and_costs_no_other(
            (first, hit, last) in (events(), events(), events()),
            at in any::<prop::sample::Index>(), with in 1_u8.., piece in 1_usize..5_000, compact in any::<bool>(),
        ) {
            let mut stream = Vec::new();
            let mut encoder = Encoder::new();
            encoder.encode(&origin(), &first, &mut stream).unwrap();
            let start = stream.len();
            encoder.encode(&origin(), &hit, &mut stream).unwrap();
            let at = start + at.index(stream.len() - start);
            stream[at] ^= with;
            if compact {
                encoder.encode(&origin(), &last, &mut stream).unwrap();
            } else {
                encode_json(&origin(), &last, &mut stream);
            }
            let (events, faults) = read(&stream, piece);
            prop_assert_eq!(events, first.len() + last.len());
            prop_assert_eq!(faults, vec![start as u64]);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..2_000), piece in 1_usize..500) {
            read(&bytes, piece);
        }
    }

    #[test]
    fn a_beginning_behind_damage_is_found_wherever_the_pieces_end() {
        let line = br#"{"v":1,"id":"s/g/1/2","stream":"a","kind":"report","at":"2026-11-20T03:00:00Z","clock":"synced","model":"m@1","labels":{},"verdict":"out-of-scope","change":"new","priority":"bulk","historical":true}"#;
        let stream = [&b"damage and more of it"[..], line, b"\n"].concat();
        for piece in 1..stream.len() {
            assert_eq!(read(&stream, piece), (1, vec![0]), "pieces of {piece}");
        }
    }

    #[test]
    fn a_batch_cut_short_by_the_end_is_a_fault() {
        let mut stream = b"{\"v\":1,\"id\":".to_vec();
        assert_eq!(read(&stream, 3), (0, vec![0]));
        stream = b"x{\"v\":1}\n{\"v\":2}\n TG\x01".to_vec();
        assert_eq!(read(&stream, 64), (0, vec![0]), "damage that looks like beginnings is one fault");
        stream = b"\n\r\n TG\x01\x00".to_vec();
        assert_eq!(read(&stream, 2), (0, vec![4]));
    }
}
