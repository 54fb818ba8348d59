//! How long to wait after a failure: exponential with full jitter, so that a fleet does not come back all at once.

use std::time::Duration;

/// Counts failures and says how long to wait.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

/// Share of the shortest step that is always waited: a random zero must not make a busy loop.
const FLOOR_DIVISOR: u32 = 10;

/// A failure for a person waits up to this part of the longest wait at once.
const HARD_DIVISOR: u32 = 4;

impl Backoff {
    /// Waits up to `min` after the first failure, twice that after each further one, up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Counts a failure; `random` is uniform in 0 to 1. Returns how long to wait.
    pub fn fail(&mut self, random: f64) -> Duration {
        // 2^31 steps of a microsecond already exceed every sensible maximum.
        let ceiling = self.min.saturating_mul(1 << self.failures.min(31)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let share = if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 };
        ceiling.mul_f64(share).max(self.min / FLOOR_DIVISOR)
    }

    /// Counts a failure that a person has to mend, such as a refused password: soon waits long.
    pub fn fail_hard(&mut self, random: f64) -> Duration {
        let enough = (0..31).find(|steps| self.min.saturating_mul(1 << steps) >= self.max / HARD_DIVISOR);
        self.failures = self.failures.max(enough.unwrap_or(31));
        self.fail(random)
    }

    /// A short wait for something that has just worked: no failure is counted.
    pub fn glance(&self, random: f64) -> Duration {
        let share = if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 };
        (self.min / 2).mul_f64(share).max(self.min / FLOOR_DIVISOR)
    }

    /// Starts with the failures of an earlier run.
    #[must_use]
    pub fn resumed(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Longest wait of all.
    pub fn longest(&self) -> Duration {
        self.max
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_wait_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::new(SECOND, SECOND * 900);
        let waits: Vec<_> = (0..12).map(|_| backoff.fail(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        backoff.reset();
        assert_eq!(backoff.fail(1.0), SECOND);
    }

    #[test]
    fn the_wait_is_spread_over_the_whole_step_and_never_nothing() {
        for (random, expected) in
            [(0.0, 100), (0.05, 100), (0.5, 500), (1.0, 1000), (f64::NAN, 1000), (-1.0, 100)]
        {
            let wait = Backoff::new(SECOND, SECOND * 900).fail(random);
            assert_eq!(wait, Duration::from_millis(expected), "{random}");
        }
    }

    #[test]
    fn what_a_person_must_mend_is_not_tried_every_second() {
        let mut backoff = Backoff::new(SECOND, SECOND * 900);
        let waits: Vec<_> = (0..4).map(|_| backoff.fail_hard(1.0).as_secs()).collect();
        assert_eq!(waits, [256, 512, 900, 900]);
    }

    #[test]
    fn a_year_of_failures_does_not_overflow() {
        let mut backoff = Backoff::new(SECOND, SECOND * 900);
        backoff.failures = u32::MAX - 1;
        for _ in 0..4 {
            assert_eq!(backoff.fail(1.0), SECOND * 900);
        }
    }
}
