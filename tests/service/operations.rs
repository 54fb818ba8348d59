//! Commands on the plant's broker, and what lies around them.

use serde_json::{Value, json};

use crate::common::client::BOTH;
use crate::service::tap::{Seen, Tap, feed, feed_as};
use crate::service::world::{Plan, World, good, last, sensor};

const R: &str = "tidegate/test/gw";

/// Asks for something, retained, as a requester does.
fn ask(world: &World, op: &str, id: &str, parameters: Value) {
    let mut command = parameters;
    command["status"] = json!("init");
    let topic = format!("{R}/cmd/{op}/{id}");
    feed_as(world.plant.port(), "operator", true, [(topic, command.to_string().into_bytes())]);
}

/// What was said on the topic of a command, the requester's own words left out.
fn answers(seen: &[Seen], op: &str, id: &str) -> Vec<Value> {
    let topic = format!("{R}/cmd/{op}/{id}");
    let said = seen.iter().filter(|seen| seen.topic == topic && !seen.retained).map(Seen::json);
    said.filter(|json| json["instance"].is_string()).collect()
}

/// Waits until a command has ended, and returns the words it went through and its end.
fn ended(tap: &Tap, op: &str, id: &str) -> (Vec<String>, Value) {
    tap.wait(0, &format!("the end of {op}/{id}"), |seen| {
        let answers = answers(seen, op, id);
        let end =
            answers.iter().find(|answer| answer["status"] == "successful" || answer["status"] == "failed")?;
        let words = answers.iter().map(|answer| answer["status"].as_str().unwrap().to_owned()).collect();
        Some((words, end.clone()))
    })
}

fn paused(world: &World, mark: usize, expected: &Value) {
    world.ear.wait(mark, "status/budget with the pauses", |seen| {
        last(seen, "status/budget").map(Seen::json).filter(|json| json["paused"] == *expected).map(|_| ())
    });
}

fn dropped(world: &World, mark: usize, count: u64) {
    world.metrics(mark, &format!("{count} windows dropped as paused"), |json| {
        (json["stages"]["infer"]["dropped"]["paused"].as_u64().unwrap_or(0) == count).then_some(())
    });
}

#[test]
fn a_pause_is_kept_over_a_power_cut_and_ended_by_resume_and_each_is_done_once() {
    for protocol in BOTH {
        let mut world = World::start(&Plan { protocol, ..Plan::default() });
        for op in ["pause", "resume", "health"] {
            let about = world.ear.wait(0, op, |seen| last(seen, &format!("cmd/{op}")).map(Seen::json));
            assert!(about["about"].is_string() && about["v"] == 1, "{about}");
        }
        world.feed_good(0..10);
        world.decided(0..10);
        ask(&world, "pause", "p-1", json!({"streams": ["good"], "for": "1 h"}));
        let (words, end) = ended(&world.ear, "pause", "p-1");
        assert_eq!(
            (words, &end["paused"]),
            (vec!["executing".to_owned(), "successful".to_owned()], &json!(["good"]))
        );
        world.feed_good(10..30);
        dropped(&world, 0, 20);
        paused(&world, 0, &json!(["good"]));

        world.gateway.kill();
        let mark = world.ear.mark();
        world.gateway.launch();
        world.online(mark);
        world.feed_good(30..45);
        dropped(&world, mark, 15);
        ask(&world, "resume", "r-1", json!({}));
        ended(&world.ear, "resume", "r-1");
        world.feed_good(45..60);
        world.decided(45..60);
        paused(&world, mark, &json!([]));

        // Everything is repeated: the broker, the requester and the gateway all begin again.
        let mark = world.ear.mark();
        world.plant.restart();
        world.ear.subscribed(2);
        world.online(mark);
        let mark = world.ear.mark();
        ask(&world, "pause", "p-1", json!({"streams": ["good"]}));
        world.feed_good(60..80);
        world.decided(60..80);
        for (op, id) in [("pause", "p-1"), ("resume", "r-1")] {
            let before = answers(&world.ear.all()[..mark], op, id);
            assert_eq!(before.len(), 2, "{op} {id}: {before:?}");
        }
        world.finish();
    }
}

