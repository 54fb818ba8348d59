//! The sending side of a connection: takes messages or says why not, never waits.

use std::sync::Arc;

use bytes::Bytes;

use crate::io::mqtt::pairing::Shared;
use crate::io::mqtt::{Inbound, Token, v4, v5};

/// Sends on one connection. Clones send on the same one.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    shared: Arc<Shared>,
}

/// The client library's sender.
#[derive(Clone)]
pub(in crate::io::mqtt) enum Client {
    V4(v4::Client),
    V5(v5::Client),
}

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

/// Bytes of a PUBLISH besides topic and payload, at most: fixed header 5, topic length 2, packet id 2, properties 1.
const PUBLISH_OVERHEAD: usize = 10;

impl Publisher {
    pub(in crate::io::mqtt) fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared }
    }

    /// Asks for messages. Answered by [`crate::io::mqtt::Arrival::Subscribed`] with the same filter. A shared
    /// subscription is a filter that starts with `$share/group/`.
    pub fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), Unsent> {
        self.connected()?;
        if filter.len() > usize::from(u16::MAX) || filter.contains('\0') || !rumqttc::valid_filter(filter) {
            return Err(Unsent::Topic);
        }
        let mut queue = self.shared.lock();
        let taken = match &self.client {
            Client::V4(client) => v4::subscribe(client, filter, qos),
            Client::V5(client) => v5::subscribe(client, filter, qos),
        };
        if taken {
            queue.filters.push_back(filter.to_owned());
        }
        drop(queue);
        taken.then_some(()).ok_or(Unsent::Full)
    }

    /// Sends a message.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        delivery: Delivery,
        retain: bool,
    ) -> Result<(), Unsent> {
        self.connected()?;
        let payload = payload.into();
        if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
            return Err(Unsent::Topic);
        }
        let limit = self.shared.packet_max();
        if topic.len() + payload.len() + PUBLISH_OVERHEAD > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Unsent::TooLarge { limit });
        }
        let Delivery::AtLeastOnce(token) = delivery else {
            return self.send(topic, payload, Qos::AtMostOnce, retain);
        };
        let mut queue = self.shared.lock();
        if queue.unacknowledged >= queue.in_flight {
            return Err(Unsent::Full);
        }
        self.send(topic, payload, Qos::AtLeastOnce, retain)?;
        queue.tokens.push_back(token);
        queue.unacknowledged += 1;
        Ok(())
    }

    /// Acknowledges a message of QoS 1: the broker forgets it. Nothing happens for QoS 0, nor for a message of an
    /// earlier connection: that one the broker sends again.
    pub fn ack(&self, message: &Inbound) -> Result<(), Unsent> {
        if message.qos() == Qos::AtMostOnce || message.connection != self.shared.connection {
            return Ok(());
        }
        self.connected()?;
        let taken = match &self.client {
            Client::V4(client) => v4::ack(client, message.packet_id),
            Client::V5(client) => v5::ack(client, message.packet_id),
        };
        taken.then_some(()).ok_or(Unsent::Full)
    }

    /// Says good-bye: the last will is not published. What was taken before is still written;
    /// [`crate::io::mqtt::Arrival::Closed`] follows.
    pub fn disconnect(&self) -> Result<(), Unsent> {
        self.connected()?;
        self.shared.leave();
        let taken = match &self.client {
            Client::V4(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        };
        taken.then_some(()).ok_or(Unsent::Full)
    }

    fn connected(&self) -> Result<(), Unsent> {
        if self.shared.is_up() { Ok(()) } else { Err(Unsent::NotConnected) }
    }

    fn send(&self, topic: &str, payload: Bytes, qos: Qos, retain: bool) -> Result<(), Unsent> {
        let taken = match &self.client {
            Client::V4(client) => v4::publish(client, topic, payload, qos, retain),
            Client::V5(client) => v5::publish(client, topic, payload, qos, retain),
        };
        taken.then_some(()).ok_or(Unsent::Full)
    }
}
