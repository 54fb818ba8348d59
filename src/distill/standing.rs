//! The standing state of one source: what counts now, what is waiting out its dwell, which alarm stands.

use std::sync::Arc;

use crate::clock::EventTime;
use crate::distill::config::TaskNames;
use crate::flow::{Change, Judgement, Verdict};

/// How much longer than the one before a step of event time may be and still count in full.
///
/// A step that is longer is a gap or a jump of the clock: the label was not watched meanwhile.
const STEP_GROWTH_MAX: i64 = 2;

/// How long labels must persist, in microseconds of event time.
#[derive(Clone, Copy)]
pub(crate) struct Dwell {
    pub(crate) change: i64,
    pub(crate) clear: i64,
}

/// What one judgement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) change: Change,
    /// The set of labels that raise the alarm differs from before.
    pub(crate) alarm_changed: bool,
}

/// State of one source, one entry per task.
pub(crate) struct Standing {
    tasks: Vec<TaskState>,
    pace: Pace,
    /// Event time of the last event that was sent upstream.
    pub(crate) sent: Option<EventTime>,
}

#[derive(Clone, Default)]
struct TaskState {
    label: Option<u16>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy)]
struct Pending {
    label: u16,
    /// Event time for which it has been watched, in microseconds.
    held: i64,
}

/// Progress of the source's event time, with steps back and jumps taken out.
#[derive(Default)]
struct Pace {
    last: Option<EventTime>,
    /// The step before; `None` at the start and after a step back.
    step: Option<i64>,
}

impl Standing {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { tasks: vec![TaskState::default(); tasks], pace: Pace::default(), sent: None }
    }

    /// Takes in the judgements of one window. Only accepted ones count; others neither confirm nor deny.
    pub(crate) fn observe(
        &mut self,
        at: EventTime,
        judgements: &[Judgement],
        names: &[TaskNames],
        dwell: Dwell,
    ) -> Observed {
        let step = self.pace.advance(at);
        let stood = self.has_alarm(names);
        let (mut adopted, mut alarm_changed) = (false, false);
        for ((state, judgement), task) in self.tasks.iter_mut().zip(judgements).zip(names) {
            if judgement.verdict != Verdict::Accepted {
                continue;
            }
            let before = state.label;
            if state.observe(judgement.label, step, task, dwell) {
                adopted = true;
                alarm_changed |=
                    task.alarms(judgement.label) || before.is_some_and(|label| task.alarms(label));
            }
        }
        let change = if stood && !self.has_alarm(names) {
            Change::Cleared
        } else if adopted {
            Change::New
        } else if self.is_pending() {
            Change::Pending
        } else {
            Change::Same
        };
        Observed { change, alarm_changed }
    }

    /// The labels that raise the standing alarm; `None` when there is none.
    pub(crate) fn alarm(&self, names: &[TaskNames]) -> Option<Vec<Arc<str>>> {
        if !self.has_alarm(names) {
            return None;
        }
        let standing = self.tasks.iter().zip(names);
        let raised = standing.filter_map(|(state, task)| {
            let label = state.label.filter(|label| task.alarms(*label))?;
            task.labels.get(usize::from(label)).cloned()
        });
        Some(raised.collect())
    }

    fn has_alarm(&self, names: &[TaskNames]) -> bool {
        let mut standing = self.tasks.iter().zip(names);
        standing.any(|(state, task)| state.label.is_some_and(|label| task.alarms(label)))
    }

    /// Whether something waits out its dwell, or nothing has counted yet.
    fn is_pending(&self) -> bool {
        self.tasks.iter().any(|state| state.pending.is_some())
            || self.tasks.iter().all(|state| state.label.is_none())
    }
}

impl TaskState {
    /// Takes in an accepted label; `true` when it became the standing one by that.
    fn observe(&mut self, label: u16, step: i64, task: &TaskNames, dwell: Dwell) -> bool {
        let Some(standing) = self.label else {
            self.label = Some(label);
            return true;
        };
        if label == standing {
            self.pending = None;
            return false;
        }
        let (alarmed, alarms) = (task.alarms(standing), task.alarms(label));
        let held = match self.pending {
            // Among labels on the other side of the alarm the side persists, whichever label shows it.
            Some(pending)
                if pending.label == label || (alarms != alarmed && task.alarms(pending.label) == alarms) =>
            {
                pending.held.saturating_add(step)
            }
            Some(_) | None => 0,
        };
        let needed = if alarmed && !alarms { dwell.clear } else { dwell.change };
        if held < needed {
            self.pending = Some(Pending { label, held });
            return false;
        }
        self.pending = None;
        self.label = Some(label);
        true
    }
}

