//! What is paused, until when, and the file that keeps it over a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::clock::{Clock, ClockQuality, SystemClock, Uptime, UtcTime};
use crate::flow::{Priority, StreamId};
use crate::io::files::{FileError, read_bytes};
use crate::runtime::state_files::{NotKept, StateFile, StateFiles};

/// Longest file that is read: thousands of streams.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The paused streams and when each goes on; `None` until it is resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct Pauses(BTreeMap<Arc<str>, Option<Uptime>>);

/// One paused stream on the disk, a line of JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Kept {
    stream: Box<str>,
    /// What was left when it was written; absent until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_s: Option<u64>,
    /// When it goes on by the wall clock, if that was set: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl Pauses {
    /// The paused streams, by name.
    pub(in crate::runtime) fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// When the next one goes on.
    fn next_end(&self) -> Option<Uptime> {
        self.0.values().copied().flatten().min()
    }

    fn lines(&self, now: Uptime, wall: UtcTime) -> Vec<Kept> {
        let seconds = wall.micros.div_euclid(1_000_000);
        let line = |(stream, until): (&Arc<str>, &Option<Uptime>)| {
            // Rounded up: a pause that was asked for a second is not lost for a second.
            let left_s = until.map(|until| until.since(now).as_millis().div_ceil(1_000));
            let left_s = left_s.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
            let is_set = wall.quality != ClockQuality::Unset;
            let until = left_s.and_then(|left| seconds.checked_add_unsigned(left)).filter(|_| is_set);
            Kept { stream: Box::from(&**stream), left_s, until }
        };
        self.0.iter().map(line).collect()
    }

    /// What is still paused of what was written. A wall clock that was set both times counts the time in between; without
    /// one all that was left then is left still. Never more than that.
    fn restore(lines: impl IntoIterator<Item = Kept>, now: Uptime, wall: UtcTime) -> Self {
        let seconds = wall.micros.div_euclid(1_000_000);
        let is_set = wall.quality != ClockQuality::Unset;
        let restored = lines.into_iter().filter_map(|Kept { stream, left_s, until }| {
            let stream = Arc::from(stream);
            let Some(kept) = left_s else { return Some((stream, None)) };
            let left = match until.filter(|_| is_set) {
                Some(until) => u64::try_from(until.saturating_sub(seconds)).unwrap_or(0).min(kept),
                None => kept,
            };
            (left > 0).then(|| (stream, Some(now.after(Duration::from_secs(left)))))
        });
        Self(restored.collect())
    }
}

/// The pauses of a running gateway: changed by commands and by time, kept on the disk, told to the brain.
#[derive(Debug)]
pub(in crate::runtime) struct PauseBook {
    files: StateFiles,
    /// Name and priority of each stream, by `StreamId`.
    streams: Vec<(Arc<str>, Priority)>,
    pauses: watch::Sender<Pauses>,
    ids: watch::Sender<Arc<[StreamId]>>,
    clock: SystemClock,
}

/// What an earlier run has kept; what of it cannot be used is told: those streams are judged again.
fn kept(path: &Path) -> Vec<Kept> {
    let bytes = match read_bytes(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            warn!(%error, "could not read what was paused: nothing is; pause it again");
            Vec::new()
        }
    };
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let kept: Vec<Kept> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    if kept.len() < lines.len() {
        let damaged = lines.len() - kept.len();
        let path = path.display();
        warn!(%path, damaged, "lines of what was paused are damaged and left out: pause it again");
    }
    kept
}

impl PauseBook {
    /// With what an earlier run has kept of these streams.
    pub(in crate::runtime) fn open(
        state_dir: &Path,
        files: StateFiles,
        streams: Vec<(Arc<str>, Priority)>,
        clock: SystemClock,
    ) -> Self {
        let lines = kept(&state_dir.join(StateFile::Pauses.name())).into_iter();
        let known = lines.filter(|line| streams.iter().any(|(name, _)| **name == *line.stream));
        let pauses = Pauses::restore(known, clock.uptime(), clock.utc());
        let book = Self {
            files,
            streams,
            pauses: watch::channel(pauses).0,
            ids: watch::channel(Arc::from([])).0,
            clock,
        };
        book.tell_brain();
        book
    }

    /// What is paused, for whoever shows it.
    pub(in crate::runtime) fn subscribe(&self) -> watch::Receiver<Pauses> {
        self.pauses.subscribe()
    }

