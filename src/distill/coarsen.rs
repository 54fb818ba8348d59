//! Draws stored events together into summaries, and summaries into coarser ones, until little is left of them.
//!
//! # Invariants
//! Events in = sum of the events of what is handed out, gaps and records that stay as they are included. What is handed
//! out depends on the events only, and its order too. Memory does not grow with the number of events: at most
//! [`OPEN_MAX`] groups with sketches and [`GROUPS_MAX`] at rest.

use std::collections::BTreeMap;

use crate::clock::{ClockQuality, EventTime};
use crate::distill::bucket::{bucket, coarser};
use crate::distill::group::{Closed, Group, Key, Original, Untold, begin, worse};
use crate::flow::{Facts, GapReason, Grain, Priority, TimeSpan, When};

/// Groups that events are being added to. Records come in the order they were stored, so it is one per stream, and a few
/// for stragglers. A group has about 1 KiB for each feature; the one not used for longest is put to rest.
pub const OPEN_MAX: usize = 32;

/// Groups at rest: those of a megabyte of events, ten to a group; about 500 bytes each, 2 KiB at most with what is kept
/// as it came. Where more are needed, all are drawn together one grain coarser at once.
pub const GROUPS_MAX: usize = 2048;

/// Memory that all of this takes at most with models of a few tasks and a dozen features: the groups, and what is handed
/// out of them, which is there beside them for a moment.
pub const COARSENING_BYTES_MAX: usize = OPEN_MAX * (16 << 10) + 2 * GROUPS_MAX * (2 << 10);

/// How many times shorter than its records a summary must be to take their place.
const SAVED_MIN: usize = 2;

/// Gaps kept apart by day. More are told as one for each reason.
const GAPS_MAX: usize = 256;

/// Takes stored events, hands out what stands for them.
#[derive(Default)]
pub struct Coarsener {
    /// The last used at the end.
    open: Vec<(Key, Group)>,
    closed: BTreeMap<Key, Closed>,
    gaps: BTreeMap<(Priority, GapReason, EventTime), Gap>,
    counts: CoarsenCounts,
}

/// What coarsening met with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoarsenCounts {
    /// Events taken in, those of summaries and gaps included.
    pub events: u64,
    /// Times all groups were made coarser for want of room, see [`GROUPS_MAX`].
    pub hurried: u64,
    /// Events lost because even days were too many; told as a gap.
    pub overflowed: u64,
    /// Names and labels beyond those that are told apart.
    pub untold_names: u64,
    /// Sketches that could not be read: their values count as their mean.
    pub unreadable_sketches: u64,
}

/// Lost events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lane they were on.
    pub lane: Priority,
    /// Why.
    pub reason: GapReason,
    /// How many.
    pub events: u64,
    /// From the first to the last, as far as it is known.
    pub span: TimeSpan,
    /// What was known of the clock.
    pub clock: ClockQuality,
    /// Its time in the outbox.
    pub at: EventTime,
}

/// How little is to be left, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// More than this: ten minutes are drawn together to hours.
    pub hours: usize,
    /// More than this: hours are drawn together to days. No less than `hours`: the detail of hours is worth more space.
    pub days: usize,
}

/// What is handed out.
#[derive(Clone, Debug)]
pub enum Drawn {
    /// A summary. It has no id yet and has still to pass the door.
    Summary(Facts, EventTime),
    /// A record that stays as it was: a summary would hardly be shorter.
    Original(Original),
    /// Lost events.
    Gap(Gap),
}

impl Coarsener {
    /// Takes in a stored event with its record, which may stay as it is.
    pub fn take(&mut self, facts: &Facts, record: &[u8], at: EventTime) {
        if let Some((summary, Grain::Gap(reason))) =
            facts.summary.as_ref().map(|summary| (summary, summary.grain))
        {
            let span = match facts.when {
                When::Span(span) => span,
                When::At(at) => TimeSpan { from: at, to: at },
            };
            let (lane, clock, events) = (facts.priority, facts.clock, summary.events);
            self.lose(Gap { lane, reason, events, span, clock, at });
            return;
        }
        let events = facts.summary.as_ref().map_or(1, |summary| summary.events);
        let key = Key::of(facts);
        if !self.make_room(&key) {
            self.counts.overflowed = self.counts.overflowed.saturating_add(events);
            let begin = begin(facts.when);
            let span = TimeSpan { from: begin, to: begin };
            let (lane, reason, clock) = (facts.priority, GapReason::Full, facts.clock);
            self.lose(Gap { lane, reason, events, span, clock, at });
            return;
        }
        self.counts.events = self.counts.events.saturating_add(events);
        let mut group = self.group(&key);
        let untold = group.add(facts, record, at);
        self.counts.note(untold);
        self.open.push((key, group));
    }

    /// Takes in lost events; those of one day, lane and reason add up.
    pub fn lose(&mut self, gap: Gap) {
        self.counts.events = self.counts.events.saturating_add(gap.events);
        let day = if self.gaps.len() < GAPS_MAX {
            bucket(Grain::Day, gap.span.from).from
        } else {
            EventTime(i64::MIN)
        };
        let sum = self.gaps.entry((gap.lane, gap.reason, day)).or_insert(Gap { events: 0, ..gap });
        sum.events = sum.events.saturating_add(gap.events);
        sum.span.from = sum.span.from.min(gap.span.from);
        sum.span.to = sum.span.to.max(gap.span.to);
        sum.clock = worse(sum.clock, gap.clock);
        sum.at = sum.at.max(gap.at);
    }

