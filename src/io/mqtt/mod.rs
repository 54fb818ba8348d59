//! MQTT client, the only place that names `rumqttc`: one throw-away client per connection.
//!
//! # Invariants
//! * A connection is opened, used and thrown away. Nothing queued in it, no packet id and no acknowledgement of it
//!   reaches the next one: whoever must not lose a message keeps it until its [`Arrival::Acked`].
//! * An inbound QoS 1 message is acknowledged by [`Publisher::ack`] and by nothing else.
//! * A [`Publisher`] never waits. It takes a message or says why not.
//!
//! # Why
//! rumqttc forgets its pending publishes when the broker has forgotten the session, keeps a packet id collision over
//! a reconnect, and has no handle from a publish to its acknowledgement. Where each client lives for one connection
//! only, the first two cannot happen; the third is made here by pairing packet ids with [`Token`]s in order.

mod address;
mod connection;
mod endpoint;
mod error;
mod inbound;
mod pairing;
mod publisher;
mod step;
mod tls;
mod v4;
mod v5;

pub use address::{Address, UrlError};
pub use connection::{Arrival, Connection, open};
pub use endpoint::{Endpoint, Protocol, TlsFiles, Will};
pub use error::{Fault, MqttError};
pub use inbound::Inbound;
pub use pairing::Token;
pub use publisher::{Delivery, Publisher, Qos, Unsent};
pub use step::Welcome;
pub use tls::{Expiry, FileFault, PemFault, TlsFault, TlsMemory, examine, expiries};
