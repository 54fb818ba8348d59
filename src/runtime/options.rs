//! Where the service runs and at which pace.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::forward::ForwardConfig;
use crate::governor::{DWELL, DWELL_MAX, FORECAST};
use crate::runtime::status::REPORT_EVERY;
use crate::telemetry::Metrics;

/// Where the service runs, what ends it, who looks on.
pub struct Options {
    /// `/`, or a folder with a made-up `sys`, `proc` and `run` below it.
    pub root: PathBuf,
    /// Ends the service in addition to SIGTERM and SIGINT.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Its slow periods.
    pub pace: Pace,
    /// The numbers it keeps: whoever shares them can read the last of them after it has ended.
    pub metrics: Arc<Metrics>,
}

/// Periods of the service that are too slow to watch. No operator sets them: a demonstration shortens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Shortest time a level of the governor is kept.
    pub dwell: Duration,
    /// Longest such time.
    pub dwell_max: Duration,
    /// How far ahead the governor forecasts the temperature.
    pub forecast: Duration,
    /// Longest wait before the upstream broker is tried again.
    pub backoff_max: Duration,
    /// Metrics, and figures that move all the time, are published this often.
    pub report_every: Duration,
}

impl Default for Options {
    /// On this machine until a signal, at its own pace.
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            stop: None,
            pace: Pace::default(),
            metrics: Arc::new(Metrics::new()),
        }
    }
}

impl Default for Pace {
    /// What the governor, the link upstream and the contract on topics say.
    fn default() -> Self {
        Self {
            dwell: DWELL,
            dwell_max: DWELL_MAX,
            forecast: FORECAST,
            backoff_max: ForwardConfig::default().backoff_max,
            report_every: REPORT_EVERY,
        }
    }
}
