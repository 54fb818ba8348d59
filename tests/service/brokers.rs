//! Brokers that go away, forget, or were never there.

use crate::common::client::BOTH;
use crate::service::tap::{Tap, feed};
use crate::service::world::{Plan, World, events, good, judged, last, model, pair, unique};

/// What a gateway keeps on the plant's broker, retained.
const RETAINED: [&str; 7] = [
    "status/available",
    "status/health",
    "status/outbox",
    "status/link",
    "status/models",
    "status/budget",
    "alarm/wear",
];

#[test]
fn a_plant_broker_that_lost_its_memory_is_told_everything_again_and_streams_go_on() {
    for protocol in BOTH {
        let models = tempfile::tempdir().unwrap();
        let config = model("echo", models.path()) + &judged("wear", "echo");
        let mut world = World::start(&Plan { protocol, config, ..Plan::default() });
        world.feed_good(0..50);
        feed(world.plant.port(), [pair("wear", 0, 0.0, 5.0)]);
        world.ear.wait(0, "the alarm", |seen| last(seen, "alarm/wear").map(|_| ()));
        world.decided(0..50);

        let mark = world.ear.mark();
        world.plant.restart();
        world.ear.subscribed(2);
        world.online(mark);
        world.feed_good(50..100);
        world.decided(50..100);
        world.delivered(0..100);

        let newcomer = Tap::new(world.plant.port(), "newcomer");
        newcomer.wait(0, "everything retained", |seen| {
            RETAINED.iter().all(|topic| last(seen, topic).is_some_and(|seen| seen.retained)).then_some(())
        });
        feed(world.plant.port(), [pair("wear", 1, 5.0, 0.0)]);
        newcomer.wait(0, "the end of the alarm", |seen| {
            last(seen, "alarm/wear").filter(|seen| seen.payload.is_empty()).map(|_| ())
        });
        world.finish();
    }
}

#[test]
fn an_upstream_broker_killed_in_the_middle_gets_everything_in_the_end() {
    for (protocol, persistence) in BOTH.into_iter().zip([false, true]) {
        let mut world = World::start(&Plan { protocol, persistence, ..Plan::default() });
        let port = world.plant.port();
        let feeder = std::thread::spawn(move || {
            for part in 0..20 {
                feed(port, good(part * 10..(part + 1) * 10));
            }
        });
        world.delivered(0..50);
        world.gate.set(false);
        world.upstream.kill();
        feeder.join().unwrap();
        // The second half is decided while the broker is dead: it can only arrive on a second connection.
        world.feed_good(200..400);
        world.decided(0..400);
        assert!(unique(&events(&world.shore.all())) <= 200);
        world.upstream.restart();
        world.shore.subscribed(2);
        world.gate.set(true);
        world.delivered(0..400);
        assert_eq!(unique(&events(&world.shore.all())), 400);
        world.finish();
    }
}

#[test]
fn brokers_that_are_not_there_at_the_start_are_waited_for() {
    for protocol in BOTH {
        let mut world = World::start(&Plan { protocol, upstream_there: false, ..Plan::default() });
        world.feed_good(0..20);
        world.decided(0..20);
        assert!(events(&world.shore.all()).is_empty());
        world.gate.set(true);
        world.delivered(0..20);

        // The plant's broker is away when the gateway starts.
        assert!(world.gateway.terminate().success());
        world.plant.stop();
        let mark = world.ear.mark();
        world.gateway.launch();
        world.plant.restart();
        world.ear.subscribed(2);
        world.online(mark);
        world.feed_good(20..40);
        world.delivered(0..40);
        world.finish();
    }
}
