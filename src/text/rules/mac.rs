//! Hardware addresses (EUI-48, EUI-64): pairs of hexadecimal digits with `:` or `-`, or three groups of four with `.`.
//!
//! With `-` or `.` and without a letter it may as well be a part number or a date, and is not taken.

use crate::text::rules::reader::Reader;

/// The end of the address that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let reader = Reader::new(text, start);
    let before = text.get(..start)?.as_bytes();
    let goes_on = matches!(before, [.., pair, b':' | b'-' | b'.'] if pair.is_ascii_hexdigit());
    if !reader.peek()?.is_ascii_hexdigit() || !reader.starts_word() || goes_on {
        return None;
    }
    let forms = [(b':', 2, 8), (b':', 2, 6), (b'-', 2, 8), (b'-', 2, 6), (b'.', 4, 3)];
    forms.into_iter().find_map(|(separator, width, groups)| grouped(reader, separator, width, groups))
}

fn grouped(mut reader: Reader<'_>, separator: u8, width: usize, groups: usize) -> Option<usize> {
    let mut letters = 0;
    for index in 0..groups {
        if index > 0 && !reader.take(separator) {
            return None;
        }
        let group = reader.take_while(width, |byte| byte.is_ascii_hexdigit());
        if group.len() < width {
            return None;
        }
        letters += group.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    }
    let mut next = reader;
    let goes_on = next.take(separator) && next.take_if(|byte| byte.is_ascii_hexdigit()).is_some();
    (reader.ends_word() && !goes_on && (letters > 0 || separator == b':')).then_some(reader.at())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_six_or_eight_pairs_or_three_fours() {
        for text in [
            "00:1A:2b:3c:4d:5e",
            "00-1A-2b-3c-4d-5e",
            "00:11:22:33:44:55",
            "001a.2b3c.4d5e",
            "00:1a:2b:ff:fe:3c:4d:5e",
        ] {
            assert_eq!(find(text, 0), Some(text.len()), "{text}");
        }
        for text in [
            "00:1a:2b:3c:4d",
            "00:1a:2b:3c:4d:5e:6f",
            "00:1a:2b:3c:4d:5g",
            "00:1a-2b:3c:4d:5e",
            "12-11-20-08-07-33",
            "1234.5678.9012",
            "00:1a:2b:3c:4d:5ef",
            "12:30:45",
            "6e40:4041:c617:e898:c11:40d2:c669:2eb4",
        ] {
            assert_eq!(find(text, 0), None, "{text}");
        }
    }
}
