//! How much memory a configuration can take at most, by part: what `check` prints, and what each part is held to.
//!
//! # Invariants
//! Every line is a limit that something enforces and counts when it is met, or a product of such limits. The sum is the
//! most the process takes; a configuration whose sum is more than its budget is refused.

mod limits;

use std::sync::Arc;

use crate::config::{Config, MEMORY_MAX, MEMORY_MIN};
use crate::distill::COARSENING_BYTES_MAX;
use crate::infer::manifest::{InputLayout, Tags};
use crate::infer::tensor::Dtype;
use crate::infer::{BATCH_MAX, Manifest};
use crate::io::mqtt::QUEUED_BYTES_MAX;
use crate::outbox::WhenFull;
use crate::runtime::analyze::WORK_IN_FLIGHT;
use crate::runtime::extraction::WORDS_MAX;
use crate::runtime::infer::{Models, model_parts};
use crate::runtime::limits::{
    DECISIONS_BYTES_MAX, INPUT_BYTES_MAX, RECORDS_BYTES_MAX, REQUESTS_MAX, STANDING_BYTES_MAX,
    URGENT_BYTES_MAX, URGENT_MAX,
};
use crate::runtime::memory::limits::{largest_work, series_bytes};
pub(in crate::runtime) use crate::runtime::memory::limits::{queue_bytes, queue_max, window_bytes};
use crate::runtime::outbox::OutboxRequest;
use crate::units::Bytes;

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

/// Copies of a batch of inputs: as it is made, as the model normalises it, as the graph takes it.
const INPUT_COPIES: u64 = 3;

/// A batch of 256 events with its compressor's share.
const BATCH_BYTES: u64 = 16 << 10;

/// What a budget is told in: nobody writes one to the byte.
const MEBIBYTE: u64 = 1 << 20;

/// The links to the two brokers.
const LINKS: u64 = 2;

/// The parts of the plan; models take what their admission measured.
pub fn memory_plan(config: &Config, models: &Models) -> Vec<MemoryPart> {
    let mut parts = fixed_parts(config, &models.manifests);
    let fixed = sum(&parts);
    parts.extend(model_parts(config, models, fixed));
    parts
}

/// The smallest budget, in whole MiB, that a configuration fits into; `None` where none does. More than the sum at a smaller
/// one: windows and work that waits get shares of the budget, so the plan grows with it, if more slowly.
pub fn least_budget(config: &Config, models: &Models) -> Option<Bytes> {
    let mut config = config.clone();
    let mut fits = |budget: u64| {
        config.budget.memory = Bytes(budget * MEBIBYTE);
        sum(&memory_plan(&config, models)) <= config.budget.memory.0
    };
    let (mut less, mut enough) = (MEMORY_MIN.0 / MEBIBYTE - 1, MEMORY_MAX.0 / MEBIBYTE);
    if !fits(enough) {
        return None;
    }
    while enough - less > 1 {
        let middle = u64::midpoint(less, enough);
        if fits(middle) { enough = middle } else { less = middle }
    }
    Some(Bytes(enough * MEBIBYTE))
}

/// Bytes that the rest of the plan leaves for models.
pub(in crate::runtime) fn models_limit(config: &Config, manifests: &[Option<Arc<Manifest>>]) -> u64 {
    config.budget.memory.0.saturating_sub(sum(&fixed_parts(config, manifests)))
}

fn sum(parts: &[MemoryPart]) -> u64 {
    parts.iter().map(|part| part.bytes.0).sum()
}

/// All parts but the models themselves.
fn fixed_parts(config: &Config, manifests: &[Option<Arc<Manifest>>]) -> Vec<MemoryPart> {
    let manifests = || manifests.iter().flatten();
    let mut parts = vec![part("program, stacks, log", PROCESS.0)];
    parts.push(part("packets on their way to the brokers", LINKS * QUEUED_BYTES_MAX));
    parts.push(part("messages from the plant", INPUT_BYTES_MAX + config.limits.packet.0));
    parts.push(part(
        "sources: topics, names, states",
        series_bytes(config, manifests().map(|manifest| &**manifest)),
    ));
    parts.push(part("open windows", window_bytes(config).iter().sum()));
    parts.push(part("windows and reports waiting", queue_bytes(config).0));
    parts.push(part("windows and reports at the models", WORK_IN_FLIGHT * largest_work(config)));
    let input_bytes = manifests().map(|manifest| input_bytes(&manifest.input)).max().unwrap_or(0);
    parts.push(part("inputs of a batch", INPUT_COPIES * BATCH_MAX as u64 * input_bytes));
    let marking = manifests().filter_map(|manifest| manifest.tags.as_ref()).map(marking_bytes).max();
    parts.extend(marking.map(|bytes| part("reports being marked", bytes)));
    parts.push(part("decisions and standing alarms", DECISIONS_BYTES_MAX + STANDING_BYTES_MAX));
    let requests = (REQUESTS_MAX + URGENT_MAX) * size_of::<OutboxRequest>();
    let records = RECORDS_BYTES_MAX + URGENT_BYTES_MAX + requests;
    parts.push(part("records on their way to the outbox", records as u64));
    parts.push(part("outbox, and what a disk does not take", config.outbox.memory_max().0));
    if config.outbox.when_full == WhenFull::Coarsen {
        parts.push(part("stored events being drawn together", COARSENING_BYTES_MAX as u64));
    }
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

fn part(what: &str, bytes: u64) -> MemoryPart {
    MemoryPart { what: what.to_owned(), bytes: Bytes(bytes) }
}
