//! Whether there is a connection, and when to try again.

use std::time::Duration;

use crate::clock::Uptime;
use crate::forward::Backoff;

/// Where the link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; the next attempt is due then.
    Waiting {
        /// When.
        until: Uptime,
    },
    /// An attempt is under way.
    Connecting {
        /// Since when.
        since: Uptime,
    },
    /// Connected.
    Up {
        /// Since when.
        since: Uptime,
    },
}

/// The link with its back-off. Also fit for a broker that is not forwarded to: the plant's.
#[derive(Clone, Debug)]
pub struct Link {
    state: LinkState,
    backoff: Backoff,
    /// The present connection has carried an acknowledgement.
    is_proven: bool,
}

/// A connection that stood this long counts as one that worked, even if nothing was sent on it.
const STABLE: Duration = Duration::from_mins(1);

impl Link {
    /// Not connected, the first attempt is due at once.
    pub fn new(backoff: Backoff) -> Self {
        Self::resumed(backoff, Uptime::ZERO)
    }

    /// Not connected, the first attempt is due then.
    pub fn resumed(backoff: Backoff, until: Uptime) -> Self {
        Self { state: LinkState::Waiting { until }, backoff, is_proven: false }
    }

    /// Where it stands.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Whether it is time to connect.
    pub fn due(&self, now: Uptime) -> bool {
        matches!(self.state, LinkState::Waiting { until } if until <= now)
    }

    /// Whether it is connected.
    pub fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    /// An attempt has begun.
    pub fn connecting(&mut self, now: Uptime) {
        self.state = LinkState::Connecting { since: now };
    }

    /// The broker has welcomed us.
    pub fn connected(&mut self, now: Uptime) {
        self.state = LinkState::Up { since: now };
        self.is_proven = false;
    }

    /// The attempt failed or the connection ended; `random` is uniform in 0 to 1.
    pub fn disconnected(&mut self, now: Uptime, random: f64) {
        self.settle(now);
        self.state = LinkState::Waiting { until: now.after(self.backoff.fail(random)) };
    }

    /// The broker does not want us as we are: a person has to mend that.
    pub fn refused(&mut self, now: Uptime, random: f64) {
        self.state = LinkState::Waiting { until: now.after(self.backoff.fail_hard(random)) };
    }

    /// Ended at a record that is being hunted down: the broker is there, and the rest waits for the end of the hunt.
    pub fn hunted(&mut self, now: Uptime, random: f64) {
        self.state = LinkState::Waiting { until: now.after(self.backoff.glance(random)) };
    }

    /// Ended by ourselves: no failure.
    pub fn left(&mut self, now: Uptime) {
        self.settle(now);
        self.state = LinkState::Waiting { until: now };
    }

    /// A connection that stood clears the record.
    fn settle(&mut self, now: Uptime) {
        if let LinkState::Up { since } = self.state
            && now.since(since) >= STABLE
        {
            self.backoff.reset();
        }
    }

    /// Something has been delivered.
    pub fn proven(&mut self) {
        self.backoff.reset();
        self.is_proven = true;
    }

    /// The broker has answered something that was no delivery.
    pub fn alive(&mut self) {
        self.is_proven = true;
    }

    /// Whether the present connection has delivered something.
    pub fn is_proven(&self) -> bool {
        self.is_proven && self.is_up()
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// When to look again although nothing has happened.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        match self.state {
            LinkState::Waiting { until } => Some(until),
            LinkState::Connecting { .. } | LinkState::Up { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Uptime {
        Uptime(seconds * 1_000_000_000)
    }

    #[test]
    fn a_broker_that_hangs_up_at_once_is_not_hammered() {
        let mut link = Link::new(Backoff::new(Duration::from_secs(1), Duration::from_mins(15)));
        assert!(link.due(seconds(0)));
        let mut now = seconds(0);
        for failure in 1..=8 {
            link.connecting(now);
            link.connected(now);
            link.disconnected(now, 1.0);
            assert_eq!(link.failures(), failure);
            assert!(!link.due(now));
            now = link.poll_timeout().unwrap();
            assert!(link.due(now));
        }
        assert_eq!(now, seconds(255));
        link.connected(now);
        link.disconnected(now.after(STABLE), 1.0);
        assert_eq!(link.failures(), 1, "a minute of connection clears the record");
    }
}
