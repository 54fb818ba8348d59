//! When the input waits for the models.

use std::time::Duration;

use crate::clock::Uptime;

/// Messages taken in one turn before results and timers are looked at again.
pub(in crate::runtime) const TURN_MESSAGES: usize = 64;

/// Longest time the input waits. A burst, like what a broker has kept for us, is worked off meanwhile; a plant that is
/// faster than the models for longer than this is not helped by waiting: its queue sheds by its policy, counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Share of the room from which on it is crowded.
const CROWDED: f64 = 0.5;

/// Remembers since when the queue has been crowded.
#[derive(Debug)]
pub(in crate::runtime) struct Crowd {
    queue_max: usize,
    since: Option<Uptime>,
}

impl Crowd {
    /// For a queue of this length.
    pub(in crate::runtime) fn new(queue_max: usize) -> Self {
        Self { queue_max, since: None }
    }

    /// How many messages may be taken now, with this share of the room taken by waiting work: as many as still fit if
    /// each makes work like what waits. What is not taken waits at the broker.
    pub(in crate::runtime) fn admits(&mut self, fullness: f64, now: Uptime) -> usize {
        if fullness < CROWDED {
            self.since = None;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of a small number"
            )]
            let room = ((1.0 - fullness) * self.queue_max as f64) as usize;
            return room.min(TURN_MESSAGES);
        }
        if now.since(*self.since.get_or_insert(now)) >= PATIENCE { TURN_MESSAGES } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE_MAX: usize = 100;

    #[test]
    fn a_burst_waits_and_a_lasting_overload_does_not() {
        let mut crowd = Crowd::new(QUEUE_MAX);
        let at = |millis| Uptime::ZERO.after(Duration::from_millis(millis));
        for (millis, fullness, admitted) in [
            (0, 0.0, TURN_MESSAGES),
            (10, CROWDED, 0),
            (900, CROWDED, 0),
            (910, 0.49, 51),
            (1_000, CROWDED, 0),
            (1_999, 1.0, 0),
            (2_000, 1.0, TURN_MESSAGES),
            (9_000, CROWDED, TURN_MESSAGES),
        ] {
            assert_eq!(crowd.admits(fullness, at(millis)), admitted, "{millis} ms");
        }
    }
}
