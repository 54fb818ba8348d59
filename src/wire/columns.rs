//! Events to columns: words once, structure once per shape, then each field of all events side by side.

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::{Facts, Outbound, StreamKind, When};
use crate::wire::codes::{
    DECIMALS_MAX, RAW_FEATURES, SHAPE_INSTANT, SHAPE_REPORT, TIME_UNITS_MS, hundredths, scaled, state_bits,
    verdict_code,
};
use crate::wire::error::WireError;
use crate::wire::limits::{EVENTS_MAX, ITEMS_MAX, WORDS_MAX};
use crate::wire::primitive::{put, put_column, put_text, zigzag};

/// Writes columns; reused so that a batch allocates nothing once the buffers have grown.
#[derive(Default)]
pub(crate) struct Columns {
    words: HashMap<Arc<str>, u64>,
    listed: Vec<Arc<str>>,
    /// For each shape the index of the first event that has it.
    shapes: Vec<usize>,
    /// For each event its shape.
    shape_of: Vec<u64>,
    /// For each shape the last time written.
    last_of: Vec<Option<i64>>,
    column: Vec<u64>,
}

impl Columns {
    /// Appends the columns of the events. On error `out` holds a useless beginning.
    pub(crate) fn write(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        let result = self.write_all(events, out);
        self.words.clear();
        self.listed.clear();
        self.shapes.clear();
        self.shape_of.clear();
        result
    }

    fn write_all(&mut self, events: &[Outbound], out: &mut Vec<u8>) -> Result<(), WireError> {
        if events.is_empty() || events.len() > EVENTS_MAX {
            return Err(WireError::Limit { what: "number of events" });
        }
        let items: usize = events.iter().map(|event| items(event.facts())).sum();
        if items > ITEMS_MAX {
            return Err(WireError::Limit { what: "number of results, features and entities" });
        }
        put(out, events.len() as u64);
        self.collect(events);
        self.write_words(out)?;
        self.write_shapes(events, out);
        self.write_ids(events, out);
        self.write_times(events, out);
        self.write_states(events, out);
        for shape in 0..self.shapes.len() as u64 {
            self.write_results(events, shape, out);
            self.write_features(events, shape, out);
        }
        self.write_entities(events, out);
        Ok(())
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
            self.shape_of.push(shape as u64);
            if known.is_none() {
                self.shapes.push(index);
                self.list(&facts.stream);
                self.list(&facts.model);
                for result in &facts.results {
                    self.list(&result.task);
                    result.scores.iter().for_each(|score| self.list(&score.name));
                }
                facts.features.iter().for_each(|feature| self.list(&feature.name));
            }
            facts.results.iter().for_each(|result| self.list(&result.label));
            for entity in &facts.entities {
                self.list(&entity.kind);
                entity.value.iter().for_each(|value| self.list(value));
            }
        }
    }

    fn list(&mut self, word: &Arc<str>) {
        if !self.words.contains_key(word) {
            self.words.insert(Arc::clone(word), self.listed.len() as u64);
            self.listed.push(Arc::clone(word));
        }
    }

    fn word(&self, word: &Arc<str>) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }

    fn write_words(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.listed.len() > WORDS_MAX {
            return Err(WireError::Limit { what: "number of words" });
        }
        put(out, self.listed.len() as u64);
        self.listed.iter().try_for_each(|word| put_text(out, word))
    }

    fn write_shapes(&self, events: &[Outbound], out: &mut Vec<u8>) {
        put(out, self.shapes.len() as u64);
        for facts in self.shapes.iter().filter_map(|first| events.get(*first)).map(Outbound::facts) {
            put(out, shape_flags(facts));
            put(out, self.word(&facts.stream));
            put(out, self.word(&facts.model));
            put(out, facts.results.len() as u64);
            for result in &facts.results {
                put(out, self.word(&result.task));
                put(out, result.scores.len() as u64);
                result.scores.iter().for_each(|score| put(out, self.word(&score.name)));
            }
            put(out, facts.features.len() as u64);
            facts.features.iter().for_each(|feature| put(out, self.word(&feature.name)));
        }
        if self.shapes.len() > 1 {
            put_column(out, &self.shape_of);
        }
    }

    /// Epoch and number: the first as it is, then the differences; those of the number less one.
    fn write_ids(&mut self, events: &[Outbound], out: &mut Vec<u8>) {
        let ids = || events.iter().map(|event| event.facts().id);
        let pairs = || ids().zip(ids().skip(1));
        if let Some(first) = ids().next() {
            put(out, u64::from(first.epoch));
            put(out, first.number);
        }
        self.column.clear();
        self.column.extend(pairs().map(|(a, b)| zigzag(i64::from(b.epoch) - i64::from(a.epoch))));
        put_column(out, &self.column);
        self.column.clear();
        self.column.extend(pairs().map(|(a, b)| {
            let step = b.number.wrapping_sub(a.number).wrapping_sub(1);
            zigzag(step.cast_signed())
        }));
        put_column(out, &self.column);
    }

    /// Starts and instants as differences within a shape, then the lengths of the spans.
    fn write_times(&mut self, events: &[Outbound], out: &mut Vec<u8>) {
        let starts = || events.iter().map(|event| start_ms(event.facts().when));
        let divides_all = |unit: &i64| starts().all(|start| start % unit == 0);
        let unit = TIME_UNITS_MS.iter().rposition(divides_all).unwrap_or(0);
        put(out, unit as u64);
        let unit_ms = TIME_UNITS_MS.get(unit).copied().unwrap_or(1);
        self.last_of.clear();
        self.last_of.resize(self.shapes.len(), None);
        let mut last = 0;
        self.column.clear();
        for (start, shape) in starts().zip(&self.shape_of) {
            let start = start / unit_ms;
            let mut before = last;
            if let Some(slot) = usize::try_from(*shape).ok().and_then(|shape| self.last_of.get_mut(shape)) {
                before = slot.replace(start).unwrap_or(last);
            }
            self.column.push(zigzag(start.wrapping_sub(before)));
            last = start;
        }
        put_column(out, &self.column);
        self.column.clear();
        self.column.extend(events.iter().filter_map(|event| length_ms(event.facts().when)).map(zigzag));
        put_column(out, &self.column);
    }

    fn write_states(&mut self, events: &[Outbound], out: &mut Vec<u8>) {
        self.column.clear();
        self.column.extend(events.iter().map(|event| state_bits(event.facts())));
        put_column(out, &self.column);
        self.column.clear();
        self.column.extend(
            events
                .iter()
                .map(|event| event.facts().completeness.map_or(0, |share| u64::from(hundredths(share)) + 1)),
        );
        put_column(out, &self.column);
    }

    fn write_results(&mut self, events: &[Outbound], shape: u64, out: &mut Vec<u8>) {
        let Some(example) = self.example(events, shape) else { return };
        for (task, result) in example.results.iter().enumerate() {
            let results = || {
                let of_shape = events.iter().zip(&self.shape_of).filter(|(_, of)| **of == shape);
                of_shape.filter_map(|(event, _)| event.facts().results.get(task))
            };
            let mut column = std::mem::take(&mut self.column);
            column.clear();
            column.extend(results().map(|result| self.word(&result.label)));
            put_column(out, &column);
            column.clear();
            column.extend(results().map(|result| u64::from(hundredths(result.score))));
            put_column(out, &column);
            column.clear();
            column.extend(results().map(|result| verdict_code(result.verdict)));
            put_column(out, &column);
            for score in 0..result.scores.len() {
                column.clear();
                let scores = results().filter_map(|result| result.scores.get(score));
                column.extend(scores.map(|score| u64::from(hundredths(score.value))));
                put_column(out, &column);
            }
            self.column = column;
        }
    }

    fn write_features(&mut self, events: &[Outbound], shape: u64, out: &mut Vec<u8>) {
        let Some(example) = self.example(events, shape) else { return };
        for feature in 0..example.features.len() {
            let mut column = std::mem::take(&mut self.column);
            let values = || {
                let of_shape = events.iter().zip(&self.shape_of).filter(|(_, of)| **of == shape);
                of_shape.filter_map(|(event, _)| Some(event.facts().features.get(feature)?.value))
            };
            let exact = |decimals: &u8| values().all(|value| scaled(value, *decimals).is_some());
            if let Some(decimals) = (0..=DECIMALS_MAX).find(exact) {
                out.push(decimals);
                column.clear();
                let mut last = None;
                for value in values().filter_map(|value| scaled(value, decimals)) {
                    match last.replace(value) {
                        None => put(out, zigzag(value)),
                        Some(before) => column.push(zigzag(value - before)),
                    }
                }
                put_column(out, &column);
            } else {
                out.push(RAW_FEATURES);
                values().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            }
            self.column = column;
        }
    }

    fn write_entities(&mut self, events: &[Outbound], out: &mut Vec<u8>) {
        let mut column = std::mem::take(&mut self.column);
        column.clear();
        column.extend(events.iter().map(|event| event.facts().entities.len() as u64));
        put_column(out, &column);
        let entities = || events.iter().flat_map(|event| &event.facts().entities);
        column.clear();
        column.extend(entities().map(|entity| self.word(&entity.kind)));
        put_column(out, &column);
        column.clear();
        column.extend(entities().map(|entity| entity.value.as_ref().map_or(0, |word| self.word(word) + 1)));
        put_column(out, &column);
        self.column = column;
    }

    /// The event that introduced a shape.
    fn example<'a>(&self, events: &'a [Outbound], shape: u64) -> Option<&'a Facts> {
        let first = self.shapes.get(usize::try_from(shape).ok()?)?;
        events.get(*first).map(Outbound::facts)
    }
}

