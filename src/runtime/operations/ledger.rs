//! Which commands were begun and how they ended: what makes a command run once (pure).

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::runtime::operations::command::{Asked, Command, Request};
use crate::runtime::operations::operation::Outcome;

/// Commands remembered. A broker repeats what we have not acknowledged, a handful; an operator has a few under way.
pub(in crate::runtime::operations) const REMEMBERED_MAX: usize = 32;

/// Longest reason that is remembered, bytes.
pub(in crate::runtime::operations) const REASON_BYTES_MAX: usize = 160;

/// What to say of a command that an earlier run began.
pub(in crate::runtime::operations) const INTERRUPTED: &str =
    "the gateway ended while it ran this: look at its state, then ask again with another id";

/// One remembered command.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::runtime::operations) struct Entry {
    pub(in crate::runtime::operations) op: Box<str>,
    pub(in crate::runtime::operations) id: Box<str>,
    /// `None` while it runs.
    pub(in crate::runtime::operations) ended: Option<Outcome>,
    /// Connection on which its end was told last.
    told_on: u64,
}

/// What is done with a message about a command.
#[derive(Debug, PartialEq)]
pub(in crate::runtime::operations) enum Verdict {
    /// It is new: run it.
    Run(Request),
    /// It has ended, and the broker does not know: tell it again.
    Tell(Outcome),
    /// Nothing: a repetition, or an echo of what we said.
    Ignore,
}

/// The last commands, oldest first.
#[derive(Debug, Default)]
pub(in crate::runtime::operations) struct Ledger {
    entries: VecDeque<Entry>,
    connection: u64,
}

impl Ledger {
    /// With what an earlier run has remembered. What it had begun and not ended has failed.
    pub(in crate::runtime::operations) fn restore(kept: impl IntoIterator<Item = Entry>) -> Self {
        let mut ledger = Self::default();
        for entry in kept {
            let ended = entry.ended.or_else(|| Some(Outcome::Failed(INTERRUPTED.to_owned())));
            ledger.push(Entry { ended, told_on: 0, ..entry });
        }
        ledger
    }

    /// A new connection: what the broker knows is seen anew.
    pub(in crate::runtime::operations) fn connected(&mut self) {
        self.connection += 1;
    }

    /// What is done with a message.
    pub(in crate::runtime::operations) fn judge(&mut self, command: Command) -> Verdict {
        let Command { op, id, state, retained } = command;
        let connection = self.connection;
        let entry = self.entries.iter_mut().find(|entry| *entry.op == *op && *entry.id == *id);
        match (state, entry) {
            (Asked::Init(request), None) => Verdict::Run(request),
            (Asked::Executing, None) if retained => {
                // The broker says that it runs, and nobody here knows of it: the gateway was set up anew.
                let ended = Outcome::Failed(INTERRUPTED.to_owned());
                self.push(Entry { op: op.into(), id, ended: Some(ended.clone()), told_on: connection });
                Verdict::Tell(ended)
            }
            (Asked::Cleared, Some(Entry { ended: Some(_), .. })) => {
                self.entries.retain(|entry| *entry.op != *op || *entry.id != *id);
                Verdict::Ignore
            }
            (Asked::Init(_) | Asked::Executing, Some(Entry { ended: Some(outcome), told_on, .. }))
                if retained && *told_on != connection =>
            {
                *told_on = connection;
                Verdict::Tell(outcome.clone())
            }
            (Asked::Executing | Asked::Cleared, None) | (_, Some(_)) => Verdict::Ignore,
        }
    }

    /// A command begins.
    pub(in crate::runtime::operations) fn begin(&mut self, op: &str, id: &str) {
        self.push(Entry { op: op.into(), id: id.into(), ended: None, told_on: self.connection });
    }

    /// It has ended, and is told on the present connection.
    pub(in crate::runtime::operations) fn end(&mut self, op: &str, id: &str, outcome: &Outcome) {
        let connection = self.connection;
        let entry = self.entries.iter_mut().find(|entry| *entry.op == *op && *entry.id == *id);
        if let Some(entry) = entry {
            entry.ended = Some(shortened(outcome));
            entry.told_on = connection;
        }
    }

