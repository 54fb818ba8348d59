//! The session: connect, send, acknowledge, rewind.
//!
//! The shell tells it what has happened, then calls [`Session::next`] until it returns nothing, then waits for the next
//! happening or until [`Session::poll_timeout`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Uptime;
use crate::forward::lane::{Flight, Lane};
use crate::forward::{Allowance, Backoff, Day, ForwardConfig, Link, LinkState, Spent};
use crate::units::Bytes;

/// Number of lanes, most urgent first; the first is the alarm lane.
const LANES: usize = 3;
const ALARM: usize = 0;

/// One in this many places under way is kept for the alarm lane, so that a backlog cannot stand in its way.
const ALARM_PLACES: u16 = 8;

/// Batches remembered per place under way. More would mean a broker that acknowledges wildly out of order.
const REMEMBERED: usize = 4;

/// How long a lane waits after the client was full: an acknowledgement usually makes room sooner.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// How often to look whether a new day has brought a new budget.
const DAY_CHECK: Duration = Duration::from_mins(1);

/// Room for the MQTT header and the topic in a packet of the size the broker takes, bytes.
const PACKET_OVERHEAD: u64 = 512;

/// Name of a batch under way. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Records to read from the outbox and to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which lane.
    pub lane: u8,
    /// First record wanted. If it is gone, what comes next.
    pub from: u64,
    /// At most so many records.
    pub records_max: u32,
    /// At most so many bytes of records, but at least one record.
    pub bytes_max: u64,
    connection: u32,
}

/// The cursor of a lane may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Which lane.
    pub lane: u8,
    /// Everything up to here has been delivered or given up.
    pub upto: u64,
}

/// Why a batch must not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// It was read for a connection or a place in the lane that is no more. Throw it away.
    Stale,
    /// Larger than what is left of the day. Throw it away; it is fetched again.
    Daily,
    /// Larger than the broker takes. Throw it away; fewer records are fetched.
    TooLarge,
    /// A single record larger than the broker takes. It can never be delivered: count it and [`Session::skip`] it.
    Undeliverable,
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
    /// Taken back: the client was full, or a batch before it in the lane was refused.
    pub taken_back: u64,
    /// Under way when a connection ended.
    pub lost: u64,
}

/// The state of the link for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: LinkState,
    /// Failures since it last worked.
    pub failures: u32,
    /// Bytes sent today.
    pub bytes_today: Bytes,
    /// Budget of a day.
    pub daily: Option<Bytes>,
    /// Batches under way.
    pub in_flight: usize,
    /// Time from sending to acknowledgement, smoothed over about eight batches.
    pub round_trip: Option<Duration>,
    /// What has happened to batches.
    pub counts: Counts,
}

/// Delivers three lanes over one link.
#[derive(Clone, Debug)]
pub struct Session {
    config: ForwardConfig,
    link: Link,
    allowance: Allowance,
    lanes: [Lane; LANES],
    /// Taken back after they were sent: they still occupy the link until answered. With the time they were sent.
    orphans: BTreeMap<Token, Uptime>,
    /// The one read that is under way.
    pending: Option<Fetch>,
    connection: u32,
    in_flight_max: u16,
    packet_max: u64,
    tokens: u64,
    wake: Option<Uptime>,
    round_trip: Option<Duration>,
    counts: Counts,
}

impl Session {
    /// A session that has delivered everything up to `acked` of each lane. The first connect is due at once.
    pub fn new(config: ForwardConfig, acked: [u64; LANES]) -> Self {
        let backoff = Backoff::new(config.backoff_min, config.backoff_max);
        Self {
            link: Link::new(backoff.clone()),
            allowance: Allowance::new(&config),
            lanes: acked.map(|acked| Lane::new(acked, backoff.clone())),
            orphans: BTreeMap::new(),
            pending: None,
            connection: 0,
            in_flight_max: config.in_flight,
            packet_max: u64::MAX,
            tokens: 0,
            wake: None,
            round_trip: None,
            counts: Counts::default(),
            config,
        }
    }

    /// Whether it is time to connect.
    pub fn due(&self, now: Uptime) -> bool {
        self.link.due(now)
    }

    /// An attempt to connect has begun.
    pub fn connecting(&mut self, now: Uptime) {
        self.link.connecting(now);
    }

    /// The broker has welcomed us and allows so many unacknowledged publishes and packets of so many bytes.
    pub fn connected(&mut self, now: Uptime, receive_max: Option<u16>, packet_max: Option<u32>) {
        self.link.connected(now);
        self.connection = self.connection.wrapping_add(1);
        self.in_flight_max = self.config.in_flight.min(receive_max.unwrap_or(u16::MAX)).max(1);
        self.packet_max = packet_max.map_or(u64::MAX, u64::from);
    }

