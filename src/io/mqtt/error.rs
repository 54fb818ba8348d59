//! What can go wrong with a connection, and which kind of trouble it is.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::io::mqtt::TlsFault;

/// Why a connection could not be opened or has ended.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The endpoint contradicts itself. Trying again does not help.
    #[error("open connection to {broker}: {fault}")]
    Config {
        /// Host and port.
        broker: String,
        /// What is wrong and how to write it.
        fault: &'static str,
    },
    /// A file for TLS cannot be used.
    #[error("read {what} {} for {broker}", path.display())]
    TlsFile {
        /// Host and port.
        broker: String,
        /// Key in the configuration.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker's certificate or ours was not accepted, or they share no version.
    #[error("agree on TLS with {broker}: {fault}")]
    Tls {
        /// Host and port.
        broker: String,
        /// Why, and what to do.
        fault: TlsFault,
    },
    /// Nobody answers, or not in time.
    #[error("connect to {broker}: {reason}; check the address and that the broker runs")]
    Unreachable {
        /// Host and port.
        broker: String,
        /// What happened.
        reason: String,
        /// What the operating system says.
        source: Option<io::Error>,
    },
    /// The broker answered and does not want this client.
    #[error("log in to {broker}: the broker refused: {reason}; {remedy}")]
    Refused {
        /// Host and port.
        broker: String,
        /// The broker's reason.
        reason: String,
        /// What to check.
        remedy: &'static str,
    },
    /// A packet is larger than the endpoint takes. On a kept session it comes again and again: connect once with
    /// `clean_start`.
    #[error(
        "receive from {broker}: a packet of {size} bytes is larger than the {limit} allowed; raise limits.packet or find who sends it"
    )]
    Oversize {
        /// Host and port.
        broker: String,
        /// Its size, bytes.
        size: u64,
        /// The limit, bytes.
        limit: u32,
    },
    /// The connection was there and is no more.
    #[error("keep connection to {broker}: {reason}")]
    Lost {
        /// Host and port.
        broker: String,
        /// What happened.
        reason: String,
        /// What the operating system says.
        source: Option<io::Error>,
    },
}

/// The kind of trouble: what the runtime decides upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ours; trying again does not help until the configuration or a file changes.
    Config,
    /// The broker does not want us, or TLS does not trust: try again, slowly, and tell someone.
    Refused,
    /// Nobody there: try again with back-off.
    Unreachable,
    /// A packet that cannot be taken: connect once with `clean_start`, count it.
    Oversize,
    /// It worked until now: try again.
    Lost,
}

/// What has ended a connection.
pub(in crate::io::mqtt) enum Failure {
    /// The connect timeout ran out while doing this.
    Timeout(&'static str),
    /// Whoever answers does not answer like a broker.
    Stranger,
    /// CONNACK with a refusal that needs a person.
    Refused { reason: String, remedy: &'static str },
    /// CONNACK with a refusal that may pass.
    Unavailable(String),
    /// The socket or TLS failed.
    Io(io::Error),
    /// A packet above the limit.
    Oversize(u64),
    /// The broker closed the connection without a word.
    Closed,
    /// The broker said good-bye.
    Goodbye(String),
    /// What the broker sent against the protocol.
    Protocol(String),
    /// Nothing comes or goes any more, and what to do about it.
    Dead(&'static str),
    /// It has ended before.
    Ended,
}

impl MqttError {
    /// The error with its causes in one line, for the log.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(source) = cause {
            text.push_str(": ");
            text.push_str(&source.to_string());
            cause = source.source();
        }
        text
    }

    /// The kind of trouble.
    pub fn classify(&self) -> Fault {
        match self {
            Self::Config { .. } | Self::TlsFile { .. } => Fault::Config,
            Self::Tls { .. } | Self::Refused { .. } => Fault::Refused,
            Self::Unreachable { .. } => Fault::Unreachable,
            Self::Oversize { .. } => Fault::Oversize,
            Self::Lost { .. } => Fault::Lost,
        }
    }
}

impl Failure {
    /// The error for a broker, given whether it had welcomed us and the packet limit, bytes.
    pub(in crate::io::mqtt) fn error(self, broker: String, connected: bool, limit: u32) -> MqttError {
        let failed = |broker, reason, source| {
            if connected {
                MqttError::Lost { broker, reason, source }
            } else {
                MqttError::Unreachable { broker, reason, source }
            }
        };
        match self {
            Self::Timeout(doing) => {
                failed(broker, format!("no answer within connect_timeout while {doing}"), None)
            }
            Self::Refused { reason, remedy } => MqttError::Refused { broker, reason, remedy },
            Self::Unavailable(reason) => failed(broker, format!("the broker says {reason}"), None),
            Self::Io(source) if connected => {
                failed(broker, "the network failed; check the link".into(), Some(source))
            }
            Self::Io(source) => match TlsFault::of(source) {
                Ok(fault) => MqttError::Tls { broker, fault },
                Err(source) => failed(broker, "the network failed; check the link".into(), Some(source)),
            },
            Self::Oversize(size) => MqttError::Oversize { broker, size, limit },
            Self::Stranger => failed(broker, "it does not answer like an MQTT broker".into(), None),
            Self::Closed => failed(broker, "it closed the connection; its log may say why".into(), None),
            Self::Goodbye(reason) => {
                failed(broker, format!("the broker said good-bye: {reason}; its log may say more"), None)
            }
            Self::Protocol(what) => failed(
                broker,
                format!("it broke the protocol: {what}; check that it is an MQTT broker, and its version"),
                None,
            ),
            Self::Dead(what) => failed(broker, what.into(), None),
            Self::Ended => failed(broker, "it has ended already; open a new one".into(), None),
        }
    }
}
