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
    /// When the packet that is not complete has begun, and its bytes as far as they are known.
    begun: Option<(Instant, usize)>,
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
        Self { keep_alive, grace, sent: now, received: now, ping: None, blocked: None, begun: None }
    }

    /// Bytes have come.
    pub(in crate::io::mqtt) fn received(&mut self, now: Instant) {
        self.received = now;
        self.ping = None;
    }

    /// A packet is complete.
    pub(in crate::io::mqtt) fn complete(&mut self) {
        self.begun = None;
    }

    /// A packet has begun and is not complete; so many bytes it has, as far as is known.
    pub(in crate::io::mqtt) fn incomplete(&mut self, size: usize, now: Instant) {
        let since = self.begun.map_or(now, |(since, _)| since);
        self.begun = Some((since, size));
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
        let endless = self.begun.map(|(since, size)| since + self.keep_alive + self.grace + transfer(size));
        let silent = self.ping.map(|sent| sent + self.grace + addition);
        let limits = [
            (stuck, "it takes nothing any more; check the link"),
            (silent, "a ping was not answered; check the link, or raise keep_alive"),
            (endless, "a packet was begun and not ended; check the link"),
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
        let next = [stuck, silent, endless, ping].into_iter().flatten().min();
        Duty::Wait(next.unwrap_or(now + self.keep_alive))
    }
}

/// How long so many bytes take on the slowest link.
fn transfer(bytes: usize) -> Duration {
    Duration::from_millis(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000 / RATE_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_mins(2);
    const GRACE: Duration = Duration::from_mins(1);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn begun() -> (Supervision, Instant) {
        let now = Instant::now();
        (Supervision::new(KEEP_ALIVE, GRACE, now), now)
    }

    #[test]
    fn a_link_without_traffic_is_pinged_and_given_up_after_one_and_a_half_keep_alives() {
        let (mut link, start) = begun();
        assert_eq!(link.duty(0, start + secs(119)), Duty::Wait(start + secs(120)));
        assert_eq!(link.duty(0, start + secs(120)), Duty::Ping);
        link.pinged(start + secs(120));
        assert_eq!(link.duty(0, start + secs(121)), Duty::Wait(start + secs(180)));
        assert!(matches!(link.duty(0, start + secs(180)), Duty::Dead(_)));
    }

    #[test]
    fn a_round_trip_of_20_s_is_no_reason_to_give_up() {
        let (mut link, start) = begun();
        for turn in 1..100 {
            let ping = start + secs(turn * 120);
            assert_eq!(link.duty(0, ping), Duty::Ping);
            link.pinged(ping);
            assert!(matches!(link.duty(0, ping + secs(19)), Duty::Wait(_)));
            link.received(ping + secs(20));
        }
    }

    #[test]
    fn any_byte_is_a_sign_of_life_and_an_answer_is_not_asked_for_twice() {
        let (mut link, start) = begun();
        link.pinged(start + secs(120));
        link.received(start + secs(170));
        assert_eq!(link.duty(0, start + secs(181)), Duty::Wait(start + secs(240)));
        // Without anything to send a broker would give us up: the next ping is due although something came.
        assert_eq!(link.duty(0, start + secs(240)), Duty::Ping);
    }

    #[test]
    fn who_only_sends_asks_whether_anybody_is_there() {
        let (mut link, start) = begun();
        for second in 1..120 {
            link.wrote(true, false, start + secs(second));
        }
        assert_eq!(link.duty(0, start + secs(120)), Duty::Ping, "nothing was received");
    }

    #[test]
    fn what_is_under_way_is_waited_for_at_the_rate_of_the_slowest_link() {
        let (mut link, start) = begun();
        link.pinged(start + secs(120));
        let patience = |link: &Supervision, bytes| {
            (1..10_000).find(|second| matches!(link.duty(bytes, start + secs(*second)), Duty::Dead(_)))
        };
        assert_eq!(patience(&link, 20_000), Some(180 + 100), "100 s for 20,000 bytes");
        assert_eq!(patience(&link, 16 << 20), Some(180 + 600), "but not for ever");
        // While the answer is waited for, the broker hears from us as often as we have promised.
        assert_eq!(link.duty(20_000, start + secs(240)), Duty::Ping);
    }

    #[test]
    fn a_broker_that_takes_nothing_is_given_up_although_it_talks() {
        let (mut link, start) = begun();
        for second in 1..180 {
            link.received(start + secs(second));
            link.wrote(false, true, start + secs(second));
            assert!(matches!(link.duty(0, start + secs(second)), Duty::Wait(_)), "{second}");
        }
        assert!(matches!(link.duty(0, start + secs(181)), Duty::Dead(_)));
        link.wrote(true, true, start + secs(181));
        assert!(matches!(link.duty(0, start + secs(182)), Duty::Wait(_)), "it has taken a byte");
    }

    #[test]
    fn a_large_packet_on_a_slow_link_has_the_time_it_needs_and_no_more() {
        let (mut link, start) = begun();
        // The size is known only with the whole header.
        link.incomplete(1, start);
        link.incomplete(60_000, start + secs(1));
        for second in 2..480 {
            link.received(start + secs(second));
            link.wrote(true, false, start + secs(second));
            assert!(matches!(link.duty(0, start + secs(second)), Duty::Wait(_)), "{second}");
        }
        assert!(matches!(link.duty(0, start + secs(480)), Duty::Dead(_)));
        link.complete();
        assert!(matches!(link.duty(0, start + secs(480)), Duty::Wait(_)));
    }
}
