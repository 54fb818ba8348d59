//! What a test of one thing found.

use serde_json::{Value, json};

/// Characters shown of a text; ours are shorter.
const TEXT_CHARS_MAX: usize = 300;

/// One thing, what was read of it, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::selftest) struct Finding {
    pub(in crate::cli::selftest) thing: String,
    pub(in crate::cli::selftest) read: String,
    pub(in crate::cli::selftest) outcome: Outcome,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::selftest) enum Outcome {
    /// It works.
    Ok,
    /// It is not there, and nothing says that it must be. The text says what is done without it.
    Absent(String),
    /// It does not work. The text says what to do about it.
    Fault(String),
}

impl Finding {
    pub(in crate::cli::selftest) fn ok(thing: impl Into<String>, read: impl Into<String>) -> Self {
        Self { thing: shown(thing), read: shown(read), outcome: Outcome::Ok }
    }

    pub(in crate::cli::selftest) fn absent(thing: impl Into<String>, without: impl Into<String>) -> Self {
        Self { thing: shown(thing), read: String::new(), outcome: Outcome::Absent(shown(without)) }
    }

    pub(in crate::cli::selftest) fn fault(
        thing: impl Into<String>,
        read: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { thing: shown(thing), read: shown(read), outcome: Outcome::Fault(shown(remedy)) }
    }

    /// For people: state, thing, and what was read, or what is done without it.
    pub(in crate::cli::selftest) fn as_row(&self) -> Vec<String> {
        let (word, text) = self.words();
        let read = if matches!(self.outcome, Outcome::Absent(_)) { text } else { &self.read };
        vec![word.to_owned(), self.thing.clone(), read.to_owned()]
    }

    /// For people: what to do about a fault.
    pub(in crate::cli::selftest) fn remedy(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Fault(remedy) => Some(remedy),
            Outcome::Ok | Outcome::Absent(_) => None,
        }
    }

    pub(in crate::cli::selftest) fn as_json(&self) -> Value {
        let (word, text) = self.words();
        let mut value = json!({ "thing": self.thing, "read": self.read, "state": word });
        if !text.is_empty()
            && let Some(value) = value.as_object_mut()
        {
            let key = if matches!(self.outcome, Outcome::Fault(_)) { "remedy" } else { "note" };
            value.insert(key.to_owned(), json!(text));
        }
        value
    }

    fn words(&self) -> (&'static str, &str) {
        match &self.outcome {
            Outcome::Ok => ("ok", ""),
            Outcome::Absent(without) => ("absent", without),
            Outcome::Fault(remedy) => ("fault", remedy),
        }
    }
}

/// A text as a terminal may show it: files of a board may hold anything.
fn shown(text: impl Into<String>) -> String {
    let text: String = text.into();
    let shown = text.chars().take(TEXT_CHARS_MAX);
    shown.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
