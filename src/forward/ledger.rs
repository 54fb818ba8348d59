//! The budget of a UTC day: every byte on the socket, both ways, spent before it is used and remembered before it is spent.
//!
//! # Invariants
//! * Counted bytes and the worst case of what is under way stay within the budget; so does whatever becomes of it.
//! * Nothing is used that is not granted, and a grant is on the disk before it counts. After a power cut the whole grant
//!   counts as used.
//! * Ordinary traffic leaves the last share to alarms, and so do the grants it asks for: power cuts do not spend it.
//! * A wall clock that jumps buys nothing: within 23 hours of uptime two new days get a budget, every further one takes over
//!   what was used; one that stands still gets one every 25 hours. While the date is unknown its bytes count for the day
//!   that is found in the end.

use std::time::Duration;

use crate::clock::Uptime;
use crate::forward::note::Granted;
use crate::forward::{Day, ForwardConfig, Moment};
use crate::units::Bytes;

/// Keeps the books.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Ledger {
    daily: Option<u64>,
    /// What lanes other than the alarm lane may use of it.
    ordinary: u64,
    /// A grant is at least so large.
    step: u64,
    /// The day in use first.
    accounts: [Account; DAYS],
    /// What the unset account took over from the day before it.
    taken_over: u64,
    /// When the last two new days got their budget.
    opened: [Option<Uptime>; 2],
    /// Since when this day is in use.
    since: Uptime,
    /// Worst case of what was begun and has not been counted yet.
    under_way: u64,
    /// So much may be under way: what a day begins with after a power cut over midnight.
    float: u64,
    /// Bytes of the present connection already counted: sent and received.
    seen: (u64, u64),
    /// Of this day, for people.
    sent: u64,
    received: u64,
    asked: Option<(u64, u64)>,
    /// No day was looked at yet in this run.
    is_first: bool,
}

/// A day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    day: Day,
    spent: u64,
    granted: u64,
}

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Share {
    /// Everything but the reserve.
    Ordinary,
    /// All of it.
    Alarm,
}

/// Whether something can be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Afford {
    /// Now.
    Yes,
    /// When the grant that was asked for is on the disk.
    Soon,
    /// Not on this day.
    No,
}

/// Days remembered. A wall clock that is stepped to and fro finds the bytes of each day again.
pub(in crate::forward) const DAYS: usize = 4;

/// Grants of a day: each costs one write of 512 bytes, and a restart costs half of one on average.
const GRANTS: u64 = 64;
const GRANT_MIN: u64 = 4 << 10;

/// Left in the grant for pings, which go without being asked for.
const MARGIN: u64 = 256;

/// A real day brings a new budget after 24 hours; an hour of tolerance for clocks that are set.
const NEW_DAYS_SPAN: Duration = Duration::from_hours(23);

/// While the date is unknown, a day is so much uptime; no known day is longer than this.
const DAY: Duration = Duration::from_hours(24);
const DAY_MAX: Duration = Duration::from_hours(25);

