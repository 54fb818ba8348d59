//! What a plant may send that it should not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::common::client::BOTH;
use crate::common::mosquitto::Mosquitto;
use crate::service::tap::{feed, feed_as};
use crate::service::world::{Plan, World, last, sensor};

/// Malformed payloads of each format.
const EACH: usize = 1_000;

/// Format, configuration of its payload, and payloads with the reason each is dropped for.
type Row = (&'static str, &'static str, &'static [(&'static [u8], &'static str)]);

const SENSORS: [Row; 5] = [
    (
        "json",
        "{ format = \"json\", time = \"ts\", values = [\"a\"] }",
        &[
            (b"", "empty"),
            (b"{\"a\":1", "malformed"),
            (b"not json", "malformed"),
            (b"{\"ts\":\"yesterday\",\"a\":1}", "bad-time"),
            (b"{\"ts\":1700000000,\"b\":1}", "missing-field"),
            (b"{\"ts\":1700000000,\"b\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]", "depth"),
            (b"{\"ts\":1,\"a\":\"\xff\"}", "not-utf8"),
        ],
    ),
    (
        "csv",
        "{ format = \"csv\", columns = [\"ts\", \"a\"], time = \"ts\", values = [\"a\"] }",
        &[(b"", "empty"), (b"soon,1\n", "bad-time"), (b"\xff\xfe\n", "not-utf8")],
    ),
    (
        "senml",
        "{ format = \"senml\", values = [\"a\"] }",
        &[
            (b"", "empty"),
            (b"[{\"n\":\"a\",\"v\":", "malformed"),
            (b"[{\"n\":\"z\",\"v\":1}]", "missing-field"),
            (b"7", "malformed"),
        ],
    ),
    (
        "f32le",
        "{ format = \"f32le\", rate = 1000.0, values = [\"a\"] }",
        &[(b"", "empty"), (b"\0\0\0", "malformed")],
    ),
    (
        "i16le",
        "{ format = \"i16le\", rate = 1000.0, values = [\"a\"] }",
        &[(b"", "empty"), (b"\0", "malformed")],
    ),
];

const REPORTS: [Row; 2] = [
    (
        "text",
        "{ format = \"text\" }",
        &[(b"", "empty"), (b"\xc3\x28", "not-utf8"), (&[b'x'; 300], "text-too-long")],
    ),
    (
        "report",
        "{ format = \"json\", text = \"text\", time = \"ts\", id = \"id\" }",
        &[
            (b"", "empty"),
            (b"{\"text\":", "malformed"),
            (b"{\"text\":7}", "missing-field"),
            (b"{\"words\":\"pump leaks\"}", "missing-field"),
            (b"{\"text\":\"pump leaks\",\"ts\":\"late\"}", "bad-time"),
        ],
    ),
];

#[test]
fn malformed_payloads_of_every_format_are_counted_by_reason_and_disturb_nobody() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/failure-mode");
    let mut config = format!(
        "[limits]\ntext = \"256 B\"\n[[models]]\nname = \"failure-mode\"\npath = \"{}\"\n",
        model.display()
    );
    for (format, payload, _) in SENSORS {
        config += &sensor(format, &format!("plant/{format}"), payload);
    }
    for (format, payload, _) in REPORTS {
        write!(
            config,
            "[[streams]]\nname = \"{format}\"\nkind = \"report\"\ntopic = \"plant/{format}\"\npayload = {payload}\n\
             classifier = \"failure-mode\"\n"
        )
        .unwrap();
    }
    let mut world = World::start(&Plan { config, ..Plan::default() });
    let port = world.plant.port();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut bad = Vec::new();
    for turn in 0..EACH {
        for (format, _, payloads) in SENSORS.iter().chain(&REPORTS) {
            let (payload, reason) = payloads[turn % payloads.len()];
            bad.push((format!("plant/{format}"), payload.to_vec()));
            *expected.entry(reason.to_owned()).or_default() += 1;
        }
    }
    let feeder = std::thread::spawn(move || feed_as(port, "vandal", false, bad));
    world.feed_good(0..1_000);
    feeder.join().unwrap();
    world.decided(0..1_000);
    world.delivered(0..1_000);
    assert!(world.gateway.is_running());
    let found = world.metrics(world.ear.mark(), "metrics of all messages", |json| {
        let ingest = &json["stages"]["ingest"];
        (ingest["in"].as_u64()? >= 8_000).then(|| ingest.clone())
    });
    let counted: BTreeMap<String, u64> = serde_json::from_value(found["dropped"].clone()).unwrap();
    assert_eq!(counted, expected);
    assert_eq!(
        (found["in"].as_u64(), found["out"].as_u64(), &found["held"]),
        (Some(8_000), Some(1_000), &Value::from(0))
    );
    world.finish();
}

#[test]
fn messages_without_a_time_that_arrive_together_are_all_decided() {
    let stream = sensor("good", "plant/good", "{ format = \"json\", values = [\"a\"] }");
    let world = World::start(&Plan { config: stream, ..Plan::default() });
    world.feed_good(0..500);
    world.decided(0..500);
    world.delivered(0..500);
    world.finish();
}

#[test]
fn an_oversize_retained_message_keeps_nobody_off_line() {
    for protocol in BOTH {
        let plant = Mosquitto::start(false);
        let large = |bytes: usize| ("plant/good".to_owned(), vec![b'x'; bytes]);
        // One that is a little larger than allowed and one that is far larger, each kept by the broker.
        feed_as(plant.port(), "vandal", true, [large(70_000)]);
        let second = sensor("deep", "plant/deep/#", "{ format = \"json\", values = [\"a\"] }");
        feed_as(plant.port(), "vandal", true, [("plant/deep/x".to_owned(), vec![b'x'; 3_000_000])]);
        let config = format!("[limits]\npacket = \"64 KiB\"\n{second}");
        let mut world = World::start_unready(&Plan { protocol, config, ..Plan::default() }, plant);
        world.online(0);
        let mark = world.ear.mark();
        world.feed_good(0..50);
        // And one that arrives while it is on line, between good ones.
        feed(world.plant.port(), [large(200_000), large(66_000)]);
        world.feed_good(50..100);
        world.decided(0..100);
        world.delivered(0..100);
        assert!(world.gateway.is_running());
        // MQTT 5 lets the broker keep what is larger than the packet limit; what still comes is counted by us.
        let least = match protocol {
            tidegate::io::mqtt::Protocol::V5 => 1,
            tidegate::io::mqtt::Protocol::V311 => 4,
        };
        world.metrics(mark, "oversize messages in the metrics", |json| {
            (json["stages"]["ingest"]["dropped"]["oversize"].as_u64()? >= least).then_some(())
        });
        let seen = world.ear.all();
        assert_eq!(last(&seen, "status/available").unwrap().text(), "online");
        world.finish();
    }
}
