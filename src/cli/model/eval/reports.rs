//! Labelled reports: JSON lines with a text and a field per task.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::exit::Failure;
use crate::cli::model::eval::labels::{Labels, Truth};
use crate::cli::model::eval::marked::{self, Marked};
use crate::io::files::open_file;
use crate::io::rows::ROW_BYTES_MAX;

/// A labelled report.
pub(in crate::cli::model::eval) struct Labelled {
    /// What is judged.
    pub(in crate::cli::model::eval) text: String,
    /// One per task.
    pub(in crate::cli::model::eval) truths: Vec<Truth>,
}

/// An object and its line.
type Line = (u64, Map<String, Value>);

/// Reads all reports of a file: the labels of a task may first appear on the last line.
pub(in crate::cli::model::eval) fn read(
    path: &Path,
    text: &str,
    labels: &mut Labels,
) -> Result<Vec<Labelled>, Failure> {
    let objects = objects(path)?;
    let mut known: Vec<String> = objects.iter().flat_map(|(_, object)| object.keys().cloned()).collect();
    known.sort();
    known.dedup();
    if !known.iter().any(|name| name == text) {
        return Err(fault(path, &format!("no field {text:?} in {}: name it with --text", known.join(", "))));
    }
    labels.fit(&known, path)?;
    let mut reports = Vec::with_capacity(objects.len());
    for (line, object) in &objects {
        let found = object.get(text).and_then(Value::as_str);
        let missing = || at_line(path, *line, &format!("{text:?} is no text"));
        reports.push(Labelled {
            text: found.ok_or_else(missing)?.to_owned(),
            truths: truths(object, labels).map_err(|what| at_line(path, *line, &what))?,
        });
    }
    Ok(reports)
}

/// Reads all reports of a file with the entities that are in them.
pub(in crate::cli::model::eval) fn read_marked(
    path: &Path,
    text: &str,
    labels: &Labels,
) -> Result<Vec<Marked>, Failure> {
    let kind_of = |name: &str| match labels.truth(0, name)? {
        Truth::Label(kind) => Ok(Some(kind)),
        Truth::Absent | Truth::Unknown => Ok(None),
    };
    let marked = objects(path)?.into_iter().map(|(line, object)| {
        marked::read(&object, text, &kind_of).map_err(|what| at_line(path, line, &what))
    });
    marked.collect()
}

/// The objects of a file with their lines; blank lines are left out.
fn objects(path: &Path) -> Result<Vec<Line>, Failure> {
    let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
    let mut reader = BufReader::new(file);
    let (mut objects, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    loop {
        bytes.clear();
        line += 1;
        let mut bounded = reader.by_ref().take(ROW_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut bytes);
        if read.map_err(|error| Failure::Io(anyhow::Error::new(error).context("read reports")))? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let object = serde_json::from_slice(&bytes);
        let object = object.map_err(|error| at_line(path, line, &format!("no JSON object: {error}")));
        objects.push((line, object?));
    }
    if objects.is_empty() {
        return Err(fault(path, "holds no report"));
    }
    Ok(objects)
}

/// What a report is labelled with, task by task.
fn truths(object: &Map<String, Value>, labels: &Labels) -> Result<Vec<Truth>, String> {
    let value = |field: Option<&str>| match field.and_then(|field| object.get(field)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let fields = labels.fields().enumerate();
    fields.map(|(task, field)| labels.truth(task, &value(field))).collect()
}

fn at_line(path: &Path, line: u64, what: &str) -> Failure {
    fault(path, &format!("line {line}: {what}"))
}

fn fault(path: &Path, what: &str) -> Failure {
    Failure::Io(anyhow::anyhow!("{}: {what}", path.display()))
}
