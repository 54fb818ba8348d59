//! Telephone numbers: international ones by `+` or `00`, national ones by the grouping of their digits, others by the
//! word in front of them.
//!
//! A number has no check digit, and plants are full of part and serial numbers. So a form that tells nothing, as
//! `451 5986`, is taken only behind a word like *phone* or *call*, and a national form not behind a word like *part* or
//! *serial*.

use crate::text::rules::context::follows;
use crate::text::rules::reader::Reader;

/// Words before a telephone number.
const TELLING: &[&str] = &[
    "answering",
    "call",
    "callback",
    "cell",
    "cellphone",
    "cellular",
    "desk",
    "dial",
    "fax",
    "gsm",
    "hotline",
    "landline",
    "mob",
    "mobile",
    "phone",
    "phoned",
    "phoning",
    "ring",
    "sms",
    "tel",
    "telefon",
    "telephone",
    "tlf",
    "whatsapp",
];

/// Words before numbers that look like a telephone number. The N is that of P/N and S/N.
const NOT_PHONES: &[&str] = &[
    "account",
    "art",
    "article",
    "asset",
    "batch",
    "cat",
    "code",
    "drawing",
    "dwg",
    "id",
    "invoice",
    "item",
    "lot",
    "model",
    "n",
    "order",
    "part",
    "parts",
    "pn",
    "po",
    "ref",
    "reference",
    "serial",
    "sn",
    "spare",
    "tag",
    "type",
    "wo",
];

/// Digits of an international number (E.164), country code included.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Groups of digits. The longest forms in use have six.
const GROUPS_MAX: usize = 8;

/// Digits of a group behind which no other belongs to the number.
const LONG_GROUP: usize = 7;

/// Some digits between separators.
#[derive(Clone, Copy)]
struct Group<'a> {
    digits: &'a [u8],
    /// What stands before it; 0: nothing or a bracket.
    separator: u8,
    bracketed: bool,
    /// Byte after it, a bracket included.
    end: usize,
}

/// The end of the number that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader::new(text, start);
    if !reader.peek().is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'(')) {
        return None;
    }
    // A sign before the bracket or the plus is as good as none.
    if !reader.starts_number()
        || text.get(..start)?.ends_with(['+', '.', '-', '#', '/']) && !reader.starts_word()
    {
        return None;
    }
    let plus = reader.take(b'+');
    let groups = read(reader);
    let told = || follows(text, start, TELLING);
    let other = || follows(text, start, NOT_PHONES);
    (1..=groups.len()).rev().find_map(|count| {
        let groups = groups.get(..count)?;
        let end = end(text, groups.last()?.end).filter(|_| one_number(groups))?;
        let found = if plus {
            international(groups)
        } else {
            (abroad(groups) || north_american(groups) || national(groups)) && !other()
                || plain(groups) && told()
        };
        found.then_some(end)
    })
}

