//! Events to columns: words once, structure once per shape, then each field of all events side by side.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::flow::{Facts, Outbound, Summary};
use crate::wire::codes::{
    TIME_UNITS_MS, coding, completeness_code, feature_code, hundredths, length_ms, shape_flags, start_ms,
    state_bits, verdict_code,
};
use crate::wire::error::WireError;
use crate::wire::limits::{EVENTS_MAX, ITEMS_MAX, NAMES_MAX, TASKS_MAX, WORDS_MAX};
use crate::wire::origin::Origin;
use crate::wire::row::word;
use crate::wire::schema::put;
use crate::wire::tasks::{TaskView, task_count, tasks_of};
use crate::wire::told::{put_told, told_items};

/// Number of `Body::Many` among the bodies.
const MANY: u32 = 1;

/// Number of `Body::ManyTold` among the bodies.
const MANY_TOLD: u32 = 3;

/// Writes columns: the bytes of `Body::Many` or `Body::ManyTold`, part by part. Reused so that a batch allocates nothing once the
/// buffers have grown.
#[derive(Default)]
pub(crate) struct Columns {
    index: Index,
    scratch: Scratch,
}

/// What the events have in common.
#[derive(Default)]
struct Index {
    words: HashMap<Arc<str>, u32>,
    listed: Vec<Arc<str>>,
    /// For each shape the index of the first event that has it.
    shapes: Vec<usize>,
    /// For each event its shape.
    shape_of: Vec<u32>,
}

/// One column at a time, of each kind.
#[derive(Default)]
struct Scratch {
    codes: Vec<u8>,
    words: Vec<u32>,
    steps: Vec<i64>,
    /// For each shape the last time written.
    last_of: Vec<Option<i64>>,
}

impl Columns {
    /// Appends the columns of the events. On error `out` holds a useless beginning.
    pub(crate) fn write(
        &mut self,
        origin: &Origin,
        events: &[Outbound],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let result = self.write_all(origin, events, out);
        self.index.words.clear();
        self.index.listed.clear();
        self.index.shapes.clear();
        self.index.shape_of.clear();
        result
    }

    fn write_all(
        &mut self,
        origin: &Origin,
        events: &[Outbound],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        if events.is_empty() || events.len() > EVENTS_MAX {
            return Err(WireError::Limit { what: "number of events" });
        }
        let too_many = WireError::Limit { what: "number of results, features and entities" };
        let items: usize = events.iter().map(|event| items(event.facts())).sum();
        if items > ITEMS_MAX || !events.iter().all(|event| within_limits(event.facts())) {
            return Err(too_many);
        }
        let told = events.iter().filter(|event| event.facts().summary.is_some()).count();
        put(out, &if told == 0 { MANY } else { MANY_TOLD })?;
        put(out, word(&origin.site)?)?;
        put(out, word(&origin.gateway)?)?;
        put(out, &events.len())?;
        self.index.collect(events);
        self.index.write_words(out)?;
        put(out, &self.index.shapes.len())?;
        for shape in 0..self.index.shapes.len() {
            self.write_shape(events, shape, out)?;
        }
        self.scratch.words.clone_from(&self.index.shape_of);
        put_column(out, &self.scratch.words)?;
        self.write_ids(events, out)?;
        self.write_times(events, out)?;
        let Scratch { codes, .. } = &mut self.scratch;
        refill(codes, events.iter().map(|event| state_bits(event.facts())));
        put_column(out, codes)?;
        refill(codes, events.iter().map(|event| completeness_code(event.facts())));
        put_column(out, codes)?;
        self.write_entities(events, out)?;
        if told > 0 {
            put(out, &told)?;
            self.write_summaries(events, out)?;
        }
        Ok(())
    }

