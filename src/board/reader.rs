//! Reads one table of a board file key by key and collects every fault.

use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use crate::units::parse_duration;

/// Most entries of a list: no board has more names, zones or sensors that matter.
const ENTRIES_MAX: usize = 16;

/// What is wrong with a key of a board file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; allowed: {allowed}")]
pub struct ProfileFault {
    /// Path of the key, like `thermal.trip`; empty if the file is not TOML.
    pub key: String,
    /// What was found.
    pub problem: String,
    /// What would do.
    pub allowed: String,
}

/// A table whose keys are taken one by one; what is left over is a fault.
pub(crate) struct Reader<'f> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    faults: &'f mut Vec<ProfileFault>,
}

impl<'f> Reader<'f> {
    /// Reads a table to its end: what is not asked for is a fault.
    pub(crate) fn read<T>(
        path: &str,
        table: Table,
        faults: &'f mut Vec<ProfileFault>,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        let mut reader = Reader { path: path.to_owned(), table, known: Vec::new(), faults };
        let found = read(&mut reader);
        reader.close();
        found
    }

    /// Reads a table inside this one by itself; nothing is read if it is absent or, as a fault, something else.
    pub(crate) fn inside<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        let table = self.table(key)?;
        Some(self.enter(key, table, read))
    }

    /// Reads each table of a list by itself, `[[key]]`; empty if absent.
    pub(crate) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Vec<T> {
        let allowed = format!("[[{}]], at most {ENTRIES_MAX} of them", self.path_of(key));
        let tables: Option<Vec<Table>> = self.value(key, &allowed, |value| {
            let entries = value.as_array().filter(|entries| entries.len() <= ENTRIES_MAX)?;
            entries.iter().map(|entry| entry.as_table().cloned()).collect()
        });
        let mut entries = Vec::new();
        for (index, table) in tables.into_iter().flatten().enumerate() {
            entries.extend(self.enter(&format!("{key}[{index}]"), table, &mut read));
        }
        entries
    }

    fn enter<T>(&mut self, key: &str, table: Table, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        Reader::read(&self.path_of(key), table, self.faults, read)
    }

    /// A table inside this one; `None` if absent or, as a fault, something else.
    fn table(&mut self, key: &'static str) -> Option<Table> {
        let allowed = format!("[{}]", self.path_of(key));
        self.value(key, &allowed, |value| value.as_table().cloned())
    }

    /// A text that satisfies a rule.
    pub(crate) fn text(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(&str) -> bool,
    ) -> Option<String> {
        self.value(key, allowed, |value| Some(value.as_str().filter(|text| rule(text))?.to_owned()))
    }

    /// A quantity written as text, inside a range.
    pub(crate) fn quantity<T: FromStr>(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.value(key, allowed, |value| value.as_str()?.parse().ok().filter(rule))
    }

    /// A duration inside a range.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        self.value(key, allowed, |value| parse_duration(value.as_str()?).ok().filter(|&found| rule(found)))
    }

    /// One of the words of a closed list.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.value(key, &allowed.join(" | "), |value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|&(_, found)| found)
        })
    }

    /// Yes or no; `false` if absent.
    pub(crate) fn flag(&mut self, key: &'static str) -> bool {
        self.value(key, "true or false", Value::as_bool).unwrap_or(false)
    }

    /// A whole number inside a range.
    pub(crate) fn whole(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(i64) -> bool,
    ) -> Option<i64> {
        self.value(key, allowed, |value| value.as_integer().filter(|&number| rule(number)))
    }

    /// A number inside a range.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        self.value(key, allowed, |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
            number.filter(|&number| rule(number))
        })
    }

    /// A list of at most 16 non-empty texts; empty if absent.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let text = |entry: &Value| entry.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts = self.value(key, "a list of 1 to 16 texts", |value| {
            let entries = value.as_array().filter(|entries| (1..=ENTRIES_MAX).contains(&entries.len()))?;
            entries.iter().map(text).collect()
        });
        texts.unwrap_or_default()
    }

    /// Passes a key over, whatever it holds.
    pub(crate) fn skip(&mut self, key: &'static str) {
        self.known.push(key);
        self.table.remove(key);
    }

    /// A fault of a key that was read.
    pub(crate) fn fault(&mut self, key: &str, problem: &str, allowed: &str) {
        let key = self.path_of(key);
        self.faults.push(ProfileFault { key, problem: problem.to_owned(), allowed: allowed.to_owned() });
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a required key that is absent; a present but wrong one has its fault already.
    pub(crate) fn require(&mut self, key: &'static str, allowed: &str, present: bool) {
        if !present {
            self.fault(key, "missing", allowed);
        }
    }

    /// Whether a key stands in the file.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Ends the table: every key that was not asked for is unknown.
    fn close(mut self) {
        let left = std::mem::take(&mut self.table);
        let known = self.known.join(", ");
        for key in left.keys() {
            self.fault(key, "unknown key", &known);
        }
    }

    /// Takes a value and reads it; `None` if it is absent or, as a fault, cannot be read so.
    fn value<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        let found = read(&value);
        if found.is_none() {
            let shown: String = shown(&value).chars().take(60).collect();
            self.fault(key, &format!("found {shown}"), allowed);
        }
        found
    }
}

/// A value for a message; lists and tables by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(word) => word.to_string(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(entries) => format!("a list of {}", entries.len()),
        Value::Table(_) => "a table".to_owned(),
    }
}
