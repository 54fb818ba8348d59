//! A board file, read and checked.

use std::time::Duration;

use toml::Table;

use crate::board::hardware::HardwarePlan;
use crate::board::reader::{ProfileFault, Reader};
use crate::board::tables::profile;
use crate::units::{Bytes, Celsius, Hertz, Watts};

/// What is known of a kind of board.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Name, as in `gateway.board` and as the file.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// How it is recognised.
    pub recognise: Recognise,
    /// Memory of the smallest variant; `None`: unknown.
    pub memory: Option<Bytes>,
    /// Processor cores; `None`: unknown.
    pub cores: Option<u16>,
    /// Its temperature sensors; `None`: it has none.
    pub thermal: Option<Thermal>,
    /// Its clock as Linux tells it; `None`: nothing is known of it.
    pub cpufreq: Option<Cpufreq>,
    /// Fans and the like; `None`: nothing is known of them.
    pub cooling: Option<Cooling>,
    /// File with the throttling flags of the firmware, below `/sys`.
    pub throttle_flags: Option<String>,
    /// Name of the hwmon device whose `in0_lcrit_alarm` says that the supply is too weak.
    pub throttle_hwmon: Option<String>,
    /// What it draws; `None`: unknown, and no energy is told.
    pub power: Option<PowerModel>,
    /// What is soldered on. Its watchdog is what the board has, not what is used: see [`HardwarePlan::with`].
    pub hardware: HardwarePlan,
    /// What the service gets here where the configuration does not say it.
    pub budget: BoardBudget,
}

/// How a board is recognised. Any one entry suffices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognise {
    /// Device-tree compatible texts.
    pub compatible: Vec<String>,
    /// DMI product names.
    pub dmi: Vec<String>,
    /// Processor, in the words of `std::env::consts::ARCH`: the board of last resort for it.
    pub arch: Option<String>,
}

/// Temperature sensors of a board and what their values mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Thermal {
    /// Types of the zones that count; the hottest decides.
    pub zones: Vec<String>,
    /// What it means if none of them is there.
    pub presence: Presence,
    /// Temperature at which nothing of the headroom is used.
    pub ok: Celsius,
    /// Lowest trip point where the system reports none.
    pub trip: Celsius,
    /// Where the hardware slows itself without a trip point that says so: a ceiling.
    pub throttle: Option<Celsius>,
    /// Points the system reports below this move a fan and nothing else; `None`: all above `ok` count.
    pub trips_from: Option<Celsius>,
    /// How long bit-identical readings are believed; `None`: for ever.
    pub frozen_after: Option<Duration>,
}

/// The clock of the processor as Linux tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpufreq {
    /// What it means if Linux does not tell it.
    pub presence: Presence,
    /// The clock at full speed, where Linux does not tell the limit; `None`: unknown.
    pub full: Option<Hertz>,
}

/// What cools the board by itself: `/sys/class/thermal/cooling_device*` of these types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooling {
    /// Types of the devices.
    pub devices: Vec<String>,
    /// What it means if none of them is there.
    pub presence: Presence,
}

/// What a board draws: `idle`, and `core` more for each core at work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerModel {
    /// The board at rest.
    pub idle: Watts,
    /// Each core at full work, besides.
    pub core: Watts,
}

/// What it means if something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The board is broken, or its kernel lacks a driver: a fault.
    Required,
    /// Nothing can be known of it, and it limits nothing.
    IfPresent,
}

/// What the service may use on a board unless configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardBudget {
    /// Memory of the process, models included.
    pub memory: Bytes,
    /// Cores for inference.
    pub cpu: f32,
}

impl Profile {
    /// Reads a board file. The error holds every fault.
    pub fn parse(text: &str) -> Result<Self, Vec<ProfileFault>> {
        let table = text.parse::<Table>().map_err(|error| {
            let problem = error.to_string().trim_end().to_owned();
            vec![ProfileFault { key: String::new(), problem, allowed: "TOML".to_owned() }]
        })?;
        let mut faults = Vec::new();
        let profile = Reader::read("", table, &mut faults, profile);
        match profile {
            Some(profile) if faults.is_empty() => Ok(profile),
            Some(_) | None => Err(faults),
        }
    }
}

impl Thermal {
    /// Whether the temperature is to be had, given whether any of the zones was found at start.
    pub fn has_sensor(&self, found: bool) -> bool {
        match self.presence {
            Presence::Required => true,
            Presence::IfPresent => found,
        }
    }

