//! Says when a task makes no progress, and when all of them do again: not once a turn.

use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Uptime;
use crate::telemetry::Task;

/// A task that stands still is named this often. Where no watchdog ends the gateway it may stand for days.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// What was told last.
#[derive(Debug, Default)]
pub(in crate::runtime::supervisor) struct StallTeller {
    told: Option<(Task, Uptime)>,
}

impl StallTeller {
    /// Takes the task that stands still, if one does, and tells it if that is news or was long ago.
    pub(in crate::runtime::supervisor) fn tell(&mut self, stalled: Option<Task>, now: Uptime) {
        if !self.is_due(stalled, now) {
            return;
        }
        if let Some(task) = stalled {
            warn!(task = task.as_str(), "a task makes no progress, watchdog is not fed");
        } else {
            info!("all tasks make progress again, watchdog is fed");
        }
    }

    fn is_due(&mut self, stalled: Option<Task>, now: Uptime) -> bool {
        let is_due = match (stalled, self.told) {
            (None, told) => told.is_some(),
            (Some(task), Some((known, at))) => task != known || now.since(at) >= WARN_EVERY,
            (Some(_), None) => true,
        };
        if is_due {
            self.told = stalled.map(|task| (task, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that hung for a day with nobody to end the gateway took 86,000 lines of the log.
    #[test]
    fn a_task_that_stands_still_is_told_at_once_then_once_a_minute_and_once_when_it_moves() {
        let mut teller = StallTeller::default();
        let mut told =
            |stalled, seconds| teller.is_due(stalled, Uptime::ZERO.after(Duration::from_secs(seconds)));
        assert!(!told(None, 0), "nothing has happened");
        assert!(told(Some(Task::Outbox), 1), "at once");
        assert_eq!((2..=3_601).filter(|&second| told(Some(Task::Outbox), second)).count(), 60);
        assert!(told(Some(Task::Analyze), 3_602), "another one");
        assert!(told(None, 3_603) && !told(None, 3_604), "once");
    }
}
