//! `[input]` of a manifest: features and their normalisation, or how a report becomes numbers.

use std::ops::RangeInclusive;

use crate::flow::StreamKind;
use crate::infer::manifest::faults::{Faults, found, shortened_list};
use crate::infer::manifest::raw::{RawEncoder, RawInput};
use crate::infer::manifest::{Encoding, InputLayout, Normalisation, Quantisation, WordGrams, WordSplit};
use crate::infer::tensor::Dtype;

/// Channels a model may refer to: as many as a stream may have.
const CHANNELS_MAX: usize = 1024;
/// Features a model may ask for: four times the widest layout of ours.
const FEATURES_MAX: usize = 4096;
/// Length of the n-gram vector: 64 Ki floats are 256 KiB of input per report. Ids of words: as many rows of a table.
const DIMS_MAX: u32 = 1 << 16;
/// Ids of one word: its own, that of its shape and one n-gram at least; a word of 24 letters has 45 of three and four.
const GRAMS: RangeInclusive<usize> = 3..=64;
/// Characters of the longest n-gram: beyond eight almost every one of a report is unique.
pub(crate) const GRAM_MAX: u8 = 8;
/// Lengths of rows: each is a plan of its own in memory.
const LENGTHS_MAX: usize = 8;
/// Words of one row; longer reports go through in pieces. With all its ids 256 KiB of input.
const WORDS_MAX: usize = 512;
/// Share of a window that must be real where the manifest does not say.
const MIN_COMPLETENESS: f32 = 0.5;
/// Clip where the manifest does not say: eight standard deviations.
const CLIP: f32 = 8.0;

/// `[input]`.
pub(crate) fn input(kind: StreamKind, raw: RawInput, faults: &mut Faults) -> InputLayout {
    let tensor = faults.name("input.tensor", raw.tensor.clone());
    let min_completeness =
        faults.number("input.min_completeness", raw.min_completeness, (0.0, 1.0), Some(MIN_COMPLETENESS));
    let encoding = match kind {
        StreamKind::Sensor => {
            if raw.encoder.is_some() {
                faults.push("input.encoder", "is set", "only where kind is report");
            }
            features(raw, faults)
        }
        StreamKind::Report => {
            for (key, is_set) in [
                ("features", raw.features.is_some()),
                ("channels", raw.channels.is_some()),
                ("mean", raw.mean.is_some()),
                ("std", raw.std.is_some()),
                ("dtype", raw.dtype.is_some()),
            ] {
                if is_set {
                    faults.push(&format!("input.{key}"), "is set", "only where kind is sensor");
                }
            }
            encoder(raw.encoder.unwrap_or_default(), faults)
        }
    };
    InputLayout { tensor, encoding, min_completeness }
}

fn features(raw: RawInput, faults: &mut Faults) -> Encoding {
    let channels = faults.distinct("input.channels", raw.channels.unwrap_or_default(), (1, CHANNELS_MAX));
    let features = faults.distinct("input.features", raw.features.unwrap_or_default(), (1, FEATURES_MAX));
    let mean = raw.mean.unwrap_or_default();
    let std = raw.std.unwrap_or_default();
    for (key, column, low) in [("input.mean", &mean, f32::MIN), ("input.std", &std, f32::MIN_POSITIVE)] {
        if column.len() != features.len() {
            faults.push(
                key,
                format!("{} numbers", column.len()),
                format!("one per feature: {}", features.len()),
            );
        }
        if let Some(index) = column.iter().position(|value| !(low..=f32::MAX).contains(value)) {
            let allowed = if low > 0.0 { "a finite number above 0" } else { "a finite number" };
            faults.push(&format!("{key}[{index}]"), format!("{:?}", column.get(index)), allowed);
        }
    }
    let clip = faults.number("input.clip", raw.clip, (1.0, 1000.0), Some(CLIP));
    let dtype = match raw.dtype.as_deref() {
        None | Some("f32") => None,
        Some("i8") => Some((Dtype::I8, (-128, 127))),
        Some("u8") => Some((Dtype::U8, (0, 255))),
        other => {
            faults.push("input.dtype", found(other), "f32, i8, u8");
            None
        }
    };
    let quantisation = dtype.map(|(dtype, (low, high))| {
        let scale = faults.number("input.scale", raw.scale, (f32::MIN_POSITIVE, 1e6), None);
        let zero = raw.zero.unwrap_or(0);
        if !(low..=high).contains(&zero) {
            faults.push("input.zero", zero.to_string(), format!("{low} to {high}"));
        }
        Quantisation { dtype, scale, zero }
    });
    Encoding::Features { channels, features, normalisation: Normalisation { mean, std, clip }, quantisation }
}

