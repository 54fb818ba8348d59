//! What the firmware of a Raspberry Pi says of its supply and its clock.

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, malformed, number, read, read_if_present};

/// Most hwmon devices looked at; boards have a handful.
const HWMON_MAX: usize = 64;

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

    /// Whether the hwmon device of this name says that the supply is too weak; `None` if it is not there.
    ///
    /// Mainline kernels have no file of flags for a Raspberry Pi, only this device, `rpi_volt`.
    pub fn under_voltage(&self, device: &str) -> Result<Option<bool>, SysfsError> {
        for folder in self.numbered("sys/class/hwmon", "hwmon", HWMON_MAX)? {
            // A device that comes or goes while it is looked at is none.
            if read(&folder.join("name")).is_ok_and(|name| name.trim() == device) {
                let alarm: u8 = number(&folder.join("in0_lcrit_alarm"), "0 or 1")?;
                return Ok(Some(alarm != 0));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::io::sysfs::test_tree::tree;

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
    fn the_alarm_of_the_named_device_is_the_sign_of_a_weak_supply() {
        for (alarm, expect) in [("0\n", Ok(Some(false))), ("1\n", Ok(Some(true))), ("weak", Err(()))] {
            let (_root, sysfs) = tree(&[
                ("sys/class/hwmon/hwmon0/name", b"cpu_thermal\n"),
                ("sys/class/hwmon/hwmon2/name", b"rpi_volt\n"),
                ("sys/class/hwmon/hwmon2/in0_lcrit_alarm", alarm.as_bytes()),
            ]);
            assert_eq!(sysfs.under_voltage("rpi_volt").map_err(drop), expect);
            assert_eq!(sysfs.under_voltage("other").unwrap(), None);
        }
    }
}
