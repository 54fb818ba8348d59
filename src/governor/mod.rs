//! Readings of heat, memory and supply to a budget (pure).
//!
//! # Invariants
//! * Monotone: the same course of a quantity, only worse, never gives a lower level or more processor time at any
//!   moment.
//! * Hysteretic: a level is left one rung at a time, and only after its dwell without a reading that justifies it;
//!   the dwell grows with the need, so that a board too hot for its work settles instead of relapsing.
//! * What is cut smoothly goes first: hot and beyond come only where the cut has not held the chip.
//! * A temperature that cannot be trusted is hot, never nominal; a board without a sensor is never hot.
//!
//! # Why
//! Most of what can be turned down comes in steps (every second window, no bulk, alarms only), hence a ladder for every
//! quantity, on one scale: 0.7 of what there is, 0.85, all of it. Processor time can be turned down smoothly, and the
//! scheduler then gives up the least urgent first by itself: on most days that is enough. In proportion, and nothing
//! more: a temperature that is higher cuts more, whatever came before. Degrees beyond the target count the same on
//! every board, so heat has rungs of its own.

mod config;
mod demand;
mod energy;
mod headroom;
mod ladder;
mod memory;
#[cfg(test)]
mod physics_tests;
mod policy;
mod status;
mod supply;

pub use config::{
    BATTERY_LOW, CRITICAL_MARGIN, CUT_FLOOR, CUT_FROM, CUT_MARGIN, CUT_TO, CabinetLimits, DWELL, DWELL_MAX,
    EMERGENCY_MARGIN, FALL_SETTLES, FORECAST, GovernorConfig, HOLD_MARGIN, HOT_MARGIN, HYSTERESIS, JUMP_MAX,
    MARGIN, PLAUSIBLE_MAX, PLAUSIBLE_MIN, SLOPE_WINDOW, STEADY_PART,
};
pub use energy::energy;
pub use policy::{Governor, Readings};
pub use status::GovernorStatus;
