//! What publishers share with their connection: packets on their way to the socket, and who waits for which answer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::io::mqtt::codec::{SIZE_MAX, Welcome, goodbye, puback, publish, publish_size, subscribe};
use crate::io::mqtt::window::Window;
use crate::io::mqtt::{Delivery, Protocol, Qos, Unsent};

/// Bytes of packets that may wait for the socket before publishers are told that too much is under way. One packet of
/// any size may always wait. Acknowledgements are never turned away.
const QUEUED_MAX: usize = 1 << 20;

/// Bytes of acknowledgements that may wait while more is received: 16,384 of them, many times what a broker sends
/// ahead. Only a flood whose sender does not read them comes there.
const ACKNOWLEDGEMENTS_MAX: usize = 64 << 10;

/// The two together: what the outgoing side of a connection takes at most, with its buffer grown by doubling.
pub const QUEUED_BYTES_MAX: u64 = 2 * (QUEUED_MAX + ACKNOWLEDGEMENTS_MAX) as u64;

/// Capacity that is kept for the next packets.
const KEPT_BYTES: usize = 256 << 10;

/// The outgoing side of one connection.
pub(in crate::io::mqtt) struct Outgoing {
    /// Number of the connection.
    pub(in crate::io::mqtt) connection: u32,
    protocol: Protocol,
    queue: Mutex<Queue>,
    wake: Notify,
}

struct Queue {
    state: State,
    packets: Vec<u8>,
    /// Bytes of acknowledgements in it.
    acknowledgements: usize,
    window: Window,
    packet_max: u32,
    retains: bool,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The broker has not welcomed us yet.
    Opening,
    /// Takes packets.
    Open,
    /// The good-bye is queued.
    Leaving,
    /// It has ended.
    Closed,
}

impl Outgoing {
    pub(in crate::io::mqtt) fn new(connection: u32, protocol: Protocol, in_flight: u16) -> Self {
        let queue = Queue {
            state: State::Opening,
            packets: Vec::new(),
            acknowledgements: 0,
            window: Window::new(in_flight),
            packet_max: SIZE_MAX,
            retains: true,
        };
        Self { connection, protocol, queue: Mutex::new(queue), wake: Notify::new() }
    }

    /// Opens the way for publishers, within what the broker allows.
    pub(in crate::io::mqtt) fn open(&self, welcome: &Welcome) {
        let mut queue = self.lock();
        if let Some(receive_max) = welcome.receive_max {
            queue.window.narrow(receive_max);
        }
        queue.packet_max = welcome.packet_max.unwrap_or(SIZE_MAX).min(SIZE_MAX);
        queue.retains = welcome.retains;
        queue.state = State::Open;
    }

    /// Ends the connection for publishers. What waits will not be sent.
    pub(in crate::io::mqtt) fn close(&self) {
        let mut queue = self.lock();
        queue.state = State::Closed;
        queue.packets = Vec::new();
    }

