//! Judges a batch with one model: features and texts to inputs, inputs to answers, reports to entities piece by piece.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Uptime};
use crate::features::{Extractor, FeatureLayout};
use crate::flow::{
    Extraction, FailureReason, FeatureVector, Inference, Judgement, ModelId, Outcome, Priority, Subject,
    Verdict, Window,
};
use crate::infer::{Batch, ModelInput, ReportCounts, Work, WorkInput};
use crate::runtime::extraction::{Pieces, Unmarked};
use crate::runtime::infer::desk::{Desk, Pulse};
use crate::runtime::infer::shelf::Lent;
use crate::runtime::reading::TextInput;

/// What a batch came to.
pub(in crate::runtime) struct Judged {
    /// The batch without its work: its buffer is used again. With it where nothing was answered.
    pub(in crate::runtime) batch: Batch,
    /// One per piece of work, in their order. None where it is not the turn of the model: the work is to wait.
    pub(in crate::runtime) answers: Vec<Answered>,
}

/// A result, with the window whose buffers can be used again.
pub(in crate::runtime) struct Answered {
    pub(in crate::runtime) inference: Inference,
    pub(in crate::runtime) window: Option<Window>,
}

/// How the input of one stream is made.
pub(in crate::runtime) struct StreamInput {
    /// The model that answers tasks, if there is one; otherwise features are computed or entities marked.
    pub(in crate::runtime) model: Option<ModelId>,
    /// The model that marks entities, if there is one.
    pub(in crate::runtime) extractor: Option<ModelId>,
    /// What the model asks for, then what else is shown; `None` for reports.
    pub(in crate::runtime) layout: Option<FeatureLayout>,
    /// How many of the layout's features the model takes.
    pub(in crate::runtime) model_features: usize,
    /// Positions in the layout of the features shown.
    pub(in crate::runtime) shown: Vec<usize>,
    /// Answers below this are uncertain, whatever the manifest says.
    pub(in crate::runtime) uncertain_below: Option<f32>,
}

/// What judging needs besides a model: what the streams ask for, and buffers kept from one batch to the next.
pub(in crate::runtime) struct Tools {
    pub(in crate::runtime) streams: Arc<[StreamInput]>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) desk: Arc<Desk>,
    /// Says that the model is alive.
    pub(in crate::runtime) pulse: Pulse,
    extractor: Extractor,
    /// One per piece of work of the largest batch so far.
    rows: Vec<Row>,
}

/// A batch that has been judged, and is marked or has been.
pub(in crate::runtime) struct Marking {
    batch: Batch,
    outcomes: Vec<Answer>,
    began: Uptime,
    /// Processor time so far.
    spent: Duration,
    /// Who is still to mark which of the work.
    open: VecDeque<(ModelId, Vec<usize>)>,
    /// Whether the first of those has begun, and when.
    begun: Option<Uptime>,
    pieces: Pieces,
}

/// What the model is given for one piece of work.
#[derive(Default)]
struct Row {
    features: FeatureVector,
    text: TextInput,
}

/// What of a row the model is given.
enum Filled {
    /// So many of the features.
    Features(usize),
    /// The input made of the text.
    Text,
    /// Nothing: the stream has no model that answers tasks.
    NotAsked,
}

/// What one piece of work came to.
type Answer = Result<Outcome, FailureReason>;

impl Tools {
    /// With empty buffers.
    pub(in crate::runtime) fn new(streams: Arc<[StreamInput]>, clock: SystemClock, desk: Arc<Desk>) -> Self {
        let (pulse, extractor) = (Pulse::default(), Extractor::default());
        Self { streams, clock, desk, pulse, extractor, rows: Vec::new() }
    }

