//! Version, time and instance of every message, and the last one.

use serde_json::json;

use crate::clock::{Clock, SystemClock};
use crate::runtime::status::topics::HEALTH;

/// What `R/status/health` says after the orderly end.
pub(in crate::runtime) fn last_health(clock: &SystemClock, instance: &str) -> String {
    let health = json!({"status": "down", "reason": "stopped", "pid": std::process::id(), "stages": {}});
    stamped(clock, instance, HEALTH, &health.to_string())
}

/// Puts version, time and instance into a JSON object; into health also the Unix time that watchers of other services
/// expect.
pub(in crate::runtime) fn stamped(clock: &SystemClock, instance: &str, name: &str, text: &str) -> String {
    let ts = utc_text(clock);
    let time = match name {
        HEALTH => format!("\"time\":{},", clock.utc().micros.div_euclid(1_000_000)),
        _ => String::new(),
    };
    text.replacen('{', &format!("{{\"v\":1,\"ts\":\"{ts}\",\"instance\":\"{instance}\",{time}"), 1)
}

/// The wall time as RFC 3339 text.
pub(in crate::runtime::status) fn utc_text(clock: &SystemClock) -> String {
    jiff::Timestamp::from_microsecond(clock.utc().micros)
        .map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.3}"))
}
