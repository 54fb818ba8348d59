//! `[plant]` and `[upstream]`: the two brokers.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::section::Section;
use crate::io::mqtt::Address;
use crate::units::{BitRate, Bytes};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What both brokers need to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Where it is, and whether the connection is encrypted.
    pub address: Address,
    /// MQTT 5 when true, 3.1.1 when false.
    pub v5: bool,
    /// Certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Own certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Key of the own certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password; a trailing newline is not part of it.
    pub password_file: Option<PathBuf>,
    /// Pings on an idle connection.
    pub keep_alive: Duration,
    /// Longest time for name look-up, TCP, TLS and CONNACK together.
    pub connect_timeout: Duration,
}

/// The local broker: raw data in, decisions out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plant {
    /// How to reach it.
    pub link: LinkSettings,
    /// How long the broker keeps our session and its queue while we are away.
    pub session_expiry: Duration,
}

/// The far broker: distilled features only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// How to reach it.
    pub link: LinkSettings,
    /// How batches are written.
    pub encoding: UpstreamEncoding,
    /// Ceiling of the rate on the wire.
    pub rate: Option<BitRate>,
    /// Bytes per UTC day.
    pub daily: Option<Bytes>,
    /// Batches sent and not yet acknowledged.
    pub in_flight: u16,
}

/// How batches are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamEncoding {
    /// Columns, compressed. See `docs/wire.md`.
    Compact,
    /// One event JSON a line.
    Json,
}

impl Plant {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        // MQTT 5 by default: only there a broker is told our packet limit and drops what is larger instead of
        // killing the connection again and again, and only there a session has an expiry of its own.
        let link = LinkSettings::read(&section, true, 30 * SECOND, 10 * SECOND);
        let session_expiry = section.duration("session_expiry", SECOND..=30 * DAY).unwrap_or(HOUR);
        section.finish();
        Self { link, session_expiry }
    }
}

impl Upstream {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        // 3.1.1 by default: publishing needs nothing of MQTT 5, and the library's older half is the better tried one.
        let link = LinkSettings::read(&section, false, 120 * SECOND, 90 * SECOND);
        let words = [("compact", UpstreamEncoding::Compact), ("json", UpstreamEncoding::Json)];
        let encoding = section.word("encoding", &words, UpstreamEncoding::Compact);
        let rate = section.quantity("rate", BitRate(300)..=BitRate(10_000_000_000));
        let daily = section.quantity("daily", Bytes(10_000)..=Bytes(1 << 40));
        let in_flight =
            section.whole("in_flight", 1..=1_000).and_then(|count| u16::try_from(count).ok()).unwrap_or(64);
        section.finish();
        Self { link, encoding, rate, daily, in_flight }
    }
}

impl LinkSettings {
    fn read(section: &Section<'_>, v5: bool, keep_alive: Duration, connect_timeout: Duration) -> Self {
        let allowed = "mqtt://host[:port] | mqtts://host[:port]";
        let address = section.required("url", allowed).and_then(|url| match url.parse::<Address>() {
            Ok(address) => Some(address),
            Err(error) => {
                section.fault("url", error.to_string(), allowed);
                None
            }
        });
        let file = |key| section.text(key).map(PathBuf::from);
        let link = Self {
            address: address.unwrap_or(Address { host: String::new(), port: 0, tls: false }),
            v5: section.word("protocol", &[("5", true), ("3.1.1", false)], v5),
            ca_file: file("ca_file"),
            cert_file: file("cert_file"),
            key_file: file("key_file"),
            username: section.text("username").map(str::to_owned),
            password_file: file("password_file"),
            keep_alive: section.duration("keep_alive", 5 * SECOND..=HOUR).unwrap_or(keep_alive),
            connect_timeout: section
                .duration("connect_timeout", SECOND..=600 * SECOND)
                .unwrap_or(connect_timeout),
        };
        link.cross_check(section);
        link
    }

    fn cross_check(&self, section: &Section<'_>) {
        if self.address.tls && self.ca_file.is_none() {
            section.fault(
                "ca_file",
                "missing while the url says mqtts",
                "the PEM file of the certificate authority",
            );
        }
        if !self.address.tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            section.fault(
                "url",
                "mqtt:// with certificates given",
                "mqtts://host[:port], or no certificate files",
            );
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            section.fault(
                "cert_file",
                "certificate and key go together",
                "both cert_file and key_file, or neither",
            );
        }
        if self.password_file.is_some() && self.username.is_none() {
            section.fault("username", "missing while password_file is given", "the user name of the broker");
        }
    }
}
