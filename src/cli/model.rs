//! `tidegate model list|inspect`: which models are installed, what one is and costs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::config::load;
use crate::cli::exit::{Failure, print, say};
use crate::cli::table::table;
use crate::infer::manifest::{Encoding, Task, WordGrams};
use crate::infer::{Manifest, Model, VariantReport};
use crate::io::admission::{Admission, AdmitError, Admitted};
use crate::io::files::{file_bytes, list_folders, read_text};
use crate::io::sysfs::Sysfs;
use crate::runtime::{ADMISSION_MEMORY, ADMISSION_SECONDS};
use crate::units::Bytes;

/// Where packages put models.
const INSTALLED: &str = "/usr/share/tidegate/models";

/// The file that makes a folder a model.
const MANIFEST: &str = "manifest.toml";

/// Copies of a model that are loaded to measure one: what loading throws away is then small against what it keeps.
const COPIES_MAX: u64 = 8;

/// Memory all copies together may take.
const COPIES_BYTES_MAX: u64 = 32 << 20;

/// Questions about models.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum ModelQuestion {
    /// Which models are installed: version, kind, tasks, size, scores
    List {
        /// Folders with models in them, or models
        #[arg(value_name = "DIR", default_value = INSTALLED, conflicts_with = "config")]
        folders: Vec<PathBuf>,
        /// The models of a configuration instead
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Examine one model as the service does, and measure it: shapes, operations, memory, golden error
    Inspect {
        /// Folder with the model
        dir: PathBuf,
        /// JSON on stdout
        #[arg(long)]
        json: bool,
    },
}

/// Answers a question.
pub(in crate::cli) fn ask(question: ModelQuestion) -> Result<(), Failure> {
    match question {
        ModelQuestion::List { folders, config, json } => {
            let folders = match config {
                Some(file) => load(&file)?.models.into_iter().map(|model| model.path).collect(),
                None => models_in(&folders)?,
            };
            list(&folders, json)
        }
        ModelQuestion::Inspect { dir, json } => inspect(&dir, json),
    }
}

/// The models among some folders and directly below them.
fn models_in(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut models = Vec::new();
    for folder in folders {
        if is_model(folder) {
            models.push(folder.clone());
        } else {
            let below = list_folders(folder).map_err(|error| {
                Failure::Io(
                    anyhow::Error::new(error).context("look for models; name the folder that holds them"),
                )
            })?;
            models.extend(below.into_iter().filter(|folder| is_model(folder)));
        }
    }
    Ok(models)
}

fn is_model(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file()
}

/// Prints one line per model and one per score; models with a wrong manifest are named at the end.
fn list(folders: &[PathBuf], json: bool) -> Result<(), Failure> {
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
        let tasks: Vec<String> = manifest.tasks.iter().map(labels_in_short).collect();
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

fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST);
    let text = read_text(&path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    Manifest::parse(&text).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.display(), faults.join("; "))
    })
}

/// Bytes of the graphs of all variants.
fn graph_bytes(folder: &Path, manifest: &Manifest) -> Result<u64, Failure> {
    let mut sum = 0;
    for variant in &manifest.variants {
        sum += file_bytes(&folder.join(&*variant.file)).map_err(|error| Failure::Io(error.into()))?;
    }
    Ok(sum)
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
        "bytes": bytes, "variants": variants, "tasks": tasks, "scores": scores.collect::<Vec<_>>(),
    })
}

fn task_entry(task: &Task) -> Value {
    let labels: Vec<&str> = task.labels.iter().map(|label| &**label).collect();
    json!({ "name": &*task.name, "output": &*task.output, "labels": labels, "threshold": short(task.threshold) })
}

/// A number as it is written, 0.1 and not 0.10000000149.
fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// `pump-leak (3)`; the only task of a model has no name.
fn labels_in_short(task: &Task) -> String {
    let name = if task.name.is_empty() { "label" } else { &task.name };
    format!("{name} ({})", task.labels.len())
}

/// Examines and measures one model.
fn inspect(dir: &Path, json: bool) -> Result<(), Failure> {
    let admission = Admission::by_this_program(ADMISSION_MEMORY, ADMISSION_SECONDS);
    let admission = admission.map_err(|error| Failure::Io(error.into()))?;
    let admitted = admission.admit(dir).map_err(|error| match error {
        AdmitError::Read { .. } | AdmitError::Start { .. } => Failure::Io(error.into()),
        AdmitError::Refused { .. } | AdmitError::Died { .. } | AdmitError::Changed { .. } => {
            Failure::Config(error.into())
        }
    })?;
    let mut variants = Vec::new();
    for variant in &admitted.report().variants {
        let measured = measure(&admitted, variant)?;
        let file = admitted.manifest().variants.iter().find(|known| *known.name == *variant.name);
        let file = file.map_or("", |known| &*known.file);
        let bytes = file_bytes(&dir.join(file)).map_err(|error| Failure::Io(error.into()))?;
        let tolerance = admitted.manifest().variants.iter().find(|known| *known.name == *variant.name);
        let tolerance = tolerance.map_or(0.0, |known| admitted.manifest().tolerance(known));
        variants.push(Examined { report: variant, file, bytes, measured, tolerance });
    }
    if json {
        return print(&inspection(admitted.manifest(), &variants).to_string());
    }
    describe(admitted.manifest(), &variants);
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
}

/// Memory that one copy of a variant takes, by how much this process grows.
fn measure(admitted: &Admitted, variant: &VariantReport) -> Result<Option<u64>, Failure> {
    let system = Sysfs::at(Path::new("/"));
    let taken = || system.process_memory().ok().and_then(|memory| memory.anonymous);
    let load = || -> Result<Option<Model>, Failure> {
        admitted.load(Some(&variant.name)).map_err(|error| Failure::Config(error.into()))
    };
    // The first one fills the gaps that reading and examining left.
    let mut copies = vec![load()?];
    let before = taken();
    let count = (COPIES_BYTES_MAX / variant.memory_bytes.max(1)).clamp(1, COPIES_MAX);
    for _ in 0..count {
        copies.push(load()?);
    }
    let after = taken();
    drop(copies);
    Ok(before.zip(after).map(|(before, after)| after.0.saturating_sub(before.0) / count))
}

fn inspection(manifest: &Manifest, variants: &[Examined<'_>]) -> Value {
    let variants: Vec<Value> = variants
        .iter()
        .map(|found| {
            let report = found.report;
            json!({
                "name": report.name, "file": found.file, "bytes": found.bytes, "sha256": String::from(report.sha256),
                "parameters": report.parameters, "operations": report.operations,
                "batches": report.batches, "memory_predicted": report.memory_bytes, "memory_measured": found.measured,
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
        "input": input, "tasks": tasks, "variants": variants,
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
    for found in variants {
        let report = found.report;
        line("variant", format!("{}: {}, {}", report.name, found.file, Bytes(found.bytes)));
        line(
            "  cost",
            format!("{} parameters, {} multiply-adds per item", report.parameters, report.operations),
        );
        let measured = found
            .measured
            .map_or("cannot be measured here".to_owned(), |bytes| format!("{} measured", Bytes(bytes)));
        line("  memory", format!("{measured}, {} predicted", Bytes(report.memory_bytes)));
        let (cases, error, tolerance) = (report.golden_cases, report.golden_error_max, found.tolerance);
        line("  golden", format!("{cases} cases, largest error {error:.1e}, allowed {tolerance:.1e}"));
    }
    say_all(&table(&lines));
}

/// How inputs are made, in words.
fn encoding(manifest: &Manifest) -> String {
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
