//! What lies before the models' thread: batches that wait, reports that are being marked, the models. Says what is next.
//!
//! # Invariants
//! An alarm waits for one piece of anything less urgent. At most [`PARKED_MAX`] batches wait for a model that is not in
//! memory; whoever is beyond is answered at once.

use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock::Uptime;
use crate::flow::{Budget, FailureReason, Priority};
use crate::infer::residency::RELOAD_MAX;
use crate::infer::{Batch, ModelStatus};
use crate::runtime::judging::{Judged, Marking, StreamInput, refused};
use crate::runtime::retry::IDLE_TURN;
use crate::runtime::shelf::{Lent, Shelf, Standing};

/// Batches that wait for a model that is not in memory. The brain gives out three, one of them for alarms only: another
/// one here and the others would stand still.
const PARKED_MAX: usize = 1;

/// All the thread has besides the model it asks.
pub(in crate::runtime) struct Bench {
    pub(in crate::runtime) work: mpsc::Receiver<Batch>,
    pub(in crate::runtime) budget: watch::Receiver<Budget>,
    pub(in crate::runtime) status: watch::Sender<Vec<ModelStatus>>,
    pub(in crate::runtime) shelf: Shelf,
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
    Mark(Marking),
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
        back.into_iter().for_each(|lent| self.shelf.forgive(lent, now));
        self.shelf.look(now);
        while !self.ended {
            match self.work.try_recv() {
                Ok(batch) => self.waiting.push(batch),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        if now.since(self.reported) >= IDLE_TURN {
            self.shelf.relieve(&self.budget.borrow(), now);
            self.report(now);
        }
    }

    /// Shows the models.
    pub(in crate::runtime) fn report(&mut self, now: Uptime) {
        self.reported = now;
        self.shelf.registry.look(now);
        self.status.send_replace(self.shelf.registry.status().collect());
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
        let mut due = now.after(idle);
        self.marking.sort_by_key(Marking::priority);
        for index in 0..self.marking.len() {
            if let Some(next) =
                self.begin(self.marking.get(index).map(Marking::priority), &budget, now, &mut due)
            {
                return next;
            }
            if let Some(next) = self.go_on(index, streams, &budget, now) {
                return next;
            }
        }
        if let Some(next) = self.begin(None, &budget, now, &mut due) {
            return next;
        }
        if self.ended && self.marking.is_empty() {
            return match self.waiting.pop() {
                // Nobody waits for a model at the end.
                Some(batch) => Next::Tell(refused(batch, FailureReason::NoRoom, now)),
                None => Next::End,
            };
        }
        Next::Rest(due)
    }

    /// The next batch that waits and is more urgent than what was begun, if its model can be asked. One that has to wait
    /// for its model stays, or is answered.
    fn begin(
        &mut self,
        than: Option<Priority>,
        budget: &Budget,
        now: Uptime,
        due: &mut Uptime,
    ) -> Option<Next> {
        self.waiting.sort_by_key(|batch| batch.priority);
        let mut parked = 0;
        let mut index = 0;
        while let Some(batch) = self.waiting.get(index) {
            if than.is_some_and(|than| batch.priority >= than) {
                return None;
            }
            let until = match self.shelf.prepare(batch.model, batch.variant, budget, now) {
                Standing::Ready => return Some(Next::Judge(self.waiting.remove(index))),
                Standing::Coming => Some(now),
                Standing::Later(until) => Some(until),
                Standing::Not => None,
            };
            let worth_it = until.filter(|until| *until <= batch.deadline && until.since(now) <= RELOAD_MAX);
            match worth_it.filter(|_| parked < PARKED_MAX && now <= batch.deadline) {
                Some(until) => {
                    *due = if until > now { until.min(*due) } else { *due };
                    parked += 1;
                    index += 1;
                }
                None => {
                    let reason =
                        if now > batch.deadline { FailureReason::Deadline } else { FailureReason::NoRoom };
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
            Standing::Ready => Some(Next::Mark(self.marking.remove(index))),
            Standing::Coming if now <= deadline => None,
            Standing::Coming | Standing::Later(_) | Standing::Not => {
                let reason = if now > deadline { FailureReason::Deadline } else { FailureReason::NoRoom };
                marking.skip(reason, streams);
                self.go_on(index, streams, budget, now)
            }
        }
    }
}
