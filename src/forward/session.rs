//! The session: connect, send, acknowledge, rewind.
//!
//! The shell tells it what has happened, then calls [`Session::next`] until it returns nothing, writes down
//! [`Session::note`], breaks the connection off if [`Session::close`] says so, and waits for the next happening or until
//! [`Session::poll_timeout`]. Before each of these it says what the connection has carried: [`Session::traffic`].

mod answers;
mod connecting;
mod sending;

use std::time::Duration;

use crate::clock::Uptime;
use crate::forward::cost::Tariff;
use crate::forward::estimate::{Departure, Estimate};
use crate::forward::lane::Lane;
use crate::forward::ledger::{Ledger, Share};
use crate::forward::note::{Granted, Note};
use crate::forward::pace::Pace;
use crate::forward::{Backoff, Counts, Fetch, ForwardConfig, Link, LinkState, Loss, Moment, Status, Token};
use crate::units::Bytes;

/// Number of lanes, most urgent first; the first is the alarm lane.
pub(in crate::forward) const LANES: usize = 3;
const ALARM: usize = 0;

/// How often to look whether a new day has brought a new budget.
const DAY_CHECK: Duration = Duration::from_mins(1);

/// A lane of the outbox when the session begins.
#[derive(Clone, Debug, Default)]
pub struct LaneStart {
    /// Everything up to here is done with.
    pub acked: u64,
    /// Done with beyond it.
    pub done: Vec<(u64, u64)>,
}

/// Delivers three lanes over one link.
#[derive(Clone, Debug)]
pub struct Session {
    config: ForwardConfig,
    tariff: Tariff,
    link: Link,
    ledger: Ledger,
    pace: Pace,
    estimate: Estimate,
    lanes: [Lane; LANES],
    /// Messages that are no records: availability, health.
    extras: Vec<Extra>,
    /// The one read that is under way.
    pending: Option<Fetch>,
    connection: u32,
    in_flight_max: u16,
    packet_max: u64,
    tokens: u64,
    wake: Option<Uptime>,
    counts: Counts,
    /// Batches of the lanes above the last one since that had its turn.
    turns: u32,
    carried: Carried,
    /// The dearest handshake so far, and what is reserved for the present one.
    handshake: u64,
    reserved: u64,
    /// What has to be written down.
    dirty: bool,
    writing: Option<Granted>,
    /// Nothing is sent before a grant is written.
    waits_for_grant: bool,
    /// Wall time of the next attempt, µs.
    not_before: i64,
    last_loss: Option<Loss>,
    /// Off until the next day, and when to look again.
    spent: Option<Uptime>,
}

/// A message that is no record.
#[derive(Clone, Copy, Debug)]
struct Extra {
    token: Token,
    cost: u64,
    bytes: u64,
    departure: Departure,
    due: Uptime,
}

/// What the present connection has carried.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    sent: u64,
    received: u64,
    /// When something was last received, and when anything last moved.
    heard: Uptime,
    moved: Uptime,
    /// Bytes the rate has been charged for.
    charged: u64,
}

impl Session {
    /// A session that goes on where an earlier run has left: its cursors and its note. `random` is uniform in 0 to 1.
    ///
    /// Without failures before, the first connect is due at once; else when it was due then, or within two seconds, so that a
    /// fleet that starts after a failure of power does not come all at once.
    pub fn new(
        config: ForwardConfig,
        lanes: &[LaneStart; LANES],
        note: &[u8],
        now: Moment,
        random: f64,
    ) -> Self {
        let note = Note::decode(note).unwrap_or_default();
        let backoff = Backoff::new(config.backoff_min, config.backoff_max);
        let wait = connecting::first_wait(&config, &note, now, random);
        let link = Link::resumed(backoff.clone().resumed(note.failures), now.up.after(wait));
        let lane = |number: u8| {
            let start = lanes.get(usize::from(number)).cloned().unwrap_or_default();
            let mut lane = Lane::new(number, start.acked, &start.done, backoff.clone());
            lane.suspect = note.suspects.get(usize::from(number)).copied().flatten();
            lane
        };
        let mut ledger = Ledger::new(&config, &note.granted);
        ledger.turn(now);
        Self {
            tariff: Tariff::new(config.tls),
            link,
            ledger,
            pace: Pace::new(config.rate),
            estimate: Estimate::default(),
            lanes: [lane(0), lane(1), lane(2)],
            extras: Vec::new(),
            pending: None,
            connection: 0,
            in_flight_max: config.in_flight,
            packet_max: u64::MAX,
            tokens: 0,
            wake: None,
            counts: Counts::default(),
            turns: 0,
            carried: Carried::default(),
            handshake: note.handshake,
            reserved: 0,
            dirty: false,
            writing: None,
            waits_for_grant: false,
            not_before: note.not_before,
            last_loss: None,
            spent: None,
            config,
        }
    }

