//! The one scale on which every quantity is compared: where the levels begin, and how a quantity is put on it.

use crate::flow::BudgetReason;

/// Use at which warm begins.
pub(crate) const WARM: f32 = 0.7;

/// Use at which hot begins.
pub(crate) const HOT: f32 = 0.85;

/// Use at which critical begins.
pub(crate) const CRITICAL: f32 = 1.0;

/// Use at which emergency begins.
pub(crate) const EMERGENCY: f32 = 1.1;

/// How much of what there is one quantity uses, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    /// On the common scale; 0 and below: nothing.
    pub(crate) used: f32,
    /// Why, where that justifies a level.
    pub(crate) reason: BudgetReason,
}

impl Demand {
    /// Nothing is short.
    pub(crate) const NONE: Self = Self { used: 0.0, reason: BudgetReason::None };

    pub(crate) fn new(used: f32, reason: BudgetReason) -> Self {
        Self { used, reason }
    }

    /// The greater one; of two that are equal, this.
    pub(crate) fn or(self, other: Self) -> Self {
        if other.used > self.used { other } else { self }
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
