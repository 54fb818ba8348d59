//! A Raspberry Pi 4 made of files: what the governor reads instead of the machine this runs on.

use std::path::Path;

use crate::demo::error::DemoError;
use crate::io::scratch::Scratch;
use crate::units::Celsius;

/// Folder of the made-up `sys` and `proc` below the scratch folder.
pub(in crate::demo) const ROOT: &str = "root";

/// The only zone of that board.
const ZONE: &str = "root/sys/class/thermal/thermal_zone0";

/// Makes the board. Memory is that of this process: that much is real.
pub(in crate::demo) fn build_board(scratch: &Scratch, temperature: Celsius) -> Result<(), DemoError> {
    let write = |file: &str, text: &[u8]| scratch.write(file, text).map_err(DemoError::Scratch);
    write("root/proc/device-tree/compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0")?;
    write(&format!("{ZONE}/type"), b"cpu-thermal\n")?;
    write("root/run/systemd/timesync/synchronized", b"")?;
    scratch.link("root/proc/self", Path::new("/proc/self")).map_err(DemoError::Scratch)?;
    set_temperature(scratch, temperature)
}

/// Heats or cools it.
pub(in crate::demo) fn set_temperature(scratch: &Scratch, temperature: Celsius) -> Result<(), DemoError> {
    let text = format!("{:.0}\n", temperature.0 * 1_000.0);
    scratch.write(&format!("{ZONE}/temp"), text.as_bytes()).map_err(DemoError::Scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sysfs::{Sysfs, hottest};
    use crate::runtime::board_profile;

    #[test]
    fn the_made_up_board_is_recognised_and_its_temperature_is_read() {
        let scratch = Scratch::new("tidegate-test").unwrap();
        build_board(&scratch, Celsius(50.0)).unwrap();
        set_temperature(&scratch, Celsius(81.5)).unwrap();
        let sysfs = Sysfs::at(&scratch.path().join(ROOT));
        let profile = board_profile(None, &sysfs).unwrap();
        assert_eq!(profile.name, "raspberry-pi-4");
        let zones = sysfs.thermal_zones().unwrap();
        assert_eq!(hottest(&zones, &profile.thermal.unwrap().zones), Some(Celsius(81.5)));
        assert!(sysfs.process_memory().unwrap().resident.0 > 0);
        assert!(sysfs.time_synchronized().unwrap());
    }
}
