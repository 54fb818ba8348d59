//! A limit per hour of event time that clocks out of step cannot refill.

use crate::clock::EventTime;

/// Distinct hours remembered at once.
///
/// Sources of a stream whose clocks disagree fall into different hours; each hour has its own allowance, and
/// going back and forth between them must not renew it. More than eight groups of clocks are not one plant.
const HOURS: usize = 8;

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Counts events per hour of event time.
#[derive(Default)]
pub(crate) struct HourlyLimit {
    slots: [Slot; HOURS],
    turn: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hour: i64,
    count: u32,
    /// When it was last used; 0 for a slot never used.
    used: u64,
}

impl HourlyLimit {
    /// Takes one event out of the allowance of its hour; `false` when that is spent.
    pub(crate) fn take(&mut self, at: EventTime, max: u32) -> bool {
        let hour = at.0.div_euclid(MICROS_PER_HOUR);
        self.turn += 1;
        let turn = self.turn;
        let known = self.slots.iter().position(|slot| slot.used > 0 && slot.hour == hour);
        let slot = match known {
            Some(index) => self.slots.get_mut(index),
            None => self.slots.iter_mut().min_by_key(|slot| slot.used).map(|slot| {
                *slot = Slot { hour, count: 0, used: turn };
                slot
            }),
        };
        let Some(slot) = slot else { return false };
        slot.used = turn;
        let free = slot.count < max;
        if free {
            slot.count += 1;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(count: i64) -> EventTime {
        EventTime(count * MICROS_PER_HOUR)
    }

    #[test]
    fn an_hour_has_its_allowance_and_the_next_one_a_new_one() {
        let mut limit = HourlyLimit::default();
        let granted = (0..10).filter(|_| limit.take(hours(5), 3)).count();
        assert_eq!(granted, 3);
        assert!(limit.take(hours(6), 3));
        assert!(!limit.take(hours(5), 3), "the old hour stays spent");
    }

    #[test]
    fn two_clocks_out_of_step_do_not_renew_each_others_allowance() {
        let mut limit = HourlyLimit::default();
        let granted = (0..1_000).filter(|i| limit.take(hours((i % 2) * 10_000), 3)).count();
        assert_eq!(granted, 6);
    }
}
