//! Readings to a budget.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{Admit, Budget, BudgetReason, HardwareReading, Level, MemoryReading, Sensed, VariantRule};
use crate::governor::config::{CabinetLimits, GovernorConfig};
use crate::governor::demand::{CRITICAL, Demand, HOT, Rungs, WARM, scale};
use crate::governor::energy::CoreMeter;
use crate::governor::headroom::{HEAT_RUNGS, Thermometer, heat, target};
use crate::governor::ladder::Ladder;
use crate::governor::memory::MemoryUse;
use crate::governor::status::GovernorStatus;
use crate::governor::supply::{end, supply};
use crate::units::{Celsius, Millicores, Ratio};

/// Use from which work that is not urgent waits for a full batch, the longer the more is used. A batch is cheaper than its
/// pieces one by one, so this is the first thing to turn: it costs time, and no judgement.
const GATHER_FROM: f32 = 0.5;

/// How long it waits from hot on: windows come every few seconds.
const GATHER_MAX: Duration = Duration::from_secs(3);

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
    /// What the firmware or the kernel says of supply and clock cannot be read: `under_voltage` and `slowed` are not known.
    pub flags_lost: bool,
    /// Processor time the models took since the readings before, per time; `None`: not known.
    pub busy: Option<Millicores>,
    /// Memory of the process and of the system.
    pub memory: MemoryReading,
    /// What stands beside the processor: cabinet and supply.
    pub hardware: HardwareReading,
}

/// Says how much work heat, memory and supply allow.
#[derive(Debug)]
pub struct Governor {
    config: GovernorConfig,
    thermometer: Thermometer,
    cabinet_thermometer: Thermometer,
    memory_use: MemoryUse,
    meter: CoreMeter,
    heat: Ladder,
    cabinet: Ladder,
    supply: Ladder,
    /// That the supply ends.
    end: Ladder,
    clock: Ladder,
    memory: Ladder,
    /// What the readings before asked of the work: heat, cabinet and supply.
    work: Demand,
    status: GovernorStatus,
}

impl Governor {
    /// Starts nominal.
    pub fn new(config: GovernorConfig) -> Self {
        let ladder = || Ladder::new(&config, Rungs::COMMON);
        Self {
            config,
            thermometer: Thermometer::new(config.forecast, config.frozen_after),
            // The air changes slowly: nothing is to be forecast, and the same for hours is no fault.
            cabinet_thermometer: Thermometer::new(Duration::ZERO, None),
            memory_use: MemoryUse::new(config.memory),
            meter: CoreMeter::new(config.core),
            heat: Ladder::new(&config, HEAT_RUNGS),
            cabinet: ladder(),
            supply: ladder(),
            end: Ladder::new(&config, Rungs::EMERGENCY_ONLY),
            clock: ladder(),
            memory: ladder(),
            work: Demand::NONE,
            status: GovernorStatus::new(&config),
        }
    }

    /// Takes readings; returns what is allowed from now on. To be called every few seconds.
    pub fn observe(&mut self, readings: Readings) -> Budget {
        let (at, power) = (readings.at, &readings.hardware.power);
        let heat = self.heat(&readings);
        self.heat.climb(heat, at);
        let cabinet = self.cabinet(&readings);
        self.cabinet.climb(cabinet, at);
        let supply = supply(power, readings.under_voltage, self.config.battery_low);
        self.supply.climb(supply, at);
        let end = end(power);
        self.end.climb_at_once(end, at);
        let slowed = Demand::leaving(1.0, WARM, BudgetReason::Throttled);
        self.clock.climb(if readings.slowed { slowed } else { Demand::NONE }, at);
        let memory = self.memory_use.read(&readings.memory);
        self.memory.climb(memory, at);
        if let (Sensed::Known(draw), Some(busy)) = (power.draw, readings.busy) {
            self.meter.read(draw, busy);
        }
        let now = heat.and(cabinet).and(supply).and(end);
        let work = now.agreed(std::mem::replace(&mut self.work, now));
        let budget = self.budget(&readings, work);
        self.tell(&readings, budget);
        budget
    }

    /// What is known since the last readings.
    pub fn status(&self) -> &GovernorStatus {
        &self.status
    }

    fn heat(&mut self, readings: &Readings) -> Demand {
        if !self.config.has_sensor {
            return Demand::NONE;
        }
        let known = self.thermometer.read(readings.at, readings.temperature);
        let known = known.filter(|_| readings.trip.0.is_finite());
        let demand = known.map(|temperature| heat(temperature, self.config.ok, readings.trip));
        self.status.trip = Some(readings.trip);
        self.status.target = Some(target(readings.trip));
        self.status.forecast = known.map(|temperature| temperature.forecast);
        self.status.headroom = demand.map(|demand| (1.0 - demand.used).clamp(0.0, 1.0));
        demand.unwrap_or(Demand::blind(HEAT_RUNGS))
    }

