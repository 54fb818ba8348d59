//! The tasks of an event as they are written: its results, then what marked its entities.
//!
//! # Why
//! An extraction has a model and a verdict like a task has a name and a verdict. Written as the last task, with a flag in
//! the shape, it costs nothing where there is none.

use std::sync::Arc;

use crate::flow::{Extracted, Facts, Named, TaskResult, Verdict};
use crate::wire::codes::SHAPE_EXTRACTED;
use crate::wire::error::WireError;

/// One task as it is written.
#[derive(Clone, Copy)]
pub(crate) struct TaskView<'a> {
    /// Name of the task, or the model of the extraction.
    pub(crate) name: &'a Arc<str>,
    /// `None` for an extraction: it has no label.
    pub(crate) label: Option<&'a Arc<str>>,
    pub(crate) score: f32,
    pub(crate) verdict: Verdict,
    pub(crate) scores: &'a [Named],
}

/// The tasks of an event in the order of writing.
pub(crate) fn tasks_of(facts: &Facts) -> impl Iterator<Item = TaskView<'_>> + Clone {
    facts.results.iter().map(of_result).chain(facts.extraction.iter().map(of_extraction))
}

fn of_result(result: &TaskResult) -> TaskView<'_> {
    let TaskResult { task: name, label, score, verdict, scores } = result;
    TaskView { name, label: Some(label), score: *score, verdict: *verdict, scores }
}

fn of_extraction(found: &Extracted) -> TaskView<'_> {
    let Extracted { model: name, verdict } = found;
    TaskView { name, label: None, score: 0.0, verdict: *verdict, scores: &[] }
}

/// How many there are.
pub(crate) fn task_count(facts: &Facts) -> usize {
    facts.results.len() + usize::from(facts.extraction.is_some())
}

/// Takes the last of the results read for the extraction, where the flags of the shape say so.
pub(crate) fn take_extraction(facts: &mut Facts, flags: u8) -> Result<(), WireError> {
    if flags & SHAPE_EXTRACTED != 0 {
        let last = facts.results.pop().ok_or(WireError::Invalid { what: "extraction without a task" })?;
        facts.extraction = Some(Extracted { model: last.task, verdict: last.verdict });
    }
    Ok(())
}