/// It failed: the first health was told after the commands that lay on the broker had been read.
#[test]
fn health_that_was_asked_for_while_the_gateway_was_away_is_answered_once() {
    let mut world = World::start(&Plan::default());
    world.gateway.kill();
    ask(&world, "health", "early", json!({}));
    let mark = world.ear.mark();
    world.gateway.launch();
    world.online(mark);
    let (words, end) = ended(&world.ear, "health", "early");
    assert_eq!(words, ["executing", "successful"], "{end}");
    assert!(end["health"]["status"].is_string() && end["health"]["stages"].is_object(), "{end}");
    world.feed_good(0..10);
    world.decided(0..10);
    assert_eq!(answers(&world.ear.all(), "health", "early").len(), 2);
    world.finish();
}

/// One that hangs is a test of the watchdog: no file hangs in the hands of who replaces it.
#[test]
fn a_disk_that_refuses_a_command_fails_it_and_holds_up_nobody_else() {
    let world = World::start(&Plan::default());
    // A folder with something in it cannot be replaced.
    let refusing = world.gateway.path("state/commands.new");
    std::fs::create_dir_all(refusing.join("x")).unwrap();
    ask(&world, "pause", "p-1", json!({}));
    world.feed_good(0..100);
    world.delivered(0..100);
    let (words, end) = ended(&world.ear, "pause", "p-1");
    let reason = end["reason"].as_str().unwrap();
    assert!(words == ["failed"] && reason.contains("directory"), "{words:?} {reason}");
    let mark = world.ear.mark();
    world.metrics(mark, "the figures", |json| {
        json["metrics"]["tidegate_state_failed_writes_total"].as_u64().filter(|failed| *failed > 0).map(drop)
    });
    world.feed_good(100..200);
    world.delivered(100..200);
    let health = last(&world.ear.all(), "status/health").unwrap().json();
    assert_eq!(health["status"], "up", "{health}");
    // It works again.
    std::fs::remove_dir_all(&refusing).unwrap();
    ask(&world, "pause", "p-2", json!({}));
    let (words, _) = ended(&world.ear, "pause", "p-2");
    assert_eq!(words, ["executing", "successful"]);
    world.finish();
}

#[test]
fn a_command_given_while_the_gateway_is_away_is_done_when_it_comes_and_a_wrong_one_fails_with_the_remedy() {
    let mut world = World::start(&Plan::default());
    world.gateway.kill();
    ask(&world, "pause", "early", json!({}));
    let mark = world.ear.mark();
    world.gateway.launch();
    world.online(mark);
    let (_, end) = ended(&world.ear, "pause", "early");
    assert_eq!(end["paused"], json!(["good"]));
    for (id, parameters, remedy) in [
        ("w-1", json!({"streams": ["nobody"]}), "allowed: good"),
        ("w-2", json!({"stream": ["good"]}), "allowed: streams, for"),
        ("w-3", json!({"for": "0 s"}), "between 1 s and"),
        ("w-4", json!({"streams": "good"}), "no list of texts"),
    ] {
        ask(&world, "pause", id, parameters);
        let (_, end) = ended(&world.ear, "pause", id);
        let reason = end["reason"].as_str().unwrap();
        assert!(end["status"] == "failed" && reason.contains(remedy), "{end}");
    }
    ask(&world, "health", "h-1", json!({}));
    let (_, end) = ended(&world.ear, "health", "h-1");
    assert_eq!(end["health"]["status"], "up", "{end}");
    // A pause that ends by itself.
    ask(&world, "resume", "r", json!({}));
    ended(&world.ear, "resume", "r");
    ask(&world, "pause", "short", json!({"for": "1 s"}));
    ended(&world.ear, "pause", "short");
    let mark = world.ear.mark();
    paused(&world, mark, &json!([]));
    world.feed_good(0..10);
    world.decided(0..10);
    world.finish();
}

