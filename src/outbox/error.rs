//! What can go wrong with the outbox, and what the caller should do about it.

use std::io;

use crate::outbox::trouble::is_full;
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
    /// A write or a sync failed: what of the file is on the medium is unknown.
    #[error("sync outbox file {file}")]
    Sync {
        /// Name of the file, `.` for the directory.
        file: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The disk takes nothing: what was to be made durable waits in memory.
    #[error("the disk of the outbox is {disk}: {records} records wait in memory and are on no file")]
    Held {
        /// What the disk does, as in reports.
        disk: &'static str,
        /// So many wait.
        records: u64,
    },
    /// The lane has no room within the size allowed, and nothing gives way.
    #[error("no room for the {lane} lane of the outbox within outbox.size_max")]
    NoRoom {
        /// Which lane.
        lane: &'static str,
    },
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
    /// The outbox cannot be opened like this: somebody has to do something first.
    Stop,
}

impl OutboxError {
    /// What the caller should do.
    pub fn action(&self) -> Action {
        match self {
            Self::List(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Sync { .. }
            | Self::Held { .. }
            | Self::NoRoom { .. } => Action::Retry,
            Self::Version { .. } | Self::TooSmall { .. } => Action::Stop,
        }
    }

    /// What the disk said when it was to take something.
    pub(crate) fn disk_error(&self) -> Option<&io::Error> {
        match self {
            Self::Write { source, .. } | Self::Sync { source, .. } => Some(source),
            Self::List(_)
            | Self::Read { .. }
            | Self::Held { .. }
            | Self::NoRoom { .. }
            | Self::Version { .. }
            | Self::TooSmall { .. } => None,
        }
    }

    /// Whether what is on the medium is unknown since.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Self::Sync { .. })
    }

    /// Whether the disk has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.disk_error().is_some_and(is_full)
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
