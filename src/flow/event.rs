//! The distilled event: what the plant is told and what may go upstream.

use std::sync::Arc;

use super::{AssetId, Private, StreamId, Summary, Verdict, When};
use crate::clock::ClockQuality;

/// Unique for ever together with the site and gateway name: the key by which consumers de-duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Epoch of the outbox: raised durably each time it is opened.
    pub epoch: u32,
    /// Counts the events of an epoch from 1.
    pub number: u64,
}

/// Lane of an event. Ordered: the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before everything else, dropped last.
    Alarm,
    /// The ordinary lane.
    Normal,
    /// Last to go, first to be dropped.
    Bulk,
}

/// What kind of stream an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Windows of samples.
    Sensor,
    /// Text reports.
    Report,
}

/// What an event changes about its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The first verdict on this source, or a state that has changed and dwelt long enough.
    New,
    /// The same state as before.
    Same,
    /// Another label was seen but has not dwelt long enough to count.
    Pending,
    /// An alarm state has ended.
    Cleared,
}

/// A decision about one window or report, before the door.
#[derive(Clone)]
pub struct Event {
    /// What may be shown outside, if the door lets it.
    pub facts: Facts,
    /// What stays in the plant.
    pub local: Local,
    /// Whether the distiller wants it upstream.
    pub forward: bool,
}

/// The fields of an event that have a form fit for the outside. Still has to pass the door.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Unique id.
    pub id: EventId,
    /// Name of the stream in the configuration.
    pub stream: Arc<str>,
    /// Kind of the stream.
    pub kind: StreamKind,
    /// Span of the window or time of the report.
    pub when: When,
    /// What was known of the gateway's clock.
    pub clock: ClockQuality,
    /// `name@version` of the model that answers the tasks; where there is none, of the one that marks entities.
    pub model: Arc<str>,
    /// One per task of the model. A model with one unnamed task has one entry with an empty task name.
    pub results: Vec<TaskResult>,
    /// Features by name: those the stream shows (plant side), those it declares (upstream).
    pub features: Vec<Named>,
    /// Entities found in a report.
    pub entities: Vec<Entity>,
    /// Who found them; `None` where nobody was asked or the model failed.
    pub extraction: Option<Extracted>,
    /// Share of the window that is real, 0 to 1; `None` for reports.
    pub completeness: Option<f32>,
    /// What it changes.
    pub change: Change,
    /// Lane.
    pub priority: Priority,
    /// Whether it waited in the outbox while the link was down.
    pub historical: bool,
    /// Set when this stands for several events that had to make room; results, features and entities are then empty.
    pub summary: Option<Arc<Summary>>,
}

/// The result of one task by name.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// Name of the task; empty for a model with a single unnamed task.
    pub task: Arc<str>,
    /// The winning label.
    pub label: Arc<str>,
    /// Its calibrated probability.
    pub score: f32,
    /// Verdict of this task.
    pub verdict: Verdict,
    /// Every label's probability, as (label, probability).
    pub scores: Vec<Named>,
}

/// Which model looked for entities, and whether what it found can be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// `name@version`; the event's own model where that answers no task.
    pub model: Arc<str>,
    /// Verdict on all entities together.
    pub verdict: Verdict,
}

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Name of a feature or a label.
    pub name: Arc<str>,
    /// The number.
    pub value: f32,
}

/// An entity of a report in the words of the model's vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Entity type of the model.
    pub kind: Arc<str>,
    /// A word of the vocabulary, or nothing.
    pub value: Option<Arc<str>>,
}

/// What belongs to an event but stays in the plant. No `Debug`, no `Serialize`.
#[derive(Clone)]
pub struct Local {
    /// Index of the stream.
    pub stream: StreamId,
    /// The source within the stream.
    pub asset: AssetId,
    /// The plant's own number of the report.
    pub reference: Option<Private>,
    /// The text of the report, where the stream shows it.
    pub text: Option<Private>,
    /// Where each entity of the facts stands in the text; same order.
    pub entities: Vec<LocalEntity>,
    /// The standing alarm of the source after this event, if any: the labels that raise it.
    pub alarm: Option<Vec<Arc<str>>>,
    /// Whether this event raised or cleared the standing alarm.
    pub alarm_changed: bool,
}

/// Position of an entity in its report.
#[derive(Clone)]
pub struct LocalEntity {
    /// The words as written.
    pub text: Private,
    /// First byte.
    pub start: u32,
    /// First byte after.
    pub end: u32,
    /// Its calibrated probability.
    pub score: f32,
}

/// Facts that have passed the door. Only `egress` makes these, and only these can be encoded for upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Outbound(Facts);

impl Outbound {
    /// Marks facts as having passed the door. Called by `egress` and by the decoder of stored records, nowhere
    /// else; `tests/tidy.rs` holds this.
    pub fn passed(facts: Facts) -> Self {
        Self(facts)
    }

    /// The facts.
    pub fn facts(&self) -> &Facts {
        &self.0
    }

    /// Marks the event as one that waited in the outbox while the link was down.
    pub fn set_historical(&mut self) {
        self.0.historical = true;
    }
}

impl Facts {
    /// The worst verdict of all tasks; without tasks that of the extraction.
    pub fn verdict(&self) -> Verdict {
        let worst = self.results.iter().map(|result| result.verdict).max();
        worst.or(self.extraction.as_ref().map(|found| found.verdict)).unwrap_or(Verdict::OutOfScope)
    }
}

impl Priority {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Normal, Self::Bulk];

    /// The word used in topics and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

impl StreamKind {
    /// The word used in events and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Report => "report",
        }
    }
}

impl Change {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Pending => "pending",
            Self::Cleared => "cleared",
        }
    }
}
