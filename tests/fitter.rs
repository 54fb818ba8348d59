//! What a fitter may get wrong at `[hardware]`, `[budget]` and in a board file, and what a board may hold in place of its files: is each told
//! in one line, with its key and what would do, and does nothing wait?

#![expect(clippy::unwrap_used, reason = "a folder that cannot be written fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate::board::{Profile, builtin};

/// A sound gateway with this in it.
fn gateway(changes: &str) -> String {
    format!(
        r#"
{changes}
[gateway]
site = "lab"
id = "gw"
board = "raspberry-pi-4"
[plant]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "mqtt://127.0.0.1:2"
[[streams]]
name = "a"
kind = "sensor"
topic = "a"
payload = {{ format = "json", time = "ts", values = ["a"] }}
window = {{ samples = 1 }}
features = ["a.mean"]
"#
    )
}

/// Exit code and faults that `check` tells.
fn check(text: &str) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(["check", "--config"]).arg(&path).output();
    let ended = ended.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let faults = said.split_once(&format!("error: {}:\n", path.display())).map_or("", |(_, faults)| faults);
    (ended.status.code(), faults.lines().map(str::to_owned).collect())
}

/// What stands in `[budget]`, the key of its fault and a part of what is allowed.
const BUDGETS: &[(&str, &str, &str)] = &[
    ("memory = -5", "memory", "16 MiB to 64 GiB"),
    ("memory = \"-5 MiB\"", "memory", "16 MiB to 64 GiB"),
    ("memory = \"99999999999999999999 GiB\"", "memory", "16 MiB to 64 GiB"),
    ("memory = nan", "memory", "16 MiB to 64 GiB"),
    ("memory = [\"96 MiB\"]", "memory", "16 MiB to 64 GiB"),
    ("memory = 2026-11-20", "memory", "16 MiB to 64 GiB"),
    ("memory = \"96 mb\"", "memory", "16 MiB to 64 GiB"),
    ("cpu = 0", "cpu", "from 0.05 to 64"),
    ("cpu = nan", "cpu", "from 0.05 to 64"),
    ("cpu = 1e308", "cpu", "from 0.05 to 64"),
    ("cpu = \"1.5\"", "cpu", "from 0.05 to 64"),
    ("cores = 2", "cores", "cpu, memory"),
    ("temperature = 80", "temperature", "30 °C to 120 °C"),
    ("temperature = \"80 K\"", "temperature", "30 °C to 120 °C"),
    ("temperature = \"nan °C\"", "temperature", "30 °C to 120 °C"),
    ("cabinet = 50", "cabinet", "[budget.cabinet]"),
    ("cabinet = { warm = \"50 °C\" }", "cabinet.hot", "0 °C to 100 °C"),
    ("cabinet = { warm = 50, hot = \"60 °C\" }", "cabinet.warm", "0 °C to 100 °C"),
    ("cabinet = { warm = \"50 °C\", hot = \"40 °C\" }", "cabinet.hot", "above warm"),
    ("cabinet = { warm = \"50 °C\", hot = \"60 °C\", cold = \"1 °C\" }", "cabinet.cold", "hot, warm"),
];

/// The same of `[hardware]`.
const HARDWARE: &[(&str, &str, &str)] = &[
    ("sensors = 3", "sensors", "[[hardware.sensors]]"),
    ("sensors = [1, 2]", "sensors", "[[hardware.sensors]]"),
    ("lines = 3", "lines", "[hardware.lines]"),
    ("watchdog = 0", "watchdog", "/dev/watchdog0"),
    ("watchdog = \"/dev/watchdog../sda\"", "watchdog", "/dev/watchdog0"),
    ("watchdog = \"/dev/watchdog99999999999\"", "watchdog", "/dev/watchdog0"),
    ("fan = 1", "fan", "watchdog, sensors, lines"),
    ("\"\\u001b[31mfan\" = 1", "\u{fffd}[31mfan", "watchdog, sensors, lines"),
    ("lines.door = 4", "lines.door", "gpiochip0:17"),
    ("lines.door = \"gpiochip0:-1\"", "lines.door", "gpiochip0:17"),
    ("lines.door = \"gpiochip00:4\"", "lines.door", "gpiochip0:17"),
    ("lines.door = \"gpiochip0:4 active-high\"", "lines.door", "active-low"),
    ("lines.bell = \"gpiochip0:4\"", "lines.bell", "status_led"),
    ("lines = { door = \"gpiochip0:4\", status_led = \"gpiochip0:04 active-low\" }", "lines", "for each"),
];

