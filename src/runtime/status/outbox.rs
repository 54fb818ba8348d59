//! `R/status/outbox`: what waits to be delivered, and how long the space lasts.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::Uptime;
use crate::outbox::{DiskState, Lane};
use crate::runtime::outbox::OutboxReport;
use crate::runtime::power_fail::Flushed;

/// The lanes, the space, the disk.
pub(in crate::runtime::status) fn outbox_json(report: &OutboxReport, flushed: Option<Flushed>) -> Value {
    let lanes: Map<String, Value> = Lane::ALL
        .into_iter()
        .zip(&report.lanes)
        .map(|(lane, stat)| {
            let oldest = stat.oldest.map(|at| at.0.div_euclid(1_000_000));
            let row = json!({"records": stat.records, "bytes": stat.bytes.0, "oldest": oldest});
            (lane.as_str().to_owned(), row)
        })
        .collect();
    let free = report.size_max.0.saturating_sub(report.used.0) as f64;
    // A tenth of an hour is as exact as an average of the past can be.
    let hours = match report.disk {
        DiskState::Ok => (report.fill_rate > 0.0).then(|| (free / report.fill_rate / 360.0).round() / 10.0),
        // Whatever room the quota leaves, it cannot be used.
        DiskState::Full | DiskState::ReadOnly | DiskState::Failing => Some(0.0),
    };
    json!({
        "lanes": lanes, "bytes": report.used.0, "limit": report.size_max.0,
        "fill_bytes_per_second": report.fill_rate.round(), "hours_of_autonomy": hours,
        "disk": report.disk.as_str(), "memory": {"records": report.held, "bytes": report.held_bytes.0},
        "write_amplification": report.amplification.map(|times| (times * 100.0).round() / 100.0),
        "written_bytes_per_day": report.written_a_day.0,
        "power_fail": flushed.map(power_fail),
    })
}

/// The last time the supply failed: seconds of uptime, and how long the flush took.
fn power_fail(flushed: Flushed) -> Value {
    json!({
        "uptime_s": flushed.edge.since(Uptime::ZERO).as_secs(), "records": flushed.records,
        "stored_ms": millis(flushed.stored_after), "all_ms": millis(flushed.all_after),
        "durable": flushed.is_durable,
    })
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
