//! What Linux tells in small files: heat, memory of this process, which board this is, whether the time is known.
//!
//! # Invariants
//! * Everything lies below one root, so that tests and a recorded board can stand in for the real one.
//! * What the kernel does not offer is `None` or empty; what it offers and cannot be understood is an error.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::units::{Bytes, Celsius};

/// Longest file read: sysfs gives at most a page, `/proc/self/status` less than two.
const FILE_MAX: u64 = 64 << 10;

/// Most trip points looked at; kernels long allowed no more than these.
const TRIPS_MAX: u32 = 12;

/// Most zones looked at; a server has two dozen.
const ZONES_MAX: usize = 64;

/// Reads the small files of Linux.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

/// Why a file of the kernel could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SysfsError {
    /// It is there and cannot be read: no permission, or its driver failed.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("understand {}: found {found:?}, expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// How it begins.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
}

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

/// Memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// All resident pages (`VmRSS`), the program's own files included.
    pub resident: Bytes,
    /// Resident pages no file backs (`RssAnon`): heap and stacks; `None` before Linux 4.5.
    pub anonymous: Option<Bytes>,
}

/// Throttling flags of the Raspberry Pi firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleFlags(u32);

impl ThrottleFlags {
    /// The supply is too weak at this moment.
    pub fn under_voltage(self) -> bool {
        self.0 & 1 != 0
    }

    /// The clock is held down at this moment: capped, throttled or at the soft limit.
    pub fn slowed(self) -> bool {
        self.0 & 0b1110 != 0
    }

    /// Any of it has happened since the start of the board.
    pub fn ever(self) -> bool {
        self.0 & 0xf_0000 != 0
    }
}

impl Sysfs {
    /// Below this root: `/` on a device.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The thermal zones in the order of their numbers; empty where the kernel has none.
    pub fn thermal_zones(&self) -> Result<Vec<ThermalZone>, SysfsError> {
        const PREFIX: &str = "thermal_zone";
        let folder = self.path("sys/class/thermal");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(SysfsError::Read { path: folder, source }),
        };
        let mut numbers: Vec<u32> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.truncate(ZONES_MAX);
        Ok(numbers.iter().filter_map(|number| zone(&folder.join(format!("{PREFIX}{number}")))).collect())
    }

    /// Memory of this process.
    pub fn process_memory(&self) -> Result<ProcessMemory, SysfsError> {
        let path = self.path("proc/self/status");
        let text = read(&path)?;
        let resident = field(&text, "VmRSS").ok_or_else(|| malformed(&path, &text, "a line VmRSS in kB"))?;
        Ok(ProcessMemory { resident, anonymous: field(&text, "RssAnon") })
    }

    /// Memory of this process with shared pages counted by share; `None` where the kernel does not tell.
    ///
    /// The kernel walks every page for it: for reports, not for control.
    pub fn process_share(&self) -> Result<Option<Bytes>, SysfsError> {
        let path = self.path("proc/self/smaps_rollup");
        let Some(text) = read_if_present(&path)? else { return Ok(None) };
        field(&text, "Pss").map(Some).ok_or_else(|| malformed(&path, &text, "a line Pss in kB"))
    }

    /// Compatible texts of the device tree, the most specific first; empty without a device tree.
    pub fn compatible(&self) -> Result<Vec<String>, SysfsError> {
        let text = read_if_present(&self.path("proc/device-tree/compatible"))?.unwrap_or_default();
        Ok(text.split('\0').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect())
    }

    /// Product name in DMI; `None` without DMI.
    pub fn product_name(&self) -> Result<Option<String>, SysfsError> {
        let text = read_if_present(&self.path("sys/class/dmi/id/product_name"))?;
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Whether systemd-timesyncd has set the clock since the start of the board.
    pub fn time_synchronized(&self) -> Result<bool, SysfsError> {
        let path = self.path("run/systemd/timesync/synchronized");
        path.try_exists().map_err(|source| SysfsError::Read { path, source })
    }

    /// Throttling flags in the file a board profile names; `None` if it is not there.
    pub fn throttle_flags(&self, file: &str) -> Result<Option<ThrottleFlags>, SysfsError> {
        let path = self.path(file);
        let Some(text) = read_if_present(&path)? else { return Ok(None) };
        let digits = text.trim();
        let flags = u32::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16);
        flags
            .map(|flags| Some(ThrottleFlags(flags)))
            .map_err(|_| malformed(&path, &text, "a hexadecimal number"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
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
    let text = read(path)?;
    let number: i32 =
        text.trim().parse().map_err(|_| malformed(path, &text, "thousandths of a degree Celsius"))?;
    Ok(Celsius(number as f32 / 1000.0))
}

/// The value of a line `name:   123 kB`.
fn field(text: &str, name: &str) -> Option<Bytes> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024).map(Bytes)
}

