//! When the input waits for the models.

use std::time::Duration;

use crate::clock::Uptime;

/// Messages taken in one turn before results and timers are looked at again.
pub(in crate::runtime) const TURN_MESSAGES: usize = 64;

/// Longest time the input waits. A burst, like what a broker has kept for us, is worked off meanwhile; a plant that is
/// faster than the models for longer than this is not helped by waiting: its queue sheds by its policy, counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Remembers since when the queue has been crowded.
#[derive(Debug)]
pub(in crate::runtime) struct Crowd {
    queue_max: usize,
    since: Option<Uptime>,
}

impl Crowd {
    /// For a queue of this length; half of it is crowded.
    pub(in crate::runtime) fn new(queue_max: usize) -> Self {
        Self { queue_max, since: None }
    }

    /// How many messages may be taken now, with so much work waiting: as many as still fit if each makes work. What is
    /// not taken waits at the broker.
    pub(in crate::runtime) fn admits(&mut self, queued: usize, now: Uptime) -> usize {
        if queued < self.queue_max / 2 {
            self.since = None;
            return (self.queue_max - queued).min(TURN_MESSAGES);
        }
        if now.since(*self.since.get_or_insert(now)) >= PATIENCE { TURN_MESSAGES } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE_MAX: usize = 100;
    const CROWDED: usize = 50;

    #[test]
    fn a_burst_waits_and_a_lasting_overload_does_not() {
        let mut crowd = Crowd::new(QUEUE_MAX);
        let at = |millis| Uptime::ZERO.after(Duration::from_millis(millis));
        for (millis, queued, admitted) in [
            (0, 0, TURN_MESSAGES),
            (10, CROWDED, 0),
            (900, CROWDED, 0),
            (910, CROWDED - 1, QUEUE_MAX - CROWDED + 1),
            (1_000, CROWDED, 0),
            (1_999, QUEUE_MAX, 0),
            (2_000, QUEUE_MAX, TURN_MESSAGES),
            (9_000, CROWDED, TURN_MESSAGES),
        ] {
            assert_eq!(crowd.admits(queued, at(millis)), admitted, "{millis} ms");
        }
    }
}
