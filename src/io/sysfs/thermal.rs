//! Thermal zones: temperatures and trip points.

use std::path::Path;

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, number, read};
use crate::units::Celsius;

/// Most trip points looked at; kernels long allowed no more than these.
const TRIPS_MAX: u32 = 12;

/// Most zones looked at; a server has two dozen.
const ZONES_MAX: usize = 64;

/// One thermal zone.
#[derive(Debug)]
pub struct ThermalZone {
    /// Its type, like `cpu-thermal`.
    pub kind: String,
    /// Its temperature, or why that is not to be had.
    pub temperature: Result<Celsius, SysfsError>,
    /// Its trip points, as far as they can be read.
    pub trips: Vec<Trip>,
}

/// A temperature at which the kernel does something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// What it does.
    pub kind: TripKind,
    /// Where.
    pub at: Celsius,
}

/// What the kernel does at a trip point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripKind {
    /// Turns on a fan.
    Active,
    /// Slows the processor.
    Passive,
    /// Tells the driver.
    Hot,
    /// Shuts down.
    Critical,
}

impl Sysfs {
    /// The thermal zones in the order of their numbers; empty where the kernel has none.
    pub fn thermal_zones(&self) -> Result<Vec<ThermalZone>, SysfsError> {
        let folders = self.numbered("sys/class/thermal", "thermal_zone", ZONES_MAX)?;
        Ok(folders.iter().filter_map(|folder| zone(folder)).collect())
    }
}

/// The hottest of the zones of these types that can be read.
pub fn hottest(zones: &[ThermalZone], kinds: &[String]) -> Option<Celsius> {
    let known = relevant(zones, kinds).filter_map(|zone| zone.temperature.as_ref().ok());
    known.map(|temperature| temperature.0).reduce(f32::max).map(Celsius)
}

/// The trip points of the zones of these types at which the kernel slows, warns or shuts down; fans do not count.
pub fn trip_points<'a>(zones: &'a [ThermalZone], kinds: &'a [String]) -> impl Iterator<Item = Celsius> + 'a {
    let trips = relevant(zones, kinds).flat_map(|zone| &zone.trips);
    trips.filter(|trip| trip.kind != TripKind::Active).map(|trip| trip.at)
}

fn relevant<'a>(zones: &'a [ThermalZone], kinds: &'a [String]) -> impl Iterator<Item = &'a ThermalZone> {
    zones.iter().filter(|zone| kinds.contains(&zone.kind))
}

/// A zone; `None` if it has no type, which is no zone.
fn zone(folder: &Path) -> Option<ThermalZone> {
    let kind = read(&folder.join("type")).ok()?.trim().to_owned();
    let trips = (0..TRIPS_MAX).filter_map(|number| trip(folder, number)).collect();
    Some(ThermalZone { kind, temperature: millidegrees(&folder.join("temp")), trips })
}

/// A trip point; `None` if it is not there or not understood: the board profile has a fallback.
fn trip(folder: &Path, number: u32) -> Option<Trip> {
    let kind = match read(&folder.join(format!("trip_point_{number}_type"))).ok()?.trim() {
        "active" => TripKind::Active,
        "passive" => TripKind::Passive,
        "hot" => TripKind::Hot,
        "critical" => TripKind::Critical,
        _ => return None,
    };
    let at = millidegrees(&folder.join(format!("trip_point_{number}_temp"))).ok()?;
    Some(Trip { kind, at })
}

fn millidegrees(path: &Path) -> Result<Celsius, SysfsError> {
    let number: i32 = number(path, "thousandths of a degree Celsius")?;
    Ok(Celsius(number as f32 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sysfs::test_tree::tree;

    const ZONE: &str = "sys/class/thermal/thermal_zone";

    /// The reader is the task that does everything else: a pipe that nobody writes to would stop the gateway.
    #[test]
    fn a_zone_that_would_have_to_be_waited_for_is_lost() {
        let zones: Vec<(String, &[u8])> =
            vec![(format!("{ZONE}0/type"), b"cpu-thermal\n"), (format!("{ZONE}1/type"), b"cpu-thermal\n")];
        let zones: Vec<(&str, &[u8])> = zones.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (root, sysfs) = tree(&zones);
        let pipe = root.path().join(format!("{ZONE}0/temp"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        std::fs::write(root.path().join(format!("{ZONE}1/temp")), "51000\n").unwrap();
        let zones = sysfs.thermal_zones().unwrap();
        assert!(zones[0].temperature.is_err(), "{zones:?}");
        assert_eq!(hottest(&zones, &["cpu-thermal".to_owned()]), Some(Celsius(51.0)));
    }

    #[test]
    fn zones_are_read_in_order_with_their_trip_points() {
        let (_root, sysfs) = tree(&[
            (&format!("{ZONE}10/type"), b"acpitz\n"),
            (&format!("{ZONE}10/temp"), b"27800\n"),
            (&format!("{ZONE}2/type"), b"cpu-thermal\n"),
            (&format!("{ZONE}2/temp"), b"-1500\n"),
            (&format!("{ZONE}2/trip_point_0_type"), b"active\n"),
            (&format!("{ZONE}2/trip_point_0_temp"), b"50000\n"),
            (&format!("{ZONE}2/trip_point_1_type"), b"passive\n"),
            (&format!("{ZONE}2/trip_point_1_temp"), b"85000\n"),
            (&format!("{ZONE}2/trip_point_2_type"), b"critical\n"),
            (&format!("{ZONE}2/trip_point_2_temp"), b"garbage\n"),
            (&format!("{ZONE}2/trip_point_3_type"), b"novel\n"),
            (&format!("{ZONE}2/trip_point_3_temp"), b"1000\n"),
            (&format!("{ZONE}2/trip_point_4_type"), b"hot\n"),
            (&format!("{ZONE}2/trip_point_4_temp"), b"95000\n"),
            (&format!("{ZONE}3/temp"), b"99000\n"),
            ("sys/class/thermal/cooling_device0/type", b"fan\n"),
        ]);
        let zones = sysfs.thermal_zones().unwrap();
        let kinds: Vec<&str> = zones.iter().map(|zone| zone.kind.as_str()).collect();
        assert_eq!(kinds, ["cpu-thermal", "acpitz"]);
        let cpu = ["cpu-thermal".to_owned()];
        assert_eq!(hottest(&zones, &cpu), Some(Celsius(-1.5)));
        assert_eq!(hottest(&zones, &["acpitz".to_owned(), "cpu-thermal".to_owned()]), Some(Celsius(27.8)));
        assert_eq!(hottest(&zones, &["gpu".to_owned()]), None);
        assert_eq!(trip_points(&zones, &cpu).collect::<Vec<_>>(), [Celsius(85.0), Celsius(95.0)]);
        assert_eq!(zones[0].trips.len(), 3);
    }

    #[test]
    fn a_temperature_that_is_absent_empty_or_garbage_is_an_error_and_no_number() {
        for (temp, expect) in [(None, "read"), (Some(""), "understand"), (Some("hot"), "understand")] {
            let mut files = vec![(format!("{ZONE}0/type"), "cpu-thermal")];
            files.extend(temp.map(|temp| (format!("{ZONE}0/temp"), temp)));
            let files: Vec<(&str, &[u8])> =
                files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
            let (_root, sysfs) = tree(&files);
            let zones = sysfs.thermal_zones().unwrap();
            let error = zones[0].temperature.as_ref().unwrap_err().to_string();
            assert!(error.starts_with(expect) && error.contains("thermal_zone0/temp"), "{error}");
            assert_eq!(hottest(&zones, &["cpu-thermal".to_owned()]), None);
        }
    }
}