    /// Queues a subscription.
    pub(in crate::io::mqtt) fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), Unsent> {
        let mut queue = self.lock();
        queue.connected()?;
        queue.room(filter.len())?;
        let id = queue.window.subscribe(filter).ok_or(Unsent::Full)?;
        subscribe(self.protocol, id, filter, qos, &mut queue.packets);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues a message. The topic is valid.
    pub(in crate::io::mqtt) fn publish(
        &self,
        topic: &str,
        payload: &[u8],
        delivery: Delivery,
        retain: bool,
    ) -> Result<(), Unsent> {
        let qos = match delivery {
            Delivery::AtMostOnce => Qos::AtMostOnce,
            Delivery::AtLeastOnce(_) => Qos::AtLeastOnce,
        };
        let size = publish_size(self.protocol, topic, payload, qos);
        let mut queue = self.lock();
        queue.connected()?;
        let limit = queue.packet_max;
        if size > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Unsent::TooLarge { limit });
        }
        queue.room(size)?;
        let id = match delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(token) => Some(queue.window.publish(token, size).ok_or(Unsent::Full)?),
        };
        let retain = retain && queue.retains;
        publish(self.protocol, topic, payload, id, retain, &mut queue.packets);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues an acknowledgement.
    pub(in crate::io::mqtt) fn acknowledge(&self, packet_id: u16) -> Result<(), Unsent> {
        let mut queue = self.lock();
        queue.connected()?;
        let packet = puback(packet_id);
        queue.packets.extend_from_slice(&packet);
        queue.acknowledgements += packet.len();
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues the good-bye: nothing is taken after it.
    pub(in crate::io::mqtt) fn leave(&self) -> Result<(), Unsent> {
        let mut queue = self.lock();
        queue.connected()?;
        queue.packets.extend_from_slice(&goodbye());
        queue.state = State::Leaving;
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Trades what waits for a buffer that is written: whatever was queued since goes out as one.
    pub(in crate::io::mqtt) fn take(&self, written: &mut Vec<u8>) {
        written.clear();
        if written.capacity() > KEPT_BYTES {
            *written = Vec::new();
        }
        let mut queue = self.lock();
        std::mem::swap(&mut queue.packets, written);
        queue.acknowledgements = 0;
    }

    /// Whether so many acknowledgements wait that nothing more is received for now.
    pub(in crate::io::mqtt) fn is_backlogged(&self) -> bool {
        self.lock().acknowledgements > ACKNOWLEDGEMENTS_MAX
    }

    /// Whether the good-bye has been queued and taken.
    pub(in crate::io::mqtt) fn has_left(&self) -> bool {
        let queue = self.lock();
        queue.state == State::Leaving && queue.packets.is_empty()
    }

    /// Waits until something was queued.
    pub(in crate::io::mqtt) fn queued(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// What is under way.
    pub(in crate::io::mqtt) fn with_window<T>(&self, work: impl FnOnce(&mut Window) -> T) -> T {
        work(&mut self.lock().window)
    }

    /// The queue. A poisoned lock is taken over: no state in it is ever half done.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn connected(&self) -> Result<(), Unsent> {
        if self.state == State::Open { Ok(()) } else { Err(Unsent::NotConnected) }
    }

    fn room(&self, size: usize) -> Result<(), Unsent> {
        let fits = self.packets.is_empty() || self.packets.len() + size <= QUEUED_MAX;
        if fits { Ok(()) } else { Err(Unsent::Full) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mqtt::Token;

    fn open() -> Outgoing {
        let outgoing = Outgoing::new(1, Protocol::V5, 1_000);
        assert_eq!(outgoing.acknowledge(1), Err(Unsent::NotConnected));
        outgoing.open(&Welcome::plain(false));
        outgoing
    }

    #[test]
    fn acknowledgements_queued_together_are_written_together() {
        let outgoing = open();
        for id in 1..=3 {
            outgoing.acknowledge(id).unwrap();
        }
        let mut written = Vec::new();
        outgoing.take(&mut written);
        assert_eq!(written, [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
        outgoing.take(&mut written);
        assert!(written.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_for_messages_and_one_of_any_size_is_taken() {
        let outgoing = open();
        let publish =
            |token, size| outgoing.publish("t", &vec![0; size], Delivery::AtLeastOnce(Token(token)), false);
        publish(1, 2 << 20).unwrap();
        assert_eq!(publish(2, 1), Err(Unsent::Full), "and no packet id is spent on it");
        outgoing.acknowledge(7).unwrap();
        assert_eq!(outgoing.with_window(|window| window.bytes()), (2 << 20) + 11);
        let mut written = Vec::new();
        outgoing.take(&mut written);
        publish(2, 1).unwrap();
    }

    #[test]
    fn nothing_follows_the_goodbye() {
        let outgoing = open();
        outgoing.leave().unwrap();
        assert!(!outgoing.has_left(), "it still waits");
        assert_eq!(outgoing.acknowledge(1), Err(Unsent::NotConnected));
        assert_eq!(outgoing.leave(), Err(Unsent::NotConnected));
        let mut written = Vec::new();
        outgoing.take(&mut written);
        assert_eq!(written, [0xe0, 0]);
        assert!(outgoing.has_left());
    }

    #[test]
    fn a_broker_that_keeps_nothing_is_not_asked_to() {
        let outgoing = Outgoing::new(1, Protocol::V5, 1);
        outgoing.open(&Welcome { retains: false, ..Welcome::plain(false) });
        outgoing.publish("t", b"x", Delivery::AtMostOnce, true).unwrap();
        let mut written = Vec::new();
        outgoing.take(&mut written);
        assert_eq!(
            written.first(),
            Some(&0x30),
            "the message goes out, without the flag it would be refused for"
        );
    }
}
