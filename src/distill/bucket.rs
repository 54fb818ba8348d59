//! Spans of event time that summaries cover: ten minutes, an hour, a day, aligned to UTC.

use crate::clock::EventTime;
use crate::flow::{Grain, TimeSpan};

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Length of the buckets of a grain in microseconds. Gaps are kept by the day.
fn length(grain: Grain) -> i64 {
    match grain {
        Grain::TenMinutes => 10 * MICROS_PER_MINUTE,
        Grain::Hour => 60 * MICROS_PER_MINUTE,
        Grain::Day | Grain::Gap(_) => 24 * 60 * MICROS_PER_MINUTE,
    }
}

/// The bucket of a grain into which an instant falls. Times before 1970 have buckets like any other.
pub(crate) fn bucket(grain: Grain, at: EventTime) -> TimeSpan {
    let length = length(grain);
    let from = at.0.saturating_sub(at.0.rem_euclid(length));
    TimeSpan { from: EventTime(from), to: EventTime(from.saturating_add(length)) }
}

/// The next coarser grain; `None` for those that get no coarser.
pub(crate) fn coarser(grain: Grain) -> Option<Grain> {
    match grain {
        Grain::TenMinutes => Some(Grain::Hour),
        Grain::Hour => Some(Grain::Day),
        Grain::Day | Grain::Gap(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(grain: Grain, at: &str, from: &str, to: &str) {
        let micros = |text: &str| EventTime(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        assert_eq!(bucket(grain, micros(at)), TimeSpan { from: micros(from), to: micros(to) }, "{at}");
    }

    #[test]
    fn buckets_begin_at_full_tens_hours_and_days_of_utc() {
        let at = "2026-11-20T13:47:12.5Z";
        check(Grain::TenMinutes, at, "2026-11-20T13:40:00Z", "2026-11-20T13:50:00Z");
        check(Grain::Hour, at, "2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z");
        check(Grain::Day, at, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
        check(Grain::Hour, "1969-12-31T23:59:59.9Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z");
        check(Grain::Hour, "2026-11-20T13:00:00Z", "2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z");
    }

    proptest! {
        #[test]
        fn a_bucket_lies_within_one_of_the_next_coarser_grain(at in any::<i64>()) {
            let mut inner = bucket(Grain::TenMinutes, EventTime(at));
            let mut grain = Grain::TenMinutes;
            while let Some(next) = coarser(grain) {
                let outer = bucket(next, EventTime(at));
                prop_assert!(outer.from <= inner.from && inner.to <= outer.to);
                (inner, grain) = (outer, next);
            }
        }
    }
}
