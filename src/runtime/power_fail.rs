//! The supply says that it ends: what the outbox holds goes to the disk, ahead of everything else.
//!
//! # Invariants
//! * What was appended before the edge is durable first; only then is taken what still waits in the channels.
//! * Whatever the disk does, it is told how it went.

use std::time::Duration;

use tracing::{debug, error, warn};

use crate::clock::{Clock, Uptime};
use crate::outbox::Disk;
use crate::runtime::limits::{REQUESTS_MAX, URGENT_MAX};
use crate::runtime::outbox::{OutboxRequest, OutboxWorker, Turn};
use crate::telemetry::Metric;

/// Edges that wait. One is enough: a flush that runs serves them all.
pub(in crate::runtime) const POWER_FAIL_MAX: usize = 4;

/// From the edge until everything is durable: what the capacitors of a supply with a power-fail output hold at least.
pub(in crate::runtime) const FLUSH_MAX: Duration = Duration::from_millis(200);

/// An edge that follows another so soon is the same trouble: counted and served, and not told in the log again.
const AGAIN: Duration = Duration::from_secs(10);

/// The power-fail input has become active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct PowerFail {
    /// When the edge was seen.
    pub(in crate::runtime) at: Uptime,
}

/// How a flush went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Flushed {
    /// When the edge was seen.
    pub(in crate::runtime) edge: Uptime,
    /// From the edge until what was appended before it was durable, cursors included.
    pub(in crate::runtime) stored_after: Duration,
    /// From the edge until what waited in the channels was durable as well.
    pub(in crate::runtime) all_after: Duration,
    /// Records made durable by it.
    pub(in crate::runtime) records: u64,
    /// Whether the disk took everything.
    pub(in crate::runtime) is_durable: bool,
}

impl<D: Disk> OutboxWorker<D> {
    /// Makes everything durable at once: first what is appended, then what waits.
    pub(in crate::runtime) fn flush(&mut self, fail: PowerFail, turn: &mut Turn) {
        // A bouncing contact: one flush serves all of its edges.
        while self.power_fail.try_recv().is_ok() {}
        let mut records = turn.pending;
        let stored = self.store_now(turn);
        let stored_after = self.clock.uptime().since(fail.at);
        let later = self.take_waiting(turn);
        records += turn.pending;
        let all = turn.pending == 0 || self.store_now(turn);
        let flushed = Flushed {
            edge: fail.at,
            stored_after,
            all_after: self.clock.uptime().since(fail.at),
            records,
            is_durable: (stored && all) && self.outbox.held_records() == 0,
        };
        self.tell_flushed(flushed);
        for request in later {
            self.serve(request, turn);
        }
    }

    /// Records, then cursors. A disk that has failed gets its last chance.
    fn store_now(&mut self, turn: &mut Turn) -> bool {
        let now = self.clock.uptime();
        let mut is_durable = self.sync(turn);
        if !is_durable && self.outbox.needs_mending() {
            is_durable = self.outbox.mend();
        }
        self.save_cursors(now, turn);
        is_durable
    }

    /// Takes what waits in the channels, alarms first, and returns what can wait longer.
    fn take_waiting(&mut self, turn: &mut Turn) -> Vec<OutboxRequest> {
        let mut later = Vec::new();
        for _ in 0..URGENT_MAX + REQUESTS_MAX {
            let Ok(request) = self.urgent.try_recv().or_else(|_| self.requests.try_recv()) else { break };
            match request {
                OutboxRequest::Append { .. }
                | OutboxRequest::Advance { .. }
                | OutboxRequest::Settle { .. }
                | OutboxRequest::Remember { .. } => self.serve(request, turn),
                OutboxRequest::Read { .. } | OutboxRequest::SetAside { .. } | OutboxRequest::Sync(_) => {
                    later.push(request);
                }
            }
        }
        later
    }

    fn tell_flushed(&self, flushed: Flushed) {
        let Flushed { stored_after, all_after, records, is_durable, .. } = flushed;
        let micros = u64::try_from(all_after.as_micros()).unwrap_or(u64::MAX);
        self.metrics.add(Metric::PowerFlushes, 1);
        self.metrics.set(Metric::PowerFlushTook, micros);
        let before = *self.flushed.borrow();
        let again = before.is_some_and(|before| flushed.edge.since(before.edge) < AGAIN);
        let (stored_ms, all_ms) = (stored_after.as_millis(), all_after.as_millis());
        if is_durable && all_after > FLUSH_MAX {
            let max_ms = FLUSH_MAX.as_millis();
            error!(
                records,
                all_ms, max_ms, "everything is on the disk, later than a supply lasts: use a faster medium"
            );
        } else if is_durable && again {
            debug!(records, all_ms, "the supply fails again");
        } else if is_durable {
            warn!(records, stored_ms, all_ms, "the supply fails: everything is on the disk");
        } else {
            error!(
                records,
                all_ms, "the supply fails and the disk takes nothing: what memory holds is lost with it"
            );
        }
        self.flushed.send_replace(Some(flushed));
    }
}

#[cfg(test)]
mod tests;
