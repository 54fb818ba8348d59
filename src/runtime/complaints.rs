//! Tells in the log which stream drops messages and why: once a minute for each reason, never with what was in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::clock::Uptime;
use crate::flow::StreamId;
use crate::ingest::Ingest;
use crate::tally::{DropReason, Tally};

/// A stream that goes on dropping is named this often: enough to be found, too seldom to fill a log.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// What has been told of each stream and reason.
pub(in crate::runtime) struct Complaints {
    /// Names by `StreamId`.
    names: Vec<Arc<str>>,
    /// Messages dropped when it was last told, and when that was.
    told: BTreeMap<(StreamId, DropReason), (u64, Uptime)>,
}

impl Complaints {
    /// Nothing told yet.
    pub(in crate::runtime) fn new(names: Vec<Arc<str>>) -> Self {
        Self { names, told: BTreeMap::new() }
    }

    /// Tells what has been dropped since it was last told. To be called about once a second.
    pub(in crate::runtime) fn look(&mut self, ingest: &Ingest, now: Uptime) {
        for index in 0..self.names.len() {
            let stream = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
            for (reason, count) in self.due(stream, ingest.stream_tally(stream), now) {
                let name = self.names.get(index).map_or("", |name| name);
                warn!(
                    stream = name,
                    reason = reason.as_str(),
                    count,
                    "dropped messages: see what each reason means in docs/operations.md"
                );
            }
        }
    }

    /// Reasons to be told now, with the messages dropped since they were last told.
    fn due(&mut self, stream: StreamId, tally: &Tally, now: Uptime) -> Vec<(DropReason, u64)> {
        let mut due = Vec::new();
        for &reason in DropReason::ALL {
            let dropped = tally.dropped(reason);
            let (told, at) = self.told.get(&(stream, reason)).copied().unwrap_or_default();
            let waited = told == 0 || now.since(at) >= AGAIN_AFTER;
            if dropped > told && waited {
                self.told.insert((stream, reason), (dropped, now));
                due.push((reason, dropped - told));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_at_once_and_then_once_a_minute_with_what_came_since() {
        let mut complaints = Complaints::new(vec!["pump".into()]);
        let pump = StreamId(0);
        let at = |seconds| Uptime::ZERO.after(Duration::from_secs(seconds));
        let mut tally = Tally::new();
        assert_eq!(complaints.due(pump, &tally, at(1)), []);
        tally.drop(DropReason::MissingField, 3);
        assert_eq!(complaints.due(pump, &tally, at(2)), [(DropReason::MissingField, 3)]);
        tally.drop(DropReason::MissingField, 4);
        tally.drop(DropReason::BadTime, 1);
        assert_eq!(complaints.due(pump, &tally, at(3)), [(DropReason::BadTime, 1)], "the other waits");
        assert_eq!(complaints.due(pump, &tally, at(62)), [(DropReason::MissingField, 4)]);
        assert_eq!(complaints.due(pump, &tally, at(300)), [], "nothing new");
    }
}
