//! `R/status/budget`: what heat, memory and power allow, and why.

use serde_json::{Map, Value, json};

use crate::flow::Priority;
use crate::runtime::status::Sources;
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Purpose, heap_bytes};
use crate::units::Bytes;

/// What heat and memory allow, and what is shed for it.
pub(in crate::runtime::status) fn budget_json(sources: &Sources, memory_max: Bytes) -> Value {
    let budget = *sources.budget.borrow();
    let governor = sources.governor.borrow();
    let refused = |priority: &Priority| !budget.admit.allows(*priority);
    let shedding: Vec<&str> = Priority::ALL.iter().filter(|p| refused(p)).map(|p| p.as_str()).collect();
    let pauses = sources.pauses.borrow();
    let paused: Vec<&str> = pauses.streams().map(|stream| &**stream).collect();
    let shed = sources.metrics.stage(Stage::Infer).tally.dropped(DropReason::Budget);
    json!({
        "level": budget.level.as_str(), "reason": budget.reason.as_str(), "stretch": budget.stretch,
        "temperature": governor.temperature.map(|celsius| celsius.0),
        "headroom": governor.headroom, "trip": governor.target.map(|target| target.0),
        "memory": sources.metrics.get(Metric::MemoryBytes), "memory_limit": memory_max.0,
        "memory_by": memory_by(sources), "heap": heap_bytes(),
        "paused": paused, "shedding": shedding, "shed": shed,
    })
}

/// Bytes of the heap by stage and by model.
fn memory_by(sources: &Sources) -> Map<String, Value> {
    let stages = Purpose::STAGES.iter().map(|purpose| (purpose.as_str().to_owned(), purpose.held().bytes));
    let models = sources.models.borrow();
    let models = models
        .iter()
        .enumerate()
        .map(|(place, model)| (format!("model {}", model.id), Purpose::Model(place).held().bytes));
    stages.chain(models).map(|(what, bytes)| (what, json!(bytes))).collect()
}