    /// Records of a lane up to `last` may be sent.
    pub fn durable(&mut self, lane: u8, last: u64) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
            lane.durable = lane.durable.max(last);
        }
    }

    /// What the present connection has carried since it was opened, encryption included.
    pub fn traffic(&mut self, sent: u64, received: u64, now: Moment) {
        self.ledger.turn(now);
        let carried = &mut self.carried;
        if received > carried.received {
            carried.heard = now.up;
        }
        if sent > carried.sent || received > carried.received {
            carried.moved = now.up;
        }
        (carried.sent, carried.received) = (carried.sent.max(sent), carried.received.max(received));
        self.ledger.saw(carried.sent, carried.received);
        let total = carried.sent + carried.received;
        if total > carried.charged {
            let more = total - carried.charged;
            carried.charged = total;
            self.pace.pay(more, now.up);
        }
        if self.in_flight() == 0 {
            // All that was charged for has passed: the worst case did not happen.
            self.carried.charged = total;
        }
    }

    /// What must be on the disk before more is sent; nothing while a note is being written.
    pub fn note(&mut self) -> Option<Vec<u8>> {
        if self.writing.is_some() || !(self.dirty || self.ledger.asks()) {
            return None;
        }
        self.dirty = false;
        let granted = self.ledger.granted();
        self.writing = Some(granted);
        let suspects = [0, 1, 2].map(|index| self.lanes.get(index).and_then(|lane| lane.suspect));
        let note = Note {
            failures: self.link.failures(),
            not_before: self.not_before,
            handshake: self.handshake,
            granted,
            suspects,
        };
        Some(note.encode())
    }

    /// The note was written, or could not be: then delivery goes on without, and a restart may spend twice.
    pub fn noted(&mut self, written: bool) {
        if let Some(granted) = self.writing.take() {
            self.ledger.grant(&granted);
            self.waits_for_grant = false;
            self.counts.grants_unwritten += u64::from(!written);
        }
    }

    /// A record at which connections die: store it elsewhere, then call [`Session::set_aside`].
    pub fn culprit(&self) -> Option<(u8, u64)> {
        let culprit = |lane: &Lane| lane.suspect.and_then(|suspect| suspect.culprit());
        (0..).zip(&self.lanes).find_map(|(number, lane)| Some((number, culprit(lane)?)))
    }

    /// When to look again although nothing has happened.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let link = self.link.poll_timeout().map(|until| until.max(self.spent.unwrap_or(Uptime::ZERO)));
        [link, self.overdue(), self.half_open(), self.wake].into_iter().flatten().min()
    }

    /// Messages under way.
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.flights().len()).sum::<usize>() + self.extras.len()
    }

    /// Records of a lane that may be sent and are not acknowledged.
    pub fn backlog(&self, lane: u8) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, Lane::backlog)
    }

    /// The state of the link for people.
    pub fn status(&self) -> Status {
        let (sent_today, received_today) = self.ledger.today();
        Status {
            state: self.link.state(),
            failures: self.link.failures(),
            last_loss: self.last_loss,
            spent: self.spent.is_some(),
            next_attempt: match self.link.state() {
                LinkState::Waiting { until } => Some(until.max(self.spent.unwrap_or(until))),
                LinkState::Connecting { .. } | LinkState::Up { .. } => None,
            },
            sent_today,
            received_today,
            daily: self.config.daily,
            daily_left: self.ledger.budget_left(),
            in_flight: self.in_flight(),
            rate: self.estimate.rate(),
            batch: Bytes(
                self.estimate
                    .batch(self.config.batch_bytes_max.0)
                    .min(self.pace.batch())
                    .min(self.ledger.stake()),
            ),
            round_trip: self.estimate.round_trip(),
            counts: self.counts,
        }
    }

    /// Whose share a lane spends.
    fn share(index: usize) -> Share {
        if index == ALARM { Share::Alarm } else { Share::Ordinary }
    }

    /// Bytes under way.
    fn bytes_under_way(&self) -> u64 {
        let batches: u64 = self.lanes.iter().flat_map(Lane::flights).map(|flight| flight.bytes).sum();
        batches + self.extras.iter().map(|extra| extra.bytes).sum::<u64>()
    }

    /// When the first message under way should have been acknowledged.
    fn overdue(&self) -> Option<Uptime> {
        let batches = self.lanes.iter().flat_map(Lane::flights).map(|flight| flight.due);
        batches.chain(self.extras.iter().map(|extra| extra.due)).min()
    }

    /// When silence means that the other half of the connection is gone.
    fn half_open(&self) -> Option<Uptime> {
        // A connection nobody counts the bytes of is silent by nature.
        let counted = self.link.is_up() && self.carried.received > 0;
        let trip = self.estimate.round_trip().unwrap_or(Duration::ZERO);
        counted.then(|| self.carried.heard.after(self.config.keep_alive * 3 / 2 + trip))
    }

    /// Whether anything in the alarm lane waits that may fit into what is left of the day.
    fn alarm_waits(&self, now: Moment) -> bool {
        self.lanes.first().is_some_and(|lane| lane.head().is_some() && lane.spent != Some(now.day()))
    }

    /// Wakes up for this at the latest.
    fn wake_at(&mut self, at: Uptime) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// A new name for a message.
    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}

#[cfg(test)]
mod tests;
