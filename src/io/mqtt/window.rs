//! What has been asked of the broker and not been answered, by packet id.
//!
//! # Invariants
//! * An answer is worth something only for a packet id that is under way; once answered, it is not under way any more.
//! * Packet ids go round: one is used again only after all others, so that a late second answer meets no stranger.

use std::collections::BTreeMap;

use crate::io::mqtt::Token;

/// Subscriptions that may wait for an answer: one for each stream of the largest configuration, 1,024, and some.
const SUBSCRIPTIONS_MAX: usize = 1_280;

/// Acknowledgements that may come again for each packet id given out: some brokers tell things twice, none ten times.
const REPEATS_MAX: u64 = 4;

/// Unanswered publishes and subscriptions of one connection.
#[derive(Debug)]
pub(in crate::io::mqtt) struct Window {
    in_flight: u16,
    last: u16,
    /// Packet ids given out, and acknowledgements that came again.
    issued: u64,
    repeated: u64,
    publishes: BTreeMap<u16, (Token, usize)>,
    subscriptions: BTreeMap<u16, String>,
    bytes: usize,
}

impl Window {
    pub(in crate::io::mqtt) fn new(in_flight: u16) -> Self {
        Self {
            in_flight,
            last: 0,
            issued: 0,
            repeated: 0,
            publishes: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Lowers the number of publishes under way to what the broker allows, but never to none: that would be for ever.
    pub(in crate::io::mqtt) fn narrow(&mut self, receive_max: u16) {
        self.in_flight = self.in_flight.min(receive_max).max(1);
    }

    /// A packet id for a publish of so many bytes; nothing if as many are under way as may be.
    pub(in crate::io::mqtt) fn publish(&mut self, token: Token, bytes: usize) -> Option<u16> {
        if self.publishes.len() >= usize::from(self.in_flight) {
            return None;
        }
        let id = self.free()?;
        self.publishes.insert(id, (token, bytes));
        self.bytes += bytes;
        Some(id)
    }

    /// A packet id for a subscription; nothing if too many wait for an answer.
    pub(in crate::io::mqtt) fn subscribe(&mut self, filter: &str) -> Option<u16> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        let id = self.free()?;
        self.subscriptions.insert(id, filter.to_owned());
        Some(id)
    }

    /// The broker has answered a publish; its token if it was under way.
    pub(in crate::io::mqtt) fn answered(&mut self, id: u16) -> Option<Token> {
        let (token, bytes) = self.publishes.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(token)
    }

    /// Whether an acknowledgement of nothing under way is one that came again: its packet id has been used on this
    /// connection, no subscription has it now, and it is not one of a flood.
    pub(in crate::io::mqtt) fn repeats(&mut self, id: u16) -> bool {
        let is_used = id != 0 && u64::from(id) <= self.issued && !self.subscriptions.contains_key(&id);
        self.repeated += u64::from(is_used);
        is_used && self.repeated <= self.issued.saturating_mul(REPEATS_MAX)
    }

    /// The broker has answered a subscription; its filter if it was under way.
    pub(in crate::io::mqtt) fn granted(&mut self, id: u16) -> Option<String> {
        self.subscriptions.remove(&id)
    }

    /// Bytes of the publishes under way.
    pub(in crate::io::mqtt) fn bytes(&self) -> usize {
        self.bytes
    }

    fn free(&mut self) -> Option<u16> {
        for _ in 0..=u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.publishes.contains_key(&self.last) && !self.subscriptions.contains_key(&self.last) {
                self.issued += 1;
                return Some(self.last);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_tokens_in_any_order_and_only_once() {
        let mut window = Window::new(4);
        let ids: Vec<u16> = (70..74).map(|token| window.publish(Token(token), 10).unwrap()).collect();
        assert_eq!(window.publish(Token(74), 10), None, "full");
        assert_eq!(window.bytes(), 40);
        assert_eq!(window.answered(ids[1]), Some(Token(71)), "out of order");
        assert_eq!(window.answered(ids[1]), None, "answered twice");
        assert_eq!(window.answered(999), None, "never sent");
        assert!(window.repeats(ids[1]), "answered before");
        assert!(!window.repeats(999) && !window.repeats(ids[3] + 1) && !window.repeats(0), "never used");
        let told = (0..100).filter(|_| window.repeats(ids[1])).count();
        assert_eq!(told, 15, "4 ids, one told again already; more is a flood");
        let again = window.publish(Token(75), 5).unwrap();
        assert!(!ids.contains(&again), "a second answer to an old one must not meet a new one");
        assert_eq!(window.bytes(), 35);
        assert_eq!(window.answered(again), Some(Token(75)));
    }

    #[test]
    fn packet_ids_go_round_past_those_under_way_and_are_never_0() {
        let mut window = Window::new(u16::MAX);
        let standing = window.publish(Token(0), 1).unwrap();
        let asked = window.subscribe("a/b").unwrap();
        for token in 1..=200_000 {
            let id = window.publish(Token(token), 1).unwrap();
            assert!(id != 0 && id != standing && id != asked);
            assert_eq!(window.answered(id), Some(Token(token)));
        }
        assert!(window.repeats(u16::MAX) && !window.repeats(0) && !window.repeats(asked));
        assert_eq!(window.granted(asked).as_deref(), Some("a/b"));
        assert_eq!(window.granted(asked), None);
        assert_eq!(window.answered(asked), None);
    }

    #[test]
    fn all_ids_under_way_is_full_and_not_the_end() {
        let mut window = Window::new(u16::MAX);
        let taken = (0..70_000).filter(|token| window.publish(Token(*token), 1).is_some()).count();
        assert_eq!(taken, usize::from(u16::MAX));
        assert_eq!(window.subscribe("a"), None);
    }

    #[test]
    fn the_broker_may_lower_the_flight_but_never_to_nothing() {
        for (allowed, expected) in [(u16::MAX, 64), (20, 20), (0, 1), (1_000, 64)] {
            let mut window = Window::new(64);
            window.narrow(allowed);
            let taken = (0..100).filter(|token| window.publish(Token(*token), 1).is_some()).count();
            assert_eq!(taken, expected);
        }
    }
}
