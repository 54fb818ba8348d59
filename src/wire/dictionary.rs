//! The dictionaries that small bodies are compressed with: words and patterns both ends know beforehand.
//!
//! # Invariants
//! A dictionary never changes once batches were sent with it: another one gets another number, and this program keeps
//! all it ever had. `scripts/wire-dictionary` makes one.

use std::sync::LazyLock;

use zstd::dict::DecoderDictionary;

use crate::wire::error::WireError;

/// Number of the dictionary that batches are written with.
pub(crate) const CURRENT: u8 = 1;

/// The bytes of the dictionary that batches are written with.
pub(crate) const BYTES: &[u8] = include_bytes!("dictionary-1.zdict");

/// Dictionary 1, prepared for reading.
static FIRST: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(BYTES));

/// The dictionary with this number.
pub(crate) fn known(number: u8) -> Result<&'static DecoderDictionary<'static>, WireError> {
    match number {
        CURRENT => Ok(&FIRST),
        _ => Err(WireError::Dictionary { found: number, known: CURRENT }),
    }
}
