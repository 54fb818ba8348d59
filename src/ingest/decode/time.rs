//! Times as plants write them: RFC 3339, or a number since 1970.

use crate::clock::EventTime;
use crate::ingest::TimeUnit;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z in µs: what RFC 3339 can write. Arithmetic on times in this
/// range cannot overflow.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// Longer than any time: RFC 3339 with nanoseconds and an offset has 35 bytes, a time zone in brackets some more.
const BYTES_MAX: usize = 64;

/// Reads RFC 3339, or a number in the given unit. Digits below the microsecond are cut off.
///
/// The common form is read here in a few nanoseconds; other forms of ISO 8601 with an offset (basic, week dates
/// aside) go through `jiff`. A leap second is taken as the second before it.
pub fn parse_time(text: &str, unit: TimeUnit) -> Option<EventTime> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let micros = match rfc3339(text.as_bytes()) {
        Some(micros) => micros,
        None if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            return number(text, unit);
        }
        None => text.parse::<jiff::Timestamp>().ok()?.as_microsecond(),
    };
    in_range(micros)
}

/// Reads a number of the given unit since 1970. Integers are exact, others are rounded to the microsecond.
pub(crate) fn number(text: &str, unit: TimeUnit) -> Option<EventTime> {
    match text.parse::<i64>() {
        Ok(whole) => in_range(scale_whole(whole, unit)?),
        Err(_) => from_float(text.parse().ok()?, unit),
    }
}

/// The time that is `value` units after 1970, rounded to the microsecond.
pub(crate) fn from_float(value: f64, unit: TimeUnit) -> Option<EventTime> {
    let micros = match resolve(unit, value.abs()) {
        TimeUnit::Auto | TimeUnit::Seconds => value * 1e6,
        TimeUnit::Millis => value * 1e3,
        TimeUnit::Micros => value,
        TimeUnit::Nanos => value / 1e3,
    };
    // False for NaN too.
    if micros.abs() < 1e18 {
        #[expect(clippy::cast_possible_truncation, reason = "rounded and below 1e18")]
        let micros = micros.round() as i64;
        in_range(micros)
    } else {
        None
    }
}

fn in_range(micros: i64) -> Option<EventTime> {
    RANGE.contains(&micros).then_some(EventTime(micros))
}

fn scale_whole(whole: i64, unit: TimeUnit) -> Option<i64> {
    match resolve(unit, whole.unsigned_abs() as f64) {
        TimeUnit::Auto | TimeUnit::Seconds => whole.checked_mul(1_000_000),
        TimeUnit::Millis => whole.checked_mul(1_000),
        TimeUnit::Micros => Some(whole),
        TimeUnit::Nanos => Some(whole.div_euclid(1_000)),
    }
}