/// Groups of digits with at most one separator between them.
fn read(mut reader: Reader<'_>) -> heapless::Vec<Group<'_>, GROUPS_MAX> {
    let mut groups = heapless::Vec::new();
    let mut separator = 0;
    loop {
        let bracketed = reader.take(b'(');
        let digits = reader.digits(*DIGITS.end() + 1);
        if digits.is_empty() || (bracketed && !reader.take(b')')) {
            return groups;
        }
        if groups.push(Group { digits, separator, bracketed, end: reader.at() }).is_err() {
            return groups;
        }
        separator = reader.take_if(|byte| matches!(byte, b' ' | b'-' | b'.' | b'/')).unwrap_or(0);
        if separator == 0 && !bracketed && reader.peek() != Some(b'(') {
            return groups;
        }
    }
}

/// The end with an extension (`x123`, `ext. 123`); none if letters or digits follow.
fn end(text: &str, at: usize) -> Option<usize> {
    let mut reader = Reader::new(text, at);
    reader.take(b' ');
    if reader.take_text("ext") || reader.take_text("x") {
        reader.take(b'.');
        reader.take(b' ');
        if !reader.digits(5).is_empty() && reader.ends_word() {
            return Some(reader.at());
        }
    }
    let reader = Reader::new(text, at);
    reader.ends_number().then_some(at)
}

/// Whether the groups can be of one number: no group follows a long one, and none but the first is a single digit, like
/// the 2 of *call 22864400 2 times*.
fn one_number(groups: &[Group<'_>]) -> bool {
    let long = |group: &Group<'_>| group.digits.len() >= LONG_GROUP;
    let single = |group: &Group<'_>| group.digits.len() == 1 && !group.bracketed;
    let front = groups.split_last().map_or(groups, |(_, front)| front);
    !front.iter().any(long) && !groups.iter().skip(1).any(single)
}

fn count(groups: &[Group<'_>]) -> usize {
    groups.iter().map(|group| group.digits.len()).sum()
}

/// Whether all separators are the same.
fn even(groups: &[Group<'_>]) -> bool {
    let mut separators = groups.iter().skip(1).map(|group| group.separator);
    let first = separators.next();
    separators.all(|own| Some(own) == first)
}

/// `+47 22 86 44 00`, `+41 (0)96 471 07 95`, `+447700 921 916`. A decimal number has one point.
fn international(groups: &[Group<'_>]) -> bool {
    let [first, rest @ ..] = groups else { return false };
    let decimal = matches!(rest, [only] if only.separator == b'.');
    let zero = rest.iter().any(|group| group.bracketed && group.digits == b"0");
    let digits = count(groups) - usize::from(zero);
    !first.bracketed && !decimal && country(first.digits) > 0 && DIGITS.contains(&digits)
}

/// `001-253-366-9781`, `00 47 22 86 44 00`.
fn abroad(groups: &[Group<'_>]) -> bool {
    let [first, second, ..] = groups else { return false };
    let Some(code) = first.digits.strip_prefix(b"00") else { return false };
    let code = if code.is_empty() { second.digits } else { code };
    let known = country(code) == code.len() && !code.is_empty();
    known && groups.len() >= 3 && even(groups) && DIGITS.contains(&(count(groups) - 2))
}

/// `905-674-3793`, `259.735.7502`, `(602) 272-9781`, `1-903-140-4508`.
fn north_american(groups: &[Group<'_>]) -> bool {
    let own = match groups {
        [one, own @ ..] if one.digits == b"1" => own,
        own => own,
    };
    let [area, exchange, line] = own else { return false };
    let lengths = [area, exchange, line].map(|group| group.digits.len()) == [3, 3, 4];
    let dotted = even(groups) && matches!(line.separator, b'-' | b'.');
    let bracketed = area.bracketed && matches!(line.separator, b'-' | b'.' | b' ');
    lengths && matches!(area.digits.first(), Some(b'2'..=b'9')) && (dotted || bracketed)
}

/// `0490 75 40 81`, `03.93.92.16.85`, `0341 8387176`, `(0341) 8387176`: the trunk 0, then an area or network.
fn national(groups: &[Group<'_>]) -> bool {
    let [first, rest @ ..] = groups else { return false };
    let trunk = matches!(first.digits, [b'0', b'1'..=b'9', ..]) && (2..=5).contains(&first.digits.len());
    let bracketed = rest.iter().any(|group| group.bracketed);
    let slashed = rest.iter().any(|group| group.separator == b'/') && rest.len() > 1;
    let short = rest.iter().any(|group| group.digits.len() < 2);
    // A year behind a day and a month, unlike the pairs at the end of a number.
    let long_after_pair = rest.windows(2).any(|pair| match pair {
        [left, right] => left.digits.len() == 2 && right.digits.len() > 2,
        _ => false,
    });
    let digits = (9..=11).contains(&count(groups));
    trunk
        && digits
        && (1..=4).contains(&rest.len())
        && even(groups)
        && !(bracketed || slashed || short || long_after_pair)
}

/// Seven to fifteen digits that are no date.
fn plain(groups: &[Group<'_>]) -> bool {
    let mut lengths = groups.iter().map(|group| group.digits.len());
    let lengths =
        [lengths.next(), lengths.next(), lengths.next(), lengths.next()].map(Option::unwrap_or_default);
    let date = matches!(lengths, [4, 2, 2, 0] | [2, 2, 4, 0]);
    !date && (7..=*DIGITS.end()).contains(&count(groups))
}

/// Digits of the country code (E.164) that some digits start with; 0 if they start with none.
fn country(digits: &[u8]) -> usize {
    let length = match digits {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        [b'2', b'1'..=b'6' | b'9', ..]
        | [b'3', b'5' | b'7' | b'8', ..]
        | [b'4', b'2', ..]
        | [b'5', b'0' | b'9', ..]
        | [b'6', b'7'..=b'9', ..]
        | [b'8', b'0' | b'5' | b'7' | b'8', ..]
        | [b'9', b'6' | b'7' | b'9', ..] => 3,
        _ => 0,
    };
    if digits.len() < length { 0 } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::rules::reader::first;

    fn found(text: &str) -> Option<&str> {
        first(text, find)
    }

    #[test]
    fn numbers_are_told_by_their_form_or_the_word_before() {
        for (text, expect) in [
            ("+47 22 86 44 00", "+47 22 86 44 00"),
            ("Desk: +41 (0)96 471 07 95,", "+41 (0)96 471 07 95"),
            ("+447700 921 916-Office", "+447700 921 916"),
            ("+1-903-140-4508x769", "+1-903-140-4508x769"),
            ("001-253-366-9781", "001-253-366-9781"),
            ("0047 22 86 44 00", "0047 22 86 44 00"),
            ("905-674-3793.", "905-674-3793"),
            ("(898)666-3621x0135", "(898)666-3621x0135"),
            ("259.735.7502", "259.735.7502"),
            ("(602) 272-9781 ext. 12", "(602) 272-9781 ext. 12"),
            ("0490 75 40 81", "0490 75 40 81"),
            ("03.93.92.16.85", "03.93.92.16.85"),
            ("0341 8387176", "0341 8387176"),
            ("0961-7596216", "0961-7596216"),
            ("089/1234567", "089/1234567"),
            ("079 0442 1744", "079 0442 1744"),
            ("Phone: 451 5986", "451 5986"),
            ("Fax: 9498777106", "9498777106"),
            ("please call me at 99 577450 now", "99 577450"),
            ("mobile no. (99) 645-791", "(99) 645-791"),
            ("phone 51081637 2 pcs", "51081637"),
            ("+441343521687 2 pcs", "+441343521687"),
        ] {
            assert_eq!(found(text), Some(expect), "{text}");
        }
    }

    #[test]
    fn part_numbers_dates_and_readings_are_no_numbers() {
        for text in [
            "451 5986",
            "9498777106",
            "part 0445-120-231",
            "P/N 0445 120 231",
            "serial no. 0961-7596216",
            "2026-11-20 08:07",
            "20.11.2026",
            "02 11 2026 08",
            "call on 2026-11-20",
            "mobile crane 4512345",
            "12,345.678",
            "+5.0000000",
            "+1.23456789",
            "+1.23456789 2 pcs",
            "-0.001234567",
            "1000 2000 3000",
            "$GPGGA,123519,4807.038,N,01131.000,E",
            "4/4/4/4/4",
            "03/04/05/06/07",
            "905-674-37931",
            "A905-674-3793",
            "7-905-674-3793-1",
            "119 - 7",
            "0445",
            "()",
            "+",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
