//! Reports with a classifier, an extractor or both.

use std::path::Path;

use serde_json::{Value, json};
use tidegate::flow::Outbound;

use crate::service::tap::{Seen, feed};
use crate::service::world::{Plan, World, events, last, model};

/// A report stream, and the models it names.
fn reports(name: &str, models: &str) -> String {
    format!(
        "[[streams]]\nname = \"{name}\"\nkind = \"report\"\ntopic = \"plant/{name}\"\n\
         payload = {{ format = \"json\", text = \"text\", id = \"id\" }}\n{models}\n\
         forward = {{ events = \"all\", entities = \"vocabulary\" }}\n"
    )
}

fn models(names: &[&str], folder: &Path) -> String {
    names.iter().map(|name| model(name, folder)).collect()
}

fn written(stream: &str, number: u32, text: &str) -> (String, Vec<u8>) {
    (format!("plant/{stream}"), json!({"id": format!("WO-{number}"), "text": text}).to_string().into_bytes())
}

/// The decision about a report.
fn decision(world: &World, stream: &str, number: u32) -> Value {
    let (topic, reference) = (format!("event/{stream}"), format!("WO-{number}"));
    world.ear.wait(0, &format!("{stream} {reference}"), |seen| {
        let mut decisions = seen.iter().filter(|seen| seen.topic.ends_with(&topic)).map(Seen::json);
        decisions.find(|json| json["ref"] == reference.as_str())
    })
}

/// Entities of a decision as (type, value, text, start).
fn entities(decision: &Value) -> Vec<(String, Option<String>, String, u64)> {
    let text = |entity: &Value, key: &str| entity[key].as_str().map(str::to_owned);
    let listed = decision["entities"].as_array().unwrap().iter();
    let entity = |entity: &Value| {
        let (text, value) = (text(entity, "text").unwrap(), text(entity, "value"));
        let start = entity["start"].as_u64().unwrap();
        assert_eq!(entity["end"], start + text.len() as u64);
        assert!(entity["score"].as_f64().unwrap() > 0.5, "{entity}");
        (entity["type"].as_str().unwrap().to_owned(), value, text, start)
    };
    listed.map(entity).collect()
}

fn entity(kind: &str, value: Option<&str>, text: &str, start: u64) -> (String, Option<String>, String, u64) {
    (kind.to_owned(), value.map(str::to_owned), text.to_owned(), start)
}

/// What arrived upstream of a stream, when there is so much of it.
fn arrived(world: &World, stream: &str, count: usize) -> Vec<Outbound> {
    world.shore.wait(0, &format!("{count} of {stream}"), |seen| {
        let mut found = events(seen);
        found.retain(|event| &*event.facts().stream == stream);
        (found.len() == count).then_some(found)
    })
}

#[test]
fn a_classifier_and_an_extractor_make_one_event_and_no_word_of_the_text_goes_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = models(&["embedding", "tagger"], folder.path());
    config += &reports("orders", "classifier = \"embedding\"\nextractor = \"tagger\"");
    config += &reports("marks", "extractor = \"tagger\"");
    let mut world = World::start(&Plan { config, ..Plan::default() });
    let long = "seal, checked valve, check hyd. seal, checked hydraulic pump quokka4711 seal check valve";
    feed(
        world.plant.port(),
        [
            written("orders", 1, "replace hyd. PUMP \u{fc}ber seal"),
            written("orders", 2, long),
            written("orders", 3, "gasket"),
            written("orders", 4, "zyxwvu \u{2603}\u{2603}\u{2603}\u{2603} qqqq kkkk"),
            written("marks", 1, "check valve"),
        ],
    );
    let first = decision(&world, "orders", 1);
    assert_eq!(
        entities(&first),
        [
            entity("Activity", None, "replace", 0),
            entity("Item", Some("hydraulic pump"), "hyd. PUMP", 8),
            entity("Item", None, "seal", 24),
        ]
    );
    assert_eq!((&first["model"], &first["extractor"]), (&json!("embedding@1.0.0"), &json!("tagger@1.0.0")));
    assert!(first["label"].is_string() && first["extraction"] == "accepted", "{first}");
    let second = decision(&world, "orders", 2);
    let place = long.find("hydraulic pump").unwrap() as u64;
    let across = entity("Item", Some("hydraulic pump"), "hydraulic pump", place);
    assert!(entities(&second).contains(&across), "across the border of two pieces: {second}");
    assert_eq!(decision(&world, "orders", 3)["extraction"], "uncertain");
    assert_eq!(decision(&world, "orders", 4)["extraction"], "out-of-scope");
    let alone = decision(&world, "marks", 1);
    assert!(alone["label"].is_null() && alone["labels"].is_null() && alone["extractor"].is_null(), "{alone}");
    assert_eq!((&alone["model"], &alone["verdict"]), (&json!("tagger@1.0.0"), &json!("accepted")));
    let sent = arrived(&world, "orders", 4);
    let values: Vec<_> = sent[0].facts().entities.iter().map(|entity| entity.value.as_deref()).collect();
    assert_eq!(values, [None, Some("hydraulic pump"), None]);
    assert_eq!(arrived(&world, "marks", 1)[0].facts().results.len(), 0);
    for word in ["seal", "quokka", "4711", "PUMP", "replace", "hyd.", "gasket", "WO-", "\"start\"", "zyxwvu"]
    {
        let seen = world.shore.all();
        let raw = seen.iter().any(|seen| String::from_utf8_lossy(&seen.payload).contains(word));
        assert!(!raw && !format!("{:?}", events(&seen)).contains(word), "{word} went upstream");
        assert!(!world.gateway.log().contains(word), "{word} is in the log");
    }
    world.metrics(0, "entities and cut words in the metrics", |json| {
        let count = |name: &str| json["metrics"][name].as_u64().unwrap();
        let (found, cut) = (count("tidegate_infer_entities_total"), count("tidegate_infer_cut_words_total"));
        (found >= 12 && cut == 1 + 9).then_some(())
    });
    assert!(world.gateway.is_running());
    world.finish();
}

#[test]
fn an_extractor_that_fails_takes_no_label_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = models(&["embedding", "tagger-panics"], folder.path());
    config += &reports("orders", "classifier = \"embedding\"\nextractor = \"tagger-panics\"");
    config += &reports("marks", "extractor = \"tagger-panics\"");
    let world = World::start(&Plan { config, ..Plan::default() });
    feed(world.plant.port(), [written("orders", 1, "check valve"), written("marks", 1, "check valve")]);
    assert_eq!(entities(&decision(&world, "orders", 1)).len(), 2);
    decision(&world, "marks", 1);
    feed(world.plant.port(), [written("orders", 2, "check storm valve")]);
    let struck = decision(&world, "orders", 2);
    assert!(struck["label"].is_string(), "{struck}");
    feed(world.plant.port(), [written("orders", 3, "check valve"), written("marks", 2, "check valve")]);
    for number in [2, 3] {
        let event = decision(&world, "orders", number);
        assert!(event["entities"].is_null() && event["extractor"].is_null(), "{event}");
    }
    world.metrics(0, "the failures in the metrics", |json| {
        let dropped = &json["stages"]["infer"]["dropped"];
        let unmarked = &json["metrics"]["tidegate_infer_unmarked_reports_total"];
        (dropped["quarantined"] == 1 && *unmarked == 2).then_some(())
    });
    let health = last(&world.ear.all(), "status/health").unwrap().json();
    assert!(health["reason"].as_str().unwrap().contains("tagger-panics"), "{health}");
    world.finish();
}
