//! One measurement, and the batch in which measurements travel.

use super::{AssetId, SignalId, StreamId};
use crate::clock::{EventTime, Uptime};

/// One timestamped measurement of one channel, after OPC UA: value, time, quality.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct Sample {
    /// Which channel of the stream.
    pub signal: SignalId,
    /// When the source says it was taken; arrival time where it does not say.
    pub at: EventTime,
    /// The value in the source's unit. Meaningless unless the quality is good.
    pub value: f32,
    /// Whether the value can be used.
    pub quality: Quality,
}

/// Whether a value can be used. Never encoded as a NaN in the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Use it.
    Good,
    /// Do not use it; the reason is counted.
    Bad(BadWhy),
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWhy {
    /// The payload held NaN or an infinity.
    NonFinite,
    /// The payload held null, an empty cell or a text where a number belongs.
    Missing,
}

/// The samples of one message: the unit of transfer. Reused from message to message.
pub struct SampleBatch {
    /// The stream whose decoder made it.
    pub stream: StreamId,
    /// The source within the stream.
    pub asset: AssetId,
    /// When the message arrived, in monotonic time.
    pub received: Uptime,
    /// The samples in the order of the payload.
    pub samples: Vec<Sample>,
}
