//! Event JSON back to facts.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::clock::ClockQuality;
use crate::flow::{
    Change, Entity, EventId, Extracted, Facts, Grain, Named, Priority, StreamKind, TaskResult, TimeSpan,
    Verdict, When,
};
use crate::wire::error::WireError;
use crate::wire::limits::BODY_BYTES_MAX;
use crate::wire::origin::Origin;
use crate::wire::summary_json::{GAP, RawSummary, summary_of};
use crate::wire::time::parse_time;

/// Reads one line of event JSON.
///
/// Keys it does not know are skipped: a later gateway may have more to say. The task of a model with one task is
/// not in the JSON and comes back with an empty name.
pub fn parse_event(line: &[u8]) -> Result<(Origin, Facts), WireError> {
    if line.len() > BODY_BYTES_MAX {
        return Err(WireError::Limit { what: "length of a line" });
    }
    let mut raw: RawEvent = serde_json::from_slice(line).map_err(|error| refused(reason(&error)))?;
    if raw.v != 1 {
        return Err(WireError::Version { found: raw.v });
    }
    let (origin, id) = parse_id(&raw.id)?;
    let (summary, findings) = match raw.summary.take() {
        Some(summary) => (Some(Arc::new(summary_of(summary)?)), Findings::none_beside_summary(&raw)?),
        None => (None, Findings::of(&mut raw)?),
    };
    let gap = summary.as_ref().is_some_and(|summary| matches!(summary.grain, Grain::Gap(_)));
    if gap != (raw.kind == GAP) {
        return Err(refused("kind gap goes with a summary that is one"));
    }
    let facts = Facts {
        id,
        stream: Arc::from(raw.stream),
        kind: if gap {
            StreamKind::Sensor
        } else {
            word(&raw.kind, "kind", &[StreamKind::Sensor, StreamKind::Report], StreamKind::as_str)?
        },
        when: match (raw.from, raw.to, raw.at) {
            (Some(from), Some(to), None) => {
                When::Span(TimeSpan { from: parse_time(&from)?, to: parse_time(&to)? })
            }
            (None, None, Some(at)) => When::At(parse_time(&at)?),
            (_, _, _) => return Err(refused("needs either from and to or at")),
        },
        clock: word(&raw.clock, "clock", &CLOCKS, ClockQuality::as_str)?,
        model: Arc::from(raw.model),
        results: findings.results,
        features: findings.features,
        entities: findings.entities,
        extraction: findings.extraction,
        completeness: raw.completeness,
        change: word(&raw.change, "change", &CHANGES, Change::as_str)?,
        priority: word(&raw.priority, "priority", &Priority::ALL, Priority::as_str)?,
        historical: raw.historical,
        summary,
    };
    if findings.verdict.is_some_and(|verdict| facts.verdict() != verdict) {
        return Err(refused("verdict is not the worst of its tasks"));
    }
    Ok((origin, facts))
}

/// What the models found.
#[derive(Default)]
struct Findings {
    results: Vec<TaskResult>,
    features: Vec<Named>,
    entities: Vec<Entity>,
    extraction: Option<Extracted>,
    /// As written.
    verdict: Option<Verdict>,
}

impl Findings {
    fn of(raw: &mut RawEvent) -> Result<Self, WireError> {
        let verdict = raw.verdict.as_deref().ok_or_else(|| refused("needs a verdict"))?;
        let verdict = word(verdict, "verdict", &VERDICTS, Verdict::as_str)?;
        let unlabelled = raw.label.is_none() && raw.labels.is_none();
        let results = match (raw.label.take(), raw.labels.take()) {
            (Some(label), None) => vec![TaskResult {
                task: Arc::from(""),
                label: Arc::from(label),
                score: raw.score.ok_or_else(|| refused("needs a score beside its label"))?,
                verdict,
                scores: named(std::mem::take(&mut raw.scores)),
            }],
            (None, Some(labels)) => labels.0.into_iter().map(task_result).collect::<Result<_, _>>()?,
            // Nothing but entities, by the event's own model.
            (None, None) if raw.entities.is_some() => Vec::new(),
            (Some(_), Some(_)) | (None, None) => {
                return Err(refused("needs either label or labels, or entities"));
            }
        };
        let extraction = match (raw.extractor.take(), raw.extraction.take()) {
            (Some(model), Some(verdict)) => Some(Extracted {
                model: Arc::from(model),
                verdict: word(&verdict, "extraction", &VERDICTS, Verdict::as_str)?,
            }),
            (None, None) if unlabelled => Some(Extracted { model: Arc::from(&*raw.model), verdict }),
            (None, None) => None,
            (_, _) => return Err(refused("needs both extractor and extraction or neither")),
        };
        let features = named(std::mem::take(&mut raw.features));
        let entities = raw.entities.take().into_iter().flatten().map(entity).collect();
        Ok(Self { results, features, entities, extraction, verdict: Some(verdict) })
    }

