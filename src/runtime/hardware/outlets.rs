//! Where reports of the hardware go, and what is told of its faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::device::seam::{HardwareFault, HardwareReport, InputLine, Samples};
use crate::runtime::hardware::{HardwareView, HardwareVoice, OnPowerFail};
use crate::telemetry::{Metric, Metrics};

/// What does not work, with the reason and its remedy.
pub(in crate::runtime::hardware) type Faults = BTreeMap<String, String>;

/// What the threads have counted of samples; the brain counts what it takes.
#[derive(Debug, Default)]
pub(in crate::runtime::hardware) struct Counts {
    /// Measured, and lost by a FIFO.
    pub(in crate::runtime::hardware) received: AtomicU64,
    /// The brain was behind.
    pub(in crate::runtime::hardware) full: AtomicU64,
    /// Lost by a FIFO.
    pub(in crate::runtime::hardware) overrun: AtomicU64,
    /// The brain had ended.
    pub(in crate::runtime::hardware) stopped: AtomicU64,
}

/// Where reports go. One for each thread.
#[derive(Clone)]
pub(in crate::runtime::hardware) struct Outlets {
    /// Sensors that feed a stream, by their place; the samples of others are for the governor alone.
    pub(in crate::runtime::hardware) measured: Arc<[u16]>,
    pub(in crate::runtime::hardware) samples: mpsc::Sender<Samples>,
    pub(in crate::runtime::hardware) voice: HardwareVoice,
    pub(in crate::runtime::hardware) faults: Arc<watch::Sender<Faults>>,
    pub(in crate::runtime::hardware) on_power_fail: OnPowerFail,
    pub(in crate::runtime::hardware) counts: Arc<Counts>,
    pub(in crate::runtime::hardware) clock: SystemClock,
    pub(in crate::runtime::hardware) metrics: Arc<Metrics>,
}

/// What `status/health` says of the hardware.
#[derive(Clone)]
pub(in crate::runtime) struct HardwareHealth {
    pub(in crate::runtime::hardware) faults: watch::Receiver<Faults>,
    pub(in crate::runtime::hardware) view: HardwareView,
}

impl Outlets {
    /// Tells a report to whom it concerns.
    pub(in crate::runtime::hardware) fn take(&self, report: HardwareReport) {
        match report {
            HardwareReport::Samples(samples) => self.pass(samples),
            HardwareReport::Reading(reading) => self.voice.say(reading.into(), self.clock.uptime()),
            HardwareReport::Edge { line: InputLine::PowerFail, state, at } => {
                self.voice.failing(state);
                if state {
                    // First the disk, then the journal.
                    (self.on_power_fail)(Uptime(at));
                    error!("the power-fail input says that the supply ends");
                } else {
                    info!("the supply is back");
                }
            }
            HardwareReport::Edge { line: InputLine::Door, state, .. } => {
                info!(open = state, "the door of the cabinet");
            }
            HardwareReport::Fault(fault) => self.complain(&fault),
        }
    }

    /// Whether anyone takes the samples of a sensor.
    pub(in crate::runtime::hardware) fn is_measured(&self, place: u16) -> bool {
        self.measured.contains(&place)
    }

    fn pass(&self, samples: Samples) {
        if !self.is_measured(samples.sensor) {
            return;
        }
        let (rows, lost) = (samples.rows.len() as u64, u64::from(samples.overrun));
        self.counts.received.fetch_add(rows + lost, Ordering::Relaxed);
        self.counts.overrun.fetch_add(lost, Ordering::Relaxed);
        if rows == 0 {
            return;
        }
        let missed = match self.samples.try_send(samples) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => &self.counts.full,
            Err(TrySendError::Closed(_)) => &self.counts.stopped,
        };
        missed.fetch_add(rows, Ordering::Relaxed);
    }

    /// Told once when it begins and once when it ends: who reports it says so.
    fn complain(&self, fault: &HardwareFault) {
        let what = fault.what.as_str();
        self.faults.send_modify(|faults| {
            if let Some(why) = &fault.why {
                warn!(what, why = why.as_str(), "hardware at fault; trying again");
                faults.insert(what.to_owned(), why.as_str().to_owned());
            } else {
                info!(what, "hardware works again");
                faults.remove(what);
            }
        });
        self.metrics.set(Metric::HardwareFaults, self.faults.borrow().len() as u64);
    }
}

impl HardwareHealth {
    /// Of a board without hardware.
    #[cfg(test)]
    pub(in crate::runtime) fn silent() -> Self {
        Self { faults: watch::channel(Faults::new()).1, view: HardwareVoice::channel().1 }
    }

    /// What is wrong, with the remedy.
    pub(in crate::runtime) fn complaint(&self, now: Uptime) -> Option<String> {
        if self.view.is_silent(now) {
            return Some(
                "the sensors of the board say nothing: an I2C bus hangs, check its wiring".to_owned(),
            );
        }
        self.faults.borrow().first_key_value().map(|(what, why)| format!("{what}: {why}"))
    }
}
