//! `[hardware]`, and `source =` of a stream: what a fitter has wired, and which streams it feeds.

use std::sync::Arc;

use crate::board::{HardwarePlan, SensorPlan, read_hardware};
use crate::config::section::Section;
use crate::device::{addresses, rate_of};

/// The one channel of a door.
const DOOR_CHANNELS: [&str; 1] = ["open"];

/// How often the state of a door is told, beside each change.
const DOOR_RATE: f32 = 1.0;

/// What may stand in `source`.
const SOURCES: &str = "i2c:NAME of a [[hardware.sensors]] entry | gpio:door";

/// What feeds a stream that no topic feeds.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSource {
    /// Who measures.
    pub device: Device,
    /// Names of the channels of the stream.
    pub values: Vec<String>,
    /// Of each of them its place among what is measured.
    pub places: Vec<usize>,
    /// Samples per second and channel.
    pub rate: f32,
}

/// Who measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A sensor on I2C, by its name.
    Sensor(Arc<str>),
    /// The contact of the door: channel `open`, 0 or 1.
    Door,
}

impl DeviceSource {
    /// How often it is measured, as the period of a window.
    pub fn period(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f32(1.0 / self.rate.max(1e-3))
    }
}

/// What is wired, and the names that the file gives sensors, good ones and bad ones.
#[derive(Default)]
pub(in crate::config) struct Wired {
    pub(in crate::config) plan: HardwarePlan,
    names: Vec<String>,
}

/// Reads `[hardware]`: the keys are those of a board file.
pub(in crate::config) fn read_wired(root: &Section<'_>) -> Wired {
    let Some(table) = root.table("hardware") else { return Wired::default() };
    let sensors = table.get("sensors").and_then(toml::Value::as_array).into_iter().flatten();
    let names = sensors.filter_map(|sensor| Some(sensor.get("name")?.as_str()?.to_owned())).collect();
    let (plan, faults) = read_hardware("hardware", table.clone());
    for fault in faults {
        root.fault(&fault.key, fault.problem, fault.allowed);
    }
    for sensor in &plan.sensors {
        let addresses = addresses(sensor.driver);
        if !addresses.contains(&sensor.address) {
            let hex: Vec<String> = addresses.iter().map(|address| format!("{address:#04x}")).collect();
            root.fault(
                "hardware.sensors",
                format!(
                    "{:?}: no {} has address {:#04x}",
                    sensor.name,
                    sensor.driver.as_str(),
                    sensor.address
                ),
                hex.join(" | "),
            );
        }
    }
    Wired { plan, names }
}

/// Reads `source` and `values` of a stream. `None` after a fault.
pub(in crate::config) fn read_source(section: &Section<'_>, wired: &Wired) -> Option<DeviceSource> {
    let source = section.text("source")?;
    for (key, why) in [("topic", "either a topic or a source"), ("payload", "none with a source")] {
        if section.has(key) {
            section.fault(key, format!("stands beside source = {source:?}"), why);
        }
    }
    let (device, channels, rate) = match source.split_once(':') {
        Some(("i2c", name)) => {
            let sensor = find_sensor(section, wired, name)?;
            (Device::Sensor(Arc::from(name)), sensor.driver.channels(), rate_of(sensor))
        }
        Some(("gpio", "door")) => {
            if wired.plan.lines.door.is_none() {
                section.fault(
                    "source",
                    "no line is called door",
                    "door = \"gpiochip0:N\" in [hardware.lines]",
                );
            }
            (Device::Door, &DOOR_CHANNELS[..], DOOR_RATE)
        }
        Some(_) | None => {
            section.fault("source", format!("{source:?}"), SOURCES);
            return None;
        }
    };
    let (values, places) = read_values(section, channels);
    Some(DeviceSource { device, values, places, rate })
}

fn find_sensor<'p>(section: &Section<'_>, wired: &'p Wired, name: &str) -> Option<&'p SensorPlan> {
    let found = wired.plan.sensors.iter().find(|sensor| sensor.name == name);
    // A sensor that is there with a fault of its own has been told.
    if found.is_none() && !wired.names.iter().any(|named| named == name) {
        let known: Vec<String> = wired.names.iter().map(|named| format!("i2c:{named}")).collect();
        let none = || "none: there is no [[hardware.sensors]] entry".to_owned();
        let allowed = if known.is_empty() { none() } else { known.join(" | ") };
        section.fault("source", format!("no sensor is called {name:?}"), allowed);
    }
    found
}

/// The channels a stream takes, all of them unless it says which.
fn read_values(section: &Section<'_>, channels: &[&str]) -> (Vec<String>, Vec<usize>) {
    let all = || channels.iter().map(|channel| (*channel).to_owned()).collect();
    let asked: Vec<String> = if section.has("values") { section.texts("values") } else { all() };
    let allowed = || format!("some of {}, each once", channels.join(", "));
    if asked.is_empty() {
        section.fault("values", "no names", allowed());
    }
    let mut places = Vec::with_capacity(asked.len());
    for (index, value) in asked.iter().enumerate() {
        match channels.iter().position(|channel| channel == value) {
            None => section.fault("values", format!("{value:?} is not measured"), allowed()),
            Some(_) if asked.iter().take(index).any(|other| other == value) => {
                section.fault("values", format!("{value:?} stands there twice"), allowed());
            }
            Some(place) => places.push(place),
        }
    }
    (asked, places)
}
