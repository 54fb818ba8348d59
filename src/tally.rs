//! Accounting: every stage counts what came in, went out and was dropped, and why.
//!
//! # Invariants
//! For every stage, at any time: `in = out + dropped{reason} + held`.

/// Defines the closed set of reasons with the word each has on MQTT.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$item])* $variant,)* }

        impl $name {
            /// All of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// Why something was lost on purpose or refused. The whole product has this one list.
    DropReason {
        /// The topic matches no stream.
        NoStream = "no-stream",
        /// The topic is longer, deeper or stranger than allowed.
        Topic = "topic",
        /// More distinct sources than allowed.
        SeriesLimit = "series-limit",
        /// The payload is longer than allowed.
        Oversize = "oversize",
        /// The payload is not text in UTF-8.
        NotUtf8 = "not-utf8",
        /// The payload does not follow its format.
        Malformed = "malformed",
        /// The payload is nested deeper than allowed.
        Depth = "depth",
        /// The payload has more keys than allowed.
        Keys = "keys",
        /// The payload lacks a field the stream needs.
        MissingField = "missing-field",
        /// The time in the payload is not understood.
        BadTime = "bad-time",
        /// The payload is empty.
        Empty = "empty",
        /// The text is longer than allowed.
        TextTooLong = "text-too-long",
        /// A value is NaN or infinite.
        NonFinite = "non-finite",
        /// A value is absent.
        MissingValue = "missing-value",
        /// The sample came after its window had closed.
        Late = "late",
        /// The sample is there already.
        Duplicate = "duplicate",
        /// The buffer of the source is full.
        WindowFull = "window-full",
        /// The FIFO of a sensor was full before it was read.
        Overrun = "overrun",
        /// No window covers it: it lies between hops.
        BetweenHops = "between-hops",
        /// Waited longer than its deadline, or would not be done before it.
        Stale = "stale",
        /// The queue was full and this was the least valuable.
        QueueFull = "queue-full",
        /// The budget does not allow it now.
        Budget = "budget",
        /// An operator has paused its stream.
        Paused = "paused",
        /// Its model is in quarantine.
        Quarantined = "quarantined",
        /// Its model failed on it.
        ModelFailed = "model-failed",
        /// The stream has no model.
        NoModel = "no-model",
        /// Nothing changed and the stream forwards changes only.
        Unchanged = "unchanged",
        /// More events than the stream's rate limit.
        RateLimit = "rate-limit",
        /// The stream does not forward events.
        NotForwarded = "not-forwarded",
        /// The door found nothing the stream declares.
        NotDeclared = "not-declared",
        /// The outbox was full: the oldest of the least urgent lane went.
        OutboxFull = "outbox-full",
        /// The outbox was full and keeps what it has.
        OutboxReject = "outbox-reject",
        /// Older than the outbox keeps.
        Expired = "expired",
        /// Unreadable on disk.
        Damaged = "damaged",
        /// Went into a summary of its like, to make room.
        Coarsened = "coarsened",
        /// The broker would not take it, or it could not be read, however often it was tried; kept aside.
        Undeliverable = "undeliverable",
        /// The broker was away and the message is worthless later.
        Offline = "offline",
        /// The gateway stopped before it was done.
        Stopped = "stopped",
    }
}

words! {
    /// The stages, in the order of the flow.
    Stage {
        /// Messages to batches and reports.
        Ingest = "ingest",
        /// What the board's own sensors and inputs measure, to samples.
        Hardware = "hardware",
        /// Samples to windows.
        Window = "window",
        /// Windows and reports to inferences.
        Infer = "infer",
        /// Inferences to events that go upstream.
        Distill = "distill",
        /// Events to outbound records.
        Egress = "egress",
        /// Records to acknowledged records.
        Outbox = "outbox",
        /// Decisions to the plant's broker.
        Plant = "plant",
    }
}

/// What one stage has counted since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Items taken in.
    pub received: u64,
    /// Items passed on.
    pub passed: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Tally {
    /// All zero.
    pub const fn new() -> Self {
        Self { received: 0, passed: 0, dropped: [0; DropReason::ALL.len()] }
    }

    /// Counts items lost for a reason.
    pub fn drop(&mut self, reason: DropReason, count: u64) {
        if let Some(counter) = self.dropped.get_mut(reason as usize) {
            *counter += count;
        }
    }

    /// Items lost for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Items lost in all.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether `in = out + dropped + held` holds.
    pub fn balances(&self, held: u64) -> bool {
        self.received == self.passed + self.dropped_total() + held
    }

    /// Adds another tally, for a stage made of several parts.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.passed += other.passed;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_balances_only_when_nothing_is_unaccounted_for() {
        let mut tally = Tally::new();
        tally.received = 10;
        tally.passed = 6;
        tally.drop(DropReason::Late, 3);
        assert!(tally.balances(1));
        assert!(!tally.balances(0));
    }

    #[test]
    fn every_reason_and_stage_has_its_own_word() {
        let words: std::collections::BTreeSet<_> =
            DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
        let stages: std::collections::BTreeSet<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        assert_eq!(stages.len(), Stage::ALL.len());
    }
}
