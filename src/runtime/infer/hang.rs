//! Watches the thread that runs the models: one that gives no sign of life is left behind with its model, and another goes
//! on with the others.
//!
//! # Why
//! A thread cannot be stopped from outside. What it has in its hands is lost; all else it has left on the desk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::clock::{Clock, SystemClock};
use crate::runtime::infer::bench::Bench;
use crate::runtime::infer::desk::{Desk, Left, Turn};
use crate::runtime::infer::judging::{Judged, StreamInput, Tools};
use crate::runtime::infer::silence::Silence;
use crate::runtime::infer::worker::{InferEnd, InferWorker};
use crate::runtime::threads::thread;
use crate::telemetry::{Progress, Purpose, booked};

/// How often the watcher looks: alarms wait this long more for a model that hangs.
const LOOK: Duration = Duration::from_millis(250);

/// Threads that may be left behind at once. Each keeps its model and perhaps a core; one more and a fresh start is better.
const LEFT_BEHIND_MAX: u64 = 2;

/// Silence after which the next one ends the process: as long as any task may be silent, see [`Progress`].
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Too many models hang, or the thread that runs them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferLost {
    /// One more than may be left behind.
    #[error("{} models give no sign of life: they are named in the log", LEFT_BEHIND_MAX + 1)]
    Hung,
    /// It panicked or could not be started again.
    #[error("the thread of the models ended")]
    Ended,
}

/// The watcher.
pub(in crate::runtime) struct HangWatch {
    pub(in crate::runtime) desk: Arc<Desk>,
    pub(in crate::runtime) streams: Arc<[StreamInput]>,
    pub(in crate::runtime) results: mpsc::Sender<Judged>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) progress: Arc<Progress>,
}

impl HangWatch {
    /// Starts the thread with everything there is.
    pub(in crate::runtime) fn start(
        &self,
        bench: Box<Bench>,
    ) -> std::io::Result<oneshot::Receiver<InferEnd>> {
        let worker = InferWorker {
            bench,
            tools: Tools::new(Arc::clone(&self.streams), self.clock.clone(), Arc::clone(&self.desk)),
            results: self.results.clone(),
            progress: Arc::clone(&self.progress),
        };
        thread("tg-infer", booked(Purpose::Input, worker.run()))
    }

    /// Runs until the thread ends in order.
    ///
    /// # Errors
    /// When it ends otherwise, or too many models hang.
    pub(in crate::runtime) async fn run(
        self,
        mut running: oneshot::Receiver<InferEnd>,
    ) -> Result<(), InferLost> {
        let (mut given_up, mut silence) = (0, Silence::default());
        loop {
            tokio::select! {
                ended = &mut running => return match ended {
                    Ok(InferEnd::Done) => Ok(()),
                    Ok(InferEnd::TooLate) | Err(_) => Err(InferLost::Ended),
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            let is_last = given_up - self.desk.returns() >= LEFT_BEHIND_MAX;
            let least = if is_last { LAST_PATIENCE } else { Duration::ZERO };
            let Some(left) = self.desk.give_up(&mut silence, self.clock.uptime(), least) else { continue };
            if is_last {
                error!("too many models give no sign of life");
                return Err(InferLost::Hung);
            }
            given_up += 1;
            let (bench, if_hung) = take_over(left);
            running = self.start(bench).map_err(|_| InferLost::Ended)?;
            // The brain ends before this does, and then nobody needs an answer.
            if self.results.send(if_hung).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// All but the model that hangs, and the answer to the batch it had.
fn take_over(Left { mut bench, turn, .. }: Left) -> (Box<Bench>, Judged) {
    let Turn { model, shown, if_hung, .. } = turn;
    bench.shelf.give_up(model, shown, if_hung.answers.len() as u64);
    (bench, if_hung)
}