    /// Hands out what stands for all that was taken in, and is empty again. Oldest first, ten minutes become hours until
    /// it takes no more than `aim.hours` bytes, then hours become days until it takes no more than `aim.days`, if that can
    /// be; `weigh` says how many a summary takes, `overhead` what is added to the bytes of a record that stays as it is.
    pub fn finish(&mut self, aim: Aim, overhead: usize, weigh: impl Fn(&Facts) -> usize) -> Vec<Drawn> {
        for (key, group) in std::mem::take(&mut self.open) {
            self.rest(key, group);
        }
        let size = |(key, closed): (&Key, &Closed)| {
            let summary = weigh(&key.facts(closed));
            stays(closed, overhead, || summary).unwrap_or(summary)
        };
        let mut sizes: BTreeMap<Key, usize> =
            self.closed.iter().map(|entry| (entry.0.clone(), size(entry))).collect();
        let mut total: usize = sizes.values().sum();
        let steps = [(Grain::TenMinutes, Grain::Hour, aim.hours), (Grain::Hour, Grain::Day, aim.days)];
        for (grain, next, enough) in steps {
            while total > enough
                && let Some(oldest) = self.closed.keys().find(|key| key.grain == grain)
            {
                let from = bucket(next, oldest.from).from;
                let fine = |key: &Key| key.grain == grain && bucket(next, key.from).from == from;
                sizes.retain(|key, _| !fine(key));
                for key in self.draw(grain, next, from) {
                    if let Some(closed) = self.closed.get(&key) {
                        sizes.insert(key.clone(), size((&key, closed)));
                    }
                }
                total = sizes.values().sum();
            }
        }
        self.hand_out(overhead, weigh)
    }

    /// What it met with since the beginning.
    pub fn counts(&self) -> CoarsenCounts {
        self.counts
    }

    fn hand_out(&mut self, overhead: usize, weigh: impl Fn(&Facts) -> usize) -> Vec<Drawn> {
        let mut closed: Vec<_> = std::mem::take(&mut self.closed).into_iter().collect();
        // By time and not by grain; what shares a time stays in the order of the keys.
        closed.sort_by_key(|(key, _)| key.from);
        let mut drawn = Vec::new();
        for (key, closed) in closed {
            let facts = key.facts(&closed);
            match stays(&closed, overhead, || weigh(&facts)) {
                Some(_bytes) => drawn.extend(closed.originals.into_iter().flatten().map(Drawn::Original)),
                None => drawn.push(Drawn::Summary(facts, closed.at)),
            }
        }
        drawn.extend(std::mem::take(&mut self.gaps).into_values().map(Drawn::Gap));
        drawn
    }

    /// Takes the group of a key out of those that are open or at rest, or makes it.
    fn group(&mut self, key: &Key) -> Group {
        if let Some(place) = self.open.iter().position(|(open, _)| open == key) {
            return self.open.remove(place).1;
        }
        if self.open.len() >= OPEN_MAX {
            let (longest, group) = self.open.remove(0);
            self.rest(longest, group);
        }
        let mut group = Group::default();
        if let Some(closed) = self.closed.remove(key) {
            let untold = group.absorb(closed);
            self.counts.note(untold);
        }
        group
    }

    fn rest(&mut self, key: Key, group: Group) {
        let closed = group.close(key.grain);
        self.closed.insert(key, closed);
    }

    /// Room for a group; `false` when even drawing everything together makes none.
    fn make_room(&mut self, key: &Key) -> bool {
        let full = |here: &Self| here.open.len() + here.closed.len() >= GROUPS_MAX;
        if !full(self) || self.closed.contains_key(key) || self.open.iter().any(|(open, _)| open == key) {
            return true;
        }
        for (key, group) in std::mem::take(&mut self.open) {
            self.rest(key, group);
        }
        for grain in [Grain::TenMinutes, Grain::Hour] {
            let Some(next) = coarser(grain).filter(|_| full(self)) else { continue };
            self.counts.hurried += 1;
            while let Some(oldest) = self.closed.keys().find(|key| key.grain == grain) {
                let from = bucket(next, oldest.from).from;
                self.draw(grain, next, from);
            }
        }
        !full(self)
    }

    /// Draws the groups of a grain in one bucket of the next together, and gives the keys of what comes of it.
    fn draw(&mut self, grain: Grain, next: Grain, from: EventTime) -> Vec<Key> {
        let fine = |key: &Key| key.grain == grain && bucket(next, key.from).from == from;
        let fine: Vec<Key> = self.closed.keys().filter(|key| fine(key)).cloned().collect();
        let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
        for key in fine {
            let Some(closed) = self.closed.remove(&key) else { continue };
            let wide = key.within(next);
            let group = groups.entry(wide.clone()).or_default();
            let there = self.closed.remove(&wide);
            for closed in there.into_iter().chain([closed]) {
                let untold = group.absorb(closed);
                self.counts.note(untold);
            }
        }
        let keys = groups.keys().cloned().collect();
        for (key, group) in groups {
            self.rest(key, group);
        }
        keys
    }
}

impl CoarsenCounts {
    fn note(&mut self, untold: Untold) {
        self.untold_names += untold.names;
        self.unreadable_sketches += untold.sketches;
    }
}

/// Bytes of a group's records as they came, if they are all there and a summary would save too little: a single report
/// says more than a summary of it.
fn stays(closed: &Closed, overhead: usize, summary: impl FnOnce() -> usize) -> Option<usize> {
    let originals = closed.originals.as_ref()?;
    let bytes = originals.iter().map(|original| original.record.len() + overhead).sum();
    (bytes <= summary().saturating_mul(SAVED_MIN)).then_some(bytes)
}
