//! The configuration of a windower in the numbers it computes with.

use std::time::Duration;

use crate::flow::StreamId;
use crate::window::config::{BYTES_MAX, LENGTH_MAX, Length, OVERLAP_MAX, WindowConfig};
use crate::window::grid::{Grid, micros};

/// What every source of a stream shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) stream: StreamId,
    pub(crate) channels: usize,
    pub(crate) frame: Frame,
    pub(crate) lateness: Duration,
    pub(crate) samples_max: usize,
    /// Bytes of all buffers and closed windows together.
    pub(crate) bytes_max: u64,
    /// Microseconds between two samples of a channel, where configured.
    pub(crate) period: Option<i64>,
    /// Samples of a gapless window over all channels, where the configuration tells.
    pub(crate) expected: Option<u32>,
}

/// What cuts the windows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame {
    /// The grid of event time.
    Time(Grid),
    /// The number of rows.
    Count { samples: usize, hop: usize },
}

impl Shape {
    pub(crate) fn new(config: &WindowConfig) -> Self {
        let period = config.period.map(micros).filter(|&period| period > 0);
        let (frame, samples_min, rows) = match config.length {
            Length::Time { length, hop } => {
                let grid = Grid::new(length, hop);
                let rows = period.map(|period| (grid.length() / period).max(1));
                (Frame::Time(grid), 1, rows)
            }
            Length::Count { samples, hop } => {
                let samples = samples.max(1);
                let hop = hop.max(samples / OVERLAP_MAX).max(1);
                let frame = Frame::Count { samples: samples as usize, hop: hop as usize };
                (frame, samples as usize, period.map(|_| i64::from(samples)))
            }
        };
        let expected = rows
            .map(|rows| u32::try_from(rows).unwrap_or(u32::MAX).saturating_mul(u32::from(config.channels)));
        Self {
            stream: config.stream,
            channels: usize::from(config.channels),
            frame,
            lateness: config.lateness.min(LENGTH_MAX),
            // Fewer than a window of rows could never be closed.
            samples_max: (config.samples_max as usize).max(samples_min),
            bytes_max: BYTES_MAX,
            period,
            expected,
        }
    }
}