/// Whether two events differ in values only.
fn same_shape(a: &Facts, b: &Facts) -> bool {
    shape_flags(a) == shape_flags(b)
        && a.stream == b.stream
        && a.model == b.model
        && a.results.len() == b.results.len()
        && a.features.len() == b.features.len()
        && a.features.iter().zip(&b.features).all(|(a, b)| a.name == b.name)
        && a.results.iter().zip(&b.results).all(|(a, b)| {
            a.task == b.task
                && a.scores.len() == b.scores.len()
                && a.scores.iter().zip(&b.scores).all(|(a, b)| a.name == b.name)
        })
}

fn shape_flags(facts: &Facts) -> u64 {
    let kind = match facts.kind {
        StreamKind::Sensor => 0,
        StreamKind::Report => SHAPE_REPORT,
    };
    let when = match facts.when {
        When::Span(_) => 0,
        When::At(_) => SHAPE_INSTANT,
    };
    kind | when
}

/// What the reader will need memory for.
fn items(facts: &Facts) -> usize {
    let scores: usize = facts.results.iter().map(|result| result.scores.len()).sum();
    facts.results.len() + scores + facts.features.len() + facts.entities.len()
}

fn start_ms(when: When) -> i64 {
    match when {
        When::Span(span) => span.from.0.div_euclid(1_000),
        When::At(at) => at.0.div_euclid(1_000),
    }
}

fn length_ms(when: When) -> Option<i64> {
    match when {
        When::Span(span) => Some(span.to.0.div_euclid(1_000) - span.from.0.div_euclid(1_000)),
        When::At(_) => None,
    }
}
