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
    reader.require("driver", &Driver::ALL.map(Driver::as_str).join(" | "), reader.has("driver"));
    let driver = reader.word("driver", &drivers);
    let bus_rule = "0 to 255, the N of /dev/i2c-N";
    reader.require("bus", bus_rule, reader.has("bus"));
    let bus = reader.whole("bus", bus_rule, |bus| (0..=255).contains(&bus));
    let address_rule = "0x08 to 0x77, the seven bits without that for read and write";
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
    let default = (!reader.has("role")).then_some(Word::Stream);
    let word = reader.word("role", &words).or(default);
    if word != Some(Word::Battery) {
        for key in ["empty", "full", "low"] {
            if word.is_some() && reader.has(key) {
                reader.fault(key, "stands at what is no battery", "none, or role = \"battery\"");
            }
            // Without a role nobody knows whether it belongs there.
            reader.skip(key);
        }
    }
    let word = word?;
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
    let digits = |text: &str| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    path.strip_prefix("/dev/watchdog").is_some_and(digits)
}

/// Whether a text can name a board or a sensor.
pub(in crate::board) fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    letters && (1..=32).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (HardwarePlan, Vec<ProfileFault>) {
        read_hardware("hardware", text.parse().unwrap())
    }

    fn sensor(changes: &str) -> String {
        let mut lines: Vec<String> =
            ["name = \"a\"", "driver = \"tmp102\"", "bus = 1", "address = 0x48"].map(str::to_owned).to_vec();
        for change in changes.lines() {
            let key = change.split(' ').next().unwrap();
            lines.retain(|line| !line.starts_with(&format!("{key} ")));
            lines.push(change.to_owned());
        }
        format!("[[sensors]]\n{}\n", lines.join("\n"))
    }

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let (plan, faults) = read(
            r#"
            watchdog = "/dev/watchdog0"
            [[sensors]]
            name = "cabinet"
            driver = "tmp102"
            bus = 1
            address = 0x48
            role = "cabinet"
            [[sensors]]
            name = "ups"
            driver = "ina226"
            bus = 1
            address = 0x40
            role = "battery"
            shunt = "2 mohm"
            rate = "0.2 Hz"
            empty = "10.5 V"
            full = "12.6 V"
            low = 0.3
            optional = true
            [[sensors]]
            name = "pump"
            driver = "adxl345"
            bus = 3
            address = 0x53
            [lines]
            status_led = "gpiochip0:17"
            power_fail = "gpiochip0:22 active-low"
            "#,
        );
        assert_eq!(faults, []);
        let [cabinet, ups, pump] = plan.sensors.as_slice() else { panic!("{plan:?}") };
        assert_eq!((cabinet.role, cabinet.rate, cabinet.optional), (SensorRole::Cabinet, 1.0, false));
        assert_eq!((ups.shunt, ups.rate, ups.optional), (0.002, 0.2, true));
        let battery =
            SensorRole::Battery { empty: Volts(10.5), full: Volts(12.6), low: Ratio::new(0.3).unwrap() };
        assert_eq!(ups.role, battery);
        assert_eq!((pump.rate, pump.role), (100.0, SensorRole::Stream));
        let led = Line { chip: "gpiochip0".to_owned(), offset: 17, active_low: false };
        assert_eq!(plan.lines.status_led, Some(led));
        assert!(plan.lines.power_fail.as_ref().is_some_and(|line| line.active_low && line.offset == 22));
        assert_eq!(plan.lines.used().count(), 2);
        assert_eq!(plan.watchdog.as_deref(), Some("/dev/watchdog0"));
    }

    #[test]
    fn each_rule_has_its_fault_with_the_key_and_what_is_allowed() {
        let cases = [
            ("name = \"A\"", "sensors[0].name", "a-z"),
            ("driver = \"dht22\"", "sensors[0].driver", "tmp102"),
            ("bus = 256", "sensors[0].bus", "0 to 255"),
            ("address = 0x03", "sensors[0].address", "0x08 to 0x77"),
            ("address = \"0x48\"", "sensors[0].address", "0x08 to 0x77"),
            ("role = \"engine\"", "sensors[0].role", "cabinet"),
            ("role = \"supply\"", "sensors[0].role", "ina219"),
            ("driver = \"ina219\"\nrole = \"cabinet\"", "sensors[0].role", "temperature"),
            ("rate = \"100 Hz\"", "sensors[0].rate", "10 Hz"),
            ("driver = \"lis3dh\"\nrate = \"0.5 Hz\"", "sensors[0].rate", "1600 Hz"),
            ("rate = 1", "sensors[0].rate", "10 Hz"),
            ("shunt = \"0.1 ohm\"", "sensors[0].shunt", "ina219"),
            ("driver = \"ina219\"\nshunt = \"100 ohm\"", "sensors[0].shunt", "10 ohm"),
            ("optional = \"yes\"", "sensors[0].optional", "true or false"),
            ("colour = \"blue\"", "sensors[0].colour", "driver"),
            ("empty = \"10 V\"", "sensors[0].empty", "role"),
            (
                "driver = \"ina219\"\nrole = \"battery\"\nempty = \"12 V\"\nfull = \"11 V\"",
                "sensors[0].full",
                "above",
            ),
            ("driver = \"ina219\"\nrole = \"battery\"\nfull = \"11 V\"", "sensors[0].empty", "60 V"),
            (
                "driver = \"ina219\"\nrole = \"battery\"\nempty = \"9 V\"\nfull = \"11 V\"\nlow = 1.0",
                "sensors[0].low",
                "0.9",
            ),
        ];
        for (change, key, allowed) in cases {
            let (plan, faults) = read(&sensor(change));
            let [fault] = faults.as_slice() else { panic!("{change}: {faults:?}") };
            assert_eq!(fault.key, format!("hardware.{key}"), "{change}");
            assert!(fault.allowed.contains(allowed), "{change}: {fault}");
            assert!(plan.sensors.len() <= 1);
        }
        for (text, key) in [
            ("watchdog = \"/dev/sda\"", "hardware.watchdog"),
            ("watchdog = 3", "hardware.watchdog"),
            ("sensors = 3", "hardware.sensors"),
            ("lines = []", "hardware.lines"),
            ("[lines]\ndoor = \"gpio17\"", "hardware.lines.door"),
            ("[lines]\ndoor = \"gpiochip0:17 active-high\"", "hardware.lines.door"),
            ("[lines]\ndoor = \"gpiochip0:99999\"", "hardware.lines.door"),
            ("[lines]\nbell = \"gpiochip0:1\"", "hardware.lines.bell"),
            ("fan = 1", "hardware.fan"),
        ] {
            let (_, faults) = read(text);
            let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
            assert_eq!(keys, [key], "{text}");
        }
    }

    #[test]
    fn two_things_in_one_place_are_a_fault() {
        let twice = format!("{}{}", sensor("name = \"a\""), sensor("name = \"a\"\naddress = 0x49"));
        let same_place = format!("{}{}", sensor("name = \"a\""), sensor("name = \"b\""));
        let same_line = "[lines]\ndoor = \"gpiochip0:4\"\npower_fail = \"gpiochip0:4 active-low\"".to_owned();
        for (text, says) in [
            (twice, "the name \"a\" twice"),
            (same_place, "\"a\" and \"b\""),
            (same_line, "power_fail and door"),
        ] {
            let (_, faults) = read(&text);
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert!(fault.problem.contains(says), "{fault}");
        }
        // The same address on another bus is another chip.
        let (_, faults) = read(&format!("{}{}", sensor("name = \"a\""), sensor("name = \"b\"\nbus = 3")));
        assert_eq!(faults, []);
    }

    #[test]
    fn what_was_wired_replaces_what_was_soldered_and_only_it_arms_a_watchdog() {
        let (soldered, _) = read(&format!(
            "watchdog = \"/dev/watchdog0\"\n{}{}[lines]\ndoor = \"gpiochip0:4\"",
            sensor("name = \"a\""),
            sensor("name = \"b\"\naddress = 0x49")
        ));
        let (wired, _) = read(&format!("{}[lines]\nalarm_relay = \"gpiochip1:5\"", sensor("bus = 7")));
        let plan = soldered.with(&wired);
        let places: Vec<(&str, u8)> = plan.sensors.iter().map(|sensor| (&*sensor.name, sensor.bus)).collect();
        assert_eq!(places, [("b", 1), ("a", 7)]);
        assert_eq!(plan.lines.used().map(|(name, _)| name).collect::<Vec<_>>(), ["alarm_relay", "door"]);
        assert_eq!(plan.watchdog, None);
        let (wired, _) = read("watchdog = \"/dev/watchdog1\"");
        assert_eq!(soldered.with(&wired).watchdog.as_deref(), Some("/dev/watchdog1"));
    }
}
