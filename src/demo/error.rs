//! Why a demonstration could not be given.

use crate::config::Faults;
use crate::io::mqtt::MqttError;
use crate::runtime::RunError;

/// Why a demonstration could not be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The temporary directory cannot be used.
    #[error("write to the temporary directory")]
    Scratch(#[source] std::io::Error),
    /// A thread, a port or an executor is not to be had.
    #[error("set up the demonstration")]
    Start(#[source] std::io::Error),
    /// A broker of our own does not answer.
    #[error("the {0} broker does not start")]
    Broker(&'static str),
    /// A client of our own cannot connect.
    #[error("connect to the {broker} broker")]
    Connect {
        /// Which.
        broker: &'static str,
        /// Why.
        #[source]
        source: MqttError,
    },
    /// A client of our own lost its connection.
    #[error("lost the {broker} broker: {reason}")]
    Lost {
        /// Which.
        broker: &'static str,
        /// Why.
        reason: String,
    },
    /// The configuration made here is not valid.
    #[error("the configuration of the demonstration: {0}")]
    Config(Faults),
    /// The service failed.
    #[error("the gateway failed")]
    Service(#[source] RunError),
    /// The service ended by itself: most likely somebody pressed Ctrl-C.
    #[error("interrupted before the end")]
    Interrupted,
    /// Something did not happen within its time.
    #[error("gave up waiting: {0}")]
    Hung(&'static str),
}
