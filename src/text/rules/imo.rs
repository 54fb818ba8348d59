//! IMO ship numbers (resolution A.1117(30)): the letters IMO and seven digits, the last of which checks the others.
//!
//! Without the letters every tenth number of seven digits would be one, so they are asked for.

use crate::text::rules::reader::{Reader, digit};

/// What may stand between the letters and the digits.
const WORDS: [&str; 4] = ["number", "no", "nr", "num"];

/// The end of the number that starts with its letters at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader::new(text, start);
    if !reader.take_text("imo") || !Reader::new(text, start).starts_word() {
        return None;
    }
    let sign = |byte| matches!(byte, b' ' | b'-' | b':' | b'.' | b'#' | b'_' | b'=');
    let gap = reader.take_while(3, sign);
    if !gap.is_empty() && WORDS.iter().any(|word| reader.take_text(word)) {
        reader.take_while(3, sign);
    }
    let digits = reader.digits(8);
    let [rest @ .., check] = digits else { return None };
    let sum: u32 = rest.iter().zip((2..=7).rev()).map(|(byte, weight)| digit(*byte) * weight).sum();
    let right = rest.len() == 6 && sum % 10 == digit(*check) && sum > 0;
    (right && reader.ends_word()).then_some(reader.at())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_its_letters_and_its_check_digit() {
        for text in [
            "IMO 9074729",
            "IMO9074729",
            "imo: 9074729",
            "IMO-9176187",
            "IMO No. 9074729",
            "IMO number: 9074729",
        ] {
            assert_eq!(find(text, 0), Some(text.len()), "{text}");
        }
        for text in [
            "IMO 9074728",
            "IMO 907472",
            "IMO 90747290",
            "9074729",
            "IMO 9074729x",
            "IMO A.1117(30)",
            "IMO 0000000",
            "IMO",
        ] {
            assert_eq!(find(text, 0), None, "{text}");
        }
        assert_eq!(find("ximo 9074729", 1), None);
    }
}
