//! `[[streams]]`: where a stream comes from, how it is windowed, who judges it, what of it may leave.

use std::sync::Arc;
use std::time::Duration;

use crate::config::gateway::is_name;
use crate::config::hardware::{DeviceSource, Wired, read_source};
use crate::config::payload::read_payload;
use crate::config::section::Section;
use crate::distill::ForwardEvents;
use crate::egress::Entities;
use crate::egress::GOVERNOR_STREAM;
use crate::features::FeatureLayout;
use crate::flow::{Priority, StreamId, StreamKind};
use crate::ingest::{PayloadFormat, TopicFilter};
use crate::units::format_duration;
use crate::window::{self, Length, WindowConfig};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// Work older than this when its turn comes is stale, unless configured: a decision about a plant a minute ago is
/// history, not control.
const DEADLINE: Duration = Duration::from_mins(1);

/// Stands in for a topic filter that cannot be read.
const UNREADABLE: &str = "unreadable";

/// Words for priorities in the file.
const PRIORITIES: [(&str, Priority); 3] =
    [("alarm", Priority::Alarm), ("normal", Priority::Normal), ("bulk", Priority::Bulk)];

/// One stream, validated.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Its place in the file, for messages: streams before it may have been unreadable.
    pub index: usize,
    /// Name used in topics and events.
    pub name: Arc<str>,
    /// Sensor or report.
    pub kind: StreamKind,
    /// Where it comes from.
    pub source: StreamSource,
    /// How samples are cut into windows; `None` for reports.
    pub window: Option<WindowConfig>,
    /// Index into the models of the one that answers tasks; `None` where a sensor stream only forwards features or a
    /// report stream has only an extractor.
    pub model: Option<u16>,
    /// Index into the models of the one that marks entities in reports.
    pub extractor: Option<u16>,
    /// Patterns of the features shown with each decision; empty: what the model asks for.
    pub features: Vec<String>,
    /// Raises the threshold of the model below which an answer is uncertain.
    pub uncertain_below: Option<f32>,
    /// Lane.
    pub priority: Priority,
    /// Longest wait before a model must have judged it.
    pub deadline: Duration,
    /// Event time a changed label must persist before it counts.
    pub dwell: Duration,
    /// Event time without an alarm label before a standing alarm ends.
    pub clear_dwell: Duration,
    /// Whether the plant's own event repeats the text of a report.
    pub show_text: bool,
    /// What goes upstream.
    pub forward: ForwardSettings,
}

/// Where a stream comes from.
#[derive(Clone, Debug)]
pub enum StreamSource {
    /// Messages of the plant.
    Plant {
        /// Topics that carry it.
        filter: TopicFilter,
        /// How its payloads are written.
        payload: PayloadFormat,
    },
    /// A sensor or a line of this board.
    Device(DeviceSource),
}

/// What of a stream goes upstream.
#[derive(Clone, Debug)]
pub struct ForwardSettings {
    /// Which events.
    pub events: ForwardEvents,
    /// Which features, at which resolution, how often at least.
    pub features: Vec<ForwardFeature>,
    /// How much of an entity.
    pub entities: Entities,
    /// Whether the probability of every label goes too.
    pub scores: bool,
    /// Events per hour of event time.
    pub rate_max_per_hour: Option<u32>,
}

/// One feature that goes upstream.
#[derive(Clone, Debug)]
pub struct ForwardFeature {
    /// `channel.feature`.
    pub name: String,
    /// It leaves as the nearest multiple of this.
    pub resolution: f32,
    /// It is sent at least this often even when nothing changes.
    pub every: Option<Duration>,
}

impl StreamSettings {
    /// Names of its channels by `SignalId`; none for reports.
    pub fn values(&self) -> &[String] {
        match &self.source {
            StreamSource::Plant { payload, .. } => payload.values(),
            StreamSource::Device(device) => &device.values,
        }
    }

    /// How its payloads are written; `None` where nothing is written because the gateway measures itself.
    pub fn payload(&self) -> Option<&PayloadFormat> {
        match &self.source {
            StreamSource::Plant { payload, .. } => Some(payload),
            StreamSource::Device(_) => None,
        }
    }

