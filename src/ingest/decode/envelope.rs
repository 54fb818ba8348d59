//! What is known of a message beside its payload.

use crate::clock::{EventTime, Uptime};
use crate::flow::{AssetId, Private, Report, StreamId};
use crate::ingest::Limits;

/// What is known of a message beside its payload.
pub(crate) struct Envelope<'a> {
    pub(crate) stream: StreamId,
    pub(crate) asset: AssetId,
    pub(crate) received: Uptime,
    pub(crate) arrival: EventTime,
    pub(crate) limits: &'a Limits,
}

impl Envelope<'_> {
    /// A report of this message with nothing but its text.
    pub(crate) fn report(&self, text: Private) -> Report {
        Report {
            stream: self.stream,
            asset: self.asset,
            at: self.arrival,
            received: self.received,
            reference: None,
            text,
            class: None,
        }
    }
}
