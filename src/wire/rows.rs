//! Columns back to events; every count is checked before memory is taken for it.

use std::sync::Arc;

use crate::clock::{ClockQuality, EventTime};
use crate::flow::{
    Change, Entity, EventId, Facts, Named, Outbound, Priority, StreamKind, TaskResult, TimeSpan, When,
};
use crate::wire::codes::{
    DECIMALS_MAX, RAW_FEATURES, SHAPE_INSTANT, SHAPE_REPORT, TIME_UNITS_MS, set_state, share_of, unscaled,
    verdict_of,
};
use crate::wire::error::WireError;
use crate::wire::limits::{EVENTS_MAX, ITEMS_MAX, WORDS_MAX};
use crate::wire::primitive::{Bytes, unzigzag};

/// Reads all columns; the bytes must end with them.
pub(crate) fn read_rows(bytes: &mut Bytes<'_>) -> Result<Vec<Outbound>, WireError> {
    let count = bytes.index(EVENTS_MAX, "number of events")?;
    if count == 0 {
        return Err(WireError::Invalid { what: "number of events" });
    }
    let mut rows = Rows::read_structure(bytes, count)?;
    rows.read_ids(bytes)?;
    rows.read_times(bytes)?;
    rows.read_states(bytes)?;
    for shape in &std::mem::take(&mut rows.shapes) {
        rows.read_results(bytes, shape)?;
        rows.read_features(bytes, shape)?;
    }
    rows.read_entities(bytes)?;
    if !bytes.is_empty() {
        return Err(WireError::Invalid { what: "rest of the body" });
    }
    Ok(rows.events.into_iter().map(Outbound::passed).collect())
}

struct Rows {
    words: Vec<Arc<str>>,
    shapes: Vec<Shape>,
    events: Vec<Facts>,
    shape_of: Vec<usize>,
    column: Vec<u64>,
    /// How many more results, scores, features and entities are allowed.
    items_left: usize,
}

struct Shape {
    flags: u64,
    stream: Arc<str>,
    model: Arc<str>,
    tasks: Vec<(Arc<str>, Vec<Arc<str>>)>,
    features: Vec<Arc<str>>,
    /// Indices of the events of this shape, ascending.
    members: Vec<usize>,
}

impl Rows {
    /// Words, shapes, and one event for each row with everything but its values.
    fn read_structure(bytes: &mut Bytes<'_>, count: usize) -> Result<Self, WireError> {
        let mut rows = Self {
            words: Vec::new(),
            shapes: Vec::new(),
            events: Vec::new(),
            shape_of: Vec::new(),
            column: Vec::new(),
            items_left: ITEMS_MAX,
        };
        for _ in 0..bytes.index(WORDS_MAX, "number of words")? {
            rows.words.push(Arc::from(bytes.text()?));
        }
        for _ in 0..bytes.index(count, "number of shapes")? {
            let shape = rows.read_shape(bytes)?;
            rows.shapes.push(shape);
        }
        if rows.shapes.len() > 1 {
            bytes.column(count, &mut rows.column)?;
        } else {
            rows.column.resize(count, 0);
        }
        for index in 0..count {
            let shape = rows.column.get(index).and_then(|shape| usize::try_from(*shape).ok());
            rows.add_row(shape.unwrap_or(usize::MAX))?;
        }
        if rows.shapes.iter().any(|shape| shape.members.is_empty()) {
            return Err(WireError::Invalid { what: "shape without events" });
        }
        Ok(rows)
    }

    fn read_shape(&mut self, bytes: &mut Bytes<'_>) -> Result<Shape, WireError> {
        let flags = bytes.number()?;
        if flags & !(SHAPE_REPORT | SHAPE_INSTANT) != 0 {
            return Err(WireError::Invalid { what: "kind of a shape" });
        }
        let (stream, model) = (self.read_word(bytes)?, self.read_word(bytes)?);
        let mut tasks = Vec::new();
        for _ in 0..self.read_count(bytes)? {
            let task = self.read_word(bytes)?;
            tasks.push((task, self.read_list(bytes)?));
        }
        let features = self.read_list(bytes)?;
        Ok(Shape { flags, stream, model, tasks, features, members: Vec::new() })
    }

    fn read_list(&mut self, bytes: &mut Bytes<'_>) -> Result<Vec<Arc<str>>, WireError> {
        (0..self.read_count(bytes)?).map(|_| self.read_word(bytes)).collect()
    }

    fn read_count(&mut self, bytes: &mut Bytes<'_>) -> Result<usize, WireError> {
        let count = bytes.index(self.items_left, "number of results, features and entities")?;
        self.items_left -= count;
        Ok(count)
    }

