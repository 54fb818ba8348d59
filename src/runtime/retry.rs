//! Repeats what fails, at growing intervals, and logs only when the state changes.

use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Uptime;
use crate::forward::Backoff;

/// Longest time an idle task sleeps before it ticks: a tenth of the silence the watchdog allows.
pub(in crate::runtime) const IDLE_TURN: Duration = Duration::from_secs(1);

/// The plant's broker is next door and decisions wait for it: try again soon, and never less often than this.
const PLANT_MIN: Duration = Duration::from_millis(200);
const PLANT_MAX: Duration = Duration::from_secs(10);

/// What works for so long has recovered. What ends sooner counts as one more failure: a broker that hangs up at once is
/// not hammered.
const STABLE: Duration = PLANT_MAX;

/// Attempts to reach something.
pub(in crate::runtime) struct Retry {
    backoff: Backoff,
    delay: Duration,
    /// Since when it works.
    since: Option<Uptime>,
}

impl Retry {
    /// Intervals for the plant's broker.
    pub(in crate::runtime) fn plant() -> Self {
        Self { backoff: Backoff::new(PLANT_MIN, PLANT_MAX), delay: Duration::ZERO, since: None }
    }

    /// It failed. Logged once for each time it stops working.
    pub(in crate::runtime) fn failed(&mut self, error: &str, what: &'static str, now: Uptime) {
        if self.since.take().is_some_and(|since| now.since(since) >= STABLE) {
            self.backoff.reset();
        }
        if self.backoff.failures() == 0 {
            warn!(error, what, "lost");
        }
        self.delay = self.backoff.fail(fastrand::f64());
    }

    /// It works again; for good if it lasts.
    pub(in crate::runtime) fn succeeded(&mut self, what: &'static str, now: Uptime) {
        if self.backoff.failures() > 0 {
            info!(what, attempts = self.backoff.failures(), "reached again");
        }
        self.since = Some(now);
    }

    /// How long to wait before the next attempt.
    pub(in crate::runtime) fn next_delay(&self) -> Duration {
        self.delay
    }
}

/// Marks a result that nobody needs: what failed is tried again, or is worthless later. The caller says which.
pub(in crate::runtime) fn best_effort<T, E>(_result: Result<T, E>) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plant broker that hung up after each welcome was called nine times a second, with three lines in the log each
    /// time: every welcome counted as a recovery.
    #[test]
    fn a_broker_that_hangs_up_after_each_welcome_is_called_less_and_less() {
        let mut retry = Retry::plant();
        let mut now = Uptime::ZERO;
        let mut calls = 0;
        while now < Uptime::ZERO.after(Duration::from_mins(1)) {
            retry.succeeded("broker", now);
            retry.failed("it hung up", "broker", now);
            now = now.after(retry.next_delay());
            calls += 1;
        }
        assert!(calls < 60, "{calls}");
        retry.succeeded("broker", now);
        retry.failed("it hung up", "broker", now.after(STABLE));
        assert!(retry.next_delay() <= PLANT_MIN, "it had recovered");
    }
}
