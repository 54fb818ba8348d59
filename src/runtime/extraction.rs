//! Reports through a model that marks entities: in pieces of as many words as it takes, several pieces in one run.
//!
//! # Invariants
//! A report is marked as if it had gone through alone. One that fails takes no other with it.

use crate::flow::{Extraction, FailureReason, ModelId};
use crate::infer::{BATCH_MIN, ModelInput, Registry};
use crate::runtime::reading::Reading;
use crate::text::WordSpan;

/// A report to be marked.
pub struct Unmarked<'a> {
    /// The whole text.
    pub text: &'a str,
    /// Entities below this are uncertain, whatever the manifest says.
    pub uncertain_below: Option<f32>,
}

/// Buffers kept from one call to the next.
#[derive(Default)]
pub struct Pieces {
    /// One per report of the largest call so far.
    reports: Vec<Progress>,
    /// Rows of the next run, the first `filled` in use.
    rows: Vec<Row>,
    filled: usize,
}

/// How far a report has come.
#[derive(Default)]
struct Progress {
    words: Vec<WordSpan>,
    logits: Vec<f32>,
    failed: Option<FailureReason>,
}

/// A piece of a report.
#[derive(Default)]
struct Row {
    report: usize,
    ids: Vec<i64>,
}

impl Pieces {
    /// Marks entities: a result for each report, in their order. `late` says whether the deadline of a report passed.
    pub fn mark(
        &mut self,
        registry: &mut Registry,
        (model, reading): (ModelId, &mut Reading),
        reports: &[Unmarked<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Extraction, FailureReason>> {
        if self.reports.len() < reports.len() {
            self.reports.resize_with(reports.len(), Progress::default);
        }
        let batch_max = registry.batch_max(model).max(1);
        self.rows.resize_with(batch_max.max(self.rows.len()), Row::default);
        self.filled = 0;
        for (number, report) in reports.iter().enumerate() {
            let Some(progress) = self.reports.get_mut(number) else { continue };
            progress.logits.clear();
            progress.failed = None;
            let mut words = std::mem::take(&mut progress.words);
            reading.split(report.text, &mut words);
            for piece in words.chunks(reading.words_max().max(1)) {
                if let Some(row) = self.rows.get_mut(self.filled) {
                    row.report = number;
                    reading.encode(report.text, piece, &mut row.ids);
                    self.filled += 1;
                }
                if self.filled == batch_max {
                    self.run(registry, model, late);
                }
            }
            if let Some(progress) = self.reports.get_mut(number) {
                progress.words = words;
            }
        }
        self.run(registry, model, late);
        let results = reports.iter().zip(&self.reports).map(|(report, progress)| match progress.failed {
            Some(reason) => Err(reason),
            None => {
                Ok(reading.entities(report.text, &progress.words, &progress.logits, report.uncertain_below))
            }
        });
        results.collect()
    }

    /// Puts the rows that are filled through the model, together where that is worth it.
    fn run(&mut self, registry: &mut Registry, model: ModelId, late: &mut dyn FnMut(usize) -> bool) {
        let Self { reports, rows, filled } = self;
        let rows = rows.get(..std::mem::take(filled)).unwrap_or_default();
        for rows in rows.chunks(if rows.len() < BATCH_MIN { 1 } else { rows.len() }) {
            let failed = |row: &&Row| reports.get(row.report).is_none_or(|report| report.failed.is_some());
            let rows: Vec<&Row> = rows.iter().filter(|row| !failed(row)).collect();
            let inputs: Vec<_> =
                rows.iter().map(|row| ModelInput::Words { ids: &row.ids, known_share: None }).collect();
            let mut late = |item: usize| rows.get(item).is_some_and(|row| late(row.report));
            let tagged = if inputs.is_empty() { Vec::new() } else { registry.tag(model, &inputs, &mut late) };
            for (row, tagged) in rows.iter().zip(tagged) {
                let Some(report) = reports.get_mut(row.report) else { continue };
                match tagged {
                    Ok(logits) => report.logits.extend(logits),
                    Err(reason) => report.failed = Some(reason),
                }
            }
        }
    }
}
