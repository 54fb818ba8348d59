//! Decisions on their way to the plant's broker: a bounded queue that outlives a broken connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::flow::{AssetId, StreamId};
use crate::io::mqtt::{Delivery, Publisher, Token, Unsent};
use crate::tally::{DropReason, Tally};

/// Decisions kept while the plant's broker is away or slow. A thousand decisions of 500 bytes are half a megabyte;
/// older ones are history, and what matters of them is in the outbox.
pub(in crate::runtime) const WAITING_MAX: usize = 1_000;

/// A decision with the features of a usual model, in JSON.
pub(in crate::runtime) const DECISION_BYTES: u64 = 1_024;

/// One message for the plant.
struct Decision {
    topic: Arc<str>,
    payload: Vec<u8>,
    retain: bool,
}

/// What waits for the plant's broker, and the alarms that stand.
pub(in crate::runtime) struct Decisions {
    publisher: Option<Publisher>,
    waiting: VecDeque<Decision>,
    standing: BTreeMap<(StreamId, AssetId), (Arc<str>, Vec<u8>)>,
    /// Streams of which a state is known since the start.
    known: BTreeSet<StreamId>,
    tally: Tally,
    sent: u64,
}

impl Decisions {
    pub(in crate::runtime) fn new() -> Self {
        Self {
            publisher: None,
            waiting: VecDeque::new(),
            standing: BTreeMap::new(),
            known: BTreeSet::new(),
            tally: Tally::new(),
            sent: 0,
        }
    }

    /// A connection came up: the standing alarms are told again, a broker that lost its memory may have forgotten.
    pub(in crate::runtime) fn up(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
        let standing: Vec<(Arc<str>, Vec<u8>)> = self.standing.values().cloned().collect();
        for (topic, payload) in standing {
            self.enqueue(topic, payload, true);
        }
        self.flush();
    }

    /// The connection is gone; what waits, waits.
    pub(in crate::runtime) fn down(&mut self) {
        self.publisher = None;
    }

    /// The publisher of the present connection.
    pub(in crate::runtime) fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }

    /// Sends a decision, or keeps it until it can be sent.
    pub(in crate::runtime) fn publish(&mut self, topic: Arc<str>, payload: Vec<u8>) {
        self.enqueue(topic, payload, false);
        self.flush();
    }

    /// Whether this is the first state known of a stream. The broker may still hold an alarm of it from before the
    /// start, which has ended unseen and must be cleared.
    pub(in crate::runtime) fn is_first(&mut self, stream: StreamId) -> bool {
        self.known.insert(stream)
    }

    /// Raises the standing alarm of a source, or clears it with an empty payload.
    pub(in crate::runtime) fn alarm(
        &mut self,
        source: (StreamId, AssetId),
        topic: Arc<str>,
        payload: Option<Vec<u8>>,
    ) {
        if let Some(payload) = payload {
            self.standing.insert(source, (Arc::clone(&topic), payload.clone()));
            self.enqueue(topic, payload, true);
        } else {
            self.standing.remove(&source);
            // Several sources of one stream share its topic: it is cleared when the last of them is.
            let other = self.standing.range((source.0, AssetId(0))..=(source.0, AssetId(u32::MAX))).next();
            let payload = other.map(|(_, (_, payload))| payload.clone()).unwrap_or_default();
            self.enqueue(topic, payload, true);
        }
        self.flush();
    }

    /// Sends what waits, oldest first, as far as the connection takes it.
    pub(in crate::runtime) fn flush(&mut self) {
        let Some(publisher) = &self.publisher else { return };
        while let Some(decision) = self.waiting.front() {
            // Nothing waits for the acknowledgement: the library resends within a connection.
            let token = Token(self.sent);
            let payload = decision.payload.clone();
            match publisher.publish(&decision.topic, payload, Delivery::AtLeastOnce(token), decision.retain) {
                Ok(()) => {
                    self.sent += 1;
                    self.tally.passed += 1;
                }
                Err(Unsent::Full | Unsent::NotConnected) => return,
                Err(Unsent::TooLarge { .. }) => self.tally.drop(DropReason::Oversize, 1),
                Err(Unsent::Topic) => self.tally.drop(DropReason::Topic, 1),
            }
            self.waiting.pop_front();
        }
    }

    /// Whether something waits although there is a connection.
    pub(in crate::runtime) fn is_held_up(&self) -> bool {
        self.publisher.is_some() && !self.waiting.is_empty()
    }

    /// What was sent and dropped, and how many wait.
    pub(in crate::runtime) fn count(&self) -> (Tally, u64) {
        (self.tally.clone(), self.waiting.len() as u64)
    }

    fn enqueue(&mut self, topic: Arc<str>, payload: Vec<u8>, retain: bool) {
        self.tally.received += 1;
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.tally.drop(DropReason::Offline, 1);
        }
        self.waiting.push_back(Decision { topic, payload, retain });
    }
}
