//! Counters, logs and progress: what an operator and the watchdog are told.

mod logging;
mod memory;
mod metrics;
mod progress;

pub use logging::start_logging;
pub use memory::{Held, MODEL_ACCOUNTS, Purpose, book, booked, heap_bytes, held_by_stage};
pub use metrics::{Metric, Metrics, StageCount};
#[cfg(test)]
pub(crate) use progress::FAIL_POINT;
pub use progress::{Progress, Task};
