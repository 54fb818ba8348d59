//! Event JSON: what the plant is told, what `decode` prints and what `encoding = "json"` sends.

use serde::Serialize;

use crate::flow::{EventId, Facts, Local, Named, Outbound, TaskResult, When};
use crate::wire::origin::Origin;
use crate::wire::summary_json::{kind_word, put_summary};
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
    put_word(out, "kind", kind_word(facts));
    put_when(out, facts.when);
    put_word(out, "clock", facts.clock.as_str());
    if let Some((local, _)) = local {
        put_report(out, local);
    }
    out.extend_from_slice(b",\"model\":");
    put_json(out, &*facts.model);
    match &facts.summary {
        Some(summary) => put_summary(out, summary),
        None => put_findings(out, facts, local.map(|(local, _)| local)),
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

/// What the models found: labels, features, entities.
fn put_findings(out: &mut Vec<u8>, facts: &Facts, local: Option<&Local>) {
    if !facts.results.is_empty() || facts.extraction.is_none() {
        put_results(out, &facts.results);
    }
    put_word(out, "verdict", facts.verdict().as_str());
    put_named(out, "features", &facts.features);
    if let Some(extracted) = facts.extraction.as_ref().filter(|_| !facts.results.is_empty()) {
        put_key(out, "extractor");
        put_json(out, &*extracted.model);
        put_word(out, "extraction", extracted.verdict.as_str());
    }
    if !facts.entities.is_empty() || facts.extraction.is_some() {
        put_entities(out, facts, local);
    }
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
            out.extend_from_slice(b",\"score\":");
            put_number(out, place.score);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// A key with a value that needs no escaping: a word of our own.
pub(crate) fn put_word(out: &mut Vec<u8>, key: &str, word: &str) {
    put_key(out, key);
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The shortest number that reads back the same; null for what is not a number.
pub(crate) fn put_number(out: &mut Vec<u8>, value: f32) {
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
pub(crate) fn put_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    // Writing a text or a number into memory cannot fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::{ClockQuality, EventTime};
    use crate::flow::{
        AssetId, Change, Entity, Extracted, LocalEntity, Priority, Private, StreamId, StreamKind, TimeSpan,
        Verdict,
    };
    use crate::wire::arbitrary::{event, origin};
    use crate::wire::parse::parse_event;

    fn line(facts: &Facts, local: Option<(&Local, &str)>) -> String {
        let mut out = Vec::new();
        write_event(&mut out, &origin(), facts, local);
        String::from_utf8(out).unwrap()
    }

    fn result(task: &str, label: &str, score: f32, verdict: Verdict) -> TaskResult {
        TaskResult { task: task.into(), label: label.into(), score, verdict, scores: vec![] }
    }

    fn window() -> Facts {
        let at = |second: i64| EventTime(1_795_143_600_000_000 + second * 1_000_000);
        let named = |name: &str, value| Named { name: name.into(), value };
        let mut result = result("", "pump-leak-severe", 0.93, Verdict::Accepted);
        result.scores = vec![named("none", 0.07), named("pump-leak-severe", 0.93)];
        Facts {
            id: EventId { epoch: 7, number: 1042 },
            stream: "hydraulics-1".into(),
            kind: StreamKind::Sensor,
            when: When::Span(TimeSpan { from: at(0), to: at(60) }),
            clock: ClockQuality::Synced,
            model: "hydraulic-condition@1.2.0".into(),
            results: vec![result],
            features: vec![named("vs1.rms", 0.61), named("ce.max", 47.0), named("x", 1e-9)],
            entities: vec![],
            extraction: None,
            completeness: Some(0.98),
            change: Change::New,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        }
    }

    fn report() -> (Facts, Local) {
        let mut facts = window();
        facts.kind = StreamKind::Report;
        facts.when = When::At(EventTime(1_795_143_600_250_000));
        facts.features.clear();
        facts.completeness = None;
        facts.results[0].scores.clear();
        let entity =
            |kind: &str, value: Option<&str>| Entity { kind: kind.into(), value: value.map(Arc::from) };
        facts.entities = vec![entity("Item", Some("hydraulic pump")), entity("Observation", None)];
        facts.extraction =
            Some(Extracted { model: "work-order-entities@1.0.0".into(), verdict: Verdict::Uncertain });
        let place = |text: &str, start, end| {
            let text = Private::new(text.to_owned());
            LocalEntity { text, start, end, score: 0.75 }
        };
        let local = Local {
            stream: StreamId(1),
            asset: AssetId(0),
            reference: Some(Private::new("WO-1881".to_owned())),
            text: Some(Private::new("hyd. pump \"leaks\"\n".to_owned())),
            entities: vec![place("hyd. pump", 0, 9), place("leaks", 11, 16)],
            alarm: None,
            alarm_changed: false,
        };
        (facts, local)
    }

    #[test]
    fn a_window_is_written_as_the_interface_says() {
        let expected = concat!(
            r#"{"v":1,"id":"mv-aurora/engine-room-1/7/1042","stream":"hydraulics-1","kind":"sensor","#,
            r#""from":"2026-11-20T03:00:00Z","to":"2026-11-20T03:01:00Z","clock":"synced","#,
            r#""model":"hydraulic-condition@1.2.0","label":"pump-leak-severe","score":0.93,"#,
            r#""scores":{"none":0.07,"pump-leak-severe":0.93},"verdict":"accepted","#,
            r#""features":{"vs1.rms":0.61,"ce.max":47,"x":1e-9},"completeness":0.98,"#,
            r#""change":"new","priority":"normal","historical":false}"#
        );
        assert_eq!(line(&window(), None), expected);
    }

    #[test]
    fn several_tasks_have_a_label_each_and_the_worst_verdict() {
        let mut facts = window();
        facts.results = vec![
            result("pump-leak", "severe", 0.97, Verdict::Accepted),
            result("cooler", "full", 0.4, Verdict::Uncertain),
        ];
        let expected = concat!(
            r#""labels":{"pump-leak":{"label":"severe","score":0.97,"verdict":"accepted"},"#,
            r#""cooler":{"label":"full","score":0.4,"verdict":"uncertain"}},"verdict":"uncertain","#
        );
        let line = line(&facts, None);
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains(r#""label":"pump-leak-severe""#));
    }

    #[test]
    fn a_report_shows_its_text_in_the_plant_only() {
        let (facts, local) = report();
        let expected = concat!(
            r#""stream":"hydraulics-1","asset":"crane/2","kind":"report","at":"2026-11-20T03:00:00.25Z","#,
            r#""clock":"synced","ref":"WO-1881","text":"hyd. pump \"leaks\"\n","model":"#,
        );
        let inside = line(&facts, Some((&local, "crane/2")));
        assert!(inside.contains(expected), "{inside}");
        let entities = concat!(
            r#""verdict":"accepted","extractor":"work-order-entities@1.0.0","extraction":"uncertain","#,
            r#""entities":[{"type":"Item","value":"hydraulic pump","text":"hyd. pump","start":0,"end":9,"score":0.75},"#,
            r#"{"type":"Observation","value":null,"text":"leaks","start":11,"end":16,"score":0.75}]"#
        );
        assert!(inside.contains(entities), "{inside}");
        let outside = line(&facts, None);
        assert!(
            outside.contains(r#""entities":[{"type":"Item","value":"hydraulic pump"},{"type""#),
            "{outside}"
        );
        for private in ["asset", "WO-1881", "leaks", "crane", "hyd.", "start"] {
            assert!(!outside.contains(private), "{private}");
        }
    }

    #[test]
    fn a_report_without_a_classifier_has_no_label_and_one_without_an_extraction_no_entities() {
        let (mut facts, _) = report();
        facts.entities.clear();
        let extraction = facts.extraction.take();
        let labelled = line(&facts, None);
        assert!(labelled.contains("label") && !labelled.contains("entities"), "{labelled}");
        facts.extraction = extraction.map(|found| Extracted { model: facts.model.clone(), ..found });
        facts.results.clear();
        let marked = line(&facts, None);
        let expected = r#""model":"hydraulic-condition@1.2.0","verdict":"uncertain","entities":[],"change""#;
        assert!(marked.contains(expected), "{marked}");
        assert_eq!(parse_event(marked.as_bytes()).unwrap().1, facts);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn event_json_is_json_and_reads_back(event in event()) {
            let facts = event.facts();
            let line = line(facts, None);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&value["v"], 1);
            let (from, read) = parse_event(line.as_bytes()).unwrap();
            prop_assert_eq!(&from, &origin());
            let mut expected = facts.clone();
            if let [only] = expected.results.as_mut_slice() {
                only.task = "".into();
            }
            // The sign of a zero is not kept.
            expected.features.iter_mut().for_each(|feature| feature.value += 0.0);
            prop_assert_eq!(&read, &expected);
            let mut again = Vec::new();
            write_event(&mut again, &from, &read, None);
            prop_assert_eq!(String::from_utf8(again).unwrap(), line);
        }

        #[test]
        fn a_damaged_line_is_an_event_or_an_error(
            event in event(), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let mut line = line(event.facts(), None).into_bytes();
            let at = at.index(line.len());
            line[at] = with;
            drop(parse_event(&line));
            prop_assert!(parse_event(&line[..at]).is_err());
        }
    }

    #[test]
    fn lines_that_contradict_themselves_are_refused() {
        let good = line(&window(), None);
        assert!(parse_event(good.as_bytes()).is_ok());
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("/7/1042", "/7"),
            ("/7/1042", "/7/1042/1"),
            ("/7/", "/x/"),
            ("\"from\"", "\"at\""),
            ("\"label\"", "\"labels\""),
            ("accepted", "certain"),
            ("sensor", "sensors"),
            ("2026-11-20T03:00:00Z", "yesterday"),
            ("\"change\":\"new\",", ""),
            ("\"score\":0.93,", ""),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(parse_event(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        let extended = good.replacen("{\"v\":1", "{\"v\":1,\"future\":[1,{}]", 1);
        assert!(parse_event(extended.as_bytes()).is_ok());
    }
}
