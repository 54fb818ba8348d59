//! Columns back to events; every count is checked before memory is taken for it.

use std::sync::Arc;

use crate::clock::{ClockQuality, EventTime};
use crate::flow::{
    Change, Entity, EventId, Facts, Named, Outbound, Priority, StreamKind, TaskResult, TimeSpan, When,
};
use crate::wire::codes::{
    SHAPE_FLAGS, SHAPE_INSTANT, SHAPE_REPORT, SHAPE_SUMMARY, TIME_UNITS_MS, completeness_of, feature_of,
    instant, set_state, share_of, start_ms, verdict_of,
};
use crate::wire::error::WireError;
use crate::wire::limits::{EVENTS_MAX, ITEMS_MAX};
use crate::wire::row::word;
use crate::wire::schema::{Many, Shape, Told};
use crate::wire::tasks::take_extraction;
use crate::wire::told::{Kept, items_of_told, summary_of};

const TOO_MANY: WireError = WireError::Limit { what: "number of results, features and entities" };

/// The events of a batch; `told` has what each summary among them says.
pub(crate) fn read_rows(many: &Many<'_>, told: &[Told<u32>]) -> Result<Vec<Outbound>, WireError> {
    let count = usize::try_from(many.events).unwrap_or(usize::MAX);
    if count == 0 || count > EVENTS_MAX {
        return Err(WireError::Limit { what: "number of events" });
    }
    let mut rows = Rows::new(many, count, told.iter().map(items_of_told).sum())?;
    rows.set_ids(many)?;
    rows.set_times(many)?;
    rows.set_states(many)?;
    for (shape, members) in many.shapes.0.iter().zip(std::mem::take(&mut rows.members)) {
        rows.add_results(shape, &members)?;
        rows.add_features(shape, &members)?;
    }
    rows.add_entities(many)?;
    rows.add_summaries(many, told)?;
    Ok(rows.events.into_iter().map(Outbound::passed).collect())
}

struct Rows {
    words: Vec<Arc<str>>,
    events: Vec<Facts>,
    /// For each event its shape.
    shape_of: Vec<usize>,
    /// For each shape the indices of its events, ascending.
    members: Vec<Vec<usize>>,
}

impl Rows {
    /// One event for each row with everything but its values. `told` is what the summaries need memory for.
    fn new(many: &Many<'_>, count: usize, told: usize) -> Result<Self, WireError> {
        let words = many.words.0.iter().map(|text| word(text).map(Arc::from)).collect::<Result<_, _>>()?;
        let mut rows = Self { words, events: Vec::new(), shape_of: Vec::new(), members: Vec::new() };
        rows.members.resize(many.shapes.0.len(), Vec::new());
        for (row, shape) in many.shape_of.cells(count)?.enumerate() {
            let shape = usize::try_from(shape).unwrap_or(usize::MAX);
            let members = rows.members.get_mut(shape);
            members.ok_or(WireError::Invalid { what: "index of a shape" })?.push(row);
            rows.shape_of.push(shape);
        }
        let mut items = many.entity_kinds.0.len() + told;
        for (shape, members) in many.shapes.0.iter().zip(&rows.members) {
            if members.is_empty() {
                return Err(WireError::Invalid { what: "shape without events" });
            }
            // At most 2^18 of a megabyte of bytes times 2^12 events: far from overflow.
            items += members.len() * items_of(shape);
        }
        if items > ITEMS_MAX {
            return Err(TOO_MANY);
        }
        for shape in &rows.shape_of {
            let shape = many.shapes.0.get(*shape).ok_or(WireError::Invalid { what: "index of a shape" })?;
            let facts = rows.blank(shape)?;
            rows.events.push(facts);
        }
        Ok(rows)
    }

