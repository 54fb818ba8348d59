//! A token bucket of processor time.
//!
//! # Invariants
//! Over any span of time the models are given at most `rate * span` + [`BURST`] of the rate + [`OVERDRAFT`] + what the
//! batches under way cost that were started with the last of it.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::Priority;
use crate::units::Millicores;

/// What may be saved up while nothing is to do: so much time at the rate. Long enough that windows which close
/// together, once a second, need not wait for one another; short against the minutes in which a case heats up.
pub const BURST: Duration = Duration::from_secs(1);

/// Processor time that alarms may take beyond the rate; others pay it back by waiting. An alarm that comes with two
/// hundred others, 10 ms each, is still judged at once; alarms without end are held to the rate like all.
pub const OVERDRAFT: Duration = Duration::from_secs(2);

/// Processor time that may be spent. In debt after a batch that cost more than there was.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Millicores,
    /// In nanoseconds of processor time.
    balance: i64,
    at: Uptime,
}

impl Bucket {
    /// Without a limit.
    pub fn new() -> Self {
        Self { rate: Millicores::UNLIMITED, balance: 0, at: Uptime::ZERO }
    }

    /// Fills up to `now` at the rate that held, and takes on another.
    pub fn refill(&mut self, now: Uptime, rate: Millicores) {
        let earned = self.earned(now.since(self.at));
        self.at = self.at.max(now);
        let is_new = self.is_unlimited() && rate != Millicores::UNLIMITED;
        self.rate = rate;
        let full = self.earned(BURST);
        self.balance = if is_new { full } else { self.balance.saturating_add(earned).min(full) };
    }

    /// Whether work of a lane may start.
    pub fn allows(&self, priority: Priority) -> bool {
        self.is_unlimited() || self.balance > floor(priority)
    }

    /// When work of a lane may start that must wait now; `None` when the rate never allows it.
    pub fn opens(&self, priority: Priority) -> Option<Uptime> {
        let short = floor(priority).saturating_sub(self.balance).saturating_add(1);
        Some(self.at.after(self.time_to_earn(u64::try_from(short).unwrap_or(0))?))
    }

    /// When so much processor time will have been earned, debts paid, for a lane.
    pub fn affords(&self, spent: Duration, priority: Priority) -> Option<Uptime> {
        if self.is_unlimited() {
            return Some(self.at);
        }
        let short = nanos(spent).saturating_add(floor(priority)).saturating_sub(self.balance);
        Some(self.at.after(self.time_to_earn(u64::try_from(short).unwrap_or(0))?))
    }

    /// Takes what a batch is expected to cost.
    pub fn take(&mut self, expected: Duration) {
        if !self.is_unlimited() {
            self.balance = self.balance.saturating_sub(nanos(expected));
        }
    }

    /// Corrects what was taken to what it came to.
    pub fn correct(&mut self, expected: Duration, spent: Duration) {
        if !self.is_unlimited() {
            self.balance = self.balance.saturating_add(nanos(expected)).saturating_sub(nanos(spent));
        }
    }

    fn is_unlimited(&self) -> bool {
        self.rate == Millicores::UNLIMITED
    }

    fn earned(&self, span: Duration) -> i64 {
        let earned = span.as_nanos().saturating_mul(u128::from(self.rate.0)) / 1_000;
        i64::try_from(earned).unwrap_or(i64::MAX)
    }

    fn time_to_earn(&self, nanos: u64) -> Option<Duration> {
        let time = (u128::from(nanos) * 1_000).checked_div(u128::from(self.rate.0));
        match time {
            Some(time) => {
                Some(Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX).saturating_add(1)))
            }
            None if nanos == 0 => Some(Duration::ZERO),
            None => None,
        }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::new()
    }
}

/// The balance above which work of a lane may start.
fn floor(priority: Priority) -> i64 {
    match priority {
        Priority::Alarm => -nanos(OVERDRAFT),
        Priority::Normal | Priority::Bulk => 0,
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Millicores = Millicores(500);

    fn at(millis: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn work_may_start_again_at_the_moment_that_was_told_and_not_before() {
        let mut bucket = Bucket::new();
        assert!(bucket.allows(Priority::Bulk), "no limit");
        bucket.refill(at(0), HALF);
        bucket.take(Duration::from_millis(800));
        for (lane, moment) in [(Priority::Normal, 600), (Priority::Bulk, 600), (Priority::Alarm, 0)] {
            let opens = bucket.opens(lane).unwrap();
            assert!(opens >= at(moment) && opens < at(moment + 1), "{lane:?}: {opens:?}");
            let mut later = bucket.clone();
            later.refill(opens, HALF);
            assert!(later.allows(lane));
        }
        bucket.refill(at(599), HALF);
        assert!(!bucket.allows(Priority::Normal));
    }

    #[test]
    fn what_a_batch_came_to_counts_and_a_rate_of_nothing_never_opens() {
        let mut bucket = Bucket::new();
        bucket.refill(at(0), HALF);
        bucket.take(Duration::from_millis(100));
        bucket.correct(Duration::from_millis(100), Duration::from_secs(3));
        assert!(!bucket.allows(Priority::Alarm), "the overdraft is bounded");
        assert_eq!(bucket.opens(Priority::Normal), Some(at(5_000).after(Duration::from_nanos(3))));
        bucket.refill(at(0), Millicores(0));
        assert_eq!(bucket.opens(Priority::Normal), None);
        bucket.refill(at(1), Millicores::UNLIMITED);
        assert!(bucket.allows(Priority::Normal));
    }
}
