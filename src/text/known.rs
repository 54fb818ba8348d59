//! Share of a text's character n-grams that were seen in training.
//!
//! The text is normalised as for [`crate::text::NgramEncoder`]. A gram is known if the bit at the 32-bit FNV-1a hash of
//! `k` and the gram, modulo the number of bits, is set: bit `i` at byte `i / 8`, value `1 << i % 8`. A text shorter than
//! a gram is one gram. `models/train/words.py` is the twin that writes the bits.

use crate::text::config::{GRAM_MAX, KNOWN_BYTES, TextError};
use crate::text::hash::{FNV_START, follow, follow_char};
use crate::text::ngrams::normalise;

/// The n-grams of the texts a model was trained on.
pub struct KnownGrams {
    bits: Vec<u8>,
    n: usize,
    text: String,
}

impl KnownGrams {
    /// `bits` as in the file, for grams of `n` characters.
    ///
    /// # Errors
    /// If there are not 2^k bytes from 16 to 65,536, or `n` is 0 or above [`GRAM_MAX`].
    pub fn new(bits: Vec<u8>, n: u8) -> Result<Self, TextError> {
        if !bits.len().is_power_of_two() || !KNOWN_BYTES.contains(&bits.len()) {
            return Err(TextError::KnownBytes { bytes: bits.len() });
        }
        if !(1..=GRAM_MAX).contains(&n) {
            return Err(TextError::KnownLength { n });
        }
        Ok(Self { bits, n: usize::from(n), text: String::new() })
    }

    /// Known grams of `text` through all its grams, from 0 to 1.
    pub fn share(&mut self, text: &str) -> f32 {
        normalise(text, &mut self.text);
        let (mut known, mut all) = (0_u32, 0_u32);
        for (start, _) in self.text.char_indices() {
            let rest = self.text.get(start..).unwrap_or_default();
            let (mut hash, mut length) = (follow(FNV_START, b"k"), 0);
            for character in rest.chars().take(self.n) {
                hash = follow_char(hash, character);
                length += 1;
            }
            if length < self.n && all > 0 {
                break;
            }
            all += 1;
            known += u32::from(self.is_known(hash));
        }
        if all == 0 {
            // Nothing but white space: one gram, the empty one.
            return if self.is_known(follow(FNV_START, b"k")) { 1.0 } else { 0.0 };
        }
        known as f32 / all as f32
    }

    fn is_known(&self, hash: u32) -> bool {
        let bit = hash as usize & (self.bits.len() * 8 - 1);
        self.bits.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(texts: &[&str], n: usize) -> Vec<u8> {
        let mut bits = vec![0; 8192];
        for text in texts {
            let mut plain = String::new();
            normalise(text, &mut plain);
            let plain: Vec<char> = plain.chars().collect();
            for gram in plain.windows(n.min(plain.len()).max(1)) {
                let hash = gram.iter().copied().fold(follow(FNV_START, b"k"), follow_char) % (8192 * 8);
                bits[hash as usize / 8] |= 1 << (hash % 8);
            }
        }
        bits
    }

    #[test]
    fn the_share_is_that_of_grams_seen_before() {
        let mut known = KnownGrams::new(seen(&["hydraulic pump leaks", "a"], 4), 4).unwrap();
        assert_eq!(known.share("Pump  LEAKS").to_bits(), 1.0_f32.to_bits());
        // Of " pum", "pump", "umps" and "mps " two.
        assert!((known.share("pumps") - 0.5).abs() < 1e-6);
        assert_eq!(known.share("A").to_bits(), 1.0_f32.to_bits(), "a text shorter than a gram is one gram");
        assert_eq!(known.share("b").to_bits(), 0.0_f32.to_bits());
        assert_eq!(known.share("").to_bits(), 0.0_f32.to_bits());
        assert_eq!(known.share("zebra crossing").to_bits(), 0.0_f32.to_bits());
    }

    #[test]
    fn only_a_power_of_two_of_bits_is_taken() {
        for (bytes, n, taken) in [
            (16, 4, true),
            (65_536, 8, true),
            (8, 4, false),
            (24, 4, false),
            (131_072, 4, false),
            (16, 0, false),
        ] {
            assert_eq!(KnownGrams::new(vec![0; bytes], n).is_ok(), taken, "{bytes} {n}");
        }
        assert!(KnownGrams::new(vec![0; 16], GRAM_MAX + 1).is_err());
    }
}
