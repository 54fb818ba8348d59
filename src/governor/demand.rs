//! The one scale on which every quantity is compared: where the levels begin, and how a quantity is put on it.

use crate::flow::{BudgetReason, Level};
use crate::governor::config::{CUT_FLOOR, CUT_FROM, CUT_TO};

/// Use at which warm begins.
pub(crate) const WARM: f32 = 0.7;

/// Use at which hot begins.
pub(crate) const HOT: f32 = 0.85;

/// Use at which critical begins.
pub(crate) const CRITICAL: f32 = 1.0;

/// Use at which emergency begins.
pub(crate) const EMERGENCY: f32 = 1.1;

/// Where the levels of a ladder begin; those at [`Self::NONE`] it does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rungs {
    pub(crate) warm: f32,
    pub(crate) hot: f32,
    pub(crate) critical: f32,
    pub(crate) emergency: f32,
}

impl Rungs {
    /// No use is so high.
    const NONE: f32 = f32::INFINITY;

    /// Of every quantity that is put on the common scale.
    pub(crate) const COMMON: Self = Self { warm: WARM, hot: HOT, critical: CRITICAL, emergency: EMERGENCY };

    /// Of what is either well or an emergency: going down in steps would be four changes for each of its failures.
    pub(crate) const EMERGENCY_ONLY: Self =
        Self { warm: Self::NONE, hot: Self::NONE, critical: Self::NONE, emergency: EMERGENCY };

    /// Where a level begins.
    pub(crate) fn entry(&self, level: Level) -> f32 {
        match level {
            Level::Nominal => f32::NEG_INFINITY,
            Level::Warm => self.warm,
            Level::Hot => self.hot,
            Level::Critical => self.critical,
            Level::Emergency => self.emergency,
        }
    }

    /// The highest level that this use reaches.
    pub(crate) fn reached(&self, used: f32) -> Level {
        let reached = |level: &Level| used >= self.entry(*level);
        Level::ALL.into_iter().rev().find(reached).unwrap_or_default()
    }

    /// The next level down.
    pub(crate) fn below(&self, level: Level) -> Level {
        let is_below = |lower: &Level| *lower < level && self.entry(*lower) < Self::NONE;
        Level::ALL.into_iter().rev().find(is_below).unwrap_or_default()
    }
}

/// What is left of the processor time on the way between two uses.
pub(crate) fn left(used: f32, from: f32, to: f32) -> f32 {
    let way = ((used - from) / (to - from)).clamp(0.0, 1.0);
    1.0 - way * (1.0 - CUT_FLOOR)
}

/// What one quantity asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    /// How much is used of what there is, on the common scale; 0 and below: nothing.
    pub(crate) used: f32,
    /// Why, where that justifies a level.
    pub(crate) reason: BudgetReason,
    /// Share of the processor time that it leaves to the models.
    pub(crate) leaves: f32,
}

impl Demand {
    /// Nothing is short.
    pub(crate) const NONE: Self = Self { used: 0.0, reason: BudgetReason::None, leaves: 1.0 };

    /// Of a quantity that work uses up: it leaves less the more of it is used.
    pub(crate) fn of_work(used: f32, reason: BudgetReason) -> Self {
        Self { used, reason, leaves: left(used, CUT_FROM, CUT_TO) }
    }

    /// Of a quantity that leaves so much whatever is used of it.
    pub(crate) fn leaving(leaves: f32, used: f32, reason: BudgetReason) -> Self {
        Self { used, reason, leaves }
    }

    /// A temperature that is not known: hot, and as little work as goes with any temperature.
    pub(crate) fn blind(rungs: Rungs) -> Self {
        Self { used: rungs.hot, reason: BudgetReason::SensorFault, leaves: CUT_FLOOR }
    }

    /// What two readings in a row agree on: the lesser use and the greater share.
    pub(crate) fn agreed(self, before: Self) -> Self {
        Self { used: self.used.min(before.used), leaves: self.leaves.max(before.leaves), ..self }
    }

    /// Both: the greater use with its reason, of two that are equal this one's, and the lesser share.
    pub(crate) fn and(self, other: Self) -> Self {
        let greater = if other.used > self.used { other } else { self };
        Self { leaves: self.leaves.min(other.leaves), ..greater }
    }
}

/// Puts a value on the scale by the values at which warm, hot and critical begin, which rise or fall in this order.
/// Straight between and beyond them, but below emergency: that is asked for by name only.
pub(crate) fn scale(value: f32, [warm, hot, critical]: [f32; 3]) -> f32 {
    let lower = (value - warm) / (hot - warm);
    let upper = (value - hot) / (critical - hot);
    let used = if lower < 1.0 { WARM + lower * (HOT - WARM) } else { HOT + upper * (CRITICAL - HOT) };
    // Not a number is not little.
    if used.is_nan() { HOT } else { used.min(EMERGENCY.next_down()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_points_of_a_quantity_are_the_entries_of_the_levels() {
        for (points, cases) in [
            ([0.1, 0.25, 0.5], [(0.1, WARM), (0.25, HOT), (0.5, CRITICAL), (0.0, 0.6), (9.0, 1.1)]),
            ([64.0, 40.0, 24.0], [(64.0, WARM), (40.0, HOT), (24.0, CRITICAL), (80.0, 0.6), (0.0, 1.1)]),
        ] {
            for (value, used) in cases {
                assert!((scale(value, points) - used).abs() < 1e-5, "{value} of {points:?}");
                assert!(scale(value, points) < EMERGENCY);
            }
        }
        assert!((scale(f32::NAN, [1.0, 2.0, 3.0]) - HOT).abs() < f32::EPSILON);
    }
}
