//! Labelled reports: JSON lines or CSV, with a text and a field per task.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::exit::Failure;
use crate::cli::model::eval::labels::{Labels, Truth, listed};
use crate::cli::model::eval::marked::{self, Marked};
use crate::io::files::open_file;
use crate::io::rows::{ROW_BYTES_MAX, RowGuard};

/// A labelled report.
pub(in crate::cli::model::eval) struct Labelled {
    /// What is judged.
    pub(in crate::cli::model::eval) text: String,
    /// One per task.
    pub(in crate::cli::model::eval) truths: Vec<Truth>,
}

/// A file of reports.
#[derive(Clone, Copy)]
pub(in crate::cli::model::eval) struct ReportFile<'a> {
    pub(in crate::cli::model::eval) path: &'a Path,
    /// Field of the text.
    pub(in crate::cli::model::eval) text: &'a str,
    /// What separates cells, should it be CSV.
    pub(in crate::cli::model::eval) delimiter: u8,
}

/// An object and its line.
type Line = (u64, Map<String, Value>);

/// Reads all reports of a file: the labels of a task may first appear on the last line.
pub(in crate::cli::model::eval) fn read(
    file: ReportFile<'_>,
    labels: &mut Labels,
) -> Result<Vec<Labelled>, Failure> {
    let ReportFile { path, text, .. } = file;
    let objects = objects(file)?;
    let mut known: Vec<String> = objects.iter().flat_map(|(_, object)| object.keys().cloned()).collect();
    known.sort();
    known.dedup();
    if !known.iter().any(|name| name == text) {
        return Err(fault(path, &format!("no field {text:?} in {}: name it with --text", listed(&known))));
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
    file: ReportFile<'_>,
    labels: &Labels,
) -> Result<Vec<Marked>, Failure> {
    let ReportFile { path, text, .. } = file;
    let kind_of = |name: &str| match labels.truth(0, name)? {
        Truth::Label(kind) => Ok(Some(kind)),
        Truth::Absent | Truth::Unknown => Ok(None),
    };
    let marked = objects(file)?.into_iter().map(|(line, object)| {
        marked::read(&object, text, &kind_of).map_err(|what| at_line(path, line, &what))
    });
    marked.collect()
}

/// The objects of a file with their lines: rows if its name ends so, else JSON.
fn objects(file: ReportFile<'_>) -> Result<Vec<Line>, Failure> {
    let path = file.path;
    let is_table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let objects = if is_table { rows(path, file.delimiter)? } else { lines(path)? };
    if objects.is_empty() {
        return Err(fault(path, "holds no report"));
    }
    Ok(objects)
}

/// The rows of CSV as objects of texts.
fn rows(path: &Path, delimiter: u8) -> Result<Vec<Line>, Failure> {
    let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
    let failed = |error: csv::Error| fault(path, &error.to_string());
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(RowGuard::new(file));
    let names = reader.headers().map_err(failed)?.clone();
    let (mut objects, mut record) = (Vec::new(), csv::StringRecord::new());
    loop {
        reader.get_mut().renew();
        if !reader.read_record(&mut record).map_err(failed)? {
            return Ok(objects);
        }
        let cells = names.iter().zip(&record);
        let object = cells.map(|(name, cell)| (name.trim().to_owned(), Value::from(cell))).collect();
        objects.push((record.position().map_or(0, csv::Position::line), object));
    }
}

/// The lines of a file as objects; blank lines are left out.
fn lines(path: &Path) -> Result<Vec<Line>, Failure> {
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
