//! Batches one after the other from a stream of bytes, going on behind damage.

use crate::wire::batch::{Batch, HEADER_BYTES, MAGIC, VERSION, decode_batch, frame_bytes};
use crate::wire::error::WireError;
use crate::wire::limits::BODY_BYTES_MAX;

/// How an event line begins. Where to go on after damage.
const LINE_START: &[u8] = b"{\"v\":";

/// How a frame begins.
const FRAME_START: [u8; 3] = [MAGIC[0], MAGIC[1], VERSION];

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
            let frame = candidate.starts_with(&FRAME_START)
                && (candidate.len() < HEADER_BYTES || frame_bytes(candidate).is_ok());
            line || frame
        });
        // What may be the beginning of a beginning stays for the next piece.
        self.start += next.unwrap_or_else(|| rest.len().saturating_sub(keep).max(1)).min(rest.len());
    }
}
