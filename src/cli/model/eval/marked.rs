//! Reports with the entities that are in them: words with a tag each, or a text with spans.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use crate::quality::{Entity, of_tags};

/// Keys of a span's first character, of the one after its last, and of its type, as data sets write them.
const START_KEYS: [&str; 2] = ["start", "start_position"];
const END_KEYS: [&str; 2] = ["end", "end_position"];
const TYPE_KEYS: [&str; 3] = ["type", "label", "entity_type"];

/// Characters of a wrong span that are shown.
const SPAN_CHARS: usize = 200;

/// A text with its entities, places in bytes. Entities of types that are left out on purpose are not among them.
pub(in crate::cli::model::eval) struct Marked {
    pub(in crate::cli::model::eval) text: String,
    pub(in crate::cli::model::eval) entities: Vec<Entity>,
    /// Entities that were left out.
    pub(in crate::cli::model::eval) left_out: u64,
}

/// What a type means: `Ok(None)` if it is left out on purpose.
pub(in crate::cli::model::eval) type KindOf<'a> = &'a dyn Fn(&str) -> Result<Option<usize>, String>;

/// Reads one object: `tokens` and `tags` of one length, the text being the tokens with a space between them; or a text
/// and `spans`, places in characters.
///
/// # Errors
/// What is wrong, in words.
pub(in crate::cli::model::eval) fn read(
    object: &Map<String, Value>,
    text: &str,
    kind_of: KindOf<'_>,
) -> Result<Marked, String> {
    match (object.get("tokens"), object.get("tags"), object.get(text), object.get("spans")) {
        (Some(tokens), Some(tags), _, _) => {
            let words = strings(tokens).ok_or("\"tokens\" is no list of texts")?;
            let tags = strings(tags).ok_or("\"tags\" is no list of texts")?;
            of_words(&words, &tags, kind_of)
        }
        (_, _, Some(Value::String(text)), Some(Value::Array(spans))) => of_spans(text, spans, kind_of),
        (_, _, _, _) => Err(format!("neither \"tokens\" and \"tags\" nor {text:?} and \"spans\"")),
    }
}

fn of_words(words: &[&str], tags: &[&str], kind_of: KindOf<'_>) -> Result<Marked, String> {
    if words.len() != tags.len() {
        return Err(format!("{} tokens, but {} tags", words.len(), tags.len()));
    }
    // A type is asked for once. Types that are left out have numbers too, so that each ends the one before.
    let (mut numbers, mut kinds) = (BTreeMap::new(), Vec::new());
    for (_, name) in tags.iter().filter_map(|tag| tag.split_once('-')) {
        if let Entry::Vacant(entry) = numbers.entry(name) {
            entry.insert(kinds.len());
            kinds.push(kind_of(name)?);
        }
    }
    let tagged = of_tags(tags, &|name| numbers.get(name).copied())
        .map_err(|tag| format!("{tag:?} is none of O, B-type and I-type"))?;
    let mut starts = Vec::with_capacity(words.len());
    let mut text = String::new();
    for word in words {
        if !starts.is_empty() {
            text.push(' ');
        }
        starts.push(text.len());
        text.push_str(word);
    }
    let mut marked = Marked { text, entities: Vec::new(), left_out: 0 };
    for entity in tagged {
        let last = entity.end.saturating_sub(1);
        let place = starts.get(entity.start).zip(starts.get(last)).zip(words.get(last));
        let Some(((start, last), word)) = place else { continue };
        match kinds.get(entity.kind).copied().flatten() {
            Some(kind) => marked.entities.push(Entity { kind, start: *start, end: last + word.len() }),
            None => marked.left_out += 1,
        }
    }
    Ok(marked)
}