    /// Structure and columns of the events of one shape.
    fn write_shape(&mut self, events: &[Outbound], shape: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let Self { index, scratch } = self;
        let example = index.shapes.get(shape).and_then(|first| events.get(*first)).map(Outbound::facts);
        let Some(example) = example else { return Ok(()) };
        let number = u32::try_from(shape).unwrap_or(u32::MAX);
        let of_shape = events.iter().zip(&index.shape_of).filter(|(_, of)| **of == number);
        let members = of_shape.map(|(event, _)| event.facts());
        put(out, &shape_flags(example))?;
        put(out, &index.word(&example.stream))?;
        put(out, &index.word(&example.model))?;
        put(out, &task_count(example))?;
        for (number, task) in tasks_of(example).enumerate() {
            let tasks = members.clone().filter_map(|facts| tasks_of(facts).nth(number));
            index.write_task(&task, &tasks, scratch, out)?;
        }
        put(out, &example.features.len())?;
        for (at, feature) in example.features.iter().enumerate() {
            let values = members.clone().filter_map(|facts| Some(facts.features.get(at)?.value));
            let coding = coding(&values);
            put(out, &index.word(&feature.name))?;
            put(out, &coding)?;
            let codes = values.map(|value| feature_code(value, coding));
            put(out, &codes.clone().next().unwrap_or(0))?;
            refill(&mut scratch.steps, codes.clone().zip(codes.skip(1)).map(|(a, b)| b - a));
            put_column(out, &scratch.steps)?;
        }
        Ok(())
    }

    /// Epoch and number: the first as it is, then the differences; those of the number less one.
    fn write_ids(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        let steps = &mut self.scratch.steps;
        let ids = events.iter().map(|event| event.facts().id);
        let pairs = ids.clone().zip(ids.clone().skip(1));
        if let Some(first) = ids.clone().next() {
            put(out, &first.epoch)?;
            put(out, &first.number)?;
        }
        refill(steps, pairs.clone().map(|(a, b)| i64::from(b.epoch) - i64::from(a.epoch)));
        put_column(out, steps)?;
        refill(steps, pairs.map(|(a, b)| b.number.wrapping_sub(a.number).wrapping_sub(1).cast_signed()));
        put_column(out, steps)
    }

    /// Starts and instants as differences within a shape, then the lengths of the spans.
    fn write_times(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        let Self { index, scratch: Scratch { steps, last_of, .. } } = self;
        let starts = events.iter().map(|event| start_ms(event.facts().when));
        let divides_all = |unit: &i64| starts.clone().all(|start| start % unit == 0);
        let unit = TIME_UNITS_MS.iter().rposition(divides_all).unwrap_or(0);
        let unit_ms = TIME_UNITS_MS.get(unit).copied().unwrap_or(1);
        put(out, &unit)?;
        last_of.clear();
        last_of.resize(index.shapes.len(), None);
        let mut last = 0;
        let step = |(start, shape): (i64, &u32)| {
            let start = start / unit_ms;
            let slot = usize::try_from(*shape).ok().and_then(|shape| last_of.get_mut(shape));
            let before = slot.and_then(|slot| slot.replace(start)).unwrap_or(last);
            last = start;
            start.wrapping_sub(before)
        };
        refill(steps, starts.clone().zip(&index.shape_of).map(step));
        put_column(out, steps)?;
        refill(steps, events.iter().filter_map(|event| length_ms(event.facts().when)));
        put_column(out, steps)
    }

    fn write_entities(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        let Self { index, scratch: Scratch { words, .. } } = self;
        let count = |event: &Outbound| u32::try_from(event.facts().entities.len()).unwrap_or(u32::MAX);
        refill(words, events.iter().map(count));
        put_column(out, words)?;
        let entities = events.iter().flat_map(|event| &event.facts().entities);
        refill(words, entities.clone().map(|entity| index.word(&entity.kind)));
        put(out, words)?;
        let value = entities.map(|entity| entity.value.as_ref().map_or(0, |value| index.word(value) + 1));
        refill(words, value);
        put(out, words)
    }

    fn write_summaries(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        events.iter().map(Outbound::facts).try_for_each(|facts| {
            let Some(summary) = &facts.summary else { return Ok(()) };
            put_told(out, summary, start_ms(facts.when), &|name| Ok(self.index.word(name)))
        })
    }
}

impl Index {
    fn collect_summary(&mut self, summary: &Summary) {
        for task in &summary.tasks {
            self.list(&task.task);
            task.labels.iter().for_each(|label| self.list(&label.label));
        }
        summary.features.iter().for_each(|feature| self.list(&feature.name));
    }

