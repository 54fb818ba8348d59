//! What the operator may set for the governor, and the constants of its ladder.

use std::time::Duration;

use crate::units::{Bytes, Celsius, Millicores, Ratio, Watts};

/// Distance of the target from the lowest trip point, in degrees. Up to the target all is well; above the trip point the
/// hardware slows itself, and latency is lost.
pub const MARGIN: f32 = 5.0;

/// Distance from the lowest trip point at which the processor time of the models begins to be cut, in degrees.
///
/// From here to [`HOLD_MARGIN`] the cut holds the chip, and nothing else is given up. Each degree is worth an eighth of a core
/// in the hot box of docs/budgets.md, so it holds it as near to two degrees below the trip point as the levels leave room
/// for; over less than a degree and a half a chip without a heat sink would swing.
pub const CUT_MARGIN: f32 = 4.25;

/// Distance at which [`CUT_FLOOR`] is left.
pub const HOLD_MARGIN: f32 = 2.75;

/// Measured this close to the lowest trip point it is hot, in degrees: the cut has not stopped the rise.
pub const HOT_MARGIN: f32 = 2.5;

/// Measured this close only alarms are judged: what is shed when it is hot has not stopped the rise.
pub const CRITICAL_MARGIN: f32 = 2.35;

/// Measured this close nothing is judged any more: alarms alone have not stopped the rise.
pub const EMERGENCY_MARGIN: f32 = 2.2;

/// How far ahead the temperature is forecast, unless configured. A stretched hop takes about as long to show in the heat of a small
/// board without a fan.
pub const FORECAST: Duration = Duration::from_secs(30);

/// Readings the slope is drawn through. Sensors step by half a degree: over less than a minute that is all noise.
pub const SLOPE_WINDOW: Duration = Duration::from_mins(1);

/// Shortest time without a reading that justifies the level before it is left by one step, unless configured.
pub const DWELL: Duration = Duration::from_mins(1);

/// Longest such time, unless configured: two excursions with three changes each then fill an hour.
pub const DWELL_MAX: Duration = Duration::from_mins(30);

/// The dwell as a multiple of the time for which a level was needed lately, beyond the first [`DWELL`] of it: a need that
/// does not come back is over after a minute, the second one of an hour lasts.
///
/// Tried on a made-up board with every fault for 2,400 hours: the least that keeps it to five changes in any hour.
pub(crate) const DWELL_FACTOR: f32 = 60.0;

/// How long past need is remembered (time constant of its decay).
pub(crate) const MEMORY: Duration = Duration::from_hours(2);

/// How far below the entry of a level the use must fall to leave it, as a share.
pub const HYSTERESIS: f32 = 0.1;

/// Use of a battery or of the air in the cabinet from which the processor time of the models is cut.
pub const CUT_FROM: f32 = 0.8;

/// Use of them from which the models have only [`CUT_FLOOR`] of their processor time left.
pub const CUT_TO: f32 = 1.0;

/// What is never cut, as a share of the processor time allowed: more than alarms need.
pub const CUT_FLOOR: f32 = 0.2;

/// Coldest temperature that is believed: the low end of industrial parts.
pub const PLAUSIBLE_MIN: Celsius = Celsius(-40.0);

/// Hottest temperature that is believed: silicon is dead above.
pub const PLAUSIBLE_MAX: Celsius = Celsius(150.0);

/// Largest difference between two readings that is believed, in degrees.
pub const JUMP_MAX: f32 = 30.0;

/// How long readings must have stayed that far below before they are believed, at least: no chip cools that fast. Never
/// before a sensor that is stuck at the bottom of its range is found out as frozen, where the board says when that is.
pub const FALL_SETTLES: Duration = Duration::from_mins(10);

/// Readings are averaged over this part of the time for which they are forecast: five seconds. Sensors step by half a
/// degree, the levels by less.
pub const STEADY_PART: u32 = 6;

/// Charge of a battery below which only alarms are judged, unless the board says otherwise: what is left of a small
/// battery then runs an idle board for an hour.
pub const BATTERY_LOW: f32 = 0.2;

/// What the governor measures against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorConfig {
    /// Whether the board has a temperature sensor. Without one heat limits nothing.
    pub has_sensor: bool,
    /// Temperature at which nothing of the headroom is used; below the trip point.
    pub ok: Celsius,
    /// Memory the process may use.
    pub memory: Bytes,
    /// How long bit-identical readings are believed; `None`: for ever. Zones of virtual machines are often constant.
    pub frozen_after: Option<Duration>,
    /// Shortest time without a justifying reading before a level is left.
    pub dwell: Duration,
    /// Longest such time; at least `dwell`.
    pub dwell_max: Duration,
    /// How far ahead the temperature is forecast.
    pub forecast: Duration,
    /// Processor time the models may take while nothing is short.
    pub cpu: Millicores,
    /// What the air in the cabinet may have; `None`: it limits nothing.
    pub cabinet: Option<CabinetLimits>,
    /// Charge of the battery below which only alarms are judged.
    pub battery_low: Ratio,
    /// What one busy core draws, as far as the board file knows.
    pub core: Option<Watts>,
}

/// Temperatures of the air in the cabinet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CabinetLimits {
    /// From here on the level is at least warm.
    pub warm: Celsius,
    /// From here on the level is at least hot; above `warm`.
    pub hot: Celsius,
}

impl Default for GovernorConfig {
    /// A board without a sensor, a battery or a budget: nothing limits anything until it is said to.
    fn default() -> Self {
        Self {
            has_sensor: false,
            ok: Celsius(0.0),
            memory: Bytes(u64::MAX),
            frozen_after: None,
            dwell: DWELL,
            dwell_max: DWELL_MAX,
            forecast: FORECAST,
            cpu: Millicores::UNLIMITED,
            cabinet: None,
            battery_low: Ratio::new(BATTERY_LOW).unwrap_or_default(),
            core: None,
        }
    }
}
