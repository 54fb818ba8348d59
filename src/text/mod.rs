//! Reports to model inputs, and what models say about words back to places in the report (pure).
//!
//! # Invariants
//! The same text gives the same vector and the same ids on every machine: `models/train/ngrams.py` and
//! `models/train/words.py` are the twins for training, and golden vectors hold them together.
//! Places are bytes of the text as it came in.
//!
//! # Never
//! No text leaves this room: only hashes of character n-grams, from which the words cannot be read back without knowing
//! them, places, and indices of closed lists.

mod config;
mod hash;
mod known;
mod marks;
mod ngrams;
mod rules;
mod tags;
mod vocabulary;
mod words;

pub use config::{
    DIMS_MAX, GRAM_MAX, GRAMS_MAX, KNOWN_BYTES, LENGTHS_MAX, NgramConfig, Split, TYPES_MAX, TextError,
    WORDS_MAX, WordConfig,
};
pub use known::KnownGrams;
pub use marks::{Mark, merge};
pub use ngrams::NgramEncoder;
pub use rules::{RuleKind, RuleMatch, Rules};
pub use tags::{TagDecoder, TaggedWords};
pub use vocabulary::{
    ALIASES_MAX, TERM_BYTES_MAX, TERMS_MAX, VOCABULARY_BYTES_MAX, Vocabulary, VocabularyError,
};
pub use words::{Cut, WordEncoder, WordSpan};
