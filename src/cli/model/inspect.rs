//! `tidegate model inspect`: what a model is and costs, examined as the service does it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::exit::{Failure, print, say};
use crate::cli::model::cases::Cases;
use crate::cli::model::folder::{admit, variants_of};
use crate::cli::model::graph::Graph;
use crate::cli::model::list::{labels_in_short, say_all, short, tags_entry, task_entry, types_in_short};
use crate::cli::model::measure::memory_among;
use crate::cli::table::table;
use crate::infer::engine::Operator;
use crate::infer::manifest::{Encoding, WordGrams};
use crate::infer::{Manifest, Survey, VariantReport};
use crate::units::Bytes;

/// Examines and measures one model.
pub(in crate::cli::model) fn inspect(dir: &Path, variant: Option<&str>, json: bool) -> Result<(), Failure> {
    let admitted = admit(dir)?;
    let manifest = admitted.manifest();
    let cases = Cases::golden(dir, manifest)?;
    let chosen = variants_of(&admitted, variant)?;
    let mut variants = Vec::new();
    for &(known, report) in &chosen {
        let bytes = admitted.file(&known.file).unwrap_or_default();
        let graph = Graph::of_variant(manifest, report, bytes);
        let survey = Survey::read(bytes).map_err(|error| Failure::Config(error.into()))?;
        variants.push(Examined {
            report,
            file: &known.file,
            bytes: bytes.len() as u64,
            measured: measured(chosen.len(), dir, report, &graph, &cases)?,
            tolerance: manifest.tolerance(known),
            opset: survey.opset,
            operators: survey.operators,
        });
    }
    if json {
        return print(&inspection(manifest, &variants).to_string());
    }
    describe(manifest, &variants);
    Ok(())
}

/// One variant with everything that was found out about it.
struct Examined<'a> {
    report: &'a VariantReport,
    file: &'a str,
    bytes: u64,
    /// Memory one copy keeps; `None` where the kernel does not say.
    measured: Option<u64>,
    tolerance: f32,
    /// Version of the operator set.
    opset: i64,
    operators: BTreeMap<String, Operator>,
}

/// Memory one copy keeps: what admission counted, or by how much this process grows where nothing counts.
fn measured(
    count: usize,
    dir: &Path,
    report: &VariantReport,
    graph: &Graph<'_>,
    cases: &Cases,
) -> Result<Option<u64>, Failure> {
    match report.memory_measured {
        0 => memory_among(count, dir, report, graph, cases),
        counted => Ok(Some(counted)),
    }
}

fn inspection(manifest: &Manifest, variants: &[Examined<'_>]) -> Value {
    let variants: Vec<Value> = variants
        .iter()
        .map(|found| {
            let report = found.report;
            json!({
                "name": report.name, "file": found.file, "bytes": found.bytes, "sha256": String::from(report.sha256),
                "parameters": report.parameters, "operations": report.operations,
                "opset": found.opset, "ops": found.operators.iter().map(|(name, operator)| (name.clone(), operator.count.into())).collect::<serde_json::Map<_, _>>(),
                "batches": report.batches, "memory_predicted": report.memory_bytes, "memory_measured": found.measured,
                "load_peak": report.load_peak, "spent_us": report.spent_nanos as f64 / 1e3,
                "golden": { "cases": report.golden_cases, "error_max": short(report.golden_error_max), "tolerance": short(found.tolerance) },
            })
        })
        .collect();
    let input = json!({
        "tensor": &*manifest.input.tensor, "type": manifest.input.dtype().as_str(),
        "lengths": manifest.input.lengths(), "encoding": encoding(manifest),
    });
    let tasks: Vec<Value> = manifest.tasks.iter().map(task_entry).collect();
    json!({
        "v": 1, "model": &**manifest.id(), "kind": manifest.kind.as_str(), "description": manifest.description,
        "input": input, "tasks": tasks, "tags": manifest.tags.as_ref().map(tags_entry), "variants": variants,
    })
}

fn describe(manifest: &Manifest, variants: &[Examined<'_>]) {
    say(&format!("{}  {}: {}", manifest.id(), manifest.kind.as_str(), manifest.description));
    let mut lines = Vec::new();
    let mut line = |what: &str, text: String| lines.push(vec![what.to_owned(), text]);
    let kind = manifest.input.dtype().as_str();
    for length in manifest.input.lengths() {
        line("input", format!("{} [items, {length}] {kind}, {}", manifest.input.tensor, encoding(manifest)));
    }
    for task in &manifest.tasks {
        let count = task.labels.len();
        line(
            "output",
            format!(
                "{} [items, {count}] f32, {}: {}",
                task.output,
                labels_in_short(task),
                task.labels.join(" | ")
            ),
        );
    }
    if let Some(tags) = &manifest.tags {
        let (types, count) = (tags.types.join(" | "), tags.classes());
        let marked = types_in_short(tags);
        line("output", format!("{} [items, words, {count}] f32, {marked}: {types}", tags.output));
    }
    for found in variants {
        let report = found.report;
        line("variant", format!("{}: {}, {}", report.name, found.file, Bytes(found.bytes)));
        line(
            "  cost",
            format!("{} parameters, {} multiply-adds per item", report.parameters, report.operations),
        );
        let operators: Vec<String> =
            found.operators.iter().map(|(name, operator)| format!("{name} {}", operator.count)).collect();
        line("  operators", format!("{} (opset {})", operators.join(", "), found.opset));
        let measured = found
            .measured
            .map_or("cannot be measured here".to_owned(), |bytes| format!("{} measured", Bytes(bytes)));
        let (predicted, peak) = (Bytes(report.memory_bytes), Bytes(report.load_peak));
        line(
            "  memory",
            format!("{measured}, {predicted} predicted, {peak} for a moment while it is loaded"),
        );
        let (cases, error, tolerance) = (report.golden_cases, report.golden_error_max, found.tolerance);
        line("  golden", format!("{cases} cases, largest error {error:.1e}, allowed {tolerance:.1e}"));
    }
    say_all(&table(&lines));
}

/// How inputs are made, in words.
pub(in crate::cli::model) fn encoding(manifest: &Manifest) -> String {
    match &manifest.input.encoding {
        Encoding::Features { channels, features, .. } => {
            format!("{} features of {} channels", features.len(), channels.len())
        }
        Encoding::CharNgrams { dims, n_min, n_max } => {
            format!("character {n_min}- to {n_max}-grams in {dims} dimensions")
        }
        Encoding::WordGrams(words) => {
            let WordGrams { dims, n_min, n_max, grams, .. } = words;
            format!("words of {grams} ids each, of {dims}: whole, shape and {n_min}- to {n_max}-grams")
        }
    }
}
