//! Makes room in the outbox by drawing old events together, before anything has to be dropped.
//!
//! # Invariants
//! Alarms stay as they are. What is on its way upstream is not drawn together: it would arrive and be told again.

use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use crate::clock::Uptime;
use crate::flow::Budget;
use crate::outbox::{Coarsened, Disk, Lane, Outbox, OutboxError, Record, Seq, WhenFull};
use crate::runtime::coarsening::Coarsening;
use crate::runtime::gaps::priority;
use crate::runtime::summary_ids::SummaryIds;
use crate::telemetry::{Metric, Metrics};

/// Room is made when less than one part in this many of the space is free: enough for what comes in while a segment is
/// drawn together, and for what comes of it.
const FREE_DIVISOR: u64 = 8;

/// A record that was handed out so long ago is not on its way any more: no link takes longer to acknowledge a batch, and
/// a new connection starts anew.
const IN_FLIGHT_FOR: Duration = Duration::from_mins(15);

/// Stretches of records remembered as on their way, for each lane: neighbours count as one, so that two would do for
/// backlog and live; more are joined, which protects more than it must.
const IN_FLIGHT_MAX: usize = 16;

/// After a try in vain the next one waits: it asks the disk, and nothing new is sealed meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Without a round for so long it counts as over, and the next one is logged.
const OVER_AFTER: Duration = Duration::from_hours(6);

/// While flash is to be spared room is made only when less than one part in this many is free: then events would be lost,
/// which is worse than the risk.
const SPARING_DIVISOR: u64 = 64;

/// Makes room, one segment at a time.
pub struct Room {
    /// Says whether flash is to be spared; `None`: never.
    budget: Option<watch::Receiver<Budget>>,
    /// Whether room is due and waits for a better supply.
    waits: bool,
    /// How often that has begun.
    deferred: u64,
    merger: Coarsening,
    /// By lane, most urgent first.
    in_flight: [Vec<Handed>; 3],
    drawn_at: Option<Uptime>,
    in_vain: Option<Uptime>,
    rounds: u64,
}

/// Records that were handed out to be sent.
#[derive(Clone, Copy)]
struct Handed {
    from: Seq,
    upto: Seq,
    at: Uptime,
}

impl Room {
    /// Makes room with this merger.
    pub fn new(merger: Coarsening) -> Self {
        Self {
            budget: None,
            waits: false,
            deferred: 0,
            merger,
            in_flight: Default::default(),
            drawn_at: None,
            in_vain: None,
            rounds: 0,
        }
    }

