//! What the cabinet shows: the rhythm of the light and the relay, from the state of the gateway.

use std::time::Duration;

use crate::clock::Uptime;
use crate::device::seam::{LedPattern, RelayState};

/// Longest silence of the gateway after which the relay falls: longer than the gateway is ever silent while it works,
/// shorter than anyone waits who relies on it.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What the gateway thinks of itself.
#[expect(clippy::struct_excessive_bools, reason = "each is told by another, and any of them may hold")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Panel {
    /// It has said so at all: nothing is shown and nothing is held before.
    pub known: bool,
    /// Something needs a person.
    pub degraded: bool,
    /// It does not do its work.
    pub down: bool,
    /// Alarms that stand.
    pub alarms: usize,
    /// An operator has paused streams.
    pub paused: bool,
}

/// Holds the relay only as long as somebody who works says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relay {
    asked: RelayState,
    at: Uptime,
}

impl Panel {
    /// The rhythm of the light. The most urgent wins.
    pub fn led(self) -> LedPattern {
        if !self.known || self.down {
            LedPattern::Off
        } else if self.alarms > 0 {
            LedPattern::Alarm
        } else if self.paused {
            LedPattern::Paused
        } else if self.degraded {
            LedPattern::Degraded
        } else {
            LedPattern::Up
        }
    }

    /// The relay: held while the gateway works and no alarm stands. That a broker is away is no alarm.
    pub fn relay(self) -> RelayState {
        if self.known && !self.down && self.alarms == 0 { RelayState::Held } else { RelayState::Fallen }
    }
}

impl Relay {
    /// What the gateway asks for, again and again while it works.
    pub fn ask(&mut self, state: RelayState, now: Uptime) {
        (self.asked, self.at) = (state, now);
    }

    /// What it is.
    pub fn state(&self, now: Uptime) -> RelayState {
        if now.since(self.at) > SILENCE_MAX { RelayState::Fallen } else { self.asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_the_relay_is_fallen() {
        let well = Panel { known: true, ..Panel::default() };
        assert_eq!((well.led(), well.relay()), (LedPattern::Up, RelayState::Held));
        for (panel, led) in [
            (Panel::default(), LedPattern::Off),
            (Panel { down: true, ..well }, LedPattern::Off),
            (Panel { alarms: 1, paused: true, degraded: true, ..well }, LedPattern::Alarm),
            (Panel { alarms: 2, down: true, ..well }, LedPattern::Off),
        ] {
            assert_eq!((panel.led(), panel.relay()), (led, RelayState::Fallen), "{panel:?}");
        }
        for (panel, led) in [
            (Panel { degraded: true, ..well }, LedPattern::Degraded),
            (Panel { degraded: true, paused: true, ..well }, LedPattern::Paused),
        ] {
            assert_eq!((panel.led(), panel.relay()), (led, RelayState::Held), "{panel:?}");
        }
    }

    #[test]
    fn a_gateway_that_says_nothing_any_more_lets_the_relay_fall() {
        let seconds = |seconds| Uptime::ZERO.after(Duration::from_secs(seconds));
        let mut relay = Relay::default();
        assert_eq!(relay.state(seconds(0)), RelayState::Fallen);
        relay.ask(RelayState::Held, seconds(1));
        assert_eq!(relay.state(seconds(6)), RelayState::Held);
        assert_eq!(relay.state(seconds(7)), RelayState::Fallen);
        relay.ask(RelayState::Held, seconds(8));
        relay.ask(RelayState::Fallen, seconds(9));
        assert_eq!(relay.state(seconds(9)), RelayState::Fallen);
    }
}
