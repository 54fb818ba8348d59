//! `R/status/models`: every model, its state and what it costs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::infer::{ModelState, ModelStatus};

/// State and figures of every model.
pub(in crate::runtime::status) fn models_json(models: &[ModelStatus]) -> Value {
    let row = |model: &ModelStatus| {
        let (state, reason) = match &model.state {
            ModelState::Ready => ("ready", None),
            ModelState::Unloaded => ("unloaded", None),
            ModelState::Loading => ("loading", None),
            ModelState::Quarantined(reason) => ("quarantined", Some(reason.as_str().to_owned())),
            ModelState::Refused(why) => ("refused", Some(why.clone())),
        };
        let micros = |took: Option<Duration>| took.map(|took| took.as_micros() as f64);
        json!({
            "model": &*model.id, "sha256": model.sha256.map(|digest| digest.to_string()),
            "memory": model.memory_bytes, "state": state, "reason": reason,
            "judged": model.judged, "failed": model.failed, "entities": model.reports.entities,
            "cut_words": model.reports.cut_words,
            "cut_entities": model.reports.cut_entities, "unmarked": model.reports.unmarked,
            "latency_us": {"p50": micros(model.p50), "p99": micros(model.p99)},
        })
    };
    json!({"models": models.iter().map(row).collect::<Vec<_>>()})
}
