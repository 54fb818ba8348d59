//! What drivers of the kernel tell the governor, once a turn: heat, clock, supply.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::board::{Profile, Thermal};
use crate::clock::Uptime;
use crate::config::TemperatureLimit;
use crate::flow::HardwareReading;
use crate::governor::Readings;
use crate::io::sysfs::{
    CoolingDevice, Sysfs, SysfsError, ThrottleFlags, clock_share, hottest, power, trip_points,
};
use crate::runtime::governor::reader::Seen;
use crate::telemetry::{Metric, Metrics};
use crate::units::{Celsius, Millicores};

/// Stands for the temperatures of a board without a sensor; heat limits nothing there.
pub(in crate::runtime::governor) const NO_HEAT: Celsius = Celsius(0.0);

/// The gauges of one board.
pub(in crate::runtime::governor) struct Gauges {
    sysfs: Sysfs,
    profile: Profile,
    limit: TemperatureLimit,
    metrics: Arc<Metrics>,
    /// Types of the zones that have ever told their temperature. One that falls silent is lost, however cool the others
    /// are; one that never spoke belongs to a part that is switched off.
    spoken: BTreeSet<String>,
    /// Processor time of the models when last looked at, in microseconds.
    busy: Option<(Uptime, u64)>,
}

impl Gauges {
    pub(in crate::runtime::governor) fn new(
        root: &Path,
        profile: Profile,
        limit: TemperatureLimit,
        metrics: Arc<Metrics>,
    ) -> Self {
        let sysfs = Sysfs::at(root);
        Self { sysfs, profile, limit, metrics, spoken: BTreeSet::new(), busy: None }
    }

    /// Whether the board has a temperature sensor, found or promised.
    pub(in crate::runtime::governor) fn has_sensor(&self) -> bool {
        let zones = self.sysfs.thermal_zones().unwrap_or_default();
        let found = |thermal: &Thermal| zones.iter().any(|zone| thermal.zones.contains(&zone.kind));
        self.profile.thermal.as_ref().is_some_and(|thermal| thermal.has_sensor(found(thermal)))
    }

    /// What cannot be read is told to the governor as absent or lost: it decides what that means.
    pub(in crate::runtime::governor) fn read(&mut self, at: Uptime) -> Seen {
        let time_is_known = self.sysfs.time_synchronized().unwrap_or(false);
        Seen { readings: self.readings(at), time_is_known }
    }

    fn readings(&mut self, at: Uptime) -> Readings {
        let (temperature, trip) = self.heat();
        let (flags, alarm) = (self.flags(), self.alarm());
        let flags_lost = flags.is_err() || alarm.is_err();
        let flags = flags.ok().flatten();
        let cooling = self.sysfs.cooling_devices().unwrap_or_default();
        let flagged = flags.is_some_and(ThrottleFlags::slowed);
        let policies = self.sysfs.clock_policies().unwrap_or_default();
        let full = self.profile.cpufreq.and_then(|clock| clock.full);
        let slowed = flagged || cooling.iter().any(CoolingDevice::slows);
        let power = power(&self.sysfs.power_supplies().unwrap_or_default());
        Readings {
            at,
            temperature,
            trip,
            clock: clock_share(&policies, full, slowed),
            under_voltage: flags.is_some_and(ThrottleFlags::under_voltage) || matches!(alarm, Ok(Some(true))),
            slowed,
            flags_lost,
            busy: self.busy(at),
            hardware: HardwareReading { power, ..HardwareReading::default() },
            ..Readings::default()
        }
    }

    fn heat(&mut self) -> (Option<Celsius>, Celsius) {
        let Some(thermal) = &self.profile.thermal else { return (None, NO_HEAT) };
        let zones = self.sysfs.thermal_zones().unwrap_or_default();
        let trip = match self.limit {
            TemperatureLimit::Auto => thermal.trip_among(trip_points(&zones, &thermal.zones)),
            TemperatureLimit::Fixed(limit) => limit,
        };
        let speaking: BTreeSet<&str> = zones
            .iter()
            .filter(|zone| thermal.zones.contains(&zone.kind) && zone.temperature.is_ok())
            .map(|zone| zone.kind.as_str())
            .collect();
        let is_lost = self.spoken.iter().any(|zone| !speaking.contains(zone.as_str()));
        self.spoken.extend(speaking.into_iter().map(str::to_owned));
        (hottest(&zones, &thermal.zones).filter(|_| !is_lost), trip)
    }

    fn flags(&self) -> Result<Option<ThrottleFlags>, SysfsError> {
        self.profile.throttle_flags.as_deref().map_or(Ok(None), |file| self.sysfs.throttle_flags(file))
    }

    /// The alarm of the supply where the firmware has no file of flags.
    fn alarm(&self) -> Result<Option<bool>, SysfsError> {
        self.profile.throttle_hwmon.as_deref().map_or(Ok(None), |device| self.sysfs.under_voltage(device))
    }