fn encoder(raw: RawEncoder, faults: &mut Faults) -> Encoding {
    match raw.r#type.as_deref() {
        Some("char-ngrams") => {
            let dims = raw.dims.unwrap_or(0);
            if !dims.is_power_of_two() || !(16..=DIMS_MAX).contains(&dims) {
                let allowed = format!("a power of two from 16 to {DIMS_MAX}");
                faults.push("input.encoder.dims", dims.to_string(), allowed);
            }
            let (n_min, n_max) = gram_lengths(&raw, faults);
            Encoding::CharNgrams { dims, n_min, n_max }
        }
        Some("word-grams") => Encoding::WordGrams(word_grams(raw, faults)),
        other => {
            faults.push("input.encoder.type", found(other), "char-ngrams, word-grams");
            Encoding::CharNgrams { dims: 16, n_min: 1, n_max: 1 }
        }
    }
}

/// Shortest and longest n-gram.
fn gram_lengths(raw: &RawEncoder, faults: &mut Faults) -> (u8, u8) {
    let (n_min, n_max) = (raw.n_min.unwrap_or(0), raw.n_max.unwrap_or(0));
    if n_min == 0 || n_min > n_max || n_max > GRAM_MAX {
        let wrong = format!("n_min {n_min}, n_max {n_max}");
        faults.push("input.encoder", wrong, format!("1 <= n_min <= n_max <= {GRAM_MAX}"));
    }
    (n_min, n_max)
}

fn word_grams(raw: RawEncoder, faults: &mut Faults) -> WordGrams {
    let split = match raw.split.as_deref() {
        Some("space") => WordSplit::Space,
        Some("punctuation") => WordSplit::Punctuation,
        Some("classes") => WordSplit::Classes,
        other => {
            faults.push("input.encoder.split", found(other), "space, punctuation, classes");
            WordSplit::Space
        }
    };
    let dims = raw.dims.unwrap_or(0);
    if !(16..=DIMS_MAX).contains(&dims) {
        faults.push("input.encoder.dims", dims.to_string(), format!("16 to {DIMS_MAX}"));
    }
    let (n_min, n_max) = gram_lengths(&raw, faults);
    let grams = raw.grams.unwrap_or(0);
    if !GRAMS.contains(&grams) {
        let allowed = format!("{} to {} ids of a word", GRAMS.start(), GRAMS.end());
        faults.push("input.encoder.grams", grams.to_string(), allowed);
    }
    let lengths = raw.lengths.unwrap_or_default();
    let ascending = lengths.windows(2).all(|pair| pair.first() < pair.last());
    let fit = lengths.iter().all(|length| (1..=WORDS_MAX).contains(length));
    if lengths.is_empty() || lengths.len() > LENGTHS_MAX || !ascending || !fit {
        let allowed = format!("1 to {LENGTHS_MAX} ascending numbers of words from 1 to {WORDS_MAX}");
        faults.push("input.encoder.lengths", format!("{:?}", shortened_list(&lengths)), allowed);
    }
    WordGrams { split, dims, n_min, n_max, grams, lengths }
}
