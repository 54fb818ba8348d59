//! Keeps a reader of rows from taking a file without row ends into memory.

use std::io::{self, Read};

/// Bytes of a row: four times the largest packet the gateway takes.
pub const ROW_BYTES_MAX: u64 = 1 << 20;

/// A source that gives no more bytes than a row may have, until the next row begins.
#[derive(Debug)]
pub struct RowGuard<R> {
    source: R,
    left: u64,
}

impl<R> RowGuard<R> {
    /// Guards a source; the first row begins.
    pub fn new(source: R) -> Self {
        Self { source, left: ROW_BYTES_MAX }
    }

    /// The next row begins.
    pub fn renew(&mut self) {
        self.left = ROW_BYTES_MAX;
    }

    /// Whether the row has had all the bytes it may have.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}

impl<R: Read> Read for RowGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "row does not end"));
        }
        let read = self.source.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}
