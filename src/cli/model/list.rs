//! `tidegate model list`: which models are installed.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::exit::{Failure, print, say};
use crate::cli::model::folder::{graph_bytes, read_manifest};
use crate::cli::table::table;
use crate::infer::Manifest;
use crate::infer::manifest::{Tags, Task};
use crate::units::Bytes;

/// Prints one line per model and one per score; models with a wrong manifest are named at the end.
pub(in crate::cli::model) fn list(folders: &[PathBuf], json: bool) -> Result<(), Failure> {
    let mut models =
        vec![["model", "kind", "size", "tasks and their labels", "folder"].map(str::to_owned).to_vec()];
    let mut scores = vec![["model", "task", "metric", "value", "test set"].map(str::to_owned).to_vec()];
    let mut faults = Vec::new();
    for folder in folders {
        let manifest = match read_manifest(folder) {
            Ok(manifest) => manifest,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let bytes = graph_bytes(folder, &manifest)?;
        if json {
            print(&entry(folder, &manifest, bytes).to_string())?;
            continue;
        }
        let id = manifest.id().to_string();
        let marked = manifest.tags.iter().map(types_in_short);
        let tasks: Vec<String> = manifest.tasks.iter().map(labels_in_short).chain(marked).collect();
        let place = folder.display().to_string();
        models.push(vec![
            id.clone(),
            manifest.kind.as_str().to_owned(),
            Bytes(bytes).to_string(),
            tasks.join(", "),
            place,
        ]);
        for score in &manifest.scores {
            let value = format!("{:.3}", score.value);
            scores.push(vec![id.clone(), score.task.clone(), score.metric.clone(), value, score.set.clone()]);
        }
    }
    if !json {
        if models.len() > 1 {
            say_all(&table(&models));
        } else if faults.is_empty() {
            say("no models found: a model is a folder with a manifest.toml");
        }
        if scores.len() > 1 {
            say("");
            say_all(&table(&scores));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Config(anyhow::anyhow!(faults.join("\n")))) }
}

/// Prints lines for people.
pub(in crate::cli::model) fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

/// A model with what its maker says of it.
fn entry(folder: &Path, manifest: &Manifest, bytes: u64) -> Value {
    let tasks: Vec<Value> = manifest.tasks.iter().map(task_entry).collect();
    let scores = manifest.scores.iter().map(
        |score| json!({ "set": score.set, "task": score.task, "metric": score.metric, "value": score.value }),
    );
    let variants: Vec<&str> = manifest.variants.iter().map(|variant| &*variant.name).collect();
    json!({
        "v": 1, "model": &**manifest.id(), "name": &*manifest.name, "version": &*manifest.version,
        "kind": manifest.kind.as_str(), "description": manifest.description, "folder": folder.display().to_string(),
        "bytes": bytes, "variants": variants, "tasks": tasks,
        "tags": manifest.tags.as_ref().map(tags_entry), "scores": scores.collect::<Vec<_>>(),
    })
}

/// A task with its labels.
pub(in crate::cli::model) fn task_entry(task: &Task) -> Value {
    let labels: Vec<&str> = task.labels.iter().map(|label| &**label).collect();
    json!({ "name": &*task.name, "output": &*task.output, "labels": labels, "threshold": short(task.threshold) })
}

/// What a model marks; null for one that answers tasks.
pub(in crate::cli::model) fn tags_entry(tags: &Tags) -> Value {
    let types: Vec<&str> = tags.types.iter().map(|kind| &**kind).collect();
    let rules: Vec<&str> = tags.rules.iter().map(|rule| &**rule).collect();
    json!({ "output": &*tags.output, "types": types, "rules": rules, "threshold": short(tags.threshold) })
}

/// A number as it is written, 0.1 and not 0.10000000149.
pub(in crate::cli::model) fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// `pump-leak (3)`; the only task of a model has no name.
pub(in crate::cli::model) fn labels_in_short(task: &Task) -> String {
    let name = if task.name.is_empty() { "label" } else { &task.name };
    format!("{name} ({})", task.labels.len())
}

/// `entities (10)`.
pub(in crate::cli::model) fn types_in_short(tags: &Tags) -> String {
    format!("entities ({})", tags.types.len())
}
