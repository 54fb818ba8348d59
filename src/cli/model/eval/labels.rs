//! From what data calls a label to what the model calls it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::model::eval::args::EvalArgs;
use crate::infer::Manifest;
use crate::infer::manifest::Task;
use crate::io::files::read_text;

/// Where the labels of each task stand, and which label a value means.
pub(in crate::cli::model::eval) struct Labels {
    tasks: Vec<TaskLabels>,
    skip_unknown: bool,
}

/// The labels of one task.
struct TaskLabels {
    /// For messages.
    task: String,
    /// The field; `None` if the data has none for this task.
    field: Option<String>,
    /// Whether the field was named on the command line.
    asked: bool,
    labels: Vec<String>,
    map: BTreeMap<String, String>,
}

/// Fields and columns that are named where one is missed.
const NAMES_MAX: usize = 40;

/// Characters of a value from the data that are shown.
const VALUE_CHARS: usize = 100;

/// The names of fields or columns, the first of them if there are many.
pub(in crate::cli::model::eval) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| shortened(name)).collect();
    let more = names.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn shortened(text: &str) -> String {
    text.chars().take(VALUE_CHARS).collect()
}

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::model::eval) enum Truth {
    /// Index of a label of the model.
    Label(usize),
    /// Nothing.
    Absent,
    /// A label the model does not have, left out on purpose.
    Unknown,
}

impl Labels {
    /// As the command line says.
    ///
    /// A model that marks entities has one list of labels: the types.
    pub(in crate::cli::model::eval) fn new(
        manifest: &Manifest,
        types: &[Arc<str>],
        args: &EvalArgs,
    ) -> Result<Self, Failure> {
        let mut tasks: Vec<TaskLabels> = manifest.tasks.iter().map(TaskLabels::of).collect();
        if !types.is_empty() {
            tasks.push(TaskLabels::new("type", types));
        }
        for given in &args.fields {
            let (task, field) = match given.split_once('=') {
                Some((task, field)) => (task, field),
                None => ("", given.as_str()),
            };
            let found = find(&mut tasks, task)?;
            (found.field, found.asked) = (Some(field.to_owned()), true);
        }
        for given in &args.maps {
            read_map(given, &mut tasks)?;
        }
        for task in &tasks {
            for (value, label) in &task.map {
                if !task.labels.contains(label) {
                    return Err(usage(format!(
                        "--map: {value:?} cannot be {label:?}: {} has {}",
                        task.task,
                        task.labels.join(" | ")
                    )));
                }
            }
        }
        Ok(Self { tasks, skip_unknown: args.skip_unknown })
    }

    /// Chooses the field of each task among those the data has; tasks without one are not evaluated.
    pub(in crate::cli::model::eval) fn fit(&mut self, known: &[String], file: &Path) -> Result<(), Failure> {
        for task in &mut self.tasks {
            let field = task.field.take().unwrap_or_default();
            let similar = field.replace('-', "_");
            let has = |name: &str| known.iter().any(|known| known == name);
            task.field = match (has(&field), task.asked, has(&similar)) {
                (true, _, _) => Some(field),
                (false, true, _) => return Err(no_field(&field, known, file)),
                (false, false, true) => Some(similar),
                (false, false, false) => None,
            };
        }
        if self.tasks.iter().all(|task| task.field.is_none()) {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.task.as_str()).collect();
            return Err(no_field(&names.join(", "), known, file));
        }
        Ok(())
    }

    /// The field of each task, in their order; `None` where there is none.
    pub(in crate::cli::model::eval) fn fields(&self) -> impl Iterator<Item = Option<&str>> {
        self.tasks.iter().map(|task| task.field.as_deref())
    }

    /// Which label of a task a value means: itself, what `--map` says, or one that differs in case only.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(in crate::cli::model::eval) fn truth(&self, task: usize, value: &str) -> Result<Truth, String> {
        let Some(task) = self.tasks.get(task) else { return Ok(Truth::Absent) };
        let value = value.trim();
        let wanted = task.map.get(value).map_or(value, String::as_str);
        let exact = task.labels.iter().position(|label| label == wanted);
        let similar = || task.labels.iter().position(|label| label.eq_ignore_ascii_case(wanted));
        match exact.or_else(similar) {
            Some(label) => Ok(Truth::Label(label)),
            None if value.is_empty() => Ok(Truth::Absent),
            None if self.skip_unknown => Ok(Truth::Unknown),
            None => Err(format!(
                "{:?} is no {}; the model has {}: tell what it means with --map, or leave such out with \
                 --skip-unknown",
                shortened(value),
                task.task,
                task.labels.join(" | ")
            )),
        }
    }
}

