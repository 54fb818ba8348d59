//! The gateway of the demonstration: the shipped models out of this very program, and its configuration.

use std::net::SocketAddr;

use crate::config::Config;
use crate::demo::error::DemoError;
use crate::demo::rig::CHANNELS;
use crate::io::scratch::Scratch;

/// The streams in the order of the configuration, with what they carry and their lane.
pub(in crate::demo) const STREAMS: [(&str, &str); 3] =
    [("hydraulics-1", "alarm"), ("hydraulics-2", "normal"), ("work-orders", "bulk")];

/// Topics of the rigs.
pub(in crate::demo) const RIG_TOPICS: [&str; 2] =
    ["plant/hydraulics-1/telemetry", "plant/hydraulics-2/telemetry"];

/// Topic of the reports.
pub(in crate::demo) const REPORT_TOPIC: &str = "plant/reports/maintenance";

/// Everything the gateway says on the plant's broker.
pub(in crate::demo) const PLANT_FILTER: &str = "tidegate/demo/gateway-1/#";

/// Every batch of any gateway.
pub(in crate::demo) const UPSTREAM_FILTER: &str = "tidegate/+/+/up/+";

/// Names and files of a model.
type Embedded = (&'static str, [(&'static str, &'static [u8]); 3]);

/// The shipped models.
const MODELS: [Embedded; 2] = [
    (
        "hydraulic-condition",
        [
            ("manifest.toml", include_bytes!("../../models/hydraulic-condition/manifest.toml")),
            ("model.onnx", include_bytes!("../../models/hydraulic-condition/model.onnx")),
            ("golden.json", include_bytes!("../../models/hydraulic-condition/golden.json")),
        ],
    ),
    (
        "failure-mode",
        [
            ("manifest.toml", include_bytes!("../../models/failure-mode/manifest.toml")),
            ("model.onnx", include_bytes!("../../models/failure-mode/model.onnx")),
            ("golden.json", include_bytes!("../../models/failure-mode/golden.json")),
        ],
    ),
];

/// Writes the models into the scratch folder.
pub(in crate::demo) fn unpack_models(scratch: &Scratch) -> Result<(), DemoError> {
    for (model, files) in MODELS {
        for (file, bytes) in files {
            scratch.write(&format!("models/{model}/{file}"), bytes).map_err(DemoError::Scratch)?;
        }
    }
    Ok(())
}

/// The configuration of the gateway.
pub(in crate::demo) fn configuration(
    scratch: &Scratch,
    plant: SocketAddr,
    upstream: SocketAddr,
) -> Result<Config, DemoError> {
    Config::parse(&text(scratch, plant, upstream)).map_err(DemoError::Config)
}

fn text(scratch: &Scratch, plant: SocketAddr, upstream: SocketAddr) -> String {
    // A JSON string is a basic string of TOML.
    let path = |name: &str| serde_json::Value::from(scratch.path().join(name).to_string_lossy()).to_string();
    let state = path("state");
    let models = MODELS.map(|(model, _)| {
        let folder = path(&format!("models/{model}"));
        format!("[[models]]\nname = \"{model}\"\npath = {folder}\n")
    });
    let rigs = STREAMS.into_iter().zip(RIG_TOPICS).map(|((name, lane), topic)| rig_stream(name, lane, topic));
    let reports = STREAMS.into_iter().skip(RIG_TOPICS.len()).map(|(name, lane)| report_stream(name, lane));
    let head = format!(
        r#"
[gateway]
site = "demo"
id = "gateway-1"
state_dir = {state}
[plant]
url = "mqtt://{plant}"
protocol = "3.1.1"
[upstream]
url = "mqtt://{upstream}"
protocol = "3.1.1"
connect_timeout = "5 s"
[budget]
# Two brokers and the simulator live in the same process.
memory = "256 MiB"
"#
    );
    std::iter::once(head).chain(models).chain(rigs).chain(reports).collect()
}

fn rig_stream(name: &str, lane: &str, topic: &str) -> String {
    let values = serde_json::Value::from(CHANNELS.as_slice());
    format!(
        r#"
[[streams]]
name = "{name}"
kind = "sensor"
topic = "{topic}"
payload = {{ format = "json", time = "ts", values = {values} }}
window = {{ length = "60 s", hop = "60 s", lateness = "2 s", idle = "2 s" }}
model = "hydraulic-condition"
features = ["vs1.rms", "ce.mean", "se.mean"]
forward = {{ events = "all", scores = false, features = [{{ name = "vs1.rms", resolution = 0.001, every = "10 min" }}] }}
priority = "{lane}"
"#
    )
}

fn report_stream(name: &str, lane: &str) -> String {
    format!(
        r#"
[[streams]]
name = "{name}"
kind = "report"
topic = "{REPORT_TOPIC}"
payload = {{ format = "json", text = "text", time = "ts", id = "id" }}
classifier = "failure-mode"
forward = {{ events = "all", scores = false }}
priority = "{lane}"
"#
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_configuration_is_valid_and_names_the_streams() {
        let scratch = Scratch::new("tidegate-test").unwrap();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = configuration(&scratch, at(1), at(2)).unwrap();
        let names: Vec<&str> = config.streams.iter().map(|stream| &*stream.name).collect();
        assert_eq!(names, STREAMS.map(|(name, _)| name));
        let lanes: Vec<&str> = config.streams.iter().map(|stream| stream.priority.as_str()).collect();
        assert_eq!(lanes, STREAMS.map(|(_, lane)| lane));
    }
}
