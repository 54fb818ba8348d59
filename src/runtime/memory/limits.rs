//! What the budget grants to parts that could take any amount: each is held to its share.

use crate::config::{Config, StreamSettings};
use crate::infer::Manifest;
use crate::ingest::PayloadFormat;
use crate::runtime::limits::QUEUE_MAX;
use crate::units::Bytes;
use crate::window::{Length, WindowConfig, source_bytes};

/// One part in this many of the budget is for windows and reports that wait for the models.
const QUEUE_SHARE: u64 = 4;

/// One part in this many of the budget is for open windows, if one source of each stream does not need more.
const WINDOW_SHARE: u64 = 8;

/// Work that may wait in any case: with less, what one message closes for a few sources would be shed at once.
const QUEUE_MIN: u64 = 16;

/// A piece of work without its samples or its text.
const WORK_BYTES: u64 = 512;

/// One sample in a closed window: a time and a value.
const SAMPLE_BYTES: u64 = 12;

/// One sample in the buffer of a source: the same, with room for buffers that grow by half.
const BUFFERED_BYTES: u64 = SAMPLE_BYTES * 3 / 2;

/// No source may take more than one part in four of what its stream may, so each stream gets four buffers in any case.
const SURE_BUFFERS: u64 = 4;

/// Samples per second and channel assumed where a time window does not say its period.
const RATE_ASSUMED: f64 = 10.0;

/// Times the bytes of its topic a source takes: the topic, and twice what its wildcards matched.
const TOPIC_COPIES: u64 = 3;

/// What else a source takes in tables of ingest, pipeline and distill, hash tables half empty. Checked by
/// `tests/cardinality.rs`.
const SERIES_BYTES: u64 = 640;

/// What a source takes for each task of its model: which answer stands, which one is on its way.
const TASK_BYTES: u64 = 40;

/// Bytes of windows and reports that may wait for the models: as many of the largest as a burst makes, at most a share
/// of the budget. A queue of a fixed length would be a matter of kilobytes for one configuration and of gigabytes for
/// the next.
pub(in crate::runtime) fn queue_bytes(config: &Config) -> Bytes {
    let largest = largest_work(config);
    Bytes((config.budget.memory.0 / QUEUE_SHARE).clamp(QUEUE_MIN * largest, QUEUE_MAX as u64 * largest))
}

/// Pieces of work that may wait if all are as large as can be.
pub(in crate::runtime) fn queue_max(config: &Config) -> usize {
    usize::try_from(queue_bytes(config).0 / largest_work(config)).unwrap_or(QUEUE_MAX)
}

/// The largest window or report there can be.
pub(in crate::runtime) fn largest_work(config: &Config) -> u64 {
    let samples = config.streams.iter().filter_map(samples).max().unwrap_or(0);
    (SAMPLE_BYTES * samples).max(report_bytes(config)) + WORK_BYTES
}

/// Bytes the windows of each stream may take, by stream: buffers of all its sources, closed windows until they are
/// queued, used ones until they are used again. Every stream gets what one source needs and an equal part of what is left
/// of the share; 0 for reports. So no stream can take from another.
pub(in crate::runtime) fn window_bytes(config: &Config) -> Vec<u64> {
    let sure: Vec<u64> = config.streams.iter().map(sure_bytes).collect();
    let streams = sure.iter().filter(|bytes| **bytes > 0).count().max(1) as u64;
    let left = (config.budget.memory.0 / WINDOW_SHARE).saturating_sub(sure.iter().sum()) / streams;
    sure.into_iter().map(|sure| if sure > 0 { sure + left } else { 0 }).collect()
}

/// Bytes of all tables with an entry per source, when there are as many as allowed.
pub(in crate::runtime) fn series_bytes<'a>(
    config: &Config,
    manifests: impl Iterator<Item = &'a Manifest>,
) -> u64 {
    let tasks = manifests.map(|manifest| manifest.tasks.len()).max().unwrap_or(0) as u64;
    let each = TOPIC_COPIES * u64::from(config.limits.topic_bytes) + SERIES_BYTES + TASK_BYTES * tasks;
    u64::from(config.limits.series) * each
}

/// Bytes of the longest report there can be; 0 without streams of reports.
fn report_bytes(config: &Config) -> u64 {
    let is_there = config.streams.iter().any(|stream| stream.window.is_none());
    if is_there { config.limits.text.0 } else { 0 }
}