impl Ledger {
    pub(in crate::forward) fn new(config: &ForwardConfig, granted: &Granted) -> Self {
        let share = f64::from(config.alarm_reserve.get());
        let daily = config.daily.map(|daily| daily.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
        let reserve = daily.map_or(0, |daily| (daily as f64 * share).round() as u64);
        let mut accounts = [Account { day: Day(i64::MAX), ..Account::default() }; DAYS];
        for (account, &(day, bytes)) in accounts.iter_mut().zip(&granted.days) {
            *account = Account { day, spent: bytes, granted: bytes };
        }
        let step = daily.map_or(0, |daily| (daily / GRANTS).max(GRANT_MIN).min(daily));
        Self {
            daily,
            ordinary: daily.unwrap_or(0).saturating_sub(reserve),
            step,
            accounts,
            taken_over: granted.taken_over,
            opened: [None; 2],
            since: Uptime::ZERO,
            under_way: 0,
            float: granted.float,
            seen: (0, 0),
            sent: 0,
            received: 0,
            asked: None,
            is_first: true,
        }
    }

    /// Goes over to the day of the wall clock.
    pub(in crate::forward) fn turn(&mut self, now: Moment) {
        let day = now.day();
        let [current, ..] = self.accounts;
        if day == current.day {
            self.is_first = false;
        }
        if day != current.day {
            self.open(day, current, now.up);
        } else if now.up.since(self.since) >= if day == Day::UNSET { DAY } else { DAY_MAX } {
            // Nobody knows the date, or the clock stands still.
            self.since = now.up;
            self.taken_over = 0;
            self.replace(Account { day, spent: 0, granted: self.float });
        }
    }

    /// What the present connection has carried so far.
    pub(in crate::forward) fn saw(&mut self, sent: u64, received: u64) -> u64 {
        let more = (sent.saturating_sub(self.seen.0), received.saturating_sub(self.seen.1));
        self.seen = (self.seen.0.max(sent), self.seen.1.max(received));
        self.sent += more.0;
        self.received += more.1;
        let [current, ..] = &mut self.accounts;
        current.spent += more.0 + more.1;
        self.ask(0);
        more.0 + more.1
    }

    /// Whether a cost can be paid and so much is kept besides; asks for a grant when that is missing.
    pub(in crate::forward) fn afford(&mut self, share: Share, cost: u64, keep: u64) -> Afford {
        if self.daily.is_none() {
            return Afford::Yes;
        }
        if self.left(share) < cost.saturating_add(keep) {
            return Afford::No;
        }
        if self.ask(cost) { Afford::Soon } else { Afford::Yes }
    }

    /// Takes the worst case of something that begins.
    pub(in crate::forward) fn begin(&mut self, cost: u64) {
        self.under_way += cost;
    }

    /// It is over and counted, or did not happen.
    pub(in crate::forward) fn end(&mut self, cost: u64) {
        self.under_way = self.under_way.saturating_sub(cost);
    }

    /// The connection is over and counted.
    pub(in crate::forward) fn end_all(&mut self) {
        self.under_way = 0;
        self.seen = (0, 0);
    }

    /// Bytes left of the day, after what is under way.
    pub(in crate::forward) fn left(&self, share: Share) -> u64 {
        let Some(daily) = self.daily else { return u64::MAX };
        let limit = match share {
            Share::Ordinary => self.ordinary,
            Share::Alarm => daily,
        };
        limit.saturating_sub(self.used())
    }

    /// Whether more was used than allowed, the reserve for closing included: only a broker that sends what it was not
    /// asked for can do that.
    pub(in crate::forward) fn is_overdrawn(&self) -> bool {
        self.daily.is_some_and(|daily| self.used() > daily)
    }

    /// Whether there is a budget.
    pub(in crate::forward) fn is_limited(&self) -> bool {
        self.daily.is_some()
    }

    /// Bytes sent and received on the present day, in this run.
    pub(in crate::forward) fn today(&self) -> (Bytes, Bytes) {
        (Bytes(self.sent), Bytes(self.received))
    }

    /// Bytes left of the budget.
    pub(in crate::forward) fn budget_left(&self) -> Option<Bytes> {
        self.daily.map(|_| Bytes(self.left(Share::Alarm)))
    }

    /// What ordinary traffic may use at most: for the share of pings.
    pub(in crate::forward) fn ordinary(&self) -> u64 {
        self.ordinary
    }

    /// What ordinary traffic may put at stake at once: a grant, so that a power cut costs little more than that.
    pub(in crate::forward) fn stake(&self) -> u64 {
        if self.is_limited() { self.step } else { u64::MAX }
    }

    /// Whether a grant waits to be written.
    pub(in crate::forward) fn asks(&self) -> bool {
        self.asked.is_some()
    }

    /// What is to be written: the grants that hold and the one asked for.
    pub(in crate::forward) fn granted(&self) -> Granted {
        let [current, ..] = self.accounts;
        let (granted, float) = self.asked.unwrap_or((current.granted, self.float));
        // A day that comes back begins with what is under way.
        let others = |account: Account| account.granted.max(account.spent.saturating_add(float));
        let mut days = self.accounts.map(|account| (account.day, others(account)));
        let [first, ..] = &mut days;
        first.1 = granted.max(current.spent);
        Granted { days, float, taken_over: self.taken_over }
    }

    /// It was written.
    pub(in crate::forward) fn grant(&mut self, written: &Granted) {
        for account in &mut self.accounts {
            if let Some((_, granted)) = written.days.iter().find(|(day, _)| *day == account.day) {
                account.granted = account.granted.max(*granted);
            }
        }
        self.float = self.float.max(written.float);
        self.asked = None;
    }

    fn used(&self) -> u64 {
        let [current, ..] = self.accounts;
        current.spent.saturating_add(self.under_way)
    }

    /// Whether a cost must wait for a grant. Asks ahead, so that it seldom must.
    fn ask(&mut self, cost: u64) -> bool {
        let Some(daily) = self.daily else { return false };
        let [current, ..] = self.accounts;
        let (needed, floating) = (self.used() + cost, self.under_way + cost);
        // Ahead of need only within the same share: a restart counts the grant as used, and alarms keep what is theirs.
        let limit = if needed <= self.ordinary { self.ordinary } else { daily };
        let is_short = |margin: u64| needed.saturating_add(margin).min(limit) > current.granted;
        if is_short(self.step / 2) || floating > self.float {
            let granted = needed.saturating_add(self.step).min(limit).max(current.granted);
            let float =
                if floating > self.float { (floating * 2).max(self.step).min(daily) } else { self.float };
            self.asked = Some((granted, float));
        }
        is_short(MARGIN) || floating > self.float
    }

    fn open(&mut self, day: Day, left: Account, up: Uptime) {
        let is_first = std::mem::replace(&mut self.is_first, false);
        (self.sent, self.received) = (0, 0);
        (self.asked, self.since) = (None, up);
        // What is under way may have passed already.
        let [current, ..] = &mut self.accounts;
        current.spent = current.spent.saturating_add(self.under_way);
        if let Some(at) = self.accounts.iter().position(|account| account.day == day)
            && let Some(upto) = self.accounts.get_mut(..=at)
        {
            upto.rotate_right(1);
        } else {
            let spent = if day == Day::UNSET || !self.may_open(up) { left.spent } else { 0 };
            // The run before this one may have gone over to this day and used the float.
            let before = if is_first { self.float } else { 0 };
            self.accounts.rotate_right(1);
            let granted = spent.saturating_add(self.float);
            self.replace(Account { day, spent: spent.saturating_add(before), granted });
        }
        if day == Day::UNSET {
            self.taken_over = left.spent;
        } else {
            self.find_date();
        }
    }

    /// Counts what was used while the date was unknown for the present day.
    fn find_date(&mut self) {
        let Some(at) = self.accounts.iter().position(|account| account.day == Day::UNSET) else { return };
        let Some(unset) = self.accounts.get_mut(at) else { return };
        let more = unset.spent.saturating_sub(self.taken_over);
        *unset = Account { day: Day(i64::MAX), ..Account::default() };
        self.taken_over = 0;
        let [current, ..] = &mut self.accounts;
        current.spent = current.spent.saturating_add(more);
    }

    /// Whether a new day gets a budget of its own.
    fn may_open(&mut self, up: Uptime) -> bool {
        let [before, last] = self.opened;
        let may = before.is_none_or(|before| up.since(before) >= NEW_DAYS_SPAN);
        if may {
            self.opened = [last, Some(up)];
        }
        may
    }

    fn replace(&mut self, account: Account) {
        let [current, ..] = &mut self.accounts;
        *current = account;
    }
}

#[cfg(test)]
mod tests;
