//! The closed list of terms that may stand for a piece of a plant's text.
//!
//! A piece is normalised as for [`crate::text::NgramEncoder`], without the two outer spaces. If it is an alias, its term
//! is the answer. Otherwise each of its words that has another form is replaced by it; if the result is a term, that is
//! the answer. If not, the same is tried without the marks of punctuation at both ends: a model that cuts words at
//! spaces takes the comma behind a word for a part of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use crate::text::ngrams::normalise;

/// The most terms: an event names one by its index.
pub const TERMS_MAX: usize = 8192;

/// The most aliases, and the most words with another form.
pub const ALIASES_MAX: usize = 16_384;

/// The longest term, alias or word. The longest entity of the work orders has 62.
pub const TERM_BYTES_MAX: usize = 128;

/// The largest vocabulary file: terms, aliases and words at 40 bytes each.
pub const VOCABULARY_BYTES_MAX: usize = 2 << 20;

/// Characters of what the parser says.
const WHY_CHARS: usize = 200;

/// Why a vocabulary cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// The file is too large to be one.
    #[error("vocabulary of {bytes} bytes: at most {VOCABULARY_BYTES_MAX} are taken")]
    Size {
        /// As read.
        bytes: usize,
    },
    /// The file is not of the form `{"terms": [], "aliases": {}, "words": {}}`.
    #[error("parse vocabulary: {why}")]
    Json {
        /// Why, shortened: the parser repeats a key it does not know, however long.
        why: String,
    },
    /// A list is empty or too long.
    #[error("vocabulary {list}: {count} entries, must be {least} to {most}")]
    Count {
        /// Its key.
        list: &'static str,
        /// As found.
        count: usize,
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
    },
    /// An entry is empty, too long or not distinct from another once normalised.
    #[error("vocabulary {list}: {entry:?} {fault}")]
    Entry {
        /// Key of the list.
        list: &'static str,
        /// The entry, shortened.
        entry: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVocabulary {
    terms: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    words: BTreeMap<String, String>,
}

/// Terms, and what else is written for them.
pub struct Vocabulary {
    terms: Vec<Arc<str>>,
    /// Normalised term → index.
    index: HashMap<String, u16>,
    /// Normalised alias → index of its term.
    aliases: HashMap<String, u16>,
    /// Normalised word → its other form.
    words: HashMap<String, String>,
    plain: String,
    replaced: String,
}

/// What may stand around a word and says nothing about what it means.
const AROUND: &[char] = &[' ', '.', ',', ';', ':', '!', '?', '"', '\'', '(', ')', '[', ']'];

impl Vocabulary {
    /// Reads the JSON of a vocabulary file.
    ///
    /// # Errors
    /// If it is malformed, a list is too long, an entry is empty or longer than [`TERM_BYTES_MAX`], two entries of a list
    /// are the same once normalised, or an alias leads to no term.
    pub fn parse(json: &[u8]) -> Result<Self, VocabularyError> {
        if json.len() > VOCABULARY_BYTES_MAX {
            return Err(VocabularyError::Size { bytes: json.len() });
        }
        let raw: RawVocabulary = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        let within = |list, count, least, most| {
            let fits = (least..=most).contains(&count);
            if fits { Ok(()) } else { Err(VocabularyError::Count { list, count, least, most }) }
        };
        within("terms", raw.terms.len(), 1, TERMS_MAX)?;
        within("aliases", raw.aliases.len(), 0, ALIASES_MAX)?;
        within("words", raw.words.len(), 0, ALIASES_MAX)?;
        let mut index = HashMap::new();
        for (number, term) in (0..=u16::MAX).zip(&raw.terms) {
            if term.contains(char::is_control) {
                return Err(entry("terms", term, "has control characters"));
            }
            // Numbers are all alike in the lookup: any would be told as this one.
            if plain("terms", term)?.contains('0') {
                return Err(entry("terms", term, "has digits, and would be told for any other number"));
            }
            insert(&mut index, "terms", term, number)?;
        }
        let mut aliases = HashMap::new();
        for (alias, term) in &raw.aliases {
            let number = index.get(&plain("aliases", term)?).copied();
            let number = number.ok_or_else(|| entry("aliases", term, "is no term"))?;
            insert(&mut aliases, "aliases", alias, number)?;
        }
        let mut words = HashMap::new();
        for (word, other) in &raw.words {
            if plain("words", word)?.contains(' ') {
                return Err(entry("words", word, "is more than one word"));
            }
            // Nothing as other form: the word says nothing.
            let other = if other.is_empty() { String::new() } else { plain("words", other)? };
            insert(&mut words, "words", word, other)?;
        }
        let terms = raw.terms.into_iter().map(Arc::from).collect();
        Ok(Self { terms, index, aliases, words, plain: String::new(), replaced: String::new() })
    }

    /// The terms in the order of the file.
    pub fn terms(&self) -> &[Arc<str>] {
        &self.terms
    }

    /// Index of the term that stands for `text`, if there is one.
    pub fn lookup(&mut self, text: &str) -> Option<u16> {
        normalise(text, &mut self.plain);
        let whole = self.plain.trim_matches(' ');
        let bare = whole.trim_matches(AROUND);
        let Self { index, aliases, words, replaced, .. } = self;
        let mut find = |plain: &str| find(plain, (index, aliases, words), replaced);
        find(whole).or_else(|| if bare.len() < whole.len() { find(bare) } else { None })
    }
}

/// Terms and aliases by their normalised form, and other forms of words.
type Tables<'a> = (&'a HashMap<String, u16>, &'a HashMap<String, u16>, &'a HashMap<String, String>);