    /// Processor time of the models per time since the turn before.
    fn busy(&mut self, at: Uptime) -> Option<Millicores> {
        let spent = self.metrics.get(Metric::InferBusy);
        let (then, before) = self.busy.replace((at, spent))?;
        let passed = u64::try_from(at.since(then).as_micros()).ok().filter(|passed| *passed > 0)?;
        let millis = spent.saturating_sub(before).saturating_mul(1_000) / passed;
        Some(Millicores(u32::try_from(millis).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::flow::{PowerSource, Sensed};
    use crate::runtime::governor::board_profile;
    use crate::units::Ratio;

    /// A Raspberry Pi 4 of files.
    fn board(files: &[(&str, &str)]) -> (tempfile::TempDir, Gauges) {
        let root = tempfile::tempdir().unwrap();
        let pi = [
            ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "61500\n"),
        ];
        for (file, text) in pi.iter().chain(files) {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let profile = board_profile(None, &Sysfs::at(root.path())).unwrap();
        let metrics = Arc::new(Metrics::new());
        let gauges = Gauges::new(root.path(), profile, TemperatureLimit::Auto, metrics);
        (root, gauges)
    }

    #[test]
    fn a_throttled_pi_is_read_with_its_clock_and_its_supply() {
        const POLICY: &str = "sys/devices/system/cpu/cpufreq/policy0";
        let flags = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let (_root, mut gauges) = board(&[
            (flags, "50005\n"),
            (&format!("{POLICY}/scaling_cur_freq"), "600000"),
            (&format!("{POLICY}/cpuinfo_max_freq"), "1500000"),
            ("sys/class/power_supply/BAT0/type", "Battery"),
            ("sys/class/power_supply/BAT0/status", "Discharging"),
            ("sys/class/power_supply/BAT0/capacity", "40"),
        ]);
        assert!(gauges.has_sensor());
        let readings = gauges.readings(Uptime::ZERO);
        assert_eq!((readings.temperature, readings.trip), (Some(Celsius(61.5)), Celsius(80.0)));
        assert!(readings.under_voltage && readings.slowed);
        assert_eq!((readings.clock, readings.busy), (Ratio::new(0.4), None));
        let supply = readings.hardware.power;
        assert_eq!(
            (supply.source, supply.charge),
            (PowerSource::Battery, Sensed::Known(Ratio::new(0.4).unwrap()))
        );
        gauges.metrics.add(Metric::InferBusy, 250_000);
        let later = gauges.readings(Uptime::ZERO.after(Duration::from_secs(1)));
        assert_eq!(later.busy, Some(Millicores(250)));
    }

    #[test]
    fn a_zone_that_falls_silent_is_lost_however_cool_the_others_are() {
        let (root, mut gauges) = board(&[
            ("proc/device-tree/compatible", "nvidia,p3450-0000\0nvidia,tegra210\0"),
            ("sys/class/thermal/thermal_zone1/type", "GPU-therm\n"),
            ("sys/class/thermal/thermal_zone1/temp", "40000\n"),
            ("sys/class/thermal/thermal_zone2/type", "PLL-therm\n"),
        ]);
        let hottest = |gauges: &mut Gauges| gauges.readings(Uptime::ZERO).temperature;
        assert_eq!(hottest(&mut gauges), Some(Celsius(61.5)), "a zone that never spoke is none");
        let chip = root.path().join("sys/class/thermal/thermal_zone0/temp");
        fs::remove_file(&chip).unwrap();
        assert_eq!(hottest(&mut gauges), None, "the 40 °C of the other one are not those of the board");
        fs::write(&chip, "62000\n").unwrap();
        assert_eq!(hottest(&mut gauges), Some(Celsius(62.0)));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_gauge_is_lost_and_waited_for_by_nobody() {
        let (root, mut gauges) = board(&[]);
        let chip = root.path().join("sys/class/thermal/thermal_zone0/temp");
        fs::remove_file(&chip).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &chip, mode).unwrap();
        assert_eq!(gauges.readings(Uptime::ZERO).temperature, None, "nobody writes");
        let _writer = fs::OpenOptions::new().read(true).write(true).open(&chip).unwrap();
        assert_eq!(gauges.readings(Uptime::ZERO).temperature, None, "somebody could write");
    }

    #[test]
    fn flags_that_cannot_be_read_are_lost_and_those_that_are_not_there_are_not() {
        let flags = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let (root, mut gauges) = board(&[]);
        assert!(!gauges.readings(Uptime::ZERO).flags_lost, "a kernel that is not Raspberry Pi's has none");
        let path = root.path().join(flags);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, lost) in [("0", false), ("throttled", true), ("50005", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(gauges.readings(Uptime::ZERO).flags_lost, lost, "{text}");
        }
    }
}
