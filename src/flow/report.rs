//! A text report of the plant. It must never leave.

use super::{AssetId, StreamId};
use crate::clock::{EventTime, Uptime};

/// A text of the plant. Has no `Debug`, no `Display`, no `Serialize`: whoever reads it must say so.
#[derive(Clone, PartialEq, Eq)]
pub struct Private(String);

/// One text report with what the payload said about it.
#[derive(Clone)]
pub struct Report {
    /// The stream whose decoder made it.
    pub stream: StreamId,
    /// The source within the stream.
    pub asset: AssetId,
    /// When it was written; arrival time where it does not say.
    pub at: EventTime,
    /// When it arrived, in monotonic time.
    pub received: Uptime,
    /// The plant's own number of the report, if the payload has one.
    pub reference: Option<Private>,
    /// The text itself, at most the configured limit.
    pub text: Private,
    /// A class the format itself gives: the NMEA sentence type.
    pub class: Option<Private>,
}

impl Report {
    /// Bytes of the heap it takes: the room of its texts.
    pub fn heap_bytes(&self) -> u64 {
        let texts = [Some(&self.text), self.reference.as_ref(), self.class.as_ref()];
        texts.into_iter().flatten().map(|text| text.0.capacity() as u64).sum()
    }
}

impl Private {
    /// Wraps a text of the plant.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the stages that read it and for the plant's own broker. Never for upstream, logs or metrics.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
