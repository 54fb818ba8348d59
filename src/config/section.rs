//! Walks one table of the file: each key is asked for once, what was not asked for is unknown.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use crate::config::fault::Collector;
use crate::units::{format_duration, parse_duration};

/// One table of the file with its path.
pub(in crate::config) struct Section<'a> {
    path: String,
    table: Option<&'a Table>,
    /// Something else stands where the table belongs, which was told: what is missing in it follows from that.
    is_wrong: bool,
    asked: RefCell<BTreeSet<&'static str>>,
    faults: &'a Collector,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(in crate::config) fn root(table: &'a Table, faults: &'a Collector) -> Self {
        Self { path: String::new(), table: Some(table), is_wrong: false, asked: RefCell::default(), faults }
    }

    /// Path of a key of this table.
    pub(in crate::config) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a fault at one of this table's keys.
    pub(in crate::config) fn fault(&self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        self.faults.note(&self.path_of(key), wrong, allowed);
    }

    fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(key);
        self.table?.get(key)
    }

    /// Whether the key is there.
    pub(in crate::config) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// A table; absent is the same as empty.
    pub(in crate::config) fn section(&self, key: &'static str) -> Self {
        let table = self.table(key);
        let is_wrong = self.is_wrong || (table.is_none() && self.has(key));
        Self { path: self.path_of(key), table, is_wrong, asked: RefCell::default(), faults: self.faults }
    }

    /// A table as it stands, for a reader of its own.
    pub(in crate::config) fn table(&self, key: &'static str) -> Option<&'a Table> {
        let value = self.value(key)?;
        let table = value.as_table();
        if table.is_none() {
            let allowed = format!("[{}]", self.path_of(key));
            self.fault(key, format!("{} where a table belongs", value.type_str()), allowed);
        }
        table
    }

    /// An array of tables, `[[key]]`.
    pub(in crate::config) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.fault(
                key,
                format!("{} where a list of tables belongs", value.type_str()),
                format!("[[{}]]", self.path_of(key)),
            );
            return Vec::new();
        };
        let entry = |(index, item): (usize, &'a Value)| {
            let path = format!("{}[{index}]", self.path_of(key));
            let table = item.as_table();
            if table.is_none() {
                self.faults.note(&path, format!("{} where a table belongs", item.type_str()), "a table");
            }
            let is_wrong = table.is_none();
            Self { path, table, is_wrong, asked: RefCell::default(), faults: self.faults }
        };
        items.iter().enumerate().map(entry).collect()
    }

    /// How many tables a list has, good ones and bad ones.
    pub(in crate::config) fn entries(&self, key: &'static str) -> usize {
        self.value(key).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// A text, if there.
    pub(in crate::config) fn text(&self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.fault(key, format!("{} where a text belongs", value.type_str()), "a text in quotes");
        }
        text
    }

    /// A text that must be there.
    pub(in crate::config) fn required(&self, key: &'static str, allowed: &str) -> Option<&'a str> {
        self.require(key, allowed);
        self.text(key)
    }

    /// Notes a key that is absent and must be there.
    pub(in crate::config) fn require(&self, key: &'static str, allowed: &str) {
        if !self.has(key) && !self.is_wrong {
            self.fault(key, "missing", allowed);
        }
    }

    /// Whether this word stands there.
    pub(in crate::config) fn says(&self, key: &'static str, word: &str) -> bool {
        self.value(key).and_then(Value::as_str) == Some(word)
    }

    /// One word of a closed list.
    pub(in crate::config) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(key) else { return default };
        let found = words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
        found.unwrap_or_else(|| {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(key, format!("{text:?}"), allowed.join(" | "));
            default
        })
    }

    /// The text of a number with its unit, if there.
    fn with_unit(&self, key: &'static str, allowed: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.fault(key, format!("{} is no text with a number and a unit", shown(value)), allowed);
        }
        text
    }

    /// A quantity with a unit in a range, if there.
    pub(in crate::config) fn quantity<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display> + PartialOrd + Copy + std::fmt::Display,
    {
        let allowed = format!("{} to {}", range.start(), range.end());
        let text = self.with_unit(key, &allowed)?;
        match text.parse::<T>() {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(value) => {
                self.fault(key, format!("{value} is out of range"), allowed);
                None
            }
            Err(error) => {
                self.fault(key, error.to_string(), allowed);
                None
            }
        }
    }

    /// A duration with a unit in a range, if there.
    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let allowed = format!("{} to {}", format_duration(*range.start()), format_duration(*range.end()));
        let text = self.with_unit(key, &allowed)?;
        match parse_duration(text) {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(value) => {
                self.fault(key, format!("{} is out of range", format_duration(value)), allowed);
                None
            }
            Err(error) => {
                self.fault(key, error.to_string(), allowed);
                None
            }
        }
    }

    /// A number in a range, if there. Whole numbers are taken as numbers.
    pub(in crate::config) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let accepted = number.filter(|number| range.contains(number));
        if accepted.is_none() {
            self.fault(key, shown(value), format!("a number from {} to {}", range.start(), range.end()));
        }
        accepted
    }

    /// A whole number in a range, if there.
    pub(in crate::config) fn whole(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let number = value.as_integer().and_then(|whole| u32::try_from(whole).ok());
        let accepted = number.filter(|number| range.contains(number));
        if accepted.is_none() {
            self.fault(
                key,
                shown(value),
                format!("a whole number from {} to {}", range.start(), range.end()),
            );
        }
        accepted
    }

    /// `true` or `false`, if there.
    pub(in crate::config) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.fault(key, shown(value), "true | false");
            default
        })
    }

    /// A list of texts; absent is empty.
    pub(in crate::config) fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        texts.unwrap_or_else(|| {
            self.fault(key, format!("{} where a list of texts belongs", value.type_str()), "[\"a\", \"b\"]");
            Vec::new()
        })
    }

    /// Ends the reading of this table: whatever was not asked for is unknown.
    pub(in crate::config) fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.into_iter().flat_map(Table::keys) {
            if !asked.contains(key.as_str()) {
                let known: Vec<&str> = asked.iter().copied().collect();
                let hint =
                    nearest(key, &known).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
                self.faults.note(&self.path_of(key), format!("unknown key{hint}"), known.join(", "));
            }
        }
    }
}

/// A value as it stands in the file, cut short.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            format!("a value of type {}", value.type_str())
        }
    }
}

/// The known word at most two edits away.
fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    known
        .iter()
        .copied()
        .map(|other| (edits(word, other), other))
        .filter(|&(count, _)| count <= 2)
        .min()
        .map(|(_, other)| other)
}

/// Edit distance of Levenshtein by the usual one-row recurrence.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(right.chars()) {
            let above = *cell;
            *cell = (diagonal + usize::from(a != b)).min(above + 1).min(before + 1);
            diagonal = above;
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_single_changes() {
        for (a, b, distance) in [("", "", 0), ("a", "", 1), ("topic", "topics", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let table: Table = "szie_max = \"1 MiB\"".parse().unwrap();
        let faults = Collector::default();
        let section = Section::root(&table, &faults);
        assert!(section.text("size_max").is_none());
        section.finish();
        let faults = crate::config::Faults(faults.finish());
        assert_eq!(
            faults.to_string(),
            "szie_max: unknown key (did you mean \"size_max\"?); allowed: size_max"
        );
    }
}
