//! What has been heard so far (pure): from the gateway on the plant's broker, and from the consumer upstream.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::demo::streams::{STREAMS, Stream};
use crate::flow::{EventId, Level, Outbound};
use crate::wire::BatchReader;

/// Everything that was heard.
#[derive(Default)]
pub(in crate::demo) struct Picture {
    /// In the order of [`STREAMS`].
    pub(in crate::demo) streams: [StreamPicture; STREAMS.len()],
    /// Whether the gateway has said that it is online.
    pub(in crate::demo) online: bool,
    /// The gateway's word for the link upstream.
    pub(in crate::demo) link: String,
    pub(in crate::demo) backlog: u64,
    pub(in crate::demo) backlog_max: u64,
    pub(in crate::demo) temperature: Option<f64>,
    pub(in crate::demo) level: Level,
    pub(in crate::demo) level_max: Level,
    /// Why the gateway said that it was down, if it did.
    pub(in crate::demo) down: Option<String>,
    /// Events the plant was told.
    pub(in crate::demo) told: BTreeSet<EventId>,
    pub(in crate::demo) upstream: Consumer,
}

/// One stream.
#[derive(Default)]
pub(in crate::demo) struct StreamPicture {
    pub(in crate::demo) decisions: u64,
    /// The latest one, in words.
    pub(in crate::demo) last: String,
    /// Whether an alarm stands.
    pub(in crate::demo) alarm: bool,
}

/// A consumer upstream: decodes batches, removes duplicates.
#[derive(Default)]
pub(in crate::demo) struct Consumer {
    pub(in crate::demo) batches: u64,
    pub(in crate::demo) bytes: u64,
    /// Events once each.
    pub(in crate::demo) events: BTreeSet<EventId>,
    pub(in crate::demo) duplicates: u64,
    /// Events that had waited for the link.
    pub(in crate::demo) historical: u64,
    /// Batches that could not be decoded.
    pub(in crate::demo) damaged: u64,
}

/// Entities of a decision that find room on a line.
const ENTITIES_SHOWN: usize = 3;

const LEVELS: [Level; 5] = [Level::Nominal, Level::Warm, Level::Hot, Level::Critical, Level::Emergency];

impl Picture {
    /// Takes what the gateway said on the plant's broker. What is not understood is not for us.
    pub(in crate::demo) fn hear_plant(&mut self, topic: &[u8], payload: &[u8]) {
        let topic = String::from_utf8_lossy(topic);
        // Site and gateway are ours, the rest says what it is.
        let mut parts = topic.splitn(5, '/').skip(3);
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let json = || serde_json::from_slice::<Value>(payload).unwrap_or_default();
        match (kind, name) {
            ("status", "available") => self.online = payload == b"online",
            ("status", "health") => self.hear_health(&json()),
            ("status", "link") => self.link = text(&json(), "state"),
            ("status", "outbox") => self.hear_outbox(&json()),
            ("status", "budget") => self.hear_budget(&json()),
            ("alarm", stream) => {
                if let Some(stream) = self.stream(stream) {
                    stream.alarm = !payload.is_empty();
                }
            }
            ("event", stream) => {
                let json = json();
                if let Some(stream) = self.stream(stream) {
                    stream.decisions += 1;
                    stream.last = decision(&json);
                }
                self.told.extend(event_id(&text(&json, "id")));
            }
            _ => {}
        }
    }

    fn hear_health(&mut self, json: &Value) {
        let reason = text(json, "reason");
        // Its last word is that it is down because it was stopped.
        if text(json, "status") == "down" && reason != "stopped" {
            self.down = Some(reason);
        }
    }

    fn hear_outbox(&mut self, json: &Value) {
        let lanes = json.get("lanes").and_then(Value::as_object);
        let records =
            lanes.map(|lanes| lanes.values().filter_map(|lane| lane.get("records")?.as_u64()).sum());
        self.backlog = records.unwrap_or(0);
        self.backlog_max = self.backlog_max.max(self.backlog);
    }

    fn hear_budget(&mut self, json: &Value) {
        self.temperature = json.get("temperature").and_then(Value::as_f64);
        let word = text(json, "level");
        self.level = LEVELS.into_iter().find(|level| level.as_str() == word).unwrap_or_default();
        self.level_max = self.level_max.max(self.level);
    }

    fn stream(&mut self, name: &str) -> Option<&mut StreamPicture> {
        let index = STREAMS.iter().position(|stream| stream.name == name)?;
        self.streams.get_mut(index)
    }

    /// Each stream by its name and lane.
    pub(in crate::demo) fn named(&self) -> impl Iterator<Item = (&'static Stream, &StreamPicture)> + Clone {
        STREAMS.iter().zip(&self.streams)
    }
}

impl Consumer {
    /// Takes a message of the upstream broker.
    pub(in crate::demo) fn take(&mut self, payload: &[u8]) {
        self.bytes += payload.len() as u64;
        let mut reader = BatchReader::new();
        reader.push(payload);
        reader.end();
        while let Some(next) = reader.next_batch() {
            match next {
                Ok(batch) => {
                    self.batches += 1;
                    batch.events.iter().for_each(|event| self.count(event));
                }
                Err(_) => self.damaged += 1,
            }
        }
    }

