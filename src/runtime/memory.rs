//! How much memory a configuration can take at most, by part.

use crate::config::{Config, StreamSettings};
use crate::distill::COARSENING_BYTES_MAX;
use crate::infer::BATCH_MAX;
use crate::infer::manifest::{InputLayout, Tags};
use crate::infer::tensor::Dtype;
use crate::ingest::PayloadFormat;
use crate::outbox::WhenFull;
use crate::runtime::analyze::WORK_IN_FLIGHT;
use crate::runtime::decisions::{DECISION_BYTES, WAITING_MAX};
use crate::runtime::extraction::WORDS_MAX;
use crate::runtime::limits::{INPUTS_MAX, QUEUE_MAX, REQUESTS_MAX, URGENT_MAX};
use crate::runtime::models::Models;
use crate::units::Bytes;
use crate::window::{Length, WindowConfig};

/// One line of the memory plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPart {
    /// What takes it.
    pub what: String,
    /// At most this much.
    pub bytes: Bytes,
}

/// Program, stacks, MQTT, TLS and log: private memory of the device build without models, rounded up. Measured by
/// `scripts/bench memory`.
const PROCESS: Bytes = Bytes(6 << 20);

/// A stored event, postcard-encoded, rounded up.
const RECORD_BYTES: u64 = 512;

/// One sample in a window: a time and a value, with room for buffers that grow by doubling.
const SAMPLE_BYTES: u64 = 24;

/// A message of the plant, assumed: a row of a few dozen channels. Larger ones pass, one at a time, up to the limit.
const PACKET_ASSUMED: u64 = 16 << 10;

/// Copies of a batch of inputs: as it is made, as the model normalises it, as the graph takes it.
const INPUT_COPIES: u64 = 3;

/// A batch of 256 events with its compressor's share.
const BATCH_BYTES: u64 = 16 << 10;

/// One part in this many of the budget is for windows that wait for the models.
const QUEUE_SHARE: u64 = 4;

/// Work that may wait in any case: with less, what one message closes for a few sources would be shed at once.
const QUEUE_MIN: usize = 16;

/// Samples per second and channel assumed where a time window does not say its period.
const RATE_ASSUMED: f64 = 10.0;

/// The parts of the plan. Windows are counted for one source per stream: with a wildcard topic each further source
/// takes as much again, up to `limits.series`. Models take what their admission found, all plans together.
pub fn memory_plan(config: &Config, models: &Models) -> Vec<MemoryPart> {
    let mut parts = vec![part("program, stacks, links", PROCESS.0)];
    let admitted = models.registry.status().filter(|model| model.memory_bytes > 0);
    parts.extend(admitted.map(|model| part(&format!("model {}", model.id), model.memory_bytes)));
    let input_bytes = models.manifests.iter().flatten().map(|manifest| input_bytes(&manifest.input)).max();
    let input_bytes = input_bytes.unwrap_or(0);
    parts.push(part("inputs of a batch", INPUT_COPIES * BATCH_MAX as u64 * input_bytes));
    let tags = models.manifests.iter().flatten().filter_map(|manifest| manifest.tags.as_ref());
    let marking: Option<u64> = tags.map(marking_bytes).max();
    parts.extend(marking.map(|bytes| part("reports being marked", bytes)));
    let (mut window_bytes, mut largest) = (0, 0);
    for stream in &config.streams {
        // The buffer of the source, and as much again for its windows on their way to a model and back.
        let bytes = window_bytes_of(stream);
        window_bytes += 2 * bytes;
        largest = bytes.max(largest);
    }
    parts.push(part("windows, one source per stream", window_bytes));
    largest = largest.max(report_bytes(config));
    parts.push(part("windows and reports at the models", WORK_IN_FLIGHT * largest));
    parts.push(part("windows and reports waiting", queue_max(config) as u64 * largest));
    parts.push(part(
        "messages from the plant",
        INPUTS_MAX as u64 * config.limits.packet.0.min(PACKET_ASSUMED),
    ));
    parts.push(part("records on their way to the outbox", (REQUESTS_MAX + URGENT_MAX) as u64 * RECORD_BYTES));
    parts.push(part("outbox, and what a disk does not take", config.outbox.memory_max().0));
    if config.outbox.when_full == WhenFull::Coarsen {
        parts.push(part("stored events being drawn together", COARSENING_BYTES_MAX as u64));
    }
    parts.push(part("decisions while the plant broker is away", WAITING_MAX as u64 * DECISION_BYTES));
    parts.push(part("batches upstream", u64::from(config.upstream.in_flight) * BATCH_BYTES));
    parts
}

/// The words of a report with their tags, while the best path is looked for: place, logits, and per word the best tag
/// before, the way into each type, and the tag taken.
fn marking_bytes(tags: &Tags) -> u64 {
    let (classes, types) = (tags.classes() as u64, tags.types.len() as u64);
    WORDS_MAX as u64 * (8 + 4 * classes + 8 + types + 8)
}

