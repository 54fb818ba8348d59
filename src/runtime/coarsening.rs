//! Old records of the outbox, drawn together: decode, merge, through the door, encode.
//!
//! # Invariants
//! No record disappears: what cannot be read, may not leave any more or cannot be written is told as a gap, in the same
//! instant in which it gives way.

use crate::clock::{ClockQuality, EventTime};
use crate::distill::{Aim, CoarsenCounts, Coarsener, Drawn, Gap};
use crate::egress::{self, Door};
use crate::flow::{Facts, GapReason, Outbound, Priority, TimeSpan, When};
use crate::outbox::Coarsen;
use crate::runtime::summary_ids::SummaryIds;
use crate::wire::{decode_record, encode_record};

/// What should be left of the bytes of a segment: a quarter, as long as hours are fine enough for that. With more, the
/// same bytes would be written again and again to free little.
const HOURS_DIVISOR: usize = 4;

/// What hours may leave before they become days: half, the most with which the outbox calls it a gain.
const DAYS_DIVISOR: usize = 2;

/// Bytes the outbox adds to a record: the header of a frame.
const FRAME_BYTES: usize = 24;

/// Draws the records of one lane after another together.
pub struct Coarsening {
    door: Door,
    ids: SummaryIds,
    lane: Priority,
    coarsener: Coarsener,
    /// Bytes taken since the last time something was handed out.
    taken: usize,
    counts: CoarseningCounts,
    scratch: Vec<u8>,
}

/// What it met with since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoarseningCounts {
    /// Records that could not be read.
    pub undecodable: u64,
    /// Events whose summary was refused by the door or was too long for a record.
    pub refused: u64,
    /// What the merging met with.
    pub merged: CoarsenCounts,
}

impl Coarsening {
    /// Starts with the door that the events have passed before.
    pub fn new(door: Door, ids: SummaryIds) -> Self {
        Self {
            door,
            ids,
            lane: Priority::Normal,
            coarsener: Coarsener::default(),
            taken: 0,
            counts: CoarseningCounts::default(),
            scratch: Vec::new(),
        }
    }

    /// The same for a lane: the one from which records come next.
    pub fn on(&mut self, lane: Priority) -> &mut Self {
        self.lane = lane;
        self
    }

    /// The ids it takes from, for whoever tells of gaps.
    pub fn ids(&mut self) -> &mut SummaryIds {
        &mut self.ids
    }

    /// What it met with since the start.
    pub fn counts(&self) -> CoarseningCounts {
        CoarseningCounts { merged: self.coarsener.counts(), ..self.counts }
    }

    /// Writes an event into the scratch space; `false` when it is too long for a record.
    fn encode(&mut self, event: &Outbound) -> bool {
        self.scratch.clear();
        encode_record(event, &mut self.scratch).is_ok()
    }

    /// Hands out a summary; the gap in its place when that cannot be.
    fn emit_summary(
        &mut self,
        mut facts: Facts,
        at: EventTime,
        emit: &mut dyn FnMut(&[u8], EventTime),
    ) -> Option<Gap> {
        facts.id = self.ids.take();
        if let Ok(summary) = self.door.pass_summary(&facts)
            && self.encode(&summary)
        {
            emit(&self.scratch, at);
            return None;
        }
        let events = facts.summary.as_ref().map_or(1, |summary| summary.events);
        self.counts.refused = self.counts.refused.saturating_add(events);
        let span = match facts.when {
            When::Span(span) => span,
            When::At(at) => TimeSpan { from: at, to: at },
        };
        let (lane, reason, clock) = (facts.priority, GapReason::Undeliverable, facts.clock);
        Some(Gap { lane, reason, events, span, clock, at })
    }

    fn emit_gap(&mut self, gap: Gap, emit: &mut dyn FnMut(&[u8], EventTime)) {
        let event = egress::gap(self.ids.take(), gap.lane, gap.reason, gap.events, gap.span, gap.clock);
        // Closed words and numbers only: it always fits.
        if self.encode(&event) {
            emit(&self.scratch, gap.at);
        }
    }
}

impl Coarsen for Coarsening {
    fn take(&mut self, payload: &[u8], at: EventTime) {
        self.taken += payload.len() + FRAME_BYTES;
        match decode_record(payload) {
            Ok(event) => self.coarsener.take(event.facts(), payload, at),
            Err(_unreadable) => {
                self.counts.undecodable += 1;
                let span = TimeSpan { from: at, to: at };
                let (reason, clock) = (GapReason::Undeliverable, ClockQuality::Unknown);
                self.coarsener.lose(Gap { lane: self.lane, reason, events: 1, span, clock, at });
            }
        }
    }

    fn finish(&mut self, emit: &mut dyn FnMut(&[u8], EventTime)) {
        let taken = std::mem::take(&mut self.taken);
        let aim = Aim { hours: taken / HOURS_DIVISOR, days: taken / DAYS_DIVISOR };
        let door = &self.door;
        let weigh = |facts: &Facts| {
            let mut bytes = Vec::new();
            // What cannot be written becomes part of a gap and takes no room of its own.
            let written = door.pass_summary(facts).is_ok_and(|it| encode_record(&it, &mut bytes).is_ok());
            if written { bytes.len() + FRAME_BYTES } else { 0 }
        };
        let mut drawn = self.coarsener.finish(aim, FRAME_BYTES, weigh);
        while !drawn.is_empty() {
            for drawn in std::mem::take(&mut drawn) {
                let refused = match drawn {
                    Drawn::Summary(facts, at) => self.emit_summary(facts, at, emit),
                    Drawn::Original(original) => {
                        emit(&original.record, original.at);
                        None
                    }
                    Drawn::Gap(gap) => {
                        self.emit_gap(gap, emit);
                        None
                    }
                };
                if let Some(gap) = refused {
                    self.coarsener.lose(gap);
                }
            }
            // What was refused on the way: gaps only, so that this ends.
            drawn = self.coarsener.finish(aim, FRAME_BYTES, |_| 0);
        }
    }
}
