//! How much memory a configuration can take at most, by part.

use crate::config::Config;
use crate::infer::BATCH_MAX;
use crate::runtime::analyze::WORK_IN_FLIGHT;
use crate::runtime::decisions::{DECISION_BYTES, WAITING_MAX};
use crate::runtime::models::Models;
use crate::runtime::wiring::{INPUTS_MAX, REQUESTS_MAX};
use crate::units::Bytes;
use crate::window::Length;

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

/// Samples per second and channel assumed where a time window does not say its period.
const RATE_ASSUMED: f64 = 10.0;

/// The parts of the plan. Windows are counted for one source per stream: with a wildcard topic each further source
/// takes as much again, up to `limits.series`. Models take what their admission found, all plans together.
pub fn memory_plan(config: &Config, models: &Models) -> Vec<MemoryPart> {
    let mut parts = vec![part("program, stacks, links", PROCESS.0)];
    let admitted = models.registry.status().filter(|model| model.memory_bytes > 0);
    parts.extend(admitted.map(|model| part(&format!("model {}", model.id), model.memory_bytes)));
    let lengths = models.manifests.iter().flatten().flat_map(|manifest| manifest.input.lengths());
    let input_bytes = lengths.max().unwrap_or(0) as u64 * 4;
    parts.push(part("inputs of a batch", INPUT_COPIES * BATCH_MAX as u64 * input_bytes));
    let (mut window_bytes, mut largest) = (0, 0);
    for stream in &config.streams {
        let Some(window) = &stream.window else { continue };
        let rows = match window.length {
            Length::Count { samples, hop } => u64::from(samples) + u64::from(hop),
            Length::Time { length, hop } => {
                let span = (length + hop + window.lateness).as_secs_f64();
                let per_second =
                    window.period.map_or(RATE_ASSUMED, |period| 1.0 / period.as_secs_f64().max(1e-6));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of samples"
                )]
                let rows = (span * per_second).ceil() as u64;
                rows.min(u64::from(window.samples_max))
            }
        };
        // The buffer of the source, and as much again for its windows on their way to a model and back.
        let bytes = rows * u64::from(window.channels) * SAMPLE_BYTES;
        window_bytes += 2 * bytes;
        largest = bytes.max(largest);
    }
    parts.push(part("windows, one source per stream", window_bytes));
    parts.push(part("windows at the models", WORK_IN_FLIGHT * largest));
    parts.push(part(
        "messages from the plant",
        INPUTS_MAX as u64 * config.limits.packet.0.min(PACKET_ASSUMED),
    ));
    parts.push(part("records on their way to the outbox", REQUESTS_MAX as u64 * RECORD_BYTES));
    parts.push(part("decisions while the plant broker is away", WAITING_MAX as u64 * DECISION_BYTES));
    parts.push(part("batches upstream", u64::from(config.upstream.in_flight) * BATCH_BYTES));
    parts
}

fn part(what: &str, bytes: u64) -> MemoryPart {
    MemoryPart { what: what.to_owned(), bytes: Bytes(bytes) }
}
