//! The thread that runs the models: takes the most urgent piece there is, does it, tells what came out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::flow::ModelId;
use crate::runtime::infer::bench::{Bench, Next};
use crate::runtime::infer::desk::Turn;
use crate::runtime::infer::judging::{Judged, Tools, lost};
use crate::runtime::infer::shelf::Lent;
use crate::runtime::retry::IDLE_TURN;
use crate::telemetry::{Progress, Purpose, Task, book};

/// Longest time a model may be asked without a sign of life, besides [`PATIENCE_RUNS`] times what one input takes. It
/// gives one at each node of its graph; the longest node that admission lets through takes half of this on a Cortex-A53.
const PATIENCE: Duration = Duration::from_secs(1);

/// A node is at most a whole run: of eight inputs, on a chip slowed to two fifths, while others have half of it.
const PATIENCE_RUNS: u32 = 40;

/// Longest time the drain waits for the models.
pub(in crate::runtime) const DRAIN_MAX: Duration = Duration::from_secs(3);

/// The thread's state.
pub(in crate::runtime) struct InferWorker {
    pub(in crate::runtime) bench: Box<Bench>,
    pub(in crate::runtime) tools: Tools,
    pub(in crate::runtime) results: mpsc::Sender<Judged>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// How the thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum InferEnd {
    /// No more work can come and everything has been answered.
    Done,
    /// The model it asked was given up, and came back only now: somebody else has gone on.
    TooLate,
}

impl InferWorker {
    /// Runs until no more work can come and everything has been answered.
    pub(in crate::runtime) async fn run(self) -> InferEnd {
        let Self { mut bench, mut tools, results, progress } = self;
        tools.desk.sit_down();
        loop {
            let now = tools.clock.uptime();
            progress.tick(Task::Infer, now);
            bench.look(tools.desk.came_back(), now);
            match bench.next(&tools.streams, now, IDLE_TURN) {
                Next::Tell(judged) => {
                    if results.send(judged).await.is_err() {
                        return InferEnd::Done;
                    }
                }
                Next::Judge(batch) => {
                    let (model, if_hung) = (batch.model, lost(&batch));
                    let judge = |tools: &mut Tools, lent: &mut Lent| tools.judge(batch, lent);
                    let Some((back, judged)) = ask(bench, &mut tools, (model, if_hung), judge) else {
                        return InferEnd::TooLate;
                    };
                    bench = back;
                    bench.marking.push(judged);
                }
                Next::Mark(mut marking) => {
                    let Some(model) = marking.needs() else { continue };
                    let if_hung = lost(marking.batch());
                    let mark = |tools: &mut Tools, lent: &mut Lent| {
                        tools.mark(&mut marking, lent);
                        marking
                    };
                    let Some((back, marking)) = ask(bench, &mut tools, (model, if_hung), mark) else {
                        return InferEnd::TooLate;
                    };
                    bench = back;
                    bench.marking.push(*marking);
                }
                Next::Rest(due) => {
                    let until = tokio::time::Instant::from_std(tools.clock.instant(due));
                    bench.rest(until).await;
                    bench.shelf.look(tools.clock.uptime());
                }
                Next::End => break,
            }
        }
        bench.report(tools.clock.uptime());
        InferEnd::Done
    }
}

/// Asks one model while everything else lies on the desk; `None` if it was given up meanwhile.
fn ask<T>(
    mut bench: Box<Bench>,
    tools: &mut Tools,
    (model, if_hung): (ModelId, Judged),
    work: impl FnOnce(&mut Tools, &mut Lent) -> T,
) -> Option<(Box<Bench>, T)> {
    let patience = PATIENCE + PATIENCE_RUNS * bench.shelf.spent(model);
    let (mut lent, shown) = bench.shelf.lend(model);
    let desk = Arc::clone(&tools.desk);
    let turn = Turn { model, shown, if_hung, patience, pulse: tools.pulse.clone() };
    let number = desk.leave(bench, turn, tools.clock.uptime());
    let came = {
        let _booked = book(Purpose::Input);
        work(tools, &mut lent)
    };
    if let Some(left) = desk.take_back(number) {
        let mut bench = left.bench;
        bench.shelf.give_back(lent);
        Some((bench, came))
    } else {
        desk.bring_back(lent);
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::clock::{EventTime, SystemClock, Uptime};
    use crate::features::FeatureLayout;
    use crate::flow::{
        AssetId, Budget, Completeness, FailureReason, Inference, Outcome, Priority, Series, StreamId,
        Subject, TimeSpan, VariantRule, When, Window,
    };
    use crate::infer::{
        BATCH_MAX, Batch, Digest, Manifest, Model, Needs, Registry, Residency, Work, WorkInput,
    };
    use crate::runtime::infer::desk::Desk;
    use crate::runtime::infer::judging::StreamInput;
    use crate::runtime::infer::shelf::Shelf;
    use crate::runtime::infer::silence::Silence;

    /// Two streams of the model whose outputs are the logarithms of its two inputs, and one without a model.
    fn worker(work: mpsc::Receiver<Batch>, results: mpsc::Sender<Judged>) -> InferWorker {
        let manifest = include_str!("../../../tests/golden/models/nan-below-zero/manifest.toml");
        let bytes = include_bytes!("../../../tests/golden/models/nan-below-zero/model.onnx");
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
        let streams = vec![stream(judging, &[0]), stream(judging, &[1]), stream(None, &[0, 1])];
        let residency = Residency::new(vec![Needs::default()], u64::MAX);
        let bench = Bench {
            work,
            budget: watch::channel(Budget::NOMINAL).1,
            status: watch::channel(Vec::new()).0,
            wanted: watch::channel(Vec::new()).1,
            turns: watch::channel(Arc::default()).0,
            shelf: Shelf::new(registry, vec![None], vec![None], residency),
            waiting: Vec::new(),
            marking: Vec::new(),
            ended: false,
            reported: Uptime::ZERO,
        };
        InferWorker {
            bench: Box::new(bench),
            tools: Tools::new(streams.into(), SystemClock::start(), Arc::new(Desk::default())),
            results,
            progress: Arc::new(Progress::new(Uptime::ZERO)),
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

    /// Leaves everything the worker has at the start of its clock, for a model that says nothing; how to get it back.
    fn leave(bench: Box<Bench>, tools: &Tools, patience: Duration) -> u64 {
        let if_hung = lost(&batch(vec![work(0, 0, [1.0, 4.0], Uptime::ZERO)]));
        let turn = Turn { model: ModelId(0), shown: None, if_hung, patience, pulse: tools.pulse.clone() };
        tools.desk.leave(bench, turn, Uptime::ZERO)
    }

    #[test]
    fn a_thread_that_was_left_behind_does_not_vouch_for_the_model_of_its_successor() {
        let (_send, work_seen) = mpsc::channel(1);
        let InferWorker { bench, tools, .. } = worker(work_seen, mpsc::channel(1).0);
        let behind = Tools::new(Arc::clone(&tools.streams), tools.clock.clone(), Arc::clone(&tools.desk));
        leave(bench, &tools, PATIENCE);
        let mut silence = Silence::default();
        let given_up = (0..36).find(|look| {
            let now = Uptime::ZERO.after(Duration::from_millis(250) * *look);
            behind.pulse.beat(now);
            tools.desk.give_up(&mut silence, now, Duration::ZERO).is_some()
        });
        assert!(given_up.is_some(), "the model has been silent for 9 s");
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
