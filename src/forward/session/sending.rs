//! The session's choice of what to send next, and whether it may.

use std::time::Duration;

use crate::forward::lane::{Flight, Lane, Stretch};
use crate::forward::ledger::{Afford, Share};
use crate::forward::session::{ALARM, DAY_CHECK, Extra, LANES, Session};
use crate::forward::{Fetch, Moment, Settled, Token, Withheld};

/// One in this many places under way is kept for the alarm lane, so that a backlog cannot stand in its way.
const ALARM_PLACES: u16 = 8;

/// How long a lane waits after the client was full or a read has failed: an acknowledgement usually makes room sooner.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// Room for the MQTT header and the topic in a packet of the size the broker takes, bytes.
pub(in crate::forward) const PACKET_OVERHEAD: u64 = 512;

/// Batches of the other lanes before the last one gets a turn, so that a plant that never rests does not silence it.
const TURNS: u32 = 7;

/// Share of the ordinary budget that may be kept for the pings of the rest of the day: where they would take more, the day
/// ends early for ordinary traffic.
const PINGS_DIVISOR: u64 = 4;

impl Session {
    /// What to read and send next; nothing while a read is under way. Alarms first.
    pub fn next(&mut self, now: Moment) -> Option<Fetch> {
        self.wake = None;
        self.ledger.turn(now);
        // A new day forgets what the old one has asked for.
        self.waits_for_grant &= self.ledger.asks() || self.writing.is_some();
        if !self.link.is_up() || self.pending.is_some() || self.waits_for_grant {
            return None;
        }
        if self.lanes.iter().any(|lane| lane.flights().iter().any(|flight| flight.alone)) {
            return None;
        }
        for index in self.order() {
            let Some(stretch) = self.lanes.get(index).and_then(Lane::head) else { continue };
            if !self.pace.allows(now.up) {
                self.wake_at(self.pace.ready());
                return None;
            }
            let held = self.lanes.get(index).is_some_and(|lane| lane.is_held(now.up));
            if !held && self.must_wait(index, stretch) {
                return None;
            }
            if self.in_flight() >= self.places(index) || self.is_window_full(index) {
                continue;
            }
            if let Some(fetch) = self.fetch(index, stretch, now) {
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
        now: Moment,
    ) -> Result<Token, Withheld> {
        if self.pending.as_ref() != Some(fetch) {
            return Err(Withheld::Stale);
        }
        self.pending = None;
        let index = usize::from(fetch.lane);
        self.ledger.turn(now);
        if last < fetch.from || last > fetch.upto {
            return Err(Withheld::Stale);
        }
        if bytes > self.packet_max && records <= 1 {
            return Err(Withheld::Undeliverable);
        }
        let (cost, kept) = (self.tariff.publish(bytes), self.kept(index, now));
        let afford = self.ledger.afford(Self::share(index), cost, kept);
        let under_way = self.bytes_under_way();
        let is_idle = self.in_flight() == 0;
        let Some(lane) = self.lanes.get_mut(index) else { return Err(Withheld::Stale) };
        if bytes > self.packet_max {
            lane.records_cap = Some(records / 2);
            return Err(Withheld::TooLarge);
        }
        match afford {
            Afford::Yes => {}
            Afford::Soon => {
                self.waits_for_grant = true;
                return Err(Withheld::Daily);
            }
            Afford::No => {
                // What is under way is reserved at its worst and may free some: then it is tried again.
                if records > 1 {
                    lane.records_cap = Some(records / 2);
                } else {
                    lane.spent = Some(now.day());
                }
                return Err(Withheld::Daily);
            }
        }
        let alone = lane.goes_alone(fetch.from) && is_idle;
        let token = self.token();
        let departure = self.estimate.departs(bytes, under_way, now.up);
        let due = now.up.after(self.estimate.patience(under_way + bytes, self.config.ack_timeout));
        self.estimate.packed(records, bytes);
        self.ledger.begin(cost);
        self.carried.charged += cost;
        let paid = self.pace.pay(cost, now.up);
        let (first, live) = (fetch.from, fetch.live);
        let flight = Flight { token, first, last, live, alone, bytes, cost, paid, departure, due };
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.depart(flight);
        }
        self.turns = if index == LANES - 1 { 0 } else { self.turns + 1 };
        self.counts.sent += 1;
        self.counts.live += u64::from(live);
        Ok(token)
    }

    /// Takes another message of QoS 1 (availability, health) off the budget, as ordinary traffic. Its token, if it may be
    /// sent; it is answered like a batch.
    pub fn extra(&mut self, bytes: u64, now: Moment) -> Option<Token> {
        self.ledger.turn(now);
        let alone = self.lanes.iter().any(|lane| lane.flights().iter().any(|flight| flight.alone));
        let full = self.in_flight() >= usize::from(self.in_flight_max);
        let cost = self.tariff.publish(bytes);
        let may = self.link.is_up() && !alone && !full && self.pace.allows(now.up);
        // Where a record is hunted, a connection must prove itself first: that is worth the share of the alarms behind it.
        let hunting = self.lanes.iter().any(|lane| lane.suspect.is_some());
        let share = if hunting { Share::Alarm } else { Share::Ordinary };
        if !may || self.ledger.afford(share, cost, 0) != Afford::Yes {
            return None;
        }
        let token = self.token();
        let under_way = self.bytes_under_way();
        let departure = self.estimate.departs(bytes, under_way, now.up);
        let due = now.up.after(self.estimate.patience(under_way + bytes, self.config.ack_timeout));
        self.ledger.begin(cost);
        self.carried.charged += cost;
        self.pace.pay(cost, now.up);
        self.extras.push(Extra { token, cost, bytes, departure, due });
        Some(token)
    }

    /// There is nothing to send up to `upto`: the records were dropped and counted, or set aside.
    pub fn skip(&mut self, fetch: &Fetch, upto: u64) -> Option<Settled> {
        if self.pending.as_ref() != Some(fetch) {
            return None;
        }
        self.pending = None;
        let lane = self.lanes.get_mut(usize::from(fetch.lane))?;
        if upto < fetch.from {
            return None;
        }
        let upto = upto.min(fetch.upto);
        lane.records_cap = None;
        lane.pass(fetch.from, upto, fetch.live);
        Some(lane.settle(fetch.from, upto))
    }

    /// A record of the fetch can never be delivered and is stored elsewhere: it counts as done with.
    pub fn give_up(&mut self, fetch: &Fetch, last: u64) -> Option<Settled> {
        let lane = self.lanes.get_mut(usize::from(fetch.lane))?;
        if fetch.connection != self.connection || self.pending.is_some() || last < fetch.from {
            return None;
        }
        self.counts.set_aside += 1;
        lane.records_cap = None;
        lane.pass(fetch.from, last, fetch.live);
        Some(lane.settle(fetch.from, last))
    }

    /// The read failed or will not be made; it is asked for again.
    pub fn abandon(&mut self, fetch: &Fetch, now: Moment) {
        if self.pending.as_ref() == Some(fetch) {
            self.pending = None;
            if let Some(lane) = self.lanes.get_mut(usize::from(fetch.lane)) {
                lane.hold = Some(now.up.after(FULL_WAIT));
            }
        }
    }

    /// The client did not take the message: it was not sent, and a batch is fetched again shortly.
    pub fn unsent(&mut self, token: Token, now: Moment) {
        if let Some(at) = self.extras.iter().position(|extra| extra.token == token) {
            self.ledger.end(self.extras.remove(at).cost);
            return;
        }
        for lane in &mut self.lanes {
            let Some(flight) = lane.land(token) else { continue };
            lane.take_back(&flight);
            lane.hold = Some(now.up.after(FULL_WAIT));
            self.ledger.end(flight.cost);
            self.pace.refund(flight.paid);
            self.carried.charged = self.carried.charged.saturating_sub(flight.cost);
            self.counts.taken_back += 1;
            return;
        }
    }

    /// Lanes in the order in which they are asked: the last one comes before the one above it now and then.
    fn order(&self) -> [usize; LANES] {
        if self.turns >= TURNS { [0, 2, 1] } else { [0, 1, 2] }
    }

    /// Whether nothing may be sent until these records can go alone, on a connection that has proven itself.
    fn must_wait(&self, index: usize, stretch: Stretch) -> bool {
        let Some(lane) = self.lanes.get(index) else { return false };
        let suspected = lane.suspect.is_some_and(|suspect| suspect.holds(stretch.from));
        let unproven = suspected && !self.link.is_proven() && !self.extras.is_empty();
        unproven || lane.goes_alone(stretch.from) && self.in_flight() > 0
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

    /// Whether as much is under way as the link holds, or as a power cut may cost. Alarms do not wait for that.
    fn is_window_full(&self, index: usize) -> bool {
        let window = self.estimate.window().min(self.ledger.stake());
        index != ALARM && self.in_flight() > 0 && self.bytes_under_way() >= window
    }

    /// Bytes ordinary traffic leaves for the pings of the rest of the day.
    fn kept(&self, index: usize, now: Moment) -> u64 {
        if index == ALARM || !self.ledger.is_limited() {
            return 0;
        }
        let pings = now.rest_of_day().as_secs() / self.config.keep_alive.as_secs().max(1) + 1;
        (pings * self.tariff.ping()).min(self.ledger.ordinary() / PINGS_DIVISOR)
    }

    /// What this lane would have read, if it may send now; otherwise notes when to ask again.
    fn fetch(&mut self, index: usize, stretch: Stretch, now: Moment) -> Option<Fetch> {
        let kept = self.kept(index, now);
        let share = Self::share(index);
        // A packet and its price: both grow by less than this when the packet does.
        let room = self.ledger.left(share).saturating_sub(kept + self.tariff.publish(0));
        let room = room.saturating_sub(room / 512);
        let lane = self.lanes.get(index)?;
        let again = if let Some(hold) = lane.hold.filter(|hold| *hold > now.up) {
            hold
        } else if lane.spent == Some(now.day()) || room == 0 {
            now.up.after(DAY_CHECK.min(now.rest_of_day()))
        } else {
            let packet = self.packet_max.saturating_sub(PACKET_OVERHEAD).max(1).min(room);
            let packet = packet.min(self.ledger.stake()).min(self.pace.batch());
            let target = self.estimate.batch(self.config.batch_bytes_max.0).min(packet);
            let fitting = self.estimate.records(target);
            let cap = lane.records_cap.unwrap_or(u32::MAX).max(1);
            let suspect = lane.suspect.filter(|_| lane.goes_alone(stretch.from));
            let upto = suspect.map_or(stretch.upto, |suspect| suspect.upto(stretch.from).min(stretch.upto));
            if self.ledger.afford(share, self.tariff.publish(target), kept) == Afford::Soon {
                self.waits_for_grant = true;
                return None;
            }
            return Some(Fetch {
                lane: u8::try_from(index).ok()?,
                from: stretch.from,
                upto,
                records_max: fitting.unwrap_or(u32::MAX).min(cap).min(self.config.batch_records_max),
                // Until it is known what records become in a packet, they count as they are.
                bytes_max: if fitting.is_some() { self.config.batch_bytes_max.0 } else { target },
                live: stretch.live,
                connection: self.connection,
            });
        };
        self.wake_at(again);
        None
    }
}
