//! Tells systemd how the service is. Outside systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service is ready.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service has begun to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Everything moves.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The interval within which the watchdog must be fed, if there is one.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a notify socket there is nobody to tell; with a broken one there is nothing to be done about it.
    drop(sd_notify::notify(state));
}
