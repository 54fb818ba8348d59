//! What the gateway asks of its hardware: the panel shows how it is, the watchdog is fed.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::device::Panel;
use crate::device::seam::HardwareCommand;
use crate::runtime::retry::best_effort;

/// The way to the lines; without lines nothing is asked.
#[derive(Clone)]
pub(in crate::runtime) struct HardwareCommands {
    way: Option<mpsc::Sender<HardwareCommand>>,
    panel: Arc<watch::Sender<Panel>>,
}

impl HardwareCommands {
    pub(in crate::runtime) fn new(way: Option<mpsc::Sender<HardwareCommand>>) -> Self {
        Self { way, panel: Arc::new(watch::channel(Panel::default()).0) }
    }

    /// Asks once. What finds no room is asked again within a second: light and relay by the next report of health.
    pub(in crate::runtime) fn send(&self, command: HardwareCommand) {
        if let Some(way) = &self.way {
            best_effort(way.try_send(command));
        }
    }

    /// The word of `status/health`, told every second: as long as it is told, the relay may be held.
    pub(in crate::runtime) fn health(&self, word: &str) {
        self.show(|panel| Panel { known: true, degraded: word == "degraded", down: word == "down", ..panel });
    }

    /// How many alarms stand.
    pub(in crate::runtime) fn alarms(&self, standing: usize) {
        if self.panel.borrow().alarms != standing {
            self.show(|panel| Panel { alarms: standing, ..panel });
        }
    }

    /// Whether an operator has paused a stream.
    pub(in crate::runtime) fn paused(&self, paused: bool) {
        if self.panel.borrow().paused != paused {
            self.show(|panel| Panel { paused, ..panel });
        }
    }

    fn show(&self, change: impl FnOnce(Panel) -> Panel) {
        self.panel.send_modify(|panel| *panel = change(*panel));
        let panel = *self.panel.borrow();
        self.send(HardwareCommand::Relay(panel.relay()));
        self.send(HardwareCommand::Led(panel.led()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::seam::{LedPattern, RelayState};

    #[test]
    fn an_alarm_lets_the_relay_fall_at_once_and_health_is_told_again_and_again() {
        let (way, mut asked) = mpsc::channel(16);
        let commands = HardwareCommands::new(Some(way));
        let mut told = || std::iter::from_fn(|| asked.try_recv().ok()).collect::<Vec<_>>();
        let shows = |relay, led| vec![HardwareCommand::Relay(relay), HardwareCommand::Led(led)];
        commands.alarms(0);
        assert!(told().is_empty());
        commands.health("up");
        commands.health("up");
        let well = shows(RelayState::Held, LedPattern::Up);
        assert_eq!(told(), [well.clone(), well].concat());
        commands.clone().alarms(1);
        assert_eq!(told(), shows(RelayState::Fallen, LedPattern::Alarm));
        commands.health("degraded");
        assert_eq!(told(), shows(RelayState::Fallen, LedPattern::Alarm));
        commands.alarms(0);
        assert_eq!(told(), shows(RelayState::Held, LedPattern::Degraded));
        commands.health("down");
        assert_eq!(told(), shows(RelayState::Fallen, LedPattern::Off));
    }
}