    pub(in crate::config) fn read(
        index: usize,
        section: Section<'_>,
        models: &[Arc<str>],
        wired: &Wired,
    ) -> Option<Self> {
        let rule = "1 to 32 of a-z, 0-9 and -";
        let name = section.required("name", rule);
        if let Some(name) = name.filter(|name| !is_name(name)) {
            section.fault("name", format!("{name:?}"), rule);
        }
        if name == Some(GOVERNOR_STREAM) {
            section.fault("name", format!("{GOVERNOR_STREAM:?} is the gateway's own stream"), "another name");
        }
        let name = name.unwrap_or_default();
        let kinds = [("sensor", StreamKind::Sensor), ("report", StreamKind::Report)];
        if !section.has("kind") {
            section.fault("kind", "missing", "sensor | report");
        }
        let kind = section.word("kind", &kinds, StreamKind::Sensor);
        let source = StreamSource::read(&section, kind, wired);
        let id = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
        let window = match kind {
            StreamKind::Sensor => Some(read_window(section.section("window"), id, source.as_ref())),
            StreamKind::Report => None,
        };
        let (model, extractor) = read_models(&section, kind, models);
        let forward = ForwardSettings::read(section.section("forward"), kind);
        let stream = Self {
            index,
            name: Arc::from(name),
            kind,
            source: source?,
            window,
            model,
            extractor,
            features: if kind == StreamKind::Sensor { section.texts("features") } else { Vec::new() },
            uncertain_below: read_share(&section, "uncertain_below"),
            priority: section.word("priority", &PRIORITIES, Priority::Normal),
            deadline: section.duration("deadline", Duration::from_millis(10)..=DAY).unwrap_or(DEADLINE),
            dwell: section.duration("dwell", Duration::ZERO..=DAY).unwrap_or(Duration::ZERO),
            clear_dwell: section.duration("clear_dwell", Duration::ZERO..=DAY).unwrap_or(Duration::ZERO),
            show_text: kind == StreamKind::Report && section.flag("show_text", false),
            forward,
        };
        stream.cross_check(&section);
        section.finish();
        Some(stream)
    }

    /// Rules within a stream:
    ///
    /// | rule | why |
    /// |---|---|
    /// | feature patterns match the channels of the payload | a misspelt channel would be missing for ever |
    /// | a feature that leaves is named as itself, not by a pattern | the door compares names letter by letter |
    /// | a stream without a model forwards or shows features | it would do nothing |
    fn cross_check(&self, section: &Section<'_>) {
        let channels = self.values();
        if self.kind == StreamKind::Report || channels.is_empty() {
            return;
        }
        if !self.features.is_empty()
            && let Err(error) = FeatureLayout::resolve(&self.features, channels)
        {
            section.fault("features", error.to_string(), "channel.feature, with * for any channel");
        }
        for feature in &self.forward.features {
            let allowed = "channel.feature of this stream, one at a time";
            match FeatureLayout::resolve(std::slice::from_ref(&feature.name), channels) {
                Err(error) => section.fault("forward.features", error.to_string(), allowed),
                // The door compares names letter by letter.
                Ok(layout) if layout.position(&feature.name).is_none() || layout.len() > 1 => {
                    let means = layout.names().join(", ");
                    section.fault("forward.features", format!("{:?} means {means}", feature.name), allowed);
                }
                Ok(_) => {}
            }
        }
        if self.model.is_none()
            && self.features.is_empty()
            && self.forward.features.is_empty()
            && !section.has("model")
        {
            section.fault("model", "missing", "the name of a [[models]] entry, or a list of features");
        }
    }
}

impl StreamSource {
    fn read(section: &Section<'_>, kind: StreamKind, wired: &Wired) -> Option<Self> {
        if !section.has("source") {
            let payload = read_payload(section.section("payload"), kind);
            return Some(Self::Plant { filter: read_filter(section)?, payload });
        }
        if kind == StreamKind::Report {
            section.fault("source", "a report stream has a topic", "topic = …, or kind = \"sensor\"");
        }
        read_source(section, wired).map(Self::Device)
    }
}

impl ForwardSettings {
    fn read(section: Section<'_>, kind: StreamKind) -> Self {
        let events = [
            ("all", ForwardEvents::All),
            ("on-change", ForwardEvents::OnChange),
            ("none", ForwardEvents::None),
        ];
        let entities = [
            ("vocabulary", Entities::Vocabulary),
            ("types-only", Entities::TypesOnly),
            ("none", Entities::None),
        ];
        let default = match kind {
            StreamKind::Sensor => ForwardEvents::OnChange,
            StreamKind::Report => ForwardEvents::All,
        };
        let features = section.sections("features").into_iter().filter_map(ForwardFeature::read).collect();
        let forward = Self {
            events: section.word("events", &events, default),
            features,
            entities: section.word("entities", &entities, Entities::Vocabulary),
            scores: section.flag("scores", true),
            rate_max_per_hour: section.whole("rate_max_per_hour", 1..=1_000_000),
        };
        section.finish();
        forward
    }
}

impl ForwardFeature {
    fn read(section: Section<'_>) -> Option<Self> {
        let name = section.required("name", "channel.feature").map(str::to_owned);
        if !section.has("resolution") {
            section.fault("resolution", "missing", "the step in which the number leaves, like 0.001");
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a resolution in single precision is precise enough"
        )]
        let resolution = section.number("resolution", 1e-6..=1e9).map(|step| step as f32);
        let every = section.duration("every", SECOND..=30 * DAY);
        section.finish();
        Some(Self { name: name?, resolution: resolution?, every })
    }
}

