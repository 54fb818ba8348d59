//! The sending side of a connection: takes messages or says why not, never waits.

use std::sync::Arc;

use bytes::Bytes;

use crate::io::mqtt::Inbound;
use crate::io::mqtt::outgoing::Outgoing;

/// Sends on one connection. Clones send on the same one.
#[derive(Clone)]
pub struct Publisher {
    outgoing: Arc<Outgoing>,
}

/// The caller's own number for a QoS 1 publish; comes back with its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Quality of service of what we receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0: sent once, nobody answers.
    AtMostOnce,
    /// QoS 1: answered by [`crate::io::mqtt::Arrival::Acked`] or `Refused` with this token, or not at all when the
    /// connection ends first.
    AtLeastOnce(Token),
}

/// Why a message was not taken. It was not sent and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// As much is under way as the endpoint or the broker allows: try again after the next acknowledgement.
    #[error("too much is under way")]
    Full,
    /// The broker has not welcomed us yet, or the connection has ended.
    #[error("not connected")]
    NotConnected,
    /// The broker does not take packets of this size.
    #[error("larger than the {limit} bytes the broker takes")]
    TooLarge {
        /// Largest packet the broker takes, bytes.
        limit: u32,
    },
    /// Not a topic to publish to: empty, longer than 65,535 bytes, or with a wildcard or NUL. For a subscription:
    /// not a filter.
    #[error("not a valid topic")]
    Topic,
}

impl Publisher {
    pub(in crate::io::mqtt) fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    /// Asks for messages. Answered by [`crate::io::mqtt::Arrival::Subscribed`] with the same filter. A shared
    /// subscription is a filter that starts with `$share/group/`.
    pub fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), Unsent> {
        let valid =
            u16::try_from(filter.len()).is_ok() && !filter.contains('\0') && rumqttc::valid_filter(filter);
        if !valid {
            return Err(Unsent::Topic);
        }
        self.outgoing.subscribe(filter, qos)
    }

    /// Sends a message.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        delivery: Delivery,
        retain: bool,
    ) -> Result<(), Unsent> {
        if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
            return Err(Unsent::Topic);
        }
        self.outgoing.publish(topic, &payload.into(), delivery, retain)
    }

    /// Acknowledges a message of QoS 1: the broker forgets it. Nothing happens for QoS 0, nor for a message of an
    /// earlier connection: that one the broker sends again.
    pub fn ack(&self, message: &Inbound) -> Result<(), Unsent> {
        if message.qos() == Qos::AtMostOnce || message.connection != self.outgoing.connection {
            return Ok(());
        }
        self.outgoing.acknowledge(message.packet_id)
    }

    /// Says good-bye: the last will is not published. What was taken before is still written, nothing is taken after
    /// it; [`crate::io::mqtt::Arrival::Closed`] follows.
    pub fn disconnect(&self) -> Result<(), Unsent> {
        self.outgoing.leave()
    }
}
