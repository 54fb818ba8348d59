//! A model that never comes back from one of its nodes.

use std::fmt::Write as _;
use std::time::Duration;

use crate::hanging::write_hanging;
use crate::service::tap::{Seen, feed, now};
use crate::service::world::{Plan, World, judged, last, model, pair, row};

/// Longest time an alarm of another model may wait behind it: the patience of the watcher, its next look, and a debug
/// build on a busy machine.
const ALARM_WAITS_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_model_that_never_returns_is_left_behind_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = model("echo", folder.path()) + &judged("calm", "echo");
    for name in ["sleeper", "dreamer"] {
        let path = folder.path().join(name);
        write_hanging(name, &path);
        writeln!(config, "[[models]]\nname = \"{name}\"\npath = \"{}\"", path.display()).unwrap();
        config += &judged(name, name);
    }
    let alarm = "model = \"echo\"\npriority = \"alarm\"";
    config = config.replacen("model = \"echo\"", alarm, 1);
    let mut world = World::start(&Plan { config, ..Plan::default() });
    let port = world.plant.port();
    feed(port, ["calm", "sleeper", "dreamer"].map(|stream| pair(stream, 0, 0.25, 0.0)));
    for stream in ["calm", "sleeper", "dreamer"] {
        world.ear.wait(0, stream, |seen| last(seen, &format!("event/{stream}")).map(|_| ()));
    }
    let mut number = 0;
    for name in ["sleeper", "dreamer"] {
        let mark = world.ear.mark();
        feed(port, [pair(name, 1, 0.75, 0.0)]);
        // One alarm after the other: one of them is behind it.
        let (mut longest, mut alarms) = (Duration::ZERO, 0);
        while longest < Duration::from_millis(500) {
            number += 1;
            let (before, began) = (world.ear.mark(), now());
            feed(port, [pair("calm", number, 0.25, 0.0)]);
            world.ear.wait(before, "an alarm", |seen| last(seen, "event/calm").map(|_| ()));
            longest = longest.max(began.elapsed());
            alarms += 1;
            assert!(alarms < 1_000, "nothing hangs");
        }
        println!(
            "STALLS: {name} hangs: of {alarms} alarms the one behind it waited {} ms",
            longest.as_millis()
        );
        assert!(longest < ALARM_WAITS_MAX, "{longest:?}");
        world.ear.wait(mark, "the model out of use", |seen| {
            let row = row(&last(seen, "status/models").map(Seen::json)?, name)?;
            (row["state"] == "quarantined" && row["reason"] == "hung").then_some(())
        });
    }
    feed(port, [pair("sleeper", 9, 0.25, 0.0)]);
    world.metrics(0, "what became of the work", |json| {
        let dropped = &json["stages"]["infer"]["dropped"];
        (dropped["stale"] == 2 && dropped["quarantined"] == 1).then_some(())
    });
    world.feed_good(0..20);
    world.delivered(0..20);
    assert!(world.gateway.is_running());
    world.finish();
}
