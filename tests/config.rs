//! The configuration: every fault at once in the words of the operator, and defaults that are what they say.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::config::{Config, DEFAULT_CONFIG};

/// A configuration without a fault; `{models}` and `{dir}` are folders.
const SOUND: &str = r#"[gateway]
site = "lab"
id = "gw-1"
board = "generic-x86-64"
state_dir = "/var/lib/tidegate"
[plant]
url = "mqtt://127.0.0.1:1883"
[upstream]
url = "mqtt://127.0.0.1:1884"
[[models]]
name = "hydraulic-condition"
path = "{models}/hydraulic-condition"
[[models]]
name = "failure-mode"
path = "{models}/failure-mode"
[[streams]]
name = "rig"
kind = "sensor"
topic = "plant/rig"
payload = { format = "json", time = "ts", values = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"] }
window = { length = "60 s" }
model = "hydraulic-condition"
[[streams]]
name = "orders"
kind = "report"
topic = "plant/orders"
payload = { format = "text" }
classifier = "failure-mode"
"#;

/// Where a fault of the file is planted, and the line that says so.
const FAULTS: &[(&str, &str, &str)] = &[
    ("site = \"lab\"", "", "gateway.site: missing; allowed: 1 to 32 of a-z, 0-9 and -"),
    (
        "id = \"gw-1\"",
        "id = \"gw-1\"\nnmae = \"x\"",
        "gateway.nmae: unknown key; allowed: board, id, site, state_dir",
    ),
    ("[plant]", "[plnat]\n[plant]", "plnat: unknown key (did you mean \"plant\"?); allowed: "),
    ("site = \"lab\"", "site = 7", "gateway.site: integer where a text belongs; allowed: a text in quotes"),
    (
        "[plant]",
        "[budget]\nmemory = 96\n[plant]",
        "budget.memory: 96 is no text with a number and a unit; allowed: 16 MiB to 64 GiB",
    ),
    ("[plant]", "[budget]\nmemory = \"96 s\"\n[plant]", "budget.memory: \"96 s\""),
    (
        "window = { length = \"60 s\" }",
        "window = { samples = 100, samples_max = 99 }",
        "streams[0].window.samples_max: 99 do not hold a window of 100; allowed: at least 100",
    ),
    (
        "window = { length = \"60 s\" }",
        "window = { length = \"60 s\" }\nforward = { features = [{ name = \"ts*.mean\", resolution = 0.1 }] }",
        "streams[0].forward.features: \"ts*.mean\" means ts1.mean, ts2.mean, ts3.mean, ts4.mean; allowed: channel.feature",
    ),
    (
        "window = { length = \"60 s\" }",
        "window = { length = \"60 s\" }\nforward = { features = [{ name = \"vs1.q(0.50)\", resolution = 0.1 }] }",
        "streams[0].forward.features: \"vs1.q(0.50)\" means vs1.q(0.5); allowed: channel.feature",
    ),
    (
        "[plant]",
        "[budget]\nmemory = \"1 KiB\"\n[plant]",
        "budget.memory: 1 KiB is out of range; allowed: 16 MiB to 64 GiB",
    ),
    (
        "[plant]",
        "[budget]\ncabinet = { warm = \"50 °C\", hot = \"50.5 °C\" }\n[plant]",
        "budget.cabinet.hot: 50.5 °C where warm is 50 °C; allowed: at least 1 °C above warm",
    ),
    (
        "[plant]",
        "[budget]\ncabinet = { warm = \"50 °C\" }\n[plant]",
        "budget.cabinet.hot: missing; allowed: 0 °C to 100 °C",
    ),
    ("[plant]", "[budget]\ntemperature = \"80 F\"\n[plant]", "budget.temperature: \"80 F\""),
    ("[upstream]", "[upstream]\nrate = \"64 kB\"", "upstream.rate: \"64 kB\""),
    ("[upstream]", "[upstream]\npassword = \"secret\"", "upstream.password: unknown key"),
    (
        "length = \"60 s\"",
        "length = \"60\"",
        "streams[0].window.length: \"60\" is not a duration with a unit",
    ),
    (
        "length = \"60 s\"",
        "length = 60",
        "streams[0].window.length: 60 is no text with a number and a unit; allowed: 1 ms to 7 d",
    ),
    (
        "length = \"60 s\"",
        "length = \"64 s\", hop = \"999 ms\"",
        "streams[0].window.hop: 999 ms; allowed: at least 1 s, a 64th of the window",
    ),
    (
        "length = \"60 s\"",
        "samples = 1024, hop = 15",
        "streams[0].window.hop: 15; allowed: at least 16, a 64th of the window",
    ),
    (
        "name = \"orders\"",
        "name = \"governor\"",
        "streams[1].name: \"governor\" is the gateway's own stream; allowed: another name",
    ),
    ("name = \"orders\"", "name = \"rig\"", "streams[1].name: \"rig\" is taken; allowed: a name of its own"),
    (
        "[[streams]]\nname = \"rig\"",
        "[[models]]\nname = \"failure-mode\"\n[[streams]]\nname = \"rig\"",
        "models[2].name: \"failure-mode\" is taken; allowed: a name of its own",
    ),
    (
        "model = \"hydraulic-condition\"",
        "model = \"hydraulic\"",
        "streams[0].model: no model is called \"hydraulic\"; allowed: hydraulic-condition | failure-mode",
    ),
    (
        "format = \"text\"",
        "format = \"xml\"",
        "streams[1].payload.format: \"xml\"; allowed: json | text | nmea",
    ),
    (
        "topic = \"plant/rig\"",
        "topic = \"$share/all/tidegate/lab/gw-1/event/+\"",
        "streams[0].topic: \"$share/all/tidegate/lab/gw-1/event/+\" lies below tidegate/lab/gw-1, where this gateway speaks",
    ),
    (
        "topic = \"plant/rig\"",
        "topic = \"tidegate/lab/gw-1/#\"",
        "streams[0].topic: \"tidegate/lab/gw-1/#\" lies below tidegate/lab/gw-1, where this gateway speaks: no stream gets it; \
         allowed: a topic of the plant, or of another gateway",
    ),
    ("topic = \"plant/rig\"", "topic = \"plant/#/rig\"", "streams[0].topic: topic filter \"plant/#/rig\""),
    (
        "127.0.0.1:1884",
        "127.0.0.1:1883",
        "upstream.url: the same broker as plant.url; allowed: another broker",
    ),
    ("mqtt://127.0.0.1:1884", "mqtts://shore", "upstream.ca_file: missing while the url says mqtts"),
    (
        "mqtt://127.0.0.1:1884",
        "mqtt://me:secret@shore",
        "upstream.url: broker address \"shore\": user name and password belong into",
    ),
    ("\"se\"]", "\"se\", \"ce\"]", "streams[0].payload.values: \"ce\" is empty or stands there twice"),
    (
        "classifier = \"failure-mode\"",
        "extractor = \"nobody\"",
        "streams[1].extractor: no model is called \"nobody\"; allowed: hydraulic-condition | failure-mode",
    ),
    (
        "classifier = \"failure-mode\"",
        "show_text = true",
        "streams[1].classifier: missing; allowed: a classifier, an extractor or both: hydraulic-condition | failure-mode",
    ),
    (
        "model = \"hydraulic-condition\"",
        "model = \"hydraulic-condition\"\nextractor = \"failure-mode\"",
        "streams[0].extractor: unknown key",
    ),
];

/// The stream that a sensor of the board feeds in the place of a topic.
const MEASURED: (&str, &str) = (
    r#"topic = "plant/rig"
payload = { format = "json", time = "ts", values = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"] }
window = { length = "60 s" }
model = "hydraulic-condition"
"#,
    r#"source = "i2c:cabinet"
window = { length = "60 s" }
features = ["temperature.mean"]
[[hardware.sensors]]
name = "cabinet"
driver = "sht4x"
bus = 1
address = 0x44
[hardware.lines]
door = "gpiochip0:5"
"#,
);

/// Where a fault of the hardware is planted, and the line that says so.
const HARDWARE_FAULTS: &[(&str, &str, &str)] = &[
    (
        "source = \"i2c:cabinet\"",
        "source = \"i2c:cabinet\"\ntopic = \"plant/rig\"",
        "streams[0].topic: stands beside source = \"i2c:cabinet\"; allowed: either a topic or a source",
    ),
    (
        "source = \"i2c:cabinet\"",
        "source = \"i2c:cabinet\"\npayload = { format = \"json\" }",
        "streams[0].payload: stands beside source = \"i2c:cabinet\"; allowed: none with a source",
    ),
    (
        "source = \"i2c:cabinet\"",
        "source = \"i2c:cabnet\"",
        "streams[0].source: no sensor is called \"cabnet\"; allowed: i2c:cabinet",
    ),
    (
        "source = \"i2c:cabinet\"",
        "source = \"spi:x\"",
        "streams[0].source: \"spi:x\"; allowed: i2c:NAME of a [[hardware.sensors]] entry | gpio:door",
    ),
    (
        "source = \"i2c:cabinet\"",
        "source = \"i2c:cabinet\"\nvalues = [\"temperature\", \"pressure\"]",
        "streams[0].values: \"pressure\" is not measured; allowed: some of temperature, humidity, each once",
    ),
    (
        "source = \"i2c:cabinet\"",
        "source = \"i2c:cabinet\"\nvalues = [\"temperature\", \"temperature\"]",
        "streams[0].values: \"temperature\" stands there twice; allowed: some of",
    ),
    ("features = [\"temperature.mean\"]", "features = [\"pressure.mean\"]", "streams[0].features: "),
    (
        "topic = \"plant/orders\"\npayload = { format = \"text\" }",
        "source = \"gpio:door\"",
        "streams[1].source: a report stream has a topic; allowed: topic = …, or kind = \"sensor\"",
    ),
    (
        "address = 0x44",
        "address = 0x48",
        "hardware.sensors: \"cabinet\": no sht4x has address 0x48; allowed: 0x44 | 0x45 | 0x46",
    ),
    ("address = 0x44", "address = 0x44\nrate = \"1 kHz\"", "hardware.sensors[0].rate: "),
    ("address = 0x44", "address = 0x44\nrole = \"supply\"", "hardware.sensors[0].role: "),
    (
        "[hardware.lines]",
        "[[hardware.sensors]]\nname = \"two\"\ndriver = \"ina219\"\nbus = 1\naddress = 0x44\n[hardware.lines]",
        "hardware.sensors: ",
    ),
    ("[hardware.lines]", "[hardware.lines]\nstatus_led = \"gpiochip0:5\"", "hardware.lines: "),
    ("[hardware.lines]", "[hardware.lines]\npower_fail = \"GPIO4\"", "hardware.lines.power_fail: "),
    ("[hardware.lines]", "[hardware.lines]\nbuzzer = \"gpiochip0:6\"", "hardware.lines.buzzer: unknown key"),
];

/// What `check` adds, because it needs the models and files: planted as above.
const CHECK_FAULTS: &[(&str, &str, &str)] = &[
    (
        "\"cp\", \"se\"]",
        "\"cp\"]",
        "streams[0].model: model hydraulic-condition@2.0.0 does not fit the channels: ",
    ),
    (
        "classifier = \"failure-mode\"",
        "classifier = \"hydraulic-condition\"",
        "streams[1].classifier: model hydraulic-condition@2.0.0 is for sensor streams",
    ),
    (
        "classifier = \"failure-mode\"",
        "extractor = \"failure-mode\"",
        "streams[1].extractor: model failure-mode@2.0.0 answers tasks: name it as classifier",
    ),
    ("{models}/failure-mode", "{dir}", "models[1].path: "),
    ("{models}/failure-mode", "{models}/hydraulic-condition", "models[1].path: "),
    (
        "[upstream]",
        "[upstream]\nusername = \"gw\"\npassword_file = \"{dir}/absent\"",
        "upstream.password_file: ",
    ),
    ("mqtt://127.0.0.1:1884\"", "mqtts://shore\"\nca_file = \"{dir}/absent.pem\"", "upstream.ca_file: "),
    ("board = \"generic-x86-64\"", "board = \"toaster\"", "toaster"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sound configuration with one place changed.
fn planted(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from}");
    SOUND.replacen(from, to, 1)
}

/// Exit code and what it said.
fn tidegate(command: &str, config: &Path) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_tidegate");
    let output =
        Command::new(program).current_dir(root()).args([command, "--config"]).arg(config).output().unwrap();
    assert!(output.stdout.is_empty(), "words for people on stdout");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn ten_faults_are_told_as_ten_with_key_fault_and_what_is_allowed() {
    let golden = root().join("tests/golden/config/ten-faults.txt");
    let (code, said) = tidegate("check", Path::new("tests/golden/config/ten-faults.toml"));
    assert_eq!(code, Some(78), "{said}");
    let (_, lines) = said.split_once("error: tests/golden/config/ten-faults.toml:\n").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, lines).unwrap();
    }
    assert_eq!(lines, std::fs::read_to_string(golden).unwrap());
    assert_eq!(lines.lines().count(), 10);
    assert!(lines.lines().all(|line| line.contains(": ") && line.contains("; allowed: ")), "{lines}");
    let (code, said_by_run) = tidegate("run", Path::new("tests/golden/config/ten-faults.toml"));
    assert_eq!(code, Some(78));
    assert!(said_by_run.ends_with(lines), "the service refuses it in other words: {said_by_run}");
}

#[test]
fn each_fault_is_told_alone() {
    assert!(Config::parse(SOUND).is_ok());
    for (from, to, line) in FAULTS {
        let faults = Config::parse(&planted(from, to)).unwrap_err().to_string();
        assert!(faults.starts_with(line), "{faults:?} is not {line:?}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
}

#[test]
fn a_fault_of_the_hardware_is_one_line_that_says_what_would_do() {
    let sound = planted(MEASURED.0, MEASURED.1);
    let config = Config::parse(&sound).unwrap();
    assert_eq!(config.streams[0].values(), ["temperature", "humidity"]);
    assert_eq!(config.streams[0].window.unwrap().period, Some(std::time::Duration::from_secs(1)));
    for (from, to, line) in HARDWARE_FAULTS {
        assert!(sound.contains(from), "{from} is not there");
        let faults = Config::parse(&sound.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(faults.starts_with(line), "{faults:?} is not {line:?}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
    let unknown = sound.replacen("driver = \"sht4x\"", "driver = \"dht22\"", 1);
    let faults = Config::parse(&unknown).unwrap_err().to_string();
    assert!(faults.starts_with("hardware.sensors[0].driver: "), "{faults}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let faults = Config::parse("[gateway]\nsite = lab\n").unwrap_err().to_string();
    assert!(faults.contains("line 2"), "{faults}");
    assert!(Config::parse("").is_err());
}

#[test]
fn check_tells_what_only_models_boards_and_files_can_tell() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    let models = root().join("models").display().to_string();
    let check = |text: &str| {
        let text =
            text.replace("{models}", &models).replace("{dir}", &directory.path().display().to_string());
        std::fs::write(&path, text).unwrap();
        tidegate("check", &path)
    };
    let (code, said) = check(SOUND);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("memory plan") && said.contains("2 streams, 2 models"), "{said}");
    for (from, to, line) in CHECK_FAULTS {
        let (code, said) = check(&planted(from, to));
        assert_eq!(code, Some(78), "{said}");
        let faults = said.split_once("error: ").unwrap().1;
        assert!(faults.lines().skip(1).any(|fault| fault.contains(line)), "{faults:?} has no {line:?}");
    }
}

#[test]
fn a_stream_may_read_whatever_is_wider_than_what_this_gateway_says() {
    for topic in
        ["#", "tidegate/#", "tidegate/+/gw-1/event/+", "tidegate/lab/gw-12/event/x", "tidegate/lab/gw-1"]
    {
        let text = SOUND.replacen("plant/rig", topic, 1);
        assert!(Config::parse(&text).is_ok(), "{topic}");
    }
}

#[test]
fn the_printed_default_is_the_default() {
    let program = env!("CARGO_BIN_EXE_tidegate");
    let printed = Command::new(program).args(["config", "--default"]).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), DEFAULT_CONFIG);
    let written = Config::parse(DEFAULT_CONFIG).unwrap();
    // Only what has no default, and the choices of the two example streams.
    let bare = Config::parse(
        r#"gateway = { site = "my-plant", id = "gateway-1" }
           plant = { url = "mqtt://127.0.0.1" }
           upstream = { url = "mqtt://127.0.0.1:1884" }
           models = [{ name = "hydraulic-condition" }, { name = "failure-mode" }, { name = "work-order-entities" },
                     { name = "excavator-triage" }, { name = "redactor" }]
           [[streams]]
           name = "hydraulics-1"
           kind = "sensor"
           topic = "plant/hydraulics-1/telemetry"
           payload = { format = "json", time = "ts", values = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"] }
           window = { length = "60 s", period = "1 s" }
           model = "hydraulic-condition"
           features = ["*.mean", "vs1.rms"]
           forward = { features = [{ name = "vs1.rms", resolution = 0.001, every = "10 min" }] }
           [[streams]]
           name = "work-orders"
           kind = "report"
           topic = "plant/reports/#"
           payload = { format = "json", text = "text", time = "ts", id = "id" }
           classifier = "failure-mode"
           extractor = "work-order-entities"
           [[streams]]
           name = "excavators"
           kind = "report"
           topic = "plant/excavators/+/orders"
           payload = { format = "json", text = "text", time = "ts", id = "id" }
           classifier = "excavator-triage"
           [[streams]]
           name = "handovers"
           kind = "report"
           topic = "plant/handovers"
           payload = { format = "json", text = "text", time = "ts", id = "id" }
           extractor = "redactor"
           forward = { events = "none" }
           priority = "bulk""#,
    )
    .unwrap();
    assert_eq!(format!("{written:#?}"), format!("{bare:#?}"));
}

/// A file that is no configuration was printed back as it was: a line of 200 KB, and control characters that the terminal
/// obeyed. What is quoted is short and harmless now.
#[test]
fn a_file_that_is_no_toml_is_quoted_in_short_and_without_control_characters() {
    for text in [format!("a = {}", "[".repeat(200_000)), "\x1b[2J\x07 = \x1b]0;x\x07".to_owned()] {
        let fault = Config::parse(&text).unwrap_err().to_string();
        assert!(fault.contains("line 1, column") && fault.len() < 2_000, "{} bytes", fault.len());
        assert!(!fault.contains(|c: char| c.is_control() && c != '\n'), "{fault:?}");
    }
}
