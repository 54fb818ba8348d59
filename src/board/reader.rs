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
        let Some(value) = self.take(key) else { return Vec::new() };
        let tables: Option<Vec<&Table>> =
            value.as_array().and_then(|entries| entries.iter().map(Value::as_table).collect());
        let Some(tables) = tables.filter(|tables| tables.len() <= ENTRIES_MAX) else {
            self.wrong(key, &value, "at most 16 tables, [[ ]]");
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (index, table) in tables.into_iter().enumerate() {
            entries.extend(self.enter(&format!("{key}[{index}]"), table.clone(), &mut read));
        }
        entries
    }

    fn enter<T>(&mut self, key: &str, table: Table, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        Reader::read(&self.path_of(key), table, self.faults, read)
    }

    /// A table inside this one; `None` if absent or, as a fault, something else.
    fn table(&mut self, key: &'static str) -> Option<Table> {
        let value = self.take(key)?;
        if let Value::Table(table) = value {
            return Some(table);
        }
        self.wrong(key, &value, "a table");
        None
    }

    /// A text that satisfies a rule.
    pub(crate) fn text(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let value = self.take(key)?;
        let text = value.as_str().filter(|text| rule(text)).map(str::to_owned);
        if text.is_none() {
            self.wrong(key, &value, allowed);
        }
        text
    }

    /// A quantity written as text, inside a range.
    pub(crate) fn quantity<T: FromStr>(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let value = self.take(key)?;
        let parsed = value.as_str().and_then(|text| text.parse().ok()).filter(rule);
        if parsed.is_none() {
            self.wrong(key, &value, allowed);
        }
        parsed
    }

    /// A duration inside a range.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        let value = self.take(key)?;
        let parsed = value.as_str().and_then(|text| parse_duration(text).ok()).filter(|&found| rule(found));
        if parsed.is_none() {
            self.wrong(key, &value, allowed);
        }
        parsed
    }

    /// One of the words of a closed list.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, &value, &allowed.join(" | "));
        }
        found.map(|&(_, value)| value)
    }

    /// Yes or no; `false` if absent.
    pub(crate) fn flag(&mut self, key: &'static str) -> bool {
        let Some(value) = self.take(key) else { return false };
        value.as_bool().unwrap_or_else(|| {
            self.wrong(key, &value, "true or false");
            false
        })
    }

    /// A whole number inside a range.
    pub(crate) fn whole(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(i64) -> bool,
    ) -> Option<i64> {
        let value = self.take(key)?;
        let number = value.as_integer().filter(|&number| rule(number));
        if number.is_none() {
            self.wrong(key, &value, allowed);
        }
        number
    }

    /// A number inside a range.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        allowed: &str,
        rule: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let value = self.take(key)?;
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let number = number.filter(|&number| rule(number));
        if number.is_none() {
            self.wrong(key, &value, allowed);
        }
        number
    }

    /// A list of at most 16 non-empty texts; empty if absent.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let texts: Option<Vec<String>> = value.as_array().and_then(|entries| {
            entries
                .iter()
                .map(|entry| entry.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
                .collect()
        });
        match texts {
            Some(texts) if (1..=ENTRIES_MAX).contains(&texts.len()) => texts,
            Some(_) | None => {
                self.wrong(key, &value, "a list of 1 to 16 texts");
                Vec::new()
            }
        }
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

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong(&mut self, key: &str, found: &Value, allowed: &str) {
        let found: String = shown(found).chars().take(60).collect();
        self.fault(key, &format!("found {found}"), allowed);
    }
}

/// A value for a message; lists and tables by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(word) => word.to_string(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(entries) => format!("a list of {}", entries.len()),
        Value::Table(_) => "a table".to_owned(),
    }
}
