//! Progress of the tasks: the watchdog is fed only while every one of them moves.
//!
//! A task ticks after useful work or after a turn in which it found nothing to do, never from a timer of its own:
//! the watchdog asserts work, not existence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Uptime;

/// The tasks that must move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Reads the plant broker, or waits to reach it.
    Ingest,
    /// Decodes, windows, decides.
    Analyze,
    /// Runs the models.
    Infer,
    /// Writes and syncs the outbox.
    Outbox,
    /// Sends upstream, or waits to reach it.
    Forward,
    /// Reads heat and memory.
    Governor,
}

impl Task {
    /// All of them, in the order of the flow.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Analyze, Self::Infer, Self::Outbox, Self::Forward, Self::Governor];

    /// The word used in `status/health`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Analyze => "analyze",
            Self::Infer => "infer",
            Self::Outbox => "outbox",
            Self::Forward => "forward",
            Self::Governor => "governor",
        }
    }

    /// Longest time between two ticks of a healthy task.
    ///
    /// Every task wakes at least once a second when idle. Ten seconds leave room for a slow fsync on a worn card
    /// (seconds have been seen) and for a slow model; the unit's `WatchdogSec` is three times this.
    pub fn silence_max(self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What happens where a task ticks, in the tests of the watchdog: it may never return, and says who is taken to have moved.
#[cfg(test)]
pub(crate) static FAIL_POINT: std::sync::OnceLock<fn(Task) -> Vec<Task>> = std::sync::OnceLock::new();

/// When each task last moved.
#[derive(Debug)]
pub struct Progress([AtomicU64; Task::ALL.len()]);

impl Progress {
    /// Every task is taken to have moved at `now`.
    pub fn new(now: Uptime) -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(now.0)))
    }

    /// The task has moved.
    pub fn tick(&self, task: Task, now: Uptime) {
        #[cfg(test)]
        if let Some(fail_point) = FAIL_POINT.get() {
            for moved in fail_point(task) {
                self.note(moved, now);
            }
            return;
        }
        self.note(task, now);
    }

    fn note(&self, task: Task, now: Uptime) {
        if let Some(slot) = self.0.get(task as usize) {
            slot.store(now.0, Ordering::Relaxed);
        }
    }

    /// Every task is taken to have moved at `now`: what came before, examining the models, was nobody's delay.
    pub fn restart(&self, now: Uptime) {
        for task in Task::ALL {
            self.tick(task, now);
        }
    }

    /// Time since the task last moved.
    pub fn silence(&self, task: Task, now: Uptime) -> Duration {
        self.0
            .get(task as usize)
            .map_or(Duration::ZERO, |slot| now.since(Uptime(slot.load(Ordering::Relaxed))))
    }

    /// The first task, in the order of the flow, that has not moved within its limit.
    pub fn stalled(&self, now: Uptime) -> Option<Task> {
        Task::ALL.into_iter().find(|&task| self.silence(task, now) > task.silence_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_silent_task_is_enough_to_withhold_the_watchdog() {
        let start = Uptime::ZERO;
        let progress = Progress::new(start);
        let later = start.after(Duration::from_secs(11));
        assert_eq!(progress.stalled(later), Some(Task::ALL[0]));
        progress.restart(later);
        assert_eq!(progress.stalled(later), None);
        let much_later = later.after(Duration::from_secs(11));
        for task in Task::ALL.into_iter().filter(|&task| task != Task::Outbox) {
            progress.tick(task, much_later);
        }
        assert_eq!(progress.stalled(much_later), Some(Task::Outbox));
    }
}
