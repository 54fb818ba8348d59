//! One lane: what is done, what is under way, and what comes next, live records or backlog.

use crate::clock::Uptime;
use crate::forward::estimate::Departure;
use crate::forward::pace::Paid;
use crate::forward::poison::{Suspect, Weight};
use crate::forward::{Backoff, Day, Settled, Token};
use crate::ranges::Ranges;

/// A lane of the outbox as the session sees it.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Lane {
    number: u8,
    /// Everything up to here is done with.
    pub acked: u64,
    /// Everything up to here may be sent.
    pub durable: u64,
    /// Done with, beyond `acked`.
    done: Ranges,
    /// Sent and taken back: to be sent first.
    again: Ranges,
    /// Records up to here were there when the link came up; those above are live.
    mark: u64,
    next_backlog: u64,
    next_live: u64,
    /// Live batches since the last one of the backlog.
    live_turns: u32,
    flights: Vec<Flight>,
    pub suspect: Option<Suspect>,
    /// Connections the broker has closed while batches of it were under way, since anything of it arrived.
    pub deaths: u8,
    /// Records in a batch, lowered after one was too large.
    pub records_cap: Option<u32>,
    /// Sends nothing before.
    pub hold: Option<Uptime>,
    /// Not even one record fitted into what is left of this day.
    pub spent: Option<Day>,
    /// Refusals by the broker.
    pub backoff: Backoff,
}

/// A batch under way.
#[derive(Clone, Copy, Debug)]
pub(in crate::forward) struct Flight {
    pub token: Token,
    pub first: u64,
    pub last: u64,
    pub live: bool,
    /// Nothing else is on the link until it is answered.
    pub alone: bool,
    pub bytes: u64,
    pub cost: u64,
    pub paid: Paid,
    pub departure: Departure,
    /// Must be acknowledged by then.
    pub due: Uptime,
}

/// Records to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Stretch {
    pub from: u64,
    pub upto: u64,
    pub live: bool,
}

/// Live batches for one batch of the backlog: what happens now is worth more than what happened then, and the backlog
/// moves all the same.
pub(in crate::forward) const LIVE_PER_BACKLOG: u32 = 3;

/// Connections closed at a lane of which nothing arrives before it has to wait: a record among a thousand is found by then.
const DEATHS_MAX: u8 = 16;

impl Lane {
    pub(in crate::forward) fn new(number: u8, acked: u64, done: &[(u64, u64)], backoff: Backoff) -> Self {
        let mut lane = Self {
            number,
            acked,
            durable: acked,
            done: Ranges::default(),
            again: Ranges::default(),
            mark: acked,
            next_backlog: acked + 1,
            next_live: acked + 1,
            live_turns: 0,
            flights: Vec::new(),
            suspect: None,
            deaths: 0,
            records_cap: None,
            hold: None,
            spent: None,
            backoff,
        };
        for (first, last) in done {
            lane.done.insert(*first, *last);
        }
        lane.catch_up();
        lane
    }

    /// Moves the cursor over what is done without a gap; whether it moved.
    fn catch_up(&mut self) -> bool {
        let before = self.acked;
        while let Some((from, upto)) = self.done.lowest()
            && from <= self.acked + 1
        {
            self.done.remove(from, upto);
            self.acked = self.acked.max(upto);
        }
        self.next_backlog = self.next_backlog.max(self.acked + 1);
        self.acked != before
    }

    /// The link is up: what is durable now is the backlog.
    pub(in crate::forward) fn connected(&mut self) {
        self.mark = self.durable;
        self.next_live = self.mark + 1;
        self.live_turns = 0;
    }

    /// Records to send next: those taken back, then live ones, and now and then the backlog.
    pub(in crate::forward) fn head(&self) -> Option<Stretch> {
        let again = self.again.lowest();
        let again = again.map(|(from, upto)| Stretch { from, upto, live: from > self.mark });
        let live = self.stretch(self.next_live.max(self.acked + 1), self.durable, true);
        let backlog = self.stretch(self.next_backlog, self.mark.min(self.durable), false);
        let next = if self.live_turns >= LIVE_PER_BACKLOG { backlog.or(live) } else { live.or(backlog) };
        let Some(suspect) = self.suspect.filter(Suspect::wants_proof) else { return again.or(next) };
        // Another record first: when it arrives, it is not the lane that the broker does not take.
        let other = |stretch: &Stretch| !suspect.holds(stretch.from);
        again.filter(other).or(next).or(again)
    }

    /// The next stretch of a zone that is neither done nor to be sent again.
    fn stretch(&self, from: u64, upto: u64, live: bool) -> Option<Stretch> {
        let gap = if self.again.is_empty() {
            self.done.gap(from, upto)
        } else {
            let mut taken = self.done.clone();
            taken.insert_all(&self.again);
            taken.gap(from, upto)
        };
        gap.map(|(from, upto)| Stretch { from, upto, live })
    }

    /// Batches sent and not acknowledged.
    pub(in crate::forward) fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// Records that are durable and not done.
    pub(in crate::forward) fn backlog(&self) -> u64 {
        self.durable.saturating_sub(self.acked).saturating_sub(self.done.count(self.acked + 1, self.durable))
    }

    /// Whether it is worth hurrying to find the record at which connections die.
    pub(in crate::forward) fn is_hunted(&self) -> bool {
        self.deaths < DEATHS_MAX && self.suspect.is_some_and(|suspect| suspect.is_fresh())
    }

