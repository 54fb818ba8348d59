//! Decisions on their way to the plant's broker: a bounded queue that outlives a broken connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::flow::{AssetId, StreamId};
use crate::io::mqtt::{Delivery, Publisher, Token, Unsent};
use crate::runtime::limits::{DECISIONS_BYTES_MAX, STANDING_BYTES_MAX};
use crate::tally::{DropReason, Tally};

/// Decisions kept while the plant's broker is away or slow. A thousand decisions of 500 bytes are half a megabyte;
/// older ones are history, and what matters of them is in the outbox.
pub(in crate::runtime) const WAITING_MAX: usize = 1_000;

/// Decisions waiting on a live connection from which on they go without acknowledgement. The broker allows few
/// unacknowledged ones (Mosquitto 20), and in a flood of samples its answers queue behind the samples: waiting for them
/// left 20 decisions a second of 50,000. Alarms always wait for theirs.
const HURRY: usize = WAITING_MAX / 4;

/// One message for the plant.
struct Decision {
    topic: Arc<str>,
    payload: Vec<u8>,
    retain: bool,
}

impl Decision {
    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.payload.capacity()) as u64
    }
}

/// What waits for the plant's broker, and the alarms that stand.
pub(in crate::runtime) struct Decisions {
    publisher: Option<Publisher>,
    waiting: VecDeque<Decision>,
    waiting_bytes: u64,
    /// Alarms that stand, and what was told of them; empty where there was no room to keep it.
    standing: BTreeMap<(StreamId, AssetId), Vec<u8>>,
    standing_bytes: u64,
    unkept: u64,
    /// Where the alarm of each stream is told whose state is known since the start.
    alarm_topics: BTreeMap<StreamId, Arc<str>>,
    tally: Tally,
}

impl Decisions {
    pub(in crate::runtime) fn new() -> Self {
        Self {
            publisher: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            standing: BTreeMap::new(),
            standing_bytes: 0,
            unkept: 0,
            alarm_topics: BTreeMap::new(),
            tally: Tally::new(),
        }
    }