/// The same of one sensor, a thermometer; what the line says of a key replaces it.
const THERMOMETERS: &[(&str, &str, &str)] = &[
    ("name = \"\"", "name", "1 to 32"),
    ("driver = 102", "driver", "lm75 | tmp102"),
    ("driver", "driver", "lm75 | tmp102"),
    ("bus = \"/dev/i2c-1\"", "bus", "0 to 255"),
    ("bus = 1.5", "bus", "0 to 255"),
    ("address = 0x90", "address", "seven bits"),
    ("address = -72", "address", "0x08 to 0x77"),
    ("address = 9223372036854775807", "address", "0x08 to 0x77"),
    ("rate = \"0 Hz\"", "rate", "0.01 Hz to 10 Hz"),
    ("rate = \"nan Hz\"", "rate", "0.01 Hz to 10 Hz"),
    ("rate = \"1 s\"", "rate", "0.01 Hz to 10 Hz"),
    ("shunt = \"0.1 ohm\"", "shunt", "ina219"),
    ("role = [\"cabinet\"]", "role", "stream | cabinet"),
    ("optional = 1", "optional", "true or false"),
    ("adress = 0x48", "adress", "name, driver"),
    ("low = 0.2", "low", "role = \"battery\""),
];

/// The same of a battery.
const BATTERIES: &[(&str, &str, &str)] = &[
    ("empty = \"13 V\"", "full", "above empty"),
    ("empty = \"12 V\"", "full", "above empty"),
    ("empty = \"nan V\"", "empty", "1 V to 60 V"),
    ("empty", "empty", "1 V to 60 V"),
    ("full = 12.6", "full", "to 60 V"),
    ("full = \"inf V\"", "full", "to 60 V"),
    ("low = \"20 %\"", "low", "0 to 0.9"),
    ("low = 20", "low", "0 to 0.9"),
    ("shunt = \"-1 ohm\"", "shunt", "0.0001 ohm to 10 ohm"),
    ("shunt = 0.1", "shunt", "0.0001 ohm to 10 ohm"),
    ("role = \"batery\"", "role", "supply | battery"),
];

const THERMOMETER: &[&str] = &["name = \"air\"", "driver = \"tmp102\"", "bus = 1", "address = 0x48"];

const BATTERY: &[&str] = &[
    "name = \"ups\"",
    "driver = \"ina219\"",
    "bus = 1",
    "address = 0x40",
    "role = \"battery\"",
    "empty = \"10 V\"",
    "full = \"12 V\"",
];

/// A sensor of which one line is another, or, without a value, missing.
fn sensor(lines: &[&str], change: &str) -> String {
    let key = change.split(' ').next().unwrap();
    let kept = lines.iter().filter(|line| line.split(' ').next() != Some(key));
    let said = Some(&change).filter(|change| change.contains('='));
    let lines: Vec<&str> = kept.chain(said).copied().collect();
    format!("[[hardware.sensors]]\n{}\n", lines.join("\n"))
}

