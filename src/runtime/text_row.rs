//! A report as the numbers a graph takes: what golden vectors with a text are replayed with.

use crate::infer::Manifest;
use crate::infer::manifest::Encoding;
use crate::runtime::reading::word_config;
use crate::text::{NgramConfig, NgramEncoder, WordEncoder};

/// Encodes a report as a manifest asks for, without padding; `None` if it asks for features.
pub fn text_row(manifest: &Manifest, text: &str) -> Option<Vec<f64>> {
    match &manifest.input.encoding {
        Encoding::Features { .. } => None,
        &Encoding::CharNgrams { dims, n_min, n_max } => {
            let mut row = Vec::new();
            NgramEncoder::new(NgramConfig::new(dims, n_min, n_max).ok()?).encode(text, &mut row);
            Some(row.into_iter().map(f64::from).collect())
        }
        Encoding::WordGrams(words) => {
            let mut encoder = WordEncoder::new(word_config(words).ok()?);
            let (mut spans, mut row) = (Vec::new(), Vec::new());
            encoder.split(text, &mut spans);
            let kept = encoder.config().words_max().min(spans.len());
            encoder.encode(text, &spans, kept, &mut row);
            // Ids are below 2^16.
            Some(row.into_iter().map(|id| id as f64).collect())
        }
    }
}
