//! The shell of commands: takes them one at a time, runs them once, and tells how they stand.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::io::mqtt::{Delivery, Publisher, Token, Unsent};
use crate::runtime::operations::answer::{ended, executing};
use crate::runtime::operations::command::{Command, Request};
use crate::runtime::operations::journal::Journal;
use crate::runtime::operations::ledger::{Ledger, Verdict};
use crate::runtime::operations::operation::{Effect, Operation, Outcome};
use crate::runtime::operations::pauses::PauseBook;
use crate::runtime::plant::stopped;
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::status::{Topics, stamped};
use crate::telemetry::{Metric, Metrics};

/// Commands that wait: an operator's script asks for a few at once. One that finds no room lies retained on the broker and is
/// asked for again with the next connection.
pub(in crate::runtime) const COMMANDS_MAX: usize = 32;

/// Answers that wait for the connection. While they do no command is taken: what runs is told.
const ANSWERS_MAX: usize = 32;

/// Commands that are run at once before they have to wait for one another.
const BURST: u32 = 16;

/// After a burst one command is taken in this time: each writes to the flash, and whoever may publish here could wear it out.
const PACE: Duration = Duration::from_secs(10);

/// Longest an operation may take.
const OPERATION_MAX: Duration = Duration::from_secs(30);

/// How soon to try again when the connection had no room for an answer.
const LINK_RETRY: Duration = Duration::from_millis(50);

/// The shell.
pub(in crate::runtime) struct OperationsShell {
    pub(in crate::runtime) commands: mpsc::Receiver<Command>,
    pub(in crate::runtime) publisher: watch::Receiver<Option<Publisher>>,
    pub(in crate::runtime) stopping: watch::Receiver<bool>,
    pub(in crate::runtime) operations: Vec<Box<dyn Operation>>,
    pub(in crate::runtime) journal: Journal,
    /// What earlier runs have begun.
    pub(in crate::runtime::operations) ledger: Ledger,
    pub(in crate::runtime) pauses: Arc<PauseBook>,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) instance: String,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
}

/// What the loop keeps from turn to turn.
struct Turn {
    ledger: Ledger,
    answers: VecDeque<(String, String)>,
    /// Commands that may be run at once, and when that was counted.
    left: u32,
    counted: Uptime,
}

