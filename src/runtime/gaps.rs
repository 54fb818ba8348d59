//! Tells upstream of what was lost: an event like any other, on the lane that lost it.
//!
//! # Invariants
//! At most one such event per lane and minute, so that losing costs little of what is left.

use std::time::Duration;

use crate::clock::{EventTime, Uptime, UtcTime};
use crate::egress::gap;
use crate::flow::{GapReason, Outbound, Priority, TimeSpan};
use crate::outbox::{Gap, Lane};
use crate::runtime::summary_ids::SummaryIds;

/// A lane that loses goes on losing: its losses of a minute are told together.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// When each lane was last told of.
#[derive(Debug, Default)]
pub(in crate::runtime) struct GapTeller {
    told: [Option<Uptime>; 3],
}

/// An event to be stored, and what it tells.
pub(in crate::runtime) struct Telling {
    pub(in crate::runtime) event: Outbound,
    /// By reason, in the order of the outbox.
    pub(in crate::runtime) counts: [u64; 4],
}

impl GapTeller {
    /// Whether a lane may be told of now.
    pub(in crate::runtime) fn is_due(&self, lane: Lane, now: Uptime) -> bool {
        let told = self.told.get(lane as usize).copied().flatten();
        told.is_none_or(|told| now.since(told) >= TELL_EVERY)
    }

    /// The event for the reason with the most losses that are not told; the others have their turn a minute later.
    pub(in crate::runtime) fn tell(
        &mut self,
        (lane, untold): (Lane, &Gap),
        ids: &mut SummaryIds,
        (now, wall): (Uptime, UtcTime),
    ) -> Option<Telling> {
        let reasons = GapReason::ALL.into_iter().zip(untold.counts).zip(untold.spans);
        let ((reason, count), span) = reasons.max_by_key(|((_, count), _)| *count)?;
        if count == 0 {
            return None;
        }
        if let Some(told) = self.told.get_mut(lane as usize) {
            *told = Some(now);
        }
        let here = EventTime::from(wall);
        let (from, to) = span.unwrap_or((here, here));
        let event = gap(ids.take(), priority(lane), reason, count, TimeSpan { from, to }, wall.quality);
        let counts = GapReason::ALL.map(|other| if other == reason { count } else { 0 });
        Some(Telling { event, counts })
    }
}

/// The priority whose events go through a lane.
pub(in crate::runtime) fn priority(lane: Lane) -> Priority {
    match lane {
        Lane::Alarm => Priority::Alarm,
        Lane::Normal => Priority::Normal,
        Lane::Bulk => Priority::Bulk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockQuality;
    use crate::flow::{Grain, When};

    #[test]
    fn the_greatest_loss_of_a_lane_is_told_first_and_the_others_a_minute_later() {
        let (mut teller, mut ids) = (GapTeller::default(), SummaryIds::new(7));
        let at = |seconds| Uptime::ZERO.after(Duration::from_secs(seconds));
        let wall = UtcTime { micros: 1_800_000_000_000_000, quality: ClockQuality::Synced };
        let span = (EventTime(1_700_000_000_000_000), EventTime(1_700_000_060_000_000));
        let mut untold = Gap { counts: [5, 9, 0, 0], spans: [Some(span), None, None, None] };
        let mut told = Vec::new();
        for second in 0..=120 {
            if !teller.is_due(Lane::Bulk, at(second)) {
                continue;
            }
            let telling = teller.tell((Lane::Bulk, &untold), &mut ids, (at(second), wall));
            let Some(Telling { event, counts }) = telling else { continue };
            for (left, count) in untold.counts.iter_mut().zip(counts) {
                *left -= count;
            }
            let facts = event.facts();
            let Some(summary) = &facts.summary else { panic!("a gap has a summary") };
            told.push((second, summary.grain, summary.events, facts.when, &*facts.stream == "bulk"));
        }
        let span = TimeSpan { from: span.0, to: span.1 };
        let now = TimeSpan { from: EventTime(wall.micros), to: EventTime(wall.micros) };
        assert_eq!(
            told,
            [
                (0, Grain::Gap(GapReason::Expired), 9, When::Span(now), true),
                (60, Grain::Gap(GapReason::Full), 5, When::Span(span), true),
            ]
        );
        assert!(teller.is_due(Lane::Alarm, at(61)) && untold.is_empty());
    }
}
