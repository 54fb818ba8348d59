//! Readings to a budget.

use crate::clock::Uptime;
use crate::flow::{Admit, Budget, BudgetReason, HardwareReading, Level, MemoryReading};
use crate::governor::config::GovernorConfig;
use crate::governor::headroom::{Heat, Thermometer, target};
use crate::governor::ladder::{Ladder, Rungs};
use crate::units::{Bytes, Celsius, Ratio};

/// Use of the thermal headroom at which the levels begin.
const HEAT: Rungs = Rungs { warm: 0.7, hot: 0.85, critical: 1.0 };

/// Use of the memory budget at which the levels begin. Critical is more than all of it.
const MEMORY: Rungs = Rungs { warm: 0.85, hot: 0.95, critical: 1.0_f32.next_up() };

/// What was measured at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Readings {
    /// When.
    pub at: Uptime,
    /// The hottest relevant zone; `None` if no sensor could be read.
    pub temperature: Option<Celsius>,
    /// The lowest trip point.
    pub trip: Celsius,
    /// Clock of the processor as a share of its highest; `None` where the kernel does not tell.
    pub clock: Option<Ratio>,
    /// The firmware says that the supply is too weak at this moment.
    pub under_voltage: bool,
    /// The firmware or the kernel holds the clock down at this moment.
    pub slowed: bool,
    /// Memory of the process and of the system.
    pub memory: MemoryReading,
    /// What stands beside the processor: cabinet and supply.
    pub hardware: HardwareReading,
}

/// Says how much work the heat and the memory allow.
#[derive(Debug)]
pub struct Governor {
    config: GovernorConfig,
    thermometer: Thermometer,
    heat: Ladder,
    /// Why the heat ladder stands where it does.
    heat_reason: BudgetReason,
    memory: Ladder,
    status: GovernorStatus,
}

/// What the governor knows, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorStatus {
    /// What is allowed now.
    pub budget: Budget,
    /// The temperature, as read; `None` if it was not to be had.
    pub temperature: Option<Celsius>,
    /// What it will be soon, if it is believed.
    pub forecast: Option<Celsius>,
    /// The temperature that is not to be exceeded; `None` before the first readings and without a sensor.
    pub target: Option<Celsius>,
    /// Share of the thermal headroom left by the forecast: 1 at the cool end or below, 0 at the target or above;
    /// `None` where the temperature is not known.
    pub headroom: Option<f32>,
    /// Memory used.
    pub memory_used: Bytes,
    /// Memory allowed.
    pub memory_limit: Bytes,
    /// Changes of the level since the start.
    pub changes: u64,
}

impl Governor {
    /// Starts nominal.
    pub fn new(config: GovernorConfig) -> Self {
        Self {
            config,
            thermometer: Thermometer::new(&config),
            heat: Ladder::new(HEAT, &config),
            heat_reason: BudgetReason::None,
            memory: Ladder::new(MEMORY, &config),
            status: GovernorStatus {
                budget: Budget::NOMINAL,
                temperature: None,
                forecast: None,
                target: None,
                headroom: None,
                memory_used: Bytes(0),
                memory_limit: config.memory,
                changes: 0,
            },
        }
    }

    /// Takes readings; returns what is allowed from now on. To be called every few seconds.
    pub fn observe(&mut self, readings: Readings) -> Budget {
        if self.config.has_sensor {
            self.observe_heat(&readings);
        }
        let used = readings.memory.used.0 as f32 / self.config.memory.0.max(1) as f32;
        self.memory.climb(used, readings.at);
        let budget = self.budget();
        self.status.changes += u64::from(budget.level != self.status.budget.level);
        self.status.budget = budget;
        self.status.temperature = readings.temperature;
        self.status.memory_used = readings.memory.used;
        budget
    }

    /// What is known since the last readings.
    pub fn status(&self) -> &GovernorStatus {
        &self.status
    }