fn read_filter(section: &Section<'_>) -> Option<TopicFilter> {
    let allowed = "an MQTT topic filter of at most 16 levels and 256 bytes";
    let text = section.required("topic", allowed).unwrap_or(UNREADABLE);
    match TopicFilter::parse(text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            section.fault("topic", error.to_string(), allowed);
            // Stands in so that the rest of the stream is checked too.
            TopicFilter::parse(UNREADABLE).ok()
        }
    }
}

fn read_share(section: &Section<'_>, key: &'static str) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "a share between 0 and 1")]
    section.number(key, 0.0..=1.0).map(|share| share as f32)
}

/// Who answers tasks, and who marks entities.
fn read_models(section: &Section<'_>, kind: StreamKind, models: &[Arc<str>]) -> (Option<u16>, Option<u16>) {
    let named = |key, name: Option<&str>| {
        let name = name?;
        let found = models.iter().position(|model| &**model == name);
        if found.is_none() {
            let none = || "none: there is no [[models]] entry".to_owned();
            let allowed = if models.is_empty() { none() } else { models.join(" | ") };
            section.fault(key, format!("no model is called {name:?}"), allowed);
        }
        found.and_then(|index| u16::try_from(index).ok())
    };
    if kind == StreamKind::Sensor {
        return (named("model", section.text("model")), None);
    }
    if !section.has("classifier") && !section.has("extractor") {
        let allowed = format!("a classifier, an extractor or both: {}", models.join(" | "));
        section.fault("classifier", "missing", allowed);
    }
    let (classifier, extractor) = (section.text("classifier"), section.text("extractor"));
    (named("classifier", classifier), named("extractor", extractor))
}

fn read_window(section: Section<'_>, stream: StreamId, source: Option<&StreamSource>) -> WindowConfig {
    let (channels, measured) = match source {
        None => (0, None),
        Some(StreamSource::Plant { payload, .. }) => (payload.values().len(), None),
        Some(StreamSource::Device(device)) => (device.values.len(), Some(device.period())),
    };
    let millisecond = Duration::from_millis(1);
    let by_count = section.has("samples");
    if by_count == section.has("length") {
        section.fault(
            "length",
            "a window needs either a length or a number of samples",
            "{ length = \"60 s\" } or { samples = 1024 }",
        );
    }
    let length = if by_count {
        let samples = section.whole("samples", 1..=window::SAMPLES_MAX).unwrap_or(1);
        Length::Count { samples, hop: section.whole("hop", 1..=window::SAMPLES_MAX).unwrap_or(samples) }
    } else {
        let length = section.duration("length", millisecond..=window::LENGTH_MAX).unwrap_or(60 * SECOND);
        Length::Time {
            length,
            hop: section.duration("hop", millisecond..=window::LENGTH_MAX).unwrap_or(length),
        }
    };
    check_overlap(&section, length);
    let lateness = if by_count { Duration::ZERO } else { window::LATENESS };
    let config = WindowConfig {
        stream,
        channels: u16::try_from(channels).unwrap_or(u16::MAX),
        length,
        lateness: section.duration("lateness", Duration::ZERO..=DAY).unwrap_or(lateness),
        idle: section.duration("idle", Duration::from_millis(10)..=DAY).unwrap_or(window::IDLE),
        future_max: section.duration("future_max", SECOND..=DAY).unwrap_or(window::FUTURE_MAX),
        period: section.duration("period", Duration::from_micros(1)..=DAY).or(measured),
        samples_max: section.whole("samples_max", 1..=16 << 20).unwrap_or(window::SAMPLES_MAX),
    };
    if let Length::Count { samples, .. } = length
        && samples > config.samples_max
    {
        let wrong = format!("{} do not hold a window of {samples}", config.samples_max);
        section.fault("samples_max", wrong, format!("at least {samples}"));
    }
    section.finish();
    config
}

/// A sample is in no more windows than allowed.
fn check_overlap(section: &Section<'_>, length: Length) {
    let fault = |wrong: String, least: String| {
        section.fault("hop", wrong, format!("at least {least}, a {}th of the window", window::OVERLAP_MAX));
    };
    match length {
        Length::Time { length, hop } if hop < length / window::OVERLAP_MAX => {
            fault(format_duration(hop), format_duration(length / window::OVERLAP_MAX));
        }
        Length::Count { samples, hop } if hop < samples / window::OVERLAP_MAX => {
            fault(hop.to_string(), (samples / window::OVERLAP_MAX).to_string());
        }
        Length::Time { .. } | Length::Count { .. } => {}
    }
}
