//! Which board this is, and whether its time is known.

use crate::io::sysfs::Sysfs;
use crate::io::sysfs::file::{SysfsError, read_if_present};

impl Sysfs {
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
}

#[cfg(test)]
mod tests {
    use crate::io::sysfs::SysfsError;
    use crate::io::sysfs::test_tree::tree;

    #[test]
    fn an_empty_system_has_nothing_and_that_is_no_fault() {
        let (_root, sysfs) = tree(&[]);
        assert!(sysfs.thermal_zones().unwrap().is_empty());
        assert!(sysfs.compatible().unwrap().is_empty());
        assert_eq!(sysfs.product_name().unwrap(), None);
        assert_eq!(sysfs.throttle_flags("/sys/devices/get_throttled").unwrap(), None);
        assert!(!sysfs.time_synchronized().unwrap());
        assert!(matches!(sysfs.process_memory(), Err(SysfsError::Read { .. })));
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
    fn the_time_is_known_once_the_mark_is_there() {
        let (_root, sysfs) = tree(&[("run/systemd/timesync/synchronized", b"")]);
        assert!(sysfs.time_synchronized().unwrap());
    }
}
