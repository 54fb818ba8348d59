//! E-mail addresses: a local part, `@` and a domain with a top level of letters.

use crate::text::rules::reader::Reader;

/// Characters of the local part and of a label (RFC 5321, section 4.5.3.1; RFC 1035, section 2.3.4).
const LOCAL_MAX: usize = 64;
const LABEL_MAX: usize = 63;

/// Labels of a domain. Real ones have two to five.
const LABELS_MAX: usize = 8;

/// The end of the address that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let before = text.get(..start)?.chars().next_back();
    let rest = text.get(start..)?;
    // Signs may stand before an address; only a letter, a digit or a low line starts one.
    let starts = rest.starts_with(|own: char| own.is_alphanumeric() || own == '_');
    if !starts || before.is_some_and(|own| own.is_alphanumeric() || own == '_') {
        return None;
    }
    let local = rest.chars().take(LOCAL_MAX).take_while(|own| is_local(*own));
    let length: usize = local.map(char::len_utf8).sum();
    let mut reader = Reader::new(text, start + length);
    if !reader.take(b'@') || rest.get(..length)?.ends_with('.') {
        return None;
    }
    domain(text, reader)
}

/// The end of the longest domain, of two labels or more, of which the last is of letters.
fn domain(text: &str, mut reader: Reader<'_>) -> Option<usize> {
    let mut end = None;
    for index in 0..LABELS_MAX {
        let label = reader.take_while(LABEL_MAX, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let hyphens = label.iter().rev().take_while(|byte| **byte == b'-').count();
        let label = label.get(..label.len() - hyphens)?;
        if label.is_empty() || label.starts_with(b"-") {
            break;
        }
        let top = label.len() >= 2 && label.iter().all(u8::is_ascii_alphabetic);
        let label_end = reader.at() - hyphens;
        if index > 0 && top && Reader::new(text, label_end).ends_word() {
            end = Some(label_end);
        }
        if hyphens > 0 || !reader.take(b'.') {
            break;
        }
    }
    end
}

fn is_local(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '_' | '%' | '+' | '-' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::rules::reader::first;

    fn found(text: &str) -> Option<&str> {
        first(text, find)
    }

    #[test]
    fn an_address_has_a_local_part_and_a_domain() {
        for (text, expect) in [
            ("SueDHague@armyspy.com", "SueDHague@armyspy.com"),
            ("<chief.eng+er@mv-aurora.example.co.uk>,", "chief.eng+er@mv-aurora.example.co.uk"),
            ("mail o'brien@a-b.ie.", "o'brien@a-b.ie"),
            ("mailto:a_b%c@d-e.no", "a_b%c@d-e.no"),
            ("jürgen@example.de", "jürgen@example.de"),
            ("\u{201c}x@y.org\u{201d}", "x@y.org"),
            ("...x@y.org--", "x@y.org"),
            ("a@b@c.de", "b@c.de"),
        ] {
            assert_eq!(found(text), Some(expect), "{text}");
        }
        for text in [
            "a@b",
            "@b.de",
            "a@.de",
            "6 bar @ 14.07",
            "3@4.5",
            "a@b.c",
            "a@10.0.0.1",
            "a.@b.de",
            "x @y.de",
            "a@-b.de",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(found(&format!("{}@b.de", "x".repeat(65))), None);
    }
}
