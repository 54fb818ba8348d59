//! When to ping, and when a connection counts as dead. Told what happens and when; reads no clock.
//!
//! # Invariants
//! * A packet of ours goes out at least every keep-alive, and a ping when nothing was received for so long.
//! * Any byte of the broker is a sign of life. A link without traffic that is cut is found out within one and a half
//!   keep-alives and a round trip; with publishes under way within what those take on the slowest link besides.
//! * Neither a broker that takes nothing nor one that never ends a packet is waited for for ever.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of the slowest link that is served, 2.4 kbit/s, bytes per second: what is under way at this rate is
/// waited for in addition, since the answer to a ping queues behind it.
const RATE_MIN: u64 = 200;

/// Longest addition for what is under way. Half-open connections with more are the forwarder's and the kernel's to
/// find.
const ADDITION_MAX: Duration = Duration::from_mins(10);

/// The state of one connection.
#[derive(Debug)]
pub(in crate::io::mqtt) struct Supervision {
    keep_alive: Duration,
    grace: Duration,
    sent: Instant,
    received: Instant,
    /// When the first ping was sent that nothing has followed.
    ping: Option<Instant>,
    /// Since when there is something to write and the broker takes nothing.
    blocked: Option<Instant>,
    /// Until when the packet that has begun must be complete.
    whole: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io::mqtt) enum Duty {
    /// Nothing until then.
    Wait(Instant),
    /// Send a ping.
    Ping,
    /// Give up.
    Dead(&'static str),
}

impl Supervision {
    /// A connection that has just been welcomed. A ping is waited for as long as `grace`.
    pub(in crate::io::mqtt) fn new(keep_alive: Duration, grace: Duration, now: Instant) -> Self {
        Self { keep_alive, grace, sent: now, received: now, ping: None, blocked: None, whole: None }
    }

    /// Bytes have come.
    pub(in crate::io::mqtt) fn received(&mut self, now: Instant) {
        self.received = now;
        self.ping = None;
    }

    /// A packet is complete.
    pub(in crate::io::mqtt) fn complete(&mut self) {
        self.whole = None;
    }

    /// A packet of so many bytes has begun and is not complete.
    pub(in crate::io::mqtt) fn incomplete(&mut self, size: usize, now: Instant) {
        let patience = self.keep_alive + self.grace + transfer(size);
        self.whole.get_or_insert(now + patience);
    }

    /// The socket took some bytes or none, and more is waiting or not.
    pub(in crate::io::mqtt) fn wrote(&mut self, some: bool, waiting: bool, now: Instant) {
        if some {
            self.sent = now;
            self.blocked = None;
        }
        if waiting {
            self.blocked.get_or_insert(now);
        } else {
            self.blocked = None;
        }
    }

    /// A ping has been queued.
    pub(in crate::io::mqtt) fn pinged(&mut self, now: Instant) {
        self.sent = now;
        self.ping.get_or_insert(now);
    }

    /// What is to be done while so many bytes are under way.
    pub(in crate::io::mqtt) fn duty(&self, under_way: usize, now: Instant) -> Duty {
        let addition = transfer(under_way).min(ADDITION_MAX);
        let stuck = self.blocked.map(|since| since + self.keep_alive + self.grace + addition);
        let silent = self.ping.map(|sent| sent + self.grace + addition);
        let limits = [
            (stuck, "it takes nothing any more; check the link"),
            (silent, "a ping was not answered; check the link, or raise keep_alive"),
            (self.whole, "a packet was begun and not ended; check the link"),
        ];
        for (limit, reason) in limits {
            if limit.is_some_and(|limit| now >= limit) {
                return Duty::Dead(reason);
            }
        }
        let quiet = if self.ping.is_none() { self.sent.min(self.received) } else { self.sent };
        let ping = quiet + self.keep_alive;
        if now >= ping && self.blocked.is_none() {
            return Duty::Ping;
        }
        let ping = if self.blocked.is_none() { Some(ping) } else { None };
        let next = [stuck, silent, self.whole, ping].into_iter().flatten().min();
        Duty::Wait(next.unwrap_or(now + self.keep_alive))
    }
}

/// How long so many bytes take on the slowest link.
fn transfer(bytes: usize) -> Duration {
    Duration::from_millis(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000 / RATE_MIN))
}
