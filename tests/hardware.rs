//! The real service on a board of files: its own sensor becomes events, and heats the level.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

mod service {
    #![allow(dead_code, reason = "a part of it is used here")]
    pub(crate) mod tap;
}

use std::path::Path;
use std::sync::Arc;

use common::mosquitto::Mosquitto;
use service::tap::{Seen, Tap};
use tidegate::config::Config;
use tidegate::io::devices::write_registers;
use tidegate::runtime::{Options, run};
use tidegate::telemetry::Metrics;
use tokio::sync::oneshot;

/// Bus and address of the sensor in the cabinet.
const SENSOR: (u8, u8) = (1, 0x48);

/// The files of a Raspberry Pi 4 with a TMP102 in its cabinet.
fn board() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0");
    write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
    write("sys/class/thermal/thermal_zone0/temp", "50000\n");
    write("gpio/gpiochip0/5", "0\n");
    std::os::unix::fs::symlink("/proc/self", root.path().join("proc/self")).unwrap();
    heat(root.path(), 25);
    root
}

fn heat(root: &Path, celsius: u8) {
    write_registers(root, SENSOR.0, SENSOR.1, &[(0, &[celsius, 0x80])]).unwrap();
}

fn config(state: &Path, plant: u16, upstream: u16) -> Config {
    let state = state.display();
    let text = format!(
        r#"
[gateway]
site = "lab"
id = "gw"
state_dir = "{state}"
[plant]
url = "mqtt://127.0.0.1:{plant}"
[upstream]
url = "mqtt://127.0.0.1:{upstream}"
[budget]
cabinet = {{ warm = "45 °C", hot = "55 °C" }}
[[streams]]
name = "cabinet"
kind = "sensor"
source = "i2c:cabinet"
window = {{ length = "500 ms", idle = "1 s" }}
features = ["temperature.mean", "temperature.max"]
forward = {{ events = "all", features = [{{ name = "temperature.mean", resolution = 0.1 }}] }}
[[streams]]
name = "door"
kind = "sensor"
source = "gpio:door"
window = {{ length = "2 s" }}
features = ["open.max"]
[[hardware.sensors]]
name = "cabinet"
driver = "tmp102"
bus = 1
address = 0x48
role = "cabinet"
rate = "10 Hz"
[hardware.lines]
door = "gpiochip0:5"
"#
    );
    Config::parse(&text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn a_sensor_of_the_board_gives_events_and_its_heat_raises_the_level() {
    let (plant, upstream) = (Mosquitto::start(false), Mosquitto::start(false));
    let (ear, shore) = (Tap::new(plant.port(), "ear"), Tap::new(upstream.port(), "shore"));
    let (root, state) = (board(), tempfile::tempdir().unwrap());
    let config = config(state.path(), plant.port(), upstream.port());
    let (stop, stopped) = oneshot::channel();
    let metrics = Arc::new(Metrics::new());
    let options = Options {
        root: root.path().to_owned(),
        stop: Some(stopped),
        metrics: Arc::clone(&metrics),
        ..Options::default()
    };
    let service = std::thread::spawn(move || run(&config, options));

    // The same way as a stream of the plant: windows, features, an event in the plant and upstream.
    let event = ear.wait(0, "an event of the cabinet", |seen| {
        let mut events = seen.iter().filter(|seen| seen.topic == "tidegate/lab/gw/event/cabinet");
        // The first window may be a part of one.
        events
            .find(|seen| seen.json()["completeness"].as_f64().is_some_and(|share| share > 0.7))
            .map(Seen::json)
    });
    assert_eq!(event["features"]["temperature.mean"], 25.5, "{event}");
    shore.wait(0, "a batch upstream", |seen| {
        seen.iter().any(|seen| seen.topic.contains("/up/")).then_some(())
    });
    ear.wait(0, "the door", |seen| {
        let mut events = seen.iter().filter(|seen| seen.topic == "tidegate/lab/gw/event/door");
        events.next().map(|seen| assert_eq!(seen.json()["features"]["open.max"], 0.0))
    });

    // As a cabinet sensor it raises the level.
    let mark = ear.mark();
    heat(root.path(), 60);
    let budget = ear.wait(mark, "a hot cabinet", |seen| {
        let mut budgets = seen.iter().filter(|seen| seen.topic.ends_with("/status/budget"));
        budgets.find(|seen| seen.json()["reason"] == "cabinet").map(Seen::json)
    });
    assert!(["hot", "critical"].contains(&budget["level"].as_str().unwrap()), "{budget}");

    // A sensor that goes is told in health, with the remedy, and ends nothing.
    let mark = ear.mark();
    std::fs::remove_file(root.path().join("dev/i2c-1/48")).unwrap();
    let health = ear.wait(mark, "a sensor at fault", |seen| {
        let mut healths = seen.iter().filter(|seen| seen.topic.ends_with("/status/health"));
        healths.find(|seen| seen.text().contains("sensor cabinet")).map(Seen::json)
    });
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["reason"].as_str().unwrap().contains("check power, wiring and address"), "{health}");
    stop.send(()).unwrap();
    service.join().unwrap().unwrap();
}
