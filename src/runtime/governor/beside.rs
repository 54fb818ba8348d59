//! What is read beside the gauges, because no driver can hold it up: memory, and what the threads of the hardware say.

use std::path::{Path, PathBuf};

use crate::flow::{HardwareReading, PowerReading, PowerSource, Sensed};
use crate::governor::Readings;
use crate::io::memory::read_memory;
use crate::runtime::hardware::HardwareView;

/// Reads it anew at each turn: while a gauge hangs, memory still fills and a battery still empties.
pub(in crate::runtime::governor) struct Beside {
    root: PathBuf,
    hardware: HardwareView,
}

impl Beside {
    pub(in crate::runtime::governor) fn new(root: &Path, hardware: HardwareView) -> Self {
        Self { root: root.to_owned(), hardware }
    }

    /// Adds it to what the gauges said, now or last.
    pub(in crate::runtime::governor) fn add(&self, to: &mut Readings) {
        let wired = self.hardware.current(to.at);
        to.hardware = HardwareReading { power: merged(wired.power, to.hardware.power), ..wired };
        to.memory = read_memory(&self.root);
    }
}

/// What was wired counts where it says anything: it was wired to know better.
fn merged(wired: PowerReading, kernel: PowerReading) -> PowerReading {
    PowerReading {
        source: if wired.source == PowerSource::Unknown { kernel.source } else { wired.source },
        charge: first(wired.charge, kernel.charge),
        voltage: first(wired.voltage, kernel.voltage),
        draw: first(wired.draw, kernel.draw),
        failing: wired.failing || kernel.failing,
    }
}

fn first<T>(wired: Sensed<T>, kernel: Sensed<T>) -> Sensed<T> {
    match wired {
        Sensed::Absent => kernel,
        Sensed::Lost | Sensed::Known(_) => wired,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::clock::Uptime;
    use crate::flow::MemoryReading;
    use crate::runtime::hardware::HardwareVoice;
    use crate::units::{Bytes, Celsius, Ratio};

    #[test]
    fn memory_cabinet_and_battery_are_of_now_however_old_the_gauges_are() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/status"), "VmRSS: 2048 kB\nRssAnon: 1024 kB\n").unwrap();
        let (voice, view) = HardwareVoice::channel();
        let beside = Beside::new(root.path(), view);
        let charged = |charge| PowerReading {
            source: PowerSource::Battery,
            charge: Sensed::Known(Ratio::new(charge).unwrap()),
            ..PowerReading::default()
        };
        let of = |power, celsius| HardwareReading { power, cabinet: Sensed::Known(Celsius(celsius)) };
        let mut last = Readings {
            memory: MemoryReading { used: Bytes(7), ..MemoryReading::default() },
            hardware: of(charged(0.9), 20.0),
            ..Readings::default()
        };
        voice.say(of(charged(0.1), 70.0), Uptime::ZERO);
        beside.add(&mut last);
        assert_eq!((last.memory.used, last.hardware), (Bytes(1 << 20), of(charged(0.1), 70.0)));
        last.at = Uptime::ZERO.after(Duration::from_mins(1));
        beside.add(&mut last);
        assert_eq!((last.hardware.cabinet, last.hardware.power.charge), (Sensed::Lost, Sensed::Lost));
    }

    #[test]
    fn what_is_wired_goes_before_what_the_kernel_says() {
        let (voice, view) = HardwareVoice::channel();
        let beside = Beside::new(Path::new("/proc/none"), view);
        let mains = PowerReading { source: PowerSource::Mains, ..PowerReading::default() };
        let merged = || {
            let hardware = HardwareReading { power: mains, ..HardwareReading::default() };
            let mut readings = Readings { hardware, ..Readings::default() };
            beside.add(&mut readings);
            readings.hardware.power
        };
        assert_eq!(merged(), mains);
        let power =
            PowerReading { source: PowerSource::Battery, charge: Sensed::Lost, ..PowerReading::default() };
        voice.say(HardwareReading { power, ..HardwareReading::default() }, Uptime::ZERO);
        assert_eq!(merged(), power);
    }
}
