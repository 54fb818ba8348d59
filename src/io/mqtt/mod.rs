//! MQTT client: one throw-away connection at a time, over a loop of our own; the only place that names `rumqttc`, which
//! is its codec.
//!
//! # Invariants
//! * A connection is opened, used and thrown away. Nothing queued in it, no packet id and no acknowledgement of it
//!   reaches the next one: whoever must not lose a message keeps it until its [`Arrival::Acked`].
//! * An inbound QoS 1 message is acknowledged by [`Publisher::ack`] and by nothing else.
//! * A [`Publisher`] never waits. It takes a message or says why not.
//! * Memory is bounded whatever the broker sends, and every wait has an end.
//!
//! # What a broker may do
//! Whoever breaks the protocol loses the connection and gets no DISCONNECT, so that the last will is published: packets
//! no broker sends or that belong to QoS 2, topic aliases, answers to what was never asked. An
//! acknowledgement that comes again is passed over, a few times. A message that comes again, with the mark of a
//! duplicate or without, is handed on again; its readers compare. More unacknowledged messages than we allowed are taken: the pace of the reader bounds them. A topic that
//! is empty or not UTF-8 is handed on, to be rejected and acknowledged: it would end every connection to come.
//! Nothing rests on whether the session is said to be present.
//!
//! # Why
//! rumqttc's own loop writes each acknowledgement by itself, forgets its pending publishes when the broker has forgotten
//! the session, gives no handle from a publish to its acknowledgement, and lets nobody at its socket: neither bytes nor
//! silence on it could be measured.

mod address;
mod codec;
mod connection;
mod endpoint;
mod error;
mod handshake;
mod inbound;
mod link;
mod outgoing;
mod publisher;
mod socket;
mod supervision;
mod tls;
mod traffic;
mod window;

pub use address::{Address, UrlError};
pub use codec::Welcome;
pub use connection::{Arrival, Connection, open, open_over};
pub use endpoint::{Endpoint, Protocol, TlsFiles, Will};
pub use error::{Fault, MqttError};
pub use inbound::Inbound;
pub use outgoing::QUEUED_BYTES_MAX;
pub use publisher::{Delivery, Publisher, Qos, Token, Unsent};
pub use socket::Socket;
pub use tls::{Expiry, FileFault, PemFault, TlsFault, TlsMemory, examine, expiries};
pub use traffic::Traffic;
