//! A moment by both clocks, and the day of UTC it falls into.

use std::time::Duration;

use crate::clock::{ClockQuality, Uptime, UtcTime};

/// A day of UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

/// Now: by the monotonic clock, which decides how long things take, and by the wall clock, which decides the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the start.
    pub up: Uptime,
    /// Wall time.
    pub utc: UtcTime,
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Day {
    /// The day on the budget of which is spent while nobody knows the date.
    pub const UNSET: Self = Self(i64::MIN);

    /// The day of a wall time.
    pub fn of(time: UtcTime) -> Self {
        match time.quality {
            ClockQuality::Synced | ClockQuality::Unknown => Self(time.micros.div_euclid(MICROS_PER_DAY)),
            ClockQuality::Unset => Self::UNSET,
        }
    }
}

impl Moment {
    /// The day.
    pub fn day(&self) -> Day {
        Day::of(self.utc)
    }

    /// Time until the next day begins, if the wall clock is right.
    pub fn rest_of_day(&self) -> Duration {
        let rest = MICROS_PER_DAY - self.utc.micros.rem_euclid(MICROS_PER_DAY);
        Duration::from_micros(rest.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_before_1970_and_the_end_of_time_are_days_and_an_unset_clock_has_none() {
        let day = |micros, quality| Day::of(UtcTime { micros, quality });
        assert_eq!(day(-1, ClockQuality::Unknown), Day(-1));
        assert_eq!(day(0, ClockQuality::Unknown), Day(0));
        assert_eq!(day(MICROS_PER_DAY, ClockQuality::Synced), Day(1));
        assert!(day(i64::MIN, ClockQuality::Synced) < day(i64::MAX, ClockQuality::Synced));
        assert_eq!(day(5, ClockQuality::Unset), Day::UNSET);
    }

    #[test]
    fn the_rest_of_a_day_is_a_whole_day_at_its_beginning() {
        let rest = |micros| {
            let utc = UtcTime { micros, quality: ClockQuality::Synced };
            Moment { up: Uptime::ZERO, utc }.rest_of_day()
        };
        assert_eq!(rest(0), Duration::from_hours(24));
        assert_eq!(rest(MICROS_PER_DAY - 1), Duration::from_micros(1));
        assert_eq!(rest(-1), Duration::from_micros(1));
    }
}