    /// Judges a batch; what is to be marked in it is still open.
    pub(in crate::runtime) fn judge(&mut self, batch: Batch, lent: &mut Lent) -> Marking {
        let (began, before) = (self.clock.uptime(), self.clock.thread_time());
        let outcomes = self.outcomes(&batch.work, lent);
        let took = self.clock.uptime().since(began);
        let streams = &self.streams;
        let stream_of = |work: &Work| streams.get(usize::from(work.subject.stream.0));
        let is_asked = |work: &&Work| stream_of(work).is_some_and(|stream| stream.model == Some(work.model));
        batch.work.iter().filter(is_asked).for_each(|work| lent.registry.record(work.model, took));
        let mut open: VecDeque<(ModelId, Vec<usize>)> = VecDeque::new();
        for (index, work) in batch.work.iter().enumerate() {
            let is_judged = outcomes.get(index).is_some_and(Result::is_ok);
            let Some(by) = stream_of(work).and_then(|stream| stream.extractor).filter(|_| is_judged) else {
                continue;
            };
            match open.iter_mut().find(|(model, _)| *model == by) {
                Some((_, items)) => items.push(index),
                None => open.push_back((by, vec![index])),
            }
        }
        let spent = self.clock.thread_time().saturating_sub(before);
        lent.registry.spend(lent.model, spent);
        Marking { batch, outcomes, began, spent, open, begun: None, pieces: Pieces::default() }
    }

    /// Does the next piece of what is to be marked, with the model it needs.
    pub(in crate::runtime) fn mark(&mut self, marking: &mut Marking, lent: &mut Lent) {
        let Self { streams, clock, pulse, .. } = self;
        let before = clock.thread_time();
        let Marking { batch, outcomes, open, begun, pieces, spent, .. } = marking;
        let Some((model, items)) = open.front() else { return };
        let of = |item: &usize| batch.work.get(*item);
        let stream_of = |work: &Work| streams.get(usize::from(work.subject.stream.0));
        let reports = items.iter().filter_map(of).map(|work| Unmarked {
            text: work.subject.report.as_ref().map_or("", |report| report.text.expose()),
            uncertain_below: stream_of(work).and_then(|stream| stream.uncertain_below),
        });
        let reports: Vec<_> = reports.collect();
        let since = *begun.get_or_insert_with(|| {
            pieces.start(reports.len());
            clock.uptime()
        });
        let mut late = |item: usize| {
            let now = clock.uptime();
            pulse.beat(now);
            items.get(item).and_then(of).is_some_and(|work| now > work.deadline)
        };
        let Lent { registry, reading, .. } = lent;
        let marked = match reading {
            Some(reading) => {
                let more = pieces.step(registry, (*model, reading), &reports, &mut late);
                (!more).then(|| pieces.results())
            }
            // The model was refused.
            None => Some(vec![Err(FailureReason::Quarantined); reports.len()]),
        };
        if let Some(marked) = marked {
            let took = clock.uptime().since(since);
            for (item, marked) in items.iter().zip(marked) {
                registry.record(*model, took);
                let is_judged = of(item).and_then(stream_of).is_some_and(|stream| stream.model.is_some());
                let Some(outcome) = outcomes.get_mut(*item) else { continue };
                registry.count(*model, attach(outcome, marked, is_judged));
            }
            open.pop_front();
            *begun = None;
        }
        let more = clock.thread_time().saturating_sub(before);
        registry.spend(lent.model, more);
        *spent += more;
    }