/// Index of the term that stands for a normalised text.
fn find(plain: &str, (index, aliases, words): Tables<'_>, replaced: &mut String) -> Option<u16> {
    if let Some(&term) = aliases.get(plain) {
        return Some(term);
    }
    replaced.clear();
    for word in plain.split(' ') {
        let form = words.get(word).map_or(word, String::as_str);
        if form.is_empty() {
            continue;
        }
        // No term is longer, and nothing gets shorter again.
        if replaced.len() + form.len() > TERM_BYTES_MAX * PLAIN_FACTOR {
            return None;
        }
        if !replaced.is_empty() {
            replaced.push(' ');
        }
        replaced.push_str(form);
    }
    index.get(replaced.as_str()).copied()
}

/// How much longer than the text its normalised form may be: U+FDFA of 3 bytes becomes 33.
const PLAIN_FACTOR: usize = 11;

/// The normalised form of an entry.
fn plain(list: &'static str, text: &str) -> Result<String, VocabularyError> {
    if text.len() > TERM_BYTES_MAX {
        return Err(entry(list, text, "is too long"));
    }
    let mut plain = String::new();
    normalise(text, &mut plain);
    let plain = plain.trim_matches(' ');
    if plain.is_empty() { Err(entry(list, text, "is empty")) } else { Ok(plain.to_owned()) }
}

fn insert<T>(
    map: &mut HashMap<String, T>,
    list: &'static str,
    text: &str,
    value: T,
) -> Result<(), VocabularyError> {
    match map.insert(plain(list, text)?, value) {
        None => Ok(()),
        Some(_) => Err(entry(list, text, "is there twice, once normalised")),
    }
}

fn malformed(error: &serde_json::Error) -> VocabularyError {
    let plain = |own: char| if own.is_control() { ' ' } else { own };
    VocabularyError::Json { why: error.to_string().chars().map(plain).take(WHY_CHARS).collect() }
}

