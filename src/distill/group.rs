//! All events of one stream in one bucket, being drawn together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{ClockQuality, EventTime};
use crate::distill::bucket::bucket;
use crate::distill::feature::FeatureTotal;
use crate::distill::rows::TaskTotal;
use crate::flow::{Change, EventId, Facts, Grain, Priority, StreamKind, Summary, When};

/// Tasks and features of one stream that are told apart: more than any model has tasks, and as many features as fit into a
/// record of 64 KiB with their sketches.
pub(crate) const NAMES_MAX: usize = 128;

/// Bytes of records that are kept as they came, because a summary of so few may be longer: a handful of events, or one
/// summary that is already there.
const ORIGINALS_BYTES_MAX: usize = 1024;

/// What events must have in common to be drawn together. Ordered as the summaries are handed out: the finest grain
/// first, then by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) grain: Grain,
    /// Start of the bucket.
    pub(crate) from: EventTime,
    pub(crate) stream: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) report: bool,
    pub(crate) priority: Priority,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its bytes.
    pub record: Box<[u8]>,
    /// Its time in the outbox.
    pub at: EventTime,
}

/// A group while events are added.
#[derive(Default)]
pub(crate) struct Group {
    events: u64,
    clock: Option<ClockQuality>,
    at: Option<EventTime>,
    tasks: BTreeMap<Arc<str>, TaskTotal>,
    features: BTreeMap<Arc<str>, FeatureTotal>,
    /// The records so far, while they are few; `None` when they were too many.
    originals: Option<Vec<Original>>,
}

/// A group at rest: its summary takes a tenth of the memory.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) summary: Summary,
    pub(crate) clock: ClockQuality,
    /// The latest time in the outbox of what it stands for.
    pub(crate) at: EventTime,
    /// All it stands for, where that is little.
    pub(crate) originals: Option<Vec<Original>>,
}

/// Names beyond [`NAMES_MAX`] and labels beyond their limit, and sketches that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) names: u64,
    pub(crate) sketches: u64,
}

impl Key {
    /// Where an event belongs: the finest bucket its time begins in, or the bucket of the summary it is.
    pub(crate) fn of(facts: &Facts) -> Self {
        let grain = facts.summary.as_ref().map_or(Grain::TenMinutes, |summary| summary.grain);
        Self {
            grain,
            from: bucket(grain, begin(facts.when)).from,
            stream: Arc::clone(&facts.stream),
            model: Arc::clone(&facts.model),
            report: facts.kind == StreamKind::Report,
            priority: facts.priority,
        }
    }

    /// The same in a coarser grain.
    pub(crate) fn within(&self, grain: Grain) -> Self {
        Self { grain, from: bucket(grain, self.from).from, ..self.clone() }
    }

    /// The event that stands for a group. It has no id yet.
    pub(crate) fn facts(&self, closed: &Closed) -> Facts {
        Facts {
            id: EventId { epoch: 0, number: 0 },
            stream: Arc::clone(&self.stream),
            kind: if self.report { StreamKind::Report } else { StreamKind::Sensor },
            when: When::Span(bucket(self.grain, self.from)),
            clock: closed.clock,
            model: Arc::clone(&self.model),
            results: Vec::new(),
            features: Vec::new(),
            entities: Vec::new(),
            extraction: None,
            completeness: None,
            change: Change::Same,
            priority: self.priority,
            historical: false,
            summary: Some(Arc::new(closed.summary.clone())),
        }
    }
}

impl Group {
    /// Takes in an event or a summary, with its record.
    pub(crate) fn add(&mut self, facts: &Facts, record: &[u8], at: EventTime) -> Untold {
        let original = Original { record: record.into(), at };
        self.keep(vec![original]);
        self.at = self.at.max(Some(at));
        self.clock = Some(self.clock.map_or(facts.clock, |clock| worse(clock, facts.clock)));
        match &facts.summary {
            Some(summary) => self.add_summary(summary),
            None => self.add_event(facts),
        }
    }

    /// Takes in a group at rest.
    pub(crate) fn absorb(&mut self, closed: Closed) -> Untold {
        match closed.originals {
            Some(originals) => self.keep(originals),
            None => self.originals = None,
        }
        self.at = self.at.max(Some(closed.at));
        self.clock = Some(self.clock.map_or(closed.clock, |clock| worse(clock, closed.clock)));
        self.add_summary(&closed.summary)
    }

    /// Puts it to rest.
    pub(crate) fn close(self, grain: Grain) -> Closed {
        let summary = Summary {
            grain,
            events: self.events,
            tasks: self.tasks.iter().map(|(task, total)| total.summary(task)).collect(),
            features: self.features.iter().filter_map(|(name, total)| total.summary(name)).collect(),
        };
        Closed {
            summary,
            clock: self.clock.unwrap_or_default(),
            at: self.at.unwrap_or_default(),
            originals: self.originals,
        }
    }

    fn add_event(&mut self, facts: &Facts) -> Untold {
        let mut untold = Untold::default();
        self.events = self.events.saturating_add(1);
        let at = begin(facts.when);
        for result in &facts.results {
            match entry(&mut self.tasks, &result.task, TaskTotal::default) {
                Some(total) => untold.names += u64::from(!total.add(&result.label, at)),
                None => untold.names += 1,
            }
        }
        for feature in &facts.features {
            match entry(&mut self.features, &feature.name, FeatureTotal::new) {
                Some(total) => total.add(feature.value),
                None => untold.names += 1,
            }
        }
        untold
    }

    fn add_summary(&mut self, summary: &Summary) -> Untold {
        let mut untold = Untold::default();
        self.events = self.events.saturating_add(summary.events);
        for task in &summary.tasks {
            match entry(&mut self.tasks, &task.task, TaskTotal::default) {
                Some(total) => untold.names += u64::from(!total.add_summary(task)),
                None => untold.names += 1,
            }
        }
        for feature in &summary.features {
            match entry(&mut self.features, &feature.name, FeatureTotal::new) {
                Some(total) => untold.sketches += u64::from(!total.add_summary(feature)),
                None => untold.names += 1,
            }
        }
        untold
    }

    /// Keeps records as they came while all of them are few.
    fn keep(&mut self, more: Vec<Original>) {
        if self.events == 0 {
            self.originals = Some(Vec::new());
        }
        let kept = self.originals.as_deref().unwrap_or_default().iter().chain(&more);
        if kept.map(|original| original.record.len()).sum::<usize>() > ORIGINALS_BYTES_MAX {
            self.originals = None;
        } else if let Some(originals) = &mut self.originals {
            originals.extend(more);
        }
    }
}

/// The entry of a name, made if there is room.
fn entry<'a, T>(map: &'a mut BTreeMap<Arc<str>, T>, name: &Arc<str>, make: fn() -> T) -> Option<&'a mut T> {
    if !map.contains_key(name) {
        if map.len() >= NAMES_MAX {
            return None;
        }
        map.insert(Arc::clone(name), make());
    }
    map.get_mut(name)
}

/// The instant by which an event is sorted into buckets: the beginning of its window, the time of a report.
pub(crate) fn begin(when: When) -> EventTime {
    match when {
        When::Span(span) => span.from,
        When::At(at) => at,
    }
}

pub(crate) fn worse(one: ClockQuality, other: ClockQuality) -> ClockQuality {
    match (one, other) {
        (ClockQuality::Unset, _) | (_, ClockQuality::Unset) => ClockQuality::Unset,
        (ClockQuality::Unknown, _) | (_, ClockQuality::Unknown) => ClockQuality::Unknown,
        (ClockQuality::Synced, ClockQuality::Synced) => ClockQuality::Synced,
    }
}