fn of_spans(text: &str, spans: &[Value], kind_of: KindOf<'_>) -> Result<Marked, String> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let mut marked = Marked { text: text.to_owned(), entities: Vec::new(), left_out: 0 };
    for span in spans {
        let find = |keys: &[&str]| keys.iter().find_map(|key| span.get(*key));
        let place = |keys: &[&str]| {
            let at = find(keys).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok())?;
            bytes.get(at).copied()
        };
        let whole = place(&START_KEYS).zip(place(&END_KEYS)).zip(find(&TYPE_KEYS).and_then(Value::as_str));
        let Some(((start, end), name)) = whole.filter(|((start, end), _)| start < end) else {
            let span: String = span.to_string().chars().take(SPAN_CHARS).collect();
            return Err(format!(
                "a span is {{\"{}\", \"{}\", \"{}\"}}, places in characters of the text, not {span}",
                TYPE_KEYS.join("|"),
                START_KEYS.join("|"),
                END_KEYS.join("|")
            ));
        };
        match kind_of(name)? {
            Some(kind) => marked.entities.push(Entity { kind, start, end }),
            None => marked.left_out += 1,
        }
    }
    Ok(marked)
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind_of(name: &str) -> Result<Option<usize>, String> {
        match name {
            "Item" => Ok(Some(0)),
            "Person" => Ok(Some(1)),
            "Date" => Ok(None),
            other => Err(format!("no {other}")),
        }
    }

    fn marked(value: &Value) -> Result<Marked, String> {
        read(value.as_object().unwrap(), "text", &kind_of)
    }

    fn check(value: &Value, text: &str, entity: (usize, usize, usize)) {
        let marked = marked(value).unwrap();
        let (kind, start, end) = entity;
        assert_eq!((marked.text.as_str(), marked.entities), (text, vec![Entity { kind, start, end }]));
    }

    #[test]
    fn places_are_bytes_of_the_text_whatever_the_data_counts() {
        let words =
            json!({ "tokens": ["kühle", "oil", "pump", "1/2"], "tags": ["O", "B-Item", "I-Item", "B-Date"] });
        check(&words, "kühle oil pump 1/2", (0, 7, 15));
        let spans = json!({ "text": "für Änne", "spans": [{ "entity_type": "Person", "start_position": 4, "end_position": 8 }] });
        check(&spans, "für Änne", (1, 5, 10));
    }

    #[test]
    fn a_type_is_asked_for_once_however_many_there_are() {
        // Looked for one in another they are two hundred million comparisons.
        let tags: Vec<String> = (0..40_000).map(|number| format!("B-{}", number % 20_000)).collect();
        let report = json!({ "tokens": vec!["x"; tags.len()], "tags": tags });
        let asked = std::cell::Cell::new(0);
        let kind_of = |name: &str| {
            asked.set(asked.get() + 1);
            Ok((name == "7").then_some(0))
        };
        let marked = read(report.as_object().unwrap(), "text", &kind_of).unwrap();
        assert_eq!((asked.get(), marked.entities.len(), marked.left_out), (20_000, 2, 39_998));
    }

    #[test]
    fn what_is_wrong_with_a_report_is_said() {
        for (value, words) in [
            (json!({ "tokens": ["a"], "tags": [] }), "1 tokens, but 0 tags"),
            (json!({ "tokens": ["a"], "tags": ["Item"] }), "none of O, B-type"),
            (json!({ "tokens": ["a"], "tags": ["B-Pump"] }), "no Pump"),
            (json!({ "tokens": [1], "tags": ["O"] }), "no list of texts"),
            (json!({ "text": "a" }), "neither"),
            (
                json!({ "text": "a", "spans": [{ "type": "Item", "start": 0, "end": 2 }] }),
                "places in characters",
            ),
            (
                json!({ "text": "ab", "spans": [{ "type": "Item", "start": 1, "end": 1 }] }),
                "places in characters",
            ),
        ] {
            let error = marked(&value).err().unwrap();
            assert!(error.contains(words), "{error} lacks {words:?}");
        }
        let long = json!({ "text": "a", "spans": [{ "x": "y".repeat(100_000) }] });
        assert!(marked(&long).err().unwrap().len() < 500);
    }
}