    /// The same, putting work off while the budget says that flash is to be spared.
    #[must_use]
    pub(in crate::runtime) fn sparing(self, budget: watch::Receiver<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Whether room that is due waits for a better supply.
    fn puts_off(&mut self, used: u64, size_max: u64) -> bool {
        let spares = self.budget.as_ref().is_some_and(|budget| budget.borrow().spare_flash);
        let waits = spares && used <= size_max - size_max / SPARING_DIVISOR;
        self.deferred += u64::from(waits && !self.waits);
        self.waits = waits;
        waits
    }

    /// The ids it takes from, for whoever tells of gaps.
    pub(in crate::runtime) fn ids(&mut self) -> &mut SummaryIds {
        self.merger.ids()
    }

    /// Notes that records were handed out to be sent.
    pub fn handed_out(&mut self, lane: Lane, records: &[Record], now: Uptime) {
        let ends = records.first().zip(records.last()).map(|(first, last)| (first.seq, last.seq));
        let (Some((from, upto)), Some(handed)) = (ends, self.in_flight.get_mut(lane as usize)) else {
            return;
        };
        handed.retain(|handed| now.since(handed.at) < IN_FLIGHT_FOR);
        let meets =
            |handed: &&mut Handed| from.0 <= handed.upto.0.saturating_add(1) && handed.from.0 <= upto.0;
        let full = handed.len() >= IN_FLIGHT_MAX;
        let joined = match handed.iter_mut().find(meets) {
            Some(joined) => Some(joined),
            None if full => handed.last_mut(),
            None => None,
        };
        match joined {
            Some(joined) => {
                *joined = Handed { from: joined.from.min(from), upto: joined.upto.max(upto), at: now };
            }
            None => handed.push(Handed { from, upto, at: now }),
        }
    }

    /// Draws one segment together if space runs short; whether it did, so that more may be needed.
    ///
    /// # Errors
    /// As for [`Outbox::coarsen`].
    pub fn make<D: Disk>(&mut self, outbox: &mut Outbox<D>, now: Uptime) -> Result<bool, OutboxError> {
        let config = outbox.config();
        let limit = config.size_max.0 - config.size_max.0 / FREE_DIVISOR;
        if config.when_full != WhenFull::Coarsen || outbox.used().0 <= limit {
            self.waits = false;
            return Ok(false);
        }
        let (used, size_max) = (outbox.used().0, config.size_max.0);
        if self.puts_off(used, size_max) {
            return Ok(false);
        }
        if self.in_vain.is_some_and(|tried| now.since(tried) < RETRY_AFTER) {
            return Ok(false);
        }
        self.in_vain = Some(now);
        for lane in lanes(outbox)? {
            let acked = outbox.acked(lane);
            let handed = self.in_flight.get(lane as usize).into_iter().flatten();
            let in_flight: Vec<_> = handed
                .filter(|handed| handed.upto > acked && now.since(handed.at) < IN_FLIGHT_FOR)
                .map(|handed| (handed.from, handed.upto))
                .collect();
            let merger = self.merger.on(priority(lane));
            match outbox.coarsen_beside(lane, &in_flight, merger)? {
                Coarsened::Done { taken, emitted } => {
                    (self.rounds, self.in_vain) = (self.rounds + 1, None);
                    if self.drawn_at.replace(now).is_none_or(|last| now.since(last) >= OVER_AFTER) {
                        info!(lane = lane.as_str(), taken, emitted, "draws old events together to make room");
                    }
                    return Ok(true);
                }
                Coarsened::NoGain | Coarsened::Nothing => {}
            }
        }
        Ok(false)
    }

    /// Passes on what it counts.
    pub(in crate::runtime) fn report(&self, metrics: &Metrics) {
        let counts = self.merger.counts();
        let losses = counts.undecodable + counts.refused + counts.merged.overflowed;
        let limits = counts.merged.hurried + counts.merged.untold_names + counts.merged.unreadable_sketches;
        metrics.set(Metric::CoarsenedSegments, self.rounds);
        metrics.set(Metric::CoarseningLosses, losses);
        metrics.set(Metric::CoarseningLimits, limits);
        metrics.set(Metric::CoarseningDeferred, self.deferred);
    }

    /// What merging met with since the start.
    pub fn merger(&self) -> &Coarsening {
        &self.merger
    }

    /// Segments drawn together since the start.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }
}

/// In which order lanes give way: the larger first, the bulk lane counted double. Taking the bulk lane first whatever its
/// size would draw a small one together again and again until only days are left of it, while the other keeps every
/// event.
fn lanes<D: Disk>(outbox: &mut Outbox<D>) -> Result<[Lane; 2], OutboxError> {
    let (bulk, normal) = (outbox.stat(Lane::Bulk)?.bytes.0, outbox.stat(Lane::Normal)?.bytes.0);
    let first = bulk.saturating_mul(2) > normal;
    Ok(if first { [Lane::Bulk, Lane::Normal] } else { [Lane::Normal, Lane::Bulk] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Door;

    #[test]
    fn room_waits_for_a_better_supply_until_hardly_any_is_left() {
        let merger = Coarsening::new(Door::new(Vec::new(), Vec::new()), SummaryIds::new(1));
        let (budget, seen) = watch::channel(Budget::NOMINAL);
        let mut room = Room::new(merger).sparing(seen);
        let tries = [
            (false, 900, false),
            (true, 900, true),
            (true, 950, true),
            (true, 990, false),
            (true, 950, true),
        ];
        for (spare_flash, used, waits) in tries {
            budget.send_replace(Budget { spare_flash, ..Budget::NOMINAL });
            assert_eq!(room.puts_off(used, 1_000), waits, "{used} while {spare_flash}");
        }
        assert_eq!(room.deferred, 2, "counted when it begins");
    }
}
