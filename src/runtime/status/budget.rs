//! `R/status/budget`: what heat, memory, supply and processor allow, why, and what it costs.

use serde_json::{Map, Value, json};

use crate::clock::Uptime;
use crate::flow::{Budget, MemoryReading, PowerReading, Priority, Sensed, VariantRule};
use crate::governor::GovernorStatus;
use crate::infer::ModelStatus;
use crate::runtime::status::Sources;
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Purpose, heap_bytes};
use crate::units::{Bytes, Celsius, Millicores};

/// What is allowed, by what was measured, and what is shed for it.
pub(in crate::runtime::status) fn budget_json(sources: &Sources, memory_max: Bytes, now: Uptime) -> Value {
    let budget = *sources.budget.borrow();
    let governor = *sources.governor.borrow();
    let models = sources.models.borrow().clone();
    let pauses = sources.pauses.borrow().clone();
    let refused = |priority: &Priority| !budget.admit.allows(*priority);
    let shedding: Vec<&str> = Priority::ALL.iter().filter(|p| refused(p)).map(|p| p.as_str()).collect();
    let paused: Vec<&str> = pauses.streams().map(|stream| &**stream).collect();
    let shed =
        [Metric::ShedAlarms, Metric::ShedNormal, Metric::ShedBulk].map(|metric| sources.metrics.get(metric));
    let shed_by: Map<String, Value> = Priority::ALL
        .iter()
        .zip(shed)
        .map(|(class, shed)| (class.as_str().to_owned(), json!(shed)))
        .collect();
    let shed_total: u64 = shed.iter().sum();
    let mut told = level(budget, &governor, now);
    told.extend(heat(&governor));
    told.extend(memory(&governor.memory, &models));
    told.extend(object(json!({
        "cpu": {"allowed": cores(budget.cpu), "used": used(&models)},
        "power": power(&governor.power),
        "memory": sources.metrics.get(Metric::MemoryBytes), "memory_limit": memory_max.0,
        "shedding": shedding, "shed_by": shed_by, "shed_total": shed_total, "shed": sources.metrics.stage(Stage::Infer).tally.dropped(DropReason::Budget),
        "paused": paused, "safe_mode": sources.is_safe_mode,
    })));
    Value::Object(told)
}

fn level(budget: Budget, governor: &GovernorStatus, now: Uptime) -> Map<String, Value> {
    let variant = match budget.variant {
        VariantRule::Best => "best",
        VariantRule::Cheapest => "cheapest",
        VariantRule::Smallest => "smallest",
    };
    object(json!({
        "level": budget.level.as_str(), "reason": budget.reason.as_str(),
        "since_s": now.since(governor.since).as_secs(), "changes": governor.changes,
        "stretch": budget.stretch, "variant": variant, "spare_flash": budget.spare_flash,
    }))
}

fn heat(governor: &GovernorStatus) -> Map<String, Value> {
    object(json!({
        "temperature": governor.temperature.map(degrees), "forecast": governor.forecast.map(degrees),
        "headroom": governor.headroom.map(|share| rounded(share, 100.0)),
        "trip": governor.trip.map(degrees), "target": governor.target.map(degrees),
        "cabinet": sensed(governor.cabinet, degrees),
        "clock": governor.clock.map(|share| rounded(share.get(), 100.0)),
        "throttled": flag(governor, governor.throttled),
        "under_voltage": flag(governor, governor.under_voltage),
    }))
}

/// What the board says of its supply and its clock, where it can be read.
fn flag(governor: &GovernorStatus, is_set: bool) -> Value {
    if governor.flags_lost { json!("lost") } else { json!(is_set) }
}

/// By stage and by model, where the heap is counted; and what the kernel says.
fn memory(reading: &MemoryReading, models: &[ModelStatus]) -> Map<String, Value> {
    let stages = Purpose::STAGES.iter().map(|purpose| (purpose.as_str().to_owned(), purpose.held().bytes));
    let models = models
        .iter()
        .enumerate()
        .map(|(place, model)| (format!("model {}", model.id), Purpose::Model(place).held().bytes));
    let by: Map<String, Value> = stages.chain(models).map(|(what, bytes)| (what, json!(bytes))).collect();
    let group = reading.group.map(|group| {
        json!({
            "used": group.used.0, "max": group.max.map(|max| max.0), "high": group.high.map(|high| high.0),
            "refused": group.refused, "killed": group.killed,
        })
    });
    object(json!({
        "memory_by": by, "heap": heap_bytes(), "group": group, "available": reading.available.map(|bytes| bytes.0),
        "stalled": reading.stalled.map(|share| rounded(share.get(), 1_000.0)),
    }))
}

fn power(power: &PowerReading) -> Value {
    json!({
        "source": power.source.as_str(), "failing": power.failing,
        "charge": sensed(power.charge, |share| rounded(share.get(), 100.0)),
        "volts": sensed(power.voltage, |volts| rounded(volts.0, 100.0)),
        "watts": sensed(power.draw, |watts| rounded(watts.0, 100.0)),
    })
}

/// `null` where nothing measures, `"lost"` where what measures says nothing.
fn sensed<T: Copy>(value: Sensed<T>, show: impl Fn(T) -> f64) -> Value {
    match value {
        Sensed::Absent => Value::Null,
        Sensed::Lost => json!("lost"),
        Sensed::Known(value) => json!(show(value)),
    }
}

/// Processor time all models take of late, in cores.
fn used(models: &[ModelStatus]) -> f64 {
    // A sum of floats over nothing is -0.
    models.iter().map(|model| u64::from(model.cpu.0)).sum::<u64>() as f64 / 1_000.0
}

/// `null` where nothing is limited.
fn cores(cpu: Millicores) -> Option<f64> {
    (cpu != Millicores::UNLIMITED).then(|| f64::from(cpu.0) / 1_000.0)
}

fn degrees(celsius: Celsius) -> f64 {
    rounded(celsius.0, 10.0)
}

/// As exact as it is measured: what moves less is not told as a change.
fn rounded(value: f32, steps: f64) -> f64 {
    (f64::from(value) * steps).round() / steps
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
