//! `R/status/health`: one word, the reason and its remedy.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock::Uptime;
use crate::flow::BudgetReason;
use crate::infer::{ModelState, ModelStatus};
use crate::outbox::DiskState;
use crate::runtime::outbox::{OutboxReport, remedy};
use crate::runtime::starts::{CRASHES_MAX, CRASHES_WITHIN};
use crate::runtime::status::Sources;
use crate::telemetry::{Metric, Task};

/// What the report itself knows of the state, besides its sources.
pub(in crate::runtime::status) struct Seen<'a> {
    /// What is wrong with a certificate.
    pub(in crate::runtime::status) certificate: Option<&'a str>,
    /// Whether the plant's broker is there.
    pub(in crate::runtime::status) is_connected: bool,
}

/// The state in one word, and its reason.
pub(in crate::runtime::status) fn verdict(
    sources: &Sources,
    seen: &Seen<'_>,
    now: Uptime,
) -> (&'static str, String) {
    match sources.progress.stalled(now) {
        Some(task) => ("down", format!("{} makes no progress", task.as_str())),
        None => match complaint(sources, seen, now) {
            Some(reason) => ("degraded", reason),
            None => ("up", "ok".to_owned()),
        },
    }
}

/// The state in one word, its reason, and of every task whether it moves.
pub(in crate::runtime::status) fn health_json(
    sources: &Sources,
    (status, reason): (&str, String),
    now: Uptime,
) -> String {
    let stages: Map<String, Value> = Task::ALL
        .into_iter()
        .map(|task| {
            let alive = sources.progress.silence(task, now) <= task.silence_max();
            (task.as_str().to_owned(), json!(if alive { "moving" } else { "stalled" }))
        })
        .collect();
    json!({"status": status, "reason": reason, "pid": std::process::id(), "stages": stages}).to_string()
}

/// The most serious thing that is wrong.
fn complaint(sources: &Sources, seen: &Seen<'_>, now: Uptime) -> Option<String> {
    safe_mode(sources)
        .or_else(|| bad_model(sources))
        .or_else(|| bad_disk(sources))
        .or_else(|| refusals(sources))
        // A sensor at fault is told by its own name before what comes of it.
        .or_else(|| sources.hardware.complaint(now))
        .or_else(|| bad_board(sources))
        .or_else(|| lost_flags(sources))
        .or_else(|| seen.certificate.map(str::to_owned))
        .or_else(|| (!seen.is_connected).then(|| "the plant broker is away".to_owned()))
}

fn safe_mode(sources: &Sources) -> Option<String> {
    sources.is_safe_mode.then(|| {
        let minutes = CRASHES_WITHIN.as_secs() / 60;
        format!(
            "safe mode: {CRASHES_MAX} runs crashed within {minutes} min, no model is loaded: \
             read the log of the crashes, mend or remove what causes them, delete starts in state_dir, then restart it, \
             it stays so until then"
        )
    })
}

fn bad_model(sources: &Sources) -> Option<String> {
    // One that takes turns with others is where it should be.
    let is_bad = |model: &ModelStatus| match model.state {
        ModelState::Ready | ModelState::Unloaded | ModelState::Loading => false,
        ModelState::Quarantined(_) | ModelState::Refused(_) => true,
    };
    let bad = sources.models.borrow().iter().find(|model| is_bad(model)).map(|model| Arc::clone(&model.id));
    bad.map(|id| format!("model {id} is not in use: status/models says why"))
}

fn bad_disk(sources: &Sources) -> Option<String> {
    let OutboxReport { disk, held, .. } = sources.outbox.borrow().clone();
    (disk != DiskState::Ok).then(|| {
        let (disk, remedy) = (disk.as_str(), remedy(disk));
        format!("the disk of the outbox is {disk}, {held} records wait in memory: {remedy}")
    })
}

/// What sheds work although nothing is too hot: somebody has to go there.
fn bad_board(sources: &Sources) -> Option<String> {
    let budget = sources.governor.borrow().budget;
    let (what, remedy) = match budget.reason {
        BudgetReason::SensorFault => (
            "a temperature is lost, frozen or absurd",
            "compare gateway.board and budget.cabinet with tidegate selftest",
        ),
        BudgetReason::UnderVoltage => ("the supply is too weak", "take a stronger one, or a shorter cable"),
        BudgetReason::None
        | BudgetReason::Temperature
        | BudgetReason::Memory
        | BudgetReason::Battery
        | BudgetReason::PowerFail
        | BudgetReason::Cabinet
        | BudgetReason::Throttled => return None,
    };
    Some(format!("{what}, level {}: {remedy}", budget.level.as_str()))
}

fn lost_flags(sources: &Sources) -> Option<String> {
    sources.governor.borrow().flags_lost.then(|| {
        "what the board says of its supply and its clock cannot be read: see tidegate selftest".to_owned()
    })
}

fn refusals(sources: &Sources) -> Option<String> {
    let refused = sources.metrics.get(Metric::PlantRefused);
    (refused > 0).then(|| format!("the plant broker refuses {refused} subscriptions: see the log"))
}