#[test]
fn each_slip_of_a_fitter_is_one_line_with_its_key_and_what_would_do() {
    let of = |table: &str, cases: &[(&str, &str, &str)], text: &dyn Fn(&str) -> String| {
        let case = |&(change, key, allowed): &(&str, &str, &str)| {
            (text(change), format!("{table}{key}"), allowed.to_owned())
        };
        cases.iter().map(case).collect::<Vec<_>>()
    };
    let twice = |other: &str| sensor(THERMOMETER, "") + &sensor(THERMOMETER, other);
    let clashes = [twice(""), twice("name = \"other\""), twice("address = 0x49")];
    let clashes = clashes.map(|text| (text, "hardware.sensors".to_owned(), "for each".to_owned()));
    let foreign = sensor(THERMOMETER, "address = 0x40");
    let cases = [
        of("budget.", BUDGETS, &|change| format!("[budget]\n{change}\n")),
        of("hardware.", HARDWARE, &|change| format!("[hardware]\n{change}\n")),
        of("hardware.sensors[0].", THERMOMETERS, &|change| sensor(THERMOMETER, change)),
        of("hardware.sensors[0].", BATTERIES, &|change| sensor(BATTERY, change)),
        clashes.to_vec(),
        vec![
            (foreign, "hardware.sensors".to_owned(), "0x48 | 0x49".to_owned()),
            ("hardware = 3\n".to_owned(), "hardware".to_owned(), "[hardware]".to_owned()),
            ("budget = 3\n".to_owned(), "budget".to_owned(), "[budget]".to_owned()),
        ],
    ]
    .concat();
    for sound in [sensor(THERMOMETER, ""), sensor(BATTERY, "")] {
        assert_eq!(check(&gateway(&sound)), (Some(0), Vec::new()));
    }
    for (text, key, allowed) in &cases {
        let (code, faults) = check(&gateway(text));
        let [fault] = faults.as_slice() else { panic!("{text}: {faults:#?}") };
        assert_eq!(code, Some(78), "{text}");
        assert!(fault.starts_with(&format!("{key}: ")), "{text}: {fault}");
        let (_, would_do) = fault.split_once("; allowed: ").unwrap();
        assert!(would_do.contains(allowed), "{text}: {fault}");
        assert!(fault.len() < 240 && !fault.contains(char::is_control), "{text}: {fault}");
    }
    println!("{} slips", cases.len());
}

/// A line of a board file, what stands in its place, the key of the fault and a part of what is allowed.
const BOARDS: &[(&str, &str, &str, &str)] = &[
    ("name = \"raspberry-pi-4\"", "name = \"Pi 4\"", "name", "a-z"),
    ("name = \"raspberry-pi-4\"", "", "name", "a-z"),
    ("[recognise]", "[recognise]\narch = 64", "recognise.arch", "aarch64"),
    ("[recognise]", "[recognise]\ndmi = []", "recognise.dmi", "1 to 16 texts"),
    ("[recognise]", "[recognise]\ndmi = [\"a\", 3]", "recognise.dmi", "1 to 16 texts"),
    ("memory = \"1 GiB\"", "memory = 1073741824", "hardware.memory", "16 MiB to 1 TiB"),
    ("memory = \"1 GiB\"", "memory = \"-1 GiB\"", "hardware.memory", "16 MiB to 1 TiB"),
    ("cores = 4", "cores = 4.0", "hardware.cores", "1 to 1024"),
    ("cores = 4", "cores = 9223372036854775807", "hardware.cores", "1 to 1024"),
    ("zones = [\"cpu-thermal\"]", "zones = \"cpu-thermal\"", "thermal.zones", "1 to 16 texts"),
    ("ok = \"65 °C\"", "ok = \"nan °C\"", "thermal.ok", "0 °C to 120 °C"),
    ("ok = \"65 °C\"", "ok = 65", "thermal.ok", "0 °C to 120 °C"),
    ("throttle = \"80 °C\"", "throttle = \"60 °C\"", "thermal.throttle", "above ok"),
    ("throttle = \"80 °C\"", "throttle = \"1e9 °C\"", "thermal.throttle", "above ok"),
    ("frozen_after = \"5 min\"", "frozen_after = \"5\"", "thermal.frozen_after", "1 min to 1 d"),
    ("frozen_after = \"5 min\"", "frozen_after = \"-5 min\"", "thermal.frozen_after", "1 min to 1 d"),
    ("full = \"1500 MHz\"", "full = \"1500\"", "cpufreq.full", "100 MHz to 10 GHz"),
    ("hwmon = \"rpi_volt\"", "hwmon = \"../x\"", "throttling.hwmon", "without /"),
    ("idle = \"2.7 W\"", "idle = \"inf W\"", "power.idle", "0.05 W to 200 W"),
    ("cpu = 1.5", "cpu = 4.5", "budget.cpu", "cores of the board"),
    ("cpu = 1.5", "cpu = nan", "budget.cpu", "cores of the board"),
    ("memory = \"96 MiB\"", "memory = \"2 GiB\"", "budget.memory", "memory of the board"),
    ("memory = \"96 MiB\"", "", "budget.memory", "memory of the board"),
    ("[budget]", "[budget]\ncores = 2", "budget.cores", "memory, cpu"),
    ("[power]", "[powr]", "powr", "power"),
];

