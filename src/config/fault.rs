//! What is wrong with a configuration, written for the person who must mend it.

use std::cell::RefCell;
use std::fmt;

/// Key of the fault that the file is not TOML.
pub const WHOLE_FILE: &str = "(file)";

/// Characters shown of the path of a key; ours are shorter.
const KEY_CHARS_MAX: usize = 120;

/// One fault: where, what is wrong, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key, like `streams[1].window.length`.
    pub key: String,
    /// What was found.
    pub wrong: String,
    /// What may stand there.
    pub allowed: String,
}

/// Every fault found, in the order of the checks. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

/// Collects faults while the sections are read.
#[derive(Default)]
pub(in crate::config) struct Collector(RefCell<Vec<Fault>>);

impl Collector {
    pub(in crate::config) fn note(&self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        // A key may be anything that stands in the file.
        let key = key.chars().take(KEY_CHARS_MAX);
        let key = key.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        self.0.borrow_mut().push(Fault { key, wrong: wrong.into(), allowed: allowed.into() });
    }

    pub(in crate::config) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(in crate::config) fn finish(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; allowed: {}", self.key, self.wrong, self.allowed)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}
