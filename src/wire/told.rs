//! What a summary says, to bytes and back: the same in a row, with names in full, and in columns, with words.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::EventTime;
use crate::flow::{FeatureSummary, GapReason, Grain, LabelSummary, Summary, TaskSummary};
use crate::wire::codes::{coding, feature_code, feature_of, instant};
use crate::wire::error::WireError;
use crate::wire::limits::{NAMES_MAX, TASKS_MAX};
use crate::wire::schema::{Told, ToldFeature, ToldLabel, ToldTask, put};

/// What takes memory on its own in a summary: tasks, labels and features.
pub(crate) fn told_items(summary: &Summary) -> usize {
    let labels: usize = summary.tasks.iter().map(|task| task.labels.len()).sum();
    summary.tasks.len() + labels + summary.features.len()
}

/// The same of a summary that is being read.
pub(crate) fn items_of_told<N>(told: &Told<N>) -> usize {
    let labels: usize = told.tasks.0.iter().map(|task| task.labels.0.len()).sum();
    told.tasks.0.len() + labels + told.features.0.len()
}

/// Appends what the summary of an event that starts at `start` says: the bytes of `Told`, part by part.
pub(crate) fn put_told<'a, N: Serialize>(
    out: &mut Vec<u8>,
    summary: &'a Summary,
    start: i64,
    name: &impl Fn(&'a Arc<str>) -> Result<N, WireError>,
) -> Result<(), WireError> {
    let labels = summary.tasks.iter().map(|task| task.labels.len());
    if summary.tasks.len() > TASKS_MAX || labels.chain([summary.features.len()]).any(|len| len > NAMES_MAX) {
        return Err(WireError::Limit { what: "number of tasks, labels and features of a summary" });
    }
    put(out, &grain_code(summary.grain))?;
    put(out, &summary.events)?;
    put(out, &summary.tasks.len())?;
    for task in &summary.tasks {
        put(out, &name(&task.task)?)?;
        put(out, &task.labels.len())?;
        for label in &task.labels {
            put(out, &told_label(label, start, name(&label.label)?))?;
        }
    }
    put(out, &summary.features.len())?;
    for feature in &summary.features {
        put(out, &told_feature(feature, name(&feature.name)?))?;
    }
    Ok(())
}

/// What only the record of a summary has, to draw it together with others again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept<'a> {
    /// Of each feature the sketch.
    pub(crate) sketches: &'a [&'a [u8]],
    /// Of each task the length of the first and of the last row of one label, in milliseconds.
    pub(crate) rows: &'a [(u64, u64)],
}

/// Undoes [`put_told`]. Features and tasks take what is kept of them in their order, nothing where there is no more.
pub(crate) fn summary_of<N: Copy>(
    told: &Told<N>,
    start: i64,
    kept: Kept<'_>,
    name: &impl Fn(N) -> Result<Arc<str>, WireError>,
) -> Result<Summary, WireError> {
    let task = |(task, (lead, trail)): (&ToldTask<N>, (u64, u64))| {
        let labels = task.labels.0.iter().map(|label| label_of(label, start, name(label.name)?));
        Ok(TaskSummary {
            task: name(task.name)?,
            labels: labels.collect::<Result<_, WireError>>()?,
            lead: Duration::from_millis(lead),
            trail: Duration::from_millis(trail),
        })
    };
    let rows = kept.rows.iter().copied().chain(std::iter::repeat((0, 0)));
    let sketches =
        kept.sketches.iter().map(|bytes| Arc::from(*bytes)).chain(std::iter::repeat_with(Arc::default));
    let feature = |(feature, sketch): (&ToldFeature<N>, Arc<[u8]>)| {
        summary_of_feature(feature, name(feature.name)?, sketch)
    };
    Ok(Summary {
        grain: grain_of(told.grain)?,
        events: told.events,
        tasks: told.tasks.0.iter().zip(rows).map(task).collect::<Result<_, WireError>>()?,
        features: told.features.0.iter().zip(sketches).map(feature).collect::<Result<_, WireError>>()?,
    })
}

fn grain_code(grain: Grain) -> u8 {
    match grain {
        Grain::TenMinutes => 0,
        Grain::Hour => 1,
        Grain::Day => 2,
        Grain::Gap(GapReason::Full) => 3,
        Grain::Gap(GapReason::Expired) => 4,
        Grain::Gap(GapReason::Damaged) => 5,
        Grain::Gap(GapReason::Undeliverable) => 6,
    }
}

fn grain_of(code: u8) -> Result<Grain, WireError> {
    match code {
        0 => Ok(Grain::TenMinutes),
        1 => Ok(Grain::Hour),
        2 => Ok(Grain::Day),
        3 => Ok(Grain::Gap(GapReason::Full)),
        4 => Ok(Grain::Gap(GapReason::Expired)),
        5 => Ok(Grain::Gap(GapReason::Damaged)),
        6 => Ok(Grain::Gap(GapReason::Undeliverable)),
        _ => Err(WireError::Invalid { what: "grain of a summary" }),
    }
}

fn told_label<N>(label: &LabelSummary, start: i64, name: N) -> ToldLabel<N> {
    let ms = |at: EventTime| at.0.div_euclid(1_000);
    ToldLabel {
        name,
        count: label.count,
        first: ms(label.first) - start,
        last: ms(label.last) - ms(label.first),
        longest: u64::try_from(label.longest.as_millis()).unwrap_or(u64::MAX),
    }
}

fn label_of<N>(told: &ToldLabel<N>, start: i64, label: Arc<str>) -> Result<LabelSummary, WireError> {
    let first = start.checked_add(told.first);
    Ok(LabelSummary {
        label,
        count: told.count,
        first: instant(first)?,
        last: instant(first.and_then(|first| first.checked_add(told.last)))?,
        longest: Duration::from_millis(told.longest),
    })
}

/// Values from the smallest to the largest lie close together; the mean lies near the median.
fn told_feature<N>(feature: &FeatureSummary, name: N) -> ToldFeature<N> {
    let [low, median, high] = feature.quantiles;
    let decimals = coding(&[feature.min, low, median, high, feature.max, feature.mean].into_iter());
    let code = |value: f32| feature_code(value, decimals);
    let step = |from: f32, to: f32| code(to) - code(from);
    let values = [
        code(feature.min),
        step(feature.min, low),
        step(low, median),
        step(median, high),
        step(high, feature.max),
        step(median, feature.mean),
    ];
    ToldFeature { name, count: feature.count, decimals, values }
}

fn summary_of_feature<N>(
    told: &ToldFeature<N>,
    name: Arc<str>,
    sketch: Arc<[u8]>,
) -> Result<FeatureSummary, WireError> {
    let [min, to_low, to_median, to_high, to_max, to_mean] = told.values;
    let value = |code: i64| feature_of(code, told.decimals);
    let low = min.wrapping_add(to_low);
    let median = low.wrapping_add(to_median);
    let high = median.wrapping_add(to_high);
    Ok(FeatureSummary {
        name,
        count: told.count,
        min: value(min)?,
        max: value(high.wrapping_add(to_max))?,
        mean: value(median.wrapping_add(to_mean))?,
        quantiles: [value(low)?, value(median)?, value(high)?],
        sketch,
    })
}
