//! Counters, logs and progress: what an operator and the watchdog are told.

mod logging;
mod metrics;
mod progress;

pub use logging::start_logging;
pub use metrics::{Metric, Metrics, StageCount};
pub use progress::{Progress, Task};