impl OperationsShell {
    /// Runs until the gateway stops.
    pub(in crate::runtime) async fn run(mut self) {
        let mut turn = Turn {
            ledger: std::mem::take(&mut self.ledger),
            answers: VecDeque::new(),
            left: BURST,
            counted: Uptime::ZERO,
        };
        loop {
            turn.refill(self.clock.uptime());
            let takes = turn.left > 0 && turn.answers.len() < ANSWERS_MAX;
            let wake = tokio::time::Instant::from_std(self.clock.instant(self.wake(&turn)));
            tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return,
                changed = self.publisher.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.connected(&mut turn);
                }
                Some(command) = self.commands.recv(), if takes => self.take(command, &mut turn).await,
                () = tokio::time::sleep_until(wake) => {}
            }
            self.end_pauses();
            self.flush(&mut turn);
        }
    }

    fn wake(&self, turn: &Turn) -> Uptime {
        let now = self.clock.uptime();
        let held_up = !turn.answers.is_empty() && self.publisher.borrow().is_some();
        let idle = now.after(if held_up { LINK_RETRY } else { IDLE_TURN });
        self.pauses.next_end().map_or(idle, |end| end.min(idle))
    }

    /// A connection came up or went: everything that is offered is told again, the broker may have forgotten it.
    fn connected(&self, turn: &mut Turn) {
        if self.publisher.borrow().is_none() {
            return;
        }
        turn.ledger.connected();
        for operation in &self.operations {
            let topic = self.topics.operation(operation.name());
            turn.answers.retain(|(waiting, _)| *waiting != topic);
            self.say(turn, topic, &operation.description());
        }
    }

    async fn take(&self, command: Command, turn: &mut Turn) {
        let (op, id) = (command.op, command.id.clone());
        match turn.ledger.judge(command) {
            Verdict::Ignore => {}
            Verdict::Tell(outcome) => {
                turn.left = turn.left.saturating_sub(1);
                self.say(turn, self.topics.command(op, &id), &ended(&outcome));
            }
            Verdict::Run(request) => {
                turn.left = turn.left.saturating_sub(1);
                self.execute((op, &id), &request, turn).await;
            }
        }
    }

    /// Runs a command: written down, told, done, told, written down.
    async fn execute(&self, (op, id): (&'static str, &str), request: &Request, turn: &mut Turn) {
        let Some(operation) = self.operations.iter().find(|operation| operation.name() == op) else { return };
        let topic = self.topics.command(op, id);
        turn.ledger.begin(op, id);
        let begun = self.write(operation.effect(), &turn.ledger).await;
        let is_begun = begun.is_ok();
        let outcome = match begun {
            Ok(()) => {
                self.say(turn, topic.clone(), &executing());
                self.flush(turn);
                let done = tokio::time::timeout(OPERATION_MAX, operation.run(request)).await;
                let late = || Outcome::Failed(format!("took longer than {} s", OPERATION_MAX.as_secs()));
                done.unwrap_or_else(|_| late())
            }
            Err(reason) => Outcome::Failed(reason),
        };
        self.metrics.add(Metric::Commands, 1);
        match &outcome {
            Outcome::Successful(_) => info!(op, id, "did what a command asked for"),
            Outcome::Failed(reason) => warn!(op, id, reason, "a command failed"),
        }
        turn.ledger.end(op, id, &outcome);
        if is_begun {
            // Without it the next start says that this was interrupted.
            best_effort(self.write(operation.effect(), &turn.ledger).await);
        } else {
            // The disk has been waited for once; what it may take later must not say that this runs.
            self.journal.put(&turn.ledger, |op| self.changes(op));
        }
        self.say(turn, topic, &ended(&outcome));
    }

    /// Returns when what is begun and what has ended would survive a power cut.
    async fn write(&self, effect: Effect, ledger: &Ledger) -> Result<(), String> {
        match effect {
            Effect::Reads => Ok(()),
            Effect::Changes => self.journal.keep(ledger, |op| self.changes(op)).await.map_err(|error| {
                format!("cannot be written down, so it is not begun: {error}; see status/outbox")
            }),
        }
    }

    /// Whether an operation changes something.
    fn changes(&self, op: &str) -> bool {
        self.operations.iter().any(|known| known.name() == op && known.effect() == Effect::Changes)
    }

    fn end_pauses(&self) {
        let over = self.pauses.expire();
        if !over.is_empty() {
            info!(streams = over.join(", "), "a pause is over");
        }
    }

    fn say(&self, turn: &mut Turn, topic: String, what: &Value) {
        let text = stamped(&self.clock, &self.instance, &topic, &what.to_string());
        turn.answers.push_back((topic, text));
    }

    /// Gives the connection what it takes.
    fn flush(&self, turn: &mut Turn) {
        let Some(publisher) = self.publisher.borrow().clone() else { return };
        while let Some((topic, text)) = turn.answers.front() {
            let delivery = Delivery::AtLeastOnce(Token(0));
            match publisher.publish(topic, text.clone().into_bytes(), delivery, true) {
                Err(Unsent::Full | Unsent::NotConnected) => return,
                // Such a broker never takes it: the command stays as it is told now.
                Ok(()) | Err(Unsent::TooLarge { .. } | Unsent::Topic) => {}
            }
            turn.answers.pop_front();
        }
    }
}

impl Turn {
    fn refill(&mut self, now: Uptime) {
        while self.left < BURST && now.since(self.counted) >= PACE {
            self.left += 1;
            self.counted = self.counted.after(PACE);
        }
        if self.left >= BURST {
            self.counted = now;
        }
    }
}