    /// What is remembered, oldest first.
    pub(in crate::runtime::operations) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() >= REMEMBERED_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

impl Entry {
    /// What an earlier run has written down.
    pub(in crate::runtime::operations) fn kept(op: Box<str>, id: Box<str>, ended: Option<Outcome>) -> Self {
        Self { op, id, ended, told_on: 0 }
    }
}

/// What is remembered of an end: the word, and a reason of bounded length.
fn shortened(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Successful(_) => Outcome::Successful(Map::<String, Value>::new()),
        Outcome::Failed(reason) => {
            let end = reason.floor_char_boundary(REASON_BYTES_MAX);
            Outcome::Failed(reason.get(..end).unwrap_or_default().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Outcome {
        Outcome::Successful(Map::new())
    }

    fn command(id: &str, state: Asked, retained: bool) -> Command {
        Command { op: "pause", id: id.into(), state, retained }
    }

    fn init(id: &str, retained: bool) -> Command {
        command(id, Asked::Init(Request::default()), retained)
    }

    fn run(ledger: &mut Ledger, id: &str) {
        assert!(matches!(ledger.judge(init(id, false)), Verdict::Run(_)));
        ledger.begin("pause", id);
        assert_eq!(ledger.judge(command(id, Asked::Executing, false)), Verdict::Ignore, "our own echo");
        ledger.end("pause", id, &done());
    }

    #[test]
    fn a_repeated_command_runs_once_and_is_answered_once() {
        let mut ledger = Ledger::default();
        ledger.connected();
        run(&mut ledger, "1");
        for retained in [false, true] {
            assert_eq!(ledger.judge(init("1", retained)), Verdict::Ignore);
            assert_eq!(ledger.judge(command("1", Asked::Executing, retained)), Verdict::Ignore);
        }
        assert!(matches!(ledger.judge(init("2", true)), Verdict::Run(_)));
    }

    #[test]
    fn a_broker_that_missed_the_end_is_told_it_once_on_each_connection() {
        let mut ledger = Ledger::default();
        run(&mut ledger, "1");
        for _ in 0..3 {
            ledger.connected();
            assert_eq!(ledger.judge(command("1", Asked::Executing, true)), Verdict::Tell(done()));
            assert_eq!(ledger.judge(init("1", true)), Verdict::Ignore);
        }
    }

    #[test]
    fn what_was_begun_before_a_restart_has_failed_and_does_not_run_again() {
        let mut before = Ledger::default();
        run(&mut before, "1");
        before.begin("pause", "2");
        let mut ledger = Ledger::restore(before.entries().cloned());
        ledger.connected();
        assert_eq!(ledger.judge(init("1", true)), Verdict::Tell(done()));
        assert_eq!(
            ledger.judge(init("2", false)),
            Verdict::Ignore,
            "the broker repeats what was not acknowledged"
        );
        let failed = Outcome::Failed(INTERRUPTED.to_owned());
        assert_eq!(ledger.judge(command("2", Asked::Executing, true)), Verdict::Tell(failed.clone()));
        assert_eq!(ledger.judge(command("3", Asked::Executing, true)), Verdict::Tell(failed));
        assert_eq!(ledger.judge(command("3", Asked::Executing, false)), Verdict::Ignore, "a stranger's");
    }

    #[test]
    fn an_id_may_be_used_again_when_it_was_cleared_and_memory_is_bounded() {
        let mut ledger = Ledger::default();
        run(&mut ledger, "1");
        assert_eq!(ledger.judge(command("1", Asked::Cleared, false)), Verdict::Ignore);
        run(&mut ledger, "1");
        for id in 0..1_000 {
            run(&mut ledger, &format!("n{id}"));
        }
        assert_eq!(ledger.entries().count(), REMEMBERED_MAX);
        ledger.begin("pause", "long");
        ledger.end("pause", "long", &Outcome::Failed("ä".repeat(1_000)));
        let Some(Outcome::Failed(reason)) = ledger.entries().last().unwrap().ended.clone() else { panic!() };
        assert!(reason.len() <= REASON_BYTES_MAX && reason.chars().all(|letter| letter == 'ä'));
    }
}