    fn blank(&self, shape: &Shape) -> Result<Facts, WireError> {
        if shape.flags & !SHAPE_FLAGS != 0 {
            return Err(WireError::Invalid { what: "kind of a shape" });
        }
        let start = EventTime(0);
        Ok(Facts {
            id: EventId { epoch: 0, number: 0 },
            stream: self.word(shape.stream)?,
            kind: if shape.flags & SHAPE_REPORT == 0 { StreamKind::Sensor } else { StreamKind::Report },
            when: if shape.flags & SHAPE_INSTANT == 0 {
                When::Span(TimeSpan { from: start, to: start })
            } else {
                When::At(start)
            },
            clock: ClockQuality::Unknown,
            model: self.word(shape.model)?,
            results: Vec::with_capacity(shape.tasks.0.len()),
            features: Vec::with_capacity(shape.features.0.len()),
            entities: Vec::new(),
            extraction: None,
            completeness: None,
            change: Change::Same,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        })
    }

    fn word(&self, index: u32) -> Result<Arc<str>, WireError> {
        let word = usize::try_from(index).ok().and_then(|index| self.words.get(index));
        word.cloned().ok_or(WireError::Invalid { what: "index of a word" })
    }

    fn set_ids(&mut self, many: &Many<'_>) -> Result<(), WireError> {
        let invalid = WireError::Invalid { what: "id of an event" };
        let steps = self.events.len() - 1;
        let (mut epoch, mut number) = (i64::from(many.epoch), many.number);
        let steps = many.epoch_steps.cells(steps)?.zip(many.number_steps.cells(steps)?);
        // The first event takes no step: less 1, plus 1.
        for (event, (epoch_step, number_step)) in
            self.events.iter_mut().zip(std::iter::once((0, -1)).chain(steps))
        {
            epoch = epoch.checked_add(epoch_step).ok_or_else(|| invalid.clone())?;
            number = number.wrapping_add(number_step.cast_unsigned()).wrapping_add(1);
            let epoch = u32::try_from(epoch).map_err(|_| invalid.clone())?;
            event.id = EventId { epoch, number };
        }
        Ok(())
    }

    fn set_times(&mut self, many: &Many<'_>) -> Result<(), WireError> {
        let unit = TIME_UNITS_MS.get(usize::from(many.time_unit)).copied();
        let unit = unit.ok_or(WireError::Invalid { what: "unit of time" })?;
        let mut last_of: Vec<Option<i64>> = vec![None; many.shapes.0.len()];
        let mut last = 0_i64;
        let steps = many.starts.cells(self.events.len())?;
        for ((event, shape), step) in self.events.iter_mut().zip(&self.shape_of).zip(steps) {
            let slot = last_of.get_mut(*shape);
            let before = slot.as_ref().and_then(|slot| **slot).unwrap_or(last);
            let start = before.wrapping_add(step);
            if let Some(slot) = slot {
                *slot = Some(start);
            }
            last = start;
            let at = instant(start.checked_mul(unit))?;
            event.when = match event.when {
                When::Span(_) => When::Span(TimeSpan { from: at, to: at }),
                When::At(_) => When::At(at),
            };
        }
        let count = self.events.iter().filter(|event| matches!(event.when, When::Span(_))).count();
        let spans = self.events.iter_mut().filter_map(|event| match &mut event.when {
            When::Span(span) => Some(span),
            When::At(_) => None,
        });
        for (span, length) in spans.zip(many.lengths.cells(count)?) {
            span.to = instant((span.from.0 / 1_000).checked_add(length))?;
        }
        Ok(())
    }

    fn set_states(&mut self, many: &Many<'_>) -> Result<(), WireError> {
        let count = self.events.len();
        let codes = many.states.cells(count)?.zip(many.completeness.cells(count)?);
        for (event, (state, completeness)) in self.events.iter_mut().zip(codes) {
            set_state(event, state).ok_or(WireError::Invalid { what: "state of an event" })?;
            event.completeness = completeness_of(completeness)?;
        }
        Ok(())
    }

