//! The result of an evaluation, for people and for programs.

use serde_json::{Value, json};

use crate::cli::exit::say;
use crate::cli::model::eval::tally::{Tally, TaskTally};
use crate::cli::model::list::{say_all, short};
use crate::cli::model::measure::{Timing, span};
use crate::cli::table::table;
use crate::infer::manifest::{Manifest, Task};
use crate::quality::{ECE_BINS, calibration_error, coverage_at, mean_risk, risk_coverage};
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
        say_all(&table(&classes(task, tally)));
        for mistake in tally.confusion.worst(WORST) {
            let label = |index: usize| task.labels.get(index).map_or("", |label| &**label);
            say(&format!(
                "{} {:?} taken for {:?}",
                mistake.count,
                label(mistake.truth),
                label(mistake.predicted)
            ));
        }
    }
    say("");
    let memory = found.memory.map_or("unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    let (p50, p99) = (span(found.timing.p50), span(found.timing.p99));
    say(&format!("one input takes {p50} (p99 {p99}) from features or text to verdict; memory {memory}"));
}

fn tasks<'a>(found: &Evaluated<'a>) -> impl Iterator<Item = (&'a Task, &'a TaskTally)> {
    found.manifest.tasks.iter().zip(&found.tally.tasks)
}

fn name(task: &Task) -> &str {
    if task.name.is_empty() { "label" } else { &task.name }
}

/// One line per task.
fn summary(task: &Task, tally: &TaskTally) -> Vec<String> {
    let share = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let some = (tally.compared() > 0).then_some(());
    let curve = risk_coverage(&tally.answers);
    vec![
        name(task).to_owned(),
        tally.compared().to_string(),
        share(tally.confusion.accuracy()),
        share(tally.confusion.macro_f1()),
        format!("{:.3}", task.threshold),
        share(some.map(|()| tally.coverage())),
        share(tally.precision()),
        share(some.map(|()| coverage_at(&curve, PRECISION))),
        share(calibration_error(&tally.answers, ECE_BINS)),
        tally.out_of_scope.to_string(),
    ]
}

/// One line per class that occurs.
fn classes(task: &Task, tally: &TaskTally) -> Vec<Vec<String>> {
    let head = [name(task), "true", "answered", "precision", "recall", "F1"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (index, label) in task.labels.iter().enumerate() {
        let class = tally.confusion.class(index);
        if class.is_seen() {
            let figures = [class.precision(), class.recall(), class.f1()];
            let counts = [class.support.to_string(), class.predicted.to_string()];
            let mut row = vec![label.to_string()];
            row.extend(counts);
            row.extend(figures.map(|figure| format!("{figure:.3}")));
            rows.push(row);
        }
    }
    rows
}

/// Everything, for programs.
pub(in crate::cli::model::eval) fn json(found: &Evaluated<'_>) -> Value {
    let tasks: Vec<Value> = tasks(found).map(|(task, tally)| task_json(task, tally)).collect();
    json!({
        "v": 1, "model": &**found.manifest.id(), "variant": found.variant, "data": found.data,
        "inputs": found.tally.inputs, "failed": found.tally.failed, "unmatched": found.tally.unmatched,
        "tasks": tasks, "latency": found.timing.json(1), "memory_measured": found.memory,
    })
}

fn task_json(task: &Task, tally: &TaskTally) -> Value {
    let label = |index: usize| task.labels.get(index).map_or("", |label| &**label);
    let confusion = &tally.confusion;
    let class = |index: usize| {
        let class = confusion.class(index);
        json!({
            "label": label(index), "true": class.support, "answered": class.predicted,
            "precision": class.precision(), "recall": class.recall(), "f1": class.f1(),
        })
    };
    let row = |truth: usize| (0..confusion.labels()).map(|other| confusion.count(truth, other)).collect();
    let counts: Vec<Vec<u64>> = (0..confusion.labels()).map(row).collect();
    let worst = confusion.worst(WORST).into_iter().map(|mistake| {
        json!({ "truth": label(mistake.truth), "answer": label(mistake.predicted), "count": mistake.count })
    });
    let curve = risk_coverage(&tally.answers);
    json!({
        "task": &*task.name, "labelled": tally.compared(), "unlabelled": tally.absent, "unknown": tally.unknown,
        "accuracy": confusion.accuracy(), "macro_f1": confusion.macro_f1(), "threshold": short(task.threshold),
        "coverage": tally.coverage(), "precision": tally.precision(),
        "coverage_at_95": coverage_at(&curve, PRECISION), "mean_risk": mean_risk(&curve),
        "ece": calibration_error(&tally.answers, ECE_BINS), "out_of_scope": tally.out_of_scope,
        "classes": (0..confusion.labels()).map(class).collect::<Vec<_>>(),
        "worst": worst.collect::<Vec<_>>(), "confusion": counts,
    })
}