impl Pace {
    /// Microseconds of event time that have passed since the last call and can be believed.
    fn advance(&mut self, at: EventTime) -> i64 {
        let Some(last) = self.last.replace(at) else { return 0 };
        match at.micros_since(last) {
            0 => 0,
            step if step < 0 => {
                self.step = None;
                0
            }
            step => match self.step.replace(step) {
                Some(before) => step.min(before.saturating_mul(STEP_GROWTH_MAX)),
                None => 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs windows of one task with labels 0, 1 (normal), 2, 3 (alarm); '?' is an uncertain answer.
    /// Written as `label@second`; gives the change of each window with '!' where the alarm changed.
    fn check(dwell_s: i64, clear_s: i64, windows: &str, expected: &str) {
        let task = TaskNames {
            task: "".into(),
            labels: ["a", "b", "c", "d"].map(Arc::from).to_vec(),
            alarm: vec![2, 3],
        };
        let names = [task];
        let mut standing = Standing::new(1);
        let dwell = Dwell { change: dwell_s * 1_000_000, clear: clear_s * 1_000_000 };
        let mut got = Vec::new();
        for window in windows.split_whitespace() {
            let (label, second) = window.split_once('@').unwrap();
            let verdict = if label == "?" { Verdict::Uncertain } else { Verdict::Accepted };
            let label = label.parse().unwrap_or(1);
            let judgement = Judgement { label, score: 1.0, scores: vec![], verdict };
            let at = EventTime(second.parse::<i64>().unwrap() * 1_000_000);
            let seen = standing.observe(at, &[judgement], &names, dwell);
            got.push(format!("{}{}", seen.change.as_str(), if seen.alarm_changed { "!" } else { "" }));
        }
        assert_eq!(got.join(" "), expected, "{windows}");
    }

    #[test]
    fn a_change_counts_only_after_the_full_dwell() {
        check(2, 2, "0@0 0@1 1@2 1@3 1@4 1@5", "new same pending pending new same");
        check(2, 2, "0@0 0@1 1@2 1@3 0@4 1@5 1@6 1@7", "new same pending pending same pending pending new");
        check(0, 0, "0@0 1@1 0@2", "new new new");
    }

    #[test]
    fn uncertain_answers_neither_confirm_nor_deny() {
        check(2, 2, "?@0 ?@1 0@2 ?@3", "pending pending new same");
        check(2, 2, "0@0 0@1 1@2 ?@3 1@4 1@5", "new same pending pending pending new");
    }

    #[test]
    fn an_alarm_is_raised_after_the_dwell_and_ends_after_its_own() {
        check(
            1,
            3,
            "0@0 0@1 2@2 2@3 0@4 0@5 0@6 0@7",
            "new same pending new! pending pending pending cleared!",
        );
        check(1, 3, "2@0 2@1 0@2 2@3 0@4", "new! same pending same pending");
    }

    #[test]
    fn labels_on_the_same_side_of_the_alarm_share_its_dwell() {
        check(2, 2, "2@0 2@1 0@2 1@3 0@4", "new! same pending pending cleared!");
        check(2, 2, "0@0 0@1 2@2 3@3 2@4", "new same pending pending new!");
        check(2, 2, "0@0 0@1 2@2 1@3 2@4 2@5", "new same pending pending pending pending");
    }

    #[test]
    fn another_alarm_label_changes_the_alarm_without_clearing_it() {
        check(1, 1, "2@0 2@1 3@2 3@3 0@4 0@5", "new! same pending new! pending cleared!");
    }

    #[test]
    fn neither_a_step_back_nor_a_jump_ahead_shortens_the_dwell() {
        check(10, 10, "0@0 0@1 1@2 1@9000 1@9001", "new same pending pending pending");
        check(
            10,
            10,
            "0@100 0@101 1@102 1@50 1@103 1@50 1@103",
            "new same pending pending pending pending pending",
        );
        check(2, 2, "0@100 0@101 1@102 1@50 1@51 1@52 1@53", "new same pending pending pending pending new");
        let (first, last) = (i64::MIN / 1_000_000, i64::MAX / 1_000_000);
        check(10, 10, &format!("0@0 0@1 1@{last} 1@{first} 1@{last}"), "new same pending pending pending");
    }
}
