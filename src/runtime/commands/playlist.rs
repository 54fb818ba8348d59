//! Recordings one after the other, each row with the time at which it is due.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::EventTime;
use crate::io::recording::{Recording, RecordingError, RecordingFormat};

/// How fast recordings are played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times the original; above 0.
    Times(f64),
    /// As fast as the broker takes it.
    Max,
}

/// Between the end of a file and a next one that goes back in time, where the first one does not show a rhythm.
const PAUSE_ASSUMED: Duration = Duration::from_secs(1);

/// Rows of a list of files.
pub(in crate::runtime) struct Playlist {
    files: Vec<(PathBuf, RecordingFormat)>,
    repeat: bool,
    /// The file being read and its index.
    current: Option<Recording>,
    index: usize,
    /// Rows given since the first file began; a round without any would never end.
    round: u64,
    pace: Pace,
}

/// What a playlist gives next.
pub(in crate::runtime) enum Next {
    /// A row.
    Row {
        payload: Bytes,
        /// Since the start of the replay.
        due: Duration,
        /// Whether it said when it was taken in a way that is understood, or that does not matter.
        timed: bool,
    },
    /// A row that cannot be read.
    Bad(RecordingError),
    /// There is no more.
    End,
}

/// Turns event times into times since the start.
struct Pace {
    speed: Speed,
    /// An event time and when it is due.
    anchor: Option<(EventTime, Duration)>,
    /// When the last row was due; the next one is not due earlier.
    last: Duration,
    latest: EventTime,
    /// Between the last two rows whose times differ.
    gap: Option<Duration>,
    new_file: bool,
}

impl Playlist {
    /// Opens every file once, so that a wrong name is found before the first row is sent.
    pub(in crate::runtime) fn new(
        files: Vec<(PathBuf, RecordingFormat)>,
        speed: Speed,
        repeat: bool,
    ) -> Result<Self, RecordingError> {
        for (path, format) in &files {
            Recording::open(path, format.clone())?;
        }
        Ok(Self { files, repeat, current: None, index: 0, round: 0, pace: Pace::new(speed) })
    }

    /// The next row.
    pub(in crate::runtime) fn next(&mut self) -> Result<Next, RecordingError> {
        loop {
            if let Some(recording) = &mut self.current {
                match recording.next() {
                    Ok(Some(row)) => {
                        self.round += 1;
                        let due = self.pace.due(row.at);
                        let payload = Bytes::copy_from_slice(row.payload);
                        let timed = row.at.is_some() || self.pace.speed == Speed::Max;
                        return Ok(Next::Row { payload, due, timed });
                    }
                    Ok(None) => {
                        self.current = None;
                        self.index += 1;
                    }
                    // The next row can be read unless it is the file that cannot.
                    Err(error @ RecordingError::Csv { .. }) if !is_io(&error) => return Ok(Next::Bad(error)),
                    Err(error) => return Err(error),
                }
            } else if let Some((path, format)) = self.files.get(self.index) {
                self.current = Some(Recording::open(path, format.clone())?);
                self.pace.new_file = true;
            } else if self.repeat && self.round > 0 {
                self.index = 0;
                self.round = 0;
            } else {
                return Ok(Next::End);
            }
        }
    }

    /// Share of the files that has been read, 0 to 1, each file counting the same.
    pub(in crate::runtime) fn fraction(&self) -> f64 {
        let current = self.current.as_ref().map_or(0.0, Recording::fraction);
        ((self.index as f64 + current) / self.files.len().max(1) as f64).min(1.0)
    }
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self {
            speed,
            anchor: None,
            last: Duration::ZERO,
            latest: EventTime(i64::MIN),
            gap: None,
            new_file: true,
        }
    }

    /// When a row is due. Without a time, and where time goes back, with the row before it.
    fn due(&mut self, at: Option<EventTime>) -> Duration {
        let (Speed::Times(times), Some(at)) = (self.speed, at) else { return self.last };
        let new_file = std::mem::replace(&mut self.new_file, false);
        let due = match self.anchor {
            None => self.last,
            // The same file again, or one that was taken earlier: its own beginning is the new reference.
            Some(_) if new_file && at <= self.latest => {
                self.latest = at;
                self.anchor = None;
                self.last.saturating_add(self.gap.unwrap_or(PAUSE_ASSUMED.div_f64(times.max(1e-3))))
            }
            Some((from, start)) => {
                let micros = u64::try_from(at.micros_since(from)).unwrap_or(0);
                let passed = Duration::try_from_secs_f64(Duration::from_micros(micros).as_secs_f64() / times);
                start.saturating_add(passed.unwrap_or(Duration::MAX))
            }
        };
        if self.anchor.is_none() {
            self.anchor = Some((at, due));
        } else if due > self.last {
            self.gap = Some(due.saturating_sub(self.last));
        }
        self.last = self.last.max(due);
        self.latest = self.latest.max(at);
        self.last
    }
}

fn is_io(error: &RecordingError) -> bool {
    matches!(error, RecordingError::Csv { source, .. } if source.is_io_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in seconds, `|` where a new file begins, `-` for a row without one; when they are due, in milliseconds.
    fn dues(speed: Speed, times: &str) -> Vec<u128> {
        let mut pace = Pace::new(speed);
        let mut dues = Vec::new();
        for word in times.split(' ') {
            match word {
                "|" => pace.new_file = true,
                "-" => dues.push(pace.due(None).as_millis()),
                second => {
                    let at = EventTime(1_700_000_000_000_000 + second.parse::<i64>().unwrap() * 1_000_000);
                    dues.push(pace.due(Some(at)).as_millis());
                }
            }
        }
        dues
    }

    #[test]
    fn rows_keep_their_distance_divided_by_the_speed() {
        assert_eq!(dues(Speed::Times(1.0), "5 6 6 16"), [0, 1000, 1000, 11_000]);
        assert_eq!(dues(Speed::Times(10.0), "5 6 6 16"), [0, 100, 100, 1100]);
        assert_eq!(dues(Speed::Times(0.5), "5 6"), [0, 2000]);
        assert_eq!(dues(Speed::Max, "5 6 6 16 | 3"), [0; 5]);
    }

    #[test]
    fn rows_without_a_time_or_back_in_time_follow_at_once_and_shift_nothing() {
        assert_eq!(dues(Speed::Times(1.0), "- 5 - 7 6 - 8"), [0, 0, 0, 2000, 2000, 2000, 3000]);
    }

    #[test]
    fn a_later_file_keeps_its_distance_and_an_earlier_one_follows_in_the_rhythm_of_the_first() {
        assert_eq!(dues(Speed::Times(1.0), "0 2 4 | 10 12"), [0, 2000, 4000, 10_000, 12_000]);
        assert_eq!(dues(Speed::Times(1.0), "0 2 4 | 0 2 4 | 0"), [0, 2000, 4000, 6000, 8000, 10_000, 12_000]);
        assert_eq!(dues(Speed::Times(2.0), "7 | 7 | 7"), [0, 500, 1000]);
    }

    #[test]
    fn a_playlist_without_a_row_ends_even_when_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.jsonl");
        std::fs::write(&path, "\n\n").unwrap();
        let format = RecordingFormat::Jsonl { time: None };
        let mut list = Playlist::new(vec![(path.clone(), format.clone())], Speed::Max, true).unwrap();
        assert!(matches!(list.next(), Ok(Next::End)));
        let absent = vec![(path, format.clone()), (folder.path().join("absent"), format)];
        assert!(Playlist::new(absent, Speed::Max, false).is_err());
    }
}
