//! What lies before the models' thread: batches that wait, reports that are being marked, the models. Says what is next.
//!
//! # Invariants
//! An alarm waits for one piece of anything less urgent. At most [`PARKED_MAX`] batches wait for a model on its way into
//! memory. Work of a model whose turn it is not goes back to where it waited, after that has been told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock::Uptime;
use crate::flow::{Budget, FailureReason, Priority};
use crate::infer::{Batch, ModelStatus};
use crate::runtime::infer::judging::{Judged, Marking, StreamInput, refused, unbegun};
use crate::runtime::infer::shelf::{Lent, Shelf, Standing};
use crate::runtime::retry::IDLE_TURN;

/// Batches that wait for a model that is not in memory. The brain gives out three, one of them for alarms only: another
/// one here and the others would stand still.
const PARKED_MAX: usize = 1;

/// All the thread has besides the model it asks.
pub(in crate::runtime) struct Bench {
    pub(in crate::runtime) work: mpsc::Receiver<Batch>,
    pub(in crate::runtime) budget: watch::Receiver<Budget>,
    pub(in crate::runtime) status: watch::Sender<Vec<ModelStatus>>,
    pub(in crate::runtime) shelf: Shelf,
    /// Since when work has waited for models that are away, and from when on these may be asked.
    pub(in crate::runtime) wanted: watch::Receiver<Vec<Option<Uptime>>>,
    pub(in crate::runtime) turns: watch::Sender<Arc<[Option<Uptime>]>>,
    /// Batches that have come, at most as many as the brain gives out.
    pub(in crate::runtime) waiting: Vec<Batch>,
    /// Begun; at most one of each lane.
    pub(in crate::runtime) marking: Vec<Marking>,
    /// Nothing more comes.
    pub(in crate::runtime) ended: bool,
    /// When the models were last shown.
    pub(in crate::runtime) reported: Uptime,
}

/// What is next.
pub(in crate::runtime) enum Next {
    /// Judge this.
    Judge(Batch),
    /// Go on with this.
    Mark(Box<Marking>),
    /// This is answered.
    Tell(Judged),
    /// Nothing before this time, unless something comes.
    Rest(Uptime),
    /// Nothing ever.
    End,
}

