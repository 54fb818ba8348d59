//! The configuration of the gateway of the demonstration.

use std::net::SocketAddr;

use crate::config::Config;
use crate::demo::error::DemoError;
use crate::demo::models::models;
use crate::demo::rig::CHANNELS;
use crate::demo::streams::{RIG_MODEL, STREAMS, Source, Stream};
use crate::io::scratch::Scratch;

/// Everything the gateway says on the plant's broker.
pub(in crate::demo) const PLANT_FILTER: &str = "tidegate/demo/gateway-1/#";

/// Every batch of any gateway.
pub(in crate::demo) const UPSTREAM_FILTER: &str = "tidegate/+/+/up/+";

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
    let models = models().map(|model| {
        let folder = path(&format!("models/{model}"));
        format!("[[models]]\nname = \"{model}\"\npath = {folder}\n")
    });
    let streams = STREAMS.iter().map(|stream| match &stream.source {
        Source::Rig(_) => rig_stream(stream),
        Source::People { classifier, extractor, .. } => report_stream(stream, *classifier, *extractor),
    });
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
    std::iter::once(head).chain(models).chain(streams).collect()
}

fn rig_stream(Stream { name, lane, topic, .. }: &Stream) -> String {
    let values = serde_json::Value::from(CHANNELS.as_slice());
    format!(
        r#"
[[streams]]
name = "{name}"
kind = "sensor"
topic = "{topic}"
payload = {{ format = "json", time = "ts", values = {values} }}
window = {{ length = "60 s", hop = "60 s", lateness = "2 s", idle = "2 s" }}
model = "{RIG_MODEL}"
features = ["vs1.rms", "ce.mean", "se.mean"]
forward = {{ events = "all", scores = false, features = [{{ name = "vs1.rms", resolution = 0.001, every = "10 min" }}] }}
priority = "{lane}"
"#
    )
}

fn report_stream(
    Stream { name, lane, topic, .. }: &Stream,
    classifier: Option<&str>,
    extractor: Option<&str>,
) -> String {
    let models = [("classifier", classifier), ("extractor", extractor)]
        .map(|(key, model)| model.map_or(String::new(), |model| format!("{key} = \"{model}\"\n")));
    let models = models.concat();
    format!(
        r#"
[[streams]]
name = "{name}"
kind = "report"
topic = "{topic}"
payload = {{ format = "json", text = "text", time = "ts", id = "id" }}
{models}
forward = {{ events = "all", scores = false, entities = "vocabulary" }}
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
        assert_eq!(names, STREAMS.map(|stream| stream.name));
        let lanes: Vec<&str> = config.streams.iter().map(|stream| stream.priority.as_str()).collect();
        assert_eq!(lanes, STREAMS.map(|stream| stream.lane));
    }
}