#[test]
fn each_slip_in_a_board_file_is_one_line_with_its_key_and_what_would_do() {
    let (_, sound) = builtin().into_iter().find(|(name, _)| *name == "raspberry-pi-4").unwrap();
    for (line, instead, key, allowed) in BOARDS {
        assert!(sound.contains(line), "{line} is not there");
        let faults = Profile::parse(&sound.replacen(line, instead, 1)).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{instead}: {faults:#?}") };
        assert_eq!(fault.key, *key, "{instead}: {fault}");
        assert!(fault.allowed.contains(allowed), "{instead}: {fault}");
    }
}

/// Everything `selftest` reads of a Raspberry Pi 4 with a door, a relay, a watchdog and a thermometer, all of it good.
const FILES: &[(&str, &str)] = &[
    ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
    ("sys/class/dmi/id/product_name", "Raspberry Pi\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "47500\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "90000\n"),
    ("sys/class/thermal/cooling_device0/type", "gpio-fan\n"),
    ("sys/class/thermal/cooling_device0/cur_state", "1\n"),
    ("sys/class/thermal/cooling_device0/max_state", "1\n"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "600000\n"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1500000\n"),
    ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1500000\n"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
    ("sys/class/power_supply/BAT0/type", "Battery\n"),
    ("sys/class/power_supply/BAT0/status", "Discharging\n"),
    ("sys/class/power_supply/BAT0/capacity", "62\n"),
    ("sys/class/watchdog/watchdog0/timeout", "15\n"),
    ("sys/class/watchdog/watchdog0/identity", "a dog\n"),
    ("sys/class/watchdog/watchdog0/state", "inactive\n"),
    ("run/systemd/timesync/synchronized", ""),
    ("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n"),
    ("proc/pressure/memory", "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n"),
    ("proc/self/status", "VmRSS: 9000 kB\nRssAnon: 5000 kB\n"),
    ("proc/self/cgroup", "0::/gateway\n"),
    ("sys/fs/cgroup/gateway/memory.max", "100000000\n"),
    ("sys/fs/cgroup/gateway/memory.current", "1000000\n"),
    ("sys/fs/cgroup/gateway/memory.stat", "file 0\n"),
    ("sys/fs/cgroup/gateway/memory.events", "oom_kill 0\n"),
    ("gpio/gpiochip0/4", "1\n"),
    ("gpio/gpiochip0/27", "1\n"),
    (SENSOR, "00: 19 80\n"),
];

const SENSOR: &str = "dev/i2c-1/48";

/// What may stand in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Instead {
    Nothing,
    Empty,
    Binary,
    /// A file of 1 GiB that takes no disk.
    Huge,
    Folder,
    /// A pipe that nobody writes to.
    Pipe,
    /// A link to itself.
    Loop,
}

impl Instead {
    const ALL: [Self; 7] =
        [Self::Nothing, Self::Empty, Self::Binary, Self::Huge, Self::Folder, Self::Pipe, Self::Loop];

    fn put(self, path: &Path) {
        fs::remove_file(path).unwrap();
        match self {
            Self::Nothing => {}
            Self::Empty => fs::write(path, "").unwrap(),
            Self::Binary => fs::write(path, (0..=255).collect::<Vec<u8>>().repeat(64)).unwrap(),
            Self::Huge => fs::File::create(path).unwrap().set_len(1 << 30).unwrap(),
            Self::Folder => fs::create_dir(path).unwrap(),
            Self::Pipe => {
                let made = Command::new("mkfifo").arg(path).status().unwrap();
                assert!(made.success());
            }
            Self::Loop => std::os::unix::fs::symlink(path, path).unwrap(),
        }
    }
}

/// What `selftest` says of this board: its exit code, the things it found, and what it said besides. It gets 512 MiB, and
/// a third of a minute, of which it needs none.
fn selftest(root: &Path, with_sensor: bool) -> (Option<i32>, Vec<Value>, String) {
    let lines = "door = \"gpiochip0:4\"\nalarm_relay = \"gpiochip0:27\"\n";
    let sensor = if with_sensor { sensor(THERMOMETER, "") } else { String::new() };
    let hardware = format!("[hardware]\nwatchdog = \"/dev/watchdog0\"\n[hardware.lines]\n{lines}{sensor}");
    let config = root.join("tidegate.toml");
    fs::write(&config, gateway(&hardware).replace("board = \"raspberry-pi-4\"\n", "")).unwrap();
    let limited = "ulimit -v 524288; exec timeout 20 \"$0\" selftest --json --root \"$1\" --config \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_tidegate")]).arg(root).arg(config);
    let ended = command.output().unwrap();
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let things = report.get("things").and_then(Value::as_array).cloned().unwrap_or_default();
    (ended.status.code(), things, String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_self_test_ends_and_says_what_is_wrong_whatever_stands_in_place_of_a_file() {
    // What tells the board by itself: without it nothing else is looked at. The others so that none hides its neighbour.
    let (board, others) = FILES.split_at(2);
    let third = |first: usize| others.iter().skip(first).step_by(3).collect::<Vec<_>>();
    let groups = [board.iter().collect(), third(0), third(1), third(2)];
    let (mut faults, mut silent) = (0, 0);
    for (group, instead) in groups.iter().flat_map(|group| Instead::ALL.map(|instead| (group, instead))) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in FILES {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for (file, _) in group {
            instead.put(&root.path().join(file));
        }
        let what = format!("{instead:?} in place of {group:?}");
        // Each reading of the thermometer waits for its conversion.
        let (code, things, said) = selftest(root.path(), group.iter().any(|(file, _)| *file == SENSOR));
        assert!(matches!(code, Some(0 | 74 | 78)), "{what}: {code:?} {said}");
        let start: String = said.chars().take(500).collect();
        assert!(!said.contains("panicked") && said.len() < 1_000, "{what}: {start}");
        // 78: without its board there is nothing to test.
        assert_eq!(code == Some(78), things.is_empty(), "{what}: {said}");
        for thing in &things {
            let text = thing.to_string();
            let start: String = text.chars().take(500).collect();
            assert!(text.len() < 2_000 && !text.contains("out of memory"), "{what}: {start}");
            assert!(!text.contains("\\u00"), "{what}, with characters that control a terminal: {start}");
            silent += u32::from(text.contains("did not answer"));
            if thing.get("state") == Some(&Value::from("fault")) {
                faults += 1;
                assert!(thing.get("remedy").unwrap().as_str().unwrap().len() > 15, "{what}: {text}");
            }
        }
    }
    println!("{} boards, {faults} faults, {silent} things did not answer", groups.len() * Instead::ALL.len());
    // Zone, flags, supply, watchdog, door, thermometer; what this process takes.
    assert!(silent >= 6, "{silent}");
}
