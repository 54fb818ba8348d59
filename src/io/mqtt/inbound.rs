//! A message of the broker, as it lies in the receive buffer.

use bytes::Bytes;

use crate::io::mqtt::Qos;

/// A message of the broker. Topic and payload are views into the receive buffer, nothing is copied; no `Debug`,
/// because the payload belongs to the plant.
#[derive(Clone)]
pub struct Inbound {
    topic: Bytes,
    payload: Bytes,
    /// Number of the connection it came on: an acknowledgement on any other would hit a stranger's packet id.
    pub(in crate::io::mqtt) connection: u32,
    pub(in crate::io::mqtt) packet_id: u16,
    qos: Qos,
    retained: bool,
}

impl Inbound {
    pub(in crate::io::mqtt) fn new(
        topic: Bytes,
        payload: Bytes,
        packet_id: u16,
        qos: Qos,
        retained: bool,
    ) -> Self {
        Self { topic, payload, connection: 0, packet_id, qos, retained }
    }

    /// The topic as sent. A broker should have checked that it is UTF-8; whoever reads it checks again.
    pub fn topic(&self) -> &[u8] {
        &self.topic
    }

    /// The payload as sent.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The message without its content: all that is needed to acknowledge it later. Does not keep the receive buffer.
    #[must_use]
    pub fn receipt(&self) -> Self {
        Self { topic: Bytes::new(), payload: Bytes::new(), ..*self }
    }

    /// Whether the broker had kept it for us: old by an unknown time.
    pub fn retained(&self) -> bool {
        self.retained
    }

    /// The quality of service it came with. QoS 1 wants a [`crate::io::mqtt::Publisher::ack`].
    pub fn qos(&self) -> Qos {
        self.qos
    }
}
