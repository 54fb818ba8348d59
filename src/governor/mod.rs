//! Readings of heat and memory to a budget (pure).
//!
//! # Invariants
//! * Monotone: the same course of temperature, only hotter, never gives a lower level at any moment.
//! * Hysteretic: a level is left one step at a time, and only after its dwell without a reading that justifies it;
//!   the dwell grows with the need, so that a board too hot for its work settles instead of relapsing.
//! * A temperature that cannot be trusted is hot, never nominal; a board without a sensor is never hot.
//!
//! # Why
//! A ladder and not a controller: what can be turned down comes in steps (every second window, no bulk, alarms only).

mod config;
mod headroom;
mod ladder;
mod policy;

pub use config::{
    DWELL, DWELL_MAX, FORECAST, GovernorConfig, HYSTERESIS, JUMP_MAX, MARGIN, PLAUSIBLE_MAX, PLAUSIBLE_MIN,
    SLOPE_WINDOW,
};
pub use policy::{Governor, GovernorStatus, Readings};
