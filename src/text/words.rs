//! Words of a text as hashed character n-grams.
//!
//! A word is a piece of the text as [`Split`] cuts it. Its plain form is Unicode NFKC, each character to lower case on
//! its own, each ASCII digit `0`. Its ids are, in this order and at most `grams` of them: the hash of `w` and the plain
//! form; of `s` and the shape, that is the first twelve characters of the word as written with `X` for upper case, `x`
//! for lower case, `0` for an ASCII digit; of `g` and each run of `n_min` to `n_max` characters of the plain form
//! between `<` and `>`, by start, then by length. A hash is 32-bit FNV-1a over UTF-8; its id is 1 + hash modulo
//! (`dims` - 1). Id 0 is padding. `models/train/words.py` is the twin for training.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::text::config::{Split, WordConfig};
use crate::text::hash::{FNV_START, follow, follow_char};

/// Characters of a shape. Longer ones are part numbers, which no two reports share.
const SHAPE_CHARS: usize = 12;

/// A piece of a text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordSpan {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// What did not fit into a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Words beyond the row.
    pub words: usize,
    /// Ids of words that have more than `grams`.
    pub grams: usize,
}

/// Turns texts into words and words into ids; owns the buffers, so that the steady state allocates nothing.
pub struct WordEncoder {
    config: WordConfig,
    /// The start of a word's plain form between `<` and `>`, as far as its grams can be ids.
    plain: Vec<char>,
}

impl WordEncoder {
    /// For words and rows of this shape.
    pub fn new(config: WordConfig) -> Self {
        let plain = Vec::with_capacity(config.grams() + usize::from(config.n_max()));
        Self { config, plain }
    }

    /// The shape of words and rows.
    pub fn config(&self) -> &WordConfig {
        &self.config
    }

    /// Fills `words` with the places of all words of `text`, in order.
    pub fn split(&self, text: &str, words: &mut Vec<WordSpan>) {
        split(text, self.config.split(), words);
    }

    /// Appends one row to `row`: the ids of `words` of `text`, `words_of_row` times `grams` of them.
    ///
    /// A text of more words than the longest row goes through in pieces: `words.chunks(config.words_max())`, each with
    /// its own `config.words_of_row(chunk.len())`. A classifier reads the first piece only.
    pub fn encode(&mut self, text: &str, words: &[WordSpan], words_of_row: usize, row: &mut Vec<i64>) -> Cut {
        let start = row.len();
        let mut cut = Cut { words: words.len().saturating_sub(words_of_row), grams: 0 };
        for (index, word) in words.iter().take(words_of_row).enumerate() {
            let word = text.get(word.start as usize..word.end as usize).unwrap_or_default();
            cut.grams += self.push_ids(word, row);
            row.resize(start + (index + 1) * self.config.grams(), 0);
        }
        row.resize(start + words_of_row * self.config.grams(), 0);
        cut
    }

    /// Appends the ids of one word, at most `grams`; returns how many more it has.
    fn push_ids(&mut self, word: &str, row: &mut Vec<i64>) -> usize {
        let modulus = self.config.dims() - 1;
        let mut push = |hash: u32| row.push(1 + i64::from(hash % modulus));
        let (whole, length) = self.read_plain(word);
        push(whole);
        push(word.chars().take(SHAPE_CHARS).map(shape).fold(follow(FNV_START, b"s"), follow_char));
        let mut room = self.config.grams().saturating_sub(2);
        let (n_min, n_max) = (usize::from(self.config.n_min()), usize::from(self.config.n_max()));
        for start in 0..self.plain.len() {
            let mut hash = follow(FNV_START, b"g");
            for (n, character) in (1..=n_max).zip(self.plain.get(start..).unwrap_or_default()) {
                hash = follow_char(hash, *character);
                if n < n_min {
                    continue;
                }
                if room == 0 {
                    let all: usize = (n_min..=n_max).map(|n| (length + 1).saturating_sub(n)).sum();
                    return all.saturating_sub(self.config.grams().saturating_sub(2));
                }
                push(hash);
                room -= 1;
            }
        }
        0
    }

    /// Keeps the start of the plain form of `word` between `<` and `>`; returns the hash of `w` and the whole plain
    /// form, and the number of its characters with `<` and `>`.
    fn read_plain(&mut self, word: &str) -> (u32, usize) {
        // No start of a gram behind the last id, and none of its characters behind that, is ever read.
        let kept = self.config.grams() + usize::from(self.config.n_max());
        let plain = &mut self.plain;
        plain.clear();
        plain.push('<');
        let (mut hash, mut length) = (follow(FNV_START, b"w"), 1);
        for character in word.nfkc().flat_map(char::to_lowercase) {
            let character = if character.is_ascii_digit() { '0' } else { character };
            hash = follow_char(hash, character);
            length += 1;
            if plain.len() < kept {
                plain.push(character);
            }
        }
        if plain.len() < kept {
            plain.push('>');
        }
        (hash, length + 1)
    }
}

/// The class of a character in a shape.
fn shape(character: char) -> char {
    if character.is_uppercase() {
        'X'
    } else if character.is_lowercase() {
        'x'
    } else if character.is_ascii_digit() {
        '0'
    } else {
        character
    }
}

