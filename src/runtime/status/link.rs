//! `R/status/link`: how the link upstream stands.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Uptime;
use crate::forward::{LinkState, Loss, Status};

/// The link in figures; as long as nobody has spoken of it, it waits.
pub(in crate::runtime) fn link_json(
    status: Option<Status>,
    now: Uptime,
    certificate_days: Option<u64>,
) -> Value {
    let Some(status) = status else { return json!({"state": "waiting"}) };
    let state = match (status.state, status.spent) {
        (LinkState::Waiting { .. }, true) => "spent",
        (LinkState::Waiting { .. }, false) => "waiting",
        (LinkState::Connecting { .. }, _) => "connecting",
        (LinkState::Up { .. }, _) => "up",
    };
    let counts = status.counts;
    json!({
        "state": state, "failures": status.failures,
        "last_loss": status.last_loss.map(Loss::as_str),
        "next_attempt_s": status.next_attempt.map(|at| at.since(now).as_secs()),
        "rtt_ms": status.round_trip.map(millis), "bytes_per_second": status.rate, "batch_bytes": status.batch.0,
        "today": {"sent": status.sent_today.0, "received": status.received_today.0},
        "bytes_today": status.sent_today.0 + status.received_today.0,
        "daily": status.daily.map(|daily| daily.0), "daily_left": status.daily_left.map(|left| left.0),
        "in_flight": status.in_flight, "half_open": counts.half_open, "set_aside": counts.set_aside,
        "certificate_days_left": certificate_days,
        "batches": {
            "sent": counts.sent, "live": counts.live, "acked": counts.acked, "refused": counts.refused,
            "taken_back": counts.taken_back, "lost": counts.lost,
        },
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Counts;
    use crate::units::Bytes;

    #[test]
    fn the_link_tells_why_it_is_down_and_what_the_day_has_left() {
        assert_eq!(link_json(None, Uptime::ZERO, None)["state"], "waiting");
        let until = Uptime::ZERO.after(Duration::from_secs(90));
        let status = Status {
            state: LinkState::Waiting { until },
            failures: 3,
            last_loss: Some(Loss::HalfOpen),
            spent: false,
            next_attempt: Some(until),
            sent_today: Bytes(700),
            received_today: Bytes(50),
            daily: Some(Bytes(1_000)),
            daily_left: Some(Bytes(250)),
            in_flight: 0,
            rate: Some(300),
            batch: Bytes(2_048),
            round_trip: Some(Duration::from_millis(620)),
            counts: Counts { half_open: 1, ..Counts::default() },
        };
        let json = link_json(Some(status), Uptime::ZERO.after(Duration::from_secs(30)), Some(29));
        assert_eq!((&json["state"], &json["last_loss"]), (&json!("waiting"), &json!("half-open")));
        assert_eq!((&json["next_attempt_s"], &json["bytes_today"]), (&json!(60), &json!(750)));
        assert_eq!(json["certificate_days_left"], 29);
        assert_eq!((&json["daily_left"], &json["half_open"]), (&json!(250), &json!(1)));
        let spent = Status { spent: true, ..status };
        assert_eq!(link_json(Some(spent), until, None)["state"], "spent");
    }
}
