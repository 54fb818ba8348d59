//! The board as files below a root: what the kernel and the firmware would show of it.

use crate::demo::twin::cabinet::Twin;
use crate::demo::twin::sensor::Sensor;
use crate::units::Ratio;

/// A file of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Below the root, without a slash before it.
    pub path: &'static str,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This text.
    Text(String),
    /// There is no such file.
    Absent,
    /// Reading it is an error: a folder stands in its place.
    Unreadable,
}

/// The only trip point of the kernel, where it shuts down; slowing is the firmware's own affair. Assumption: what the vendor's kernel sets.
const CRITICAL: i32 = 110_000;

const ZONE_TYPE: &str = "sys/class/thermal/thermal_zone0/type";
const ZONE_TEMP: &str = "sys/class/thermal/thermal_zone0/temp";
const TRIP_TYPE: &str = "sys/class/thermal/thermal_zone0/trip_point_0_type";
const TRIP_TEMP: &str = "sys/class/thermal/thermal_zone0/trip_point_0_temp";
const FAN: [&str; 3] = [
    "sys/class/thermal/cooling_device0/type",
    "sys/class/thermal/cooling_device0/max_state",
    "sys/class/thermal/cooling_device0/cur_state",
];
const CPUFREQ: [&str; 4] = [
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq",
];
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
const MAINS: [&str; 2] = ["sys/class/power_supply/mains/type", "sys/class/power_supply/mains/online"];
const BATTERY: [&str; 4] = [
    "sys/class/power_supply/battery/type",
    "sys/class/power_supply/battery/status",
    "sys/class/power_supply/battery/capacity",
    "sys/class/power_supply/battery/voltage_now",
];
/// The INA219 at the battery, as a register file.
const INA219: &str = "dev/i2c-1/40";

impl Twin {
    /// Every file that changes with the board, as it is at this moment. What identifies the board is whoever's who makes the tree.
    pub fn files(&self) -> Vec<TreeFile> {
        let mut files = self.zone();
        files.extend(self.clocks());
        files.push(text(THROTTLED, format!("{:x}", self.firmware().flags())));
        files.extend(self.supply());
        files
    }

    fn zone(&self) -> Vec<TreeFile> {
        let sensed = self.sensed();
        let there = sensed != Sensor::Gone;
        let present = |path, value: String| if there { text(path, value) } else { absent(path) };
        let temperature = match sensed {
            Sensor::Says(thousandths) => text(ZONE_TEMP, thousandths.to_string()),
            Sensor::Gone => absent(ZONE_TEMP),
            Sensor::Unreadable => TreeFile { path: ZONE_TEMP, content: Content::Unreadable },
        };
        let trip = |path, value: String| {
            if self.outside.trip_points { present(path, value) } else { absent(path) }
        };
        let mut files = vec![
            present(ZONE_TYPE, "cpu-thermal".to_owned()),
            temperature,
            trip(TRIP_TYPE, "critical".to_owned()),
            trip(TRIP_TEMP, CRITICAL.to_string()),
        ];
        let turns = if self.outside.fan.is_some() { "1" } else { "0" };
        files.extend(
            FAN.into_iter().zip(["gpio-fan", "1", turns]).map(|(path, value)| text(path, value.to_owned())),
        );
        files
    }

    fn clocks(&self) -> impl Iterator<Item = TreeFile> {
        let kilohertz = |mhz: u32| (mhz * 1_000).to_string();
        let points = self.board().points;
        let (top, lowest) = (self.board().top().mhz, points.last().map_or(0, |point| point.mhz));
        let values = [top, lowest, self.clock_shown(), top].map(kilohertz);
        CPUFREQ.into_iter().zip(values).map(|(path, value)| text(path, value))
    }

    fn supply(&self) -> Vec<TreeFile> {
        let online = if self.outside.mains { "1" } else { "0" };
        let mut files = vec![text(MAINS[0], "Mains".to_owned()), text(MAINS[1], online.to_owned())];
        if let Some(battery) = self.battery() {
            let status = if self.outside.mains { "Charging" } else { "Discharging" };
            let microvolts = format!("{:.0}", battery.voltage().0 * 1e6);
            let values =
                ["Battery".to_owned(), status.to_owned(), percent(battery.charge()).to_string(), microvolts];
            files.extend(BATTERY.into_iter().zip(values).map(|(path, value)| text(path, value)));
            let lines = battery
                .registers()
                .map(|(pointer, [high, low])| format!("{pointer:02x}: {high:02x} {low:02x}"));
            files.push(text(INA219, lines.join("\n")));
        }
        files
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn percent(share: Ratio) -> u8 {
    (share.get() * 100.0).round() as u8
}

/// With the line end the kernel writes.
fn text(path: &'static str, mut value: String) -> TreeFile {
    value.push('\n');
    TreeFile { path, content: Content::Text(value) }
}

fn absent(path: &'static str) -> TreeFile {
    TreeFile { path, content: Content::Absent }
}
