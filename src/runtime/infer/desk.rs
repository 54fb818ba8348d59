//! What the models' thread leaves behind while it asks a model, so that another thread can go on if it never comes back.
//!
//! # Invariants
//! A batch is answered once: whoever takes what was left answers for it. A thread that comes back too late finds nothing,
//! brings the model back and ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::ModelId;
use crate::infer::ModelStatus;
use crate::io::thread_meter::ThreadMeter;
use crate::runtime::infer::bench::Bench;
use crate::runtime::infer::judging::Judged;
use crate::runtime::infer::shelf::Lent;
use crate::runtime::infer::silence::Silence;

/// Where the thread that runs the models leaves what it does not need at the moment.
#[derive(Default)]
pub(in crate::runtime) struct Desk {
    left: Mutex<Option<Left>>,
    back: Mutex<Vec<Lent>>,
    /// Of the thread that asks.
    meter: Mutex<Option<ThreadMeter>>,
    turns: AtomicU64,
    returns: AtomicU64,
}

/// When the model that a thread asks last gave a sign of life: it does so at each node of its graph. Each thread has its own:
/// one that was left behind must not vouch for the model of its successor.
#[derive(Clone, Default)]
pub(in crate::runtime) struct Pulse(Arc<AtomicU64>);

/// All a thread had but the model it asks.
pub(in crate::runtime) struct Left {
    number: u64,
    pub(in crate::runtime) bench: Box<Bench>,
    pub(in crate::runtime) turn: Turn,
}

/// What is being done meanwhile.
pub(in crate::runtime) struct Turn {
    pub(in crate::runtime) model: ModelId,
    /// The model as it was shown before.
    pub(in crate::runtime) shown: Option<ModelStatus>,
    /// The answer if there never is one.
    pub(in crate::runtime) if_hung: Judged,
    /// Longest time without a sign of life.
    pub(in crate::runtime) patience: Duration,
    /// The signs of life.
    pub(in crate::runtime) pulse: Pulse,
}

impl Pulse {
    /// The model that is asked has got somewhere.
    pub(in crate::runtime) fn beat(&self, now: Uptime) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    fn last(&self) -> Uptime {
        Uptime(self.0.load(Ordering::Relaxed))
    }
}

impl Desk {
    /// The calling thread is the one that asks from now on.
    pub(in crate::runtime) fn sit_down(&self) {
        *lock(&self.meter) = ThreadMeter::open();
    }

    /// Leaves everything; the number is needed to get it back.
    pub(in crate::runtime) fn leave(&self, bench: Box<Bench>, turn: Turn, now: Uptime) -> u64 {
        turn.pulse.beat(now);
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        *lock(&self.left) = Some(Left { number, bench, turn });
        number
    }

    /// Takes back what was left; `None` if that turn was given up.
    pub(in crate::runtime) fn take_back(&self, number: u64) -> Option<Left> {
        let mut left = lock(&self.left);
        if left.as_ref().is_some_and(|left| left.number == number) { left.take() } else { None }
    }

    /// Looks at whoever asks a model; takes what was left if its silence outlasts its patience, and `least`.
    pub(in crate::runtime) fn give_up(
        &self,
        silence: &mut Silence,
        now: Uptime,
        least: Duration,
    ) -> Option<Left> {
        let mut left = lock(&self.left);
        let Some(Left { turn, .. }) = left.as_ref() else {
            silence.end();
            return None;
        };
        let taken = lock(&self.meter).as_ref().and_then(ThreadMeter::taken);
        silence.look(turn.pulse.last(), taken, now);
        if silence.outlasts(turn.patience.max(least)) { left.take() } else { None }
    }

    /// Brings back a model that was given up.
    pub(in crate::runtime) fn bring_back(&self, lent: Lent) {
        lock(&self.back).push(lent);
        self.returns.fetch_add(1, Ordering::Relaxed);
    }

    /// How many came back.
    pub(in crate::runtime) fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    /// The models that came back.
    pub(in crate::runtime) fn came_back(&self) -> Vec<Lent> {
        std::mem::take(&mut *lock(&self.back))
    }
}

/// Nothing panics while it holds a lock here, and nothing half done is behind it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
