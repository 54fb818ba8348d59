//! Pieces of work and the batches in which they go to a model.

use crate::clock::{EventTime, Uptime};
use crate::flow::{ModelId, Priority, Report, Subject, VariantRule, When, Window};

/// Something to be judged.
pub struct Work {
    /// What it is about. A report's text is in `subject.report`.
    pub subject: Subject,
    /// By which model.
    pub model: ModelId,
    /// What the input is made from.
    pub input: WorkInput,
    /// Lane.
    pub priority: Priority,
    /// When it was queued.
    pub queued: Uptime,
    /// After this it is worthless.
    pub deadline: Uptime,
}

/// What the input is made from.
pub enum WorkInput {
    /// A window of samples.
    Window(Window),
    /// The report of the subject.
    Report,
}

/// Work that goes to the models' thread together: all of one model and one lane.
pub struct Batch {
    /// By which the scheduler knows it again when it comes back.
    pub ticket: u64,
    /// Whose it is.
    pub model: ModelId,
    /// Which form of the model is to run.
    pub variant: VariantRule,
    /// The lane of all of it.
    pub priority: Priority,
    /// After this none of it is worth anything. Each piece has its own deadline, this one or an earlier.
    pub deadline: Uptime,
    /// In the order it is judged, at least one.
    pub work: Vec<Work>,
}

impl Work {
    /// Memory it takes while it waits, buffers included.
    pub fn bytes(&self) -> u64 {
        let input = match &self.input {
            WorkInput::Window(window) => window.heap_bytes(),
            WorkInput::Report => 0,
        };
        let text = self.subject.report.as_ref().map_or(0, Report::heap_bytes);
        size_of::<Self>() as u64 + input + text
    }

    /// What orders the work of one stream: when it was queued, and of what was queued at once the event time.
    pub(in crate::infer) fn age(&self) -> (Uptime, EventTime) {
        let at = match self.subject.when {
            When::Span(span) => span.from,
            When::At(at) => at,
        };
        (self.queued, at)
    }

    /// What its cost grows with: the bytes of a report; windows of one model are all alike.
    pub(in crate::infer) fn size(&self) -> u64 {
        self.text_bytes().max(1) as u64
    }

    /// Bytes of its report; 0 for a window.
    pub(in crate::infer) fn text_bytes(&self) -> usize {
        self.subject.report.as_ref().map_or(0, |report| report.text.expose().len())
    }
}
