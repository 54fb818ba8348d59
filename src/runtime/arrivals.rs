//! Arrival times: what samples get that bring no time of their own.

use std::time::Duration;

use crate::clock::{EventTime, Uptime, UtcTime};

/// Gives each message an arrival time of its own, later than that of the one before.
///
/// Two samples of one source at one instant would pass for a duplicate, and a sample before the one before it for
/// late. So messages taken together are a microsecond apart, and time goes on with the uptime when the wall clock is
/// set back; a jump ahead is followed.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Arrivals {
    /// The furthest the wall clock has been ahead of the uptime, in microseconds.
    ahead: Option<i64>,
    last: EventTime,
}

impl Arrivals {
    /// The event time of a moment of uptime: what the gateway measures itself it can date to the microsecond.
    pub(in crate::runtime) fn of(&mut self, taken: Uptime, received: Uptime, wall: UtcTime) -> EventTime {
        let ahead = self.follow(received, wall);
        EventTime(EventTime(0).after(taken.since(Uptime::ZERO)).0.saturating_add(ahead))
    }

    /// The arrival time of the next message.
    pub(in crate::runtime) fn next(&mut self, received: Uptime, wall: UtcTime) -> EventTime {
        let ahead = self.follow(received, wall);
        let at = EventTime(EventTime(0).after(received.since(Uptime::ZERO)).0.saturating_add(ahead));
        self.last = at.max(self.last.after(Duration::from_micros(1)));
        self.last
    }

    /// How far the wall clock is ahead of the uptime.
    fn follow(&mut self, received: Uptime, wall: UtcTime) -> i64 {
        let uptime = EventTime(0).after(received.since(Uptime::ZERO));
        let ahead = wall.micros.saturating_sub(uptime.0);
        let ahead = self.ahead.map_or(ahead, |before| before.max(ahead));
        self.ahead = Some(ahead);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockQuality;

    const NOON: i64 = 1_800_000_000_000_000;

    /// Arrival times relative to noon for (uptime, wall relative to noon) in microseconds.
    fn arrivals(clocks: &[(u64, i64)]) -> Vec<i64> {
        let mut arrivals = Arrivals::default();
        let next = |&(uptime, wall): &(u64, i64)| {
            let wall = UtcTime { micros: NOON + wall, quality: ClockQuality::Unknown };
            arrivals.next(Uptime(uptime * 1_000), wall).0 - NOON
        };
        clocks.iter().map(next).collect()
    }

    #[test]
    fn messages_taken_together_are_told_apart_and_later_ones_follow_the_clock() {
        assert_eq!(arrivals(&[(5, 0), (5, 0), (5, 0), (105, 100), (106, 101)]), [0, 1, 2, 100, 101]);
        assert_eq!(arrivals(&[(5, 0), (5, 0), (5, 0), (6, 1), (9, 4)]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_clock_set_back_does_not_turn_time_back_and_one_set_ahead_is_followed() {
        let hour = 3_600_000_000;
        assert_eq!(arrivals(&[(0, 0), (10, 10), (20, 20 - hour), (30, 30 - hour)]), [0, 10, 20, 30]);
        assert_eq!(arrivals(&[(0, 0), (10, hour), (20, hour + 10)]), [0, hour, hour + 10]);
    }
}
