//! One case of the bank: a broker, and what must come of it.

use std::time::Duration;

use tidegate::io::mqtt::{Address, Endpoint, Fault, Protocol};

use crate::broker::Act;

/// The client's limit, bytes.
pub(crate) const PACKET_MAX: u32 = 64 << 10;

/// QoS 1 messages the client publishes.
pub(crate) const PUBLISHES: u64 = 3;

/// Memory a case may take at its peak, bytes, both sides of the socket and the record of them included.
const MEMORY_MAX: u64 = 2 << 20;

/// A broker and what must come of it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) script: Vec<Act>,
    pub(crate) expect: Expect,
    /// How long the client does something else after the welcome.
    pub(crate) sleeps: Duration,
    /// Time in which it must be over.
    pub(crate) within: Duration,
    pub(crate) memory_max: u64,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
}

/// What must come of a case besides what always must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// All is well until the client leaves: so many messages have come, so many publishes are acknowledged.
    Fine { messages: u64, acked: u64 },
    /// The connection ends with this kind of trouble.
    Ends(Fault),
    /// The connection is lost after so many messages and acknowledgements were told: all that had come before the end.
    LostAfter { messages: u64, acked: u64 },
    /// The connection is lost before so many messages were taken.
    LostBefore { messages: u64 },
    /// Whatever comes of it is right, as long as nothing is wrong.
    Anything,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, protocol: Protocol, expect: Expect, script: Vec<Act>) -> Self {
        Self {
            name: name.into(),
            protocol,
            script,
            expect,
            sleeps: Duration::ZERO,
            within: Duration::from_mins(30),
            memory_max: MEMORY_MAX,
            clean_start: false,
            keep_alive: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(30),
        }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let address: Address = "mqtt://broker.test:1883".parse().unwrap();
        Endpoint {
            protocol: self.protocol,
            clean_start: self.clean_start,
            packet_max: PACKET_MAX,
            in_flight: 8,
            receive_max: 16,
            keep_alive: self.keep_alive,
            connect_timeout: self.connect_timeout,
            ..Endpoint::new(address, "victim")
        }
    }
}

/// CONNACK that lets the client in.
pub(crate) fn welcome(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::V5 => vec![0x20, 3, 0, 0, 0],
        Protocol::V311 => vec![0x20, 2, 0, 0],
    }
}

/// SUBACK of the client's subscription.
pub(crate) fn granted(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::V5 => vec![0x90, 4, 0, 1, 0, 1],
        Protocol::V311 => vec![0x90, 3, 0, 1, 1],
    }
}

/// A message of QoS 1, or of QoS 0 without packet id.
pub(crate) fn message(protocol: Protocol, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, b't'];
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    if protocol == Protocol::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// PUBACK of one of the client's publishes: 0, 1, 2.
pub(crate) fn taken(publish: u8) -> Vec<u8> {
    vec![0x40, 2, 0, 2 + publish]
}

/// A packet with a right length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// All a broker says to the client in a good conversation after the welcome.
pub(crate) fn answers(protocol: Protocol) -> Vec<u8> {
    [
        granted(protocol),
        message(protocol, Some(9), b"one"),
        message(protocol, None, b"two"),
        taken(0),
        taken(1),
        taken(2),
        message(protocol, Some(10), b""),
    ]
    .concat()
}

/// Hears the CONNECT.
pub(crate) fn opened() -> Vec<Act> {
    vec![Act::Hear(1)]
}

/// Hears the CONNECT, welcomes, hears the subscription and the publishes.
pub(crate) fn met(protocol: Protocol) -> Vec<Act> {
    let mut acts = vec![Act::Hear(1), Act::Say(welcome(protocol)), Act::Hear(8)];
    acts.extend((0..PUBLISHES).map(|_| Act::Hear(3)));
    acts
}

/// One script after another.
pub(crate) fn then(mut acts: Vec<Act>, more: impl IntoIterator<Item = Act>) -> Vec<Act> {
    acts.extend(more);
    acts
}