    fn observe_heat(&mut self, readings: &Readings) {
        self.status.target = Some(target(readings.trip));
        let heat = self.thermometer.read(readings.at, readings.temperature, readings.trip);
        let (used, reason) = match heat {
            Heat::Known { forecast, used } => {
                self.status.forecast = Some(forecast);
                self.status.headroom = Some((1.0 - used).clamp(0.0, 1.0));
                (used, BudgetReason::Temperature)
            }
            Heat::Fault => {
                self.status.forecast = None;
                self.status.headroom = None;
                (HEAT.hot, BudgetReason::SensorFault)
            }
        };
        let justified = self.heat.climb(used, readings.at);
        if self.heat.level() == Level::Nominal {
            self.heat_reason = BudgetReason::None;
        } else if justified {
            self.heat_reason = reason;
        }
    }

    fn budget(&self) -> Budget {
        let (heat, memory) = (self.heat.level(), self.memory.level());
        let level = heat.max(memory);
        let reason = if level == Level::Nominal {
            BudgetReason::None
        } else if heat >= memory {
            self.heat_reason
        } else {
            BudgetReason::Memory
        };
        let (stretch, admit) = match level {
            Level::Nominal => (1, Admit::All),
            Level::Warm => (2, Admit::All),
            Level::Hot => (2, Admit::Normal),
            Level::Critical => (4, Admit::Alarm),
            Level::Emergency => (4, Admit::Nothing),
        };
        Budget { level, stretch, admit, reason, ..Budget::NOMINAL }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::governor::config::{DWELL, DWELL_MAX, FORECAST};

    const MIB: u64 = 1 << 20;

    fn config(has_sensor: bool) -> GovernorConfig {
        GovernorConfig {
            has_sensor,
            ok: Celsius(50.0),
            memory: Bytes(100 * MIB),
            frozen_after: None,
            dwell: DWELL,
            dwell_max: DWELL,
            forecast: FORECAST,
        }
    }

    fn readings(second: u64, temperature: Option<f32>, memory_percent: u64) -> Readings {
        Readings {
            at: Uptime(second * 1_000_000_000),
            temperature: temperature.map(Celsius),
            trip: Celsius(85.0),
            memory: MemoryReading { used: Bytes(memory_percent * MIB), ..MemoryReading::default() },
            ..Readings::default()
        }
    }

    /// One reading every two minutes, so that a dwell has always passed and no slope is drawn.
    fn check(has_sensor: bool, steps: &[(Option<f32>, u64, Level, BudgetReason)]) {
        let mut governor = Governor::new(config(has_sensor));
        for (step, &(temperature, memory, level, reason)) in steps.iter().enumerate() {
            let budget = governor.observe(readings(step as u64 * 120, temperature, memory));
            assert_eq!((budget.level, budget.reason), (level, reason), "step {step}");
            assert_eq!(governor.status().budget, budget);
        }
    }

    #[test]
    fn a_level_is_entered_after_two_readings_and_left_below_its_hysteresis() {
        use BudgetReason::{None as Fine, Temperature};
        use Level::{Critical, Hot, Nominal, Warm};
        // ok 50, target 80: warm from 71, hot from 75.5, critical from 80; left below 68, 72.5 and 77.
        check(
            true,
            &[
                (Some(60.0), 10, Nominal, Fine),
                (Some(71.5), 10, Nominal, Fine),
                (Some(71.5), 10, Warm, Temperature),
                (Some(69.0), 10, Warm, Temperature),
                (Some(81.0), 10, Warm, Temperature),
                (Some(76.0), 10, Hot, Temperature),
                (Some(81.0), 10, Hot, Temperature),
                (Some(81.0), 10, Critical, Temperature),
                (Some(78.0), 10, Critical, Temperature),
                (Some(60.0), 10, Hot, Temperature),
                (Some(60.0), 10, Warm, Temperature),
                (Some(60.0), 10, Nominal, Fine),
            ],
        );
    }

    #[test]
    fn a_lost_sensor_is_hot_and_a_board_without_one_is_nominal() {
        use BudgetReason::{None as Fine, SensorFault};
        use Level::{Hot, Nominal, Warm};
        check(
            true,
            &[
                (Some(55.0), 10, Nominal, Fine),
                (None, 10, Nominal, Fine),
                (None, 10, Hot, SensorFault),
                (None, 10, Hot, SensorFault),
                (Some(200.0), 10, Hot, SensorFault),
                (Some(55.0), 10, Warm, SensorFault),
                (Some(55.0), 10, Nominal, Fine),
            ],
        );
        check(false, &[(None, 10, Nominal, Fine), (None, 10, Nominal, Fine), (None, 10, Nominal, Fine)]);
    }

    #[test]
    fn memory_has_a_ladder_of_its_own_and_the_higher_one_counts() {
        use BudgetReason::{Memory, None as Fine, Temperature};
        use Level::{Critical, Hot, Nominal, Warm};
        check(
            true,
            &[
                (Some(55.0), 85, Nominal, Fine),
                (Some(55.0), 85, Warm, Memory),
                (Some(55.0), 95, Warm, Memory),
                (Some(55.0), 100, Hot, Memory),
                (Some(77.0), 101, Hot, Memory),
                (Some(77.0), 101, Critical, Memory),
                (Some(77.0), 89, Hot, Temperature),
                (Some(77.0), 40, Hot, Temperature),
            ],
        );
    }

    #[test]
    fn each_level_sheds_what_the_ladder_says() {
        let ladder = [
            (50.0, Level::Nominal, 1, Admit::All),
            (72.0, Level::Warm, 2, Admit::All),
            (76.0, Level::Hot, 2, Admit::Normal),
            (81.0, Level::Critical, 4, Admit::Alarm),
        ];
        for (degrees, level, stretch, admit) in ladder {
            let mut governor = Governor::new(config(true));
            governor.observe(readings(0, Some(degrees), 10));
            let budget = governor.observe(readings(1, Some(degrees), 10));
            assert_eq!((budget.level, budget.stretch, budget.admit), (level, stretch, admit));
        }
    }

    #[test]
    fn the_status_tells_headroom_and_forecast() {
        let mut governor = Governor::new(config(true));
        for second in 0_u16..=20 {
            governor.observe(readings(u64::from(second), Some(50.0 + 0.1 * f32::from(second)), 10));
        }
        let status = governor.status();
        let (forecast, headroom) = (status.forecast.unwrap().0, status.headroom.unwrap());
        assert!((forecast - 55.0).abs() < 0.01, "{forecast}");
        assert!((headroom - 25.0 / 30.0).abs() < 0.01, "{headroom}");
        assert_eq!((status.target, status.changes), (Some(Celsius(80.0)), 0));
        governor.observe(readings(21, None, 10));
        assert_eq!((governor.status().forecast, governor.status().headroom), (None, None));
    }

    /// Seconds between readings with a temperature step each.
    fn traces() -> impl Strategy<Value = Vec<(u64, f32)>> {
        prop::collection::vec((1_u64..40, -12.0_f32..12.0), 1..120)
    }

    /// A trace between 20 °C and 110 °C, as (second, temperature).
    fn walked(steps: &[(u64, f32)], from: f32) -> Vec<(u64, f32)> {
        let (mut second, mut degrees) = (0, from);
        let walk = steps.iter().map(|&(pause, step)| {
            second += pause;
            degrees = (degrees + step).clamp(20.0, 110.0);
            (second, degrees)
        });
        walk.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn hotter_is_never_a_lower_level(steps in traces(), from in 20.0_f32..90.0, hotter in 0.0_f32..30.0) {
            let config = GovernorConfig { dwell_max: DWELL_MAX, ..config(true) };
            let (mut cool, mut hot) = (Governor::new(config), Governor::new(config));
            for (second, degrees) in walked(&steps, from) {
                let cool = cool.observe(readings(second, Some(degrees), 10));
                let hot = hot.observe(readings(second, Some(degrees + hotter), 10));
                prop_assert!(hot.level >= cool.level, "{second}: {hot:?} {cool:?}");
                prop_assert!(hot.stretch >= cool.stretch && hot.admit >= cool.admit);
            }
        }

        #[test]
        fn a_level_is_left_one_step_at_a_time_and_no_sooner_than_its_dwell(
            steps in traces(), from in 20.0_f32..90.0, lost in prop::collection::vec(any::<bool>(), 120),
        ) {
            let mut governor = Governor::new(config(true));
            let (mut level, mut changed) = (Level::Nominal, 0);
            for ((second, degrees), lost) in walked(&steps, from).into_iter().zip(lost) {
                let now = governor.observe(readings(second, (!lost).then_some(degrees), 10)).level;
                if now < level {
                    prop_assert!(level as u8 - now as u8 == 1);
                    prop_assert!(Duration::from_secs(second - changed) >= DWELL);
                }
                if now != level {
                    changed = second;
                }
                level = now;
            }
        }

        #[test]
        fn one_reading_alone_never_raises_the_level(
            steps in traces(), from in 20.0_f32..90.0, spike in 1_usize..120, height in -200.0_f32..400.0,
        ) {
            // Cool throughout, forecast included, but for one reading of whatever it is.
            let mut governor = Governor::new(config(true));
            for (index, (second, degrees)) in walked(&steps, from).into_iter().enumerate() {
                let degrees = if index == spike { height } else { degrees.min(30.0) };
                let budget = governor.observe(readings(second * 60, Some(degrees), 10));
                prop_assert_eq!(budget.level, Level::Nominal);
            }
        }
    }

    /// A small board without a fan: chip on board on air, watts and kelvins per watt.
    struct Board {
        chip: f32,
        board: f32,
    }

    impl Board {
        const IDLE_WATTS: f32 = 2.0;
        const WORK_WATTS: f32 = 2.5;

        fn step(&mut self, ambient: f32, work: f32) {
            let watts = Self::IDLE_WATTS + Self::WORK_WATTS * work;
            let to_board = (self.chip - self.board) / 4.0;
            let to_air = (self.board - ambient) / 8.0;
            self.chip += (watts - to_board) / 5.0;
            self.board += (to_board - to_air) / 60.0;
        }

        /// What the sensor says: steps of half a degree.
        fn sensor(&self) -> f32 {
            (self.chip * 2.0).round() / 2.0
        }
    }

    #[test]
    fn a_board_in_any_ambient_stays_below_the_trip_point_and_does_not_flap() {
        const TRIP: f32 = 80.0;
        let mut governed = 0;
        for ambient in (15_u8..=60).map(f32::from) {
            let mut board = Board { chip: ambient, board: ambient };
            let mut governor = Governor::new(GovernorConfig { dwell_max: DWELL_MAX, ..config(true) });
            let (mut work, mut hottest) = (1.0, 0.0_f32);
            for second in 0..4 * 3_600_u64 {
                board.step(ambient, work);
                if second % 5 == 0 {
                    let budget = governor.observe(Readings {
                        trip: Celsius(TRIP),
                        ..readings(second, Some(board.sensor()), 10)
                    });
                    work = match budget.level {
                        Level::Nominal => 1.0,
                        Level::Warm => 0.5,
                        Level::Hot => 0.35,
                        Level::Critical | Level::Emergency => 0.1,
                    };
                }
                hottest = hottest.max(board.chip);
            }
            let changes = governor.status().changes;
            // Idle, the board is 24 K above the air: no ladder helps where that is too hot already.
            let helpless = ambient + 12.0 * (Board::IDLE_WATTS + 0.1 * Board::WORK_WATTS) > TRIP - 2.0;
            let free = ambient + 12.0 * (Board::IDLE_WATTS + Board::WORK_WATTS);
            if helpless {
                assert_eq!(governor.status().budget.level, Level::Critical, "{ambient} °C");
            } else {
                assert!(hottest <= TRIP - 2.0, "{ambient} °C: {hottest} °C");
            }
            assert!(changes <= 4 * 6, "{ambient} °C: {changes} changes in four hours");
            governed += u32::from(free > TRIP && !helpless);
        }
        assert!(governed >= 10, "only {governed} ambients needed the governor");
    }
}
