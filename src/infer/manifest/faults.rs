//! Collects what is wrong with a manifest, and the checks that more than one key shares.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::infer::digest::Digest;
use crate::infer::manifest::raw::RawFile;
use crate::infer::manifest::{FileDigest, ManifestFault};

/// Faults that are told. A manifest of the greatest size can have a hundred thousand, and all of them go into one line
/// of the log.
const FAULTS_MAX: usize = 64;

/// Characters of a fault that come from the file.
const WRONG_CHARS: usize = 200;

/// Every fault found so far, as far as they are told.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<ManifestFault>);

impl Faults {
    pub(crate) fn push(&mut self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        let (key, wrong, allowed) = match self.0.len() {
            0..FAULTS_MAX => (key, wrong.into(), allowed.into()),
            FAULTS_MAX => ("", "there are more faults".to_owned(), "none: correct these first".to_owned()),
            _ => return,
        };
        let plain = |own: char| if own.is_control() { ' ' } else { own };
        let wrong = wrong.chars().map(plain).take(WRONG_CHARS).collect();
        self.0.push(ManifestFault { key: key.to_owned(), wrong, allowed });
    }

    pub(crate) fn require<T>(&mut self, key: &str, value: Option<T>, allowed: &str) -> Option<T> {
        if value.is_none() {
            self.push(key, "is missing", allowed);
        }
        value
    }

    /// A non-empty text of printable characters, at most 128 bytes: what graph and label names are.
    pub(crate) fn name(&mut self, key: &str, value: Option<String>) -> Arc<str> {
        const ALLOWED: &str = "1 to 128 bytes without control characters";
        let value = self.require(key, value, ALLOWED).unwrap_or_default();
        if value.is_empty() || value.len() > 128 || value.chars().any(char::is_control) {
            self.push(key, format!("{:?}", shortened(&value)), ALLOWED);
        }
        value.into()
    }

    /// A word that fits in topics and file names.
    pub(crate) fn word(&mut self, key: &str, value: Option<String>, extra: &str) -> Arc<str> {
        let allowed = format!("1 to 64 of a-z 0-9 -{extra}");
        let value = self.require(key, value, &allowed).unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || extra.contains(c);
        if value.is_empty() || value.len() > 64 || !value.chars().all(fits) {
            self.push(key, format!("{:?}", shortened(&value)), allowed);
        }
        value.into()
    }

    /// The name of a file in the same folder.
    pub(crate) fn file(&mut self, key: &str, value: Option<String>) -> Arc<str> {
        const ALLOWED: &str = "the name of a file beside the manifest, of A-Z a-z 0-9 . _ -";
        let value = self.require(key, value, ALLOWED).unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if value.is_empty() || value.len() > 128 || value.starts_with('.') || !value.chars().all(fits) {
            self.push(key, format!("{:?}", shortened(&value)), ALLOWED);
        }
        value.into()
    }

    pub(crate) fn digest(&mut self, key: &str, value: Option<String>) -> Digest {
        const ALLOWED: &str = "64 hexadecimal digits";
        let nothing = Digest::of(&[]);
        let Some(text) = self.require(key, value, ALLOWED) else { return nothing };
        text.parse().unwrap_or_else(|_| {
            self.push(key, format!("{:?}", shortened(&text)), ALLOWED);
            nothing
        })
    }

    /// A number in `low < value <= high`, or `low <= value` if `closed`.
    pub(crate) fn number(
        &mut self,
        key: &str,
        value: Option<f32>,
        (low, high): (f32, f32),
        default: Option<f32>,
    ) -> f32 {
        let allowed = format!("a number from {low} to {high}");
        let Some(value) = value.or(default) else {
            self.push(key, "is missing", allowed);
            return high;
        };
        if !(low..=high).contains(&value) {
            self.push(key, format!("{value}"), allowed);
        }
        value
    }

    /// A list of distinct names of a length from `low` to `high`.
    pub(crate) fn distinct(
        &mut self,
        key: &str,
        raw: Vec<String>,
        (low, high): (usize, usize),
    ) -> Vec<Arc<str>> {
        if !(low..=high).contains(&raw.len()) {
            self.push(key, format!("{} entries", raw.len()), format!("{low} to {high}"));
        }
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for (index, text) in raw.into_iter().enumerate() {
            let name = self.name(&format!("{key}[{index}]"), Some(text));
            if !seen.insert(name.clone()) {
                self.push(&format!("{key}[{index}]"), format!("{name:?} is there twice"), "distinct names");
            }
            names.push(name);
        }
        names
    }

    /// A file beside the manifest with its digest.
    pub(crate) fn file_digest(&mut self, key: &str, raw: RawFile) -> FileDigest {
        FileDigest {
            file: self.file(&format!("{key}.file"), raw.file),
            sha256: self.digest(&format!("{key}.sha256"), raw.sha256),
        }
    }
}

/// What was found in place of a word.
pub(crate) fn found(value: Option<&str>) -> String {
    value.map_or_else(|| "is missing".to_owned(), |text| format!("{:?}", shortened(text)))
}

/// The beginning of a text of the file.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The beginning of a list of the file.
pub(crate) fn shortened_list(list: &[usize]) -> Vec<usize> {
    list.iter().copied().take(9).collect()
}
