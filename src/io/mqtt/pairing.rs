//! Pairs what was asked for with the packet ids under which the client library sent it.
//!
//! # Invariants
//! The library takes requests from one queue in order and reports each packet id as it sends, so the n-th reported id
//! belongs to the n-th token. Tokens are queued under the same lock under which the request is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The caller's own number for a QoS 1 publish; comes back with its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What publishers and their connection share.
pub(in crate::io::mqtt) struct Shared {
    /// Number of the connection.
    pub connection: u32,
    /// Whether the broker has welcomed us and the connection still stands.
    up: AtomicBool,
    /// Whether we have asked for the end of it.
    leaving: AtomicBool,
    /// Largest packet the broker takes, bytes.
    packet_max: AtomicU32,
    queue: Mutex<Queue>,
}

/// What has been asked for and not answered.
pub(in crate::io::mqtt) struct Queue {
    /// Tokens of publishes the library has not sent yet, oldest first.
    pub tokens: VecDeque<Token>,
    /// Filters of subscriptions the library has not sent yet, oldest first.
    pub filters: VecDeque<String>,
    /// Publishes asked for and not acknowledged.
    pub unacknowledged: u16,
    /// How many there may be.
    pub in_flight: u16,
}

/// What has been sent and not answered, by packet id. Belongs to the connection alone.
#[derive(Default)]
pub(in crate::io::mqtt) struct Sent {
    tokens: Vec<Option<Token>>,
    filters: Vec<(u16, String)>,
}

impl Shared {
    pub(in crate::io::mqtt) fn new(connection: u32, in_flight: u16) -> Self {
        let queue = Queue { tokens: VecDeque::new(), filters: VecDeque::new(), unacknowledged: 0, in_flight };
        Self {
            connection,
            up: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            packet_max: AtomicU32::new(u32::MAX),
            queue: Mutex::new(queue),
        }
    }

    /// Opens the way for publishers, within what the broker allows.
    pub(in crate::io::mqtt) fn open(&self, receive_max: Option<u16>, packet_max: Option<u32>) {
        if let Some(receive_max) = receive_max {
            let mut queue = self.lock();
            queue.in_flight = queue.in_flight.min(receive_max).max(1);
        }
        self.packet_max.store(packet_max.unwrap_or(u32::MAX), Ordering::Relaxed);
        self.up.store(true, Ordering::Release);
    }

    /// Ends the connection for publishers.
    pub(in crate::io::mqtt) fn close(&self) {
        self.up.store(false, Ordering::Release);
    }

    /// We want to leave.
    pub(in crate::io::mqtt) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(in crate::io::mqtt) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(in crate::io::mqtt) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(in crate::io::mqtt) fn packet_max(&self) -> u32 {
        self.packet_max.load(Ordering::Relaxed)
    }

    /// The queue. A poisoned lock is taken over: the queue holds no state a panic could have left half done.
    pub(in crate::io::mqtt) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sent {
    /// The library has sent a QoS 1 publish under this id.
    pub(in crate::io::mqtt) fn published(&mut self, packet_id: u16, shared: &Shared) {
        let token = shared.lock().tokens.pop_front();
        let slot = usize::from(packet_id);
        if slot >= self.tokens.len() {
            self.tokens.resize(slot + 1, None);
        }
        if let Some(entry) = self.tokens.get_mut(slot) {
            *entry = token;
        }
    }

    /// The broker has answered a publish; the token, if it was one of ours.
    pub(in crate::io::mqtt) fn answered(&mut self, packet_id: u16, shared: &Shared) -> Option<Token> {
        let token = self.tokens.get_mut(usize::from(packet_id))?.take()?;
        let mut queue = shared.lock();
        queue.unacknowledged = queue.unacknowledged.saturating_sub(1);
        Some(token)
    }

    /// The library has sent a subscription under this id.
    pub(in crate::io::mqtt) fn subscribed(&mut self, packet_id: u16, shared: &Shared) {
        if let Some(filter) = shared.lock().filters.pop_front() {
            self.filters.push((packet_id, filter));
        }
    }

    /// The broker has answered a subscription; its filter, if it was one of ours.
    pub(in crate::io::mqtt) fn granted(&mut self, packet_id: u16) -> Option<String> {
        let at = self.filters.iter().position(|(id, _)| *id == packet_id)?;
        Some(self.filters.swap_remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(shared: &Shared, token: u64) {
        let mut queue = shared.lock();
        queue.tokens.push_back(Token(token));
        queue.unacknowledged += 1;
    }

    #[test]
    fn tokens_follow_their_packet_ids_in_order_and_ids_are_reused() {
        let (shared, mut sent) = (Shared::new(1, 4), Sent::default());
        for token in [70, 71, 72] {
            asked(&shared, token);
        }
        sent.published(1, &shared);
        sent.published(2, &shared);
        assert_eq!(sent.answered(2, &shared), Some(Token(71)), "out of order");
        sent.published(2, &shared);
        assert_eq!(sent.answered(2, &shared), Some(Token(72)), "the id was reused");
        assert_eq!(sent.answered(2, &shared), None, "answered twice");
        assert_eq!(sent.answered(9, &shared), None, "never sent");
        assert_eq!(sent.answered(1, &shared), Some(Token(70)));
        assert_eq!(shared.lock().unacknowledged, 0);
    }

    #[test]
    fn the_broker_may_lower_the_flight_but_never_to_nothing() {
        for (allowed, expected) in [(None, 64), (Some(20), 20), (Some(0), 1), (Some(1000), 64)] {
            let shared = Shared::new(1, 64);
            assert!(!shared.is_up());
            shared.open(allowed, None);
            assert_eq!(shared.lock().in_flight, expected);
            assert!(shared.is_up());
        }
    }
}
