//! Starts that did not end in order: after five of them in ten minutes the next one leaves the models out.
//!
//! # Why
//! Where nobody is there, a gateway that crashes at once must not do so for ever. What changes most and computes most are the
//! models; without them everything else goes on: samples are counted, what is stored is delivered, standing alarms stand.
//!
//! No clock is needed for it. The time since the boot tells how far two starts lie apart at least, also when the board was
//! booted in between; a wall clock that was set both times can only make that more.

use std::path::Path;
use std::time::Duration;

use tracing::{error, warn};

use crate::clock::{Clock, ClockQuality, SystemClock, Uptime};
use crate::io::files::{read_bytes, state_folder};
use crate::runtime::state_files::{StateFile, StateFiles};

/// So many starts without an orderly end make the next one a safe one.
pub(in crate::runtime) const CRASHES_MAX: usize = 5;

/// In this time.
pub(in crate::runtime) const CRASHES_WITHIN: Duration = Duration::from_mins(10);

/// A run as long as this was a good one: whatever went wrong before is forgotten.
const GOOD_AFTER: Duration = Duration::from_mins(10);

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// What a safe start says of its models.
pub(in crate::runtime) const LEFT_OUT: &str = "left out in safe mode";

/// When a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// Seconds since the boot.
    booted: u64,
    /// Seconds since 1970, if the clock was set.
    wall: Option<i64>,
}

/// Starts without an orderly end, the oldest first, this one last; on the disk a line for each, seconds since the boot
/// and, where the clock was set, seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Starts(Vec<Start>);

impl Start {
    /// The least time that has passed since an earlier start.
    fn since(self, earlier: Self) -> Duration {
        // A smaller number means a boot in between, and that at least this one has passed since.
        let least = self.booted.checked_sub(earlier.booted).unwrap_or(self.booted);
        let by_wall = self.wall.zip(earlier.wall).map(|(now, then)| now.saturating_sub(then));
        let by_wall = by_wall.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        Duration::from_secs(least.max(by_wall))
    }
}

impl Starts {
    /// Notes a start; true if those before it were a crash loop.
    fn begin(&mut self, start: Start) -> bool {
        self.0.push(start);
        let excess = self.0.len().saturating_sub(CRASHES_MAX + 1);
        self.0.drain(..excess);
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        // Numbers of a damaged file may be as large as they like.
        let apart = pairs.map(|(earlier, later)| later.since(*earlier));
        let span = apart.fold(Duration::ZERO, Duration::saturating_add);
        self.0.len() > CRASHES_MAX && span <= CRASHES_WITHIN
    }

    /// This run has ended in order.
    fn end(&mut self) {
        self.0.pop();
    }

    fn parse(text: &str) -> Self {
        let start = |line: &str| {
            let (booted, wall) = line.split_once(' ')?;
            Some(Start { booted: booted.parse().ok()?, wall: wall.parse().ok() })
        };
        let mut starts: Vec<_> = text.lines().filter_map(start).collect();
        let excess = starts.len().saturating_sub(CRASHES_MAX);
        Self(starts.split_off(excess))
    }

    fn text(&self) -> String {
        let line = |start: &Start| {
            let wall = start.wall.map_or_else(|| "-".to_owned(), |wall| wall.to_string());
            format!("{} {wall}\n", start.booted)
        };
        self.0.iter().map(line).collect()
    }
}

/// The file, and what is known of this run.
#[derive(Debug)]
pub(in crate::runtime) struct StartLog {
    files: StateFiles,
    starts: Starts,
    is_safe: bool,
    /// Whether this run needs no more watching: it was long enough, or it has ended.
    is_settled: bool,
}

impl StartLog {
    /// Writes down that a run begins, and finds out whether it should be a safe one.
    pub(in crate::runtime) async fn begin(state_dir: &Path, files: StateFiles, clock: &SystemClock) -> Self {
        let bytes = read_bytes(&state_dir.join(StateFile::Starts.name()), FILE_BYTES_MAX).unwrap_or_default();
        let mut starts = Starts::parse(&String::from_utf8_lossy(&bytes));
        let utc = clock.utc();
        let is_set = utc.quality != ClockQuality::Unset;
        let wall = is_set.then(|| utc.micros.div_euclid(1_000_000));
        let is_safe = starts.begin(Start { booted: clock.since_boot().as_secs(), wall });
        if is_safe {
            let minutes = CRASHES_WITHIN.as_secs() / 60;
            error!(
                crashes = CRASHES_MAX,
                minutes, "too many runs crashed: models are left out, see docs/operations.md"
            );
        }
        if let Err(error) = state_folder(state_dir) {
            warn!(%error, "could not make the state directory");
        }
        // Before anything that may crash; a disk that takes nothing does not keep the gateway from trying.
        if let Err(error) = files.keep(StateFile::Starts, starts.text().into_bytes()).await {
            warn!(%error, "could not write down that a run begins: a crash loop may go on");
        }
        Self { files, starts, is_safe, is_settled: false }
    }

