//! Two brokers, a gateway between them, and an ear on each side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate::flow::Outbound;
use tidegate::io::mqtt::Protocol;
use tidegate::wire::BatchReader;

use crate::common::mosquitto::Mosquitto;
use crate::service::gate::Gate;
use crate::service::gateway::Gateway;
use crate::service::tap::{Seen, Tap, feed};

/// Event time of value 0: long ago, so that no clock of a test machine calls it the future.
const BASE_MICROS: u64 = 1_700_000_000_000_000;

/// How a world is built.
pub(crate) struct Plan {
    pub(crate) protocol: Protocol,
    /// Whether the upstream broker keeps its sessions on disk.
    pub(crate) persistence: bool,
    /// Whether the gateway finds its upstream broker.
    pub(crate) upstream_there: bool,
    /// Further lines of the configuration; `{dir}` is the gateway's folder.
    pub(crate) config: String,
    /// Where the gateway's state lives.
    pub(crate) state_dir: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            protocol: Protocol::V5,
            persistence: false,
            upstream_there: true,
            config: String::new(),
            state_dir: "{dir}/state".to_owned(),
        }
    }
}

/// A plant and a shore.
pub(crate) struct World {
    pub(crate) plant: Mosquitto,
    pub(crate) upstream: Mosquitto,
    pub(crate) gate: Gate,
    /// Hears what the plant hears.
    pub(crate) ear: Tap,
    /// Hears what arrives upstream.
    pub(crate) shore: Tap,
    pub(crate) gateway: Gateway,
}

impl World {
    /// Builds it and waits until the gateway is on line in the plant.
    pub(crate) fn start(plan: &Plan) -> Self {
        let world = Self::start_unready(plan, Mosquitto::start(false));
        world.online(0);
        world
    }

    /// Builds it with a plant broker that may not be there yet.
    pub(crate) fn start_unready(plan: &Plan, plant: Mosquitto) -> Self {
        let upstream = Mosquitto::start(plan.persistence);
        let gate = Gate::new(upstream.port(), plan.upstream_there);
        let ear = Tap::new(plant.port(), "ear");
        let shore = Tap::new(upstream.port(), "shore");
        let gateway = Gateway::start(&config("gw", plant.port(), gate.port(), plan));
        Self { plant, upstream, gate, ear, shore, gateway }
    }

    /// Waits until the gateway says, after a mark of the ear, that it is on line.
    pub(crate) fn online(&self, mark: usize) {
        self.ear.wait(mark, "the gateway on line", |seen| {
            last(seen, "status/available").filter(|seen| seen.text() == "online").map(|_| ())
        });
    }

    /// Publishes values of the good stream.
    pub(crate) fn feed_good(&self, values: std::ops::Range<u64>) {
        feed(self.plant.port(), good(values));
    }

    /// Waits until all these values of the good stream have been decided on the plant.
    pub(crate) fn decided(&self, values: std::ops::Range<u64>) {
        self.ear.wait(0, &format!("decisions {values:?}"), |seen| {
            let found = decided_values(seen);
            values.clone().all(|value| found.contains(&value)).then_some(())
        });
    }

    /// Waits until all these values of the good stream have arrived upstream.
    pub(crate) fn delivered(&self, values: std::ops::Range<u64>) {
        self.shore.wait(0, &format!("deliveries {values:?}"), |seen| {
            let found: BTreeSet<u64> = events(seen).iter().filter_map(value_of).collect();
            values.clone().all(|value| found.contains(&value)).then_some(())
        });
    }

    /// Waits for metrics, published after a mark of the ear, in which `pick` finds what it looks for.
    pub(crate) fn metrics<T>(&self, mark: usize, what: &str, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        self.ear.wait(mark, what, |seen| last(seen, "/metrics").and_then(|seen| pick(&seen.json())))
    }

    /// Asks the gateway to end and checks what must hold after every test: exit code, balances, ids.
    pub(crate) fn finish(mut self) {
        let status = self.gateway.terminate();
        assert_eq!(status.code(), Some(0));
        let seen = self.ear.all();
        assert!(balanced(&seen) > 0, "no metrics were published");
        unique(&events(&self.shore.all()));
    }
}

/// The configuration of a gateway with the good stream.
pub(crate) fn config(id: &str, plant: u16, upstream: u16, plan: &Plan) -> String {
    let Plan { protocol, config, state_dir, .. } = plan;
    let protocol = match protocol {
        Protocol::V5 => "5",
        Protocol::V311 => "3.1.1",
    };
    let mut text = format!(
        "[gateway]\nsite = \"test\"\nid = \"{id}\"\nboard = \"generic-x86-64\"\nstate_dir = \"{state_dir}\"\n\
         [plant]\nurl = \"mqtt://127.0.0.1:{plant}\"\nprotocol = \"{protocol}\"\n\
         [upstream]\nurl = \"mqtt://127.0.0.1:{upstream}\"\nprotocol = \"{protocol}\"\nconnect_timeout = \"5 s\"\n\
         [budget]\nmemory = \"1 GiB\"\ntemperature = \"120 °C\"\n",
    );
    if !config.contains("name = \"good\"") {
        text.push_str(&sensor(
            "good",
            "plant/good",
            "{ format = \"json\", time = \"ts\", values = [\"a\"] }",
        ));
    }
    writeln!(text, "{config}").unwrap();
    text
}

