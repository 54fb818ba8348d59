//! Reports to model inputs (pure).
//!
//! # Invariants
//! The same text gives the same vector on every machine: `models/train/ngrams.py` is the twin for training, and
//! golden vectors hold the two together.
//!
//! # Never
//! No text leaves this room: only counts of hashed character n-grams, from which the words cannot be read back
//! without knowing them.

mod config;
mod ngrams;

pub use config::{DIMS_MAX, GRAM_MAX, NgramConfig, TextError};
pub use ngrams::NgramEncoder;
