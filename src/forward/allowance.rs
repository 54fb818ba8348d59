//! How many bytes may be sent: a mean bit rate and a budget for each UTC day.

use std::time::Duration;

use crate::clock::{Uptime, UtcTime};
use crate::forward::ForwardConfig;
use crate::units::Bytes;

/// A day of UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

/// Keeps both limits.
///
/// Rate: in any span of time T, at most `rate × (T + 1 s)` and one batch. Day: never more than the budget.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// The ceiling; `None`: there is none.
    bits_per_second: Option<u64>,
    /// When everything sent so far would have passed at the allowed rate.
    paid: Uptime,
    daily: Option<u64>,
    /// What lanes other than the alarm lane may use of it.
    daily_ordinary: Option<u64>,
    /// Bytes of the last days seen, latest first.
    days: [(Day, u64); DAYS],
}

/// What was taken off the limits for one batch, to give it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    bytes: u64,
    day: Day,
    /// What had been paid for before and after.
    before: Uptime,
    after: Uptime,
}

/// Traffic that may run ahead of the rate: an alarm should not wait for the bytes of the last second.
const BURST: Duration = Duration::from_secs(1);

/// Days remembered. A wall clock that is stepped to and fro finds the bytes of each day again.
const DAYS: usize = 4;

const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Day {
    /// The day of a wall time.
    pub fn of(time: UtcTime) -> Self {
        Self(time.micros.div_euclid(MICROS_PER_DAY))
    }
}

