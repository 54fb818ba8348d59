//! What every shell is given, and why the service could not be set up.

use std::sync::Arc;

use crate::clock::{EventTime, SystemClock};
use crate::config::Fault;
use crate::io::disk::DirectoryError;
use crate::io::files::FileError;
use crate::outbox::OutboxError;
use crate::runtime::options::Pace;
use crate::runtime::status::Topics;
use crate::telemetry::{Metrics, Progress};
use crate::wire::Origin;

/// Why the service could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// Streams and models do not fit each other.
    #[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Plan {
        /// Every fault.
        faults: Vec<Fault>,
    },
    /// A board profile is unknown or broken.
    #[error("{0}")]
    Board(String),
    /// A secret cannot be read.
    #[error("use password_file")]
    Secret(#[from] FileError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The outbox cannot be opened.
    #[error("open the outbox in {directory}")]
    Outbox {
        /// Where.
        directory: String,
        /// Why.
        #[source]
        source: OutboxError,
    },
    /// A thread or the admission child cannot be started.
    #[error("start a thread or find this program: check TasksMax and that the program was not replaced")]
    Thread(#[source] std::io::Error),
}

/// What every shell gets.
pub(in crate::runtime) struct Common {
    pub(in crate::runtime) clock: SystemClock,
    /// The last confirmed wall time of an earlier run.
    pub(in crate::runtime) known: Option<EventTime>,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) pace: Pace,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) topics: Topics,
    /// Changes at every start, so that counters can be told apart.
    pub(in crate::runtime) instance: String,
    pub(in crate::runtime) origin: Origin,
}
