//! Packets to bytes and back, for both versions of MQTT.
//!
//! PUBLISH and its acknowledgement, the packets of every message, are read and written here without a copy; for all
//! others `rumqttc` is the codec.
//!
//! # Invariants
//! * What a packet claims to be long is checked against its limit before anything of it is buffered.
//! * A packet no broker may send, or one we never asked for, ends the connection: no state is kept for it.
//! * What a message says (topic, payload) is the reader's to judge. It would come again on every connection if it ended
//!   one.

mod frame;
mod packet;
mod publish;
mod reader;
mod v4;
mod v5;

pub(in crate::io::mqtt) use frame::SIZE_MAX;
pub use packet::Welcome;
pub(in crate::io::mqtt) use packet::{Packet, goodbye, hello, ping, puback, subscribe};
pub(in crate::io::mqtt) use publish::{publish, publish_size};
pub(in crate::io::mqtt) use reader::Reader;