/// A stream that reads everything got back what the gateway itself published, counted it and decoded it.
#[test]
fn a_stream_that_reads_everything_gets_only_the_plant_and_hides_no_command() {
    for protocol in BOTH {
        let all = sensor("all", "#", "{ format = \"json\", time = \"ts\", values = [\"a\"] }");
        let world = World::start(&Plan { protocol, config: all, ..Plan::default() });
        world.feed_good(0..50);
        world.decided(0..50);
        ask(&world, "pause", "1", json!({}));
        ended(&world.ear, "pause", "1");
        ask(&world, "resume", "2", json!({"streams": ["good", "all"]}));
        ended(&world.ear, "resume", "2");
        let counts = world.metrics(0, "what was our own", |json| {
            let own = json["metrics"]["tidegate_plant_own_messages_total"].as_u64()?;
            (own > 50 && json["metrics"]["tidegate_commands_total"] == 2)
                .then(|| json["stages"]["ingest"].clone())
        });
        // Each message of the plant for each of the two streams, and nothing else.
        assert_eq!((&counts["in"], &counts["dropped"]), (&json!(100), &json!({})));
        for (op, id) in [("pause", "1"), ("resume", "2")] {
            assert_eq!(answers(&world.ear.all(), op, id).len(), 2, "{op} was answered more than once");
        }
        world.finish();
    }
}

#[test]
fn ten_thousand_hostile_commands_are_counted_and_nobody_else_notices() {
    const HOSTILE: u64 = 10_000;
    let world = World::start(&Plan::default());
    let long = format!("{{\"status\":\"init\",\"streams\":[\"{}\"]}}", "x".repeat(8_000));
    let deep = format!("{{\"status\":\"init\",\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let payloads = ["{}", "init", "{\"status\":7}", &long, &deep, "\u{0}", "[]", "{\"status\":\"init\""];
    // Deeper ones never arrive: we subscribe to two levels.
    let topics = ["pause/1", "pause/a b", "reboot/1", &format!("pause/{}", "i".repeat(100))];
    let hostile = (0..usize::try_from(HOSTILE).unwrap()).map(|n| {
        let (topic, payload) = (topics[n % topics.len()], payloads[n % payloads.len()]);
        (format!("{R}/cmd/{topic}"), payload.as_bytes().to_vec())
    });
    feed(world.plant.port(), hostile);
    world.feed_good(0..100);
    world.delivered(0..100);
    world.metrics(0, "the hostile ones", |json| {
        let refused = json["metrics"]["tidegate_refused_commands_total"].as_u64()?;
        (refused == HOSTILE).then_some(())
    });
    // A flood of good ones: as many as are allowed at once are done, the rest waits or is refused, counted.
    let flood = (0..500).map(|n| (format!("{R}/cmd/health/f-{n}"), b"{\"status\":\"init\"}".to_vec()));
    feed(world.plant.port(), flood.chain(good(100..200)));
    world.delivered(100..200);
    world.metrics(0, "the flood", |json| {
        let metrics = &json["metrics"];
        let (done, refused) = (
            metrics["tidegate_commands_total"].as_u64()?,
            metrics["tidegate_refused_commands_total"].as_u64()?,
        );
        let waiting = 500 - done.min(500) - (refused - HOSTILE).min(500);
        ((16..40).contains(&done) && waiting <= 32).then_some(())
    });
    let answered = world.ear.all().iter().filter(|seen| seen.topic.contains("/cmd/health/f-")).count();
    assert!(answered < 500 + 2 * 40, "{answered}");
    world.finish();
}

#[test]
fn the_status_of_the_budget_and_of_the_models_has_every_field_of_the_contract() {
    let world = World::start(&Plan::default());
    let budget = world.ear.wait(0, "status/budget", |seen| last(seen, "status/budget").map(Seen::json));
    for field in [
        "v",
        "ts",
        "instance",
        "level",
        "reason",
        "since_s",
        "changes",
        "stretch",
        "variant",
        "cpu",
        "temperature",
        "forecast",
        "headroom",
        "trip",
        "target",
        "cabinet",
        "clock",
        "throttled",
        "power",
        "memory",
        "memory_limit",
        "memory_by",
        "group",
        "available",
        "stalled",
        "shedding",
        "shed",
        "paused",
        "safe_mode",
    ] {
        assert!(budget.get(field).is_some(), "{field} is not in {budget}");
    }
    world.finish();
}