impl Bench {
    /// Takes in what has come: work, models that were loaded, models that were given up and are back.
    pub(in crate::runtime) fn look(&mut self, back: Vec<Lent>, now: Uptime) {
        for lent in back {
            self.shelf.forgive(lent, now);
        }
        self.shelf.look(now);
        while !self.ended {
            match self.work.try_recv() {
                Ok(batch) => self.waiting.push(batch),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        let budget = *self.budget.borrow();
        let wanted = self.wanted.borrow().clone();
        self.shelf.take_turns(&wanted, &budget, now);
        self.tell_turns(&budget, now);
        if now.since(self.reported) >= IDLE_TURN {
            self.shelf.relieve(&budget, now);
            self.report(now);
        }
    }

    /// Says whose turn it is. Where that changes with time, it is told at each look.
    fn tell_turns(&self, budget: &Budget, now: Uptime) {
        self.turns.send_if_modified(|told| {
            let is_same = self.shelf.turns(budget.variant, now).eq(told.iter().copied());
            if !is_same {
                *told = self.shelf.turns(budget.variant, now).collect();
            }
            !is_same
        });
    }

    /// Shows the models.
    pub(in crate::runtime) fn report(&mut self, now: Uptime) {
        self.reported = now;
        self.shelf.registry.look(now);
        self.status.send_replace(self.shelf.status());
    }

    /// Waits until there may be something to do.
    pub(in crate::runtime) async fn rest(&mut self, until: Instant) {
        let Self { work, shelf, ended, waiting, .. } = self;
        tokio::select! {
            biased;
            batch = work.recv(), if !*ended => match batch {
                Some(batch) => waiting.push(batch),
                None => *ended = true,
            },
            () = shelf.arrival() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// What is next, the most urgent first; of one lane what has begun, then the oldest.
    pub(in crate::runtime) fn next(&mut self, streams: &[StreamInput], now: Uptime, idle: Duration) -> Next {
        let budget = *self.budget.borrow();
        self.marking.sort_by_key(Marking::priority);
        for index in 0..self.marking.len() {
            if let Some(next) = self.begin(self.marking.get(index).map(Marking::priority), &budget, now) {
                return next;
            }
            if let Some(next) = self.go_on(index, streams, &budget, now) {
                return next;
            }
        }
        if let Some(next) = self.begin(None, &budget, now) {
            return next;
        }
        if self.ended && self.marking.is_empty() {
            return match self.waiting.pop() {
                // Nobody waits for a model at the end.
                Some(batch) => Next::Tell(refused(batch, FailureReason::NoRoom, now)),
                None => Next::End,
            };
        }
        self.tell_turns(&budget, now);
        Next::Rest(now.after(idle))
    }

    /// The next batch that waits and is more urgent than what was begun, if its model can be asked. One that has to wait
    /// for its model stays, or is answered.
    fn begin(&mut self, than: Option<Priority>, budget: &Budget, now: Uptime) -> Option<Next> {
        self.waiting.sort_by_key(|batch| batch.priority);
        let mut parked = 0;
        let mut index = 0;
        while let Some(batch) = self.waiting.get(index) {
            if than.is_some_and(|than| batch.priority >= than) {
                return None;
            }
            let is_late = now > batch.deadline;
            let standing = self.shelf.prepare(batch.model, batch.variant, budget, now);
            match standing {
                Standing::Ready => return Some(Next::Judge(self.waiting.remove(index))),
                Standing::Coming if !is_late && parked < PARKED_MAX => {
                    parked += 1;
                    index += 1;
                }
                Standing::Coming | Standing::Later(_) if !is_late && !self.ended => {
                    self.tell_turns(budget, now);
                    return Some(Next::Tell(unbegun(self.waiting.remove(index))));
                }
                Standing::Coming | Standing::Later(_) | Standing::Not => {
                    let reason = if is_late { FailureReason::Deadline } else { FailureReason::NoRoom };
                    return Some(Next::Tell(refused(self.waiting.remove(index), reason, now)));
                }
            }
        }
        None
    }

    /// Goes on with what was begun, if its model can be asked; `None` while that is being loaded.
    fn go_on(&mut self, index: usize, streams: &[StreamInput], budget: &Budget, now: Uptime) -> Option<Next> {
        let marking = self.marking.get_mut(index)?;
        let Some(model) = marking.needs() else {
            return Some(Next::Tell(self.marking.remove(index).finish(now)));
        };
        let (variant, deadline) = (marking.batch().variant, marking.batch().deadline);
        match self.shelf.prepare(model, variant, budget, now) {
            Standing::Ready => Some(Next::Mark(Box::new(self.marking.remove(index)))),
            Standing::Coming if now <= deadline => None,
            Standing::Coming | Standing::Later(_) | Standing::Not => {
                let reason = if now > deadline { FailureReason::Deadline } else { FailureReason::NoRoom };
                marking.skip(reason, streams);
                self.go_on(index, streams, budget, now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, EventTime, SystemClock};
    use crate::flow::{AssetId, ModelId, Outcome, Private, Report, StreamId, Subject, VariantRule, When};
    use crate::infer::{BATCH_MAX, Digest, Manifest, Model, Needs, Registry, Residency, Work, WorkInput};
    use crate::runtime::infer::desk::Desk;
    use crate::runtime::infer::judging::Tools;
    use crate::runtime::infer::shelf::one_at_a_time;
    use crate::runtime::reading::Reading;

    const FAR: Duration = Duration::from_hours(1);
    const TAGGER: ModelId = ModelId(0);

    /// A bench whose only model marks entities, and the way to it.
    fn bench() -> (Bench, mpsc::Sender<Batch>) {
        let manifest = include_str!("../../../tests/golden/models/tagger/manifest.toml");
        let graph = include_bytes!("../../../tests/golden/models/tagger/model.onnx");
        let file = |name: &str| match name {
            "vocabulary.json" => {
                Some(include_bytes!("../../../tests/golden/models/tagger/vocabulary.json").to_vec())
            }
            _ => Some(include_bytes!("../../../tests/golden/models/tagger/known.bin").to_vec()),
        };
        let manifest = Arc::new(Manifest::parse(manifest).unwrap());
        let reading = Reading::new(&manifest, &file).unwrap();
        let mut registry = Registry::new();
        registry.add(Model::load(manifest, graph, &[1, BATCH_MAX]).unwrap(), Digest::of(graph), 0).unwrap();
        let residency = Residency::new(vec![Needs::default()], u64::MAX);
        let (send, work) = mpsc::channel(4);
        let bench = Bench {
            work,
            budget: watch::channel(Budget::NOMINAL).1,
            status: watch::channel(Vec::new()).0,
            wanted: watch::channel(Vec::new()).1,
            turns: watch::channel(Arc::default()).0,
            shelf: Shelf::new(registry, vec![reading], vec![None], residency),
            waiting: Vec::new(),
            marking: Vec::new(),
            ended: false,
            reported: Uptime::ZERO,
        };
        (bench, send)
    }

    fn streams() -> Arc<[StreamInput]> {
        let stream = StreamInput {
            model: None,
            extractor: Some(TAGGER),
            layout: None,
            model_features: 0,
            shown: Vec::new(),
            uncertain_below: None,
        };
        [stream].into()
    }

    fn batch(priority: Priority, text: String) -> Batch {
        let (stream, asset, at) = (StreamId(0), AssetId(priority as u32), EventTime(0));
        let (received, text) = (Uptime::ZERO, Private::new(text));
        let report = Some(Report { stream, asset, at, received, reference: None, text, class: None });
        let subject = Subject { stream, asset, when: When::At(at), completeness: None, report };
        let (queued, deadline) = (Uptime::ZERO, Uptime::ZERO.after(FAR));
        let work =
            vec![Work { subject, model: TAGGER, input: WorkInput::Report, priority, queued, deadline }];
        Batch { ticket: 0, model: TAGGER, variant: VariantRule::Best, priority, deadline, work }
    }

    #[test]
    fn an_alarm_waits_for_one_piece_of_the_longest_report_not_for_all_of_it() {
        let ((mut bench, send), streams, clock) = (bench(), streams(), SystemClock::start());
        let mut tools = Tools::new(Arc::clone(&streams), clock.clone(), Arc::new(Desk::default()));
        let long = "check hyd pump ".repeat((64 << 10) / 15);
        assert!(send.try_send(batch(Priority::Bulk, long)).is_ok());
        let (mut order, mut pieces, mut longest, began) = (Vec::new(), 0, Duration::ZERO, clock.uptime());
        let mut alarm_after = None;
        while order.len() < 2 {
            bench.look(Vec::new(), Uptime::ZERO);
            let from = clock.uptime();
            let urgent = |priority| i32::from(priority != Priority::Alarm);
            match bench.next(&streams, Uptime::ZERO, FAR) {
                Next::Judge(batch) => {
                    let (mut lent, _) = bench.shelf.lend(TAGGER);
                    bench.marking.push(tools.judge(batch, &mut lent));
                    bench.shelf.give_back(lent);
                }
                Next::Mark(mut marking) => {
                    pieces += urgent(marking.priority());
                    let (mut lent, _) = bench.shelf.lend(TAGGER);
                    tools.mark(&mut marking, &mut lent);
                    bench.shelf.give_back(lent);
                    bench.marking.push(*marking);
                    if pieces == 1 && alarm_after.is_none() {
                        assert!(send.try_send(batch(Priority::Alarm, "check pump".to_owned())).is_ok());
                        alarm_after = Some(pieces);
                    }
                }
                Next::Tell(judged) => {
                    let answer = &judged.answers[0].inference;
                    assert!(matches!(answer.outcome, Outcome::Judged { extraction: Some(_), .. }));
                    order.push((answer.subject.asset.0, pieces));
                }
                Next::Rest(_) | Next::End => panic!("there is work"),
            }
            longest = longest.max(clock.uptime().since(from));
        }
        let all = clock.uptime().since(began);
        println!(
            "STALLS: 64 KiB in {pieces} pieces of at most {longest:?}, {all:?} together; the alarm came after one"
        );
        assert_eq!(order[0], (0, 1), "the alarm is answered when one piece of the other is done");
        assert!(order[1].0 == 2 && pieces > 100, "{order:?}");
    }

    #[test]
    fn work_of_a_model_whose_turn_it_is_not_goes_back_after_that_was_told() {
        let ((mut bench, send), streams, now) = (bench(), streams(), Uptime::ZERO);
        let (shelf, _folders) = one_at_a_time();
        bench.shelf = shelf;
        let (turns, seen) = watch::channel(Arc::default());
        bench.turns = turns;
        bench.shelf.fill(&[ModelId(0)], now);
        let of_second = || Batch { model: ModelId(1), ..batch(Priority::Normal, "pump".to_owned()) };
        assert!(send.try_send(of_second()).is_ok());
        bench.look(Vec::new(), now);
        let Next::Tell(judged) = bench.next(&streams, now, FAR) else { panic!("it is not its turn") };
        assert_eq!((judged.answers.len(), judged.batch.work.len()), (0, 1));
        let minute = Uptime::ZERO.after(Duration::from_mins(1));
        assert_eq!(seen.borrow().as_ref(), [None, Some(minute)]);
        assert!(send.try_send(judged.batch).is_ok());
        bench.look(Vec::new(), minute);
        assert!(matches!(bench.next(&streams, minute, FAR), Next::Rest(_)), "it is on its way");
        assert_eq!(bench.waiting.len(), 1);
        assert!(send.try_send(of_second()).is_ok());
        bench.look(Vec::new(), minute);
        let Next::Tell(judged) = bench.next(&streams, minute, FAR) else { panic!("one waits here, no more") };
        assert_eq!((judged.answers.len(), judged.batch.work.len(), bench.waiting.len()), (0, 1, 1));
    }

    #[test]
    fn what_waits_at_the_end_of_the_input_is_still_judged() {
        let ((mut bench, send), streams) = (bench(), streams());
        assert!(send.try_send(batch(Priority::Normal, "pump".to_owned())).is_ok());
        drop(send);
        bench.look(Vec::new(), Uptime::ZERO);
        assert!(bench.ended, "nothing more comes");
        let Next::Judge(judged) = bench.next(&streams, Uptime::ZERO, FAR) else { panic!("it waits") };
        assert_eq!(judged.priority, Priority::Normal);
        assert!(matches!(bench.next(&streams, Uptime::ZERO, FAR), Next::End));
    }
}
