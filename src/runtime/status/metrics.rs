//! `R/metrics`: every counter and gauge.

use serde_json::{Map, Value, json};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::runtime::status::stamp::utc_text;
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics, held_by_stage};

/// Every number that is declared, at this moment.
pub(in crate::runtime::status) fn metrics_json(
    metrics: &Metrics,
    clock: &SystemClock,
    instance: &str,
) -> Value {
    let mut values = Map::new();
    for &metric in Metric::ALL {
        values.insert(metric.as_str().to_owned(), json!(metrics.get(metric)));
    }
    let mut stages = Map::new();
    for &stage in Stage::ALL {
        let count = metrics.stage(stage);
        let dropped: Map<String, Value> = DropReason::ALL
            .iter()
            .filter(|&&reason| count.tally.dropped(reason) > 0)
            .map(|&reason| (reason.as_str().to_owned(), json!(count.tally.dropped(reason))))
            .collect();
        let row = json!({"in": count.tally.received, "out": count.tally.passed, "dropped": dropped, "held": count.held});
        stages.insert(stage.as_str().to_owned(), row);
    }
    let memory: Map<String, Value> =
        held_by_stage().map(|(stage, bytes)| (stage.to_owned(), json!(bytes))).collect();
    json!({
        "v": 1, "ts": utc_text(clock), "instance": instance,
        "uptime_s": clock.uptime().since(Uptime::ZERO).as_secs(),
        "stages": stages, "metrics": values, "memory": memory,
    })
}
