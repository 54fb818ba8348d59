//! One lane: its cursor, what is under way, and when it may send again.

use std::collections::VecDeque;

use crate::clock::Uptime;
use crate::forward::{Backoff, Day, Spent, Token};

/// A lane of the outbox as the session sees it.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Lane {
    /// Everything up to here has been delivered.
    pub acked: u64,
    /// The next record to be sent.
    pub next: u64,
    /// Everything up to here may be sent.
    pub durable: u64,
    /// Batches beyond `acked`, in order of their records, without gaps.
    flights: VecDeque<Flight>,
    /// Records in a batch, lowered after one was too large for the broker.
    pub records_cap: Option<u32>,
    /// Sends nothing before.
    pub hold: Option<Uptime>,
    /// A batch did not fit into what is left of this day.
    pub spent: Option<Day>,
    /// Refusals by the broker.
    pub backoff: Backoff,
}

/// A batch under way, or a stretch of records that need not be sent.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Flight {
    pub token: Token,
    pub first: u64,
    pub last: u64,
    pub spent: Spent,
    pub sent: Uptime,
    pub acked: bool,
}

impl Lane {
    pub(in crate::forward) fn new(acked: u64, backoff: Backoff) -> Self {
        Self {
            acked,
            next: acked + 1,
            durable: acked,
            flights: VecDeque::new(),
            records_cap: None,
            hold: None,
            spent: None,
            backoff,
        }
    }

    /// Whether there is something to send.
    pub(in crate::forward) fn wants(&self) -> bool {
        self.next <= self.durable
    }

    /// Batches sent and not acknowledged.
    pub(in crate::forward) fn under_way(&self) -> usize {
        self.flights.iter().filter(|flight| !flight.acked).count()
    }

    /// Batches remembered, those acknowledged out of order included.
    pub(in crate::forward) fn remembered(&self) -> usize {
        self.flights.len()
    }

    /// When the oldest unacknowledged batch was sent.
    pub(in crate::forward) fn oldest(&self) -> Option<Uptime> {
        self.flights.iter().find(|flight| !flight.acked).map(|flight| flight.sent)
    }

    /// Records up to the flight's last have been sent or given up.
    pub(in crate::forward) fn depart(&mut self, flight: Flight) {
        self.next = flight.last + 1;
        self.flights.push_back(flight);
    }

    /// Marks a batch as acknowledged; when it was sent, if it is one of this lane's.
    pub(in crate::forward) fn land(&mut self, token: Token) -> Option<Uptime> {
        let flight = self.flights.iter_mut().find(|flight| flight.token == token && !flight.acked)?;
        flight.acked = true;
        Some(flight.sent)
    }

    /// Moves the cursor over what is acknowledged without a gap; where it stands, if it moved.
    pub(in crate::forward) fn settle(&mut self) -> Option<u64> {
        let before = self.acked;
        while self.flights.front().is_some_and(|flight| flight.acked)
            && let Some(flight) = self.flights.pop_front()
        {
            self.acked = flight.last;
        }
        (self.acked != before).then_some(self.acked)
    }

    /// Takes back a batch and all after it, so that they are sent again; what was taken back, the batch first.
    pub(in crate::forward) fn take_back(&mut self, token: Token) -> VecDeque<Flight> {
        let Some(at) = self.flights.iter().position(|flight| flight.token == token && !flight.acked) else {
            return VecDeque::new();
        };
        let back = self.flights.split_off(at);
        if let Some(flight) = back.front() {
            self.next = flight.first;
        }
        back
    }

    /// Forgets everything under way; it will be sent again. Returns how many batches were unacknowledged.
    pub(in crate::forward) fn rewind(&mut self) -> usize {
        let lost = self.under_way();
        self.flights.clear();
        self.next = self.acked + 1;
        lost
    }
}
