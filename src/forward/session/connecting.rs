//! The session's connection: when to try, when to break off, what a loss means.

use std::time::Duration;

use crate::forward::cost::Tariff;
use crate::forward::lane::Lane;
use crate::forward::ledger::{Afford, Share};
use crate::forward::note::Note;
use crate::forward::poison::Weight;
use crate::forward::session::{Carried, DAY_CHECK, Session};
use crate::forward::{ForwardConfig, Loss, Moment};

/// A restart after failures connects within this time, at random.
const START_SPREAD: Duration = Duration::from_secs(2);

/// Room for the first words on a connection: availability and health. Bytes.
const HELLO_BYTES: u64 = 512;

/// When ordinary traffic has spent its share, a connection for alarms is left after so long without any: the next alarm may
/// come soon, and a new handshake costs more than a ping or two.
const LINGER: Duration = Duration::from_secs(30);

/// How long after a start to wait: not at once after failures, and not for ever because the clock has jumped.
pub(in crate::forward) fn first_wait(
    config: &ForwardConfig,
    note: &Note,
    now: Moment,
    random: f64,
) -> Duration {
    if note.failures == 0 {
        return Duration::ZERO;
    }
    let share = if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 };
    let left = u64::try_from(note.not_before.saturating_sub(now.utc.micros)).unwrap_or(0);
    Duration::from_micros(left).min(config.backoff_max).max(START_SPREAD.mul_f64(share))
}

impl Session {
    /// Whether it is time to connect, and the budget has room for it.
    pub fn due(&mut self, now: Moment) -> bool {
        self.ledger.turn(now);
        if !self.link.due(now.up) {
            return false;
        }
        let cost = self.tariff.handshake(self.handshake) + Tariff::standing();
        let hello = self.tariff.publish(HELLO_BYTES);
        let mut afford = self.ledger.afford(Share::Ordinary, cost + hello, 0);
        if afford == Afford::No && self.alarm_waits(now) {
            afford = self.ledger.afford(Share::Alarm, cost + hello, 0);
        }
        match afford {
            Afford::Yes => self.spent = None,
            Afford::Soon => self.spent = Some(now.up.after(DAY_CHECK)),
            Afford::No => self.rest(now),
        }
        afford == Afford::Yes
    }

    /// An attempt to connect has begun.
    pub fn connecting(&mut self, now: Moment) {
        self.ledger.turn(now);
        self.link.connecting(now.up);
        self.reserved = self.tariff.handshake(self.handshake);
        self.ledger.begin(self.reserved + Tariff::standing());
        self.carried = Carried { heard: now.up, moved: now.up, ..Carried::default() };
        self.spent = None;
    }

    /// The broker has welcomed us and allows so many unacknowledged publishes and packets of so many bytes.
    pub fn connected(&mut self, now: Moment, receive_max: Option<u16>, packet_max: Option<u32>) {
        self.link.connected(now.up);
        self.connection = self.connection.wrapping_add(1);
        self.in_flight_max = self.config.in_flight.min(receive_max.unwrap_or(u16::MAX)).max(1);
        self.packet_max = packet_max.map_or(u64::MAX, u64::from);
        let took = self.carried.sent + self.carried.received;
        self.dirty |= took > self.tariff.handshake(self.handshake);
        self.handshake = self.handshake.max(took);
        self.ledger.end(std::mem::take(&mut self.reserved));
        self.carried.heard = now.up;
        self.estimate.reconnected(now.up);
        for lane in &mut self.lanes {
            lane.connected();
        }
    }

    /// Why the connection should be broken off now, if it should.
    pub fn close(&mut self, now: Moment) -> Option<Loss> {
        self.ledger.turn(now);
        if !self.link.is_up() {
            return None;
        }
        if self.overdue().is_some_and(|due| due <= now.up) {
            return Some(Loss::NoAcknowledgement);
        }
        if self.half_open().is_some_and(|due| due <= now.up) {
            return Some(Loss::HalfOpen);
        }
        self.is_spent(now).then_some(Loss::Budget)
    }

    /// The attempt failed or the connection ended, and [`Session::traffic`] has been told the last of it; `random` is uniform
    /// in 0 to 1. Everything under way is sent again.
    pub fn disconnected(&mut self, now: Moment, random: f64, loss: Loss) {
        let under_way = self.in_flight() > 0;
        let proven = self.link.is_proven();
        let hunting = proven && self.lanes.iter().any(Lane::is_hunted);
        match loss {
            Loss::Closed if hunting && under_way => self.link.hunted(now.up, random),
            Loss::Refused => self.link.refused(now.up, random),
            Loss::Budget | Loss::Ours => self.link.left(now.up),
            Loss::Unreachable | Loss::Closed | Loss::NoAcknowledgement | Loss::HalfOpen => {
                self.link.disconnected(now.up, random);
            }
        }
        let blame = match loss {
            Loss::Closed if proven => Some(Weight::Word),
            Loss::NoAcknowledgement | Loss::HalfOpen if proven => Some(Weight::Silence),
            Loss::Closed | Loss::NoAcknowledgement | Loss::HalfOpen => Some(Weight::Nothing),
            Loss::Unreachable | Loss::Refused | Loss::Budget | Loss::Ours => None,
        };
        if matches!(loss, Loss::NoAcknowledgement | Loss::HalfOpen) && under_way {
            self.estimate.timed_out();
        }
        if blame == Some(Weight::Word) {
            self.lanes.iter_mut().for_each(|lane| lane.died(now.up, random));
        }
        let lost: usize = self.lanes.iter_mut().map(|lane| lane.rewind(blame)).sum();
        self.counts.lost += lost as u64;
        self.counts.half_open += u64::from(loss == Loss::HalfOpen);
        self.extras.clear();
        self.ledger.end_all();
        self.reserved = 0;
        self.carried = Carried::default();
        (self.pending, self.wake, self.last_loss) = (None, None, Some(loss));
        if loss == Loss::Budget {
            self.rest(now);
        }
        let wait = self.link.poll_timeout().map_or(Duration::ZERO, |until| until.since(now.up));
        let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        self.not_before = now.utc.micros.saturating_add(wait);
        // Ending it ourselves changes nothing that must be known after a restart.
        self.dirty |= !matches!(loss, Loss::Budget | Loss::Ours);
    }

    /// Whether the connection has to end because even a ping would be too much: at once for all of the budget, after a while
    /// for the share of ordinary traffic.
    fn is_spent(&mut self, now: Moment) -> bool {
        if !self.ledger.is_limited() {
            return false;
        }
        if self.ledger.is_overdrawn() {
            return true;
        }
        let idle = self.in_flight() == 0;
        let ping = self.tariff.ping();
        if !idle || self.ledger.left(Share::Ordinary) >= ping {
            return false;
        }
        if self.ledger.left(Share::Alarm) < ping {
            return true;
        }
        let until = self.carried.moved.after(LINGER);
        if self.alarm_waits(now) || until > now.up {
            self.wake_at(until.max(now.up.after(Duration::from_secs(1))));
            return false;
        }
        true
    }

    /// Off until there is a new budget.
    fn rest(&mut self, now: Moment) {
        self.counts.days_spent += u64::from(self.spent.is_none());
        self.spent = Some(now.up.after(DAY_CHECK.min(now.rest_of_day())));
    }
}
