//! The whole configuration, and the rules that tie its parts together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Table;

use crate::board::{HardwarePlan, Profile};
use crate::config::fault::{Collector, Fault, Faults, WHOLE_FILE};
use crate::config::gateway::{BudgetSettings, Gateway, is_name};
use crate::config::hardware::read_wired;
use crate::config::link::{Plant, Upstream};
use crate::config::section::Section;
use crate::config::stream::{StreamSettings, StreamSource};
use crate::ingest::{Limits, TopicFilter};
use crate::outbox::{OutboxConfig, WhenFull};
use crate::units::Bytes;

/// The commented default configuration, printed by `tidegate config --default` and installed as an example.
pub const DEFAULT_CONFIG: &str = include_str!("default.toml");

/// Streams of one gateway: ids are 16 bits and each has windows in memory; a plant with more splits over gateways.
const STREAMS_MAX: usize = 1_024;

/// Characters shown of a line of a file that is no TOML.
const LINE_CHARS_MAX: usize = 160;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is.
    pub gateway: Gateway,
    /// The local broker.
    pub plant: Plant,
    /// The far broker.
    pub upstream: Upstream,
    /// The durable queue.
    pub outbox: OutboxConfig,
    /// What the process may use.
    pub budget: BudgetSettings,
    /// What is wired to the board.
    pub hardware: HardwarePlan,
    /// Limits on what comes in.
    pub limits: Limits,
    /// Installed models, by `ModelId`.
    pub models: Vec<ModelEntry>,
    /// Streams, by `StreamId`.
    pub streams: Vec<StreamSettings>,
}

/// One `[[models]]` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// Name by which streams refer to it.
    pub name: Arc<str>,
    /// Folder with the manifest.
    pub path: PathBuf,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let (config, faults) = Self::examine(text);
        if faults.is_empty() { Ok(config) } else { Err(Faults(faults)) }
    }

    /// The configuration as it holds on a board: see [`BudgetSettings::on`].
    #[must_use]
    pub fn on(&self, board: &Profile) -> Self {
        Self { budget: self.budget.on(board), ..self.clone() }
    }

    /// Reads a configuration as far as it can be read, and says what is wrong with it. Only a configuration without
    /// faults may be run; one with faults serves to find out what else is wrong.
    pub fn examine(text: &str) -> (Self, Vec<Fault>) {
        let faults = Collector::default();
        let table: Table = text.parse().unwrap_or_else(|error: toml::de::Error| {
            faults.note(WHOLE_FILE, readable(&error), "TOML as in `tidegate config --default`");
            Table::new()
        });
        let readable = faults.is_empty();
        let root = Section::root(&table, &faults);
        let config = Self::read(&root);
        config.cross_check(&root);
        root.finish();
        let mut faults = faults.finish();
        if !readable {
            // Nothing could be read: that everything is missing follows from it.
            faults.truncate(1);
        }
        (config, faults)
    }

    fn read(root: &Section<'_>) -> Self {
        let models: Vec<ModelEntry> = root.sections("models").into_iter().map(ModelEntry::read).collect();
        let known: Vec<Arc<str>> = models.iter().map(|model| model.name.clone()).collect();
        let wired = read_wired(root);
        let streams = root.sections("streams").into_iter().enumerate();
        Self {
            gateway: Gateway::read(root.section("gateway")),
            plant: Plant::read(root.section("plant")),
            upstream: Upstream::read(root.section("upstream")),
            outbox: read_outbox(root.section("outbox")),
            budget: BudgetSettings::read(root.section("budget")),
            limits: read_limits(root.section("limits")),
            streams: streams
                .filter_map(|(index, section)| StreamSettings::read(index, section, &known, &wired))
                .collect(),
            models,
            hardware: wired.plan,
        }
    }

    /// Rules between parts:
    ///
    /// | rule | why |
    /// |---|---|
    /// | at least one stream, at most 1,024 | a gateway without streams does nothing; ids are small |
    /// | names of streams and models differ from each other | topics and events are told apart by them |
    /// | no stream reads only what the gateway itself says | it would get nothing: that is kept from all streams |
    /// | plant and upstream are not the same broker | raw data and what may leave must not meet |
    fn cross_check(&self, root: &Section<'_>) {
        if self.streams.is_empty() && root.entries("streams") == 0 {
            root.fault("streams", "none", "at least one [[streams]] table");
        }
        if self.streams.len() > STREAMS_MAX {
            root.fault(
                "streams",
                format!("{} streams", self.streams.len()),
                format!("at most {STREAMS_MAX}"),
            );
        }
        for (place, stream) in self.streams.iter().enumerate() {
            if self.streams.iter().take(place).any(|other| other.name == stream.name)
                && !stream.name.is_empty()
            {
                root.fault(
                    &format!("streams[{}].name", stream.index),
                    format!("{:?} is taken", stream.name),
                    "a name of its own",
                );
            }
        }
        for (index, model) in self.models.iter().enumerate() {
            if self.models.iter().take(index).any(|other| other.name == model.name) && !model.name.is_empty()
            {
                root.fault(
                    &format!("models[{index}].name"),
                    format!("{:?} is taken", model.name),
                    "a name of its own",
                );
            }
        }
        self.check_own_topics(root);
        let (plant, upstream) = (&self.plant.link, &self.upstream.link);
        if !plant.address.host.is_empty() && plant.address == upstream.address {
            root.fault("upstream.url", "the same broker as plant.url", "another broker");
        }
    }

    /// A wider filter, such as `#`, gets the rest of what it matches.
    fn check_own_topics(&self, root: &Section<'_>) {
        let own = format!("tidegate/{}/{}", self.gateway.site, self.gateway.id);
        let Ok(all) = TopicFilter::parse(&format!("{own}/#")) else { return };
        for stream in &self.streams {
            if let StreamSource::Plant { filter, .. } = &stream.source
                && all.covers(filter)
                && !filter.as_str().ends_with(&own)
            {
                root.fault(
                    &format!("streams[{}].topic", stream.index),
                    format!(
                        "{:?} lies below {own}, where this gateway speaks: no stream gets it",
                        filter.as_str()
                    ),
                    "a topic of the plant, or of another gateway",
                );
            }
        }
    }
}

