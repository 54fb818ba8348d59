//! One task over many events: how often each label won, when, and the longest unbroken row of each.
//!
//! # Invariants
//! Counts, first and last times do not depend on order. Rows are exact for parts that follow one another in time, however
//! they were split: each part knows how long its first and its last row are. What comes late, between events already
//! counted, counts but neither joins nor breaks a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::EventTime;
use crate::flow::{LabelSummary, TaskSummary};

/// Labels of a task that are told apart. A model's list is closed and far shorter.
pub(crate) const LABELS_MAX: usize = 128;

/// A task being summed up.
#[derive(Default)]
pub(crate) struct TaskTotal {
    labels: BTreeMap<Arc<str>, LabelTotal>,
    edges: Option<Edges>,
}

#[derive(Clone, Copy)]
struct LabelTotal {
    count: u64,
    first: EventTime,
    last: EventTime,
    /// Microseconds.
    longest: i64,
}

/// Both ends of the time covered. Rows in microseconds; no label where several share the instant.
struct Edges {
    from: EventTime,
    to: EventTime,
    head: Option<Arc<str>>,
    lead: i64,
    tail: Option<Arc<str>>,
    trail: i64,
    /// One label all the way.
    whole: bool,
}

impl TaskTotal {
    /// Takes in one event; `false` when there are too many labels.
    pub(crate) fn add(&mut self, label: &Arc<str>, at: EventTime) -> bool {
        let one = LabelTotal { count: 1, first: at, last: at, longest: 0 };
        let known = self.add_label(label, one);
        let edge = Some(Arc::clone(label));
        let edges =
            Edges { from: at, to: at, head: edge.clone(), lead: 0, tail: edge, trail: 0, whole: true };
        self.join(edges);
        known
    }

    /// Takes in a summary; `false` when there are too many labels.
    pub(crate) fn add_summary(&mut self, summary: &TaskSummary) -> bool {
        let mut known = true;
        for label in &summary.labels {
            let (count, longest) = (label.count, micros(label.longest));
            known &= self
                .add_label(&label.label, LabelTotal { count, first: label.first, last: label.last, longest });
        }
        if let Some(edges) = edges_of(summary) {
            self.join(edges);
        }
        known
    }

    /// What is told of it, the label seen first at the head.
    pub(crate) fn summary(&self, task: &Arc<str>) -> TaskSummary {
        let mut labels: Vec<_> = self
            .labels
            .iter()
            .map(|(label, total)| LabelSummary {
                label: Arc::clone(label),
                count: total.count,
                first: total.first,
                last: total.last,
                longest: duration(total.longest),
            })
            .collect();
        // Stable: labels that were first seen at the same instant stay in the order of the alphabet.
        labels.sort_by_key(|label| label.first);
        let (lead, trail) = self.edges.as_ref().map_or((0, 0), |edges| (edges.lead, edges.trail));
        TaskSummary { task: Arc::clone(task), labels, lead: duration(lead), trail: duration(trail) }
    }

    fn add_label(&mut self, label: &Arc<str>, more: LabelTotal) -> bool {
        if let Some(total) = self.labels.get_mut(label) {
            total.count = total.count.saturating_add(more.count);
            total.first = total.first.min(more.first);
            total.last = total.last.max(more.last);
            total.longest = total.longest.max(more.longest);
            return true;
        }
        let room = self.labels.len() < LABELS_MAX;
        if room {
            self.labels.insert(Arc::clone(label), more);
        }
        room
    }

    /// Puts a part before or behind what there is and joins the rows that meet.
    fn join(&mut self, part: Edges) {
        let Some(here) = self.edges.take() else {
            self.edges = Some(part);
            return;
        };
        let (before, behind) = if part.from >= here.to {
            (here, part)
        } else if part.to <= here.from {
            (part, here)
        } else {
            self.set_edges(overlap(&here, &part));
            return;
        };
        let meets = before.tail.is_some() && before.tail == behind.head;
        let met =
            before.trail.saturating_add(behind.from.micros_since(before.to)).saturating_add(behind.lead);
        if let Some(total) =
            before.tail.as_ref().filter(|_| meets).and_then(|label| self.labels.get_mut(label))
        {
            total.longest = total.longest.max(met);
        }
        self.set_edges(Edges {
            from: before.from,
            to: behind.to,
            lead: if meets && before.whole { met } else { before.lead },
            trail: if meets && behind.whole { met } else { behind.trail },
            whole: meets && before.whole && behind.whole,
            head: before.head,
            tail: behind.tail,
        });
    }

    /// One label all the way is one row.
    fn set_edges(&mut self, edges: Edges) {
        if let Some(total) =
            edges.head.as_ref().filter(|_| edges.whole).and_then(|label| self.labels.get_mut(label))
        {
            total.longest = total.longest.max(edges.to.micros_since(edges.from));
        }
        self.edges = Some(edges);
    }
}

/// The ends of two parts that lie within one another: whoever reaches further decides.
fn overlap(one: &Edges, other: &Edges) -> Edges {
    let same = one.whole && other.whole && one.head == other.head;
    let (from, to) = (one.from.min(other.from), one.to.max(other.to));
    let (first, last) = (other.from < one.from, other.to > one.to);
    let (head, lead) = if first { (&other.head, other.lead) } else { (&one.head, one.lead) };
    let (tail, trail) = if last { (&other.tail, other.trail) } else { (&one.tail, one.trail) };
    let all = to.micros_since(from);
    Edges {
        from,
        to,
        head: head.clone(),
        lead: if same { all } else { lead },
        tail: tail.clone(),
        trail: if same { all } else { trail },
        whole: same,
    }
}

