//! What the operator may set: when a change counts and which events go upstream.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::{ModelId, Priority, StreamKind};

/// Settings of the room: one policy per stream, indexed by `StreamId`.
#[derive(Clone, Debug)]
pub struct DistillConfig {
    /// The policies.
    pub streams: Vec<StreamPolicy>,
}

/// What is decided about the events of one stream.
#[derive(Clone, Debug)]
pub struct StreamPolicy {
    /// Name of the stream in the configuration.
    pub name: Arc<str>,
    /// Kind of the stream. Every report counts as new.
    pub kind: StreamKind,
    /// Lane of its events; raising or clearing an alarm uses the alarm lane.
    pub priority: Priority,
    /// Which events go upstream.
    pub events: ForwardEvents,
    /// Event time a changed label must persist before it counts. Zero: it counts at once.
    pub dwell: Duration,
    /// Event time without an alarm label before a standing alarm ends. Zero: it ends at once.
    pub clear_dwell: Duration,
    /// Events sent upstream per hour of event time, raised and cleared alarms exempt. `None`: no limit.
    pub rate_max_per_hour: Option<u32>,
    /// Names of the features of `Outcome::Judged`, in its order.
    pub shown: Vec<Arc<str>>,
    /// How often features go upstream even when nothing changes, as (index into `shown`, event time between).
    /// An event carries all its features, so the shortest of them is the cadence of the stream.
    pub every: Vec<(usize, Duration)>,
    /// Whether the plant's own event repeats the text of a report.
    pub show_text: bool,
    /// Who marks entities in its reports.
    pub extractor: Option<ModelId>,
}

/// Which events of a stream go upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardEvents {
    /// All of them.
    All,
    /// New states, cleared alarms and features whose time has come; of a report stream every report.
    OnChange,
    /// None at all, alarms included: the stream is for the plant only.
    None,
}

/// The closed words of one model, indexed by `ModelId`.
#[derive(Clone, Debug)]
pub struct ModelNames {
    /// `name@version`.
    pub id: Arc<str>,
    /// Its tasks in the order of the manifest.
    pub tasks: Vec<TaskNames>,
    /// Types of the entities it marks, in the order of their indices.
    pub entity_types: Vec<Arc<str>>,
    /// The terms an entity may stand for, in the order of their indices.
    pub vocabulary: Vec<Arc<str>>,
}

/// The closed words of one task.
#[derive(Clone, Debug)]
pub struct TaskNames {
    /// Name of the task; empty for a single unnamed one.
    pub task: Arc<str>,
    /// Its labels in the order of the model's output.
    pub labels: Vec<Arc<str>>,
    /// Indices of the labels that raise the standing alarm of their source.
    pub alarm: Vec<u16>,
}

impl TaskNames {
    /// Whether the label raises the alarm.
    pub fn alarms(&self, label: u16) -> bool {
        self.alarm.contains(&label)
    }
}
