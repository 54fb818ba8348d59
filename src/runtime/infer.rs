//! The thread that computes features and runs models.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::features::{Extractor, FeatureLayout};
use crate::flow::{
    Extraction, FailureReason, FeatureVector, Inference, Judgement, ModelId, Outcome, Verdict, Window,
};
use crate::infer::{Batch, ModelInput, ModelStatus, Registry, ReportCounts, Work, WorkInput};
use crate::runtime::extraction::{Pieces, Unmarked};
use crate::runtime::reading::{Reading, TextInput};
use crate::runtime::retry::IDLE_TURN;
use crate::telemetry::{Progress, Task};

/// What a batch came to.
pub(in crate::runtime) struct Judged {
    /// The batch without its work: its buffer is used again.
    pub(in crate::runtime) batch: Batch,
    /// One per piece of work, in their order.
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

/// The thread's state.
pub(in crate::runtime) struct InferWorker {
    pub(in crate::runtime) work: mpsc::Receiver<Batch>,
    pub(in crate::runtime) results: mpsc::Sender<Judged>,
    pub(in crate::runtime) status: watch::Sender<Vec<ModelStatus>>,
    pub(in crate::runtime) registry: Registry,
    pub(in crate::runtime) streams: Vec<StreamInput>,
    /// By model; `None` where it takes features.
    pub(in crate::runtime) readings: Vec<Option<Reading>>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) scratch: Scratch,
}

/// Buffers kept from one batch to the next.
#[derive(Default)]
pub(in crate::runtime) struct Scratch {
    extractor: Extractor,
    /// One per piece of work of the largest batch so far.
    rows: Vec<Row>,
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
    /// The input made of the text, by the reading of this model.
    Text(ModelId),
    /// Nothing: the stream has no model that answers tasks.
    NotAsked,
}

/// What one piece of work came to.
type Answer = Result<Outcome, FailureReason>;

impl InferWorker {
    /// Runs until no more work can come and everything has been answered.
    pub(in crate::runtime) async fn run(mut self) {
        let mut reported = Uptime::ZERO;
        // Batches that have come, at most as many as the brain gives out.
        let mut waiting: Vec<Batch> = Vec::new();
        loop {
            self.progress.tick(Task::Infer, self.clock.uptime());
            if waiting.is_empty() {
                match tokio::time::timeout(IDLE_TURN, self.work.recv()).await {
                    Ok(Some(batch)) => waiting.push(batch),
                    Ok(None) => break,
                    Err(_idle) => {}
                }
            }
            while let Ok(batch) = self.work.try_recv() {
                waiting.push(batch);
            }
            // The first of equals is the oldest: the brain has put them in order.
            let next = waiting.iter().enumerate().min_by_key(|(_, batch)| batch.priority);
            if let Some(index) = next.map(|(index, _)| index) {
                let judged = self.judge(waiting.remove(index));
                if self.results.send(judged).await.is_err() {
                    return;
                }
            }
            let now = self.clock.uptime();
            if now.since(reported) >= IDLE_TURN {
                reported = now;
                self.status.send_replace(self.registry.status().collect());
            }
        }
        self.status.send_replace(self.registry.status().collect());
    }

