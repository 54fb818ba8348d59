//! Hashed character n-grams of a text.
//!
//! The text is normalised: Unicode NFKC; each character to lower case on its own; each run of ASCII digits to one
//! `0`; each run of white space (Unicode `White_Space`) to one space; no space at either end. Unless nothing is left,
//! it gets one space on both sides. Each run of `n_min` to `n_max` characters is a gram; its place in the vector is
//! its 32-bit FNV-1a hash over UTF-8, modulo `dims`. An entry hit `c` times is `1 + ln c`; the vector is then scaled
//! to length 1.

use unicode_normalization::UnicodeNormalization;

use crate::text::config::NgramConfig;
use crate::text::hash::{FNV_START, follow_char};

/// Turns texts into vectors; owns the buffers, so that the steady state allocates nothing.
pub struct NgramEncoder {
    config: NgramConfig,
    text: String,
    /// One per entry of the vector; all zero between calls.
    counts: Vec<u32>,
    /// Entries hit by the text at hand.
    hit: Vec<u32>,
}

impl NgramEncoder {
    /// With buffers for the width of the vector.
    pub fn new(config: NgramConfig) -> Self {
        Self { config, text: String::new(), counts: vec![0; config.dims() as usize], hit: Vec::new() }
    }

    /// Fills `out` with the `dims` entries of the vector: length 1, or all zero for a text without characters.
    pub fn encode(&mut self, text: &str, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.counts.len(), 0.0);
        self.for_each_entry(text, |index, value| {
            if let Some(slot) = out.get_mut(index as usize) {
                *slot = value;
            }
        });
    }

    /// Fills `out` with the entries that are not zero, by rising index.
    pub fn encode_sparse(&mut self, text: &str, out: &mut Vec<(u32, f32)>) {
        out.clear();
        self.for_each_entry(text, |index, value| out.push((index, value)));
    }

    fn for_each_entry(&mut self, text: &str, mut entry: impl FnMut(u32, f32)) {
        normalise(text, &mut self.text);
        self.count();
        self.hit.sort_unstable();
        let weight = |count: u32| 1.0 + f64::from(count).ln();
        let mut squares = 0.0;
        for &index in &self.hit {
            let count = self.counts.get(index as usize).copied().unwrap_or(1);
            squares += weight(count) * weight(count);
        }
        let length = squares.sqrt();
        for &index in &self.hit {
            let Some(count) = self.counts.get_mut(index as usize) else { continue };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most 1, rounded to the width of the models"
            )]
            entry(index, (weight(*count) / length) as f32);
            *count = 0;
        }
        self.hit.clear();
    }

    /// Counts the grams of the normalised text. The hash of a gram continues that of the gram one character shorter.
    fn count(&mut self) {
        let mask = self.config.dims() - 1;
        for (start, _) in self.text.char_indices() {
            let mut hash = FNV_START;
            let rest = self.text.get(start..).unwrap_or_default();
            for (length, character) in (1..=self.config.n_max()).zip(rest.chars()) {
                hash = follow_char(hash, character);
                if length < self.config.n_min() {
                    continue;
                }
                let index = hash & mask;
                if let Some(count) = self.counts.get_mut(index as usize) {
                    if *count == 0 {
                        self.hit.push(index);
                    }
                    *count += 1;
                }
            }
        }
    }
}

