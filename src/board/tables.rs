//! Reads the tables of a board file.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::board::attached::{attached, is_name};
use crate::board::profile::{
    BoardBudget, Cooling, Cpufreq, PowerModel, Presence, Profile, Recognise, Thermal,
};
use crate::board::reader::Reader;
use crate::units::{Bytes, Celsius, Hertz, Watts};

const MIB: u64 = 1 << 20;

/// Smallest memory of a board that runs Linux and this program.
const MEMORY_MIN: Bytes = Bytes(16 * MIB);

/// More than any board has.
const MEMORY_MAX: Bytes = Bytes(MIB * MIB);

/// A sensor that does not step for less than a minute is only steady; nobody waits a day to find out.
const FROZEN: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24);

/// Clocks of processors that run Linux.
const CLOCKS: RangeInclusive<f32> = 1e8..=1e10;

/// A board for a cabinet draws no more at rest, and no core draws more by itself.
const WATTS: RangeInclusive<f32> = 0.05..=200.0;

/// A whole board file; `None` after a fault that leaves no profile.
pub(in crate::board) fn profile(top: &mut Reader<'_>) -> Option<Profile> {
    let name_rule = "1 to 32 characters of a-z, 0-9 and -";
    top.require("name", name_rule, top.has("name"));
    let name = top.text("name", name_rule, is_name);
    let title_rule = "1 to 80 characters";
    top.require("title", title_rule, top.has("title"));
    let title = top.text("title", title_rule, |title| (1..=80).contains(&title.chars().count()));
    top.require("recognise", "a table", top.has("recognise"));
    top.require("budget", "a table", top.has("budget"));
    let recognised = top.inside("recognise", recognise);
    let (memory, cores) = top.inside("hardware", size).unwrap_or_default();
    let heat = top.inside("thermal", thermal);
    let cpufreq = top.inside("cpufreq", cpufreq).flatten();
    let cooling = top.inside("cooling", cooling).flatten();
    let (throttle_flags, throttle_hwmon) = top.inside("throttling", throttling).unwrap_or_default();
    let power = top.inside("power", power).flatten();
    let hardware = attached(top);
    let budget = top.inside("budget", |table| budget(table, memory, cores)).flatten();
    let thermal = match heat {
        Some(heat) => Some(heat?),
        None => None,
    };
    Some(Profile {
        name: name?,
        title: title?,
        recognise: recognised?,
        memory,
        cores,
        thermal,
        cpufreq,
        cooling,
        throttle_flags,
        throttle_hwmon,
        power,
        hardware,
        budget: budget?,
    })
}

fn recognise(reader: &mut Reader<'_>) -> Recognise {
    const ARCHES: [&str; 3] = ["x86_64", "aarch64", "arm"];
    let any = reader.has("compatible") || reader.has("dmi") || reader.has("arch");
    reader.require("compatible", "at least one of compatible, dmi and arch", any);
    Recognise {
        compatible: reader.texts("compatible"),
        dmi: reader.texts("dmi"),
        arch: reader.text("arch", "x86_64, aarch64 or arm", |arch| ARCHES.contains(&arch)),
    }
}

fn size(reader: &mut Reader<'_>) -> (Option<Bytes>, Option<u16>) {
    let sizes = MEMORY_MIN..=MEMORY_MAX;
    let memory = reader.quantity("memory", "16 MiB to 1 TiB", |size: &Bytes| sizes.contains(size));
    let cores = reader.whole("cores", "1 to 1024", |cores| (1..=1024).contains(&cores));
    (memory, cores.and_then(|cores| u16::try_from(cores).ok()))
}

fn thermal(reader: &mut Reader<'_>) -> Option<Thermal> {
    reader.require("zones", "a list of 1 to 16 texts", reader.has("zones"));
    let zones = reader.texts("zones");
    let presence = presence(reader, "sensor");
    let ok_rule = "0 °C to 120 °C";
    reader.require("ok", ok_rule, reader.has("ok"));
    let ok = reader.quantity("ok", ok_rule, |ok: &Celsius| (0.0..=120.0).contains(&ok.0));
    let floor = ok.unwrap_or_default().0;
    let trip_rule = "above ok, to 130 °C";
    let above = |trip: &Celsius| trip.0 > floor && trip.0 <= 130.0;
    reader.require("trip", trip_rule, reader.has("trip"));
    let trip = reader.quantity("trip", trip_rule, above);
    let throttle = reader.quantity("throttle", trip_rule, above);
    let trips_from = reader.quantity("trips_from", trip_rule, above);
    let frozen_after = reader.duration("frozen_after", "1 min to 1 d", |time| FROZEN.contains(&time));
    Some(Thermal { zones, presence: presence?, ok: ok?, trip: trip?, throttle, trips_from, frozen_after })
}

fn cpufreq(reader: &mut Reader<'_>) -> Option<Cpufreq> {
    let presence = presence(reader, "sensor");
    let full = reader.quantity("full", "100 MHz to 10 GHz", |clock: &Hertz| CLOCKS.contains(&clock.0));
    Some(Cpufreq { presence: presence?, full })
}

fn cooling(reader: &mut Reader<'_>) -> Option<Cooling> {
    reader.require("devices", "a list of 1 to 16 texts", reader.has("devices"));
    let devices = reader.texts("devices");
    Some(Cooling { devices, presence: presence(reader, "sensor")? })
}

fn throttling(reader: &mut Reader<'_>) -> (Option<String>, Option<String>) {
    let any = reader.has("flags") || reader.has("hwmon");
    reader.require("flags", "at least one of flags and hwmon", any);
    let below = |path: &str| path.starts_with("/sys/") && !path.split('/').any(|part| part == "..");
    let flags = reader.text("flags", "a path below /sys without ..", below);
    let named = |name: &str| (1..=32).contains(&name.len()) && !name.contains('/');
    (flags, reader.text("hwmon", "1 to 32 characters without /", named))
}

fn power(reader: &mut Reader<'_>) -> Option<PowerModel> {
    let rule = "0.05 W to 200 W";
    let mut watts = |key| {
        reader.require(key, rule, reader.has(key));
        reader.quantity(key, rule, |watts: &Watts| WATTS.contains(&watts.0))
    };
    let (idle, core) = (watts("idle"), watts("core"));
    Some(PowerModel { idle: idle?, core: core? })
}

fn presence(reader: &mut Reader<'_>, key: &'static str) -> Option<Presence> {
    let words = [("required", Presence::Required), ("if-present", Presence::IfPresent)];
    reader.require(key, "required | if-present", reader.has(key));
    reader.word(key, &words)
}

fn budget(reader: &mut Reader<'_>, board_memory: Option<Bytes>, cores: Option<u16>) -> Option<BoardBudget> {
    let sizes = MEMORY_MIN..=board_memory.unwrap_or(MEMORY_MAX);
    let memory_rule = "16 MiB to the memory of the board";
    reader.require("memory", memory_rule, reader.has("memory"));
    let memory = reader.quantity("memory", memory_rule, |size: &Bytes| sizes.contains(size));
    let cores = f64::from(cores.unwrap_or(1024));
    let cpu_rule = "0.1 to the cores of the board";
    reader.require("cpu", cpu_rule, reader.has("cpu"));
    let cpu = reader.number("cpu", cpu_rule, |cpu| (0.1..=cores).contains(&cpu));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "from 0.1 to 1024; a share of a core needs no more digits"
    )]
    let cpu = cpu.map(|cpu| cpu as f32);
    Some(BoardBudget { memory: memory?, cpu: cpu? })
}