/// A stream that passes on the mean of `a` of each message, exactly.
pub(crate) fn sensor(name: &str, topic: &str, payload: &str) -> String {
    format!(
        "[[streams]]\nname = \"{name}\"\nkind = \"sensor\"\ntopic = \"{topic}\"\npayload = {payload}\n\
         window = {{ samples = 1 }}\nfeatures = [\"a.mean\"]\n\
         forward = {{ events = \"all\", features = [{{ name = \"a.mean\", resolution = 1.0 }}] }}\n"
    )
}

/// A stream judged by a model of two channels: the larger one names the label, `b` raises the alarm.
pub(crate) fn judged(name: &str, model: &str) -> String {
    format!(
        "[[streams]]\nname = \"{name}\"\nkind = \"sensor\"\ntopic = \"plant/{name}\"\n\
         payload = {{ format = \"json\", time = \"ts\", values = [\"a\", \"b\"] }}\nwindow = {{ samples = 1 }}\n\
         model = \"{model}\"\nforward = {{ events = \"all\" }}\n"
    )
}

/// A model of `tests/golden/models` that takes the means of `a` and `b`, or of `a` alone.
pub(crate) fn model(name: &str, folder: &Path) -> String {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name);
    let to = folder.join(name);
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let manifest = std::fs::read_to_string(from.join("manifest.toml")).unwrap();
    let channels = if manifest.contains("a.f1") { "channels = [\"a\", \"b\"]" } else { "channels = [\"a\"]" };
    let manifest =
        manifest.replace("channels = [\"a\"]", channels).replace("a.f0", "a.mean").replace("a.f1", "b.mean");
    std::fs::write(to.join("manifest.toml"), manifest).unwrap();
    format!("[[models]]\nname = \"{name}\"\npath = \"{}\"\n", to.display())
}

/// Messages of the good stream, a millisecond apart.
pub(crate) fn good(values: std::ops::Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    values.map(|value| {
        let at = BASE_MICROS + value * 1_000;
        ("plant/good".to_owned(), format!("{{\"ts\":{at},\"a\":{value}}}").into_bytes())
    })
}

/// One message for a judged stream.
pub(crate) fn pair(stream: &str, number: u64, a: f64, b: f64) -> (String, Vec<u8>) {
    let at = BASE_MICROS + number * 1_000;
    (format!("plant/{stream}"), format!("{{\"ts\":{at},\"a\":{a},\"b\":{b}}}").into_bytes())
}

/// The last message whose topic ends so.
pub(crate) fn last<'a>(seen: &'a [Seen], ending: &str) -> Option<&'a Seen> {
    seen.iter().rev().find(|seen| seen.topic.ends_with(ending))
}

/// Values of the good stream that were decided.
pub(crate) fn decided_values(seen: &[Seen]) -> BTreeSet<u64> {
    let decisions = seen.iter().filter(|seen| seen.topic.ends_with("/event/good"));
    decisions.filter_map(|seen| seen.json()["features"]["a.mean"].as_f64()).map(whole).collect()
}

/// Everything that arrived upstream, in order.
pub(crate) fn events(seen: &[Seen]) -> Vec<Outbound> {
    let mut events = Vec::new();
    for batch in seen.iter().filter(|seen| seen.topic.contains("/up/")) {
        let mut reader = BatchReader::new();
        reader.push(&batch.payload);
        reader.end();
        while let Some(batch) = reader.next_batch() {
            events.extend(batch.unwrap().events);
        }
    }
    events
}

/// The value of an event of the good stream.
pub(crate) fn value_of(event: &Outbound) -> Option<u64> {
    let facts = event.facts();
    (&*facts.stream == "good").then(|| facts.features.first().map(|named| whole(f64::from(named.value))))?
}

/// (epoch, number) of an event.
pub(crate) fn id_of(event: &Outbound) -> (u32, u64) {
    (event.facts().id.epoch, event.facts().id.number)
}

/// Checks that the same id is always the same event, and returns how many there are.
pub(crate) fn unique(events: &[Outbound]) -> usize {
    let mut known = BTreeMap::new();
    for event in events {
        let mut event = event.clone();
        event.set_historical();
        let before = known.entry(id_of(&event)).or_insert_with(|| event.clone());
        assert_eq!(*before, event, "one id, two events");
    }
    known.len()
}

/// Checks `in = out + dropped + held` in every metrics message, and returns how many there were.
pub(crate) fn balanced(seen: &[Seen]) -> usize {
    let metrics = seen.iter().filter(|seen| seen.topic.ends_with("/metrics"));
    metrics
        .map(|seen| {
            let json = seen.json();
            for (stage, row) in json["stages"].as_object().unwrap() {
                let dropped: u64 =
                    row["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
                let count = |key: &str| row[key].as_u64().unwrap();
                assert_eq!(count("in"), count("out") + dropped + count("held"), "{stage} of {json}");
            }
        })
        .count()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the tests send small whole numbers"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// The row of a model in the last `status/models`.
pub(crate) fn row(json: &Value, model: &str) -> Option<Value> {
    json["models"]
        .as_array()?
        .iter()
        .find(|row| row["model"].as_str().is_some_and(|id| id.starts_with(model)))
        .cloned()
}