impl ModelEntry {
    fn read(section: Section<'_>) -> Self {
        let rule = "1 to 32 of a-z, 0-9 and -";
        let name = section.required("name", rule);
        if let Some(name) = name.filter(|name| !is_name(name)) {
            section.fault("name", format!("{name:?}"), rule);
        }
        let name = name.unwrap_or_default();
        let path = section
            .text("path")
            .map_or_else(|| Path::new("/usr/share/tidegate/models").join(name), PathBuf::from);
        section.finish();
        Self { name: Arc::from(name), path }
    }
}

fn read_outbox(section: Section<'_>) -> OutboxConfig {
    let default = OutboxConfig::default();
    let words = [
        ("drop-oldest", WhenFull::DropOldest),
        ("coarsen", WhenFull::Coarsen),
        ("reject-new", WhenFull::RejectNew),
    ];
    let day = Duration::from_hours(24);
    let sync = Duration::from_millis(1)..=Duration::from_secs(10);
    let size_max = section.quantity("size_max", Bytes(8 << 20)..=Bytes(1 << 40)).unwrap_or(default.size_max);
    let outbox = OutboxConfig {
        size_max,
        segment_bytes: OutboxConfig::segment_bytes_for(size_max),
        age_max: section.duration("age_max", Duration::from_mins(1)..=3_650 * day).unwrap_or(default.age_max),
        free_min: section.quantity("free_min", Bytes(0)..=Bytes(1 << 40)).unwrap_or(default.free_min),
        when_full: section.word("when_full", &words, default.when_full),
        sync_interval: section.duration("sync_interval", sync).unwrap_or(default.sync_interval),
        ..default
    };
    section.finish();
    outbox
}

fn read_limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let packet = Bytes(1 << 10)..=Bytes(16 << 20);
    let text = Bytes(256)..=Bytes(1 << 20);
    let limits = Limits {
        packet: section.quantity("packet", packet).unwrap_or(default.packet),
        text: section.quantity("text", text).unwrap_or(default.text),
        depth: narrow(section.whole("depth", 1..=u32::from(Limits::DEPTH_MAX)), default.depth),
        keys: section.whole("keys", 1..=65_536).unwrap_or(default.keys),
        topic_bytes: narrow(section.whole("topic_bytes", 16..=65_535), default.topic_bytes),
        topic_levels: narrow(section.whole("topic_levels", 1..=64), default.topic_levels),
        series: section.whole("series", 1..=100_000).unwrap_or(default.series),
    };
    section.finish();
    limits
}

/// A whole number, already in range, in the type of the limit.
fn narrow<T: TryFrom<u32>>(number: Option<u32>, default: T) -> T {
    number.and_then(|number| T::try_from(number).ok()).unwrap_or(default)
}

/// What is wrong with the TOML, as a terminal may show it: it quotes the file, which may be anything.
fn readable(error: &toml::de::Error) -> String {
    let shown = |line: &str| {
        let shown = line.chars().take(LINE_CHARS_MAX);
        shown.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    };
    error.to_string().trim_end().lines().map(shown).collect::<Vec<String>>().join("\n")
}
