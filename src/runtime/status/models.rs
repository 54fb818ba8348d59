//! `R/status/models`: every model, its state and what it costs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::governor::energy;
use crate::infer::{ModelState, ModelStatus};
use crate::units::Watts;

/// State and figures of every model; a busy core of this board draws so much.
pub(in crate::runtime::status) fn models_json(models: &[ModelStatus], core: Option<Watts>) -> Value {
    json!({"models": models.iter().map(|model| row(model, core)).collect::<Vec<_>>()})
}

fn row(model: &ModelStatus, core: Option<Watts>) -> Value {
    let (state, reason) = match &model.state {
        ModelState::Ready => ("ready", None),
        ModelState::Unloaded => ("unloaded", None),
        ModelState::Loading => ("loading", None),
        ModelState::Quarantined(reason) => ("quarantined", Some(reason.as_str().to_owned())),
        ModelState::Refused(why) => ("refused", Some(why.clone())),
    };
    let micros = |took: Option<Duration>| took.map(|took| took.as_micros() as f64);
    let energy_mj = model.spent_each().zip(core).map(|(spent, core)| energy(spent, core).0 * 1e3);
    let variants: Vec<&str> = model.variants.iter().map(|variant| &**variant).collect();
    json!({
        "model": &*model.id, "variant": model.variant.as_deref(), "variants": variants,
        "sha256": model.sha256.map(|digest| digest.to_string()),
        "state": state, "reason": reason, "resident": model.resident,
        "memory": model.memory_bytes, "memory_predicted": model.memory_predicted, "load_peak": model.load_peak,
        "loads": model.loads, "unloads": model.unloads, "hangs": model.hangs,
        "judged": model.judged, "failed": model.failed,
        "entities": model.reports.entities, "cut_words": model.reports.cut_words,
        "cut_entities": model.reports.cut_entities, "unmarked": model.reports.unmarked,
        "cpu_share": f64::from(model.cpu.0) / 1e3, "spent_us": micros(model.spent_each()),
        "energy_mj": energy_mj.map(|energy| (f64::from(energy) * 1e3).round() / 1e3),
        "latency_us": {"p50": micros(model.p50), "p99": micros(model.p99)},
    })
}
