//! Every shipped board file loads, is built in, stands in the table of the README, and is used: made up out of files it is
//! recognised, tested, heated.

#![expect(clippy::unwrap_used, reason = "a folder that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate::board::{BoardBudget, Presence, Profile, Thermal, builtin};
use tidegate::clock::Uptime;
use tidegate::config::DEFAULT_CONFIG;
use tidegate::flow::{Budget, Level};
use tidegate::governor::{CUT_FLOOR, Governor, GovernorConfig, HOLD_MARGIN, Readings};
use tidegate::io::devices::write_registers;
use tidegate::io::sysfs::{Sysfs, hottest, trip_points};
use tidegate::runtime::board_profile;
use tidegate::units::{Celsius, Millicores};

/// Name and text of every file in `boards/`.
fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let boards = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    boards
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn every_board_file_is_valid_and_named_as_its_board() {
    let files = files();
    assert!(files.len() >= 9, "{:?}", files.keys());
    for (name, text) in &files {
        match Profile::parse(text) {
            Ok(profile) => assert_eq!(&profile.name, name),
            Err(faults) => panic!("{name}: {faults:#?}"),
        }
    }
}

#[test]
fn every_board_file_is_built_in() {
    let built_in: BTreeMap<String, String> =
        builtin().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    assert_eq!(built_in, files());
}

#[test]
fn every_board_file_is_in_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for name in files().keys() {
        assert!(readme.contains(&format!("| `{name}.toml` |")), "{name}");
    }
}

#[test]
fn every_value_of_a_board_says_where_it_comes_from() {
    for (name, text) in files() {
        let mut explained = false;
        for line in text.lines().skip_while(|line| !line.starts_with("title")).skip(1) {
            let line = line.trim();
            explained = line.starts_with('#') || (explained && !line.is_empty() && !line.starts_with('['));
            assert!(explained || !line.contains(" = "), "{name}: {line}");
        }
    }
}

#[test]
fn no_two_boards_claim_the_same_sign() {
    let mut claimed = BTreeMap::new();
    for (name, text) in files() {
        let recognise = Profile::parse(&text).unwrap().recognise;
        let signs = recognise.compatible.into_iter().chain(recognise.dmi).chain(recognise.arch);
        for sign in signs {
            if let Some(other) = claimed.insert(sign.clone(), name.clone()) {
                panic!("{sign}: {other} and {name}");
            }
        }
    }
}

/// Writes one file of a board.
fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A board of this kind out of files: what its file says must be there, and the zones that count at this temperature.
fn made_up(profile: &Profile, temperature: f32) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| write(root.path(), file, text);
    if let Some(first) = profile.recognise.compatible.first() {
        write("proc/device-tree/compatible", &format!("{first}\0acme,chip\0"));
    }
    for (number, zone) in profile.thermal.iter().flat_map(|thermal| &thermal.zones).enumerate() {
        let folder = format!("sys/class/thermal/thermal_zone{number}");
        write(&format!("{folder}/type"), zone);
        write(&format!("{folder}/temp"), &format!("{:.0}\n", temperature * 1_000.0));
    }
    write("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "600000\n");
    write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1500000\n");
    write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1500000\n");
    if let Some(flags) = &profile.throttle_flags {
        write(flags, "0\n");
    }
    root
}

/// The board, by its signs if it has any that can be made up here.
fn read_back(profile: &Profile, root: &Path) -> Profile {
    let by_name = profile.recognise.compatible.is_empty().then_some(profile.name.as_str());
    board_profile(by_name, &Sysfs::at(root)).unwrap()
}

#[test]
fn every_sign_of_a_board_leads_to_it() {
    for (name, text) in files() {
        for sign in Profile::parse(&text).unwrap().recognise.compatible {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "proc/device-tree/compatible", &format!("{sign}\0acme,chip\0"));
            assert_eq!(board_profile(None, &Sysfs::at(root.path())).unwrap().name, name, "{sign}");
        }
    }
}

/// Processor time of the models while nothing is short.
const CPU: Millicores = Millicores(1_000);

/// The governor as the service sets it up for a board, after a minute at this temperature.
fn budget_at(profile: &Profile, thermal: &Thermal, temperature: f32) -> Budget {
    let root = made_up(profile, temperature);
    let zones = Sysfs::at(root.path()).thermal_zones().unwrap();
    let found = zones.iter().any(|zone| thermal.zones.contains(&zone.kind));
    let mut governor = Governor::new(GovernorConfig {
        has_sensor: thermal.has_sensor(found),
        ok: thermal.ok,
        frozen_after: thermal.frozen_after,
        cpu: CPU,
        ..GovernorConfig::default()
    });
    let trip = thermal.trip_among(trip_points(&zones, &thermal.zones));
    let mut budget = Budget::NOMINAL;
    for second in 0..60 {
        let at = Uptime(second * 1_000_000_000);
        let temperature = hottest(&zones, &thermal.zones);
        budget = governor.observe(Readings { at, temperature, trip, ..Readings::default() });
    }
    budget
}