    fn cabinet(&mut self, readings: &Readings) -> Demand {
        let Some(limits) = self.config.cabinet else { return Demand::NONE };
        let air = match readings.hardware.cabinet {
            Sensed::Absent => return Demand::NONE,
            Sensed::Lost => None,
            Sensed::Known(air) => Some(air),
        };
        match self.cabinet_thermometer.read(readings.at, air) {
            Some(air) => Demand::of_work(cabinet_use(air.measured, limits), BudgetReason::Cabinet),
            None => Demand::blind(Rungs::COMMON),
        }
    }

    /// Given what two readings in a row ask of the work.
    fn budget(&self, readings: &Readings, work: Demand) -> Budget {
        let ladders = [&self.end, &self.supply, &self.heat, &self.memory, &self.cabinet, &self.clock];
        // Of those that stand highest the first named is the reason.
        let highest = ladders.into_iter().rev().max_by_key(|ladder| ladder.level());
        let level = highest.map_or(Level::Nominal, Ladder::level);
        let (stretch, admit) = match level {
            // Warm judges every window, in full batches: skipping every second one lost half of the judgements for little
            // coolness (docs/budgets.md).
            Level::Nominal | Level::Warm => (1, Admit::All),
            Level::Hot => (2, Admit::Normal),
            Level::Critical => (4, Admit::Alarm),
            Level::Emergency => (4, Admit::Nothing),
        };
        Budget {
            level,
            stretch,
            admit,
            variant: self.variant(level),
            cpu: self.cpu(work.leaves),
            gather: gather(work.used),
            spare_flash: self.spares_flash(readings),
            reason: highest.map_or(BudgetReason::None, Ladder::reason),
        }
    }

    /// Memory first: what is cheap may be large, and large is what gets a process killed.
    fn variant(&self, level: Level) -> VariantRule {
        if self.memory.level() >= Level::Hot {
            VariantRule::Smallest
        } else if level >= Level::Hot {
            VariantRule::Cheapest
        } else {
            VariantRule::Best
        }
    }

    fn cpu(&self, left: f32) -> Millicores {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of it is not more, and not negative"
        )]
        let cpu = (f64::from(self.config.cpu.0) * f64::from(left)) as u32;
        Millicores(cpu)
    }

    /// From the first sign of a sagging supply until its level is left: what is being written when it breaks down is
    /// what breaks.
    fn spares_flash(&self, readings: &Readings) -> bool {
        let sags = self.supply.reason() == BudgetReason::UnderVoltage;
        readings.under_voltage
            || readings.hardware.power.failing
            || self.end.level() > Level::Nominal
            || (sags && self.supply.level() >= Level::Hot)
    }

    fn tell(&mut self, readings: &Readings, budget: Budget) {
        let status = &mut self.status;
        if budget.level != status.budget.level {
            status.changes += 1;
            status.since = readings.at;
        }
        status.budget = budget;
        status.temperature = readings.temperature;
        status.cabinet = readings.hardware.cabinet;
        status.clock = readings.clock;
        status.throttled = readings.slowed;
        status.under_voltage = readings.under_voltage;
        status.flags_lost = readings.flags_lost;
        status.power = readings.hardware.power;
        status.core = self.meter.core();
        status.memory = readings.memory;
    }
}

/// How long work may wait for a full batch.
fn gather(used: f32) -> Duration {
    GATHER_MAX.mul_f32(((used - GATHER_FROM) / (HOT - GATHER_FROM)).clamp(0.0, 1.0))
}