    /// The attempt failed or the connection ended; `random` is uniform in 0 to 1. Everything under way is sent again.
    pub fn disconnected(&mut self, now: Uptime, random: f64) {
        self.link.disconnected(now, random);
        let lost: usize = self.lanes.iter_mut().map(Lane::rewind).sum();
        self.counts.lost += lost as u64;
        self.orphans.clear();
        self.pending = None;
        self.wake = None;
    }

    /// Records of a lane up to `last` may be sent.
    pub fn durable(&mut self, lane: u8, last: u64) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
            lane.durable = lane.durable.max(last);
        }
    }

    /// What to read and send next; nothing while a read is under way. Alarms first.
    pub fn next(&mut self, now: Uptime, day: Day) -> Option<Fetch> {
        self.wake = None;
        if !self.link.is_up() || self.pending.is_some() || !self.lanes.iter().any(Lane::wants) {
            return None;
        }
        if !self.allowance.rate_allows(now) {
            self.wake = Some(self.allowance.ready());
            return None;
        }
        let under_way = self.in_flight();
        for index in 0..LANES {
            if under_way >= self.places(index) {
                continue;
            }
            if let Some(fetch) = self.fetch(index, now, day) {
                self.pending = Some(fetch);
                return Some(fetch);
            }
        }
        None
    }

    /// The batch read for `fetch` holds records up to `last` and is a packet of `bytes`: takes it off the budget. The
    /// shell publishes it with the token.
    pub fn send(
        &mut self,
        fetch: &Fetch,
        last: u64,
        records: u32,
        bytes: u64,
        now: Uptime,
        day: Day,
    ) -> Result<Token, Withheld> {
        if self.pending.as_ref() != Some(fetch) {
            return Err(Withheld::Stale);
        }
        self.pending = None;
        let index = usize::from(fetch.lane);
        let Some(lane) = self.lanes.get_mut(index) else { return Err(Withheld::Stale) };
        if last < fetch.from || last > lane.durable {
            return Err(Withheld::Stale);
        }
        if bytes > self.packet_max {
            if records <= 1 {
                return Err(Withheld::Undeliverable);
            }
            lane.records_cap = Some(records / 2);
            return Err(Withheld::TooLarge);
        }
        if self.allowance.left(index == ALARM, day).is_some_and(|left| left.0 < bytes) {
            lane.spent = Some(day);
            return Err(Withheld::Daily);
        }
        self.tokens += 1;
        let token = Token(self.tokens);
        let spent = self.allowance.spend(bytes, now, day);
        lane.depart(Flight { token, first: fetch.from, last, spent, sent: now, acked: false });
        self.counts.sent += 1;
        Ok(token)
    }

    /// There is nothing to send up to `upto`: the records were dropped, or cannot be delivered.
    pub fn skip(&mut self, fetch: &Fetch, upto: u64, now: Uptime) -> Option<Advance> {
        if self.pending.as_ref() == Some(fetch) {
            self.pending = None;
        }
        let lane = self.lanes.get_mut(usize::from(fetch.lane))?;
        if fetch.connection != self.connection || fetch.from != lane.next || upto < fetch.from {
            return None;
        }
        let upto = upto.min(lane.durable);
        lane.records_cap = None;
        self.tokens += 1;
        let (token, first) = (Token(self.tokens), fetch.from);
        lane.depart(Flight { token, first, last: upto, spent: Spent::default(), sent: now, acked: true });
        lane.settle().map(|upto| Advance { lane: fetch.lane, upto })
    }

    /// The read failed or will not be made; it is asked for again.
    pub fn abandon(&mut self, fetch: &Fetch, now: Uptime) {
        if self.pending.as_ref() == Some(fetch) {
            self.pending = None;
            if let Some(lane) = self.lanes.get_mut(usize::from(fetch.lane)) {
                lane.hold = Some(now.after(FULL_WAIT));
            }
        }
    }

    /// The client did not take the batch: it was not sent and is fetched again shortly.
    pub fn unsent(&mut self, token: Token, now: Uptime) {
        if self.orphans.remove(&token).is_some() {
            return;
        }
        let Some((index, flight)) = self.take_back(token) else { return };
        self.allowance.refund(&flight.spent);
        self.counts.taken_back += 1;
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.hold = Some(now.after(FULL_WAIT));
        }
    }

    /// The broker has taken a batch. The cursor may move, if nothing before it is missing.
    pub fn acked(&mut self, token: Token, now: Uptime) -> Option<Advance> {
        if self.orphans.remove(&token).is_some() {
            return None;
        }
        for (number, lane) in (0..).zip(&mut self.lanes) {
            let Some(sent) = lane.land(token) else { continue };
            let took = now.since(sent);
            self.round_trip = Some(self.round_trip.map_or(took, |mean| (mean * 7 + took) / 8));
            self.counts.acked += 1;
            self.link.proven();
            lane.backoff.reset();
            let records_max = self.config.batch_records_max;
            lane.records_cap =
                lane.records_cap.map(|cap| cap.saturating_mul(2)).filter(|cap| *cap < records_max);
            return lane.settle().map(|upto| Advance { lane: number, upto });
        }
        None
    }

    /// The broker does not take a batch: its lane waits and tries again. `random` is uniform in 0 to 1.
    pub fn refused(&mut self, token: Token, now: Uptime, random: f64) {
        if self.orphans.remove(&token).is_some() {
            return;
        }
        let Some((index, _)) = self.take_back(token) else { return };
        self.counts.refused += 1;
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.hold = Some(now.after(lane.backoff.fail(random)));
        }
    }

    /// Whether a batch waits for its acknowledgement for so long that the link must be dead: break it off.
    pub fn overdue(&self, now: Uptime) -> bool {
        self.oldest().is_some_and(|sent| now.since(sent) >= self.config.ack_timeout)
    }

    /// When to look again although nothing has happened.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        let overdue = self.oldest().map(|sent| sent.after(self.config.ack_timeout));
        [self.link.poll_timeout(), overdue, self.wake].into_iter().flatten().min()
    }

    /// Takes other traffic on the link (status, health) off the budget, as ordinary traffic. Whether it may be sent.
    pub fn allow(&mut self, bytes: u64, now: Uptime, day: Day) -> bool {
        let allowed = self.link.is_up()
            && self.allowance.rate_allows(now)
            && self.allowance.left(false, day).is_none_or(|left| left.0 >= bytes);
        if allowed {
            self.allowance.spend(bytes, now, day);
        }
        allowed
    }

    /// Batches under way, those taken back and not answered yet included.
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::under_way).sum::<usize>() + self.orphans.len()
    }

    /// Records of a lane that may be sent and are not acknowledged.
    pub fn backlog(&self, lane: u8) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.durable.saturating_sub(lane.acked))
    }

    /// The state of the link for people.
    pub fn status(&self, day: Day) -> Status {
        Status {
            state: self.link.state(),
            failures: self.link.failures(),
            bytes_today: self.allowance.sent_on(day),
            daily: self.config.daily,
            in_flight: self.in_flight(),
            round_trip: self.round_trip,
            counts: self.counts,
        }
    }

    /// Places under way a lane may fill.
    fn places(&self, index: usize) -> usize {
        let kept = if index == ALARM || self.in_flight_max < 2 {
            0
        } else {
            (self.in_flight_max / ALARM_PLACES).max(1)
        };
        usize::from(self.in_flight_max - kept)
    }

    /// What this lane would have read, if it may send now; otherwise notes when to ask again.
    fn fetch(&mut self, index: usize, now: Uptime, day: Day) -> Option<Fetch> {
        let left = self.allowance.left(index == ALARM, day);
        let remembered_max = REMEMBERED * usize::from(self.in_flight_max);
        let lane = self.lanes.get(index)?;
        if !lane.wants() || lane.remembered() >= remembered_max {
            return None;
        }
        let again = if let Some(hold) = lane.hold.filter(|hold| *hold > now) {
            hold
        } else if lane.spent == Some(day) || left == Some(Bytes(0)) {
            now.after(DAY_CHECK)
        } else {
            let packet = self.packet_max.saturating_sub(PACKET_OVERHEAD).max(1);
            let bytes_max =
                self.config.batch_bytes_max.0.min(packet).min(left.map_or(u64::MAX, |left| left.0));
            let records_max = lane.records_cap.unwrap_or(u32::MAX).min(self.config.batch_records_max);
            return Some(Fetch {
                lane: u8::try_from(index).ok()?,
                from: lane.next,
                records_max,
                bytes_max,
                connection: self.connection,
            });
        };
        self.wake = Some(self.wake.map_or(again, |wake| wake.min(again)));
        None
    }

    /// Takes back a batch and those after it in its lane. The later ones become orphans.
    fn take_back(&mut self, token: Token) -> Option<(usize, Flight)> {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let mut back = lane.take_back(token);
            let Some(flight) = back.pop_front() else { continue };
            for later in back.into_iter().filter(|later| !later.acked) {
                self.orphans.insert(later.token, later.sent);
                self.counts.taken_back += 1;
            }
            if self.pending.is_some_and(|fetch| usize::from(fetch.lane) == index) {
                self.pending = None;
            }
            return Some((index, flight));
        }
        None
    }

    /// When the oldest batch under way was sent.
    fn oldest(&self) -> Option<Uptime> {
        self.lanes.iter().filter_map(Lane::oldest).chain(self.orphans.values().copied()).min()
    }
}

#[cfg(test)]
mod tests;
