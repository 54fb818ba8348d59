//! Internet addresses: four decimal bytes, or hexadecimal groups with `:`.
//!
//! A version or section number of four parts has the same form; the word in front tells.

use crate::text::rules::context::follows;
use crate::text::rules::reader::{Reader, number};

/// What has numbers of four parts.
const NOT_ADDRESSES: &[&str] = &[
    "annex",
    "appendix",
    "chapter",
    "clause",
    "fig",
    "figure",
    "firmware",
    "fw",
    "item",
    "para",
    "paragraph",
    "reg",
    "regulation",
    "release",
    "rev",
    "revision",
    "rule",
    "sec",
    "section",
    "step",
    "sw",
    "table",
    "v",
    "ver",
    "version",
];

/// Groups of a version 6 address, of 16 bits each.
const GROUPS: usize = 8;

/// The end of the address that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let reader = Reader::new(text, start);
    let first = reader.peek()?;
    let before = start.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    if !(first.is_ascii_hexdigit() || first == b':') || !reader.starts_word() {
        return None;
    }
    let six = if before == Some(&b':') { None } else { version_6(reader) };
    six.or_else(|| {
        // A colon may stand between a name and an address, as in eth0:10.0.0.1.
        let apart = before == Some(&b':') || reader.starts_number();
        let end = version_4(reader).filter(|_| apart)?;
        (!follows(text, start, NOT_ADDRESSES)).then_some(end)
    })
}

fn version_4(mut reader: Reader<'_>) -> Option<usize> {
    for part in 0..4 {
        if part > 0 && !reader.take(b'.') {
            return None;
        }
        let digits = reader.digits(3);
        let padded = digits.len() > 1 && digits.starts_with(b"0");
        if digits.is_empty() || padded || number(digits) > 255 {
            return None;
        }
    }
    // A port or a mask may follow.
    let mut next = reader;
    let goes_on =
        next.take_if(|byte| matches!(byte, b'.' | b'-' | b',')).is_some() && !next.digits(1).is_empty();
    (reader.ends_word() && !goes_on).then_some(reader.at())
}

fn version_6(mut reader: Reader<'_>) -> Option<usize> {
    let (mut groups, mut shortened, mut figures) = (0, false, false);
    let start = reader;
    if reader.peek() == Some(b':') {
        shortened = reader.take_text("::");
        if !shortened {
            return None;
        }
    }
    while groups < GROUPS {
        let before = reader;
        if groups > 0
            && groups + 2 <= GROUPS
            && let Some(end) = version_4(before)
        {
            return (shortened || groups + 2 == GROUPS).then_some(end);
        }
        let group = reader.take_while(4, |byte| byte.is_ascii_hexdigit());
        if group.is_empty() {
            break;
        }
        figures |= group.iter().any(u8::is_ascii_digit);
        groups += 1;
        let end = reader;
        if groups == GROUPS || !reader.take(b':') {
            break;
        }
        if reader.take(b':') {
            if shortened {
                return None;
            }
            shortened = true;
        } else if !reader.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
            // A colon behind the address.
            reader = end;
            break;
        }
    }
    let enough = if shortened { (2..GROUPS).contains(&groups) && figures } else { groups == GROUPS };
    let goes_on = reader.peek() == Some(b':') && reader.at() > start.at();
    (enough && !goes_on && reader.ends_word()).then_some(reader.at())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::rules::reader::first;

    fn found(text: &str) -> Option<&str> {
        first(text, find)
    }

    #[test]
    fn an_address_is_found_without_port_and_mask() {
        for (text, expect) in [
            ("10.0.0.1", "10.0.0.1"),
            ("at 192.168.1.254:502.", "192.168.1.254"),
            ("net 10.1.0.0/16", "10.1.0.0"),
            ("41.173.96.26 blocked", "41.173.96.26"),
            ("6e40:4041:c617:e898:c11:40d2:c669:2eb4", "6e40:4041:c617:e898:c11:40d2:c669:2eb4"),
            ("fe80::1%eth0", "fe80::1"),
            ("[2001:db8::8a2e:370:7334]:443", "2001:db8::8a2e:370:7334"),
            ("2001:db8:: is a net", "2001:db8::"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
            ("eth0:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(found(text), Some(expect), "{text}");
        }
        for text in [
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "10.0.0.01",
            "v1.2.3.4",
            "version 1.2.3.4",
            "firmware 1.2.3.4",
            "section 2.1.5.1",
            "29.5.29",
            "12:30:45",
            "12:30:45:10",
            "00:1a:2b:3c:4d:5e",
            "std::vec",
            "a::b",
            "note: 5",
            "::",
            "1::2::3",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
