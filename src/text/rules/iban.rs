//! International bank account numbers (ISO 13616): length of the country and check digits modulo 97.

use crate::text::rules::reader::Reader;

/// Countries of the registry and the length of their numbers.
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Characters of a group on paper.
const GROUP: usize = 4;

/// The end of the number that starts at `start`, in one piece or in groups of four.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader::new(text, start);
    let country =
        [reader.take_if(|b| b.is_ascii_alphabetic())?, reader.take_if(|b| b.is_ascii_alphabetic())?];
    let check = reader.digits(2);
    if check.len() < 2 || !Reader::new(text, start).starts_word() {
        return None;
    }
    let country = country.map(|letter| letter.to_ascii_uppercase());
    let (_, length) = LENGTHS.iter().find(|(own, _)| **own == country)?;
    let mut rest = 0;
    for read in GROUP..*length {
        if read % GROUP == 0 {
            reader.take(b' ');
        }
        rest = append(rest, reader.take_if(|byte| byte.is_ascii_alphanumeric())?);
    }
    let all = country.iter().chain(check).fold(rest, |sum, byte| append(sum, *byte));
    (all == 1 && reader.ends_word()).then_some(reader.at())
}

/// The remainder modulo 97 of a number followed by a digit, or by a letter as the two digits 10 to 35.
fn append(sum: u32, byte: u8) -> u32 {
    let value = char::from(byte).to_digit(36).unwrap_or(0);
    (sum * if value < 10 { 10 } else { 100 } + value) % 97
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_its_length_and_its_check_digits() {
        for text in [
            "GB82WEST12345698765432",
            "GB82 WEST 1234 5698 7654 32",
            "gb82west12345698765432",
            "DE89370400440532013000",
            "NO9386011117947",
            "NO93 8601 1117 947",
            "FR1420041010050500013M02606",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert_eq!(find(text, 0), Some(text.len()), "{text}");
        }
        for text in [
            "GB82WEST12345698765433",
            "GB82WEST1234569876543",
            "GB82WEST123456987654321",
            "GB82-WEST-1234-5698-7654-32",
            "GB 82WEST12345698765432",
            "XX82WEST12345698765432",
            "GB82",
            "NO9386011117948",
            "NO9386011117947é",
        ] {
            assert_eq!(find(text, 0), None, "{text}");
        }
        assert_eq!(find("XGB82WEST12345698765432", 1), None);
    }

    #[test]
    fn the_countries_stand_once_and_in_order() {
        assert!(LENGTHS.is_sorted_by(|(left, _), (right, _)| left < right));
    }
}
