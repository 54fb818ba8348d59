//! Payment card numbers (ISO/IEC 7812): the Luhn check digit, and prefix and length of an issuer or the word in front.
//!
//! Issuers come and go, so behind a word like *card* any prefix will do.

use std::ops::RangeInclusive;

use crate::text::rules::context::follows;
use crate::text::rules::reader::{Reader, digit, number};

/// An issuer: the first and last of its prefixes, of equal length, and the lengths of its numbers.
struct Issuer(&'static str, &'static str, RangeInclusive<usize>);

const ISSUERS: &[Issuer] = &[
    // JCB
    Issuer("1800", "1800", 15..=15),
    Issuer("2131", "2131", 15..=15),
    Issuer("3528", "3589", 16..=19),
    // Mir
    Issuer("2200", "2204", 16..=19),
    // Mastercard
    Issuer("2221", "2720", 16..=16),
    Issuer("51", "55", 16..=16),
    // Diners Club
    Issuer("300", "305", 14..=14),
    Issuer("3095", "3095", 14..=14),
    Issuer("36", "36", 14..=14),
    Issuer("38", "39", 14..=14),
    // American Express
    Issuer("34", "34", 15..=15),
    Issuer("37", "37", 15..=15),
    // Visa
    Issuer("4", "4", 13..=13),
    Issuer("4", "4", 16..=16),
    Issuer("4", "4", 19..=19),
    // Maestro
    Issuer("50", "50", 12..=19),
    Issuer("56", "58", 12..=19),
    Issuer("6304", "6304", 12..=19),
    Issuer("6390", "6390", 12..=19),
    Issuer("67", "67", 12..=19),
    // Discover, RuPay, UnionPay
    Issuer("60", "60", 16..=19),
    Issuer("62", "62", 16..=19),
    Issuer("644", "649", 16..=19),
    Issuer("65", "65", 16..=19),
    Issuer("81", "82", 16..=16),
    // Troy
    Issuer("9792", "9792", 16..=16),
];

/// How numbers are grouped on cards, the longest first.
const GROUPS: &[&[usize]] = &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Words before a card number.
const TELLING: &[&str] = &["amex", "card", "cc", "creditcard", "debit", "mastercard", "pan", "visa"];

/// Digits of the shortest and the longest number.
const DIGITS_MIN: usize = 12;
const DIGITS_MAX: usize = 19;

/// The end of the number that starts at `start`, in one piece or in the groups of a card.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let reader = Reader::new(text, start);
    if !reader.peek()?.is_ascii_digit() || !reader.starts_number() {
        return None;
    }
    let mut whole = reader;
    let digits = whole.digits(DIGITS_MAX + 1);
    let told = || follows(text, start, TELLING);
    if whole.ends_number() && is_card(digits, told) {
        return Some(whole.at());
    }
    GROUPS.iter().find_map(|groups| grouped(reader, groups, told))
}

/// The end of a number in these groups, with a space or a hyphen between all of them.
fn grouped(mut reader: Reader<'_>, groups: &[usize], told: impl Fn() -> bool) -> Option<usize> {
    let mut digits = heapless::Vec::<u8, DIGITS_MAX>::new();
    let mut separator = None;
    for (index, length) in groups.iter().enumerate() {
        if index > 0 {
            let found = reader.take_if(|byte| matches!(byte, b' ' | b'-'))?;
            if *separator.get_or_insert(found) != found {
                return None;
            }
        }
        let group = reader.digits(*length);
        if group.len() < *length {
            return None;
        }
        digits.extend_from_slice(group).ok()?;
    }
    (reader.ends_number() && is_card(&digits, told)).then_some(reader.at())
}

fn is_card(digits: &[u8], told: impl Fn() -> bool) -> bool {
    let issued = |issuer: &Issuer| {
        let Issuer(first, last, lengths) = issuer;
        let range = number(first.as_bytes())..=number(last.as_bytes());
        let prefix = digits.get(..first.len()).map(number);
        lengths.contains(&digits.len()) && prefix.is_some_and(|prefix| range.contains(&prefix))
    };
    let lengths = DIGITS_MIN..=DIGITS_MAX;
    lengths.contains(&digits.len()) && luhn(digits) == 0 && (ISSUERS.iter().any(issued) || told())
}

/// The sum of Luhn (ISO/IEC 7812-1, annex B) modulo 10: 0 if the check digit is right.
fn luhn(digits: &[u8]) -> u32 {
    let weigh = |(place, byte): (usize, &u8)| match (place % 2, digit(*byte)) {
        (0, value) => value,
        (_, value @ 0..=4) => 2 * value,
        (_, value) => 2 * value - 9,
    };
    digits.iter().rev().enumerate().map(weigh).sum::<u32>() % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_an_issuer_its_length_and_its_check_digit() {
        for text in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "3056 930902 5904",
            "6011111111111117",
            "3530111333300000",
            "6759649826438453",
            "4222222222222",
            "4064557646766436702",
        ] {
            assert_eq!(find(text, 0), Some(text.len()), "{text}");
        }
        for text in [
            "4111111111111112",
            "411111111111111",
            "41111111111111111",
            "4111 1111-1111 1111",
            "41 11 11 11 11 11 11 11",
            "4111111111111111.5",
            "4111111111111111x",
            "1111111111111117",
            "0000000000000000",
            "9074729",
        ] {
            assert_eq!(find(text, 0), None, "{text}");
        }
        assert_eq!(find("0.4111111111111111", 2), None);
        assert_eq!(find("card number: 1111111111111117", 13), Some(29));
        assert_eq!(find("card number: 1111111111111118", 13), None);
        let text = "4111 1111 1111 1111 12/27";
        assert_eq!(find(text, 0), Some(19));
    }
}
