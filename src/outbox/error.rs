//! What can go wrong with the outbox, and what the caller should do about it.

use std::io;

use crate::units::Bytes;

/// A failure of the outbox. Bad content on disk is not one: it is skipped and counted.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The directory cannot be read.
    #[error("list the files of the outbox")]
    List(#[source] io::Error),
    /// A file cannot be read, for another reason than a damaged medium.
    #[error("read outbox file {file}")]
    Read {
        /// Name of the file.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A small file (epoch, cursor) or a repair cannot be written.
    #[error("write outbox file {file}")]
    Write {
        /// Name of the file.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A sync failed: what is on the medium is unknown.
    #[error("sync outbox file {file}")]
    Sync {
        /// Name of the file, `.` for the directory.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An earlier sync failed and the outbox has not been opened again since.
    #[error("outbox is unusable since a sync failed")]
    Poisoned,
    /// A newer tidegate wrote this outbox.
    #[error(
        "outbox file {file} has format {found} and this tidegate reads up to {supported}: run the newer tidegate, or let it deliver what is stored first"
    )]
    Version {
        /// Name of the file.
        file: String,
        /// Format of the file.
        found: u16,
        /// Newest format understood.
        supported: u16,
    },
    /// The size allowed is below the smallest that works.
    #[error("outbox size_max of {size_max} is below the {needed} that its segments need")]
    TooSmall {
        /// As configured.
        size_max: Bytes,
        /// Smallest that works.
        needed: Bytes,
    },
}

/// What the caller should do after an [`OutboxError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on and ask again later; nothing is lost.
    Retry,
    /// End the process orderly; opening the outbox anew finds what is durable.
    Stop,
}

impl OutboxError {
    /// What the caller should do.
    pub fn action(&self) -> Action {
        match self {
            Self::List(_) | Self::Read { .. } | Self::Write { .. } => Action::Retry,
            Self::Sync { .. } | Self::Poisoned | Self::Version { .. } | Self::TooSmall { .. } => Action::Stop,
        }
    }

    pub(crate) fn read(file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { file: file.to_owned(), source }
    }

    pub(crate) fn write(file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { file: file.to_owned(), source }
    }

    pub(crate) fn sync(file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Sync { file: file.to_owned(), source }
    }
}