    /// Judges a batch. Each piece takes from the start of the batch to its end: that is what the plant waits, not a
    /// share of it.
    fn judge(&mut self, mut batch: Batch) -> Judged {
        let (started, before) = (self.clock.uptime(), self.clock.thread_time());
        let mut outcomes = self.outcomes(&batch.work);
        let took = self.clock.uptime().since(started);
        let is_asked = |work: &&Work| {
            let stream = self.streams.get(usize::from(work.subject.stream.0));
            stream.is_some_and(|stream| stream.model == Some(work.model))
        };
        batch.work.iter().filter(is_asked).for_each(|work| self.registry.record(work.model, took));
        self.mark(&batch.work, &mut outcomes);
        let took = self.clock.uptime().since(started);
        let spent = self.clock.thread_time().saturating_sub(before);
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

    /// One outcome per piece of work, in their order, entities left out.
    fn outcomes(&mut self, batch: &[Work]) -> Vec<Answer> {
        let Self { streams, scratch: Scratch { extractor, rows, .. }, registry, clock, readings, .. } = self;
        if rows.len() < batch.len() {
            rows.resize_with(batch.len(), Row::default);
        }
        let of = |work: &Work| streams.get(usize::from(work.subject.stream.0)).ok_or(FailureReason::Errored);
        let fill =
            |(work, row): (&Work, &mut Row)| row.fill(of(work)?, work, extractor, (readings, registry));
        let filled: Vec<_> = batch.iter().zip(rows.iter_mut()).map(fill).collect();
        let (mut inputs, mut deadlines) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for ((work, row), filled) in batch.iter().zip(rows.iter()).zip(&filled) {
            let completeness = work.subject.completeness.map(|completeness| completeness.ratio().get());
            inputs.extend(match filled {
                Ok(Filled::Features(count)) => {
                    let values = row.features.values.get(..*count).unwrap_or(&[]);
                    Some(ModelInput::Features { values, completeness })
                }
                Ok(Filled::Text(model)) => {
                    let reading = readings.get(usize::from(model.0)).and_then(Option::as_ref);
                    reading.map(|reading| reading.input(&row.text))
                }
                Ok(Filled::NotAsked) | Err(_) => None,
            });
            deadlines.resize(inputs.len(), work.deadline);
        }
        let mut late = |item: usize| deadlines.get(item).is_some_and(|deadline| clock.uptime() > *deadline);
        let model = batch.first().filter(|_| !inputs.is_empty()).map(|work| work.model);
        let judged = model.map(|model| registry.judge(model, &inputs, &mut late));
        let mut judged = judged.into_iter().flatten();
        let outcome = |((work, row), filled): ((&Work, &Row), Result<Filled, FailureReason>)| {
            let judgements = match filled? {
                Filled::Features(_) | Filled::Text(_) => judged.next().ok_or(FailureReason::Errored)??,
                Filled::NotAsked => Vec::new(),
            };
            let stream = of(work)?;
            let features = row.shown(stream);
            let judgements = stricter(judgements, stream.uncertain_below);
            Ok(Outcome::Judged { judgements, features, extraction: None })
        };
        batch.iter().zip(rows.iter()).zip(filled).map(outcome).collect()
    }

    /// Adds the entities of reports whose stream has somebody to mark them. Where that fails, what was judged stays;
    /// a report that nobody else judges fails.
    fn mark(&mut self, batch: &[Work], outcomes: &mut [Answer]) {
        let Self { streams, scratch: Scratch { pieces, .. }, registry, clock, readings, .. } = self;
        let stream_of = |work: &Work| streams.get(usize::from(work.subject.stream.0));
        let mut waiting: Vec<(usize, &Work, &StreamInput, ModelId)> = Vec::new();
        for (index, work) in batch.iter().enumerate() {
            let stream = stream_of(work).filter(|_| outcomes.get(index).is_some_and(Result::is_ok));
            waiting.extend(stream.and_then(|stream| Some((index, work, stream, stream.extractor?))));
        }
        while let Some(&(_, _, _, model)) = waiting.first() {
            let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(.., of)| *of == model);
            waiting = later;
            let reports = now.iter().map(|(_, work, stream, _)| Unmarked {
                text: work.subject.report.as_ref().map_or("", |report| report.text.expose()),
                uncertain_below: stream.uncertain_below,
            });
            let reports: Vec<_> = reports.collect();
            let started = clock.uptime();
            let mut late =
                |item: usize| now.get(item).is_some_and(|(_, work, ..)| clock.uptime() > work.deadline);
            let marked = match readings.get_mut(usize::from(model.0)).and_then(Option::as_mut) {
                Some(reading) => pieces.mark(registry, (model, reading), &reports, &mut late),
                // The model was refused.
                None => vec![Err(FailureReason::Quarantined); reports.len()],
            };
            let took = clock.uptime().since(started);
            for ((index, _, stream, _), marked) in now.iter().zip(marked) {
                registry.record(model, took);
                let Some(outcome) = outcomes.get_mut(*index) else { continue };
                registry.count(model, attach(outcome, marked, stream.model.is_some()));
            }
        }
    }
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
        (readings, registry): (&mut [Option<Reading>], &mut Registry),
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
                let reading = readings.get_mut(usize::from(model.0)).and_then(Option::as_mut);
                // Without a reading the model was refused.
                let reading = reading.ok_or(FailureReason::Quarantined)?;
                let cut_words = reading.fill(report.text.expose(), &mut self.text) as u64;
                registry.count(model, ReportCounts { cut_words, ..ReportCounts::default() });
                Ok(Filled::Text(model))
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

/// Longest time the drain waits for the models.
pub(in crate::runtime) const DRAIN_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EventTime;
    use crate::flow::{
        AssetId, Completeness, Priority, Series, StreamId, Subject, TimeSpan, VariantRule, When,
    };
    use crate::infer::{BATCH_MAX, Digest, Manifest, Model};

    /// Two streams of the model whose outputs are the logarithms of its two inputs, and one without a model.
    fn worker(work: mpsc::Receiver<Batch>, results: mpsc::Sender<Judged>) -> InferWorker {
        let manifest = include_str!("../../tests/golden/models/nan-below-zero/manifest.toml");
        let bytes = include_bytes!("../../tests/golden/models/nan-below-zero/model.onnx");
        let model = Model::load(Arc::new(Manifest::parse(manifest).unwrap()), bytes, &[1, BATCH_MAX]);
        let mut registry = Registry::new();
        registry.add(model.unwrap(), Digest::of(bytes), 0).unwrap();
        let stream = |model: Option<ModelId>, shown: &[usize]| {
            let patterns = ["a.min".to_owned(), "a.max".to_owned()];
            StreamInput {
                model,
                extractor: None,
                layout: Some(FeatureLayout::resolve(&patterns, &["a".to_owned()]).unwrap()),
                model_features: 2,
                shown: shown.to_vec(),
                uncertain_below: None,
            }
        };
        let judging = Some(ModelId(0));
        InferWorker {
            work,
            results,
            status: watch::channel(Vec::new()).0,
            registry,
            streams: vec![stream(judging, &[0]), stream(judging, &[1]), stream(None, &[0, 1])],
            readings: vec![None],
            clock: SystemClock::start(),
            progress: Arc::new(Progress::new(Uptime::ZERO)),
            scratch: Scratch::default(),
        }
    }

