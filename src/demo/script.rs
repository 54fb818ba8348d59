//! What happens when: link, heat and the faults of the rigs as functions of the time since the start (pure).
//!
//! Everything is a share of the length, so that a demonstration of ten seconds shows the same as one of an hour.

use std::time::Duration;

use crate::demo::relay::Passage;
use crate::demo::rig::{Condition, Cooler, Leak};
use crate::units::Celsius;

/// Chapters of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Act {
    WarmUp,
    Outage,
    Return,
    Heat,
    Cooling,
}

/// Beginnings of the acts as shares of the length.
const ACTS: [(f32, Act); 5] =
    [(0.0, Act::WarmUp), (0.18, Act::Outage), (0.4, Act::Return), (0.5, Act::Heat), (0.78, Act::Cooling)];

/// The outage begins like many do: for this share of the length data still leaves, but no answer comes back. What was
/// delivered then is delivered again later, which is why consumers de-duplicate.
const FADING: f32 = 0.03;

/// The air around the board: share of the length, °C; straight lines between. A room, then a cabinet in the sun, in which the chip
/// goes through every level: cutting processor time cannot hold it there.
const AIR: [(f32, f32); 8] = [
    (0.5, 32.0),
    (0.53, 58.0),
    (0.56, 59.3),
    (0.63, 57.8),
    (0.65, 57.8),
    (0.75, 57.8),
    (0.78, 50.0),
    (0.81, 32.0),
];

/// No samples are sent after this share of the length: the rest is for what is under way.
const PLANT_ENDS: f32 = 0.97;

/// The faults of the first rig: from this share of the length on.
const FIRST_RIG: [(f32, Leak, Cooler); 7] = [
    (0.0, Leak::None, Cooler::Full),
    (0.12, Leak::Weak, Cooler::Full),
    (0.24, Leak::Severe, Cooler::Full),
    (0.44, Leak::None, Cooler::Full),
    (0.54, Leak::None, Cooler::Reduced),
    (0.64, Leak::None, Cooler::NearFailure),
    (0.9, Leak::None, Cooler::Full),
];

/// The faults of the second rig.
const SECOND_RIG: [(f32, Leak, Cooler); 4] = [
    (0.0, Leak::None, Cooler::Full),
    (0.3, Leak::None, Cooler::Reduced),
    (0.6, Leak::Weak, Cooler::Reduced),
    (0.85, Leak::None, Cooler::Full),
];

/// The plan for a length.
#[derive(Clone, Copy, Debug)]
pub(in crate::demo) struct Script {
    length: Duration,
}

impl Script {
    pub(in crate::demo) fn new(length: Duration) -> Self {
        Self { length }
    }

    pub(in crate::demo) fn length(&self) -> Duration {
        self.length
    }

    /// How long the plant sends.
    pub(in crate::demo) fn plant_length(&self) -> Duration {
        self.length.mul_f32(PLANT_ENDS)
    }

    /// The chapter at this time.
    pub(in crate::demo) fn act(&self, at: Duration) -> Act {
        let share = self.share(at);
        ACTS.iter().rev().find(|(from, _)| *from <= share).map_or(Act::WarmUp, |&(_, act)| act)
    }

    /// What the link upstream lets through.
    pub(in crate::demo) fn passage(&self, at: Duration) -> Passage {
        let begin = ACTS.iter().find(|(_, act)| *act == Act::Outage).map_or(0.0, |&(from, _)| from);
        match self.act(at) {
            Act::Outage if self.share(at) < begin + FADING => Passage::OneWay,
            Act::Outage => Passage::Closed,
            Act::WarmUp | Act::Return | Act::Heat | Act::Cooling => Passage::Open,
        }
    }

    /// Temperature of the air around the board.
    pub(in crate::demo) fn ambient(&self, at: Duration) -> Celsius {
        let share = self.share(at);
        let (mut left, mut degrees) = (0.0, AIR.first().map_or(0.0, |&(_, degrees)| degrees));
        for (right, next) in AIR {
            if share < right {
                return Celsius(degrees + (next - degrees) * (share - left) / (right - left));
            }
            (left, degrees) = (right, next);
        }
        Celsius(degrees)
    }

    /// What is wrong with a rig.
    pub(in crate::demo) fn condition(&self, rig: usize, at: Duration) -> Condition {
        let share = self.share(at);
        let faults: &[(f32, Leak, Cooler)] = if rig == 0 { &FIRST_RIG } else { &SECOND_RIG };
        let now = faults.iter().rev().find(|(from, _, _)| *from <= share);
        now.map_or(Condition::HEALTHY, |&(_, leak, cooler)| Condition { leak, cooler })
    }

    fn share(&self, at: Duration) -> f32 {
        at.as_secs_f32() / self.length.as_secs_f32().max(f32::MIN_POSITIVE)
    }
}

impl Act {
    /// What happens, for people.
    pub(in crate::demo) fn words(self) -> &'static str {
        match self {
            Self::WarmUp => "the rigs send, the models decide, decisions go upstream",
            Self::Outage => "the link upstream is cut; deciding goes on, the outbox keeps it all",
            Self::Return => "the link is back: the outbox drains, nothing missing, nothing twice",
            Self::Heat => "heat wave: the gateway does less, to spare the chip",
            Self::Cooling => "it cools down: step by step everything is judged again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script { length: Duration::from_secs(100) };

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn the_link_fades_before_it_is_cut_and_comes_back() {
        use Passage::{Closed, OneWay, Open};
        let passages: Vec<_> =
            [17, 19, 22, 39, 41, 100].into_iter().map(|second| SCRIPT.passage(at(second))).collect();
        assert_eq!(passages, [Open, OneWay, Closed, Closed, Open, Open]);
    }

    #[test]
    fn the_heat_wave_comes_and_goes_without_a_jump() {
        let degrees: Vec<f32> =
            (0..=1_000).map(|step| SCRIPT.ambient(Duration::from_millis(100 * step)).0).collect();
        assert!(degrees.iter().copied().fold(0.0, f32::max) > 55.0);
        assert!(degrees.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 1.0));
        assert!(degrees.first() == degrees.last());
    }

    #[test]
    fn the_first_rig_goes_from_healthy_through_a_leak_to_a_failing_cooler() {
        let conditions: Vec<_> =
            [5, 15, 30, 70, 95].into_iter().map(|second| SCRIPT.condition(0, at(second))).collect();
        assert_eq!(conditions[0], Condition::HEALTHY);
        assert_eq!((conditions[1].leak, conditions[2].leak), (Leak::Weak, Leak::Severe));
        assert_eq!(conditions[3], Condition { leak: Leak::None, cooler: Cooler::NearFailure });
        assert_eq!(conditions[4], Condition::HEALTHY);
    }
}