fn resolve(unit: TimeUnit, magnitude: f64) -> TimeUnit {
    match unit {
        TimeUnit::Auto if magnitude < 1e11 => TimeUnit::Seconds,
        TimeUnit::Auto if magnitude < 1e14 => TimeUnit::Millis,
        TimeUnit::Auto if magnitude < 1e17 => TimeUnit::Micros,
        TimeUnit::Auto => TimeUnit::Nanos,
        given @ (TimeUnit::Seconds | TimeUnit::Millis | TimeUnit::Micros | TimeUnit::Nanos) => given,
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.f]` with `Z` or an offset, in µs since 1970; `None` if it is written otherwise.
fn rfc3339(text: &[u8]) -> Option<i64> {
    let &[
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T' | b't' | b' ',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        ref rest @ ..,
    ] = text
    else {
        return None;
    };
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(n0, n1)?, two(s0, s1)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, rest) = fraction(rest)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    Some((seconds - offset(rest)?) * 1_000_000 + fraction)
}

/// Microseconds of `.ffffff…`, cut off; and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else {
        return Some((0, text));
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(count)?;
    let (mut micros, mut worth) = (0, 100_000);
    for digit in digits {
        micros += i64::from(digit - b'0') * worth;
        worth /= 10;
    }
    (count > 0).then_some((micros, rest))
}

/// Seconds east of Greenwich. `-00:00` means UTC with an unknown place (RFC 3339 section 4.3).
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            let seconds = (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)?;
            Some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    digits.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
///
/// Counts years from March, so that the leap day is the last of its year: 153 days in any five months from March on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,469 days lie between 0000-03-01 (day 1) and 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse_time(text, TimeUnit::Auto).map(|time| time.0)
    }

    #[test]
    fn the_forms_plants_write_mean_one_instant() {
        let noon = Some(1_763_640_000_250_000);
        for text in [
            "2025-11-20T12:00:00.25Z",
            "2025-11-20t12:00:00.250z",
            "2025-11-20 12:00:00.250000999Z",
            "2025-11-20T13:30:00.25+01:30",
            "2025-11-20T04:00:00.25-08:00",
            "2025-11-20T12:00:00.25-00:00",
            "20251120T120000.25Z",
            "2025-11-20T13:00:00.25+01:00[Europe/Berlin]",
            "1763640000.25",
            "1763640000250",
            "1763640000250000",
            "1763640000250000999",
            "1.76364000025e9",
        ] {
            assert_eq!(micros(text), noon, "{text}");
        }
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000));
        // The common form is not left to the fallback.
        for (year, leaps) in [(2024, true), (2000, true), (2025, false), (2100, false)] {
            assert_eq!(rfc3339(format!("{year}-02-29T00:00:00Z").as_bytes()).is_some(), leaps, "{year}");
        }
        assert_eq!(micros("2016-12-31T23:59:60Z"), micros("2016-12-31T23:59:59Z"));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        let long = "1".repeat(65);
        for text in [
            "",
            "-",
            "now",
            "NaN",
            "inf",
            "2025-11-20",
            "2025-11-20T12:00:00",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-01T25:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:61Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+01:60",
            "2025-01-01T00:00:00+99:00",
            "2025-01-01T00:00:00Zz",
            "1e300",
            "-1e300",
            "9223372036854775807000",
            "2025-01-01T00:00:00+1:00",
            "２０２５-01-01T00:00:00Z",
            &long,
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn a_configured_unit_is_not_guessed() {
        let read = |unit| parse_time("1000", unit).map(|time| time.0);
        assert_eq!(read(TimeUnit::Seconds), Some(1_000_000_000));
        assert_eq!(read(TimeUnit::Millis), Some(1_000_000));
        assert_eq!(read(TimeUnit::Micros), Some(1_000));
        assert_eq!(read(TimeUnit::Nanos), Some(1));
        assert_eq!(parse_time("-1", TimeUnit::Nanos), Some(EventTime(-1)));
        assert_eq!(parse_time("9223372036854775807", TimeUnit::Seconds), None);
    }

    proptest! {
        #[test]
        fn every_instant_reads_as_jiff_writes_it(
            micros in -62_135_596_800_000_000_i64..=253_370_764_799_999_999, hours in -23_i64..=23,
        ) {
            let at = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(rfc3339(at.to_string().as_bytes()), Some(micros));
            let offset = jiff::tz::Offset::from_seconds(i32::try_from(hours * 3600).unwrap()).unwrap();
            let text = at.display_with_offset(offset).to_string();
            prop_assert_eq!(rfc3339(text.as_bytes()), Some(micros), "{}", text);
        }

        #[test]
        fn what_is_read_here_jiff_reads_alike(text in "[0-2][0-9]{3}-[0-1][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,6})?(Z|[+-][01][0-9]:[0-5][0-9])") {
            let jiff = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
            let ours = rfc3339(text.as_bytes());
            // What both read is equal, and what is refused here jiff refuses too.
            if let (Some(ours), Some(jiff)) = (ours, jiff) {
                prop_assert_eq!(ours, jiff);
            }
            prop_assert!(ours.is_some() || jiff.is_none(), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,70}") {
            if let Some(at) = parse_time(&text, TimeUnit::Auto) {
                prop_assert!(RANGE.contains(&at.0));
            }
        }
    }
}
