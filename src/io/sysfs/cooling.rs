//! Cooling devices: fans, and the kernel's way to hold the clock down.

use std::path::Path;

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, number, read};

/// Most cooling devices looked at: one a core and a few fans.
const DEVICES_MAX: usize = 64;

/// How the types of those begin that cool by slowing the processor: by its clock (of late, and before), by idling it,
/// and by ACPI.
const SLOWING: [&str; 5] = ["cpufreq-", "thermal-cpufreq-", "thermal-idle-", "intel_powerclamp", "Processor"];

/// A cooling device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoolingDevice {
    /// Its type, like `gpio-fan` or `cpufreq-cpu0`.
    pub kind: String,
    /// How much it cools; 0: not at all. Drivers give -1 for off.
    pub state: i32,
    /// How much it can cool.
    pub max: i32,
}

impl CoolingDevice {
    /// Whether the kernel slows the processor by it at this moment. A fan that turns slows nothing.
    pub fn slows(&self) -> bool {
        self.state > 0 && SLOWING.iter().any(|kind| self.kind.starts_with(kind))
    }
}

impl Sysfs {
    /// The cooling devices in the order of their numbers, as far as they can be read; empty where there are none.
    pub fn cooling_devices(&self) -> Result<Vec<CoolingDevice>, SysfsError> {
        let folders = self.numbered("sys/class/thermal", "cooling_device", DEVICES_MAX)?;
        Ok(folders.iter().filter_map(|folder| device(folder).ok()).collect())
    }
}

fn device(folder: &Path) -> Result<CoolingDevice, SysfsError> {
    let step = |file: &str| number(&folder.join(file), "a whole number");
    Ok(CoolingDevice {
        kind: read(&folder.join("type"))?.trim().to_owned(),
        state: step("cur_state")?,
        max: step("max_state")?,
    })
}

#[cfg(test)]
mod tests {
    use crate::io::sysfs::test_tree::tree;

    #[test]
    fn a_clock_held_down_slows_and_a_fan_does_not() {
        let device = |number: u8, kind, state: &'static str| {
            let folder = format!("sys/class/thermal/cooling_device{number}");
            [
                (format!("{folder}/type"), kind),
                (format!("{folder}/cur_state"), state),
                (format!("{folder}/max_state"), "4"),
            ]
        };
        let files = [
            device(0, "gpio-fan", "1\n"),
            device(1, "cpufreq-cpu0", "0\n"),
            device(2, "thermal-cpufreq-0", "3\n"),
            device(3, "Processor", "2\n"),
            device(4, "intel_powerclamp", "-1\n"),
            device(5, "cpufreq-cpu4", "garbage\n"),
        ];
        let files: Vec<_> =
            files.iter().flatten().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        let (_root, sysfs) = tree(&files);
        let devices = sysfs.cooling_devices().unwrap();
        let slows: Vec<_> = devices.iter().map(|device| (device.kind.as_str(), device.slows())).collect();
        let expect = [
            ("gpio-fan", false),
            ("cpufreq-cpu0", false),
            ("thermal-cpufreq-0", true),
            ("Processor", true),
            ("intel_powerclamp", false),
        ];
        assert_eq!(slows, expect);
        assert!(tree(&[]).1.cooling_devices().unwrap().is_empty());
    }
}
