//! What a fitter may get wrong at `[hardware]` and `[budget]`, and what a board may hold in place of its files: is each told
//! in one line, with its key and what would do, and does nothing wait?

#![expect(clippy::unwrap_used, reason = "a folder that cannot be written fails the test")]

use std::fs;
use std::process::Command;

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