    /// Finds the shapes and lists the words in the order in which they appear.
    fn collect(&mut self, events: &[Outbound]) {
        for (index, event) in events.iter().enumerate() {
            let facts = event.facts();
            let known = self
                .shapes
                .iter()
                .position(|first| events.get(*first).is_some_and(|other| same_shape(other.facts(), facts)));
            let shape = known.unwrap_or(self.shapes.len());
            self.shape_of.push(u32::try_from(shape).unwrap_or(u32::MAX));
            if known.is_none() {
                self.shapes.push(index);
                self.list(&facts.stream);
                self.list(&facts.model);
                for task in tasks_of(facts) {
                    self.list(task.name);
                    task.scores.iter().for_each(|score| self.list(&score.name));
                }
                facts.features.iter().for_each(|feature| self.list(&feature.name));
            }
            tasks_of(facts).filter_map(|task| task.label).for_each(|label| self.list(label));
            for entity in &facts.entities {
                self.list(&entity.kind);
                entity.value.iter().for_each(|value| self.list(value));
            }
            facts.summary.iter().for_each(|summary| self.collect_summary(summary));
        }
    }

    fn list(&mut self, word: &Arc<str>) {
        if !self.words.contains_key(word) {
            self.words.insert(Arc::clone(word), u32::try_from(self.listed.len()).unwrap_or(u32::MAX));
            self.listed.push(Arc::clone(word));
        }
    }

    fn word(&self, word: &Arc<str>) -> u32 {
        self.words.get(word).copied().unwrap_or(0)
    }

    fn write_words(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.listed.len() > WORDS_MAX {
            return Err(WireError::Limit { what: "number of words" });
        }
        put(out, &self.listed.len())?;
        self.listed.iter().try_for_each(|listed| put(out, word(listed)?))
    }

    fn write_task<'a>(
        &self,
        example: &TaskView<'_>,
        tasks: &(impl Iterator<Item = TaskView<'a>> + Clone),
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let Scratch { codes, words, .. } = scratch;
        put(out, &self.word(example.name))?;
        // An extraction has no label: its own name stands in.
        refill(words, tasks.clone().map(|task| self.word(task.label.unwrap_or(task.name))));
        put_column(out, words)?;
        refill(codes, tasks.clone().map(|task| hundredths(task.score)));
        put_column(out, codes)?;
        refill(codes, tasks.clone().map(|task| verdict_code(task.verdict)));
        put_column(out, codes)?;
        refill(words, example.scores.iter().map(|score| self.word(&score.name)));
        put(out, words)?;
        codes.clear();
        for at in 0..example.scores.len() {
            let scores = tasks.clone().filter_map(|task| task.scores.get(at));
            codes.extend(scores.map(|score| hundredths(score.value)));
        }
        put(out, codes)
    }
}

fn refill<T>(column: &mut Vec<T>, values: impl Iterator<Item = T>) {
    column.clear();
    column.extend(values);
}

/// Appends a column: nothing of it when all values are 0, one value when all are equal.
fn put_column<T: Serialize + Default + PartialEq>(out: &mut Vec<u8>, values: &[T]) -> Result<(), WireError> {
    let shown = match values.split_first() {
        Some((first, rest)) if rest.iter().all(|value| value == first) => {
            values.get(..usize::from(*first != T::default()))
        }
        Some(_) | None => Some(values),
    };
    put(out, shown.unwrap_or(values))
}

/// Whether two events differ in values only.
fn same_shape(a: &Facts, b: &Facts) -> bool {
    shape_flags(a) == shape_flags(b)
        && a.stream == b.stream
        && a.model == b.model
        && task_count(a) == task_count(b)
        && a.features.len() == b.features.len()
        && a.features.iter().zip(&b.features).all(|(a, b)| a.name == b.name)
        && tasks_of(a).zip(tasks_of(b)).all(|(a, b)| {
            a.name == b.name
                && a.scores.len() == b.scores.len()
                && a.scores.iter().zip(b.scores).all(|(a, b)| a.name == b.name)
        })
}

fn within_limits(facts: &Facts) -> bool {
    task_count(facts) <= TASKS_MAX
        && facts.features.len() <= NAMES_MAX
        && facts.results.iter().all(|result| result.scores.len() <= NAMES_MAX)
}

/// What the reader will need memory for.
fn items(facts: &Facts) -> usize {
    let scores: usize = facts.results.iter().map(|result| result.scores.len()).sum();
    let told = facts.summary.as_deref().map_or(0, told_items);
    task_count(facts) + scores + facts.features.len() + facts.entities.len() + told
}