    fn none_beside_summary(raw: &RawEvent) -> Result<Self, WireError> {
        let single = raw.label.is_some() || raw.labels.is_some() || raw.verdict.is_some();
        let marked = raw.entities.is_some() || raw.extractor.is_some() || raw.extraction.is_some();
        if single || marked || !raw.features.0.is_empty() {
            return Err(refused("has findings of one event beside a summary"));
        }
        Ok(Self::default())
    }
}

const VERDICTS: [Verdict; 3] = [Verdict::Accepted, Verdict::Uncertain, Verdict::OutOfScope];
const CLOCKS: [ClockQuality; 3] = [ClockQuality::Synced, ClockQuality::Unknown, ClockQuality::Unset];
const CHANGES: [Change; 4] = [Change::New, Change::Same, Change::Pending, Change::Cleared];

#[derive(Deserialize)]
struct RawEvent {
    v: u8,
    id: String,
    stream: String,
    kind: String,
    from: Option<String>,
    to: Option<String>,
    at: Option<String>,
    clock: String,
    model: String,
    label: Option<String>,
    score: Option<f32>,
    #[serde(default)]
    scores: Pairs<Option<f32>>,
    labels: Option<Pairs<RawResult>>,
    verdict: Option<String>,
    #[serde(default)]
    features: Pairs<Option<f32>>,
    extractor: Option<String>,
    extraction: Option<String>,
    entities: Option<Vec<RawEntity>>,
    completeness: Option<f32>,
    change: String,
    priority: String,
    historical: bool,
    summary: Option<RawSummary>,
}

#[derive(Deserialize)]
struct RawResult {
    label: String,
    score: f32,
    #[serde(default)]
    scores: Pairs<Option<f32>>,
    verdict: String,
}

#[derive(Deserialize)]
struct RawEntity {
    #[serde(rename = "type")]
    kind: String,
    value: Option<String>,
}

/// An object in the order in which it is written.
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(std::marker::PhantomData))
    }
}

struct PairsVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

fn named(pairs: Pairs<Option<f32>>) -> Vec<Named> {
    let named = pairs.0.into_iter();
    named.map(|(name, value)| Named { name: Arc::from(name), value: value.unwrap_or(f32::NAN) }).collect()
}

fn task_result((task, raw): (String, RawResult)) -> Result<TaskResult, WireError> {
    Ok(TaskResult {
        task: Arc::from(task),
        label: Arc::from(raw.label),
        score: raw.score,
        verdict: word(&raw.verdict, "verdict", &VERDICTS, Verdict::as_str)?,
        scores: named(raw.scores),
    })
}

fn entity(raw: RawEntity) -> Entity {
    Entity { kind: Arc::from(raw.kind), value: raw.value.map(Arc::from) }
}

/// Takes `site/gateway/epoch/number` apart.
fn parse_id(text: &str) -> Result<(Origin, EventId), WireError> {
    let mut parts = text.split('/');
    let parsed = (|| {
        let origin = Origin { site: Arc::from(parts.next()?), gateway: Arc::from(parts.next()?) };
        let id = EventId { epoch: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some((origin, id))
    })();
    parsed.ok_or_else(|| refused("id is not site/gateway/epoch/number"))
}

/// The value whose word this is.
pub(crate) fn word<T: Copy>(
    text: &str,
    key: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> Result<T, WireError> {
    let found = all.iter().find(|value| as_str(**value) == text);
    found.copied().ok_or_else(|| refused(&format!("{key} has an unknown word")))
}

pub(crate) fn refused(reason: &str) -> WireError {
    WireError::Json { reason: reason.to_owned() }
}

/// The parser's complaint by kind: its own text may repeat a part of the line.
fn reason(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not well-formed",
        serde_json::error::Category::Data => "a key is missing or of the wrong type",
        serde_json::error::Category::Eof => "ends too early",
    }
}
