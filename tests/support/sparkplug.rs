//! Events as a payload of Sparkplug B, written by hand: what the usual format of the trade takes for the same facts.
//!
//! One payload for a batch, one metric for each label, score, verdict, feature and entity, with the time of its event;
//! number, state and completeness as metrics too. Epoch, site and gateway would stand in the topic.

use tidegate::clock::EventTime;
use tidegate::flow::{Facts, Outbound, When};

/// Field numbers of `Metric`.
const NAME: u64 = 1;
const ALIAS: u64 = 2;
const TIMESTAMP: u64 = 3;
const DATATYPE: u64 = 4;
const INT: u64 = 10;
const LONG: u64 = 11;
const FLOAT: u64 = 12;
const STRING: u64 = 15;

/// Sparkplug's data types.
const UINT8: u64 = 5;
const UINT64: u64 = 8;
const FLOATING: u64 = 9;
const TEXT: u64 = 12;

enum Value<'a> {
    Small(u8),
    Whole(u64),
    Number(f32),
    Text(&'a str),
}

/// The payload of a batch. With aliases the names are taken to be known from a birth certificate sent before.
pub(crate) fn payload(events: &[Outbound], aliases: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut known: Vec<String> = Vec::new();
    field(&mut out, 1, events.first().map_or(0, |event| start(event.facts())));
    for event in events {
        metrics(event.facts(), &mut |name, value| {
            let alias = known.iter().position(|other| *other == name).unwrap_or_else(|| {
                known.push(name.clone());
                known.len() - 1
            });
            let mut metric = Vec::new();
            if aliases {
                field(&mut metric, ALIAS, alias as u64);
            } else {
                text(&mut metric, NAME, &name);
            }
            field(&mut metric, TIMESTAMP, start(event.facts()));
            // Where the alias is known, so is the type.
            let kind = |metric: &mut Vec<u8>, kind| {
                if !aliases {
                    field(metric, DATATYPE, kind);
                }
            };
            match value {
                Value::Small(value) => {
                    kind(&mut metric, UINT8);
                    field(&mut metric, INT, value.into());
                }
                Value::Whole(value) => {
                    kind(&mut metric, UINT64);
                    field(&mut metric, LONG, value);
                }
                Value::Number(value) => {
                    kind(&mut metric, FLOATING);
                    number(&mut metric, FLOAT << 3 | 5);
                    metric.extend_from_slice(&value.to_le_bytes());
                }
                Value::Text(value) => {
                    kind(&mut metric, TEXT);
                    text(&mut metric, STRING, value);
                }
            }
            number(&mut out, 2 << 3 | 2);
            number(&mut out, metric.len() as u64);
            out.extend_from_slice(&metric);
        });
    }
    // The sequence number of the message.
    field(&mut out, 3, 77);
    out
}

fn metrics<'a>(facts: &'a Facts, put: &mut impl FnMut(String, Value<'a>)) {
    let stream = &facts.stream;
    put(format!("{stream}/number"), Value::Whole(facts.id.number));
    let state = facts.change as u8 | (facts.priority as u8) << 2 | u8::from(facts.historical) << 4;
    put(format!("{stream}/state"), Value::Small(state));
    put(format!("{stream}/model"), Value::Text(&facts.model));
    if let Some(share) = facts.completeness {
        put(format!("{stream}/completeness"), Value::Number(share));
    }
    for result in &facts.results {
        let name =
            if result.task.is_empty() { stream.to_string() } else { format!("{stream}/{}", result.task) };
        put(format!("{name}/label"), Value::Text(&result.label));
        put(format!("{name}/score"), Value::Number(result.score));
        put(format!("{name}/verdict"), Value::Small(result.verdict as u8));
        for score in &result.scores {
            put(format!("{name}/{}", score.name), Value::Number(score.value));
        }
    }
    for feature in &facts.features {
        put(format!("{stream}/{}", feature.name), Value::Number(feature.value));
    }
    for entity in &facts.entities {
        put(format!("{stream}/{}", entity.kind), Value::Text(entity.value.as_deref().unwrap_or_default()));
    }
    if let Some(found) = &facts.extraction {
        put(format!("{stream}/extraction"), Value::Small(found.verdict as u8));
    }
}

/// Milliseconds since 1970.
fn start(facts: &Facts) -> u64 {
    let (When::At(EventTime(micros)) | When::Span(tidegate::flow::TimeSpan { from: EventTime(micros), .. })) =
        facts.when;
    u64::try_from(micros / 1_000).unwrap_or_default()
}

fn field(out: &mut Vec<u8>, field: u64, value: u64) {
    number(out, field << 3);
    number(out, value);
}

fn text(out: &mut Vec<u8>, field: u64, text: &str) {
    number(out, field << 3 | 2);
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}
