//! What a broker says, in one form for both versions, and what we say to it.

use bytes::BytesMut;

use crate::io::mqtt::codec::{v4, v5};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::{Endpoint, Inbound, Protocol, Qos};

/// What the broker said when it welcomed us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Whether it still had our session: subscriptions and unacknowledged messages.
    pub session_present: bool,
    /// Unacknowledged publishes it allows.
    pub receive_max: Option<u16>,
    /// Largest packet it takes, bytes.
    pub packet_max: Option<u32>,
    /// Seconds between our packets it asks for, 0 for any, in place of what we said.
    pub keep_alive: Option<u16>,
    /// Whether it keeps retained messages.
    pub retains: bool,
    /// Whether it takes messages of QoS 1.
    pub at_least_once: bool,
}

/// A packet of the broker.
pub(in crate::io::mqtt) enum Packet {
    /// CONNACK that lets us in.
    Welcome(Welcome),
    /// PUBLISH.
    Message(Inbound),
    /// PUBACK for this packet id; the reason if it refuses.
    Answered(u16, Option<&'static str>),
    /// SUBACK for this packet id; the reason if it refuses.
    Granted(u16, Option<String>),
    /// PINGRESP.
    Pong,
    /// DISCONNECT with its reason.
    Goodbye(String),
}

impl Welcome {
    /// A welcome that says nothing beyond itself: MQTT 3.1.1 has no more.
    pub(in crate::io::mqtt) fn plain(session_present: bool) -> Self {
        Self { session_present, retains: true, at_least_once: true, ..Self::default() }
    }
}

/// CONNECT.
pub(in crate::io::mqtt) fn hello(endpoint: &Endpoint) -> Vec<u8> {
    let mut out = BytesMut::new();
    match endpoint.protocol {
        Protocol::V311 => v4::hello(endpoint, &mut out),
        Protocol::V5 => v5::hello(endpoint, &mut out),
    }
    out.to_vec()
}

/// SUBSCRIBE to one filter.
pub(in crate::io::mqtt) fn subscribe(protocol: Protocol, id: u16, filter: &str, qos: Qos, out: &mut Vec<u8>) {
    let mut packet = BytesMut::new();
    match protocol {
        Protocol::V311 => v4::subscribe(id, filter, qos, &mut packet),
        Protocol::V5 => v5::subscribe(id, filter, qos, &mut packet),
    }
    out.extend_from_slice(&packet);
}

/// PUBACK of a message that was taken: the same in both versions.
pub(in crate::io::mqtt) fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// PINGREQ.
pub(in crate::io::mqtt) fn ping() -> [u8; 2] {
    [0xc0, 0]
}

/// DISCONNECT without a fault: the same in both versions.
pub(in crate::io::mqtt) fn goodbye() -> [u8; 2] {
    [0xe0, 0]
}

/// A packet of the broker other than PUBLISH; `frame` holds it and nothing else.
pub(in crate::io::mqtt) fn read(protocol: Protocol, frame: &mut BytesMut) -> Result<Packet, Failure> {
    match *frame.as_ref() {
        [0x40, 2, high, low] => Ok(Packet::Answered(u16::from_be_bytes([high, low]), None)),
        [0xd0, 0] => Ok(Packet::Pong),
        [0xd0, ..] => Err(malformed(&"a pong with a body")),
        [0xe0, 0] => Ok(Packet::Goodbye("normal disconnection".into())),
        // A broker that does not speak MQTT 5 says so in the form of MQTT 3.1.1.
        [0x20, 2, _, 1..=5] => v4::read(frame),
        _ => match protocol {
            Protocol::V311 => v4::read(frame),
            Protocol::V5 => v5::read(frame),
        },
    }
}

/// A packet the library cannot make sense of.
pub(in crate::io::mqtt) fn malformed(fault: &dyn std::fmt::Display) -> Failure {
    Failure::Protocol(format!("a malformed packet ({})", fault.to_string().to_lowercase()))
}
