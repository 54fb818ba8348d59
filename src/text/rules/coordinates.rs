//! Positions: a latitude and a longitude in degrees, in degrees and minutes, with seconds, or as NMEA 0183 writes them.
//!
//! Both angles say which they are by N, S, E or W or a label, or neither does; then both need four decimals (11 m),
//! which readings in a text hardly have.

use crate::text::rules::reader::{Reader, number};

/// Decimals of two bare numbers that are taken for a position.
const BARE_DECIMALS: usize = 4;

/// Decimals of degrees that say nothing further but their hemisphere: `5 N 3 E` are no coordinates.
const NAMED_DECIMALS: usize = 2;

/// Decimals read of a number. More than nanometres nobody writes.
const DECIMALS_MAX: usize = 15;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Latitude,
    Longitude,
}

/// One angle of a position.
#[derive(Clone, Copy)]
struct Angle {
    axis: Option<Axis>,
    /// Whole degrees.
    degrees: u32,
    /// Whether it stands beyond the whole degrees.
    beyond: bool,
    decimals: usize,
    /// Whether a degree sign or minutes say that it is an angle.
    marked: bool,
}

/// The end of the position that starts at `start`.
pub(in crate::text::rules) fn find(text: &str, start: usize) -> Option<usize> {
    let mut reader = Reader::new(text, start);
    let starts = |byte: u8| byte.is_ascii_digit() || b"+-NSEWnsewLl".contains(&byte);
    if !reader.peek().is_some_and(starts) || !reader.starts_number() {
        return None;
    }
    let first = angle(&mut reader, true)?;
    let gap = reader.take_while(4, |byte| matches!(byte, b' ' | b',' | b';' | b'/'));
    // Behind a bare number a letter is a word: `59.91273, 10.74609 n ...`.
    let second = angle(&mut reader, first.axis.is_some())?;
    let named = match (first.axis, second.axis) {
        (Some(first), Some(second)) if first != second => true,
        (None, None) if !gap.is_empty() => false,
        (Some(_) | None, Some(_) | None) => return None,
    };
    let tells = |angle: Angle| {
        if named { angle.marked || angle.decimals >= NAMED_DECIMALS } else { angle.decimals >= BARE_DECIMALS }
    };
    let turned = first.axis == Some(Axis::Longitude);
    let (latitude, longitude) = if turned { (second, first) } else { (first, second) };
    let possible = within(latitude, 90) && within(longitude, 180);
    (possible && tells(first) && tells(second) && reader.ends_number()).then_some(reader.at())
}

fn within(angle: Angle, most: u32) -> bool {
    angle.degrees < most || (angle.degrees == most && !angle.beyond)
}

/// Reads `59.9127`, `N 59.9127`, `lat: 59.9127`, `59.91° N`, `59°54.8'N`, `59°54'48"N`, `59-54.8N`, `5954.800,N`; the
/// hemisphere behind it only if it is `named`.
fn angle(reader: &mut Reader<'_>, named: bool) -> Option<Angle> {
    let label = label(reader);
    let before = hemisphere(reader);
    if before.is_some() {
        reader.take(b' ');
    }
    let signed = reader.take_if(|byte| matches!(byte, b'+' | b'-')).is_some();
    let whole = reader.digits(5);
    if whole.is_empty() {
        return None;
    }
    let fraction = fraction(reader);
    let mut angle = Angle {
        axis: label.or(before),
        degrees: number(whole),
        beyond: fraction.iter().any(|byte| *byte != b'0'),
        decimals: fraction.len(),
        marked: false,
    };
    if let [degrees @ .., _, _] = whole
        && degrees.len() >= 2
    {
        // NMEA 0183: two or three digits of degrees, two of minutes; always with the hemisphere.
        angle = Angle { degrees: number(degrees), beyond: true, marked: true, ..angle };
        reader.take(b',');
        angle.axis = Some(hemisphere_behind(reader)?);
        return (!fraction.is_empty() && before.is_none() && !signed).then_some(angle);
    }
    if fraction.is_empty() {
        minutes(reader, &mut angle)?;
    } else {
        angle.marked = degree_sign(reader);
    }
    if before.is_none() && named {
        angle.axis = hemisphere_behind(reader).or(angle.axis);
    }
    (whole.len() <= 3).then_some(angle)
}

/// `.` and decimals; takes nothing if no decimal follows.
fn fraction<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    let mut next = *reader;
    let decimals = if next.take(b'.') { next.digits(DECIMALS_MAX) } else { &[] };
    if !decimals.is_empty() {
        *reader = next;
    }
    decimals
}

