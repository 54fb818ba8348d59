//! What a variant really costs, measured where it is examined: heap and processor time of loading and running it.

use std::sync::Arc;
use std::time::Duration;

use crate::infer::admission::golden::Golden;
use crate::infer::engine::EngineError;
use crate::infer::manifest::Manifest;
use crate::infer::model::Model;

/// Processor time the calling thread has taken so far. This room reads no clock.
pub type ThreadTime<'a> = &'a dyn Fn() -> Duration;

/// Runs that are timed: enough for a mean, and for the slowest model admitted half a minute on a Pi 3 is not reached.
const RUNS: usize = 16;

/// What loading and running a variant took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Heap that stays, in bytes; 0 where the allocator does not count.
    pub(crate) kept: u64,
    /// Most heap at once, the bytes of the file and what stays included; 0 where the allocator does not count.
    pub(crate) peak: u64,
    /// Processor time of one input, on average over golden cases.
    pub(crate) spent: Duration,
}

/// Loads a variant for these batch sizes, runs it once at each of its shapes, then times golden cases one by one.
pub(crate) fn measure(
    manifest: &Arc<Manifest>,
    bytes: &[u8],
    batches: &[usize],
    golden: &Golden,
    thread_time: ThreadTime<'_>,
) -> Result<Measured, EngineError> {
    let (model, heap) = tidegate_alloc::measure(|| {
        // As it is loaded later: the file is read for it and goes when it is parsed.
        let file = bytes.to_vec();
        let loaded = Model::load(Arc::clone(manifest), &file, batches);
        drop(file);
        let mut model = loaded?;
        model.warm_up();
        Ok(model)
    });
    let mut model = model?;
    let (mut runs, mut spent) = (0_u32, Duration::ZERO);
    for input in golden.inputs().cycle().take(RUNS) {
        let before = thread_time();
        if model.replay(&[input], &mut || false).is_ok() {
            spent += thread_time().saturating_sub(before);
            runs += 1;
        }
    }
    Ok(Measured { kept: heap.kept, peak: heap.peak, spent: spent.checked_div(runs).unwrap_or_default() })
}
