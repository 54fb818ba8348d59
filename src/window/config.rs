//! What the operator may set for the windows of a stream, and the limits of what can be set.

use std::time::Duration;

use crate::flow::StreamId;

/// How far ahead of the gateway's own clock a stamp is believed, unless configured.
///
/// Plant clocks without a time service drift by seconds a day; a minute is noise, an hour is a wrong clock.
pub const FUTURE_MAX: Duration = Duration::from_mins(1);

/// How long samples may come out of order, unless configured: a few retransmissions on a plant network.
pub const LATENESS: Duration = Duration::from_secs(2);

/// Uptime without a sample after which a source's open windows close, unless configured.
pub const IDLE: Duration = Duration::from_secs(5);

/// Longest window and longest hop: a week. Keeps event-time arithmetic far from its limits.
pub const LENGTH_MAX: Duration = Duration::from_hours(168);

/// Most windows that may hold one sample (length divided by hop).
///
/// Each overlapping window is a copy of its samples: 64 copies of a 256 KiB message are 16 MiB, a tenth of a small
/// gateway's budget.
pub const OVERLAP_MAX: u32 = 64;

/// Samples held per channel and source, unless configured: two and a half seconds of 25.6 kHz vibration, or
/// eighteen hours of one value a second.
pub const SAMPLES_MAX: u32 = 65_536;

/// Sources one stream may have; as many as ingest tells apart.
pub const SOURCES_MAX: usize = 4_096;

/// Bytes the windows of one stream may take, unless its windower is told otherwise: more than any plan of ours grants.
pub const BYTES_MAX: u64 = 64 << 20;

/// How the samples of one stream are cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    /// The stream.
    pub stream: StreamId,
    /// Number of channels: entries of `payload.values`.
    pub channels: u16,
    /// What a window is.
    pub length: Length,
    /// How long samples may come out of order, in event time.
    pub lateness: Duration,
    /// Uptime without a sample after which the open windows of a source close, partial.
    pub idle: Duration,
    /// How far ahead of the gateway's own clock a stamp is believed.
    pub future_max: Duration,
    /// Time between two samples of a channel, where it is known; otherwise it is observed.
    pub period: Option<Duration>,
    /// Samples held per channel and source; more are dropped and counted. At least one window's worth.
    pub samples_max: u32,
}

/// What a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A span of event time, aligned to 1970: window k covers `k*hop <= t < k*hop + length`.
    Time {
        /// Its length; 1 µs to [`LENGTH_MAX`].
        length: Duration,
        /// From one window's start to the next; at least `length /` [`OVERLAP_MAX`].
        hop: Duration,
    },
    /// A number of rows, a row being all samples of one instant.
    Count {
        /// Rows of a window; at least 1.
        samples: u32,
        /// Rows from one window's start to the next; at least `samples /` [`OVERLAP_MAX`], at least 1.
        hop: u32,
    },
}
