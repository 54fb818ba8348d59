//! The `summary` object of event JSON, written and read.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::flow::{Facts, FeatureSummary, GapReason, Grain, LabelSummary, Summary, TaskSummary};
use crate::wire::error::WireError;
use crate::wire::json::{put_json, put_key, put_number, put_word};
use crate::wire::parse::{refused, word};
use crate::wire::time::{parse_time, put_time};

/// Kind of an event that tells of a gap.
pub(crate) const GAP: &str = "gap";

/// Grains with a word of their own; a gap has its reason besides.
const GRAINS: [Grain; 3] = [Grain::TenMinutes, Grain::Hour, Grain::Day];

/// Longest time read, in seconds: what fits milliseconds exactly in double precision.
const SECONDS_MAX: f64 = 9e12;

/// The kind of an event in JSON: that of its stream, or gap.
pub(crate) fn kind_word(facts: &Facts) -> &'static str {
    let gap = facts.summary.as_ref().is_some_and(|summary| matches!(summary.grain, Grain::Gap(_)));
    if gap { GAP } else { facts.kind.as_str() }
}

/// Appends the key and the object.
pub(crate) fn put_summary(out: &mut Vec<u8>, summary: &Summary) {
    out.extend_from_slice(b",\"summary\":{\"grain\":");
    put_json(out, summary.grain.as_str());
    if let Grain::Gap(reason) = summary.grain {
        put_word(out, "reason", reason.as_str());
    }
    put_key(out, "events");
    put_json(out, &summary.events);
    put_list(out, "tasks", &summary.tasks, |out, task| {
        put_name(out, "task", &task.task);
        put_list(out, "labels", &task.labels, put_label);
    });
    put_list(out, "features", &summary.features, put_feature);
    out.push(b'}');
}

fn put_label(out: &mut Vec<u8>, label: &LabelSummary) {
    put_name(out, "label", &label.label);
    put_key(out, "count");
    put_json(out, &label.count);
    for (key, at) in [("first", label.first), ("last", label.last)] {
        put_key(out, key);
        out.push(b'"');
        put_time(out, at);
        out.push(b'"');
    }
    put_key(out, "longest_s");
    put_json(out, &label.longest.as_secs());
    put_thousandths(out, label.longest.subsec_millis());
}

fn put_feature(out: &mut Vec<u8>, feature: &FeatureSummary) {
    put_name(out, "name", &feature.name);
    put_key(out, "count");
    put_json(out, &feature.count);
    let [low, median, high] = feature.quantiles;
    let numbers = [
        ("min", feature.min),
        ("max", feature.max),
        ("mean", feature.mean),
        ("p05", low),
        ("p50", median),
        ("p95", high),
    ];
    for (key, value) in numbers {
        put_key(out, key);
        put_number(out, value);
    }
}

/// A list of objects; nothing when there are none.
fn put_list<T>(out: &mut Vec<u8>, key: &str, items: &[T], put_item: impl Fn(&mut Vec<u8>, &T)) {
    if items.is_empty() {
        return;
    }
    put_key(out, key);
    for (index, item) in items.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        put_item(out, item);
        out.push(b'}');
    }
    out.push(b']');
}

/// The first key of an object.
fn put_name(out: &mut Vec<u8>, key: &str, name: &str) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    put_json(out, name);
}

/// What follows a whole number of seconds: nothing, or a point and up to three digits.
fn put_thousandths(out: &mut Vec<u8>, millis: u32) {
    let mut rest = millis;
    if rest > 0 {
        out.push(b'.');
    }
    while rest > 0 {
        out.push(b'0' + u8::try_from(rest / 100).unwrap_or(9));
        rest = rest % 100 * 10;
    }
}

/// The object as it is read.
#[derive(Deserialize)]
pub(crate) struct RawSummary {
    grain: String,
    reason: Option<String>,
    events: u64,
    #[serde(default)]
    tasks: Vec<RawTask>,
    #[serde(default)]
    features: Vec<RawFeature>,
}

#[derive(Deserialize)]
struct RawTask {
    task: String,
    #[serde(default)]
    labels: Vec<RawLabel>,
}

#[derive(Deserialize)]
struct RawLabel {
    label: String,
    count: u64,
    first: String,
    last: String,
    longest_s: f64,
}

#[derive(Deserialize)]
struct RawFeature {
    name: String,
    count: u64,
    min: Option<f32>,
    max: Option<f32>,
    mean: Option<f32>,
    p05: Option<f32>,
    p50: Option<f32>,
    p95: Option<f32>,
}

/// What the object says.
pub(crate) fn summary_of(raw: RawSummary) -> Result<Summary, WireError> {
    let grain = match (raw.grain == GAP, raw.reason) {
        (true, Some(reason)) => Grain::Gap(word(&reason, "reason", &GapReason::ALL, GapReason::as_str)?),
        (false, None) => word(&raw.grain, "grain", &GRAINS, Grain::as_str)?,
        (true, None) | (false, Some(_)) => return Err(refused("reason goes with the grain gap")),
    };
    Ok(Summary {
        grain,
        events: raw.events,
        tasks: raw.tasks.into_iter().map(task_of).collect::<Result<_, _>>()?,
        features: raw.features.into_iter().map(feature_of).collect(),
    })
}

fn task_of(raw: RawTask) -> Result<TaskSummary, WireError> {
    let labels = raw.labels.into_iter().map(label_of).collect::<Result<_, _>>()?;
    Ok(TaskSummary { task: Arc::from(raw.task), labels, lead: Duration::ZERO, trail: Duration::ZERO })
}

fn label_of(raw: RawLabel) -> Result<LabelSummary, WireError> {
    if !(0.0..SECONDS_MAX).contains(&raw.longest_s) {
        return Err(refused("longest_s is no length of time"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
    let longest = Duration::from_millis((raw.longest_s * 1_000.0).round() as u64);
    let (first, last) = (parse_time(&raw.first)?, parse_time(&raw.last)?);
    Ok(LabelSummary { label: Arc::from(raw.label), count: raw.count, first, last, longest })
}

fn feature_of(raw: RawFeature) -> FeatureSummary {
    let number = |value: Option<f32>| value.unwrap_or(f32::NAN);
    FeatureSummary {
        name: Arc::from(raw.name),
        count: raw.count,
        min: number(raw.min),
        max: number(raw.max),
        mean: number(raw.mean),
        quantiles: [raw.p05, raw.p50, raw.p95].map(number),
        sketch: Arc::default(),
    }
}