/// The air in the cabinet is nothing that alarms could be silenced for: never above hot.
fn cabinet_use(Celsius(air): Celsius, limits: CabinetLimits) -> f32 {
    let (Celsius(warm), Celsius(hot)) = (limits.warm, limits.hot);
    scale(air, [warm, hot, hot + (hot - warm)]).min(CRITICAL.next_down())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{PowerReading, PowerSource};
    use crate::governor::config::{DWELL, DWELL_MAX};
    use crate::units::Bytes;

    const MIB: u64 = 1 << 20;

    fn config(has_sensor: bool) -> GovernorConfig {
        GovernorConfig {
            has_sensor,
            ok: Celsius(50.0),
            memory: Bytes(100 * MIB),
            dwell_max: DWELL,
            cpu: Millicores(1_500),
            ..GovernorConfig::default()
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
        // ok 50, target 80: warm from 71, hot from 82.5, critical from 82.65; left below 68, 81.5 and 81.65.
        check(
            true,
            &[
                (Some(60.0), 10, Nominal, Fine),
                (Some(71.5), 10, Nominal, Fine),
                (Some(71.5), 10, Warm, Temperature),
                (Some(69.0), 10, Warm, Temperature),
                (Some(82.7), 10, Warm, Temperature),
                (Some(82.6), 10, Hot, Temperature),
                (Some(82.7), 10, Hot, Temperature),
                (Some(82.7), 10, Critical, Temperature),
                (Some(81.7), 10, Critical, Temperature),
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
                (Some(55.0), 99, Hot, Memory),
                (Some(82.6), 101, Hot, Memory),
                (Some(82.6), 101, Critical, Memory),
                (Some(82.6), 97, Critical, Memory),
                (Some(82.6), 89, Hot, Temperature),
                (Some(82.6), 40, Hot, Temperature),
            ],
        );
    }

    #[test]
    fn each_level_allows_what_the_ladder_says() {
        use VariantRule::{Best, Cheapest};
        let ladder = [
            (50.0, Level::Nominal, 1, Admit::All, Best, 1_500, 0.0),
            (69.5, Level::Nominal, 1, Admit::All, Best, 1_500, 1.29),
            (72.0, Level::Warm, 1, Admit::All, Best, 1_500, 2.0),
            (80.7, Level::Warm, 1, Admit::All, Best, 1_500, 3.0),
            (81.5, Level::Warm, 1, Admit::All, Best, 900, 3.0),
            (82.4, Level::Warm, 1, Admit::All, Best, 300, 3.0),
            (82.6, Level::Hot, 2, Admit::Normal, Cheapest, 300, 3.0),
            (82.7, Level::Critical, 4, Admit::Alarm, Cheapest, 300, 3.0),
            (82.9, Level::Emergency, 4, Admit::Nothing, Cheapest, 300, 3.0),
        ];
        for (degrees, level, stretch, admit, variant, cpu, seconds) in ladder {
            let mut governor = Governor::new(config(true));
            governor.observe(readings(0, Some(degrees), 10));
            let budget = governor.observe(readings(1, Some(degrees), 10));
            assert_eq!((budget.level, budget.stretch, budget.admit), (level, stretch, admit));
            assert_eq!(budget.variant, variant, "{degrees}");
            assert!(budget.cpu.0.abs_diff(cpu) <= 1, "{degrees}: {:?}", budget.cpu);
            let gathers = budget.gather.as_secs_f32();
            assert!((gathers - seconds).abs() < 0.02, "{degrees}: {gathers} s");
        }
    }

    /// The level, its reason and whether flash is spared after each reading, one every two minutes.
    fn course(steps: &[Readings]) -> Vec<(Level, BudgetReason, bool)> {
        let limits = CabinetLimits { warm: Celsius(45.0), hot: Celsius(55.0) };
        let mut governor = Governor::new(GovernorConfig { cabinet: Some(limits), ..config(true) });
        let observe = |(step, readings): (u64, &Readings)| {
            let at = Uptime(step * 120_000_000_000);
            let budget = governor.observe(Readings { at, ..*readings });
            (budget.level, budget.reason, budget.spare_flash)
        };
        (0..).zip(steps).map(observe).collect()
    }

    #[test]
    fn a_sagging_supply_is_hot_and_spares_flash_from_the_first_sign_on() {
        use BudgetReason::{None as Fine, UnderVoltage};
        use Level::{Hot, Nominal, Warm};
        let fine = readings(0, Some(40.0), 10);
        let sags = Readings { under_voltage: true, ..fine };
        assert_eq!(
            course(&[fine, sags, sags, fine, fine, fine]),
            [
                (Nominal, Fine, false),
                (Nominal, Fine, true),
                (Hot, UnderVoltage, true),
                (Warm, UnderVoltage, false),
                (Nominal, Fine, false),
                (Nominal, Fine, false),
            ]
        );
    }

    #[test]
    fn a_failing_supply_is_an_emergency_at_once_and_is_left_at_once_after_its_dwell() {
        use BudgetReason::{None as Fine, PowerFail};
        use Level::{Emergency, Nominal};
        let fine = readings(0, Some(40.0), 10);
        let mut fails = fine;
        fails.hardware.power.failing = true;
        assert_eq!(
            course(&[fine, fails, fine, fine]),
            [
                (Nominal, Fine, false),
                (Emergency, PowerFail, true),
                (Nominal, Fine, false),
                (Nominal, Fine, false)
            ]
        );
    }

    #[test]
    fn battery_cabinet_and_a_slowed_clock_have_their_reasons() {
        use BudgetReason::{Battery, Cabinet, None as Fine, SensorFault, Throttled};
        use Level::{Critical, Hot, Nominal, Warm};
        let fine = readings(0, Some(40.0), 10);
        let with = |hardware| Readings { hardware, ..fine };
        let cabinet = |cabinet| with(HardwareReading { cabinet, ..HardwareReading::default() });
        let battery = |charge| {
            let charge = Sensed::Known(Ratio::new(charge).unwrap());
            let power = PowerReading { source: PowerSource::Battery, charge, ..PowerReading::default() };
            with(HardwareReading { power, ..HardwareReading::default() })
        };
        for (readings, level, reason) in [
            (cabinet(Sensed::Known(Celsius(30.0))), Nominal, Fine),
            (cabinet(Sensed::Known(Celsius(46.0))), Warm, Cabinet),
            (cabinet(Sensed::Known(Celsius(90.0))), Hot, Cabinet),
            (cabinet(Sensed::Known(Celsius(200.0))), Hot, SensorFault),
            (cabinet(Sensed::Lost), Hot, SensorFault),
            (cabinet(Sensed::Absent), Nominal, Fine),
            (battery(0.9), Warm, Battery),
            (battery(0.3), Hot, Battery),
            (battery(0.1), Critical, Battery),
            (Readings { slowed: true, ..fine }, Warm, Throttled),
        ] {
            assert_eq!(course(&[readings, readings])[1], (level, reason, false), "{readings:?}");
        }
    }

    #[test]
    fn scarce_memory_asks_for_what_is_small_and_heat_for_what_is_cheap() {
        use VariantRule::{Best, Cheapest, Smallest};
        for (degrees, memory, variant) in [
            (40.0, 10, Best),
            (40.0, 90, Best),
            (82.6, 90, Cheapest),
            (40.0, 96, Smallest),
            (82.6, 96, Smallest),
        ] {
            let mut governor = Governor::new(config(true));
            governor.observe(readings(0, Some(degrees), memory));
            let budget = governor.observe(readings(1, Some(degrees), memory));
            assert_eq!(budget.variant, variant, "{degrees} °C, {memory} %");
            let is_cut = budget.cpu < Millicores(1_500);
            assert_eq!(is_cut, degrees > 74.0, "processor time frees no memory");
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
        assert!((forecast - 54.75).abs() < 0.01, "{forecast}");
        assert!((headroom - 25.25 / 30.0).abs() < 0.01, "{headroom}");
        assert_eq!((status.target, status.trip), (Some(Celsius(80.0)), Some(Celsius(85.0))));
        assert_eq!((status.changes, status.since), (0, Uptime::ZERO));
        governor.observe(readings(21, None, 10));
        assert_eq!((governor.status().forecast, governor.status().headroom), (None, None));
    }

    /// Readings in which one quantity is bad, from 0 to 1, and all others are well.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares of some hundred MiB")]
    fn of_quantity(quantity: usize, second: u64, bad: f32) -> Readings {
        let mut readings = readings(second, Some(40.0), 10);
        let share = Ratio::new(bad).unwrap();
        let rest = Ratio::new(1.0 - bad).unwrap();
        let power = &mut readings.hardware.power;
        match quantity {
            0 => readings.memory.used = Bytes((bad * 120.0) as u64 * MIB),
            1 => readings.memory.stalled = Some(share),
            2 => readings.memory.available = Some(Bytes((rest.get() * 200.0) as u64 * MIB)),
            3 => {
                power.source = PowerSource::Battery;
                power.charge = Sensed::Known(rest);
            }
            4 => readings.under_voltage = bad > 0.5,
            _ => readings.hardware.cabinet = Sensed::Known(Celsius(20.0 + 45.0 * bad)),
        }
        readings
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
                prop_assert!(hot.cpu <= cool.cpu && hot.gather >= cool.gather);
            }
        }

        #[test]
        fn worse_of_any_quantity_is_never_a_lower_level(
            steps in traces(), from in 0.0_f32..1.0, worse in 0.0_f32..0.6, quantity in 0_usize..6,
        ) {
            let limits = CabinetLimits { warm: Celsius(45.0), hot: Celsius(55.0) };
            let config = GovernorConfig { dwell_max: DWELL_MAX, cabinet: Some(limits), ..config(true) };
            let (mut well, mut badly) = (Governor::new(config), Governor::new(config));
            let (mut second, mut bad) = (0, from);
            for (pause, step) in steps {
                second += pause;
                bad = (bad + step / 24.0).clamp(0.0, 1.0);
                let well = well.observe(of_quantity(quantity, second, bad));
                let badly = badly.observe(of_quantity(quantity, second, (bad + worse).min(1.0)));
                prop_assert!(badly.level >= well.level, "{second}: {badly:?} {well:?}");
                prop_assert!(badly.cpu <= well.cpu && badly.admit >= well.admit);
                prop_assert!(badly.spare_flash >= well.spare_flash);
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
}