    /// One outcome per piece of work, in their order, entities left out.
    fn outcomes(&mut self, batch: &[Work], lent: &mut Lent) -> Vec<Answer> {
        let Self { streams, clock, pulse, extractor, rows, .. } = self;
        if rows.len() < batch.len() {
            rows.resize_with(batch.len(), Row::default);
        }
        let of = |work: &Work| streams.get(usize::from(work.subject.stream.0)).ok_or(FailureReason::Errored);
        let fill = |(work, row): (&Work, &mut Row)| {
            // A long text takes its time before the model is asked.
            pulse.beat(clock.uptime());
            row.fill(of(work)?, work, extractor, lent)
        };
        let filled: Vec<_> = batch.iter().zip(rows.iter_mut()).map(fill).collect();
        let (mut inputs, mut deadlines) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for ((work, row), filled) in batch.iter().zip(rows.iter()).zip(&filled) {
            let completeness = work.subject.completeness.map(|completeness| completeness.ratio().get());
            inputs.extend(match filled {
                Ok(Filled::Features(count)) => {
                    let values = row.features.values.get(..*count).unwrap_or(&[]);
                    Some(ModelInput::Features { values, completeness })
                }
                Ok(Filled::Text) => lent.reading.as_ref().map(|reading| reading.input(&row.text)),
                Ok(Filled::NotAsked) | Err(_) => None,
            });
            deadlines.resize(inputs.len(), work.deadline);
        }
        let mut late = |item: usize| {
            let now = clock.uptime();
            pulse.beat(now);
            deadlines.get(item).is_some_and(|deadline| now > *deadline)
        };
        let model = batch.first().filter(|_| !inputs.is_empty()).map(|work| work.model);
        let judged = model.map(|model| lent.registry.judge(model, &inputs, &mut late));
        let mut judged = judged.into_iter().flatten();
        let outcome = |((work, row), filled): ((&Work, &Row), Result<Filled, FailureReason>)| {
            let judgements = match filled? {
                Filled::Features(_) | Filled::Text => judged.next().ok_or(FailureReason::Errored)??,
                Filled::NotAsked => Vec::new(),
            };
            let stream = of(work)?;
            let features = row.shown(stream);
            let judgements = stricter(judgements, stream.uncertain_below);
            Ok(Outcome::Judged { judgements, features, extraction: None })
        };
        batch.iter().zip(rows.iter()).zip(filled).map(outcome).collect()
    }
}

impl Marking {
    /// The model that is needed for the next piece; `None` when all is done.
    pub(in crate::runtime) fn needs(&self) -> Option<ModelId> {
        self.open.front().map(|(model, _)| *model)
    }

    /// Its lane.
    pub(in crate::runtime) fn priority(&self) -> Priority {
        self.batch.priority
    }

    /// The batch it is of.
    pub(in crate::runtime) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Gives up what the next model was to mark: reports that were judged are told without, others fail.
    pub(in crate::runtime) fn skip(&mut self, reason: FailureReason, streams: &[StreamInput]) {
        let Some((_, items)) = self.open.pop_front() else { return };
        self.begun = None;
        for item in items {
            let work = self.batch.work.get(item);
            let stream = work.and_then(|work| streams.get(usize::from(work.subject.stream.0)));
            let is_judged = stream.is_some_and(|stream| stream.model.is_some());
            if let Some(outcome) = self.outcomes.get_mut(item) {
                attach(outcome, Err(reason), is_judged);
            }
        }
    }

    /// The answers. Each piece of work took from the start of the batch to its end: that is what the plant waits, not a
    /// share of it.
    pub(in crate::runtime) fn finish(self, now: Uptime) -> Judged {
        let Self { mut batch, outcomes, began, spent, .. } = self;
        let took = now.since(began);
        let spent = spent / u32::try_from(batch.work.len()).unwrap_or(u32::MAX).max(1);
        let answers = batch.work.drain(..).zip(outcomes).map(|(work, outcome)| {
            let outcome = outcome.unwrap_or_else(Outcome::Failed);
            let window = match work.input {
                WorkInput::Window(window) => Some(window),
                WorkInput::Report => None,
            };
            let Work { subject, model, queued, .. } = work;
            Answered { inference: Inference { subject, model, outcome, queued, took, spent }, window }
        });
        let answers = answers.collect();
        Judged { batch, answers }
    }
}

/// Answers a batch that was not judged.
pub(in crate::runtime) fn refused(batch: Batch, reason: FailureReason, now: Uptime) -> Judged {
    let outcomes = batch.work.iter().map(|_| Err(reason)).collect();
    let (spent, open, pieces) = (Duration::ZERO, VecDeque::new(), Pieces::default());
    Marking { batch, outcomes, began: now, spent, open, begun: None, pieces }.finish(now)
}

