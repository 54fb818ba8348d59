//! Repeats what fails, at growing intervals, and logs only when the state changes.

use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Uptime;
use crate::forward::{Backoff, Link};

/// Longest time an idle task sleeps before it ticks: a tenth of the silence the watchdog allows.
pub(in crate::runtime) const IDLE_TURN: Duration = Duration::from_secs(1);

/// The plant's broker is next door and decisions wait for it: try again soon, and never less often than this.
const PLANT_MIN: Duration = Duration::from_millis(200);
const PLANT_MAX: Duration = Duration::from_secs(10);

/// Attempts to reach something.
pub(in crate::runtime) struct Retry {
    link: Link,
}

impl Retry {
    /// Intervals for the plant's broker.
    pub(in crate::runtime) fn plant() -> Self {
        Self { link: Link::new(Backoff::new(PLANT_MIN, PLANT_MAX)) }
    }

    /// It failed. Logged once for each time it stops working; one that works for moments only has not worked.
    pub(in crate::runtime) fn failed(&mut self, now: Uptime, error: &str, what: &'static str) {
        self.link.disconnected(now, fastrand::f64());
        if self.link.failures() == 1 {
            warn!(error, what, "away; trying again");
        }
    }

    /// It works again.
    pub(in crate::runtime) fn succeeded(&mut self, now: Uptime, what: &'static str) {
        if self.link.failures() > 0 {
            info!(what, attempts = self.link.failures(), "reached again");
        }
        self.link.connected(now);
    }

    /// When to try again.
    pub(in crate::runtime) fn due(&self) -> Uptime {
        self.link.poll_timeout().unwrap_or(Uptime::ZERO)
    }
}

/// Marks a result that nobody needs: what failed is tried again, or is worthless later. The caller says which.
pub(in crate::runtime) fn best_effort<T, E>(_result: Result<T, E>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_hangs_up_at_once_is_asked_less_and_less_often() {
        let (mut retry, mut now) = (Retry::plant(), Uptime::ZERO);
        let mut waited = Vec::new();
        for _ in 0..20 {
            retry.succeeded(now, "broker");
            retry.failed(now, "hung up", "broker");
            waited.push(retry.due().since(now));
            now = retry.due();
        }
        assert!(now.since(Uptime::ZERO) > PLANT_MAX * 3, "{waited:?}");
        assert!(waited.iter().all(|wait| *wait <= PLANT_MAX), "{waited:?}");
        retry.succeeded(now, "broker");
        let later = now.after(Duration::from_mins(2));
        retry.failed(later, "went", "broker");
        assert!(retry.due().since(later) <= PLANT_MIN * 2, "one that worked is tried again soon");
    }
}
