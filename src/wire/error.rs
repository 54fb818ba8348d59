//! What can be wrong with bytes that should be a record, a batch or an event.

/// Why bytes were not understood, or events not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the item does. More of them may complete it.
    #[error("item ends after {have} of at least {need} bytes")]
    Incomplete {
        /// Bytes the item has at least.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The first bytes belong to no batch.
    #[error("neither a batch frame nor an event in JSON")]
    NotABatch,
    /// Written by a later version of the format.
    #[error("format version {found} is not known")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Compressed with a dictionary of a later version.
    #[error(
        "batch needs dictionary {found}; this program knows those up to {known}: decode with a later one"
    )]
    Dictionary {
        /// The number of the dictionary.
        found: u8,
        /// The last one known here.
        known: u8,
    },
    /// The checksum does not match: the bytes were changed on their way.
    #[error("checksum of the batch does not match")]
    Checksum,
    /// A length or a count is beyond what is ever written.
    #[error("{what} beyond the limit")]
    Limit {
        /// What there is too much of.
        what: &'static str,
    },
    /// The body is not what postcard would have written.
    #[error("body is not in postcard's format")]
    Body(#[source] postcard::Error),
    /// The body contradicts the format.
    #[error("{what} is not valid")]
    Invalid {
        /// The part that is wrong.
        what: &'static str,
    },
    /// The compressor or decompressor refused.
    #[error("compressed body is not valid")]
    Compression,
    /// A line is not an event.
    #[error("event JSON: {reason}")]
    Json {
        /// What the parser says, without the text of the line.
        reason: String,
    },
}