/// What one source of a stream needs; 0 for reports.
fn sure_bytes(stream: &StreamSettings) -> u64 {
    let buffer = BUFFERED_BYTES * samples(stream).unwrap_or(0);
    stream.window.as_ref().map_or(0, |window| SURE_BUFFERS * (buffer + source_bytes(window)))
}

/// Samples a source of a stream holds, hop and lateness included; `None` for reports.
fn samples(stream: &StreamSettings) -> Option<u64> {
    let window = stream.window.as_ref()?;
    let rows = match window.length {
        Length::Count { samples, hop } => u64::from(samples) + u64::from(hop),
        Length::Time { length, hop } => {
            let span = (length + hop + window.lateness).as_secs_f64();
            let per_second = rate(stream, window);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of samples"
            )]
            let rows = (span * per_second).ceil() as u64;
            rows.min(u64::from(window.samples_max))
        }
    };
    Some(rows * u64::from(window.channels))
}

/// Samples per second and channel, as far as the configuration tells.
fn rate(stream: &StreamSettings, window: &WindowConfig) -> f64 {
    match (stream.payload(), window.period) {
        (Some(PayloadFormat::Packed { rate, .. }), _) => rate.hertz(),
        (_, Some(period)) => 1.0 / period.as_secs_f64().max(1e-6),
        (_, None) => RATE_ASSUMED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_CONFIG;

    fn config(changes: &[(&str, &str)]) -> Config {
        let mut text = DEFAULT_CONFIG.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        Config::parse(&text).unwrap()
    }

    #[test]
    fn reports_that_wait_are_planned_for_at_their_longest() {
        let text = |text| config(&[("text = \"64 KiB\"", text)]);
        let long = text("text = \"256 KiB\"");
        assert_eq!(queue_bytes(&long), Bytes(24 << 20), "a quarter of the 96 MiB");
        assert_eq!(queue_max(&long), (24 << 20) / ((256 << 10) + 512));
        assert_eq!(queue_max(&text("text = \"1 KiB\"")), QUEUE_MAX);
    }

    #[test]
    fn windows_take_what_their_span_and_rate_make_of_them() {
        let of = |changes: &[_]| samples(&config(changes).streams[0]).unwrap();
        let json = "format = \"json\", time = \"ts\", values";
        let packed = "format = \"i16le\", rate = 10000, values";
        // 122 s of window, hop and lateness at one sample a second, 8 channels.
        assert_eq!(of(&[]), 122 * 8);
        let unsaid = (", period = \"1 s\"", "");
        assert_eq!(of(&[unsaid]), 1_220 * 8, "the rate assumed");
        let short =
            ("length = \"60 s\", hop = \"60 s\", lateness = \"2 s\"", "length = \"1 s\", lateness = \"0 s\"");
        assert_eq!(of(&[(json, packed), short]), 20_000 * 8);
        let count = ("length = \"60 s\", hop = \"60 s\", lateness = \"2 s\"", "samples = 1024, hop = 512");
        assert_eq!(of(&[count]), 1_536 * 8);
        let shaken = config(&[(json, packed), short]);
        assert_eq!(queue_max(&shaken) as u64, QUEUE_MIN, "a few wait however large they are");
    }

    #[test]
    fn every_stream_has_its_own_share_of_the_windows() {
        let limits = window_bytes(&config(&[]));
        assert_eq!(limits[0], (96 << 20) / WINDOW_SHARE, "the only stream of samples");
        assert_eq!(limits[1..], [0, 0, 0]);
        let small = config(&[("# memory = \"96 MiB\"", "memory = \"16 MiB\"")]);
        assert!(window_bytes(&small)[0] < limits[0]);
        let much = ("length = \"60 s\", hop = \"60 s\"", "length = \"12 h\", hop = \"1 h\"");
        let one = sure_bytes(&config(&[much]).streams[0]);
        assert!(one > (16 << 20) / WINDOW_SHARE);
        let small = config(&[("# memory = \"96 MiB\"", "memory = \"16 MiB\""), much]);
        assert_eq!(
            window_bytes(&small)[0],
            one,
            "what one source needs in any case: check refuses what does not fit"
        );
    }
}
