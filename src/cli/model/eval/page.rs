//! The result of an evaluation, for people and for programs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::exit::say;
use crate::cli::model::eval::tally::{EntityTally, Tally, TaskTally};
use crate::cli::model::list::{say_all, short};
use crate::cli::model::measure::{Timing, span};
use crate::cli::table::table;
use crate::infer::manifest::{Manifest, Task};
use crate::quality::{
    Class, Confusion, ECE_BINS, Mistake, calibration_error, coverage_at, mean_risk, risk_coverage,
};
use crate::units::Bytes;

/// Pairs of labels that are named as most often taken for one another.
const WORST: usize = 5;

/// The precision at which coverage is told, whatever the threshold.
const PRECISION: f64 = 0.95;

/// An evaluation with all that is told of it.
pub(in crate::cli::model::eval) struct Evaluated<'a> {
    pub(in crate::cli::model::eval) manifest: &'a Manifest,
    pub(in crate::cli::model::eval) variant: &'a str,
    pub(in crate::cli::model::eval) data: String,
    pub(in crate::cli::model::eval) timing: Timing,
    pub(in crate::cli::model::eval) memory: Option<u64>,
    pub(in crate::cli::model::eval) tally: &'a Tally,
}

/// The tables for people.
pub(in crate::cli::model::eval) fn describe(found: &Evaluated<'_>) {
    let Evaluated { manifest, variant, data, tally, .. } = found;
    let mut first = format!("{} {variant} on {data}: {} judged", manifest.id(), tally.inputs);
    for (count, what) in [(tally.failed, "failed"), (tally.unmatched, "windows without one clear label")] {
        if count > 0 {
            first = format!("{first}, {count} {what}");
        }
    }
    say(&first);
    if let Some(why) = tally.failure() {
        say(&format!("the model is in quarantine since its first failure: {why}"));
    }
    if let Some(entities) = &tally.entities {
        describe_entities(found, entities);
    } else {
        describe_tasks(found);
    }
    say("");
    let memory = found.memory.map_or("unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    let (p50, p99) = (span(found.timing.p50), span(found.timing.p99));
    say(&format!(
        "one input takes {p50} (p99 {p99}) from features or text to verdict; memory of the network {memory}"
    ));
}

/// One table of all tasks, then one of the classes of each.
fn describe_tasks(found: &Evaluated<'_>) {
    let head = [
        "task",
        "labelled",
        "accuracy",
        "macro-F1",
        "threshold",
        "coverage",
        "precision",
        "at 95 %",
        "ECE",
        "out of scope",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(tasks(found).map(|(task, tally)| summary(task, tally)));
    say_all(&table(&rows));
    for (task, tally) in tasks(found).filter(|(_, tally)| tally.compared() > 0) {
        say("");
        let labels = task.labels.iter().enumerate();
        let rows: Vec<(&str, Class)> =
            labels.map(|(index, label)| (&**label, tally.confusion.class(index))).collect();
        say_all(&table(&classes(name(task), &rows)));
        worst(&tally.confusion, &task.labels);
    }
}

/// One table of all reports, then one of the types.
fn describe_entities(found: &Evaluated<'_>, tally: &EntityTally) {
    let threshold = found.manifest.tags.as_ref().map_or(0.0, |tags| tags.threshold);
    let curve = risk_coverage(&tally.answers);
    let head = [
        "reports",
        "entities",
        "micro-F1",
        "macro-F1",
        "threshold",
        "accepted",
        "their micro-F1",
        "at 95 %",
        "ECE",
        "out of scope",
    ];
    let row = [
        tally.reports.to_string(),
        tally.all.all().support.to_string(),
        format!("{:.3}", tally.all.all().f1()),
        figure(tally.all.macro_f1()),
        format!("{threshold:.3}"),
        figure(tally.coverage()),
        format!("{:.3}", tally.accepted.all().f1()),
        figure((!curve.is_empty()).then(|| coverage_at(&curve, PRECISION))),
        figure(calibration_error(&tally.answers, ECE_BINS)),
        tally.out_of_scope.to_string(),
    ];
    say_all(&table(&[head.map(str::to_owned).to_vec(), row.to_vec()]));
    if tally.left_out > 0 {
        say(&format!("{} entities of types the model does not have were left out", tally.left_out));
    }
    say("");
    let kinds: Vec<(&str, Class)> =
        tally.types.iter().enumerate().map(|(kind, name)| (&**name, tally.all.class(kind))).collect();
    say_all(&table(&classes("type", &kinds)));
    worst(tally.all.same_place(), &tally.types);
}

/// The pairs most often taken for one another.
fn worst(confusion: &Confusion, labels: &[Arc<str>]) {
    let label = |index: usize| labels.get(index).map_or("", |label| &**label);
    for Mistake { truth, predicted, count } in confusion.worst(WORST) {
        say(&format!("{count} {:?} taken for {:?}", label(truth), label(predicted)));
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

fn tasks<'a>(found: &Evaluated<'a>) -> impl Iterator<Item = (&'a Task, &'a TaskTally)> {
    found.manifest.tasks.iter().zip(&found.tally.tasks)
}

fn name(task: &Task) -> &str {
    if task.name.is_empty() { "label" } else { &task.name }
}

/// One line per task.
fn summary(task: &Task, tally: &TaskTally) -> Vec<String> {
    let some = (tally.compared() > 0).then_some(());
    let curve = risk_coverage(&tally.answers);
    vec![
        name(task).to_owned(),
        tally.compared().to_string(),
        figure(tally.confusion.accuracy()),
        figure(tally.confusion.macro_f1()),
        format!("{:.3}", task.threshold),
        figure(some.map(|()| tally.coverage())),
        figure(tally.precision()),
        figure(some.map(|()| coverage_at(&curve, PRECISION))),
        figure(calibration_error(&tally.answers, ECE_BINS)),
        tally.out_of_scope.to_string(),
    ]
}

/// One line per class that occurs.
fn classes(what: &str, found: &[(&str, Class)]) -> Vec<Vec<String>> {
    let head = [what, "true", "answered", "precision", "recall", "F1"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (label, class) in found.iter().filter(|(_, class)| class.is_seen()) {
        let mut row = vec![(*label).to_owned(), class.support.to_string(), class.predicted.to_string()];
        row.extend([class.precision(), class.recall(), class.f1()].map(|value| format!("{value:.3}")));
        rows.push(row);
    }
    rows
}

/// Everything, for programs.
pub(in crate::cli::model::eval) fn json(found: &Evaluated<'_>) -> Value {
    let tasks: Vec<Value> = tasks(found).map(|(task, tally)| task_json(task, tally)).collect();
    json!({
        "v": 1, "model": &**found.manifest.id(), "variant": found.variant, "data": found.data,
        "inputs": found.tally.inputs, "failed": found.tally.failed, "failure": found.tally.failure(), "unmatched": found.tally.unmatched,
        "tasks": tasks,
        "entities": found.tally.entities.as_ref().map(|tally| entities_json(found, tally)), "latency": found.timing.json(1), "memory_measured": found.memory,
    })
}

fn class_json(label: &str, class: Class) -> Value {
    json!({
        "label": label, "true": class.support, "answered": class.predicted,
        "precision": class.precision(), "recall": class.recall(), "f1": class.f1(),
    })
}

/// Counts of a confusion and its worst pairs.
fn confusion_json(confusion: &Confusion, labels: &[Arc<str>]) -> (Vec<Vec<u64>>, Vec<Value>) {
    let label = |index: usize| labels.get(index).map_or("", |label| &**label);
    let row = |truth: usize| (0..confusion.labels()).map(|other| confusion.count(truth, other)).collect();
    let worst = confusion.worst(WORST).into_iter().map(|mistake| {
        json!({ "truth": label(mistake.truth), "answer": label(mistake.predicted), "count": mistake.count })
    });
    ((0..confusion.labels()).map(row).collect(), worst.collect())
}

fn entities_json(found: &Evaluated<'_>, tally: &EntityTally) -> Value {
    let kinds = tally.types.iter().enumerate().map(|(kind, name)| class_json(name, tally.all.class(kind)));
    let (counts, worst) = confusion_json(tally.all.same_place(), &tally.types);
    let curve = risk_coverage(&tally.answers);
    let all = tally.all.all();
    json!({
        "reports": tally.reports, "entities": all.support, "left_out": tally.left_out,
        "micro_f1": all.f1(), "precision": all.precision(), "recall": all.recall(),
        "macro_f1": tally.all.macro_f1(), "coverage": tally.coverage(),
        "threshold": found.manifest.tags.as_ref().map(|tags| short(tags.threshold)),
        "accepted_micro_f1": tally.accepted.all().f1(), "coverage_at_95": coverage_at(&curve, PRECISION),
        "mean_risk": mean_risk(&curve), "ece": calibration_error(&tally.answers, ECE_BINS),
        "out_of_scope": tally.out_of_scope, "types": kinds.collect::<Vec<_>>(), "worst": worst, "same_place": counts,
    })
}

fn task_json(task: &Task, tally: &TaskTally) -> Value {
    let confusion = &tally.confusion;
    let labels = task.labels.iter().enumerate();
    let classes = labels.map(|(index, label)| class_json(label, confusion.class(index)));
    let (counts, worst) = confusion_json(confusion, &task.labels);
    let curve = risk_coverage(&tally.answers);
    json!({
        "task": &*task.name, "labelled": tally.compared(), "unlabelled": tally.absent, "unknown": tally.unknown,
        "accuracy": confusion.accuracy(), "macro_f1": confusion.macro_f1(), "threshold": short(task.threshold),
        "coverage": tally.coverage(), "precision": tally.precision(),
        "coverage_at_95": coverage_at(&curve, PRECISION), "mean_risk": mean_risk(&curve),
        "ece": calibration_error(&tally.answers, ECE_BINS), "out_of_scope": tally.out_of_scope,
        "classes": classes.collect::<Vec<_>>(), "worst": worst, "confusion": counts,
    })
}