/// Minutes and seconds behind whole degrees, if there are any; none if they are not below 60.
fn minutes(reader: &mut Reader<'_>, angle: &mut Angle) -> Option<()> {
    let mut next = *reader;
    let sign = degree_sign(&mut next);
    angle.marked = sign;
    if sign {
        *reader = next;
        next.take(b' ');
    } else if !next.take(b'-') {
        return Some(());
    }
    let minutes = next.digits(2);
    if minutes.is_empty() {
        return Some(());
    }
    let decimals = fraction(&mut next);
    let closed = next.take(b'\'') || next.take_text("\u{2032}") || next.take_text("\u{2019}");
    // Without any sign of an angle a hyphen and two digits are a part number, or a range.
    if number(minutes) > 59 || (!sign && decimals.is_empty()) {
        return if sign { None } else { Some(()) };
    }
    angle.marked = true;
    angle.beyond |= number(minutes) > 0 || decimals.iter().any(|byte| *byte != b'0');
    *reader = next;
    if !closed || !decimals.is_empty() {
        return Some(());
    }
    next.take(b' ');
    let seconds = next.digits(2);
    fraction(&mut next);
    let closed =
        next.take(b'"') || next.take_text("\u{2033}") || next.take_text("\u{201d}") || next.take_text("''");
    if !seconds.is_empty() && number(seconds) < 60 && closed {
        angle.beyond |= number(seconds) > 0;
        *reader = next;
    }
    Some(())
}

fn degree_sign(reader: &mut Reader<'_>) -> bool {
    let mut next = *reader;
    next.take(b' ');
    let found = next.take_text("\u{b0}") || next.take_text("\u{ba}") || next.take_text("deg");
    if found {
        *reader = next;
    }
    found
}

/// `lat`, `latitude`, `lon`, `long`, `longitude` and the sign behind it.
fn label(reader: &mut Reader<'_>) -> Option<Axis> {
    let mut next = *reader;
    let axis = if next.take_text("latitude") || next.take_text("lat") {
        Axis::Latitude
    } else if next.take_text("longitude") || next.take_text("long") || next.take_text("lon") {
        Axis::Longitude
    } else {
        return None;
    };
    let gap = next.take_while(3, |byte| matches!(byte, b' ' | b':' | b'=' | b'.'));
    if gap.is_empty() {
        return None;
    }
    *reader = next;
    Some(axis)
}

fn hemisphere(reader: &mut Reader<'_>) -> Option<Axis> {
    let letter = reader.take_if(|byte| b"NSEWnsew".contains(&byte))?;
    Some(if matches!(letter, b'N' | b'S' | b'n' | b's') { Axis::Latitude } else { Axis::Longitude })
}

/// A hemisphere as a word of its own behind a number, perhaps after a space.
fn hemisphere_behind(reader: &mut Reader<'_>) -> Option<Axis> {
    let mut next = *reader;
    next.take(b' ');
    let axis = hemisphere(&mut next).filter(|_| next.ends_word())?;
    *reader = next;
    Some(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::rules::reader::first;

    fn found(text: &str) -> Option<&str> {
        first(text, find)
    }

    #[test]
    fn a_position_has_a_latitude_and_a_longitude() {
        for text in [
            "59.91273, 10.74609",
            "-33.85678 151.21530",
            "59.9127N 10.7461E",
            "N59.9127 E10.7461",
            "59.91\u{b0} N, 10.75\u{b0} E",
            "59\u{b0}54.8'N 010\u{b0}44.3'E",
            "59\u{b0}54'48\"N, 10\u{b0}44'46\"E",
            "59\u{b0} 54\u{2032} 48\u{2033} N 10\u{b0} 44\u{2032} 46\u{2033} E",
            "59-54.8N 010-44.3E",
            "4807.038,N,01131.000,E",
            "lat: 59.91 lon: 10.75",
            "Latitude 59.91, Longitude 10.75",
            "010\u{b0}44.3'E / 59\u{b0}54.8'N",
            "90.0000, 180.0000",
            "59 deg N 10 deg E",
        ] {
            assert_eq!(found(text), Some(text), "{text}");
        }
    }

    #[test]
    fn a_letter_behind_bare_numbers_is_a_word() {
        assert_eq!(found("59.91273, 10.74609 n miles"), Some("59.91273, 10.74609"));
        assert_eq!(found("n 59.91273, 10.74609"), Some("59.91273, 10.74609"));
    }

    #[test]
    fn readings_and_ranges_are_no_positions() {
        for text in [
            "59.91, 10.74",
            "12.345 67.890",
            "5 N 3 E",
            "91.00001, 10.00001",
            "59.91273, 180.74609",
            "59.91273",
            "59.9127N 10.7461N",
            "59.9127N, 10.7461",
            "59\u{b0}61'N 10\u{b0}44'E",
            "temperature 59\u{b0} 10\u{b0}",
            "1-2 3-4",
            "1.59.91273, 10.74609.5",
            "2026-11-20",
            "14.0733, 2026.1120",
            "lat lon",
            "N E",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