/// Writes the normalised text with its two spaces to `out`; nothing if no character is left.
pub(in crate::text) fn normalise(text: &str, out: &mut String) {
    out.clear();
    out.push(' ');
    for character in text.nfkc().flat_map(char::to_lowercase) {
        let last = out.chars().next_back();
        if character.is_whitespace() {
            if last != Some(' ') {
                out.push(' ');
            }
        } else if !character.is_ascii_digit() {
            out.push(character);
        } else if last != Some('0') {
            out.push('0');
        }
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    if out.len() == 1 {
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoder(dims: u32, n_min: u8, n_max: u8) -> NgramEncoder {
        NgramEncoder::new(NgramConfig::new(dims, n_min, n_max).unwrap())
    }

    #[test]
    fn a_text_is_normalised_before_it_is_cut() {
        for (text, expect) in [
            ("", ""),
            (" \t\r\n\u{a0}\u{2003}", ""),
            ("Pump  LEAKS", " pump leaks "),
            ("\n 6,5 bar at 14:07 ", " 0,0 bar at 0:0 "),
            ("007", " 0 "),
            ("0 0", " 0 0 "),
            ("\u{fb01}lter \u{b2}\u{2460}", " filter 0 "),
            ("ΟΔΟΣ", " οδοσ "),
            ("\u{130}", " i\u{307} "),
            ("\u{666}", " \u{666} "),
        ] {
            let mut out = String::from("left over");
            normalise(text, &mut out);
            assert_eq!(out, expect, "{text:?}");
        }
    }

    #[test]
    fn a_gram_lands_at_its_fnv_hash() {
        // Published test vectors of FNV-1a: "a" is e40c292c, "foobar" is bf9cf968.
        for (text, hash) in [("a", 0xe40c_292c_u32), ("foobar", 0xbf9c_f968)] {
            let mut encoder = encoder(1 << 20, 1, 8);
            let mut sparse = Vec::new();
            encoder.encode_sparse(text, &mut sparse);
            let index = hash & ((1 << 20) - 1);
            assert!(sparse.iter().any(|(own, _)| *own == index), "{text}");
        }
    }

    #[test]
    fn counts_are_dampened_and_the_vector_has_length_one() {
        let mut encoder = encoder(1 << 16, 1, 1);
        let mut sparse = Vec::new();
        encoder.encode_sparse("aaab", &mut sparse);
        // Two spaces, three a, one b.
        let raw = [1.0 + 2.0_f32.ln(), 1.0 + 3.0_f32.ln(), 1.0];
        let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
        let mut expect = raw.map(|value| value / length);
        let mut values: Vec<f32> = sparse.iter().map(|(_, value)| *value).collect();
        values.sort_by(f32::total_cmp);
        expect.sort_by(f32::total_cmp);
        assert_eq!(values.len(), 3);
        assert!(values.iter().zip(expect).all(|(own, expect)| (own - expect).abs() < 1e-6));
    }

    #[test]
    fn nothing_of_a_text_is_left_for_the_next() {
        let mut used = encoder(256, 1, 4);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        used.encode("hydraulic pump leaks badly", &mut first);
        used.encode("seal worn", &mut first);
        encoder(256, 1, 4).encode("seal worn", &mut second);
        assert_eq!(first, second);
        used.encode("  ", &mut first);
        assert!(first.len() == 256 && first.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn the_sparse_form_is_the_dense_form_without_zeros() {
        let mut encoder = encoder(1024, 2, 5);
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        encoder.encode("Bearing 6205 überhitzt", &mut dense);
        encoder.encode_sparse("Bearing 6205 überhitzt", &mut sparse);
        let kept: Vec<(u32, f32)> = (0..).zip(dense).filter(|(_, value)| *value > 0.0).collect();
        assert_eq!(sparse, kept);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_text_gives_a_vector_of_length_one_or_nothing(text in any::<String>()) {
            let mut sparse = Vec::new();
            encoder(256, 1, 4).encode_sparse(&text, &mut sparse);
            let length: f32 = sparse.iter().map(|(_, value)| value * value).sum();
            prop_assert!(sparse.iter().all(|(index, value)| *index < 256 && *value > 0.0));
            prop_assert!(sparse.is_sorted_by(|(left, _), (right, _)| left < right));
            let blank = text.nfkc().all(char::is_whitespace);
            let expect = if blank { 0.0 } else { 1.0 };
            prop_assert!((length - expect).abs() < 1e-4);
        }

        #[test]
        fn case_spacing_and_numbers_do_not_change_the_vector(words in "[a-z ]{0,20}", n in 0_u64.., m in 0_u64..) {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let mut encoder = encoder(1024, 1, 4);
            encoder.encode(&format!("{words} {n}"), &mut first);
            encoder.encode(&format!("\t{}\r\n{m} ", words.to_uppercase()), &mut second);
            prop_assert_eq!(first, second);
        }
    }
}
