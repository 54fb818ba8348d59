//! One event to a row and back.

use std::sync::Arc;

use crate::clock::ClockQuality;
use crate::flow::{
    Change, Entity, EventId, Facts, Named, Outbound, Priority, StreamKind, TaskResult, TimeSpan, When,
};
use crate::wire::codes::{
    SHAPE_FLAGS, SHAPE_INSTANT, SHAPE_REPORT, coding, completeness_code, completeness_of, feature_code,
    feature_of, hundredths, instant, length_ms, set_state, shape_flags, share_of, start_ms, state_bits,
    verdict_code, verdict_of,
};
use crate::wire::error::WireError;
use crate::wire::limits::WORD_BYTES_MAX;
use crate::wire::schema::{Limited, Row, RowFeature, RowTask};
use crate::wire::tasks::{TaskView, take_extraction, task_count, tasks_of};

/// The row of an event; refuses what a reader would refuse.
pub(crate) fn row_of(facts: &Facts) -> Result<Row<'_>, WireError> {
    Ok(Row {
        epoch: facts.id.epoch,
        number: facts.id.number,
        shape: shape_flags(facts),
        state: state_bits(facts),
        completeness: completeness_code(facts),
        start: start_ms(facts.when),
        length: length_ms(facts.when).unwrap_or(0),
        stream: word(&facts.stream)?,
        model: word(&facts.model)?,
        tasks: limited(tasks_of(facts).map(|task| row_task(&task)), task_count(facts))?,
        features: limited(facts.features.iter().map(row_feature), facts.features.len())?,
        entities: limited(facts.entities.iter().map(row_entity), facts.entities.len())?,
    })
}

fn row_feature(feature: &Named) -> Result<RowFeature<'_>, WireError> {
    let decimals = coding(&std::iter::once(feature.value));
    Ok(RowFeature { name: word(&feature.name)?, decimals, value: feature_code(feature.value, decimals) })
}

fn row_entity(entity: &Entity) -> Result<(&str, Option<&str>), WireError> {
    Ok((word(&entity.kind)?, entity.value.as_deref().map(word).transpose()?))
}

fn row_task<'a>(task: &TaskView<'a>) -> Result<RowTask<'a>, WireError> {
    let scores = task.scores.iter().map(|named| Ok((word(&named.name)?, hundredths(named.value))));
    Ok(RowTask {
        name: word(task.name)?,
        label: word(task.label.map_or("", |label| label))?,
        score: hundredths(task.score),
        verdict: verdict_code(task.verdict),
        scores: limited(scores, task.scores.len())?,
    })
}

/// The event of a row.
pub(crate) fn event_of(row: &Row<'_>) -> Result<Outbound, WireError> {
    if row.shape & !SHAPE_FLAGS != 0 {
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
        summary: None,
    };
    set_state(&mut facts, row.state).ok_or(WireError::Invalid { what: "state of an event" })?;
    take_extraction(&mut facts, row.shape)?;
    Ok(Outbound::passed(facts))
}

/// A word no longer than a reader accepts.
pub(crate) fn word(text: &str) -> Result<&str, WireError> {
    if text.len() <= WORD_BYTES_MAX { Ok(text) } else { Err(WireError::Limit { what: "length of a word" }) }
}

fn limited<T, const MAX: usize>(
    items: impl Iterator<Item = Result<T, WireError>>,
    count: usize,
) -> Result<Limited<T, MAX>, WireError> {
    if count > MAX {
        return Err(WireError::Limit { what: "number of results, features and entities" });
    }
    items.collect::<Result<_, _>>().map(Limited)
}
