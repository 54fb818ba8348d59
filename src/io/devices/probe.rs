//! Opens and reads everything that is attached, once: for `selftest`.

use std::path::Path;

use embedded_hal::delay::DelayNs;
use linux_embedded_hal::Delay;

use crate::board::{HardwarePlan, Line, SensorPlan};
use crate::clock::Uptime;
use crate::device::seam::{Row, Samples};
use crate::device::{SETTLE, unit_of};
use crate::io::admission::chain;
use crate::io::devices::{InputPin, OutputLine, open_sensor};

/// Looks at a FIFO before it is taken to give nothing: at 1 Hz, the slowest, the first sample takes a second.
const LOOKS_MAX: u32 = 6;

/// What one thing that is attached answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name: of a sensor, or the use of a line.
    pub what: String,
    /// Where it is, and who reads it: `tmp102 at 0x48 of /dev/i2c-1`.
    pub how: String,
    /// What it says, or why it says nothing, with the remedy.
    pub read: Result<String, String>,
    /// Whether its silence is no fault.
    pub optional: bool,
}

/// Reads every sensor once and takes every line once. Outputs are made to say no, as at a start of the gateway; the
/// watchdog is left alone, because opening one starts it.
pub fn probe(plan: &HardwarePlan, root: &Path) -> Vec<Probe> {
    let sensors = plan.sensors.iter().map(|sensor| Probe {
        what: sensor.name.clone(),
        how: format!("{} at {:#04x} of /dev/i2c-{}", sensor.driver.as_str(), sensor.address, sensor.bus),
        read: probe_sensor(sensor, root),
        optional: sensor.optional,
    });
    let lines = plan.lines.used().map(|(what, line)| Probe {
        what: what.to_owned(),
        how: format!("{}:{}{}", line.chip, line.offset, if line.active_low { " active-low" } else { "" }),
        read: probe_line(what, line, root),
        optional: false,
    });
    sensors.chain(lines).collect()
}

fn probe_sensor(plan: &SensorPlan, root: &Path) -> Result<String, String> {
    let mut sensor = open_sensor(plan, root).map_err(|error| error.to_string())?;
    sensor.start().map_err(|error| error.to_string())?;
    let mut samples = Samples::of(0);
    for _ in 0..LOOKS_MAX {
        Delay.delay_ms(u32::try_from(SETTLE.as_millis()).unwrap_or(0));
        // Nobody asks when it was: the values are shown.
        sensor.read(&|| Uptime::ZERO, &mut samples).map_err(|error| error.to_string())?;
        if let Some(row) = samples.rows.last() {
            return Ok(shown(plan, row));
        }
    }
    Err("gives no samples: check its supply".to_owned())
}

fn shown(plan: &SensorPlan, row: &Row) -> String {
    let channels = plan.driver.channels().iter().zip(row.values);
    let value = |(channel, value): (&&str, f32)| format!("{channel} {value:.3} {}", unit_of(channel));
    channels.map(value).collect::<Vec<_>>().join(", ")
}

fn probe_line(what: &str, line: &Line, root: &Path) -> Result<String, String> {
    let is_input = matches!(what, "power_fail" | "door");
    if is_input {
        let pin = InputPin::open(root, line, false).map_err(|error| chain(&error))?;
        return Ok(if pin.told() { "yes" } else { "no" }.to_owned());
    }
    OutputLine::open(root, line).map_err(|error| chain(&error))?;
    Ok("taken, set to no".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Driver, Lines, SensorRole};
    use crate::io::devices::write_registers;

    fn plan(name: &str, driver: Driver, address: u8) -> SensorPlan {
        SensorPlan {
            name: name.to_owned(),
            driver,
            bus: 1,
            address,
            role: SensorRole::Stream,
            shunt: 0.1,
            rate: 1.0,
            optional: false,
        }
    }

    #[test]
    fn everything_attached_is_read_once_and_what_is_not_there_says_why() {
        let root = tempfile::tempdir().unwrap();
        write_registers(root.path(), 1, 0x48, &[(0, &[0x19, 0x80])]).unwrap();
        let door = Line { chip: "gpiochip0".to_owned(), offset: 5, active_low: false };
        let plan = HardwarePlan {
            sensors: vec![
                plan("cabinet", Driver::Tmp102, 0x48),
                plan("gone", Driver::Ina219, 0x40),
                plan("wrong", Driver::Bme280, 0x48),
            ],
            lines: Lines {
                door: Some(door.clone()),
                alarm_relay: Some(Line { offset: 6, ..door }),
                ..Lines::default()
            },
            watchdog: None,
        };
        let found = probe(&plan, root.path());
        let read = |index: usize| found[index].read.clone();
        assert_eq!(found[0].how, "tmp102 at 0x48 of /dev/i2c-1");
        assert_eq!(read(0), Ok("temperature 25.500 °C".to_owned()));
        assert!(read(1).unwrap_err().starts_with("no answer"));
        assert!(read(2).unwrap_err().contains("cannot have this address"));
        assert_eq!((read(3), read(4)), (Ok("taken, set to no".to_owned()), Ok("no".to_owned())));
    }
}
