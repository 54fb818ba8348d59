//! Models that fail while they run, and models that are refused.

use std::fs;

use crate::service::tap::{Seen, feed};
use crate::service::world::{Plan, World, judged, last, model, pair, row};

#[test]
fn a_model_that_panics_or_computes_nonsense_is_set_aside_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = String::new();
    for name in ["panics-out-of-range", "nan-below-zero", "echo"] {
        config += &model(name, folder.path());
    }
    config += &judged("log", "nan-below-zero");
    config += &judged("wear", "echo");
    config += &judged("lookup", "panics-out-of-range").replace("[\"a\", \"b\"]", "[\"a\"]");
    let mut world = World::start(&Plan { config, ..Plan::default() });
    let port = world.plant.port();
    feed(port, [pair("log", 0, 1.0, 1.0), pair("lookup", 0, 1.0, 0.0)]);
    for stream in ["log", "lookup"] {
        world.ear.wait(0, stream, |seen| last(seen, &format!("event/{stream}")).map(|_| ()));
    }
    feed(port, [pair("log", 1, -1.0, 1.0), pair("lookup", 1, 7.0, 0.0)]);
    let health = world.ear.wait(0, "health", |seen| {
        last(seen, "status/health").map(Seen::json).filter(|json| json["status"] == "degraded")
    });
    assert!(health["reason"].as_str().unwrap().starts_with("model "), "{health}");
    feed(port, [pair("log", 2, 1.0, 1.0), pair("lookup", 2, 1.0, 0.0), pair("wear", 0, 1.0, 0.0)]);
    world.ear.wait(0, "the healthy model", |seen| last(seen, "event/wear").map(|_| ()));
    world.feed_good(0..50);
    world.delivered(0..50);
    world.ear.wait(0, "both models in quarantine", |seen| {
        let json = last(seen, "status/models")?.json();
        let states = ["panics-out-of-range", "nan-below-zero", "echo"].map(|name| row(&json, name));
        let found: Vec<_> =
            states.into_iter().flatten().map(|row| (row["state"].clone(), row["reason"].clone())).collect();
        let wanted = [("quarantined", Some("panicked")), ("quarantined", Some("nonfinite")), ("ready", None)];
        (found == wanted.map(|(state, reason)| (state.into(), reason.into()))).then_some(())
    });
    world.metrics(0, "failures and refusals in the metrics", |json| {
        let dropped = &json["stages"]["infer"]["dropped"];
        (dropped["model-failed"] == 2 && dropped["quarantined"] == 2).then_some(())
    });
    assert!(world.gateway.is_running());
    assert!(!world.gateway.log().contains("out of bounds"), "the text of a panic was logged");
    world.finish();
}

#[test]
fn a_refused_model_is_reported_and_does_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = model("echo", folder.path()) + &model("dense-pair", folder.path()) + &judged("wear", "echo");
    let file = folder.path().join("echo/model.onnx");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let world = World::start(&Plan { config, ..Plan::default() });
    feed(world.plant.port(), [pair("wear", 0, 1.0, 0.0)]);
    world.feed_good(0..10);
    world.delivered(0..10);
    let json = world.ear.wait(0, "the models", |seen| {
        last(seen, "status/models").map(Seen::json).filter(|json| row(json, "echo").is_some())
    });
    let refused = row(&json, "echo").unwrap();
    assert_eq!(refused["state"], "refused");
    assert!(refused["reason"].as_str().unwrap().contains("digest"), "{refused}");
    world.ear.wait(0, "health", |seen| {
        last(seen, "status/health").map(Seen::json).filter(|json| json["status"] == "degraded").map(|_| ())
    });
    world.metrics(0, "the work of the refused model", |json| {
        (json["stages"]["infer"]["dropped"]["quarantined"] == 1).then_some(())
    });
    world.finish();
}
