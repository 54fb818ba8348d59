//! Repeats what fails, at growing intervals, and logs only when the state changes.

use std::time::Duration;

use tracing::{info, warn};

use crate::forward::Backoff;

/// Longest time an idle task sleeps before it ticks: a tenth of the silence the watchdog allows.
pub(in crate::runtime) const IDLE_TURN: Duration = Duration::from_secs(1);

/// The plant's broker is next door and decisions wait for it: try again soon, and never less often than this.
const PLANT_MIN: Duration = Duration::from_millis(200);
const PLANT_MAX: Duration = Duration::from_secs(10);

/// Attempts to reach something.
pub(in crate::runtime) struct Retry {
    backoff: Backoff,
    delay: Duration,
}

impl Retry {
    /// Intervals for the plant's broker.
    pub(in crate::runtime) fn plant() -> Self {
        Self { backoff: Backoff::new(PLANT_MIN, PLANT_MAX), delay: Duration::ZERO }
    }

    /// It failed. Logged once for each time it stops working.
    pub(in crate::runtime) fn failed(&mut self, error: &str, what: &'static str) {
        if self.backoff.failures() == 0 {
            warn!(error, what, "lost");
        }
        self.delay = self.backoff.fail(fastrand::f64());
    }

    /// It works again.
    pub(in crate::runtime) fn succeeded(&mut self, what: &'static str) {
        if self.backoff.failures() > 0 {
            info!(what, attempts = self.backoff.failures(), "reached again");
        }
        self.backoff.reset();
    }

    /// How long to wait before the next attempt.
    pub(in crate::runtime) fn next_delay(&self) -> Duration {
        self.delay
    }
}

/// Marks a result that nobody needs: what failed is tried again, or is worthless later. The caller says which.
pub(in crate::runtime) fn best_effort<T, E>(_result: Result<T, E>) {}