fn entry(list: &'static str, text: &str, fault: &'static str) -> VocabularyError {
    VocabularyError::Entry { list, entry: text.chars().take(40).collect(), fault }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = r#"{"terms": ["hydraulic pump", "Air Conditioner", "bolt", "hourly service"],
        "aliases": {"hyd pmp": "hydraulic pump", "500 hour service": "hourly service", "AC": "air conditioner"},
        "words": {"hyd": "hydraulic", "a/c": "air conditioner", "bolts": "bolt", "the": ""}}"#;

    #[test]
    fn a_piece_is_found_as_alias_or_word_by_word() {
        let mut vocabulary = Vocabulary::parse(EXAMPLE.as_bytes()).unwrap();
        for (text, expect) in [
            ("HYD  PMP", Some("hydraulic pump")),
            ("Hyd pump", Some("hydraulic pump")),
            ("the hydraulic pump", Some("hydraulic pump")),
            ("A/C", Some("Air Conditioner")),
            ("ac", Some("Air Conditioner")),
            ("\tBolts\n", Some("bolt")),
            ("1000 hour service", Some("hourly service")),
            ("bolts,", Some("bolt")),
            ("(hyd pmp).", Some("hydraulic pump")),
            ("a/c;", Some("Air Conditioner")),
            ("pump", None),
            (",", None),
            ("hyd, pmp", None),
            ("hyd pmp bolts", None),
            ("the", None),
            ("", None),
        ] {
            let found = vocabulary.lookup(text).map(|term| vocabulary.terms()[usize::from(term)].to_string());
            assert_eq!(found.as_deref(), expect, "{text:?}");
        }
    }

    #[test]
    fn an_unusable_vocabulary_is_refused_with_its_entry() {
        for (json, expect) in [
            (r#"{"terms": []}"#, "vocabulary terms: 0 entries, must be 1 to 8192"),
            ("{", "parse vocabulary: EOF while parsing an object at line 1 column 1"),
            (r#"{"terms": ["a\u001b[2J"]}"#, "vocabulary terms: \"a\\u{1b}[2J\" has control characters"),
            (
                r#"{"terms": ["500 hour service"]}"#,
                "vocabulary terms: \"500 hour service\" has digits, and would be told for any other number",
            ),
            (r#"{"terms": ["a", " A "]}"#, "vocabulary terms: \" A \" is there twice, once normalised"),
            (r#"{"terms": [" "]}"#, "vocabulary terms: \" \" is empty"),
            (r#"{"terms": ["a"], "aliases": {"b": "c"}}"#, "vocabulary aliases: \"c\" is no term"),
            (r#"{"terms": ["a"], "words": {"b c": "a"}}"#, "vocabulary words: \"b c\" is more than one word"),
        ] {
            let error = Vocabulary::parse(json.as_bytes()).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), expect);
        }
        let unknown = format!(r#"{{"terms": ["a"], "{}": 1}}"#, "\\u001bk".repeat(1000));
        let error = Vocabulary::parse(unknown.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(error.len() < 300 && error.starts_with("parse vocabulary: unknown field ` k k"), "{error}");
        let long = format!(r#"{{"terms": ["{}"]}}"#, "x".repeat(TERM_BYTES_MAX + 1));
        assert!(Vocabulary::parse(long.as_bytes()).is_err());
        let many: Vec<String> =
            (0..=TERMS_MAX).map(|number| "a".to_owned() + &"b".repeat(number % 100)).collect();
        let many = serde_json::json!({ "terms": many }).to_string();
        assert!(matches!(Vocabulary::parse(many.as_bytes()), Err(VocabularyError::Count { .. })));
        assert!(Vocabulary::parse(&vec![b' '; VOCABULARY_BYTES_MAX + 1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_term_finds_itself_and_any_text_finds_a_term_or_nothing(text in any::<String>()) {
            let mut vocabulary = Vocabulary::parse(EXAMPLE.as_bytes()).unwrap();
            for (number, term) in vocabulary.terms().to_vec().iter().enumerate() {
                prop_assert_eq!(vocabulary.lookup(term).map(usize::from), Some(number));
            }
            let found = vocabulary.lookup(&text);
            prop_assert!(found.is_none_or(|term| usize::from(term) < vocabulary.terms().len()));
        }
    }
}