/// The ends of a summary, from what it tells of its labels.
fn edges_of(summary: &TaskSummary) -> Option<Edges> {
    let from = summary.labels.iter().map(|label| label.first).min()?;
    let to = summary.labels.iter().map(|label| label.last).max()?;
    let only = |mut found: Vec<&LabelSummary>| {
        let label = found.pop().map(|label| Arc::clone(&label.label));
        label.filter(|_| found.is_empty())
    };
    Some(Edges {
        from,
        to,
        head: only(summary.labels.iter().filter(|label| label.first == from).collect()),
        lead: micros(summary.lead),
        tail: only(summary.labels.iter().filter(|label| label.last == to).collect()),
        trail: micros(summary.trail),
        whole: summary.labels.len() == 1,
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: [&str; 3] = ["none", "weak", "severe"];

    fn total_of(events: &[(usize, i64)]) -> TaskTotal {
        let mut total = TaskTotal::default();
        for (label, at) in events {
            assert!(total.add(&Arc::from(LABELS[*label]), EventTime(*at)));
        }
        total
    }

    fn summary_of(events: &[(usize, i64)]) -> TaskSummary {
        total_of(events).summary(&"leak".into())
    }

    /// The same from the definition.
    fn naive(events: &[(usize, i64)]) -> Vec<(String, u64, i64, i64, u128)> {
        let mut told = Vec::new();
        for (index, name) in LABELS.iter().enumerate() {
            let times: Vec<_> = events.iter().filter(|event| event.0 == index).map(|event| event.1).collect();
            let rows = events.chunk_by(|one, next| one.0 == next.0).filter(|row| row[0].0 == index);
            let longest = rows.map(|row| row[row.len() - 1].1 - row[0].1).max();
            if let (Some(first), Some(last), Some(longest)) = (times.first(), times.last(), longest) {
                let longest = u128::from(longest.unsigned_abs());
                told.push((name.to_string(), times.len() as u64, *first, *last, longest));
            }
        }
        told.sort_by_key(|label| label.2);
        told
    }

    fn told(summary: &TaskSummary) -> Vec<(String, u64, i64, i64, u128)> {
        let label = |label: &LabelSummary| {
            (label.label.to_string(), label.count, label.first.0, label.last.0, label.longest.as_micros())
        };
        summary.labels.iter().map(label).collect()
    }

    /// Events with times that rise, labels that stay for a while.
    fn events() -> impl Strategy<Value = Vec<(usize, i64)>> {
        let row = (0_usize..3, prop::collection::vec(1_i64..1_000_000, 1..6));
        prop::collection::vec(row, 1..12).prop_map(|rows| {
            let mut at = 0;
            let mut events = Vec::new();
            for (label, steps) in rows {
                events.extend(steps.into_iter().map(|step| {
                    at += step;
                    (label, at)
                }));
            }
            events
        })
    }

    proptest! {
        #[test]
        fn neighbours_merged_in_any_order_tell_what_the_events_tell(
            events in events(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8), seed in any::<u64>(),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(events.len())).collect();
            cuts.extend([0, events.len()]);
            cuts.sort_unstable();
            let mut parts: Vec<_> = cuts.windows(2).map(|cut| &events[cut[0]..cut[1]])
                .filter(|part| !part.is_empty()).map(summary_of).collect();
            let mut random = fastrand::Rng::with_seed(seed);
            while parts.len() > 1 {
                let left = random.usize(..parts.len() - 1);
                let (one, other) = (parts.remove(left), parts.remove(left));
                let mut both = TaskTotal::default();
                // Whichever comes first.
                let (one, other) = if random.bool() { (one, other) } else { (other, one) };
                both.add_summary(&one);
                both.add_summary(&other);
                parts.insert(left, both.summary(&"leak".into()));
            }
            prop_assert_eq!(told(&parts[0]), naive(&events));
            prop_assert_eq!(&parts[0], &summary_of(&events));
        }

        #[test]
        fn counts_and_times_do_not_depend_on_order(events in events(), seed in any::<u64>()) {
            let mut shuffled = events.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let without_rows = |events: &[(usize, i64)]| -> Vec<_> {
                let told = told(&summary_of(events));
                told.into_iter().map(|(label, count, first, last, _)| (label, count, first, last)).collect()
            };
            prop_assert_eq!(without_rows(&shuffled), without_rows(&events));
        }
    }

    #[test]
    fn a_planted_bug_is_seen_rows_that_forget_their_edges() {
        let events = [(0, 0), (2, 10), (2, 20), (2, 30), (2, 40), (0, 50)];
        let mut both = TaskTotal::default();
        for part in [&events[..3], &events[3..]] {
            // As a summary without `lead` and `trail` would be.
            let (lead, trail) = (Duration::ZERO, Duration::ZERO);
            both.add_summary(&TaskSummary { lead, trail, ..summary_of(part) });
        }
        assert_ne!(told(&both.summary(&"leak".into())), naive(&events));
    }

    #[test]
    fn labels_beyond_the_limit_are_not_told() {
        let mut total = TaskTotal::default();
        let known = (0..200).filter(|label| total.add(&label.to_string().into(), EventTime(*label))).count();
        assert_eq!((known, total.summary(&"leak".into()).labels.len()), (LABELS_MAX, LABELS_MAX));
    }
}
