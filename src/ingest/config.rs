//! What ingest is told: which topics carry which stream, how their payloads are written, and the limits.

use crate::flow::{StreamId, StreamKind};
use crate::ingest::TopicFilter;
use crate::units::Bytes;

/// Everything ingest is told.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The streams, in the order in which they decode a message that several of them match.
    pub streams: Vec<StreamInput>,
    /// What is refused because it is too much.
    pub limits: Limits,
}

/// Where a stream comes from and how it is written.
#[derive(Clone, Debug)]
pub struct StreamInput {
    /// Index of the stream.
    pub id: StreamId,
    /// Topics that carry it.
    pub filter: TopicFilter,
    /// How its payloads are written.
    pub payload: PayloadFormat,
}

/// How the payloads of a stream are written. The place of a name in `values` is its `SignalId`.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadFormat {
    /// One JSON object per message, or an array of them.
    Json {
        /// Keys of the channels; `motor.current` also finds `current` inside the object `motor`.
        values: Vec<String>,
        /// Key of the time; arrival time if there is none.
        time: Option<TimeField>,
    },
    /// A SenML pack in JSON (RFC 8428).
    Senml {
        /// Names of the channels: the whole name with its base, or what follows its last `:` or `/`.
        values: Vec<String>,
    },
    /// Lines of cells.
    Csv {
        /// Columns of the channels.
        values: Vec<String>,
        /// Column of the time; arrival time if there is none.
        time: Option<TimeField>,
        /// What separates the cells.
        delimiter: u8,
        /// How the columns get their names.
        columns: Columns,
    },
    /// A block of packed little-endian numbers, the channels interleaved.
    Packed {
        /// Channels in the order of the block.
        values: Vec<String>,
        /// Width and kind of the numbers.
        encoding: Encoding,
        /// Samples per second and channel. The last sample of a block is taken at its arrival.
        rate: SampleRate,
        /// The value of one count.
        scale: f32,
    },
    /// One report as a JSON object, or an array of them.
    ReportJson {
        /// Key of the text.
        text: String,
        /// Key of the time; arrival time if there is none.
        time: Option<TimeField>,
        /// Key of the plant's own number of the report.
        id: Option<String>,
    },
    /// The payload is the text.
    ReportText,
    /// The payload is an NMEA 0183 sentence; its type becomes the class of the report.
    ReportNmea,
}

/// Which field holds the time and in which unit, if it is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeField {
    /// Key or column.
    pub name: String,
    /// Unit of a number. RFC 3339 is understood with any of them.
    pub unit: TimeUnit,
}

/// Unit of a time since 1970 that is written as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// By magnitude: below 1e11 seconds, below 1e14 ms, below 1e17 µs, else ns. Right for the years 1973 to 5138.
    #[default]
    Auto,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// How the columns of a CSV payload get their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// The first line of every message names them.
    Header,
    /// They are always these. Empty: the time, if configured, then the values in their order.
    Fixed(Vec<String>),
}

/// Width and kind of packed numbers, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// IEEE 754 single precision.
    F32,
    /// Signed 16 bits.
    I16,
}

/// Samples per second, such that neighbours differ by at least a microsecond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRate(f64);

/// What is refused because it is too much. Each limit is counted when it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a payload (`oversize`).
    pub packet: Bytes,
    /// Bytes of the text of a report (`text-too-long`).
    pub text: Bytes,
    /// Objects and arrays inside one another (`depth`); never more than [`Limits::DEPTH_MAX`].
    pub depth: u8,
    /// Keys of an object, nested ones included; columns of a CSV header (`keys`).
    pub keys: u32,
    /// Bytes of a topic (`topic`).
    pub topic_bytes: u16,
    /// Levels of a topic (`topic`).
    pub topic_levels: u8,
    /// Distinct sources of all streams together (`series-limit`).
    pub series: u32,
}

impl Limits {
    /// The scanner keeps one bit per level in a 64-bit word.
    pub const DEPTH_MAX: u8 = 64;
}

impl Default for Limits {
    /// The limits of the outside contract: a telemetry packet is a few KiB, a long report a few pages.
    fn default() -> Self {
        Self {
            packet: Bytes(256 << 10),
            text: Bytes(64 << 10),
            depth: 32,
            keys: 1024,
            topic_bytes: 256,
            topic_levels: 16,
            series: 4096,
        }
    }
}

impl SampleRate {
    /// Slowest: one sample per hour. Fastest: one per microsecond, the resolution of event time.
    const RANGE: std::ops::RangeInclusive<f64> = (1.0 / 3600.0)..=1e6;

    /// The rate, if it is between one per hour and one per microsecond.
    pub fn new(hertz: f64) -> Option<Self> {
        Self::RANGE.contains(&hertz).then_some(Self(hertz))
    }

    /// Samples per second.
    pub fn hertz(self) -> f64 {
        self.0
    }
}

impl PayloadFormat {
    /// Names of the channels by `SignalId`; none for reports.
    pub fn values(&self) -> &[String] {
        match self {
            Self::Json { values, .. }
            | Self::Senml { values }
            | Self::Csv { values, .. }
            | Self::Packed { values, .. } => values,
            Self::ReportJson { .. } | Self::ReportText | Self::ReportNmea => &[],
        }
    }

    /// What kind of stream is written so.
    pub fn kind(&self) -> StreamKind {
        match self {
            Self::Json { .. } | Self::Senml { .. } | Self::Csv { .. } | Self::Packed { .. } => {
                StreamKind::Sensor
            }
            Self::ReportJson { .. } | Self::ReportText | Self::ReportNmea => StreamKind::Report,
        }
    }
}