    /// A connection came up: what waits is sent, and every alarm is told as it stands.
    pub(in crate::runtime) fn up(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
        self.tell_alarms();
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
    pub(in crate::runtime) fn is_first(&self, stream: StreamId) -> bool {
        !self.alarm_topics.contains_key(&stream)
    }

    /// Raises the standing alarm of a source, or clears it with an empty payload.
    pub(in crate::runtime) fn alarm(
        &mut self,
        source: (StreamId, AssetId),
        topic: Arc<str>,
        payload: Option<Vec<u8>>,
    ) {
        self.alarm_topics.entry(source.0).or_insert_with(|| Arc::clone(&topic));
        if let Some(payload) = payload {
            self.keep(source, &payload);
            self.enqueue(topic, payload, true);
        } else {
            self.let_go(source);
            let payload = self.alarm_of(source.0);
            self.enqueue(topic, payload, true);
        }
        self.flush();
    }

    /// How many sources stand in alarm.
    pub(in crate::runtime) fn standing(&self) -> usize {
        self.standing.len()
    }

    /// Keeps what was told of a standing alarm, if there is room or it is the only one of its stream that is kept.
    fn keep(&mut self, source: (StreamId, AssetId), payload: &[u8]) {
        let bytes = payload.len() as u64;
        let known = self.standing.get(&source).map_or(0, |payload| payload.len() as u64);
        let beside = self.standing_bytes.saturating_sub(known);
        let only = self.of_stream(source.0).all(|(at, kept)| *at == source || kept.is_empty());
        let fits = only || beside + bytes <= STANDING_BYTES_MAX;
        self.unkept += u64::from(!fits);
        self.standing.insert(source, if fits { payload.to_vec() } else { Vec::new() });
        self.standing_bytes = beside + if fits { bytes } else { 0 };
    }

    /// Forgets an alarm that has ended. If it is the last that was kept and others of its stream stand, what was told of
    /// it is told on in their name: the topic must not say that all is well.
    fn let_go(&mut self, source: (StreamId, AssetId)) {
        let Some(payload) = self.standing.remove(&source) else { return };
        self.standing_bytes = self.standing_bytes.saturating_sub(payload.len() as u64);
        if self.of_stream(source.0).any(|(_, kept)| !kept.is_empty()) {
            return;
        }
        let heir = self.of_stream(source.0).next().map(|(at, _)| *at);
        if let Some(heir) = heir {
            self.standing_bytes += payload.len() as u64;
            self.standing.insert(heir, payload);
        }
    }

    fn of_stream(&self, stream: StreamId) -> impl Iterator<Item = (&(StreamId, AssetId), &Vec<u8>)> {
        self.standing.range((stream, AssetId(0))..=(stream, AssetId(u32::MAX)))
    }

    /// What stands on the alarm topic of a stream. Its sources share it: it is empty when none of them stands in alarm.
    fn alarm_of(&self, stream: StreamId) -> Vec<u8> {
        let kept = self.of_stream(stream).find(|(_, payload)| !payload.is_empty());
        kept.map(|(_, payload)| payload.clone()).unwrap_or_default()
    }

    /// Tells the alarm of every known stream, ended ones too: a broker that lost its memory has forgotten what stands,
    /// and one that kept it may hold what has ended meanwhile.
    fn tell_alarms(&mut self) {
        let topics = self.alarm_topics.iter();
        let alarms: Vec<_> =
            topics.map(|(stream, topic)| (Arc::clone(topic), self.alarm_of(*stream))).collect();
        for (topic, payload) in alarms {
            self.enqueue(topic, payload, true);
        }
    }

    /// Sends what waits, oldest first, as far as the connection takes it.
    pub(in crate::runtime) fn flush(&mut self) {
        let Some(publisher) = &self.publisher else { return };
        while let Some(decision) = self.waiting.front() {
            // Nothing waits for the acknowledgement: the library resends within a connection.
            let acknowledged = Delivery::AtLeastOnce(Token(self.tally.passed));
            let send = |delivery| {
                publisher.publish(&decision.topic, decision.payload.clone(), delivery, decision.retain)
            };
            let hurried = self.waiting.len() >= HURRY && !decision.retain;
            let sent = match send(acknowledged) {
                Err(Unsent::Full) if hurried => send(Delivery::AtMostOnce),
                sent => sent,
            };
            match sent {
                Ok(()) => self.tally.passed += 1,
                Err(Unsent::Full | Unsent::NotConnected) => return,
                Err(Unsent::TooLarge { .. }) => self.tally.drop(DropReason::Oversize, 1),
                Err(Unsent::Topic) => self.tally.drop(DropReason::Topic, 1),
            }
            let sent = self.waiting.pop_front().map_or(0, |decision| decision.bytes());
            self.waiting_bytes = self.waiting_bytes.saturating_sub(sent);
        }
    }

    /// Whether something waits although there is a connection.
    pub(in crate::runtime) fn is_held_up(&self) -> bool {
        self.publisher.is_some() && !self.waiting.is_empty()
    }

    /// Drops what waits, counted: the gateway stops and the connection does not take it.
    pub(in crate::runtime) fn abandon(&mut self) {
        self.tally.drop(DropReason::Stopped, self.waiting.len() as u64);
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Standing alarms of which was kept only that they stand, because there was no room for more.
    pub(in crate::runtime) fn unkept(&self) -> u64 {
        self.unkept
    }

    /// What was sent and dropped, and how many wait.
    pub(in crate::runtime) fn count(&self) -> (Tally, u64) {
        (self.tally.clone(), self.waiting.len() as u64)
    }

    fn enqueue(&mut self, topic: Arc<str>, payload: Vec<u8>, retain: bool) {
        self.tally.received += 1;
        let decision = Decision { topic, payload, retain };
        let bytes = decision.bytes();
        let is_full = |decisions: &Self| {
            decisions.waiting.len() >= WAITING_MAX || decisions.waiting_bytes + bytes > DECISIONS_BYTES_MAX
        };
        while !self.waiting.is_empty() && is_full(self) {
            // Alarms last: the broker keeps what it was told of them until it is told otherwise.
            let victim = self.waiting.iter().position(|decision| !decision.retain).unwrap_or(0);
            self.remove(victim);
            let reason = if self.publisher.is_some() { DropReason::QueueFull } else { DropReason::Offline };
            self.tally.drop(reason, 1);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(decision);
    }

    fn remove(&mut self, at: usize) {
        let bytes = self.waiting.remove(at).map_or(0, |decision| decision.bytes());
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUMP: StreamId = StreamId(0);

    fn raise(decisions: &mut Decisions, asset: u32, payload: &str) {
        decisions.alarm((PUMP, AssetId(asset)), "alarm/pump".into(), Some(payload.into()));
    }

    fn end(decisions: &mut Decisions, asset: u32) {
        decisions.alarm((PUMP, AssetId(asset)), "alarm/pump".into(), None);
    }

    /// What waits for the alarm topic, oldest first.
    fn alarms(decisions: &Decisions) -> Vec<&str> {
        let retained = decisions.waiting.iter().filter(|decision| decision.retain);
        retained.map(|decision| std::str::from_utf8(&decision.payload).unwrap()).collect()
    }

    #[test]
    fn the_sources_of_a_stream_share_its_alarm_and_it_ends_with_the_last() {
        let mut decisions = Decisions::new();
        assert!(decisions.is_first(PUMP));
        raise(&mut decisions, 1, "one");
        raise(&mut decisions, 2, "two");
        assert!(!decisions.is_first(PUMP));
        end(&mut decisions, 1);
        end(&mut decisions, 2);
        assert_eq!(alarms(&decisions), ["one", "two", "two", ""]);
    }

    #[test]
    fn an_alarm_that_ended_while_the_broker_was_away_is_not_forgotten_for_later_decisions() {
        let mut decisions = Decisions::new();
        raise(&mut decisions, 1, "one");
        end(&mut decisions, 1);
        for _ in 0..2 * WAITING_MAX {
            decisions.publish("event/pump".into(), b"{}".to_vec());
        }
        assert_eq!(alarms(&decisions), ["one", ""]);
        let (tally, held) = decisions.count();
        assert!(tally.balances(held) && held == WAITING_MAX as u64, "{tally:?} {held}");
        decisions.abandon();
        let (tally, held) = decisions.count();
        assert!(tally.balances(0) && held == 0, "{tally:?}");
    }

    #[test]
    fn long_decisions_are_limited_by_their_bytes_and_alarms_outlive_them() {
        let mut decisions = Decisions::new();
        raise(&mut decisions, 1, "one");
        for _ in 0..100 {
            decisions.publish("event/pump".into(), vec![b'x'; 64 << 10]);
            assert!(decisions.waiting_bytes <= DECISIONS_BYTES_MAX);
        }
        assert_eq!(alarms(&decisions), ["one"]);
        let (tally, held) = decisions.count();
        assert!(tally.balances(held) && held == 16, "{tally:?} {held}");
        decisions.publish("event/pump".into(), vec![b'x'; 2 << 20]);
        assert_eq!(decisions.count().1, 1, "one of any size may wait");
    }

    #[test]
    fn alarms_beyond_what_can_be_kept_stand_until_the_last_has_ended() {
        let mut decisions = Decisions::new();
        let long = "x".repeat(1 << 10);
        for asset in 0..1_000 {
            raise(&mut decisions, asset, &long);
        }
        assert_eq!((decisions.standing_bytes, decisions.unkept()), (STANDING_BYTES_MAX, 1_000 - 256));
        decisions.alarm((StreamId(1), AssetId(0)), "alarm/fan".into(), Some(b"fan".to_vec()));
        assert_eq!(decisions.alarm_of(StreamId(1)), b"fan", "the first of a stream is kept in any case");
        for asset in 0..999 {
            end(&mut decisions, asset);
            assert!(!decisions.alarm_of(PUMP).is_empty(), "{asset}");
        }
        end(&mut decisions, 999);
        assert!(decisions.alarm_of(PUMP).is_empty());
        assert_eq!(decisions.standing_bytes, 3);
    }

    #[test]
    fn a_new_connection_is_told_of_each_stream_what_stands_now() {
        let mut decisions = Decisions::new();
        raise(&mut decisions, 1, "one");
        raise(&mut decisions, 2, "two");
        decisions.alarm((StreamId(1), AssetId(0)), "alarm/fan".into(), Some(b"fan".to_vec()));
        decisions.alarm((StreamId(1), AssetId(0)), "alarm/fan".into(), None);
        decisions.waiting.clear();
        decisions.tell_alarms();
        assert_eq!(alarms(&decisions), ["one", ""]);
    }
}
