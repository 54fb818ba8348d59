//! Readings of heat, memory and supply to a budget (pure).
//!
//! # Invariants
//! * Monotone: the same course of a quantity, only worse, never gives a lower level or more processor time at any
//!   moment.
//! * Hysteretic: a level is left one step at a time, and only after its dwell without a reading that justifies it;
//!   the dwell grows with the need, so that a board too hot for its work settles instead of relapsing.
//! * A temperature that cannot be trusted is hot, never nominal; a board without a sensor is never hot.
//!
//! # Why
//! A ladder and not a controller: what can be turned down comes in steps (every second window, no bulk, alarms only).
//! One scale and one ladder for every quantity: 0.7 of what there is, 0.85, all of it. Within a level the processor time
//! of the models is cut as the headroom shrinks, which is smooth, and on most days enough.

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
    BATTERY_LOW, CUT_FLOOR, CUT_FROM, CUT_TO, CabinetLimits, DWELL, DWELL_MAX, EMERGENCY_MARGIN, FORECAST,
    GovernorConfig, HYSTERESIS, JUMP_MAX, MARGIN, PLAUSIBLE_MAX, PLAUSIBLE_MIN, SLOPE_WINDOW,
};
pub use energy::energy;
pub use policy::{Governor, Readings};
pub use status::GovernorStatus;
