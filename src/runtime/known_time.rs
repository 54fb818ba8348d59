//! The last wall time that a time service had confirmed, kept over restarts: a lower bound for a clock that is not set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{Clock, ClockQuality, EventTime, SystemClock, Uptime};
use crate::io::files::read_bytes;
use crate::runtime::state_files::{StateFile, StateFiles};

/// Written this often while the clock is confirmed: the bound is a day old at most, the disk wears by a block a day.
const KEPT_EVERY: Duration = Duration::from_hours(24);

/// Longest file that is read: more digits than any time has.
const FILE_BYTES_MAX: u64 = 64;

/// The file, seconds since 1970 in decimal digits, and when it was last written.
pub(in crate::runtime) struct KnownTime {
    path: PathBuf,
    files: StateFiles,
    written: Option<Uptime>,
}

impl KnownTime {
    /// In this state directory.
    pub(in crate::runtime) fn in_folder(state_dir: &Path, files: StateFiles) -> Self {
        Self { path: state_dir.join(StateFile::Clock.name()), files, written: None }
    }

    /// What an earlier run has kept.
    pub(in crate::runtime) fn read(&self) -> Option<EventTime> {
        let text = String::from_utf8(read_bytes(&self.path, FILE_BYTES_MAX).ok()?).ok()?;
        let seconds = text.trim().parse::<u32>().ok()?;
        Some(EventTime(i64::from(seconds) * 1_000_000))
    }

    /// Keeps the present time if it is confirmed and a day has passed.
    pub(in crate::runtime) fn keep(&mut self, clock: &SystemClock) {
        let (now, wall) = (clock.uptime(), clock.utc());
        let is_due = self.written.is_none_or(|at| now.since(at) >= KEPT_EVERY);
        if wall.quality != ClockQuality::Synced || !is_due {
            return;
        }
        self.written = Some(now);
        let text = format!("{}\n", wall.micros.div_euclid(1_000_000));
        self.files.put(StateFile::Clock, text.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn only_a_confirmed_time_is_kept_and_garbage_is_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let clock = SystemClock::start();
        let files = StateFiles::start(folder.path(), &Arc::new(Metrics::new())).unwrap();
        let mut known = KnownTime::in_folder(folder.path(), files.clone());
        known.keep(&clock);
        assert_eq!(known.read(), None, "not confirmed");
        clock.confirm(true);
        known.keep(&clock);
        files.end().await;
        let kept = known.read().unwrap();
        assert!(EventTime::from(clock.utc()).micros_since(kept).abs() < 5_000_000, "{kept:?}");
        for garbage in ["", "x", "-1", "99999999999999999999"] {
            std::fs::write(folder.path().join("clock"), garbage).unwrap();
            assert_eq!(known.read(), None, "{garbage}");
        }
    }

    /// It is read before any signal is heard again: a pipe there held up the start and its end for good.
    #[test]
    fn a_pipe_in_the_place_of_the_time_is_no_time_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = StateFiles::start(folder.path(), &Arc::new(Metrics::new())).unwrap();
        let known = KnownTime::in_folder(folder.path(), files);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("clock"), rustix::fs::Mode::RUSR).unwrap();
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || done.send(known.read()).unwrap());
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)).unwrap(), None);
    }
}