/// Gives back a batch that was not begun, because it is not its model's turn.
pub(in crate::runtime) fn unbegun(batch: Batch) -> Judged {
    Judged { batch, answers: Vec::new() }
}

/// The answer to a batch whose work may never come back: what is known of it without its texts and windows.
pub(in crate::runtime) fn lost(batch: &Batch) -> Judged {
    let answers = batch.work.iter().map(|work| {
        let &Subject { stream, asset, when, completeness, .. } = &work.subject;
        let subject = Subject { stream, asset, when, completeness, report: None };
        let (outcome, took, spent) = (Outcome::Failed(FailureReason::Hung), Duration::ZERO, Duration::ZERO);
        let inference = Inference { subject, model: work.model, outcome, queued: work.queued, took, spent };
        Answered { inference, window: None }
    });
    let answers = answers.collect();
    let &Batch { ticket, model, variant, priority, deadline, .. } = batch;
    Judged { batch: Batch { ticket, model, variant, priority, deadline, work: Vec::new() }, answers }
}

/// Adds entities to what was judged, and says what to count.
fn attach(outcome: &mut Answer, marked: Result<Extraction, FailureReason>, is_judged: bool) -> ReportCounts {
    let mut counts = ReportCounts::default();
    match (outcome, marked) {
        (Ok(Outcome::Judged { extraction, .. }), Ok(marked)) => {
            counts.entities = marked.found.len() as u64;
            counts.cut_entities = marked.untold.into();
            *extraction = Some(marked);
        }
        (Ok(_), Err(_)) if is_judged => counts.unmarked = 1,
        (outcome @ Ok(_), Err(reason)) => *outcome = Err(reason),
        (Ok(Outcome::Failed(_)) | Err(_), _) => {}
    }
    counts
}

impl Row {
    /// Computes what the model is given.
    fn fill(
        &mut self,
        stream: &StreamInput,
        work: &Work,
        extractor: &mut Extractor,
        lent: &mut Lent,
    ) -> Result<Filled, FailureReason> {
        match &work.input {
            WorkInput::Window(window) => {
                // Without a layout the model was refused and nothing else is asked for.
                let layout = stream.layout.as_ref().ok_or(FailureReason::Quarantined)?;
                extractor.extract(layout, window, &mut self.features);
                match stream.model {
                    Some(_) if self.features.values.len() < stream.model_features => {
                        Err(FailureReason::Errored)
                    }
                    Some(_) => Ok(Filled::Features(stream.model_features)),
                    None => Ok(Filled::NotAsked),
                }
            }
            WorkInput::Report => {
                self.features.values.clear();
                let Some(model) = stream.model else { return Ok(Filled::NotAsked) };
                let report = work.subject.report.as_ref().ok_or(FailureReason::Errored)?;
                // Without a reading the model was refused.
                let reading = lent.reading.as_mut().ok_or(FailureReason::Quarantined)?;
                let cut_words = reading.fill(report.text.expose(), &mut self.text) as u64;
                lent.registry.count(model, ReportCounts { cut_words, ..ReportCounts::default() });
                Ok(Filled::Text)
            }
        }
    }

    /// The features that are shown.
    fn shown(&self, stream: &StreamInput) -> FeatureVector {
        let values: Vec<f32> =
            stream.shown.iter().filter_map(|&at| self.features.values.get(at).copied()).collect();
        let missing = u16::try_from(values.iter().filter(|value| value.is_nan()).count()).unwrap_or(u16::MAX);
        FeatureVector { values, missing }
    }
}

/// Applies the stream's own threshold on top of the model's.
fn stricter(mut judgements: Vec<Judgement>, uncertain_below: Option<f32>) -> Vec<Judgement> {
    for judgement in &mut judgements {
        if uncertain_below.is_some_and(|threshold| judgement.score < threshold) {
            judgement.verdict = judgement.verdict.max(Verdict::Uncertain);
        }
    }
    judgements
}
