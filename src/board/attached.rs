//! Reads what is attached to a board, from a board file or from `[hardware]` of the configuration: the keys are the same.

use std::ops::RangeInclusive;

use toml::Table;

use crate::board::hardware::{Driver, HardwarePlan, Line, Lines, SensorPlan, SensorRole};
use crate::board::reader::{ProfileFault, Reader};
use crate::units::{Hertz, Ohms, Ratio, Volts};

/// Addresses of seven bits that a chip may have; the others are reserved by the bus.
const ADDRESSES: RangeInclusive<i64> = 0x08..=0x77;

/// Readings per second of slow quantities. Faster than 10 a second the bus is busy with noise; slower than one in
/// 100 seconds is no watch over a cabinet.
const RATES: RangeInclusive<f32> = 0.01..=10.0;

/// Samples per second of vibration: 1,600 of 9 bytes are about a third of a bus of 400 kHz.
const VIBRATION_RATES: RangeInclusive<f32> = 1.0..=1_600.0;

/// Readings per second unless said otherwise: as often as the governor looks.
const RATE: f32 = 1.0;

/// Samples per second of vibration unless said otherwise: a FIFO of 32 is full after a third of a second.
const VIBRATION_RATE: f32 = 100.0;

/// Shunt unless said otherwise: what breakout boards of INA219 and INA226 carry.
const SHUNT: f32 = 0.1;

/// Charge below which only alarms are judged, unless said otherwise.
const BATTERY_LOW: f32 = 0.2;

/// Reads `[[sensors]]`, `[lines]` and `watchdog` out of a table, with every fault. Keys of the table that are none of
/// these are faults; `path` is where the table stands in its file, like `hardware`.
pub fn read_hardware(path: &str, table: Table) -> (HardwarePlan, Vec<ProfileFault>) {
    let mut faults = Vec::new();
    let plan = Reader::read(path, table, &mut faults, attached);
    (plan, faults)
}

/// Takes the keys of a plan out of a table that may have others.
pub(in crate::board) fn attached(reader: &mut Reader<'_>) -> HardwarePlan {
    let device = "a path like /dev/watchdog0";
    let watchdog = reader.text("watchdog", device, is_watchdog);
    let sensors = reader.each("sensors", sensor);
    let lines = reader.inside("lines", lines).unwrap_or_default();
    let plan = HardwarePlan { sensors, lines, watchdog };
    for clash in plan.clashes() {
        reader.fault(clash.key, &clash.problem, "a name, an address and a line for each");
    }
    plan
}

fn sensor(reader: &mut Reader<'_>) -> Option<SensorPlan> {
    let name_rule = "1 to 32 characters of a-z, 0-9 and -";
    reader.require("name", name_rule, reader.has("name"));
    let name = reader.text("name", name_rule, is_name);
    let drivers = Driver::ALL.map(|driver| (driver.as_str(), driver));
    reader.require("driver", "one of the drivers", reader.has("driver"));
    let driver = reader.word("driver", &drivers);
    let bus_rule = "0 to 255, the N of /dev/i2c-N";
    reader.require("bus", bus_rule, reader.has("bus"));
    let bus = reader.whole("bus", bus_rule, |bus| (0..=255).contains(&bus));
    let address_rule = "0x08 to 0x77";
    reader.require("address", address_rule, reader.has("address"));
    let address = reader.whole("address", address_rule, |address| ADDRESSES.contains(&address));
    let optional = reader.flag("optional");
    // What may be said besides depends on the driver: without one, all of it is taken as it stands.
    let rate = rate(reader, driver);
    let shunt = shunt(reader, driver);
    let role = role(reader, driver);
    Some(SensorPlan {
        name: name?,
        driver: driver?,
        bus: u8::try_from(bus?).ok()?,
        address: u8::try_from(address?).ok()?,
        role: role?,
        shunt,
        rate,
        optional,
    })
}

fn rate(reader: &mut Reader<'_>, driver: Option<Driver>) -> f32 {
    let vibration = driver.is_some_and(Driver::measures_vibration);
    let (default, rates, rule) = if vibration {
        (VIBRATION_RATE, VIBRATION_RATES, "1 Hz to 1600 Hz")
    } else {
        (RATE, RATES, "0.01 Hz to 10 Hz")
    };
    reader.quantity("rate", rule, |rate: &Hertz| rates.contains(&rate.0)).map_or(default, |rate| rate.0)
}

fn shunt(reader: &mut Reader<'_>, driver: Option<Driver>) -> f32 {
    let rule = "0.0001 ohm to 10 ohm, for ina219 and ina226 only";
    let current = driver.is_none_or(Driver::measures_current);
    let fits = |shunt: &Ohms| current && (0.000_1..=10.0).contains(&shunt.0);
    reader.quantity("shunt", rule, fits).map_or(SHUNT, |shunt| shunt.0)
}

/// The role, with what a battery needs besides; `None` after a fault.
fn role(reader: &mut Reader<'_>, driver: Option<Driver>) -> Option<SensorRole> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Stream,
        Cabinet,
        Supply,
        Battery,
    }
    let words = [
        ("stream", Word::Stream),
        ("cabinet", Word::Cabinet),
        ("supply", Word::Supply),
        ("battery", Word::Battery),
    ];
    let word = if reader.has("role") { reader.word("role", &words)? } else { Word::Stream };
    let temperature = driver.is_none_or(|driver| driver.channels().contains(&"temperature"));
    let current = driver.is_none_or(Driver::measures_current);
    let (fits, who) = match word {
        Word::Stream => (true, ""),
        Word::Cabinet => (temperature, "a driver that gives a temperature"),
        Word::Supply | Word::Battery => (current, "driver ina219 or ina226"),
    };
    if !fits {
        reader.fault("role", "the driver measures something else", who);
    }
    let role = match word {
        Word::Stream => SensorRole::Stream,
        Word::Cabinet => SensorRole::Cabinet,
        Word::Supply => SensorRole::Supply,
        Word::Battery => battery(reader)?,
    };
    fits.then_some(role)
}

fn battery(reader: &mut Reader<'_>) -> Option<SensorRole> {
    let empty_rule = "1 V to 60 V";
    reader.require("empty", empty_rule, reader.has("empty"));
    let empty = reader.quantity("empty", empty_rule, |volts: &Volts| (1.0..=60.0).contains(&volts.0));
    let floor = empty.unwrap_or(Volts(1.0)).0;
    let full_rule = "above empty, to 60 V";
    reader.require("full", full_rule, reader.has("full"));
    let full = reader.quantity("full", full_rule, |volts: &Volts| volts.0 > floor && volts.0 <= 60.0);
    let low = reader.number("low", "0 to 0.9", |low| (0.0..=0.9).contains(&low));
    #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
    let low = Ratio::new(low.map_or(BATTERY_LOW, |low| low as f32))?;
    Some(SensorRole::Battery { empty: empty?, full: full?, low })
}

fn lines(reader: &mut Reader<'_>) -> Lines {
    let rule = "like gpiochip0:17 or gpiochip0:22 active-low";
    let mut line = |key| reader.quantity(key, rule, |_: &Line| true);
    Lines {
        status_led: line("status_led"),
        alarm_relay: line("alarm_relay"),
        power_fail: line("power_fail"),
        door: line("door"),
    }
}

fn is_watchdog(path: &str) -> bool {
    path.strip_prefix("/dev/watchdog").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a text can name a board or a sensor.
pub(in crate::board) fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    letters && (1..=32).contains(&name.len())
}
