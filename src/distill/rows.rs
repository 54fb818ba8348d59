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
            self.set_edges(overlap(here, part));
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
fn overlap(one: Edges, other: Edges) -> Edges {
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