    /// The ids of what is paused, for the brain.
    pub(in crate::runtime) fn ids(&self) -> watch::Receiver<Arc<[StreamId]>> {
        self.ids.subscribe()
    }

    /// The streams that are meant: those named, or all but the alarm streams.
    ///
    /// # Errors
    /// When a stream is named that is not there, with those that are.
    pub(in crate::runtime::operations) fn meant(
        &self,
        named: Option<&[&str]>,
    ) -> Result<Vec<Arc<str>>, String> {
        let Some(named) = named else {
            let others = self.streams.iter().filter(|(_, priority)| *priority != Priority::Alarm);
            return Ok(others.map(|(name, _)| Arc::clone(name)).collect());
        };
        let find = |wanted: &&str| self.streams.iter().find(|(name, _)| **name == **wanted);
        let meant = named.iter().map(|wanted| find(wanted).map(|(name, _)| Arc::clone(name)));
        meant.collect::<Option<_>>().ok_or_else(|| {
            let known: Vec<&str> = self.streams.iter().map(|(name, _)| &**name).collect();
            format!("a stream is not configured; allowed: {}", known.join(", "))
        })
    }

    /// All streams that are paused.
    pub(in crate::runtime::operations) fn paused(&self) -> Vec<Arc<str>> {
        self.pauses.borrow().streams().cloned().collect()
    }

    /// Pauses streams, for a while or until they are resumed; on the disk first.
    pub(in crate::runtime::operations) async fn pause(
        &self,
        streams: &[Arc<str>],
        length: Option<Duration>,
    ) -> Result<(), NotKept> {
        let until = length.map(|length| self.clock.uptime().after(length));
        self.change(|pauses| pauses.0.extend(streams.iter().map(|stream| (Arc::clone(stream), until)))).await
    }

    /// Lets streams go on; on the disk first.
    pub(in crate::runtime::operations) async fn resume(&self, streams: &[Arc<str>]) -> Result<(), NotKept> {
        self.change(|pauses| pauses.0.retain(|stream, _| !streams.contains(stream))).await
    }

    /// When the next pause ends by itself.
    pub(in crate::runtime::operations) fn next_end(&self) -> Option<Uptime> {
        self.pauses.borrow().next_end()
    }

    /// Ends the pauses that are over and returns them. A file that is not written in time says the same at the next start:
    /// they are over there too.
    pub(in crate::runtime::operations) fn expire(&self) -> Vec<Arc<str>> {
        let now = self.clock.uptime();
        let is_over = |until: &Option<Uptime>| until.is_some_and(|until| until <= now);
        let mut over = Vec::new();
        self.pauses.send_if_modified(|pauses| {
            pauses.0.retain(|stream, until| {
                if is_over(until) {
                    over.push(Arc::clone(stream));
                }
                !is_over(until)
            });
            !over.is_empty()
        });
        if !over.is_empty() {
            self.tell_brain();
            let pauses = self.pauses.borrow().clone();
            self.files.put(StateFile::Pauses, self.text(&pauses));
        }
        over
    }

    async fn change(&self, change: impl FnOnce(&mut Pauses)) -> Result<(), NotKept> {
        let before = self.pauses.borrow().clone();
        let mut pauses = before.clone();
        change(&mut pauses);
        if let Err(error) = self.files.keep(StateFile::Pauses, self.text(&pauses)).await {
            // A disk that hangs may take it yet: the last state wins.
            self.files.put(StateFile::Pauses, self.text(&before));
            return Err(error);
        }
        self.pauses.send_replace(pauses);
        self.tell_brain();
        Ok(())
    }

    fn text(&self, pauses: &Pauses) -> Vec<u8> {
        let mut text = Vec::new();
        for line in pauses.lines(self.clock.uptime(), self.clock.utc()) {
            // Plain texts and numbers always become JSON.
            text.extend(serde_json::to_vec(&line).unwrap_or_default());
            text.push(b'\n');
        }
        text
    }