#[test]
fn every_board_that_gets_hot_is_cut_back_before_it_slows_itself() {
    let mut heated = 0;
    for (name, text) in files() {
        let profile = Profile::parse(&text).unwrap();
        let Some(thermal) = &profile.thermal else { continue };
        let limit = thermal.trip_among(std::iter::empty());
        assert!(limit.0 - thermal.ok.0 >= 10.0, "{name}: no room between fine and too hot");
        assert_eq!(budget_at(&profile, thermal, thermal.ok.0).level, Level::Nominal, "{name}");
        // Nothing is shed while the cut of processor time holds the chip.
        for (margin, most) in [(4.5, 1.0), (HOLD_MARGIN, CUT_FLOOR)] {
            let budget = budget_at(&profile, thermal, limit.0 - margin);
            let left = budget.cpu.0 as f32 / CPU.0 as f32;
            assert_eq!(budget.level, Level::Warm, "{name} at {margin} degrees below its limit");
            assert!(
                (left - most).abs() < 0.01,
                "{name}: {left} of the processor time {margin} degrees below its limit"
            );
        }
        let near = budget_at(&profile, thermal, limit.0 - 2.0);
        assert_eq!(near.level, Level::Emergency, "{name} at 2 degrees below its limit");
        heated += 1;
    }
    assert!(heated >= 9);
}

/// What the self-test finds: its exit code, and state and text by thing.
fn selftest(board: &str, root: &Path) -> (Option<i32>, BTreeMap<String, Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let ended = command.args(["selftest", "--json", "--board", board, "--root"]).arg(root).output().unwrap();
    let report: Value = serde_json::from_slice(&ended.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ended.stderr)));
    assert_eq!(report.get("board").unwrap(), board);
    let things = report.get("things").unwrap().as_array().unwrap().iter();
    let named = things.map(|thing| (thing.get("thing").unwrap().as_str().unwrap().to_owned(), thing.clone()));
    (ended.status.code(), named.collect())
}

#[test]
fn every_board_passes_its_self_test_and_fails_it_without_what_it_needs() {
    for (name, text) in files() {
        let profile = Profile::parse(&text).unwrap();
        let root = made_up(&profile, 47.5);
        assert_eq!(read_back(&profile, root.path()).name, name);
        let (code, things) = selftest(&name, root.path());
        assert_eq!(code, Some(0), "{name}: {things:#?}");
        let Some(thermal) = &profile.thermal else { continue };
        let zone = things.get(&format!("zone {}", thermal.zones.first().unwrap())).unwrap();
        assert_eq!(zone.get("read").unwrap(), "47.5 °C", "{name}");
        fs::remove_dir_all(root.path().join("sys/class/thermal")).unwrap();
        let (code, things) = selftest(&name, root.path());
        let lost = things.get("thermal zones").unwrap();
        let (expected, state) = match thermal.presence {
            Presence::Required => (74, "fault"),
            Presence::IfPresent => (0, "absent"),
        };
        assert_eq!((code, lost.get("state").unwrap()), (Some(expected), &Value::from(state)), "{name}");
        assert_eq!(lost.get("remedy").is_some(), state == "fault", "{name}: {lost}");
    }
}