    /// Whether the models are left out.
    pub(in crate::runtime) fn is_safe(&self) -> bool {
        self.is_safe
    }

    /// Forgets what went wrong when this run was long enough to be a good one.
    pub(in crate::runtime) fn keep(&mut self, now: Uptime) {
        if !self.is_settled && now.since(Uptime::ZERO) >= GOOD_AFTER {
            self.is_settled = true;
            self.starts = Starts::default();
            self.write();
        }
    }

    /// This run has ended in order, or its supply has.
    pub(in crate::runtime) fn end(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            self.starts.end();
            self.write();
        }
    }

    fn write(&self) {
        self.files.put(StateFile::Starts, self.starts.text().into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::Metrics;

    fn start(booted: u64, wall: Option<i64>) -> Start {
        Start { booted, wall }
    }

    /// After how many starts, each without an end, the next is a safe one.
    fn safe_after(starts: impl IntoIterator<Item = Start>) -> Option<usize> {
        let mut known = Starts::default();
        starts.into_iter().position(|start| {
            // Through the file, as from run to run.
            known = Starts::parse(&known.text());
            known.begin(start)
        })
    }

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn five_crashes_in_ten_minutes_make_the_sixth_start_a_safe_one_with_and_without_a_clock() {
        for (name, wall) in [("no clock", None), ("a clock", Some(NOW))] {
            let quick = (0..9).map(|n| start(60 + 20 * n, wall.map(|wall| wall + 20 * n.cast_signed())));
            assert_eq!(safe_after(quick), Some(5), "{name}");
            let slow = (0..9).map(|n| start(60 + 130 * n, wall.map(|wall| wall + 130 * n.cast_signed())));
            assert_eq!(safe_after(slow), None, "{name}");
            let boots = (0..9).map(|n| start(40, wall.map(|wall| wall + 60 * i64::from(n))));
            assert_eq!(safe_after(boots), Some(5), "{name}: the hardware watchdog boots the board");
        }
    }

    #[test]
    fn a_clock_that_is_set_in_between_or_runs_backwards_hides_no_crash_loop() {
        let walls = [None, None, Some(NOW), Some(NOW + 5), Some(NOW - 999_999), Some(NOW)];
        let starts = walls.into_iter().enumerate().map(|(n, wall)| start(60 + 20 * n as u64, wall));
        // The jump back and forth again counts as the time it claims to be.
        assert_eq!(safe_after(starts), None);
        let walls = [None, None, Some(NOW), Some(NOW + 5), Some(NOW - 999_999), Some(NOW - 999_990)];
        let starts = walls.into_iter().enumerate().map(|(n, wall)| start(60 + 20 * n as u64, wall));
        assert_eq!(safe_after(starts), Some(5));
    }

    #[test]
    fn power_that_comes_once_a_day_is_no_crash_loop_where_there_is_a_clock() {
        let daily = (0..30).map(|day| start(40, Some(NOW + day * 86_400)));
        assert_eq!(safe_after(daily), None);
    }

    async fn log(folder: &Path) -> StartLog {
        let files = StateFiles::start(folder, &Arc::new(Metrics::new())).unwrap();
        StartLog::begin(folder, files, &SystemClock::start()).await
    }

    #[tokio::test]
    async fn orderly_ends_and_good_runs_are_forgiven_and_a_torn_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("not/there/yet");
        for _ in 0..20 {
            let mut orderly = log(&state).await;
            assert!(!orderly.is_safe());
            orderly.end();
            orderly.files.end().await;
        }
        for crash in 0..8 {
            assert_eq!(log(&state).await.is_safe(), crash >= CRASHES_MAX, "after {crash} crashes");
        }
        let mut good = log(&state).await;
        assert!(good.is_safe(), "until the next start");
        good.keep(Uptime::ZERO.after(GOOD_AFTER));
        good.end();
        good.files.end().await;
        assert!(!log(&state).await.is_safe(), "the next start after a good run");
        let huge = format!("0 -\n{0} {1}\n{0} {1}\n{0} {2}\n", u64::MAX, i64::MAX, i64::MIN);
        let long = "1 1\n".repeat(5_000);
        let garbage = ["", "x", "\u{fffd}\n1 2 3\n", "99999999999999999999999 1\n", &long, &huge];
        for garbage in garbage {
            std::fs::write(state.join("starts"), garbage).unwrap();
            assert!(!log(&state).await.is_safe(), "{garbage:.20}");
        }
    }

    proptest! {
        #[test]
        fn starts_that_lie_apart_never_add_up(gaps in proptest::collection::vec(121_u64..100_000, 1..40)) {
            let mut booted = 0;
            let starts = gaps.into_iter().map(|gap| { booted += gap; start(booted, None) });
            prop_assert_eq!(safe_after(starts.collect::<Vec<_>>()), None);
        }
    }
}