    /// The lowest trip point: of those the system reports, or the fallback; never above the hardware's own.
    ///
    /// Points at or below `ok` are none: unset ones read 0 °C or absolute zero. Nor are those below `trips_from`.
    pub fn trip_among(&self, reported: impl IntoIterator<Item = Celsius>) -> Celsius {
        let from = self.trips_from.map_or(self.ok.0, |from| from.0);
        let set = reported.into_iter().filter(|point| point.0 > self.ok.0 && point.0 >= from);
        let lowest = set.map(|point| point.0).reduce(f32::min).unwrap_or(self.trip.0);
        Celsius(self.throttle.map_or(lowest, |throttle| lowest.min(throttle.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "box"
        title = "A box"
        [recognise]
        compatible = ["acme,box"]
        [hardware]
        memory = "512 MiB"
        cores = 2
        [thermal]
        zones = ["cpu-thermal"]
        sensor = "required"
        ok = "50 °C"
        trip = "85 °C"
        [budget]
        memory = "64 MiB"
        cpu = 1
    "#;

    #[test]
    fn a_board_without_a_sensor_has_no_thermal_table() {
        let profile = Profile::parse(GOOD).unwrap();
        assert_eq!((profile.memory, profile.cores), (Some(Bytes(512 << 20)), Some(2)));
        let from = GOOD.find("[thermal]").unwrap();
        let to = GOOD.find("[budget]").unwrap();
        let without = format!("{}{}", &GOOD[..from], &GOOD[to..]);
        assert_eq!(Profile::parse(&without).unwrap().thermal, None);
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_key_and_range() {
        let faults = Profile::parse(
            r#"
            name = "Box One"
            colour = "blue"
            [recognise]
            arch = "vax"
            [hardware]
            memory = "512"
            cores = 2.5
            [thermal]
            zones = []
            sensor = "perhaps"
            ok = "50 °C"
            trip = "45 °C"
            fan = 3
            [throttling]
            flags = "/sys/../etc/shadow"
            [budget]
            cpu = 0
            "#,
        )
        .unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "name",
                "title",
                "recognise.arch",
                "hardware.memory",
                "hardware.cores",
                "thermal.zones",
                "thermal.sensor",
                "thermal.trip",
                "thermal.fan",
                "throttling.flags",
                "budget.memory",
                "budget.cpu",
                "colour"
            ]
        );
        let trip = faults.iter().find(|fault| fault.key == "thermal.trip").unwrap();
        assert_eq!(trip.to_string(), "thermal.trip: found \"45 °C\"; allowed: above ok, to 130 °C");
        let unknown = faults.iter().find(|fault| fault.key == "colour").unwrap();
        assert!(unknown.allowed.contains("title"), "{unknown}");
    }

    #[test]
    fn a_budget_above_the_hardware_is_refused() {
        for (good, wrong, key) in [
            ("memory = \"64 MiB\"", "memory = \"1 GiB\"", "budget.memory"),
            ("cpu = 1", "cpu = 2.5", "budget.cpu"),
            ("memory = \"512 MiB\"", "memory = 512", "hardware.memory"),
            ("[thermal]", "[thermal]\nthrottle = \"20 °C\"", "thermal.throttle"),
            ("compatible = [\"acme,box\"]", "", "recognise.compatible"),
            ("compatible = [\"acme,box\"]", "compatible = [3]", "recognise.compatible"),
        ] {
            let faults = Profile::parse(&GOOD.replacen(good, wrong, 1)).unwrap_err();
            assert!(faults.iter().all(|fault| fault.key == key), "{wrong}: {faults:?}");
        }
        assert_eq!(Profile::parse("name = ").unwrap_err().len(), 1);
        assert_eq!(Profile::parse("name = \"a\"\ntitle = \"b\"\nbudget = 3").unwrap_err().len(), 2);
    }

    #[test]
    fn the_lowest_trip_point_counts_and_unset_ones_do_not() {
        let thermal = |throttle: Option<f32>| Thermal {
            zones: vec!["cpu-thermal".to_owned()],
            presence: Presence::Required,
            ok: Celsius(50.0),
            trip: Celsius(90.0),
            throttle: throttle.map(Celsius),
            trips_from: None,
            frozen_after: None,
        };
        let cases: &[(Option<f32>, &[f32], f32)] = &[
            (None, &[], 90.0),
            (None, &[105.0, 95.0], 95.0),
            (None, &[0.0, -274.0, f32::NAN], 90.0),
            (Some(80.0), &[], 80.0),
            (Some(80.0), &[110.0], 80.0),
            (Some(80.0), &[70.0], 70.0),
        ];
        for (throttle, reported, expect) in cases {
            let trip = thermal(*throttle).trip_among(reported.iter().copied().map(Celsius));
            assert_eq!(trip, Celsius(*expect), "{throttle:?} {reported:?}");
        }
    }
}
