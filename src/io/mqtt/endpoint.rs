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

/// Packet ids rumqttc may use per allowed unacknowledged publish.
///
/// It takes ids round robin and stops all traffic when it comes round to one that is still unacknowledged; with four
/// times the room that needs a broker that acknowledges very much out of order.
const PACKET_IDS_PER_FLIGHT: u16 = 4;

/// Requests rumqttc queues beyond one acknowledgement or publish per allowed flight: a subscription for each stream of
/// the largest configuration (1,024), and QoS 0 publishes. The queue takes memory only as it fills.
const REQUESTS_EXTRA: usize = 1_280;

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

    /// How many packet ids rumqttc gets.
    pub(in crate::io::mqtt) fn packet_ids(&self) -> u16 {
        self.in_flight.saturating_mul(PACKET_IDS_PER_FLIGHT).max(64)
    }

    /// How many requests rumqttc queues.
    pub(in crate::io::mqtt) fn requests(&self) -> usize {
        usize::from(self.in_flight) + usize::from(self.receive_max) + REQUESTS_EXTRA
    }

    /// Host as rumqttc wants it: it puts `:port` after it.
    pub(in crate::io::mqtt) fn host(&self) -> String {
        if self.address.host.contains(':') {
            format!("[{}]", self.address.host)
        } else {
            self.address.host.clone()
        }
    }

    /// Longest time without any progress before a connection counts as lost, handshake included.
    ///
    /// A ping goes out every `keep_alive`, so a client that can write makes progress at least that often.
    pub(in crate::io::mqtt) fn stall_max(&self) -> Duration {
        self.connect_timeout.max(self.keep_alive.saturating_mul(2)) + Duration::from_secs(5)
    }
}
