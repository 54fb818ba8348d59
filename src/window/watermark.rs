//! How far a source's time has come, and how far it can have come at most.

use std::time::Duration;

use crate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, Uptime, UtcTime};

/// Latest stamp that is computed with: the end of the year 9999. Keeps event-time arithmetic far from its limits.
pub(crate) const STAMP_MAX: EventTime = EventTime(253_402_300_799_999_999);

/// The newest time a source has shown, and when it did.
///
/// The watermark is this less the lateness: no earlier sample is expected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watermark {
    newest: Option<(EventTime, Uptime)>,
}

impl Watermark {
    /// Takes note of a stamp.
    pub(crate) fn observe(&mut self, at: EventTime, now: Uptime) {
        if self.newest.is_none_or(|(newest, _)| newest < at) {
            self.newest = Some((at, now));
        }
    }

    /// No earlier sample is expected; `None` before the first.
    pub(crate) fn allowed(&self, lateness: Duration) -> Option<EventTime> {
        self.newest.map(|(newest, _)| newest.before(lateness))
    }

    /// The newest time this source can have by now, if its clock ran since its newest stamp.
    ///
    /// At least a microsecond later, so that distinct instants stay distinct; `present` where nothing is known.
    fn forecast(&self, present: EventTime, now: Uptime) -> EventTime {
        let Some((newest, seen)) = self.newest else { return present };
        let elapsed = now.since(seen).max(Duration::from_micros(1));
        present.min(newest.after(elapsed)).max(newest.after(Duration::from_micros(1)))
    }
}

/// What the gateway knows of the present: the greatest offset of wall time to uptime it has seen, applied to now.
///
/// A wall clock that jumps back, or falls back to 1970, does not move it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Present {
    offset: Option<i64>,
}

impl Present {
    /// Takes note of the wall clock, unless it has not been set.
    pub(crate) fn observe(&mut self, wall: UtcTime, now: Uptime) {
        match wall.quality {
            ClockQuality::Synced | ClockQuality::Unknown => {
                let offset = wall.micros.saturating_sub(whole_micros(now));
                self.offset = self.offset.max(Some(offset));
            }
            ClockQuality::Unset => {}
        }
    }

    /// The present; `None` while nothing plausible is known of it.
    pub(crate) fn at(&self, now: Uptime) -> Option<EventTime> {
        let present = EventTime(self.offset?.saturating_add(whole_micros(now))).min(STAMP_MAX);
        (present >= EARLIEST_PLAUSIBLE).then_some(present)
    }
}

/// Holds the stamps of one batch against the present.
///
/// Equal stamps of a batch stay equal: the channels of one absurd row remain a row.
pub(crate) struct FutureGuard {
    present: Option<EventTime>,
    future_max: Duration,
    now: Uptime,
    last: Option<(EventTime, EventTime)>,
}

impl FutureGuard {
    pub(crate) fn new(present: Option<EventTime>, future_max: Duration, now: Uptime) -> Self {
        Self { present, future_max, now, last: None }
    }

    /// The time to file a sample under; differs from its stamp if that lies in the future.
    pub(crate) fn admit(&mut self, stamp: EventTime, watermark: &Watermark) -> EventTime {
        let Some(present) = self.present.filter(|present| stamp > present.after(self.future_max)) else {
            return stamp.clamp(EventTime(-STAMP_MAX.0), STAMP_MAX);
        };
        if let Some((_, filed)) = self.last.filter(|&(same, _)| same == stamp) {
            return filed;
        }
        let filed = watermark.forecast(present, self.now).min(STAMP_MAX);
        self.last = Some((stamp, filed));
        filed
    }
}

fn whole_micros(uptime: Uptime) -> i64 {
    i64::try_from(uptime.0 / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOON: i64 = EARLIEST_PLAUSIBLE.0 + 43_200 * SECOND;

    fn wall(micros: i64, quality: ClockQuality) -> UtcTime {
        UtcTime { micros, quality }
    }

    fn up(seconds: u64) -> Uptime {
        Uptime(seconds * 1_000_000_000)
    }

    #[test]
    fn the_present_survives_a_wall_clock_that_jumps_back() {
        let mut present = Present::default();
        assert_eq!(present.at(up(1)), None);
        present.observe(wall(3, ClockQuality::Unset), up(1));
        assert_eq!(present.at(up(1)), None);
        present.observe(wall(3, ClockQuality::Unknown), up(1));
        assert_eq!(present.at(up(1)), None, "1970 is not plausible, whoever says so");
        present.observe(wall(NOON, ClockQuality::Unknown), up(2));
        present.observe(wall(NOON - 3_600 * SECOND, ClockQuality::Synced), up(3));
        present.observe(wall(7, ClockQuality::Unset), up(4));
        assert_eq!(present.at(up(12)), Some(EventTime(NOON + 10 * SECOND)));
    }

    #[test]
    fn a_stamp_from_the_future_is_moved_to_the_present_and_never_back() {
        let present = EventTime(NOON);
        let absurd = EventTime(NOON + 3_600 * SECOND);
        let cases = [
            // newest stamp so far, uptime passed since, time to file the absurd stamp under
            (None, 0, NOON),
            (Some(NOON - 10 * SECOND), 2, NOON - 8 * SECOND),
            (Some(NOON - 10 * SECOND), 60, NOON),
            (Some(NOON - 10 * SECOND), 0, NOON - 10 * SECOND + 1),
            (Some(NOON + 5 * SECOND), 1, NOON + 5 * SECOND + 1),
        ];
        for (newest, passed, expect) in cases {
            let mut watermark = Watermark::default();
            if let Some(newest) = newest {
                watermark.observe(EventTime(newest), up(100));
            }
            let mut guard = FutureGuard::new(Some(present), Duration::from_mins(1), up(100 + passed));
            let filed = guard.admit(absurd, &watermark);
            assert_eq!(filed.0 - NOON, expect - NOON, "{newest:?} {passed}");
            watermark.observe(filed, up(100 + passed));
            assert_eq!(guard.admit(absurd, &watermark), filed, "a row stays a row");
            let next = guard.admit(EventTime(absurd.0 + 1), &watermark);
            assert!(next > filed, "instants stay distinct");
        }
    }

    #[test]
    fn stamps_are_left_alone_while_the_present_is_unknown_or_near() {
        let watermark = Watermark::default();
        for (present, stamp, expect) in [
            (None, NOON, NOON),
            (None, i64::MAX, STAMP_MAX.0),
            (None, i64::MIN, -STAMP_MAX.0),
            (Some(NOON), NOON + 60 * SECOND, NOON + 60 * SECOND),
            (Some(NOON), 0, 0),
        ] {
            let mut guard = FutureGuard::new(present.map(EventTime), Duration::from_mins(1), up(1));
            assert_eq!(guard.admit(EventTime(stamp), &watermark), EventTime(expect));
        }
    }
}