impl Allowance {
    /// Nothing sent yet.
    pub fn new(config: &ForwardConfig) -> Self {
        let share = f64::from(config.alarm_reserve.get());
        let daily_ordinary = config.daily.map(|daily| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
            let reserve = (daily.0 as f64 * share).round() as u64;
            daily.0.saturating_sub(reserve)
        });
        Self {
            bits_per_second: config.rate.map(|rate| rate.0.max(1)),
            paid: Uptime::ZERO,
            daily: config.daily.map(|daily| daily.0),
            daily_ordinary,
            days: [(Day(i64::MIN), 0); DAYS],
        }
    }

    /// Whether the rate lets something out now; the bytes may be any number, the debt is waited for afterwards.
    pub fn rate_allows(&self, now: Uptime) -> bool {
        self.bits_per_second.is_none() || self.ready() <= now
    }

    /// When the rate lets something out again.
    pub fn ready(&self) -> Uptime {
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        Uptime(self.paid.0.saturating_sub(burst))
    }

    /// Bytes left of this day for the alarm lane or for the others; `None`: no budget.
    pub fn left(&self, alarm: bool, day: Day) -> Option<Bytes> {
        let budget = if alarm { self.daily } else { self.daily_ordinary };
        budget.map(|budget| Bytes(budget.saturating_sub(self.sent_on(day).0)))
    }

    /// Bytes sent on a day.
    pub fn sent_on(&self, day: Day) -> Bytes {
        Bytes(self.days.iter().find(|(known, _)| *known == day).map_or(0, |(_, sent)| *sent))
    }

    /// Takes bytes off both limits.
    pub fn spend(&mut self, bytes: u64, now: Uptime, day: Day) -> Spent {
        let before = self.paid;
        self.paid = before.max(now).after(self.time_for(bytes));
        *self.day_mut(day) += bytes;
        Spent { bytes, day, before, after: self.paid }
    }

    /// Gives back bytes that were not sent after all. The rate gets them back only if nothing was sent since: otherwise
    /// the time they would have taken may have passed already, and giving it back would let more out than is allowed.
    pub fn refund(&mut self, spent: &Spent) {
        if self.paid == spent.after {
            self.paid = spent.before;
        }
        let sent = self.day_mut(spent.day);
        *sent = sent.saturating_sub(spent.bytes);
    }

    /// Time the bytes take at the allowed rate.
    fn time_for(&self, bytes: u64) -> Duration {
        let Some(rate) = self.bits_per_second else { return Duration::ZERO };
        let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The counter of a day; forgets the day that has not been used for longest when it is a new one.
    fn day_mut(&mut self, day: Day) -> &mut u64 {
        let at = self.days.iter().position(|(known, _)| *known == day);
        if let Some(upto) = self.days.get_mut(..=at.unwrap_or(DAYS - 1)) {
            upto.rotate_right(1);
        }
        let [(latest, sent), ..] = &mut self.days;
        if at.is_none() {
            (*latest, *sent) = (day, 0);
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{BitRate, Ratio};

    fn allowance(rate: Option<u64>, daily: Option<u64>) -> Allowance {
        Allowance::new(&ForwardConfig {
            rate: rate.map(BitRate),
            daily: daily.map(Bytes),
            alarm_reserve: Ratio::of(1, 10),
            ..ForwardConfig::default()
        })
    }

    const fn seconds(seconds: u64) -> Uptime {
        Uptime(seconds * 1_000_000_000)
    }

    #[test]
    fn a_day_of_full_speed_keeps_the_mean_rate() {
        let mut allowance = allowance(Some(64_000), None);
        let (mut sent, batch) = (0, 5_000);
        for second in 0..3_600 {
            while allowance.rate_allows(seconds(second)) {
                allowance.spend(batch, seconds(second), Day(0));
                sent += batch;
            }
        }
        let fair = 8_000 * 3_600;
        assert!((fair - batch..=fair + 8_000 + batch).contains(&sent), "{sent}");
    }

    #[test]
    fn silence_is_not_saved_up() {
        let mut allowance = allowance(Some(8_000), None);
        let mut sent = 0;
        while allowance.rate_allows(seconds(86_400)) {
            allowance.spend(100, seconds(86_400), Day(0));
            sent += 100;
        }
        assert_eq!(sent, 1_100, "one second's worth and one batch");
    }

    #[test]
    fn the_last_tenth_of_a_day_belongs_to_alarms() {
        let mut allowance = allowance(None, Some(1_000));
        allowance.spend(900, seconds(1), Day(7));
        assert_eq!(allowance.left(false, Day(7)), Some(Bytes(0)));
        assert_eq!(allowance.left(true, Day(7)), Some(Bytes(100)));
        allowance.spend(100, seconds(2), Day(7));
        assert_eq!(allowance.left(true, Day(7)), Some(Bytes(0)));
        assert_eq!(allowance.left(false, Day(8)), Some(Bytes(900)), "a new day");
    }

    #[test]
    fn a_clock_stepped_over_midnight_and_back_buys_nothing() {
        let mut allowance = allowance(None, Some(1_000));
        allowance.spend(800, seconds(1), Day(7));
        let second = allowance.spend(100, seconds(2), Day(8));
        assert_eq!(allowance.left(true, Day(7)), Some(Bytes(200)));
        allowance.spend(200, seconds(3), Day(7));
        assert_eq!(allowance.left(true, Day(7)), Some(Bytes(0)));
        assert_eq!(allowance.left(true, Day(8)), Some(Bytes(900)));
        allowance.refund(&second);
        assert_eq!(allowance.sent_on(Day(8)), Bytes(0));
    }

    /// Found by the property test of the session: a batch taken back after its time on the wire had passed bought the
    /// same time again, and more left than the rate allows.
    #[test]
    fn what_is_given_back_late_buys_no_time_that_has_passed() {
        let (rate, day) = (Some(8_000), Day(7));
        let mut prompt = allowance(rate, None);
        let first = prompt.spend(5_000, seconds(10), day);
        prompt.refund(&first);
        assert!(prompt.rate_allows(seconds(10)), "as if it had never been sent");

        let mut late = allowance(rate, None);
        let first = late.spend(5_000, seconds(10), day);
        late.spend(5_000, seconds(14), day);
        late.refund(&first);
        assert_eq!(late.ready(), seconds(19), "the second is still to be paid for");
        assert_eq!(late.sent_on(day), Bytes(5_000));
    }

    #[test]
    fn days_before_1970_and_the_end_of_time_are_days() {
        let day = |micros| Day::of(UtcTime { micros, quality: crate::clock::ClockQuality::Unset });
        assert_eq!(day(-1), Day(-1));
        assert_eq!(day(0), Day(0));
        assert_eq!(day(MICROS_PER_DAY), Day(1));
        assert!(day(i64::MIN) < day(i64::MAX));
    }
}
