//! What a model said about a window or a report.

use std::time::Duration;

use super::{AssetId, Completeness, FeatureVector, ModelId, Report, StreamId, TimeSpan};
use crate::clock::{EventTime, Uptime};
use crate::tally::DropReason;

/// The raw result of one piece of work: every piece of work ends in exactly one of these.
pub struct Inference {
    /// What was judged.
    pub subject: Subject,
    /// By which model: the one that answers tasks, else the one that marks entities.
    pub model: ModelId,
    /// What came out.
    pub outcome: Outcome,
    /// When the work was queued.
    pub queued: Uptime,
    /// From the start of computing features or ids to the model's result. Judged in a batch, all of it takes the
    /// time of the whole batch.
    pub took: Duration,
    /// Its share of the processor time of its batch.
    pub spent: Duration,
}

/// What was judged.
pub struct Subject {
    /// The stream.
    pub stream: StreamId,
    /// The source within the stream.
    pub asset: AssetId,
    /// The span of the window or the time of the report.
    pub when: When,
    /// How much of the window is real; `None` for reports.
    pub completeness: Option<Completeness>,
    /// The report, carried along for the plant's own event; `None` for windows.
    pub report: Option<Report>,
}

/// Event time of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A window.
    Span(TimeSpan),
    /// A report.
    At(EventTime),
}

/// What came out of the engine.
pub enum Outcome {
    /// The model ran.
    Judged {
        /// One per task of the manifest, in its order; none where the stream has only an extractor.
        judgements: Vec<Judgement>,
        /// The features the stream forwards or shows, in the order of its feature layout; empty for reports.
        features: FeatureVector,
        /// What was marked in the report; `None` where nobody was asked or the model failed.
        extraction: Option<Extraction>,
    },
    /// It did not; the reason is counted and the work is gone.
    Failed(FailureReason),
}

/// Why a model gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// It did not finish before its deadline.
    Deadline,
    /// It panicked; the model is quarantined.
    Panicked,
    /// It produced NaN or an infinity; the model is quarantined.
    NonFinite,
    /// It returned an error; the model is quarantined.
    Errored,
    /// It gave no sign of life until it was given up; the model is quarantined, unless it comes back.
    Hung,
    /// It was already in quarantine.
    Quarantined,
    /// It is not in memory, and there is no room for it now.
    NoRoom,
}

/// What was marked in a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    /// The entities in the order of the text, without overlap.
    pub found: Vec<FoundEntity>,
    /// Entities beyond as many as are told of one report.
    pub untold: u32,
    /// Whether they can be used as they are.
    pub verdict: Verdict,
}

/// One entity of a report: indices and places, no text.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundEntity {
    /// Index of its type among those of the model.
    pub kind: u16,
    /// Index of its term in the model's vocabulary, if it has one.
    pub value: Option<u16>,
    /// First byte in the text.
    pub start: u32,
    /// First byte after.
    pub end: u32,
    /// Calibrated probability; of a rule 1.
    pub score: f32,
    /// Whether a rule found it and not the model.
    pub by_rule: bool,
}

/// The result of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Index of the winning label in the task's label list.
    pub label: u16,
    /// Calibrated probability of the winning label.
    pub score: f32,
    /// Calibrated probability of every label, in the task's order.
    pub scores: Vec<f32>,
    /// Whether the answer can be used as it is.
    pub verdict: Verdict,
}

/// Whether an answer can be used as it is. Ordered: worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Use it.
    Accepted,
    /// Below the calibrated threshold: a person or a bigger model should look.
    Uncertain,
    /// The input is unlike what the model was made for.
    OutOfScope,
}

impl FailureReason {
    /// Under which reason the failed work is counted.
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::Deadline | Self::Hung => DropReason::Stale,
            Self::Panicked | Self::NonFinite | Self::Errored => DropReason::ModelFailed,
            Self::Quarantined => DropReason::Quarantined,
            Self::NoRoom => DropReason::Budget,
        }
    }

    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Panicked => "panicked",
            Self::NonFinite => "nonfinite",
            Self::Errored => "errored",
            Self::Hung => "hung",
            Self::Quarantined => "quarantined",
            Self::NoRoom => "no-room",
        }
    }
}

impl Verdict {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Uncertain => "uncertain",
            Self::OutOfScope => "out-of-scope",
        }
    }
}
