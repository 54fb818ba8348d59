//! The lanes of the outbox: records of different urgency never wait for one another.

/// One of three queues, each with its own numbers and cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Sent first, dropped last.
    Alarm,
    /// In between.
    Normal,
    /// Sent last, dropped first.
    Bulk,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Normal, Self::Bulk];

    /// The word in file names and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }

    /// The number in files: 0 alarm, 1 normal, 2 bulk.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Alarm => 0,
            Self::Normal => 1,
            Self::Bulk => 2,
        }
    }

    /// The lane with a number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.number() == number)
    }
}
