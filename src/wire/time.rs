//! Event times as RFC 3339 in UTC, written without allocation.

use crate::clock::EventTime;
use crate::wire::error::WireError;

/// 0000-01-01T00:00:00Z, the first instant RFC 3339 can write.
const FIRST: i64 = -62_167_219_200_000_000;

/// 9999-12-31T23:59:59.999999Z, the last one.
const LAST: i64 = 253_402_300_799_999_999;

/// Days from 0000-03-01, where the years of the calculation begin, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;

/// Appends `2026-11-20T03:00:00Z` with as many sub-second digits as needed, at most six. Times that RFC 3339 cannot
/// write become the nearest one it can.
pub(crate) fn put_time(out: &mut Vec<u8>, at: EventTime) {
    let micros = at.0.clamp(FIRST, LAST);
    let (seconds, mut fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    put_digits(out, year, 4);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        put_digits(out, value, 2);
    }
    if fraction > 0 {
        let mut digits = 6;
        while fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        out.push(b'.');
        put_digits(out, fraction, digits);
    }
    out.push(b'Z');
}

/// Reads what [`put_time`] writes, and any other offset.
pub(crate) fn parse_time(text: &str) -> Result<EventTime, WireError> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| WireError::Json { reason: "time is not RFC 3339".to_owned() })?;
    Ok(EventTime(time.as_microsecond()))
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
///
/// The year starts in March here, so that the leap day is its last; months then follow a pattern of 153 days in
/// five.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let january_or_february = month >= 10;
    let month = if january_or_february { month - 9 } else { month + 3 };
    (year + era * 400 + i64::from(january_or_february), month, day_of_month)
}

fn put_digits(out: &mut Vec<u8>, value: i64, digits: u32) {
    for place in (0..digits).rev() {
        #[expect(clippy::cast_sign_loss, reason = "one decimal digit")]
        out.push(b'0' + (value / 10_i64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(micros: i64) -> String {
        let mut out = Vec::new();
        put_time(&mut out, EventTime(micros));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        assert_eq!(written(1_795_143_600_000_000), "2026-11-20T03:00:00Z");
        assert_eq!(written(1_795_143_600_500_000), "2026-11-20T03:00:00.5Z");
        assert_eq!(written(1_795_143_600_000_001), "2026-11-20T03:00:00.000001Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(written(951_782_400_000_000), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn times_outside_the_calendar_become_its_ends() {
        assert_eq!(written(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(written(i64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn every_day_of_eight_centuries_agrees_with_the_calendar_library() {
        for day in -146_097_i64..146_097 {
            let micros = day * 86_400_000_000 + 45_296_789_000;
            let expected = jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
            assert_eq!(written(micros), expected);
            assert_eq!(parse_time(&expected).unwrap(), EventTime(micros));
        }
    }
}