/// The text of a file, with what is not UTF-8 replaced.
fn read(path: &Path) -> Result<String, SysfsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes))
        .map_err(|source| SysfsError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_if_present(path: &Path) -> Result<Option<String>, SysfsError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(SysfsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn malformed(path: &Path, found: &str, expected: &'static str) -> SysfsError {
    SysfsError::Malformed { path: path.to_owned(), found: found.chars().take(40).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fake root with these files.
    fn tree(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Sysfs) {
        let root = tempfile::tempdir().unwrap();
        for (file, bytes) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let sysfs = Sysfs::at(root.path());
        (root, sysfs)
    }

    const ZONE: &str = "sys/class/thermal/thermal_zone";

    #[test]
    fn an_empty_system_has_nothing_and_that_is_no_fault() {
        let (_root, sysfs) = tree(&[]);
        assert!(sysfs.thermal_zones().unwrap().is_empty());
        assert!(sysfs.compatible().unwrap().is_empty());
        assert_eq!(sysfs.product_name().unwrap(), None);
        assert_eq!(sysfs.process_share().unwrap(), None);
        assert_eq!(sysfs.throttle_flags("/sys/devices/get_throttled").unwrap(), None);
        assert!(!sysfs.time_synchronized().unwrap());
        assert!(matches!(sysfs.process_memory(), Err(SysfsError::Read { .. })));
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

    #[test]
    fn memory_is_read_in_kibibytes() {
        let status =
            b"Name:\ttidegate\nVmHWM:\t  9999 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nThreads:\t4\n";
        let (_root, sysfs) = tree(&[
            ("proc/self/status", status),
            (
                "proc/self/smaps_rollup",
                b"5581-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 10 kB\nPss_Dirty: 3 kB\nPss: 7 kB\n",
            ),
        ]);
        let memory = sysfs.process_memory().unwrap();
        assert_eq!(memory, ProcessMemory { resident: Bytes(2 << 20), anonymous: Some(Bytes(1 << 20)) });
        assert_eq!(sysfs.process_share().unwrap(), Some(Bytes(7 << 10)));
        for garbage in [
            &b""[..],
            b"VmRSS: many kB\n",
            b"VmRSS: 3 MB\n",
            b"VmRSS: 99999999999999999999 kB\n",
            b"\xff\xfe",
        ] {
            let (_root, sysfs) = tree(&[("proc/self/status", garbage), ("proc/self/smaps_rollup", garbage)]);
            assert!(matches!(sysfs.process_memory(), Err(SysfsError::Malformed { .. })));
            assert!(matches!(sysfs.process_share(), Err(SysfsError::Malformed { .. })));
        }
    }

    #[test]
    fn the_board_is_told_by_device_tree_or_dmi() {
        let (_root, sysfs) = tree(&[
            ("proc/device-tree/compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0"),
            ("sys/class/dmi/id/product_name", b"Box PC 3\n"),
        ]);
        assert_eq!(sysfs.compatible().unwrap(), ["raspberrypi,4-model-b", "brcm,bcm2711"]);
        assert_eq!(sysfs.product_name().unwrap().as_deref(), Some("Box PC 3"));
        let (_root, empty) =
            tree(&[("proc/device-tree/compatible", b""), ("sys/class/dmi/id/product_name", b"\n")]);
        assert!(empty.compatible().unwrap().is_empty());
        assert_eq!(empty.product_name().unwrap(), None);
    }

    #[test]
    fn throttling_flags_are_hexadecimal() {
        // Bit 0 under-voltage, 1 to 3 slowed, 16 to 19 the same since start.
        for (text, expect) in [
            ("0\n", Some((false, false, false))),
            ("50005\n", Some((true, true, true))),
            ("0x50000\n", Some((false, false, true))),
            ("8", Some((false, true, false))),
            ("", None),
            ("throttled", None),
        ] {
            let (_root, sysfs) = tree(&[("sys/devices/get_throttled", text.as_bytes())]);
            let flags = sysfs.throttle_flags("/sys/devices/get_throttled");
            let flags =
                flags.ok().flatten().map(|flags| (flags.under_voltage(), flags.slowed(), flags.ever()));
            assert_eq!(flags, expect, "{text:?}");
        }
    }

    #[test]
    fn the_time_is_known_once_the_mark_is_there() {
        let (_root, sysfs) = tree(&[("run/systemd/timesync/synchronized", b"")]);
        assert!(sysfs.time_synchronized().unwrap());
    }

    #[test]
    fn this_machine_can_be_read() {
        let memory = Sysfs::at(Path::new("/")).process_memory().unwrap();
        assert!(memory.resident > Bytes(1 << 20));
    }
}