#[test]
fn everything_a_board_may_have_is_read() {
    let profile = Profile::parse(files().get("raspberry-pi-4").unwrap()).unwrap();
    let root = made_up(&profile, 47.5);
    let write = |file: &str, text: &str| write(root.path(), file, text);
    for (file, text) in [
        ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical"),
        ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "90000"),
        ("sys/class/thermal/cooling_device0/type", "gpio-fan"),
        ("sys/class/thermal/cooling_device0/cur_state", "1"),
        ("sys/class/thermal/cooling_device0/max_state", "1"),
        ("sys/class/hwmon/hwmon1/name", "rpi_volt"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0"),
        ("sys/class/power_supply/BAT0/type", "Battery"),
        ("sys/class/power_supply/BAT0/status", "Discharging"),
        ("sys/class/power_supply/BAT0/capacity", "62"),
        ("sys/class/watchdog/watchdog0/timeout", "15"),
        ("run/systemd/timesync/synchronized", ""),
        ("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n"),
        ("proc/pressure/memory", "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n"),
    ] {
        write(file, text);
    }
    let (code, things) = selftest("raspberry-pi-4", root.path());
    assert_eq!(code, Some(0), "{things:#?}");
    for (thing, read) in [
        ("trip points", "critical 90 °C; 80 °C counts"),
        ("cooling gpio-fan", "step 1 of 1"),
        ("processor clock", "600 of 1500 MHz"),
        ("throttling flags", "none now"),
        ("supply by rpi_volt", "strong enough"),
        ("power supply", "battery, charge 62 %"),
        ("hardware watchdog", "unnamed, 15 s, free; not used"),
        ("clock", "set from the network"),
        ("memory of the system", "488.3 MiB available, of 1 GiB at least"),
        ("memory pressure", "1.5 % of the last 10 s"),
    ] {
        assert_eq!(things.get(thing).unwrap().get("read").unwrap(), read, "{thing}");
    }
    // Each thing that breaks is a fault of its own, with what to do about it.
    for (file, text, thing) in [
        ("sys/class/thermal/thermal_zone0/temp", "cold", "zone cpu-thermal"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1", "supply by rpi_volt"),
        ("sys/class/power_supply/BAT0/capacity", "many", "power supply"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "yes", "throttling flags"),
    ] {
        let good = fs::read_to_string(root.path().join(file)).unwrap();
        write(file, text);
        let (code, things) = selftest("raspberry-pi-4", root.path());
        let faults: Vec<&String> = things
            .iter()
            .filter(|(_, found)| found.get("state").unwrap() == "fault")
            .map(|(thing, _)| thing)
            .collect();
        assert_eq!((code, faults), (Some(74), vec![&thing.to_owned()]), "{things:#?}");
        assert!(things.get(thing).unwrap().get("remedy").unwrap().as_str().unwrap().len() > 20);
        write(file, &good);
    }
}

#[test]
fn an_absurd_sensor_is_a_fault_of_the_self_test() {
    let profile = Profile::parse(files().get("raspberry-pi-4").unwrap()).unwrap();
    for temperature in [-60.0, 200.0] {
        let root = made_up(&profile, temperature);
        let (code, things) = selftest("raspberry-pi-4", root.path());
        assert_eq!(code, Some(74));
        assert_eq!(things.get("zone cpu-thermal").unwrap().get("state").unwrap(), "fault");
    }
}

#[test]
fn a_fan_s_trip_points_do_not_hold_a_jetson_back() {
    let profile = Profile::parse(files().get("jetson-nano").unwrap()).unwrap();
    let reported = [30.0, 70.0, 96.5].map(Celsius);
    assert_eq!(profile.thermal.unwrap().trip_among(reported), Celsius(96.5));
}

/// Keys that the sources of `board/` ask for.
fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for file in ["tables.rs", "attached.rs"] {
        let code =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/board").join(file)).unwrap();
        for call in [
            ".text(",
            ".texts(",
            ".word(",
            ".quantity(",
            ".duration(",
            ".number(",
            ".whole(",
            ".flag(",
            "line(",
            "watts(",
            "presence(reader, ",
        ] {
            for after in code.split(call).skip(1) {
                if let Some(key) = after.trim_start().strip_prefix('"') {
                    keys.insert(key.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    keys
}

#[test]
fn every_key_of_a_board_file_is_explained_and_no_other_is() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/boards.md")).unwrap();
    let section = document.split("\n## Keys\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let explained: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|key| key.rsplit('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(keys(), explained);
}

/// What `check` says of the budget of a gateway on this board, with this table in its configuration.
fn budget_said(board: &str, table: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let text = DEFAULT_CONFIG.split("[[models]]").next().unwrap();
    let stream = "[[streams]]\nname = \"a\"\nkind = \"sensor\"\ntopic = \"a\"\nwindow = { samples = 1 }\n\
                  payload = { format = \"json\", time = \"ts\", values = [\"a\"] }\nfeatures = [\"a.mean\"]\n";
    let text = text.replace("board = \"auto\"", &format!("board = \"{board}\""));
    let text = text.replace("[budget]\n", &format!("[budget]\n{table}\n"));
    fs::write(&path, text + stream).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["check", "--config"]).arg(path).output();
    let said = String::from_utf8(ended.unwrap().stderr).unwrap();
    assert!(said.contains("\nok "), "{said}");
    said.lines().find_map(|line| line.strip_prefix("budget  ")).unwrap().to_owned()
}

#[test]
fn every_board_gives_the_budget_that_the_configuration_does_not() {
    for (name, text) in files() {
        let BoardBudget { memory, cpu } = Profile::parse(&text).unwrap().budget;
        assert_eq!(budget_said(&name, ""), format!("memory {memory} (board), cpu {cpu} (board)"), "{name}");
        let said = budget_said(&name, "memory = \"80 MiB\"");
        assert_eq!(said, format!("memory 80 MiB (configuration), cpu {cpu} (board)"), "{name}");
        let said = budget_said(&name, "cpu = 0.7");
        assert_eq!(said, format!("memory {memory} (board), cpu 0.7 (configuration)"), "{name}");
    }
}

/// A gateway on a board with a thermometer, a relay and a watchdog, and one good and one damaged model.
fn wired(folder: &Path, models: &str) -> std::path::PathBuf {
    let path = folder.join("tidegate.toml");
    let text = format!(
        r#"
[gateway]
site = "lab"
id = "gw"
board = "raspberry-pi-4"
[plant]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "mqtt://127.0.0.1:2"
[hardware]
watchdog = "/dev/watchdog0"
[[hardware.sensors]]
name = "cabinet"
driver = "tmp102"
bus = 1
address = 0x48
role = "cabinet"
[[hardware.sensors]]
name = "spare"
driver = "tmp102"
bus = 1
address = 0x49
optional = true
[hardware.lines]
door = "gpiochip0:4"
alarm_relay = "gpiochip0:27"
{models}
[[streams]]
name = "a"
kind = "sensor"
topic = "a"
payload = {{ format = "json", time = "ts", values = ["a"] }}
window = {{ samples = 1 }}
features = ["a.mean"]
"#
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_a_fitter_has_wired_and_every_model_is_tested_and_no_watchdog_is_armed() {
    let profile = Profile::parse(files().get("raspberry-pi-4").unwrap()).unwrap();
    let root = made_up(&profile, 47.5);
    let write = |file: &str, text: &str| write(root.path(), file, text);
    write_registers(root.path(), 1, 0x48, &[(0, &[0x19, 0x80])]).unwrap();
    write("gpio/gpiochip0/4", "1\n");
    write("gpio/gpiochip0/27", "1\n");
    write("sys/class/watchdog/watchdog0/timeout", "15");
    write("dev/watchdog0", "");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/hydraulic-condition");
    let good = format!("[[models]]\nname = \"hydraulic-condition\"\npath = \"{}\"\n", shipped.display());
    let gone = "[[models]]\nname = \"gone\"\npath = \"/nowhere\"\n";
    let run = |models: &str| {
        let config = wired(root.path(), models);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["selftest", "--json", "--root"]).arg(root.path()).arg("--config").arg(config);
        let ended = command.output().unwrap();
        let report: Value = serde_json::from_slice(&ended.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ended.stderr)));
        let things = report.get("things").unwrap().as_array().unwrap().clone();
        (ended.status.code(), things)
    };
    let state = |things: &[Value], thing: &str| {
        let found =
            things.iter().find(|found| found.get("thing").unwrap().as_str().unwrap().starts_with(thing));
        let found = found.unwrap_or_else(|| panic!("{thing} in {things:#?}"));
        let text = |key: &str| found.get(key).unwrap().as_str().unwrap().to_owned();
        (text("state"), text("read"))
    };
    let (code, things) = run(&good);
    assert_eq!(code, Some(0), "{things:#?}");
    assert_eq!(state(&things, "cabinet"), ("ok".to_owned(), "temperature 25.500 °C".to_owned()));
    assert_eq!(state(&things, "spare").0, "absent");
    assert_eq!(state(&things, "door"), ("ok".to_owned(), "yes".to_owned()));
    assert_eq!(state(&things, "alarm_relay").0, "ok");
    assert_eq!(state(&things, "hardware watchdog"), ("ok".to_owned(), "unnamed, 15 s, free".to_owned()));
    assert!(state(&things, "model hydraulic-condition").1.contains("golden cases reproduced"));
    assert_eq!(fs::read_to_string(root.path().join("dev/watchdog0")).unwrap(), "", "armed by a self-test");

    fs::remove_file(root.path().join("dev/i2c-1/48")).unwrap();
    fs::remove_dir_all(root.path().join("sys/class/watchdog")).unwrap();
    let (code, things) = run(gone);
    assert_eq!(code, Some(74));
    for thing in ["cabinet", "hardware watchdog", "model gone"] {
        assert_eq!(state(&things, thing).0, "fault", "{things:#?}");
    }
    assert_eq!(state(&things, "spare").0, "absent");
}
