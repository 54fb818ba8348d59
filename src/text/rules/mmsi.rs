//! Maritime mobile service identities (ITU-R M.585): nine digits with a country code where their form has it.
//!
//! They have no check digit, and four of ten numbers of nine digits have the form, so the word MMSI is asked for, before
//! or right behind the number. Country codes (MID) are taken by the ranges given to the continents: new ones are added
//! within them.

use crate::text::rules::context::follows;
use crate::text::rules::reader::{Reader, number};

/// Country codes of Europe, North America, Asia, Oceania, Africa and South America.
const COUNTRIES: [std::ops::RangeInclusive<u32>; 6] =
    [201..=279, 301..=379, 401..=478, 501..=578, 601..=679, 701..=775];

/// What stands before the country code: nothing (ship), group, coast station, aircraft, handheld radio, craft of a
/// parent ship, aid to navigation.
const PREFIXES: [&[u8]; 7] = [b"", b"0", b"00", b"111", b"8", b"98", b"99"];

/// Starts of distress transmitters, which have no country code.
const DISTRESS: [&[u8]; 3] = [b"970", b"972", b"974"];

/// The end of the number that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader::new(text, start);
    if !reader.peek()?.is_ascii_digit() || !reader.starts_number() {
        return None;
    }
    let digits = reader.digits(10);
    let end = reader.at();
    if digits.len() != 9 || !reader.ends_number() || !has_form(digits) {
        return None;
    }
    reader.take_while(2, |byte| matches!(byte, b' ' | b'('));
    let named = (reader.at() > end && reader.take_text("mmsi")) || follows(text, start, &["mmsi"]);
    named.then_some(end)
}

fn has_form(digits: &[u8]) -> bool {
    let country = |prefix: &&[u8]| {
        let code = digits.strip_prefix(*prefix).and_then(|rest| rest.get(..3)).map(number);
        code.is_some_and(|code| COUNTRIES.iter().any(|range| range.contains(&code)))
    };
    PREFIXES.iter().any(country) || DISTRESS.iter().any(|start| digits.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::rules::reader::first;

    fn found(text: &str) -> Option<&str> {
        first(text, find)
    }

    #[test]
    fn a_number_needs_its_form_and_the_word() {
        for (text, expect) in [
            ("MMSI 257123456", "257123456"),
            ("mmsi: 257123456.", "257123456"),
            ("MMSI number is 002570300", "002570300"),
            ("MMSI=992571234", "992571234"),
            ("vessel 257123456 (MMSI)", "257123456"),
            ("MMSI 970123456", "970123456"),
        ] {
            assert_eq!(found(text), Some(expect), "{text}");
        }
        for text in [
            "257123456",
            "serial 257123456",
            "MMSI 157123456",
            "MMSI 25712345",
            "MMSI 2571234567",
            "MMSI 257123456-7",
            "MMSI of the ship next to pump 257123456",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