    fn read_word(&self, bytes: &mut Bytes<'_>) -> Result<Arc<str>, WireError> {
        self.word(bytes.number()?)
    }

    fn word(&self, index: u64) -> Result<Arc<str>, WireError> {
        let word = usize::try_from(index).ok().and_then(|index| self.words.get(index));
        word.cloned().ok_or(WireError::Invalid { what: "index of a word" })
    }

    fn add_row(&mut self, index: usize) -> Result<(), WireError> {
        let shape = self.shapes.get_mut(index).ok_or(WireError::Invalid { what: "index of a shape" })?;
        let scores: usize = shape.tasks.iter().map(|(_, scores)| scores.len()).sum();
        let items = shape.tasks.len() + scores + shape.features.len();
        self.items_left = self
            .items_left
            .checked_sub(items)
            .ok_or(WireError::Limit { what: "number of results, features and entities" })?;
        shape.members.push(self.events.len());
        self.shape_of.push(index);
        let epoch_start = EventTime(0);
        self.events.push(Facts {
            id: EventId { epoch: 0, number: 0 },
            stream: Arc::clone(&shape.stream),
            kind: if shape.flags & SHAPE_REPORT == 0 { StreamKind::Sensor } else { StreamKind::Report },
            when: if shape.flags & SHAPE_INSTANT == 0 {
                When::Span(TimeSpan { from: epoch_start, to: epoch_start })
            } else {
                When::At(epoch_start)
            },
            clock: ClockQuality::Unknown,
            model: Arc::clone(&shape.model),
            results: Vec::with_capacity(shape.tasks.len()),
            features: Vec::with_capacity(shape.features.len()),
            entities: Vec::new(),
            completeness: None,
            change: Change::Same,
            priority: Priority::Normal,
            historical: false,
        });
        Ok(())
    }

    fn read_ids(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        let invalid = WireError::Invalid { what: "id of an event" };
        let first = u32::try_from(bytes.number()?).map_err(|_| invalid.clone())?;
        let first_number = bytes.number()?;
        let steps = self.events.len() - 1;
        bytes.column(steps, &mut self.column)?;
        let mut epoch = i64::from(first);
        let steps_of_epoch = std::iter::once(0).chain(self.column.iter().map(|step| unzigzag(*step)));
        for (event, step) in self.events.iter_mut().zip(steps_of_epoch) {
            epoch = epoch.checked_add(step).ok_or_else(|| invalid.clone())?;
            event.id.epoch = u32::try_from(epoch).map_err(|_| invalid.clone())?;
        }
        bytes.column(steps, &mut self.column)?;
        let mut number = first_number;
        for (index, event) in self.events.iter_mut().enumerate() {
            if let Some(step) = index.checked_sub(1).and_then(|index| self.column.get(index)) {
                number = number.wrapping_add(unzigzag(*step).cast_unsigned()).wrapping_add(1);
            }
            event.id.number = number;
        }
        Ok(())
    }

    fn read_times(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        let unit = bytes.index(TIME_UNITS_MS.len() - 1, "unit of time")?;
        let unit = TIME_UNITS_MS.get(unit).copied().unwrap_or(1);
        bytes.column(self.events.len(), &mut self.column)?;
        let mut last_of: Vec<Option<i64>> = vec![None; self.shapes.len()];
        let mut last = 0_i64;
        for ((event, shape), step) in self.events.iter_mut().zip(&self.shape_of).zip(&self.column) {
            let slot = last_of.get_mut(*shape);
            let before = slot.as_ref().and_then(|slot| **slot).unwrap_or(last);
            let start = before.wrapping_add(unzigzag(*step));
            if let Some(slot) = slot {
                *slot = Some(start);
            }
            last = start;
            let at = micros(start.checked_mul(unit))?;
            event.when = match event.when {
                When::Span(_) => When::Span(TimeSpan { from: at, to: at }),
                When::At(_) => When::At(at),
            };
        }
        let spans = self.events.iter().filter(|event| matches!(event.when, When::Span(_))).count();
        bytes.column(spans, &mut self.column)?;
        let spans = self.events.iter_mut().filter_map(|event| match &mut event.when {
            When::Span(span) => Some(span),
            When::At(_) => None,
        });
        for (span, length) in spans.zip(&self.column) {
            span.to = micros((span.from.0 / 1_000).checked_add(unzigzag(*length)))?;
        }
        Ok(())
    }

