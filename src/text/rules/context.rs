//! The word in front of a number that says what it is.

/// Words that may stand between the telling word and the number: "call me at", "number is".
const FILLERS: &[&str] = &[
    "at", "be", "her", "him", "is", "me", "my", "no", "nr", "num", "number", "numbers", "on", "the", "to",
    "us", "was",
];

/// The most words looked back.
const WORDS_BACK: usize = 4;

/// The most characters between two words, and the most in a word.
const GAP_CHARS: usize = 4;
const WORD_CHARS: usize = 16;

/// Whether one of `words` stands before byte `at`, on the same line, with nothing but fillers between.
pub(in crate::text::rules) fn follows(text: &str, at: usize, words: &[&str]) -> bool {
    let among = |list: &[&str], word: &str| list.iter().any(|own| own.eq_ignore_ascii_case(word));
    let mut rest = text.get(..at).unwrap_or_default();
    for _ in 0..WORDS_BACK {
        let Some((before, word)) = last_word(rest) else { return false };
        if among(words, word) {
            return true;
        }
        if !among(FILLERS, word) {
            return false;
        }
        rest = before;
    }
    false
}

/// The last word of `text` and what is before it; none if too much stands behind it.
fn last_word(text: &str) -> Option<(&str, &str)> {
    let gap = text.char_indices().rev().take(GAP_CHARS + 1);
    let end = gap
        .take_while(|(_, character)| *character != '\n')
        .find(|(_, character)| character.is_alphanumeric())
        .map(|(at, character)| at + character.len_utf8())?;
    let upto = text.get(..end)?;
    let letters = upto.char_indices().rev().take(WORD_CHARS).take_while(|(_, own)| own.is_alphanumeric());
    let start = letters.last().map(|(at, _)| at)?;
    Some((upto.get(..start)?, upto.get(start..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_word_may_be_followed_by_fillers_only() {
        for (text, expect) in [
            ("Phone: ", true),
            ("phone ", true),
            ("PHONE no. ", true),
            ("my phone number is ", true),
            ("phone of the pump ", false),
            ("megaphone ", false),
            ("phone\n", false),
            ("phone        ", false),
            ("", false),
            ("no no no no no no ", false),
            ("télé", false),
        ] {
            assert_eq!(follows(text, text.len(), &["phone"]), expect, "{text:?}");
        }
    }
}