/// The longest row of a model.
fn input_bytes(input: &InputLayout) -> u64 {
    let number = match input.dtype() {
        Dtype::I64 => 8,
        // Bytes are made of numbers of four.
        Dtype::F32 | Dtype::I8 | Dtype::U8 => 4,
    };
    input.lengths().into_iter().max().unwrap_or(0) as u64 * number
}

/// Bytes of the longest report there can be; 0 without streams of reports.
fn report_bytes(config: &Config) -> u64 {
    let is_there = config.streams.iter().any(|stream| stream.window.is_none());
    if is_there { config.limits.text.0 } else { 0 }
}

/// Work that may wait for the models: as many of the largest windows or reports as fit into the share, within limits. A queue of a
/// fixed length would be a matter of kilobytes for one configuration and of gigabytes for the next.
pub(in crate::runtime) fn queue_max(config: &Config) -> usize {
    let largest = config.streams.iter().map(window_bytes_of).max().unwrap_or(0);
    let largest = largest.max(report_bytes(config)).max(1);
    let fit = config.budget.memory.0 / QUEUE_SHARE / largest;
    usize::try_from(fit).unwrap_or(QUEUE_MAX).clamp(QUEUE_MIN, QUEUE_MAX)
}

/// Memory of the work that may wait for the models.
pub(in crate::runtime) fn queue_bytes(config: &Config) -> Bytes {
    Bytes(config.budget.memory.0 / QUEUE_SHARE)
}

/// Bytes of the samples a source of a stream holds, hop and lateness included; 0 for reports.
fn window_bytes_of(stream: &StreamSettings) -> u64 {
    let Some(window) = &stream.window else { return 0 };
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
    rows * u64::from(window.channels) * SAMPLE_BYTES
}

/// Samples per second and channel, as far as the configuration tells.
fn rate(stream: &StreamSettings, window: &WindowConfig) -> f64 {
    match (&stream.payload, window.period) {
        (PayloadFormat::Packed { rate, .. }, _) => rate.hertz(),
        (_, Some(period)) => 1.0 / period.as_secs_f64().max(1e-6),
        (_, None) => RATE_ASSUMED,
    }
}

fn part(what: &str, bytes: u64) -> MemoryPart {
    MemoryPart { what: what.to_owned(), bytes: Bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_CONFIG;
    use crate::infer::Registry;

    /// Bytes planned for windows when the first stream of the default is changed.
    fn window_bytes(changes: &[(&str, &str)]) -> u64 {
        let mut text = DEFAULT_CONFIG.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let (registry, manifests, readings, faults) = (Registry::new(), Vec::new(), Vec::new(), Vec::new());
        let models = Models { registry, manifests, readings, faults };
        let plan = memory_plan(&Config::parse(&text).unwrap(), &models);
        plan.iter().find(|part| part.what.starts_with("windows")).map_or(0, |part| part.bytes.0)
    }

    #[test]
    fn reports_that_wait_are_planned_for_at_their_longest() {
        let config = |text: &str| Config::parse(&DEFAULT_CONFIG.replace("text = \"64 KiB\"", text)).unwrap();
        let long = "text = \"256 KiB\"";
        assert_eq!(queue_max(&config(long)), (24 << 20) / (256 << 10), "a quarter of the 96 MiB");
        assert_eq!(queue_max(&config("text = \"1 KiB\"")), QUEUE_MAX);
    }

    #[test]
    fn windows_take_what_their_span_and_rate_make_of_them() {
        let json = "format = \"json\", time = \"ts\", values";
        let packed = "format = \"i16le\", rate = 10000, values";
        // 122 s of window, hop and lateness at one sample a second, 8 channels, 24 bytes, twice.
        assert_eq!(window_bytes(&[]), 2 * 122 * 8 * SAMPLE_BYTES);
        let unsaid = (", period = \"1 s\"", "");
        assert_eq!(window_bytes(&[unsaid]), 2 * 1_220 * 8 * SAMPLE_BYTES, "the rate assumed");
        let short =
            ("length = \"60 s\", hop = \"60 s\", lateness = \"2 s\"", "length = \"1 s\", lateness = \"0 s\"");
        assert_eq!(window_bytes(&[(json, packed), short]), 2 * 20_000 * 8 * SAMPLE_BYTES);
        // The queue takes a quarter of the 96 MiB, however large the windows are.
        let config = |text: &str| Config::parse(text).unwrap();
        let usual = config(&DEFAULT_CONFIG.replace(unsaid.0, unsaid.1));
        assert_eq!(queue_max(&usual), (24 << 20) / (1_220 * 8 * 24));
        let shaken = DEFAULT_CONFIG.replace(json, packed).replace(short.0, short.1);
        assert_eq!(queue_max(&config(&shaken)), QUEUE_MIN);
        let count = ("length = \"60 s\", hop = \"60 s\", lateness = \"2 s\"", "samples = 1024, hop = 512");
        assert_eq!(window_bytes(&[count]), 2 * 1_536 * 8 * SAMPLE_BYTES);
    }
}