    fn tell_brain(&self) {
        let pauses = self.pauses.borrow().clone();
        let paused = self.streams.iter().enumerate().filter(|(_, (name, _))| pauses.0.contains_key(name));
        let ids = paused.filter_map(|(index, _)| u16::try_from(index).ok().map(StreamId)).collect();
        self.ids.send_replace(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    const HOUR: u64 = 3_600;

    fn wall(seconds: i64, quality: ClockQuality) -> UtcTime {
        UtcTime { micros: seconds * 1_000_000, quality }
    }

    /// What is left of an hour's pause after a restart, by what the wall clock said before and says now.
    fn left(before: UtcTime, after: UtcTime) -> Option<u64> {
        let hour = Uptime::ZERO.after(Duration::from_secs(HOUR));
        let pauses = Pauses([("a".into(), Some(hour))].into());
        let restored = Pauses::restore(pauses.lines(Uptime::ZERO, before), Uptime::ZERO, after);
        let until = restored.0.get("a").copied()??;
        Some(until.since(Uptime::ZERO).as_secs())
    }

    #[test]
    fn a_pause_outlives_a_restart_and_no_clock_makes_it_longer() {
        const NOW: i64 = 1_800_000_000;
        let (set, unset) = (ClockQuality::Unknown, ClockQuality::Unset);
        for (before, after, expected) in [
            (wall(NOW, set), wall(NOW + 600, set), Some(HOUR - 600)),
            (wall(NOW, set), wall(NOW + 3_600, set), None),
            (wall(NOW, set), wall(NOW - 999_999, set), Some(HOUR)),
            (wall(NOW, set), wall(5, unset), Some(HOUR)),
            (wall(5, unset), wall(NOW, set), Some(HOUR)),
            (wall(5, unset), wall(90, unset), Some(HOUR)),
        ] {
            assert_eq!(left(before, after), expected, "{before:?} {after:?}");
        }
        let endless = Pauses([("a".into(), None)].into());
        let kept = endless.lines(Uptime::ZERO, wall(NOW, set));
        assert_eq!(Pauses::restore(kept, Uptime::ZERO, wall(NOW + 999_999_999, set)), endless);
    }

    fn book(folder: &Path) -> PauseBook {
        let streams = [("a", Priority::Normal), ("alarm", Priority::Alarm), ("b", Priority::Bulk)];
        let streams = streams.map(|(name, priority)| (name.into(), priority)).into();
        let files = StateFiles::start(folder, &Arc::new(Metrics::new())).unwrap();
        PauseBook::open(folder, files, streams, SystemClock::start())
    }

    fn ids(book: &PauseBook) -> Vec<u16> {
        book.ids().borrow().iter().map(|id| id.0).collect()
    }

    #[tokio::test]
    async fn alarms_are_paused_only_when_they_are_named_and_the_next_run_knows_it_all() {
        let folder = tempfile::tempdir().unwrap();
        let first = book(folder.path());
        let all = first.meant(None).unwrap();
        first.pause(&all, None).await.unwrap();
        assert_eq!(ids(&first), [0, 2]);
        let alarm = first.meant(Some(&["alarm"])).unwrap();
        first.pause(&alarm, Some(Duration::from_secs(HOUR))).await.unwrap();
        let mut second = book(folder.path());
        assert_eq!(ids(&second), [0, 1, 2]);
        assert!(first.meant(Some(&["a", "c"])).unwrap_err().ends_with("allowed: a, alarm, b"));
        second.resume(&all).await.unwrap();
        second.streams.remove(0);
        assert_eq!(second.paused(), ["alarm".into()]);
        std::fs::write(folder.path().join("pauses"), "{\"stream\":\"b\"}\ngarbage\n{\"stream\":\"gone\"}\n")
            .unwrap();
        assert_eq!(ids(&book(folder.path())), [2]);
    }

    #[tokio::test]
    async fn a_pause_that_cannot_be_kept_is_not_begun() {
        let book = book(Path::new("/nonexistent/folder"));
        let all = book.meant(None).unwrap();
        assert!(book.pause(&all, None).await.is_err() && ids(&book).is_empty());
    }

    #[tokio::test]
    async fn a_pause_that_was_refused_does_not_begin_with_the_next_run_though_the_disk_takes_it_later() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("not/there/yet");
        let first = book(&state);
        let all = first.meant(None).unwrap();
        assert!(first.pause(&all, None).await.is_err());
        std::fs::create_dir_all(&state).unwrap();
        first.files.end().await;
        assert!(state.join("pauses").is_file(), "what waits is tried again");
        assert!(ids(&book(&state)).is_empty());
    }
}