    /// The broker closed a connection on which batches of this lane were under way; `random` is uniform in 0 to 1. Where that
    /// goes on and nothing of the lane arrives, it is the lane that is not taken: it waits, and the others have their turn.
    pub(in crate::forward) fn died(&mut self, now: Uptime, random: f64) {
        if self.flights.is_empty() {
            return;
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths >= DEATHS_MAX {
            self.hold = Some(now.after(self.backoff.fail(random)));
        }
    }

    /// Whether it sends nothing for now.
    pub(in crate::forward) fn is_held(&self, now: Uptime) -> bool {
        self.hold.is_some_and(|hold| hold > now)
    }

    /// Whether records must go alone now, because connections died at them.
    pub(in crate::forward) fn goes_alone(&self, from: u64) -> bool {
        self.suspect.is_some_and(|suspect| suspect.goes_alone() && suspect.holds(from))
    }

    /// Records from `first` to `last` have been sent or given up.
    pub(in crate::forward) fn pass(&mut self, first: u64, last: u64, live: bool) {
        if self.again.lowest().is_some_and(|(from, _)| from == first) {
            self.again.remove(first, last);
            return;
        }
        let next = if live { &mut self.next_live } else { &mut self.next_backlog };
        *next = last + 1;
        self.live_turns = if live { self.live_turns + 1 } else { 0 };
    }

    /// A batch leaves.
    pub(in crate::forward) fn depart(&mut self, flight: Flight) {
        self.pass(flight.first, flight.last, flight.live);
        self.flights.push(flight);
    }

    /// Takes a batch off the list of those under way.
    pub(in crate::forward) fn land(&mut self, token: Token) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.token == token)?;
        Some(self.flights.remove(at))
    }

    /// Records are done with; what that means for the cursor.
    pub(in crate::forward) fn settle(&mut self, first: u64, last: u64) -> Settled {
        self.suspect = self.suspect.and_then(|suspect| suspect.after_arrival((first, last)));
        self.deaths = 0;
        self.done.insert(first, last);
        let lane = self.number;
        if self.catch_up() {
            Settled::Advance { lane, upto: self.acked }
        } else {
            Settled::Stretch { lane, from: first, upto: last }
        }
    }

    /// A batch is to be sent again.
    pub(in crate::forward) fn take_back(&mut self, flight: &Flight) {
        self.again.insert(flight.first, flight.last);
    }

    /// A record will not be sent again.
    pub(in crate::forward) fn forget(&mut self, seq: u64) {
        self.again.remove(seq, seq);
        self.suspect = None;
    }

    /// The connection is gone: everything under way will be sent again. Returns how many batches that were.
    pub(in crate::forward) fn rewind(&mut self, blame: Option<Weight>) -> usize {
        let first = self.flights.iter().map(|flight| flight.first).min();
        let last = self.flights.iter().map(|flight| flight.last).max();
        if let (Some(weight), Some(first), Some(last)) = (blame, first, last) {
            let alone = self.flights.iter().all(|flight| flight.alone);
            self.suspect = Some(Suspect::after_loss(self.suspect, (first, last), alone, weight));
        }
        let lost = self.flights.len();
        self.flights.clear();
        self.again.clear();
        // The note it comes from may be older than the cursor.
        self.suspect = self.suspect.and_then(|suspect| {
            let (first, _) = self.done.gap(suspect.first.max(self.acked + 1), suspect.last)?;
            Some(Suspect { first, ..suspect })
        });
        if let Some(suspect) = self.suspect.filter(Suspect::wants_proof) {
            self.again.insert(suspect.first, suspect.last);
        }
        self.next_backlog = self.acked + 1;
        self.next_live = self.mark + 1;
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lane(durable: u64) -> Lane {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut lane = Lane::new(1, 0, &[], backoff);
        lane.durable = durable;
        lane.connected();
        lane
    }

    #[test]
    fn live_records_go_first_and_one_batch_in_four_is_backlog() {
        let mut lane = lane(100);
        lane.durable = 200;
        let mut order = String::new();
        while let Some(stretch) = lane.head() {
            let last = stretch.upto.min(stretch.from + 9);
            order.push(if stretch.live { 'l' } else { 'b' });
            lane.pass(stretch.from, last, stretch.live);
            lane.settle(stretch.from, last);
        }
        assert_eq!(order, "lllblllblllblbbbbbbb", "and all of it when there is nothing live");
        assert_eq!((lane.acked, lane.backlog()), (200, 0));
    }

    #[test]
    fn what_is_done_beyond_the_cursor_is_not_sent_again() {
        let mut lane = lane(100);
        assert_eq!(lane.settle(60, 79), Settled::Stretch { lane: 1, from: 60, upto: 79 });
        lane.durable = 120;
        assert_eq!(lane.settle(101, 110), Settled::Stretch { lane: 1, from: 101, upto: 110 });
        assert_eq!(lane.backlog(), 90);
        lane.rewind(None);
        lane.connected();
        let mut sent = Vec::new();
        while let Some(Stretch { from, upto, live }) = lane.head() {
            sent.push((from, upto));
            lane.pass(from, upto, live);
        }
        assert_eq!(sent, [(1, 59), (80, 100), (111, 120)]);
        assert_eq!(lane.settle(1, 59), Settled::Advance { lane: 1, upto: 79 });
    }
}
