//! What is left of events that had to make room: counts and statistics instead of each one.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::EventTime;

/// Several events of one stream, told as one. Travels in [`Facts::summary`](crate::flow::Facts::summary); the event's
/// span is the time they cover.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How much was drawn together, or that nothing but a count is left.
    pub grain: Grain,
    /// Events this stands for.
    pub events: u64,
    /// By task of the model: what was decided.
    pub tasks: Vec<TaskSummary>,
    /// By feature: how it was distributed.
    pub features: Vec<FeatureSummary>,
}

/// How much time a summary covers. Ordered: the finest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// Ten minutes of event time.
    TenMinutes,
    /// One hour.
    Hour,
    /// One UTC day.
    Day,
    /// Nothing is known of the events but how many were lost, and why. The event's stream is then the name of the lane.
    Gap(GapReason),
}

/// Why stored records never reach upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// They gave way when the outbox was full.
    Full,
    /// They were older than allowed.
    Expired,
    /// The medium lost them.
    Damaged,
    /// The broker would not take them, or they could not be read, however often it was tried.
    Undeliverable,
}

/// One task over all events of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSummary {
    /// Name of the task; empty for a model with a single unnamed task.
    pub task: Arc<str>,
    /// Each label that won at least once.
    pub labels: Vec<LabelSummary>,
    /// Time from the first event to the last before the label first changed; to the very last if it never did. As the
    /// outbox keeps it to join rows over the edges of summaries; zero upstream.
    pub lead: Duration,
    /// Time from the first event after the label last changed to the last. Kept and zero like `lead`.
    pub trail: Duration,
}

/// One label over all events of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSummary {
    /// The label.
    pub label: Arc<str>,
    /// Events it won.
    pub count: u64,
    /// Time of the first of them.
    pub first: EventTime,
    /// Time of the last of them.
    pub last: EventTime,
    /// Longest time from an event with this label to the last in an unbroken row of such events.
    pub longest: Duration,
}

/// One feature over all events of a summary.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureSummary {
    /// Name of the feature.
    pub name: Arc<str>,
    /// Values seen.
    pub count: u64,
    /// Smallest.
    pub min: f32,
    /// Largest.
    pub max: f32,
    /// Arithmetic mean.
    pub mean: f32,
    /// Estimated quantiles 0.05, 0.5 and 0.95.
    pub quantiles: [f32; 3],
    /// The sketch they were read from, as the outbox keeps it to draw summaries together again. Empty upstream.
    pub sketch: Arc<[u8]>,
}

impl Grain {
    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenMinutes => "10 min",
            Self::Hour => "1 h",
            Self::Day => "1 d",
            Self::Gap(_) => "gap",
        }
    }
}

impl GapReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Full, Self::Expired, Self::Damaged, Self::Undeliverable];

    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Damaged => "damaged",
            Self::Undeliverable => "undeliverable",
        }
    }
}
