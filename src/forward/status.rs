//! What the session tells of itself, and the words it shares with its shell.

use std::time::Duration;

use crate::clock::Uptime;
use crate::forward::LinkState;
use crate::units::Bytes;

/// Name of a message under way. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Records to read from the outbox and to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which lane.
    pub lane: u8,
    /// First record wanted. If it is gone, what comes next.
    pub from: u64,
    /// Last record that may be read.
    pub upto: u64,
    /// At most so many records.
    pub records_max: u32,
    /// At most so many bytes of records, but at least one record.
    pub bytes_max: u64,
    /// They became durable after the link came up.
    pub live: bool,
    pub(in crate::forward) connection: u32,
}

/// Records that are done with: delivered, or given up and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The cursor of a lane may move: everything up to here is.
    Advance {
        /// Which lane.
        lane: u8,
        /// The last of them.
        upto: u64,
    },
    /// These are, and some before them are not.
    Stretch {
        /// Which lane.
        lane: u8,
        /// The first of them.
        from: u64,
        /// The last of them.
        upto: u64,
    },
}

/// Why a batch must not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// It was read for a connection or a place in the lane that is no more. Throw it away.
    Stale,
    /// Larger than what is left of the day, or than what is granted of it so far. Throw it away; it is fetched again.
    Daily,
    /// Larger than the broker takes. Throw it away; fewer records are fetched.
    TooLarge,
    /// A single record larger than the broker takes. It can never be delivered: set it aside.
    Undeliverable,
}

/// Why a connection ended, or an attempt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There was none: no name, no route, no answer.
    Unreachable,
    /// The broker or its certificate does not want us, or we do not want it: a person has to mend that.
    Refused,
    /// The broker hung up, the network broke, or the broker said something that is no MQTT.
    Closed,
    /// A batch was not acknowledged for too long.
    NoAcknowledgement,
    /// Nothing at all was heard for too long: the other half of the connection is gone.
    HalfOpen,
    /// The budget of the day is spent.
    Budget,
    /// Ended by ourselves.
    Ours,
}

/// What has happened to batches. `sent = acked + refused + taken back + lost + under way`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches given to the client.
    pub sent: u64,
    /// Acknowledged in time to count.
    pub acked: u64,
    /// Refused by the broker.
    pub refused: u64,
    /// Taken back: the client was full.
    pub taken_back: u64,
    /// Under way when a connection ended.
    pub lost: u64,
    /// Batches of live records among those sent.
    pub live: u64,
    /// Records set aside because connections die at them.
    pub set_aside: u64,
    /// Connections that were found half open.
    pub half_open: u64,
    /// Times the budget of a day was spent.
    pub days_spent: u64,
    /// Grants of the budget that could not be written: a restart may spend them again.
    pub grants_unwritten: u64,
}

/// The state of the link for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: LinkState,
    /// Failures since it last worked.
    pub failures: u32,
    /// Why the last connection or attempt ended.
    pub last_loss: Option<Loss>,
    /// Off until the next day, because the budget is spent.
    pub spent: bool,
    /// When the next attempt is due, while there is no connection.
    pub next_attempt: Option<Uptime>,
    /// Bytes sent today in this run: everything on the socket.
    pub sent_today: Bytes,
    /// Bytes received today in this run.
    pub received_today: Bytes,
    /// Budget of a day.
    pub daily: Option<Bytes>,
    /// What is left of it.
    pub daily_left: Option<Bytes>,
    /// Batches under way.
    pub in_flight: usize,
    /// Bytes a second the link has carried.
    pub rate: Option<u64>,
    /// Bytes of a batch that suits it.
    pub batch: Bytes,
    /// Time from sending to acknowledgement, smoothed over about eight batches.
    pub round_trip: Option<Duration>,
    /// What has happened to batches.
    pub counts: Counts,
}

impl Loss {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::NoAcknowledgement => "no-acknowledgement",
            Self::HalfOpen => "half-open",
            Self::Budget => "budget",
            Self::Ours => "ours",
        }
    }
}