    fn read_states(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        bytes.column(self.events.len(), &mut self.column)?;
        for (event, bits) in self.events.iter_mut().zip(&self.column) {
            set_state(event, *bits).ok_or(WireError::Invalid { what: "state of an event" })?;
        }
        bytes.column(self.events.len(), &mut self.column)?;
        for (event, share) in self.events.iter_mut().zip(&self.column) {
            event.completeness = match share.checked_sub(1) {
                None => None,
                Some(hundredths) => Some(share_of(hundredths)?),
            };
        }
        Ok(())
    }

    fn read_results(&mut self, bytes: &mut Bytes<'_>, shape: &Shape) -> Result<(), WireError> {
        let count = shape.members.len();
        let (mut labels, mut shares) = (Vec::new(), Vec::new());
        for (index, (task, scores)) in shape.tasks.iter().enumerate() {
            bytes.column(count, &mut labels)?;
            bytes.column(count, &mut shares)?;
            bytes.column(count, &mut self.column)?;
            let values = labels.iter().zip(&shares).zip(&self.column);
            for (member, ((label, share), verdict)) in shape.members.iter().zip(values) {
                let result = TaskResult {
                    task: Arc::clone(task),
                    label: self.word(*label)?,
                    score: share_of(*share)?,
                    verdict: verdict_of(*verdict)?,
                    scores: Vec::with_capacity(scores.len()),
                };
                if let Some(event) = self.events.get_mut(*member) {
                    event.results.push(result);
                }
            }
            for name in scores {
                bytes.column(count, &mut self.column)?;
                for (member, share) in shape.members.iter().zip(&self.column) {
                    let value = share_of(*share)?;
                    let event = self.events.get_mut(*member);
                    if let Some(result) = event.and_then(|event| event.results.get_mut(index)) {
                        result.scores.push(Named { name: Arc::clone(name), value });
                    }
                }
            }
        }
        Ok(())
    }

    fn read_features(&mut self, bytes: &mut Bytes<'_>, shape: &Shape) -> Result<(), WireError> {
        let mut values = Vec::new();
        for name in &shape.features {
            values.clear();
            match bytes.byte()? {
                RAW_FEATURES => {
                    for _ in &shape.members {
                        values.push(f32::from_le_bytes(bytes.array()?));
                    }
                }
                decimals if decimals <= DECIMALS_MAX => {
                    self.read_scaled(bytes, shape.members.len(), decimals, &mut values)?;
                }
                _ => return Err(WireError::Invalid { what: "coding of a feature" }),
            }
            for (member, value) in shape.members.iter().zip(&values) {
                if let Some(event) = self.events.get_mut(*member) {
                    event.features.push(Named { name: Arc::clone(name), value: *value });
                }
            }
        }
        Ok(())
    }

    fn read_scaled(
        &mut self,
        bytes: &mut Bytes<'_>,
        count: usize,
        decimals: u8,
        values: &mut Vec<f32>,
    ) -> Result<(), WireError> {
        let mut steps = unzigzag(bytes.number()?);
        bytes.column(count.saturating_sub(1), &mut self.column)?;
        values.push(unscaled(steps, decimals));
        for step in &self.column {
            steps = steps.wrapping_add(unzigzag(*step));
            values.push(unscaled(steps, decimals));
        }
        Ok(())
    }

    fn read_entities(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        let mut counts = Vec::new();
        bytes.column(self.events.len(), &mut counts)?;
        let mut total = 0_usize;
        for count in &counts {
            total = usize::try_from(*count)
                .ok()
                .and_then(|count| total.checked_add(count))
                .filter(|total| *total <= self.items_left)
                .ok_or(WireError::Limit { what: "number of results, features and entities" })?;
        }
        bytes.column(total, &mut self.column)?;
        let mut values = Vec::new();
        bytes.column(total, &mut values)?;
        let kinds = self.column.iter().map(|kind| self.word(*kind));
        let values = values.iter().map(|value| value.checked_sub(1).map(|word| self.word(word)).transpose());
        let entities = kinds.zip(values).map(|(kind, value)| Ok(Entity { kind: kind?, value: value? }));
        let mut entities = entities.collect::<Result<Vec<_>, WireError>>()?.into_iter();
        for (event, count) in self.events.iter_mut().zip(counts) {
            event.entities = entities.by_ref().take(usize::try_from(count).unwrap_or(0)).collect();
        }
        Ok(())
    }
}

fn micros(ms: Option<i64>) -> Result<EventTime, WireError> {
    let micros = ms.and_then(|ms| ms.checked_mul(1_000));
    micros.map(EventTime).ok_or(WireError::Invalid { what: "time of an event" })
}