/// What keeps neighbours in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    /// A word of its own.
    Sign,
    Run,
    Digits,
}

fn class(character: char, split: Split) -> Class {
    if character.is_whitespace() {
        return Class::Space;
    }
    match split {
        Split::Space => Class::Run,
        Split::Classes if character.is_ascii_digit() => Class::Digits,
        Split::Punctuation | Split::Classes => {
            if character.is_alphanumeric() || is_combining_mark(character) { Class::Run } else { Class::Sign }
        }
    }
}

/// Fills `words` with the places of the words of `text`. A place beyond 4 GiB is no place: no report is that long.
fn split(text: &str, split: Split, words: &mut Vec<WordSpan>) {
    words.clear();
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let (mut before, mut start) = (Class::Space, 0);
    for (at, character) in text.char_indices() {
        let now = class(character, split);
        if now == before && now != Class::Sign {
            continue;
        }
        if before != Class::Space {
            words.push(WordSpan { start: place(start), end: place(at) });
        }
        (before, start) = (now, at);
    }
    if before != Class::Space {
        words.push(WordSpan { start: place(start), end: place(text.len()) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoder(by: Split, grams: u8) -> WordEncoder {
        WordEncoder::new(WordConfig::new(by, 8192, (3, 4), grams, &[4, 8]).unwrap())
    }

    fn words_of(text: &str, by: Split) -> Vec<&str> {
        let mut words = Vec::new();
        split(text, by, &mut words);
        words.iter().map(|word| &text[word.start as usize..word.end as usize]).collect()
    }

    fn id(text: &str) -> i64 {
        1 + i64::from(follow(FNV_START, text.as_bytes()) % 8191)
    }

    #[test]
    fn each_split_cuts_where_it_says() {
        let text = "1000H hyd.\u{a0}hose 3/4\" e\u{301}t\u{e9} --";
        assert_eq!(words_of(text, Split::Space), ["1000H", "hyd.", "hose", "3/4\"", "e\u{301}t\u{e9}", "--"]);
        let parts = ["1000H", "hyd", ".", "hose", "3", "/", "4", "\"", "e\u{301}t\u{e9}", "-", "-"];
        assert_eq!(words_of(text, Split::Punctuation), parts);
        let parts = ["1000", "H", "hyd", ".", "hose", "3", "/", "4", "\"", "e\u{301}t\u{e9}", "-", "-"];
        assert_eq!(words_of(text, Split::Classes), parts);
        for by in [Split::Space, Split::Punctuation, Split::Classes] {
            assert!(words_of("", by).is_empty() && words_of(" \t\u{3000}", by).is_empty());
        }
    }

    #[test]
    fn a_word_is_its_plain_form_its_shape_and_its_grams() {
        let mut row = Vec::new();
        let mut encoder = encoder(Split::Space, 8);
        let text = "Ab7";
        let mut words = Vec::new();
        encoder.split(text, &mut words);
        assert_eq!(encoder.encode(text, &words, 2, &mut row), Cut::default());
        let ids = ["wab0", "sXx0", "g<ab", "g<ab0", "gab0", "gab0>", "gb0>"].map(id);
        assert_eq!(row, [&ids[..], &[0; 9]].concat());
    }

    #[test]
    fn what_does_not_fit_is_cut_and_counted() {
        let mut encoder = encoder(Split::Space, 5);
        let text = "Ab7 x y z a";
        let (mut words, mut row) = (Vec::new(), Vec::new());
        encoder.split(text, &mut words);
        assert_eq!(encoder.encode(text, &words, 4, &mut row), Cut { words: 1, grams: 2 });
        assert_eq!(row.len(), 20);
        // A long word: of its characters only the start is kept.
        let long = "x".repeat(1000);
        encoder.split(&long, &mut words);
        // "<" + 1000 + ">": 1000 grams of three and 999 of four, of which three are ids.
        assert_eq!(encoder.encode(&long, &words, 1, &mut row), Cut { words: 0, grams: 1996 });
        assert_eq!(row.len(), 25, "rows are appended");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn words_are_in_order_without_space_and_cover_all_else(text in any::<String>()) {
            for by in [Split::Space, Split::Punctuation, Split::Classes] {
                let found = words_of(&text, by);
                prop_assert!(found.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace)));
                prop_assert_eq!(found.concat(), text.split_whitespace().collect::<String>());
            }
        }

        #[test]
        fn every_row_is_whole_and_every_id_is_in_the_table(text in any::<String>(), words_of_row in 1_usize..9) {
            let mut encoder = encoder(Split::Classes, 6);
            let (mut words, mut row) = (Vec::new(), Vec::new());
            encoder.split(&text, &mut words);
            let cut = encoder.encode(&text, &words, words_of_row, &mut row);
            prop_assert_eq!(row.len(), words_of_row * 6);
            prop_assert!(row.iter().all(|id| (0..8192).contains(id)));
            let filled = row.chunks(6).filter(|ids| ids[0] > 0).count();
            prop_assert_eq!(filled + cut.words, words.len());
        }
    }
}
