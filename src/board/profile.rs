//! A board file, read and checked.

use toml::Table;

use crate::board::reader::{ProfileFault, Reader};
use crate::units::{Bytes, Celsius};

const MIB: u64 = 1 << 20;
/// Smallest memory of a board that runs Linux and this program.
const MEMORY_MIN: Bytes = Bytes(16 * MIB);
/// More than any board has.
const MEMORY_MAX: Bytes = Bytes(MIB * MIB);

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
    /// File with the throttling flags of the firmware, below `/sys`.
    pub throttle_flags: Option<String>,
    /// What the service may use unless configured.
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
}

/// What it means if none of the zones is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The board is broken: a sensor fault.
    Required,
    /// Nothing can be known of the temperature, and heat limits nothing.
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
        let profile = read(table, &mut faults);
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
    /// Points at or below `ok` are none: unset ones read 0 °C or absolute zero.
    pub fn trip_among(&self, reported: impl IntoIterator<Item = Celsius>) -> Celsius {
        let set = reported.into_iter().filter(|point| point.0 > self.ok.0);
        let lowest = set.map(|point| point.0).reduce(f32::min).unwrap_or(self.trip.0);
        Celsius(self.throttle.map_or(lowest, |throttle| lowest.min(throttle.0)))
    }
}

fn read(table: Table, faults: &mut Vec<ProfileFault>) -> Option<Profile> {
    let mut top = Reader::new("", table, faults);
    let name_rule = "1 to 32 characters of a-z, 0-9 and -";
    top.require("name", name_rule, top.has("name"));
    let name = top.text("name", name_rule, is_name);
    let title_rule = "1 to 80 characters";
    top.require("title", title_rule, top.has("title"));
    let title = top.text("title", title_rule, |title| (1..=80).contains(&title.chars().count()));
    top.require("recognise", "a table", top.has("recognise"));
    top.require("budget", "a table", top.has("budget"));
    let recognise = top.table("recognise");
    let hardware = top.table("hardware");
    let thermal = top.table("thermal");
    let throttling = top.table("throttling");
    let budget = top.table("budget");
    top.close();
    let recognise = recognise.map(|table| read_recognise(table, faults));
    let (memory, cores) = hardware.map_or((None, None), |table| read_hardware(table, faults));
    let thermal = thermal.map(|table| read_thermal(table, faults));
    let throttle_flags = throttling.and_then(|table| read_throttling(table, faults));
    let budget = budget.and_then(|table| read_budget(table, memory, cores, faults));
    let thermal = match thermal {
        Some(thermal) => Some(thermal?),
        None => None,
    };
    Some(Profile {
        name: name?,
        title: title?,
        recognise: recognise?,
        memory,
        cores,
        thermal,
        throttle_flags,
        budget: budget?,
    })
}

fn read_recognise(table: Table, faults: &mut Vec<ProfileFault>) -> Recognise {
    const ARCHES: [&str; 3] = ["x86_64", "aarch64", "arm"];
    let mut reader = Reader::new("recognise", table, faults);
    let any = reader.has("compatible") || reader.has("dmi") || reader.has("arch");
    reader.require("compatible", "at least one of compatible, dmi and arch", any);
    let recognise = Recognise {
        compatible: reader.texts("compatible"),
        dmi: reader.texts("dmi"),
        arch: reader.text("arch", "x86_64, aarch64 or arm", |arch| ARCHES.contains(&arch)),
    };
    reader.close();
    recognise
}

fn read_hardware(table: Table, faults: &mut Vec<ProfileFault>) -> (Option<Bytes>, Option<u16>) {
    let mut reader = Reader::new("hardware", table, faults);
    let sizes = MEMORY_MIN..=MEMORY_MAX;
    let memory = reader.quantity("memory", "16 MiB to 1 TiB", |size: &Bytes| sizes.contains(size));
    let whole = |cores: f64| (1.0..=1024.0).contains(&cores) && cores.fract() == 0.0;
    let cores = reader.number("cores", "1 to 1024", whole);
    reader.close();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and from 1 to 1024")]
    let cores = cores.map(|cores| cores as u16);
    (memory, cores)
}

fn read_thermal(table: Table, faults: &mut Vec<ProfileFault>) -> Option<Thermal> {
    let mut reader = Reader::new("thermal", table, faults);
    reader.require("zones", "a list of 1 to 16 texts", reader.has("zones"));
    let zones = reader.texts("zones");
    let presence = read_presence(&mut reader);
    let ok_rule = "0 °C to 120 °C";
    reader.require("ok", ok_rule, reader.has("ok"));
    let ok = reader.quantity("ok", ok_rule, |ok: &Celsius| (0.0..=120.0).contains(&ok.0));
    let floor = ok.unwrap_or_default().0;
    let trip_rule = "above ok, to 130 °C";
    let above = |trip: &Celsius| trip.0 > floor && trip.0 <= 130.0;
    reader.require("trip", trip_rule, reader.has("trip"));
    let trip = reader.quantity("trip", trip_rule, above);
    let throttle = reader.quantity("throttle", trip_rule, above);
    reader.close();
    Some(Thermal { zones, presence: presence?, ok: ok?, trip: trip?, throttle })
}

fn read_presence(reader: &mut Reader<'_>) -> Option<Presence> {
    let words = "required or if-present";
    reader.require("sensor", words, reader.has("sensor"));
    let word = reader.text("sensor", words, |word| ["required", "if-present"].contains(&word))?;
    Some(if word == "required" { Presence::Required } else { Presence::IfPresent })
}

fn read_throttling(table: Table, faults: &mut Vec<ProfileFault>) -> Option<String> {
    let mut reader = Reader::new("throttling", table, faults);
    let rule = "a path below /sys without ..";
    reader.require("flags", rule, reader.has("flags"));
    let below = |path: &str| path.starts_with("/sys/") && !path.split('/').any(|part| part == "..");
    let flags = reader.text("flags", rule, below);
    reader.close();
    flags
}

fn read_budget(
    table: Table,
    board_memory: Option<Bytes>,
    cores: Option<u16>,
    faults: &mut Vec<ProfileFault>,
) -> Option<BoardBudget> {
    let mut reader = Reader::new("budget", table, faults);
    let sizes = MEMORY_MIN..=board_memory.unwrap_or(MEMORY_MAX);
    let memory_rule = "16 MiB to the memory of the board";
    reader.require("memory", memory_rule, reader.has("memory"));
    let memory = reader.quantity("memory", memory_rule, |size: &Bytes| sizes.contains(size));
    let cores = f64::from(cores.unwrap_or(1024));
    let cpu_rule = "0.1 to the cores of the board";
    reader.require("cpu", cpu_rule, reader.has("cpu"));
    let cpu = reader.number("cpu", cpu_rule, |cpu| (0.1..=cores).contains(&cpu));
    reader.close();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "from 0.1 to 1024; a share of a core needs no more digits"
    )]
    let cpu = cpu.map(|cpu| cpu as f32);
    Some(BoardBudget { memory: memory?, cpu: cpu? })
}

fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    letters && (1..=32).contains(&name.len())
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
        assert_eq!((profile.memory, profile.cores), (Some(Bytes(512 * MIB)), Some(2)));
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
                "colour",
                "recognise.arch",
                "hardware.memory",
                "hardware.cores",
                "thermal.zones",
                "thermal.sensor",
                "thermal.trip",
                "thermal.fan",
                "throttling.flags",
                "budget.memory",
                "budget.cpu"
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