    fn add_results(&mut self, shape: &Shape, members: &[usize]) -> Result<(), WireError> {
        let count = members.len();
        for (index, task) in shape.tasks.0.iter().enumerate() {
            let name = self.word(task.name)?;
            let codes =
                task.labels.cells(count)?.zip(task.shares.cells(count)?).zip(task.verdicts.cells(count)?);
            for (member, ((label, share), verdict)) in members.iter().zip(codes) {
                let result = TaskResult {
                    task: Arc::clone(&name),
                    label: self.word(label)?,
                    score: share_of(share)?,
                    verdict: verdict_of(verdict)?,
                    scores: Vec::with_capacity(task.scores.0.len()),
                };
                if let Some(event) = self.events.get_mut(*member) {
                    event.results.push(result);
                }
            }
            if task.score_shares.0.len() != task.scores.0.len() * count {
                return Err(WireError::Invalid { what: "number of scores" });
            }
            for (score, shares) in task.scores.0.iter().zip(task.score_shares.0.chunks(count.max(1))) {
                let name = self.word(*score)?;
                for (member, share) in members.iter().zip(shares) {
                    let value = share_of(*share)?;
                    let event = self.events.get_mut(*member);
                    if let Some(result) = event.and_then(|event| event.results.get_mut(index)) {
                        result.scores.push(Named { name: Arc::clone(&name), value });
                    }
                }
            }
        }
        for member in members {
            if let Some(event) = self.events.get_mut(*member) {
                take_extraction(event, shape.flags)?;
            }
        }
        Ok(())
    }

    fn add_features(&mut self, shape: &Shape, members: &[usize]) -> Result<(), WireError> {
        for feature in &shape.features.0 {
            let name = self.word(feature.name)?;
            let mut code = feature.first;
            let steps = feature.steps.cells(members.len().saturating_sub(1))?;
            for (member, step) in members.iter().zip(std::iter::once(0).chain(steps)) {
                code = code.wrapping_add(step);
                let value = feature_of(code, feature.decimals)?;
                if let Some(event) = self.events.get_mut(*member) {
                    event.features.push(Named { name: Arc::clone(&name), value });
                }
            }
        }
        Ok(())
    }

    fn add_entities(&mut self, many: &Many<'_>) -> Result<(), WireError> {
        let (kinds, values) = (&many.entity_kinds.0, &many.entity_values.0);
        let invalid = WireError::Invalid { what: "number of entities" };
        let counts: Vec<_> = many.entity_counts.cells(self.events.len())?.collect();
        let total: u64 = counts.iter().copied().map(u64::from).sum();
        if total != kinds.len() as u64 || kinds.len() != values.len() {
            return Err(invalid);
        }
        let kinds = kinds.iter().map(|kind| self.word(*kind));
        let values = values.iter().map(|value| value.checked_sub(1).map(|word| self.word(word)).transpose());
        let entities = kinds.zip(values).map(|(kind, value)| Ok(Entity { kind: kind?, value: value? }));
        let mut entities = entities.collect::<Result<Vec<_>, WireError>>()?.into_iter();
        for (event, count) in self.events.iter_mut().zip(counts) {
            event.entities = entities.by_ref().take(usize::try_from(count).unwrap_or(0)).collect();
        }
        Ok(())
    }

    fn add_summaries(&mut self, many: &Many<'_>, told: &[Told<u32>]) -> Result<(), WireError> {
        let invalid = WireError::Invalid { what: "number of summaries" };
        let mut told = told.iter();
        for (row, shape) in self.shape_of.iter().enumerate() {
            if many.shapes.0.get(*shape).is_none_or(|shape| shape.flags & SHAPE_SUMMARY == 0) {
                continue;
            }
            let told = told.next().ok_or_else(|| invalid.clone())?;
            let start = self.events.get(row).map_or(0, |event| start_ms(event.when));
            let summary = summary_of(told, start, Kept::default(), &|index| self.word(index))?;
            if let Some(event) = self.events.get_mut(row) {
                event.summary = Some(Arc::new(summary));
            }
        }
        if told.next().is_some() { Err(invalid) } else { Ok(()) }
    }
}

/// What each event of a shape needs memory for.
fn items_of(shape: &Shape) -> usize {
    let scores: usize = shape.tasks.0.iter().map(|task| task.scores.0.len()).sum();
    shape.tasks.0.len() + scores + shape.features.0.len()
}
