//! Builds the samples of a message row by row; a row is what has one time.

use crate::clock::EventTime;
use crate::flow::{BadWhy, Quality, Sample, SignalId};

/// Remembers where each channel of the current row is, so that of a repeated key the last one counts.
#[derive(Default)]
pub(crate) struct Seen {
    /// Index of the channel's latest sample, by `SignalId`. Believed only if that sample is of the current row.
    latest: Vec<usize>,
}

/// The samples of a message while they are read.
pub(crate) struct Rows<'a> {
    samples: &'a mut Vec<Sample>,
    seen: &'a mut Seen,
    row: usize,
}

impl Seen {
    pub(crate) fn new(channels: usize) -> Self {
        Self { latest: vec![0; channels] }
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn new(samples: &'a mut Vec<Sample>, seen: &'a mut Seen) -> Self {
        let row = samples.len();
        Self { samples, seen, row }
    }

    /// Adds a reading to the current row, or replaces the one it has of this channel.
    pub(crate) fn put(&mut self, signal: SignalId, (value, quality): (f32, Quality)) {
        let Some(latest) = self.seen.latest.get_mut(usize::from(signal.0)) else { return };
        let sample = Sample { signal, at: EventTime(0), value, quality };
        match self.samples.get_mut(*latest) {
            Some(present) if *latest >= self.row && present.signal == signal => *present = sample,
            _ => {
                *latest = self.samples.len();
                self.samples.push(sample);
            }
        }
    }

    /// Ends the current row and gives it its time. False if it has no reading.
    pub(crate) fn end_row(&mut self, at: EventTime) -> bool {
        let row = self.samples.get_mut(self.row..).unwrap_or_default();
        for sample in &mut *row {
            sample.at = at;
        }
        let any = !row.is_empty();
        self.row = self.samples.len();
        any
    }
}

/// A number as a reading.
pub(crate) fn reading(value: f32) -> (f32, Quality) {
    if value.is_finite() { (value, Quality::Good) } else { NON_FINITE }
}

/// A number as written as a reading; a text that is none is missing.
///
/// The words for NaN and infinity in any spelling and numbers beyond the range of `f32` are not finite.
pub(crate) fn reading_of(text: &str) -> (f32, Quality) {
    text.parse().map_or(MISSING, reading)
}

/// A truth value as a reading: 1 or 0.
pub(crate) fn reading_of_bool(value: bool) -> (f32, Quality) {
    (f32::from(u8::from(value)), Quality::Good)
}

/// NaN or an infinity.
pub(crate) const NON_FINITE: (f32, Quality) = (0.0, Quality::Bad(BadWhy::NonFinite));
/// Null, an empty cell, or something that is no number.
pub(crate) const MISSING: (f32, Quality) = (0.0, Quality::Bad(BadWhy::Missing));