impl TaskLabels {
    fn of(task: &Task) -> Self {
        Self::new(if task.name.is_empty() { "label" } else { &task.name }, &task.labels)
    }

    fn new(name: &str, labels: &[Arc<str>]) -> Self {
        Self {
            task: name.to_owned(),
            field: Some(name.to_owned()),
            asked: false,
            labels: labels.iter().map(ToString::to_string).collect(),
            map: BTreeMap::new(),
        }
    }
}

/// The task of a name; the only one if no name is given.
fn find<'a>(tasks: &'a mut [TaskLabels], name: &str) -> Result<&'a mut TaskLabels, Failure> {
    let known: Vec<String> = tasks.iter().map(|task| task.task.clone()).collect();
    let only = name.is_empty() && tasks.len() == 1;
    let found = tasks.iter_mut().find(|task| only || task.task == name);
    found.ok_or_else(|| usage(format!("which task is {name:?}? There are: {}", known.join(" | "))))
}

/// Reads one `--map`.
fn read_map(given: &str, tasks: &mut [TaskLabels]) -> Result<(), Failure> {
    if Path::new(given).extension().is_some_and(|extension| extension == "toml") {
        return read_map_file(Path::new(given), tasks);
    }
    let (before, label) = given
        .split_once('=')
        .ok_or_else(|| usage(format!("--map {given:?}: write VALUE=LABEL or TASK:VALUE=LABEL")))?;
    let named = before.split_once(':').filter(|(task, _)| tasks.iter().any(|known| known.task == *task));
    let (task, value) = named.unwrap_or(("", before));
    find(tasks, task)?.map.insert(value.trim().to_owned(), label.trim().to_owned());
    Ok(())
}

/// Reads a map file: `[task]` tables with `"value" = "label"`; without tables for the only task.
fn read_map_file(path: &Path, tasks: &mut [TaskLabels]) -> Result<(), Failure> {
    let text = read_text(path).map_err(|error| Failure::Io(error.into()))?;
    let wrong = |what: String| Failure::Io(anyhow::anyhow!("{}: {what}", path.display()));
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let form = "write [task] and below it \"value\" = \"label\"";
    for (key, value) in &table {
        if let Some(entries) = value.as_table() {
            let task = find(tasks, key)?;
            for (value, label) in entries {
                let label = label.as_str().ok_or_else(|| wrong(format!("{key}.{value}: {form}")))?;
                task.map.insert(value.clone(), label.to_owned());
            }
        } else {
            let label = value.as_str().ok_or_else(|| wrong(format!("{key}: {form}")))?;
            find(tasks, "")?.map.insert(key.clone(), label.to_owned());
        }
    }
    Ok(())
}

fn no_field(wanted: &str, known: &[String], file: &Path) -> Failure {
    Failure::Io(anyhow::anyhow!(
        "{}: no label for {wanted}; there are: {}: name it with --label [TASK=]FIELD",
        file.display(),
        listed(known)
    ))
}

fn usage(what: String) -> Failure {
    Failure::Usage(anyhow::anyhow!(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_file_fit_on_a_screen_however_many_and_long_they_are() {
        let names: Vec<String> = (0..100_000).map(|number| format!("{number}{}", "k".repeat(200))).collect();
        let list = listed(&names);
        assert!(list.len() < 5000 && list.ends_with(" and 99960 more"), "{} bytes", list.len());
        assert_eq!(listed(&["a".to_owned(), "b".to_owned()]), "a, b");
    }
}
