//! The gateway's own ends: power cuts, orderly stops, a second one in the same place, two that share.

use std::collections::BTreeSet;

use crate::common::client::BOTH;
use crate::common::mosquitto::Mosquitto;
use crate::service::gateway::{Gateway, command, waiting};
use crate::service::tap::{Tap, feed, now};
use crate::service::world::{
    Plan, World, balanced, config, decided_values, events, good, id_of, last, sensor, unique,
};

/// A stream whose window stays open until the gateway ends.
fn slow() -> String {
    sensor("slow", "plant/slow", "{ format = \"json\", values = [\"a\"] }")
        .replace("{ samples = 1 }", "{ length = \"1 h\", idle = \"1 h\" }")
}

#[test]
fn everything_durable_arrives_although_the_gateway_is_killed() {
    for protocol in BOTH {
        let mut world = World::start(&Plan { protocol, upstream_there: false, ..Plan::default() });
        let outbox = world.gateway.path("state/outbox");
        let mut expected: BTreeSet<(u32, u64)> = BTreeSet::new();
        for round in 0..3_u64 {
            let values = round * 200..(round + 1) * 200;
            let port = world.plant.port();
            let feeder = std::thread::spawn(move || feed(port, good(values)));
            // In the middle of the feeding, and from the second round on in the middle of the sending.
            world.decided(round * 200..round * 200 + 100);
            // What is not yet synced is not yet written: the first group commit comes after the first decisions.
            world.metrics(0, "something durable", |json| {
                json["metrics"]["tidegate_outbox_durable_records_total"]
                    .as_u64()
                    .filter(|durable| *durable > 0)
            });
            let mark = world.ear.mark();
            world.gateway.kill();
            feeder.join().unwrap();
            expected.extend(waiting(&outbox));
            world.ear.wait(mark, "the last will", |seen| {
                last(seen, "status/available").filter(|seen| seen.text() == "offline").map(|_| ())
            });
            let mark = world.ear.mark();
            world.gate.set(true);
            world.gateway.launch();
            world.online(mark);
        }
        world.feed_good(600..610);
        world.delivered(600..610);
        world.shore.wait(0, "everything durable", |seen| {
            let arrived: BTreeSet<_> = events(seen).iter().map(id_of).collect();
            expected.is_subset(&arrived).then_some(())
        });
        let epochs: BTreeSet<u32> = events(&world.shore.all()).iter().map(|event| id_of(event).0).collect();
        assert_eq!(epochs.len(), 4, "each start has an epoch of its own: {epochs:?}");
        world.finish();
    }
}

#[test]
fn a_stop_in_order_closes_windows_delivers_them_and_says_so_on_both_sides() {
    for protocol in BOTH {
        let config = slow();
        let mut world = World::start(&Plan { protocol, config, ..Plan::default() });
        let slow = (0..5).map(|_| ("plant/slow".to_owned(), b"{\"a\":7}".to_vec()));
        // One connection keeps the order: when the good ones are decided, the slow ones have been taken.
        feed(world.plant.port(), slow.chain(good(0..3)));
        world.decided(0..3);
        let started = now();
        assert_eq!(world.gateway.terminate().code(), Some(0));
        assert!(started.elapsed().as_secs() < 16, "took {:?}", started.elapsed());
        world.ear.wait(0, "the decision about the open window", |seen| last(seen, "event/slow").map(|_| ()));
        world.shore.wait(0, "the open window upstream", |seen| {
            events(seen).iter().find(|event| &*event.facts().stream == "slow").map(|_| ())
        });
        for tap in [&world.ear, &world.shore] {
            tap.wait(0, "the word stopped", |seen| {
                last(seen, "status/available").filter(|seen| seen.text() == "stopped").map(|_| ())
            });
            let words = tap.all();
            assert!(words.iter().all(|seen| !seen.topic.ends_with("available") || seen.text() != "offline"));
        }
        let health = last(&world.ear.all(), "status/health").unwrap().json();
        assert_eq!(health["status"], "down");
        assert!(waiting(&world.gateway.path("state/outbox")).is_empty(), "something was left");
        assert!(balanced(&world.ear.all()) > 0);
    }
}

#[test]
fn a_second_gateway_in_the_same_place_is_refused_and_the_first_goes_on() {
    let world = World::start(&Plan::default());
    let second = command().args(["run", "--config"]).arg(world.gateway.config()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(74), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("error: another tidegate uses ") && last.contains("state/outbox: "), "{last}");
    world.feed_good(0..10);
    world.delivered(0..10);
    world.finish();
}

#[test]
fn two_gateways_share_a_plant_without_overlap() {
    for protocol in BOTH {
        let plant = Mosquitto::start(false);
        let upstream = Mosquitto::start(false);
        let stream = sensor(
            "good",
            "$share/pair/plant/good",
            "{ format = \"json\", time = \"ts\", values = [\"a\"] }",
        );
        let plan = Plan { protocol, config: stream, ..Plan::default() };
        let (ear, shore) = (Tap::new(plant.port(), "ear"), Tap::new(upstream.port(), "shore"));
        let mut pair =
            ["one", "two"].map(|id| Gateway::start(&config(id, plant.port(), upstream.port(), &plan)));
        ear.wait(0, "both on line", |seen| {
            let online = |id| {
                last(seen, &format!("{id}/status/available")).is_some_and(|seen| seen.text() == "online")
            };
            (online("one") && online("two")).then_some(())
        });
        feed(plant.port(), good(0..200));
        ear.wait(0, "all decisions", |seen| (decided_values(seen).len() == 200).then_some(()));
        let decisions = ear.all().iter().filter(|seen| seen.topic.ends_with("/event/good")).count();
        assert_eq!(decisions, 200, "some were decided twice");
        for id in ["one", "two"] {
            let topic = format!("/{id}/event/good");
            let share = ear.all().iter().filter(|seen| seen.topic.ends_with(&topic)).count();
            assert!((20..=180).contains(&share), "{id} got {share} of 200");
        }
        shore.wait(0, "all deliveries", |seen| (events(seen).len() >= 200).then_some(()));
        for gateway in &mut pair {
            assert!(gateway.terminate().success());
        }
        assert!(balanced(&ear.all()) > 0);
        assert!(unique_by_gateway(&shore) >= 200);
    }
}

/// Events of both gateways; ids are told apart by the topic.
fn unique_by_gateway(shore: &Tap) -> usize {
    ["one", "two"]
        .map(|id| {
            let of: Vec<_> =
                shore.all().into_iter().filter(|seen| seen.topic.contains(&format!("/{id}/"))).collect();
            unique(&events(&of))
        })
        .iter()
        .sum()
}
