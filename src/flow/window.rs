//! A closed window of one source: what the features are computed from.

use super::{AssetId, StreamId};
use crate::clock::EventTime;
use crate::units::Ratio;

/// A half-open span of event time: `from <= t < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    /// First instant inside.
    pub from: EventTime,
    /// First instant after.
    pub to: EventTime,
}

/// A closed window: immutable, tumbling or hopping, of one asset of one stream.
#[cfg_attr(test, derive(Debug, PartialEq))]
#[derive(Clone)]
pub struct Window {
    /// The stream.
    pub stream: StreamId,
    /// The source within the stream.
    pub asset: AssetId,
    /// The span it covers. For count windows: first sample to just after the last.
    pub span: TimeSpan,
    /// How much of it is real.
    pub completeness: Completeness,
    /// One entry per channel, by `SignalId`; samples in order of time, good quality only.
    pub series: Vec<Series>,
}

/// The samples of one channel in a window, as two columns of equal length.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct Series {
    /// Event times, strictly increasing.
    pub at: Vec<EventTime>,
    /// Values.
    pub values: Vec<f32>,
}

/// How much of a window is real. Counted in samples over all channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Samples a gapless window would hold, from the configured or the observed period.
    pub expected: u32,
    /// Samples it holds.
    pub present: u32,
    /// Samples that came after their window had closed, since the previous window of this source.
    pub late_dropped: u32,
    /// Places where more than three periods lie between neighbours of a channel.
    pub gaps: u32,
}

impl Window {
    /// Bytes of the heap it takes: the room of its buffers, not only what they hold.
    pub fn heap_bytes(&self) -> u64 {
        let series = self.series.iter().map(Series::heap_bytes).sum::<usize>();
        (series + self.series.capacity() * size_of::<Series>()) as u64
    }
}

impl Series {
    fn heap_bytes(&self) -> usize {
        self.at.capacity() * size_of::<EventTime>() + self.values.capacity() * size_of::<f32>()
    }
}

impl Completeness {
    /// Share of the expected samples that are present, 0 to 1.
    pub fn ratio(&self) -> Ratio {
        Ratio::of(self.present, self.expected.max(self.present))
    }
}