    /// A window of two samples.
    fn work(number: u32, stream: u16, values: [f32; 2], deadline: Uptime) -> Work {
        let span = TimeSpan { from: EventTime(0), to: EventTime(2) };
        let (stream, asset) = (StreamId(stream), AssetId(number));
        let series = vec![Series { at: vec![EventTime(0), EventTime(1)], values: values.to_vec() }];
        let completeness = Completeness { expected: 2, present: 2, ..Completeness::default() };
        let subject =
            Subject { stream, asset, when: When::Span(span), completeness: Some(completeness), report: None };
        let model = ModelId(u16::from(stream.0 == 2));
        let input = WorkInput::Window(Window { stream, asset, span, completeness, series });
        Work { subject, model, input, priority: Priority::Normal, queued: Uptime::ZERO, deadline }
    }

    fn batch(work: Vec<Work>) -> Batch {
        let (model, priority) = (work[0].model, work[0].priority);
        let deadline = work.iter().map(|work| work.deadline).max().unwrap();
        Batch { ticket: 0, model, variant: VariantRule::Best, priority, deadline, work }
    }

    #[tokio::test]
    async fn of_the_batches_that_wait_the_most_urgent_is_judged_first() {
        let (send, work_seen) = mpsc::channel(16);
        let (results, mut seen) = mpsc::channel(16);
        let far = Uptime::ZERO.after(Duration::from_hours(1));
        for (number, priority) in
            [(0, Priority::Bulk), (1, Priority::Normal), (2, Priority::Alarm), (3, Priority::Normal)]
        {
            let mut batch = batch(vec![work(number, 0, [1.0, 4.0], far)]);
            batch.priority = priority;
            send.try_send(batch).ok().unwrap();
        }
        drop(send);
        worker(work_seen, results).run().await;
        let order = std::iter::from_fn(|| seen.try_recv().ok());
        let order: Vec<_> = order.map(|judged| judged.answers[0].inference.subject.asset.0).collect();
        assert_eq!(order, [2, 1, 3, 0]);
    }

    #[tokio::test]
    async fn a_batch_is_judged_together_each_with_its_own_deadline_features_and_fault() {
        let (send, work_seen) = mpsc::channel(16);
        let (results, mut seen) = mpsc::channel(16);
        let far = Uptime::ZERO.after(Duration::from_hours(1));
        let rows = [
            (0, 0, [1.0, 4.0], far),
            (1, 1, [1.0, 4.0], far),
            (3, 0, [-1.0, 1.0], far),
            (4, 0, [1.0, 2.0], Uptime::ZERO),
            (5, 1, [2.0, 6.0], far),
            (6, 0, [3.0, 7.0], far),
        ];
        let rows = rows.map(|(number, stream, values, deadline)| work(number, stream, values, deadline));
        send.try_send(batch(rows.into())).ok().unwrap();
        send.try_send(batch(vec![work(2, 2, [5.0, 6.0], far)])).ok().unwrap();
        drop(send);
        worker(work_seen, results).run().await;
        let mut found = Vec::new();
        let mut took = Vec::new();
        let answers = std::iter::from_fn(|| seen.try_recv().ok()).flat_map(|judged| judged.answers);
        for answer in answers {
            let Inference { subject, outcome, took: time, .. } = answer.inference;
            assert_eq!(answer.window.map(|window| window.asset), Some(subject.asset), "each with its window");
            took.push(time);
            found.push(match outcome {
                Outcome::Failed(reason) => (subject.asset.0, Err(reason)),
                Outcome::Judged { judgements, features, .. } => {
                    // Scores of two logarithms are as their arguments.
                    let second = judgements.first().map_or(0.0, |task| task.scores[1]);
                    (subject.asset.0, Ok(((second * 100.0).round(), features.values)))
                }
            });
        }
        assert_eq!(
            found,
            [
                (0, Ok((80.0, vec![1.0]))),
                (1, Ok((80.0, vec![4.0]))),
                (3, Err(FailureReason::NonFinite)),
                (4, Err(FailureReason::Deadline)),
                (5, Ok((75.0, vec![6.0]))),
                (6, Ok((70.0, vec![3.0]))),
                (2, Ok((0.0, vec![5.0, 6.0]))),
            ]
        );
        assert!(took[..6].iter().all(|time| *time == took[0]), "the time of the batch: {took:?}");
    }
}
