//! Everything that is agreed with a broker before the first packet.

use std::path::PathBuf;
use std::time::Duration;

use crate::io::mqtt::{Address, MqttError, TlsMemory};

/// A broker and how to speak with it.
#[derive(Clone)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Files for TLS; needed if and only if the address is `mqtts`.
    pub tls: Option<TlsFiles>,
    /// The time by which certificates are judged, and TLS sessions to resume.
    pub tls_memory: TlsMemory,
    /// User name, if the broker asks for one.
    pub username: Option<String>,
    /// Password of that user.
    pub password: Option<String>,
    /// Name of this client: the key of its session on the broker. Not empty.
    pub client_id: String,
    /// Version of MQTT.
    pub protocol: Protocol,
    /// Whether the broker shall forget what it holds for this client. The way out of a redelivery that cannot be taken.
    pub clean_start: bool,
    /// How long the broker keeps the session after the connection ended. MQTT 3.1.1 has no such thing: there a
    /// session is kept for ever unless `clean_start`.
    pub session_expiry: Duration,
    /// A ping is sent this often. 5 s to 18 h; longer than the worst round trip.
    pub keep_alive: Duration,
    /// For name, TCP, TLS and MQTT handshake together: at least four round trips. Whole seconds, at least one.
    pub connect_timeout: Duration,
    /// Unacknowledged publishes of ours. A broker may allow fewer; never exceeded.
    pub in_flight: u16,
    /// Unacknowledged publishes of the broker. Announced on MQTT 5 only.
    pub receive_max: u16,
    /// Largest packet taken, bytes. Announced on MQTT 5, where the broker then keeps larger ones; fatal to a
    /// connection of MQTT 3.1.1 ([`MqttError::Oversize`]).
    pub packet_max: u32,
    /// A broker that announces that it takes no packets of so many bytes is not used (MQTT 5 only). 0: any is.
    pub packet_min: u32,
    /// What the broker says in our name when the connection breaks. QoS 1.
    pub last_will: Option<Will>,
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// PEM files for TLS. Read anew for every connection, so that renewed certificates need no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that may vouch for the broker. There are no built-in ones.
    pub ca: PathBuf,
    /// Certificate chain and private key of this client, if the broker asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A last will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// Longest text of MQTT, bytes.
const TEXT_MAX: usize = 65_535;

impl Endpoint {
    /// An endpoint with MQTT 5, a kept session of one hour, a keep-alive of 60 s, a connect timeout of 30 s, 64
    /// publishes in flight, 256 inbound ones, packets up to 256 KiB, and neither user nor TLS nor last will.
    pub fn new(address: Address, client_id: &str) -> Self {
        Self {
            address,
            tls: None,
            tls_memory: TlsMemory::default(),
            username: None,
            password: None,
            client_id: client_id.to_owned(),
            protocol: Protocol::V5,
            clean_start: false,
            session_expiry: Duration::from_hours(1),
            keep_alive: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(30),
            in_flight: 64,
            receive_max: 256,
            packet_max: 256 << 10,
            packet_min: 0,
            last_will: None,
        }
    }

    /// Says what is wrong with the fields, in the words of the configuration.
    pub(in crate::io::mqtt) fn validate(&self) -> Result<(), MqttError> {
        let fault = if self.client_id.is_empty() || self.client_id.contains('\0') {
            "the client id is empty or holds a NUL"
        } else if self.keep_alive < Duration::from_secs(5) || self.keep_alive > Duration::from_secs(65_535) {
            "keep_alive is not between 5 s and 18 h"
        } else if self.connect_timeout < Duration::from_secs(1) {
            "connect_timeout is less than 1 s"
        } else if self.in_flight == 0 || self.receive_max == 0 {
            "in_flight is 0"
        } else if self.is_overlong() {
            "client id, username, password, or last will are longer than 65,535 bytes"
        } else if self.packet_max < 1024 {
            "the packet limit is less than 1 KiB"
        } else if self.address.tls && self.tls.is_none() {
            "mqtts needs a ca_file: there are no built-in certificate authorities"
        } else if !self.address.tls && self.tls.is_some() {
            "certificates are given but the url is mqtt; write mqtts"
        } else if self.password.is_some() && self.username.is_none() {
            "a password needs a username"
        } else {
            return Ok(());
        };
        Err(MqttError::Config { broker: self.address.to_string(), fault })
    }

    /// Whether a text of the login is longer than MQTT can carry.
    fn is_overlong(&self) -> bool {
        let will = self.last_will.as_ref();
        let lengths = [
            self.client_id.len(),
            self.username.as_ref().map_or(0, String::len),
            self.password.as_ref().map_or(0, String::len),
            will.map_or(0, |will| will.topic.len()),
            will.map_or(0, |will| will.payload.len()),
        ];
        lengths.into_iter().any(|length| length > TEXT_MAX)
    }

    /// The keep-alive as the broker is told it.
    pub(in crate::io::mqtt) fn keep_alive_seconds(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX)
    }

    /// How long an answer may take: half a keep-alive as the broker grants us, and a round trip at least.
    pub(in crate::io::mqtt) fn grace(&self) -> Duration {
        (self.keep_alive / 2).max(self.connect_timeout / 4)
    }
}
