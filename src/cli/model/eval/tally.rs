//! What has been answered so far, counted.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::model::eval::labels::Truth;
use crate::flow::{Extraction, FailureReason, Judgement, Verdict};
use crate::infer::Manifest;
use crate::quality::{Confusion, Entity, EntityCounts, Scored, share};

/// Everything that was found out.
pub(in crate::cli::model::eval) struct Tally {
    /// Inputs judged.
    pub(in crate::cli::model::eval) inputs: u64,
    /// Inputs the model failed on.
    pub(in crate::cli::model::eval) failed: u64,
    /// Why it failed first: from then on it is in quarantine.
    pub(in crate::cli::model::eval) reason: Option<FailureReason>,
    /// Windows to which no label, or more than one, belongs; they are not judged.
    pub(in crate::cli::model::eval) unmatched: u64,
    /// Times from features or text to judgement, in nanoseconds.
    pub(in crate::cli::model::eval) times: Vec<u64>,
    /// One per task.
    pub(in crate::cli::model::eval) tasks: Vec<TaskTally>,
    /// For a model that marks entities.
    pub(in crate::cli::model::eval) entities: Option<EntityTally>,
}

/// What was found out about entities.
pub(in crate::cli::model::eval) struct EntityTally {
    /// Names of their types.
    pub(in crate::cli::model::eval) types: Vec<Arc<str>>,
    /// All reports.
    pub(in crate::cli::model::eval) all: EntityCounts,
    /// The reports whose extraction was accepted.
    pub(in crate::cli::model::eval) accepted: EntityCounts,
    /// Scores of the entities the network found and whether they were right; those of rules have none.
    pub(in crate::cli::model::eval) answers: Vec<Scored>,
    /// Reports.
    pub(in crate::cli::model::eval) reports: u64,
    /// Of them so many were accepted.
    pub(in crate::cli::model::eval) reports_accepted: u64,
    /// Of them so many were taken for out of scope.
    pub(in crate::cli::model::eval) out_of_scope: u64,
    /// True entities of types the model does not have.
    pub(in crate::cli::model::eval) left_out: u64,
}

/// What was found out about one task.
pub(in crate::cli::model::eval) struct TaskTally {
    /// Truth and answer.
    pub(in crate::cli::model::eval) confusion: Confusion,
    /// Scores and whether the answers were right.
    pub(in crate::cli::model::eval) answers: Vec<Scored>,
    /// Of the answers with a label: so many were accepted.
    pub(in crate::cli::model::eval) accepted: u64,
    /// Of those so many were right.
    pub(in crate::cli::model::eval) accepted_right: u64,
    /// So many were taken for out of scope.
    pub(in crate::cli::model::eval) out_of_scope: u64,
    /// Inputs without a label.
    pub(in crate::cli::model::eval) absent: u64,
    /// Inputs whose label the model does not have.
    pub(in crate::cli::model::eval) unknown: u64,
}

impl Tally {
    /// Nothing yet.
    pub(in crate::cli::model::eval) fn new(manifest: &Manifest, types: &[Arc<str>]) -> Self {
        let tasks = manifest.tasks.iter().map(|task| TaskTally::new(task.labels.len())).collect();
        let entities = (!types.is_empty()).then(|| EntityTally::new(types));
        Self { inputs: 0, failed: 0, reason: None, unmatched: 0, times: Vec::new(), tasks, entities }
    }

    /// Counts one input with the time it took; gives the answer if there is one.
    pub(in crate::cli::model::eval) fn judged<T>(
        &mut self,
        took: Duration,
        answer: Result<T, FailureReason>,
    ) -> Option<T> {
        match &answer {
            Ok(_) => {
                self.inputs += 1;
                self.times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            Err(reason) => {
                self.failed += 1;
                self.reason.get_or_insert(*reason);
            }
        }
        answer.ok()
    }

    /// Why the model failed first, in words; nothing if it did not.
    pub(in crate::cli::model::eval) fn failure(&self) -> Option<&'static str> {
        self.reason.map(|reason| match reason {
            FailureReason::Deadline => "it took too long",
            FailureReason::Panicked => "the graph panicked",
            FailureReason::NonFinite => "an output was not finite",
            FailureReason::Errored => "the graph failed",
            FailureReason::Hung => "it gave no sign of life",
            FailureReason::Quarantined => "it was in quarantine",
            FailureReason::NoRoom => "there was no memory for it",
        })
    }

    /// Compares the judgements of one input with its labels.
    pub(in crate::cli::model::eval) fn add(&mut self, judgements: &[Judgement], truths: &[Truth]) {
        for ((task, judgement), truth) in self.tasks.iter_mut().zip(judgements).zip(truths) {
            match truth {
                Truth::Label(truth) => task.add(judgement, *truth),
                Truth::Absent => task.absent += 1,
                Truth::Unknown => task.unknown += 1,
            }
        }
    }
}

impl EntityTally {
    fn new(types: &[Arc<str>]) -> Self {
        Self {
            types: types.to_vec(),
            all: EntityCounts::new(types.len()),
            accepted: EntityCounts::new(types.len()),
            answers: Vec::new(),
            reports: 0,
            reports_accepted: 0,
            out_of_scope: 0,
            left_out: 0,
        }
    }

    /// Share of the reports that were accepted; `None` without reports.
    pub(in crate::cli::model::eval) fn coverage(&self) -> Option<f64> {
        share(self.reports_accepted, self.reports)
    }

    /// Counts the entities of one report.
    pub(in crate::cli::model::eval) fn add(&mut self, extraction: &Extraction, truth: &[Entity]) {
        let mut found = Vec::with_capacity(extraction.found.len());
        for entity in &extraction.found {
            let place = Entity {
                kind: usize::from(entity.kind),
                start: entity.start as usize,
                end: entity.end as usize,
            };
            if !entity.by_rule {
                self.answers.push(Scored { score: f64::from(entity.score), right: truth.contains(&place) });
            }
            found.push(place);
        }
        self.reports += 1;
        self.all.add(truth, &found);
        match extraction.verdict {
            Verdict::Accepted => {
                self.reports_accepted += 1;
                self.accepted.add(truth, &found);
            }
            Verdict::Uncertain => {}
            Verdict::OutOfScope => self.out_of_scope += 1,
        }
    }
}

impl TaskTally {
    fn new(labels: usize) -> Self {
        Self {
            confusion: Confusion::new(labels),
            answers: Vec::new(),
            accepted: 0,
            accepted_right: 0,
            out_of_scope: 0,
            absent: 0,
            unknown: 0,
        }
    }

    fn add(&mut self, judgement: &Judgement, truth: usize) {
        let right = usize::from(judgement.label) == truth;
        self.confusion.add(truth, usize::from(judgement.label));
        self.answers.push(Scored { score: f64::from(judgement.score), right });
        match judgement.verdict {
            Verdict::Accepted => {
                self.accepted += 1;
                self.accepted_right += u64::from(right);
            }
            Verdict::Uncertain => {}
            Verdict::OutOfScope => self.out_of_scope += 1,
        }
    }

    /// Answers that could be compared with a label.
    pub(in crate::cli::model::eval) fn compared(&self) -> u64 {
        self.confusion.total()
    }

    /// Share of the compared answers that were accepted.
    pub(in crate::cli::model::eval) fn coverage(&self) -> f64 {
        share(self.accepted, self.compared()).unwrap_or(0.0)
    }

    /// Share of the accepted answers that were right; `None` if none was accepted.
    pub(in crate::cli::model::eval) fn precision(&self) -> Option<f64> {
        share(self.accepted_right, self.accepted)
    }
}