    fn count(&mut self, event: &Outbound) {
        let facts = event.facts();
        if self.events.insert(facts.id) {
            self.historical += u64::from(facts.historical);
        } else {
            self.duplicates += 1;
        }
    }
}

/// A decision in words: the label of each task, or label and score, then the entities; a question mark where the model is
/// not sure.
fn decision(json: &Value) -> String {
    let label = |result: &Value| {
        let doubt = match text(result, "verdict").as_str() {
            "uncertain" => "?",
            "out-of-scope" => " (out of scope)",
            _ => "",
        };
        format!("{}{doubt}", text(result, "label"))
    };
    let labels = if let Some(labels) = json.get("labels").and_then(Value::as_object) {
        let tasks = labels.iter().map(|(task, result)| format!("{task} {}", label(result)));
        Some(tasks.collect::<Vec<_>>().join(", "))
    } else {
        json.get("score").and_then(Value::as_f64).map(|score| format!("{} {score:.2}", label(json)))
    };
    let marked = json.get("entities").and_then(Value::as_array).map(|entities| {
        let told = entities.iter().take(ENTITIES_SHOWN).map(entity).collect::<Vec<_>>();
        let more = if entities.len() > told.len() { ", …" } else { "" };
        format!("[{}{more}]", told.join(", "))
    });
    labels.into_iter().chain(marked).collect::<Vec<_>>().join(" ")
}

/// The type of an entity, and its term if it has one.
fn entity(json: &Value) -> String {
    let (kind, value) = (text(json, "type"), text(json, "value"));
    if value.is_empty() { kind } else { format!("{kind} {value}") }
}

/// `site/gateway/epoch/number`.
fn event_id(id: &str) -> Option<EventId> {
    let (rest, number) = id.rsplit_once('/')?;
    let (_, epoch) = rest.rsplit_once('/')?;
    Some(EventId { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Origin, encode_json, parse_event};

    const EVENT: &str = r#"{"v":1,"id":"demo/gateway-1/1/7","stream":"work-orders","kind":"report","at":"2026-11-20T03:00:00Z","clock":"synced","model":"m@1","label":"Leaking","score":0.875,"verdict":"uncertain","extractor":"e@1","extraction":"accepted","entities":[{"type":"Item","value":"pump"},{"type":"State","value":null}],"change":"new","priority":"bulk","historical":true}"#;

    #[test]
    fn what_the_gateway_says_is_understood() {
        let mut picture = Picture::default();
        let mut hear = |name: &str, payload: &str| {
            picture.hear_plant(format!("tidegate/demo/gateway-1/{name}").as_bytes(), payload.as_bytes());
        };
        hear("status/available", "online");
        hear("status/health", r#"{"status":"down","reason":"infer makes no progress"}"#);
        hear("status/health", r#"{"status":"down","reason":"stopped"}"#);
        hear("status/link", r#"{"state":"up"}"#);
        hear("status/outbox", r#"{"lanes":{"alarm":{"records":2},"bulk":{"records":5}}}"#);
        hear("status/outbox", r#"{"lanes":{"alarm":{"records":1}}}"#);
        hear("status/budget", r#"{"level":"hot","temperature":73.5}"#);
        hear("status/budget", r#"{"level":"warm","temperature":70.0}"#);
        hear("alarm/hydraulics-1", "{}");
        hear("event/work-orders", EVENT);
        hear("event/unknown", "not json");
        assert!(picture.online && picture.streams[0].alarm && !picture.streams[1].alarm);
        assert_eq!(picture.down.as_deref(), Some("infer makes no progress"));
        assert_eq!((picture.link.as_str(), picture.backlog, picture.backlog_max), ("up", 1, 7));
        assert_eq!(
            (picture.level, picture.level_max, picture.temperature),
            (Level::Warm, Level::Hot, Some(70.0))
        );
        assert_eq!(
            (picture.streams[2].decisions, picture.streams[2].last.as_str()),
            (1, "Leaking? 0.88 [Item pump, State]")
        );
        assert_eq!(picture.told, BTreeSet::from([EventId { epoch: 1, number: 7 }]));
    }

    #[test]
    fn the_consumer_counts_an_event_once_and_damage_as_damage() {
        let (_, facts) = parse_event(EVENT.as_bytes()).unwrap();
        let origin = Origin { site: "demo".into(), gateway: "gateway-1".into() };
        let mut payload = Vec::new();
        encode_json(&origin, &[Outbound::passed(facts)], &mut payload);
        let mut consumer = Consumer::default();
        consumer.take(&payload);
        consumer.take(&payload);
        consumer.take(b"nonsense");
        assert_eq!(
            (consumer.events.len(), consumer.duplicates, consumer.historical, consumer.damaged),
            (1, 1, 1, 1)
        );
    }
}
