//! The end in the order of the flow: sources, brain, link upstream, outbox, link to the plant, lines, files of state.
//!
//! # Invariants
//! Each step has its grace, whatever hangs in it; how long each took is in the log.

use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::clock::{Clock, SystemClock, Uptime};
use crate::device::seam::HardwareCommand;
use crate::io::mqtt::Delivery;
use crate::outbox::OutboxError;
use crate::runtime::hardware::HardwareEnd;
use crate::runtime::retry::best_effort;
use crate::runtime::state_files::StateFiles;
use crate::runtime::status::last_health;
use crate::runtime::supervisor::{RunError, outbox_ended};
use crate::runtime::wiring::Service;

/// How long each step of the drain may take. Together less than `TimeoutStopSec` of the unit.
pub(in crate::runtime::supervisor) const ANALYZE_GRACE: Duration = Duration::from_secs(5);
const FORWARD_GRACE: Duration = Duration::from_secs(4);
pub(in crate::runtime::supervisor) const OUTBOX_GRACE: Duration = Duration::from_secs(5);
pub(in crate::runtime::supervisor) const PLANT_GRACE: Duration = Duration::from_secs(2);
pub(in crate::runtime::supervisor) const LINES_GRACE: Duration = Duration::from_secs(1);
pub(in crate::runtime::supervisor) const STATE_GRACE: Duration = Duration::from_secs(2);

/// The session upstream ends by itself when its grace is over, and has this to say goodbye.
pub(in crate::runtime::supervisor) const FORWARD_MAX: Duration =
    Duration::from_secs(FORWARD_GRACE.as_secs() + PLANT_GRACE.as_secs());

/// Longest drain: every step takes all of its grace.
pub const DRAIN_TOTAL: Duration = Duration::from_secs(
    ANALYZE_GRACE.as_secs()
        + FORWARD_MAX.as_secs()
        + OUTBOX_GRACE.as_secs()
        + PLANT_GRACE.as_secs()
        + LINES_GRACE.as_secs()
        + STATE_GRACE.as_secs(),
);

/// The steps of the drain, each with the time it took.
#[derive(Debug)]
pub(in crate::runtime::supervisor) struct Steps {
    clock: SystemClock,
    took: Vec<(&'static str, Duration)>,
}

impl Steps {
    pub(in crate::runtime::supervisor) fn new(clock: SystemClock) -> Self {
        Self { clock, took: Vec::new() }
    }

    /// Waits for the end of a step as long as its grace lasts; `None` if that was too short.
    async fn step<T>(
        &mut self,
        name: &'static str,
        grace: Duration,
        end: impl Future<Output = T>,
    ) -> Option<T> {
        let began = self.clock.uptime();
        let ended = tokio::time::timeout(grace, end).await.ok();
        if ended.is_none() {
            warn!(step = name, grace_s = grace.as_secs(), "did not end in time, is left behind");
        }
        self.took.push((name, self.clock.uptime().since(began)));
        ended
    }

    /// Waits for the end of a task.
    async fn task(&mut self, name: &'static str, grace: Duration, task: &mut JoinHandle<()>) {
        // One whose end began the drain has been waited for.
        if !task.is_finished() && self.step(name, grace, &mut *task).await.is_none() {
            task.abort();
        }
    }

    /// Ends the tasks.
    pub(in crate::runtime::supervisor) async fn drain(
        &mut self,
        mut service: Service,
    ) -> Result<(), RunError> {
        service.stopping.send_replace(true);
        self.task("analyze", ANALYZE_GRACE, &mut service.analyze).await;
        // Each step is shorter than a hardware watchdog waits, all of them are not.
        service.hardware.send(HardwareCommand::FeedWatchdog);
        let grace: Uptime = service.clock.uptime().after(FORWARD_GRACE);
        service.grace.send_replace(Some(grace));
        self.task("forward", FORWARD_MAX, &mut service.forward).await;
        service.hardware.send(HardwareCommand::FeedWatchdog);
        let outcome = self.outbox(&mut service.outbox).await;
        service.hardware.send(HardwareCommand::FeedWatchdog);
        let publisher = service.publisher.borrow().clone();
        if let Some(publisher) = publisher {
            let available = service.topics.available();
            let health = service.topics.health();
            let down = last_health(&service.clock, &service.instance);
            best_effort(publisher.publish(&health, down.into_bytes(), Delivery::AtMostOnce, true));
            best_effort(publisher.publish(&available, b"stopped".to_vec(), Delivery::AtMostOnce, true));
            best_effort(publisher.disconnect());
            self.task("plant", PLANT_GRACE, &mut service.plant).await;
        }
        outcome
    }

    /// Nobody can ask the outbox any more: it makes everything durable and ends.
    async fn outbox(
        &mut self,
        outbox: &mut oneshot::Receiver<Result<(), OutboxError>>,
    ) -> Result<(), RunError> {
        if outbox.is_terminated() {
            // Its end began the drain and has been told.
            return Ok(());
        }
        match self.step("outbox", OUTBOX_GRACE, outbox).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(ended) => Err(outbox_ended(ended)),
            None => Err(RunError::Unfinished),
        }
    }

    /// Ends the lines of the hardware.
    pub(in crate::runtime::supervisor) async fn lines(&mut self, hardware: HardwareEnd, is_orderly: bool) {
        self.step("lines", LINES_GRACE, hardware.end(is_orderly)).await;
    }

    /// Has the files of state written.
    pub(in crate::runtime::supervisor) async fn state(&mut self, files: &StateFiles) {
        self.step("state", STATE_GRACE, files.end()).await;
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, took)) in self.took.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {} ms", took.as_millis())?;
        }
        Ok(())
    }
}
