//! Event JSON: what the plant is told, what `decode` prints and what `encoding = "json"` sends.

use serde::Serialize;

use crate::flow::{EventId, Facts, Local, Named, Outbound, StreamKind, TaskResult, When};
use crate::wire::batch::Origin;
use crate::wire::time::put_time;

/// Whole numbers below this are written without a fraction; single precision holds all of them.
const WHOLE_MAX: f32 = 16_777_216.0;

/// Appends one event as one line of JSON without the line end.
///
/// `local` adds what stays in the plant, with the name of the asset. Pass it for the plant's own broker only.
pub fn write_event(out: &mut Vec<u8>, origin: &Origin, facts: &Facts, local: Option<(&Local, &str)>) {
    out.extend_from_slice(b"{\"v\":1,\"id\":\"");
    put_id(out, origin, facts.id);
    out.extend_from_slice(b"\",\"stream\":");
    put_json(out, &*facts.stream);
    if let Some((_, asset)) = local.filter(|(_, asset)| !asset.is_empty()) {
        out.extend_from_slice(b",\"asset\":");
        put_json(out, asset);
    }
    put_word(out, "kind", facts.kind.as_str());
    put_when(out, facts.when);
    put_word(out, "clock", facts.clock.as_str());
    if let Some((local, _)) = local {
        put_report(out, local);
    }
    out.extend_from_slice(b",\"model\":");
    put_json(out, &*facts.model);
    put_results(out, &facts.results);
    put_word(out, "verdict", facts.verdict().as_str());
    put_named(out, "features", &facts.features);
    if !facts.entities.is_empty() || facts.kind == StreamKind::Report {
        put_entities(out, facts, local.map(|(local, _)| local));
    }
    if let Some(completeness) = facts.completeness {
        out.extend_from_slice(b",\"completeness\":");
        put_number(out, completeness);
    }
    put_word(out, "change", facts.change.as_str());
    put_word(out, "priority", facts.priority.as_str());
    out.extend_from_slice(if facts.historical {
        b",\"historical\":true}"
    } else {
        b",\"historical\":false}"
    });
}

/// Appends the events as lines of JSON, each with its line end: the other encoding of a batch.
pub fn encode_json(origin: &Origin, events: &[Outbound], out: &mut Vec<u8>) {
    for event in events {
        write_event(out, origin, event.facts(), None);
        out.push(b'\n');
    }
}

/// `site/gateway/epoch/number`, inside quotes.
fn put_id(out: &mut Vec<u8>, origin: &Origin, id: EventId) {
    put_escaped(out, &origin.site);
    out.push(b'/');
    put_escaped(out, &origin.gateway);
    out.push(b'/');
    put_json(out, &id.epoch);
    out.push(b'/');
    put_json(out, &id.number);
}

fn put_when(out: &mut Vec<u8>, when: When) {
    match when {
        When::Span(span) => {
            out.extend_from_slice(b",\"from\":\"");
            put_time(out, span.from);
            out.extend_from_slice(b"\",\"to\":\"");
            put_time(out, span.to);
        }
        When::At(at) => {
            out.extend_from_slice(b",\"at\":\"");
            put_time(out, at);
        }
    }
    out.push(b'"');
}

fn put_report(out: &mut Vec<u8>, local: &Local) {
    if let Some(reference) = &local.reference {
        out.extend_from_slice(b",\"ref\":");
        put_json(out, reference.expose());
    }
    if let Some(text) = &local.text {
        out.extend_from_slice(b",\"text\":");
        put_json(out, text.expose());
    }
}

/// One task: its label, score and scores. Several: `labels` by task, each with its verdict.
fn put_results(out: &mut Vec<u8>, results: &[TaskResult]) {
    if let [result] = results {
        out.push(b',');
        put_result(out, result);
        return;
    }
    out.extend_from_slice(b",\"labels\":{");
    for (index, result) in results.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json(out, &*result.task);
        out.extend_from_slice(b":{");
        put_result(out, result);
        put_word(out, "verdict", result.verdict.as_str());
        out.push(b'}');
    }
    out.push(b'}');
}

fn put_result(out: &mut Vec<u8>, result: &TaskResult) {
    out.extend_from_slice(b"\"label\":");
    put_json(out, &*result.label);
    out.extend_from_slice(b",\"score\":");
    put_number(out, result.score);
    put_named(out, "scores", &result.scores);
}

/// An object of numbers; nothing when there are none.
fn put_named(out: &mut Vec<u8>, key: &str, numbers: &[Named]) {
    for (index, number) in numbers.iter().enumerate() {
        if index == 0 {
            put_key(out, key);
            out.push(b'{');
        } else {
            out.push(b',');
        }
        put_json(out, &*number.name);
        out.push(b':');
        put_number(out, number.value);
    }
    if !numbers.is_empty() {
        out.push(b'}');
    }
}

fn put_entities(out: &mut Vec<u8>, facts: &Facts, local: Option<&Local>) {
    put_key(out, "entities");
    out.push(b'[');
    for (index, entity) in facts.entities.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"type\":");
        put_json(out, &*entity.kind);
        out.extend_from_slice(b",\"value\":");
        match &entity.value {
            Some(value) => put_json(out, &**value),
            None => out.extend_from_slice(b"null"),
        }
        if let Some(place) = local.and_then(|local| local.entities.get(index)) {
            out.extend_from_slice(b",\"text\":");
            put_json(out, place.text.expose());
            out.extend_from_slice(b",\"start\":");
            put_json(out, &place.start);
            out.extend_from_slice(b",\"end\":");
            put_json(out, &place.end);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// A key with a value that needs no escaping: a word of our own.
fn put_word(out: &mut Vec<u8>, key: &str, word: &str) {
    put_key(out, key);
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The shortest number that reads back the same; null for what is not a number.
fn put_number(out: &mut Vec<u8>, value: f32) {
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below two to the 24th")]
        put_json(out, &(value as i32));
    } else {
        put_json(out, &value);
    }
}

/// Text inside quotes that are already there.
fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    put_json(out, text);
    out.pop();
    if out.get(start) == Some(&b'"') {
        out.remove(start);
    }
}

/// Texts and numbers, escaped and printed by `serde_json` straight into `out`.
fn put_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    // Writing a text or a number into memory cannot fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}
