//! The supply fails, and runs that crash.

use rustix::process::Signal;
use serde_json::Value;

use crate::service::gateway::waiting;
use crate::service::tap::{Seen, feed};
use crate::service::world::{Plan, World, judged, last, model, pair};

/// What a supply lasts from the edge on, milliseconds.
const FLUSH_MAX: f64 = 200.0;

#[test]
fn when_the_supply_fails_everything_is_on_the_disk_in_time() {
    // Nothing is synced for ten seconds, so that only the edge can have done it.
    let config = "[outbox]\nsync_interval = \"10 s\"\n".to_owned();
    let mut world = World::start(&Plan { upstream_there: false, config, ..Plan::default() });
    world.feed_good(0..300);
    world.decided(0..300);
    world.gateway.signal(Signal::POWER);
    let flush = world.ear.wait(0, "the flush in status/outbox", |seen| {
        last(seen, "status/outbox")
            .map(Seen::json)
            .map(|json| json["power_fail"].clone())
            .filter(Value::is_object)
    });
    world.gateway.kill();
    println!("POWER-FAIL program: {flush}");
    assert_eq!(flush["durable"], true);
    assert!(flush["all_ms"].as_f64().unwrap() <= FLUSH_MAX, "{flush}");
    assert_eq!(waiting(&world.gateway.path("state/outbox")).len(), 300);
}

/// It ended the program, which counted as a crash: nobody listened for it before the models had been examined.
#[test]
fn a_supply_that_fails_during_the_start_ends_nothing() {
    let redactor = concat!(env!("CARGO_MANIFEST_DIR"), "/models/redactor");
    let config = format!("[[models]]\nname = \"redactor\"\npath = \"{redactor}\"\n");
    let mut world = World::start(&Plan { config, ..Plan::default() });
    world.gateway.kill();
    let before = world.gateway.log().len();
    let mark = world.ear.mark();
    world.gateway.launch();
    // The board is recognised before the models are examined.
    while !world.gateway.log().get(before..).is_some_and(|log| log.contains("recognised the board")) {
        assert!(world.gateway.is_running());
        std::thread::yield_now();
    }
    world.gateway.signal(Signal::POWER);
    world.online(mark);
    assert!(world.gateway.is_running());
}

/// It counted as a crash: five impatient restarts of a slow board led to safe mode.
#[test]
fn a_stop_during_the_start_is_an_orderly_end() {
    let redactor = concat!(env!("CARGO_MANIFEST_DIR"), "/models/redactor");
    let config = format!("[[models]]\nname = \"redactor\"\npath = \"{redactor}\"\n");
    let mut world = World::start(&Plan { config, ..Plan::default() });
    assert!(world.gateway.terminate().success());
    let before = world.gateway.log().len();
    world.gateway.launch();
    // The board is recognised before the models are examined.
    while !world.gateway.log().get(before..).is_some_and(|log| log.contains("recognised the board")) {
        assert!(world.gateway.is_running());
        std::thread::yield_now();
    }
    assert_eq!(world.gateway.terminate().code(), Some(0));
    let starts = std::fs::read_to_string(world.gateway.path("state/starts")).unwrap();
    assert_eq!(starts, "", "it counts as a crash");
}

#[test]
fn after_five_crashes_the_gateway_starts_without_models_says_why_and_delivers() {
    let models = tempfile::tempdir().unwrap();
    let config = model("echo", models.path()) + &judged("wear", "echo");
    let mut world = World::start(&Plan { config, ..Plan::default() });
    for _ in 0..5 {
        world.gateway.kill();
        let mark = world.ear.mark();
        world.gateway.launch();
        world.online(mark);
    }
    let mark = world.ear.mark();
    // A board that is short of something skips every second window.
    feed(world.plant.port(), (0..4).map(|number| pair("wear", number, 1.0, 0.0)));
    world.feed_good(0..20);
    world.delivered(0..20);
    let health = world.ear.wait(0, "health", |seen| {
        last(seen, "status/health").map(Seen::json).filter(|json| json["status"] == "degraded")
    });
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.starts_with("safe mode: 5 runs crashed within 10 min"), "{reason}");
    world.metrics(mark, "the work of the model that was left out", |json| {
        (json["stages"]["infer"]["dropped"]["quarantined"].as_u64() >= Some(1)).then_some(())
    });
    let budget = world.ear.wait(0, "status/budget", |seen| last(seen, "status/budget").map(Seen::json));
    assert_eq!(budget["safe_mode"], true);
    // An orderly end forgives nothing but itself: what crashed may crash again.
    assert_eq!(world.gateway.terminate().code(), Some(0));
    std::fs::remove_file(world.gateway.path("state/starts")).unwrap();
    let mark = world.ear.mark();
    world.gateway.launch();
    world.online(mark);
    feed(world.plant.port(), (4..8).map(|number| pair("wear", number, 1.0, 0.0)));
    world.ear.wait(mark, "the model again", |seen| last(seen, "event/wear").map(|_| ()));
    world.finish();
}
