//! A Raspberry Pi 4 made of files: what the governor reads instead of the machine this runs on.

use std::path::Path;
use std::time::Duration;

use crate::demo::error::DemoError;
use crate::demo::script::Script;
use crate::demo::twin::{Board, Content, Cooling, Outside, Twin};
use crate::io::scratch::Scratch;
use crate::units::Celsius;

/// Folder of the made-up `sys` and `proc` below the scratch folder.
pub(in crate::demo) const ROOT: &str = "root";

/// Time on the board in the whole of the script: the case of the board takes nine minutes to follow the air, and a heat wave
/// is to come and go. A script of 45 s runs 240 times faster than the board.
const BOARD_TIME: Duration = Duration::from_hours(3);

/// Processor time on the board for each that the models take here: a Cortex-A72 takes about five times as long as the processor of a desk,
/// and what is judged here stands for a plant of forty times as many machines.
const WORK: f32 = 200.0;

/// The models run on one thread.
const BUSY_MAX: f32 = 1.0;

/// What else runs on the board, in cores: broker, decoding, the system. Assumption.
const ELSE: f32 = 0.2;

/// The board and what has heated it so far.
pub(in crate::demo) struct HotBoard {
    twin: Twin,
    script: Script,
    at: Duration,
    /// Processor time the models had taken by then.
    worked: Duration,
    hottest: Celsius,
}

impl HotBoard {
    /// Makes the board. Memory is that of this process: that much is real.
    pub(in crate::demo) fn build(scratch: &Scratch, script: Script) -> Result<Self, DemoError> {
        let write = |file: &str, text: &[u8]| scratch.write(file, text).map_err(DemoError::Scratch);
        write("root/proc/device-tree/compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0")?;
        write("root/run/systemd/timesync/synchronized", b"")?;
        scratch.link("root/proc/self", Path::new("/proc/self")).map_err(DemoError::Scratch)?;
        let outside = Outside::at(script.ambient(Duration::ZERO));
        let twin = Twin::settled(Board::pi_4(Cooling::PASSIVE), outside);
        let hottest = twin.chip();
        let board = Self { twin, script, at: Duration::ZERO, worked: Duration::ZERO, hottest };
        board.write(scratch)?;
        Ok(board)
    }

    /// Lets the time of the script go on: the air follows the script, the heat comes from the work.
    pub(in crate::demo) fn follow(
        &mut self,
        scratch: &Scratch,
        at: Duration,
        worked: Duration,
    ) -> Result<(), DemoError> {
        let passed = at.saturating_sub(self.at);
        if !passed.is_zero() {
            let share = worked.saturating_sub(self.worked).as_secs_f32() / passed.as_secs_f32();
            let faster = BOARD_TIME.as_secs_f32() / self.script.length().as_secs_f32();
            self.twin.outside.ambient = self.script.ambient(at);
            self.twin.advance(passed.mul_f32(faster), (share * WORK).min(BUSY_MAX) + ELSE);
            (self.at, self.worked) = (at, worked);
            self.hottest = Celsius(self.hottest.0.max(self.twin.chip().0));
        }
        self.write(scratch)
    }

    /// The hottest the chip has been.
    pub(in crate::demo) fn hottest(&self) -> Celsius {
        self.hottest
    }

    fn write(&self, scratch: &Scratch) -> Result<(), DemoError> {
        for file in self.twin.files() {
            let path = format!("{ROOT}/{}", file.path);
            let written = match file.content {
                Content::Text(text) => scratch.write(&path, text.as_bytes()),
                Content::Absent => scratch.remove(&path),
                Content::Unreadable => scratch.obstruct(&path),
            };
            written.map_err(DemoError::Scratch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::twin::SensorFault;
    use crate::io::sysfs::{Sysfs, hottest, trip_points};
    use crate::runtime::board_profile;

    /// A board and what the gateway's own reader makes of it.
    fn board(scratch: &Scratch) -> (HotBoard, Sysfs) {
        let board = HotBoard::build(scratch, Script::new(Duration::from_secs(45))).unwrap();
        (board, Sysfs::at(&scratch.path().join(ROOT)))
    }

    #[test]
    fn the_made_up_board_is_recognised_and_its_temperature_is_read() {
        let scratch = Scratch::new("tidegate-test").unwrap();
        let (board, sysfs) = board(&scratch);
        let profile = board_profile(None, &sysfs).unwrap();
        assert_eq!(profile.name, "raspberry-pi-4");
        let thermal = profile.thermal.unwrap();
        let zones = sysfs.thermal_zones().unwrap();
        let read = hottest(&zones, &thermal.zones).unwrap().0;
        assert!((read - board.hottest().0).abs() < 0.3, "{read}");
        // The kernel's own trip point is far above the firmware's.
        assert_eq!(thermal.trip_among(trip_points(&zones, &thermal.zones)), Celsius(80.0));
        assert!(sysfs.process_memory().unwrap().resident.0 > 0);
        assert!(sysfs.time_synchronized().unwrap());
    }

    #[test]
    fn every_fault_of_the_thermometer_is_seen_through_the_files() {
        let scratch = Scratch::new("tidegate-test").unwrap();
        let (mut board, sysfs) = board(&scratch);
        let mut seen = |fault| {
            board.twin.outside.fault = fault;
            board.twin.outside.supply = crate::units::Volts(4.5);
            board.twin.advance(Duration::from_secs(1), 0.0);
            board.write(&scratch).unwrap();
            let zones = sysfs.thermal_zones().unwrap();
            let zone = zones.first().map(|zone| zone.temperature.as_ref().ok().map(|found| found.0));
            (zone, zones.first().map_or(0, |zone| zone.trips.len()))
        };
        assert_eq!(seen(SensorFault::Says(Celsius(-40.0))), (Some(Some(-40.0)), 1));
        assert_eq!(seen(SensorFault::Unreadable), (Some(None), 1));
        assert_eq!(seen(SensorFault::Lost), (None, 0));
        assert!(matches!(seen(SensorFault::None), (Some(Some(_)), 1)));
        let flags = sysfs.throttle_flags("/sys/devices/platform/soc/soc:firmware/get_throttled").unwrap();
        assert!(flags.is_some_and(|flags| flags.under_voltage() && flags.slowed() && flags.ever()));
    }

    #[test]
    fn the_heat_of_the_script_needs_the_governor_and_the_work_adds_to_it() {
        let hottest = |busy: u32| {
            let scratch = Scratch::new("tidegate-test").unwrap();
            let (mut board, _) = board(&scratch);
            let mut worked = Duration::ZERO;
            for turn in 1..=450 {
                worked += Duration::from_micros(5) * busy;
                board.follow(&scratch, Duration::from_millis(100) * turn, worked).unwrap();
            }
            let last = board.twin.chip().0;
            assert!(last < 65.0, "it cools down again: {last}");
            board.hottest().0
        };
        let (idle, working) = (hottest(0), hottest(100));
        // An emergency begins at 77.8 °C; the gateway at rest stays below 80, at work it would not.
        assert!((77.9..80.0).contains(&idle) && working > idle + 2.0, "{idle} {working}");
    }
}
