//! One event to a row and back.

use std::sync::Arc;

use crate::clock::ClockQuality;
use crate::flow::{
    Change, Entity, EventId, Facts, Named, Outbound, Priority, StreamKind, TaskResult, TimeSpan, When,
};
use crate::wire::codes::{
    SHAPE_FLAGS, SHAPE_INSTANT, SHAPE_REPORT, SHAPE_SUMMARY, coding, completeness_code, completeness_of,
    feature_code, feature_of, hundredths, instant, length_ms, set_state, shape_flags, share_of, start_ms,
    state_bits, verdict_code, verdict_of,
};
use crate::wire::error::WireError;
use crate::wire::limits::{NAMES_MAX, TASKS_MAX, WORD_BYTES_MAX};
use crate::wire::schema::{Row, RowFeature, RowTask, Told, put};
use crate::wire::tasks::{take_extraction, task_count, tasks_of};
use crate::wire::told::{Kept, summary_of};

/// Appends the row of an event: the bytes of `Row`, part by part; refuses what a reader would refuse.
pub(crate) fn put_row(out: &mut Vec<u8>, facts: &Facts) -> Result<(), WireError> {
    let most = |count: usize, max: usize| {
        let too_many = WireError::Limit { what: "number of results, features and entities" };
        if count <= max { Ok(count) } else { Err(too_many) }
    };
    put(out, &facts.id.epoch)?;
    put(out, &facts.id.number)?;
    put(out, &[shape_flags(facts), state_bits(facts), completeness_code(facts)])?;
    put(out, &start_ms(facts.when))?;
    put(out, &length_ms(facts.when).unwrap_or(0))?;
    put(out, word(&facts.stream)?)?;
    put(out, word(&facts.model)?)?;
    put(out, &most(task_count(facts), TASKS_MAX)?)?;
    for task in tasks_of(facts) {
        put(out, word(task.name)?)?;
        put(out, word(task.label.map_or("", |label| label))?)?;
        put(out, &[hundredths(task.score), verdict_code(task.verdict)])?;
        put(out, &most(task.scores.len(), NAMES_MAX)?)?;
        for score in task.scores {
            put(out, word(&score.name)?)?;
            put(out, &hundredths(score.value))?;
        }
    }
    put(out, &most(facts.features.len(), NAMES_MAX)?)?;
    for feature in &facts.features {
        let decimals = coding(&std::iter::once(feature.value));
        put(out, word(&feature.name)?)?;
        put(out, &(decimals, feature_code(feature.value, decimals)))?;
    }
    put(out, &most(facts.entities.len(), NAMES_MAX)?)?;
    for entity in &facts.entities {
        put(out, word(&entity.kind)?)?;
        put(out, &entity.value.as_deref().map(word).transpose()?)?;
    }
    Ok(())
}

/// The event of a row; of a summary with what it says and what is kept beside it, if that is there.
pub(crate) fn event_of(row: &Row<'_>, told: Option<(&Told<&str>, Kept<'_>)>) -> Result<Outbound, WireError> {
    if row.shape & !SHAPE_FLAGS != 0 || (row.shape & SHAPE_SUMMARY != 0) != told.is_some() {
        return Err(WireError::Invalid { what: "kind of an event" });
    }
    let from = instant(Some(row.start))?;
    let to = instant(row.start.checked_add(row.length))?;
    let name = |text: &str| word(text).map(Arc::from);
    let named = |text: &str, value: f32| Ok(Named { name: name(text)?, value });
    let result = |task: &RowTask<'_>| {
        Ok(TaskResult {
            task: name(task.name)?,
            label: name(task.label)?,
            score: share_of(task.score)?,
            verdict: verdict_of(task.verdict)?,
            scores: task
                .scores
                .0
                .iter()
                .map(|(label, share)| named(label, share_of(*share)?))
                .collect::<Result<_, WireError>>()?,
        })
    };
    let feature =
        |feature: &RowFeature<'_>| named(feature.name, feature_of(feature.value, feature.decimals)?);
    let entity = |(kind, value): &(&str, Option<&str>)| {
        Ok(Entity { kind: name(kind)?, value: value.map(name).transpose()? })
    };
    let mut facts = Facts {
        id: EventId { epoch: row.epoch, number: row.number },
        stream: name(row.stream)?,
        kind: if row.shape & SHAPE_REPORT == 0 { StreamKind::Sensor } else { StreamKind::Report },
        when: if row.shape & SHAPE_INSTANT == 0 { When::Span(TimeSpan { from, to }) } else { When::At(from) },
        clock: ClockQuality::Unknown,
        model: name(row.model)?,
        results: row.tasks.0.iter().map(result).collect::<Result<_, WireError>>()?,
        features: row.features.0.iter().map(feature).collect::<Result<_, WireError>>()?,
        entities: row.entities.0.iter().map(entity).collect::<Result<_, WireError>>()?,
        extraction: None,
        completeness: completeness_of(row.completeness)?,
        change: Change::Same,
        priority: Priority::Normal,
        historical: false,
        summary: told.map(|(told, kept)| summary_of(told, row.start, kept, &name)).transpose()?.map(Arc::new),
    };
    set_state(&mut facts, row.state).ok_or(WireError::Invalid { what: "state of an event" })?;
    take_extraction(&mut facts, row.shape)?;
    Ok(Outbound::passed(facts))
}

/// A word no longer than a reader accepts.
pub(crate) fn word(text: &str) -> Result<&str, WireError> {
    if text.len() <= WORD_BYTES_MAX { Ok(text) } else { Err(WireError::Limit { what: "length of a word" }) }
}
