//! When the input waits for the models.

use std::time::Duration;

use crate::clock::Uptime;
use crate::runtime::plan::QUEUE_MAX;

/// Work that waits when the input begins to wait too: half the queue, so that what one turn takes in still fits.
const CROWDED: usize = QUEUE_MAX / 2;

/// Longest time the input waits. A burst, like what a broker has kept for us, is worked off meanwhile; a plant that is
/// faster than the models for longer than this is not helped by waiting: its queue sheds by its policy, counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Remembers since when the queue has been crowded.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Crowd {
    since: Option<Uptime>,
}

impl Crowd {
    /// Whether input may be taken now, with so much work waiting. What is not taken waits at the broker.
    pub(in crate::runtime) fn admits(&mut self, queued: usize, now: Uptime) -> bool {
        if queued < CROWDED {
            self.since = None;
            return true;
        }
        now.since(*self.since.get_or_insert(now)) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_waits_and_a_lasting_overload_does_not() {
        let mut crowd = Crowd::default();
        let at = |millis| Uptime::ZERO.after(Duration::from_millis(millis));
        let asked = [(0, 0, true), (10, CROWDED, false), (900, CROWDED, false), (910, CROWDED - 1, true)];
        for (millis, queued, admitted) in asked {
            assert_eq!(crowd.admits(queued, at(millis)), admitted, "{millis} ms");
        }
        let asked = [
            (1_000, CROWDED, false),
            (1_999, QUEUE_MAX, false),
            (2_000, QUEUE_MAX, true),
            (9_000, CROWDED, true),
        ];
        for (millis, queued, admitted) in asked {
            assert_eq!(crowd.admits(queued, at(millis)), admitted, "{millis} ms");
        }
    }
}
