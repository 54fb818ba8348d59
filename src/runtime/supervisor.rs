//! Starts everything, watches progress, drains in the order of the flow.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::io::mqtt::Delivery;
use crate::io::systemd;
use crate::outbox::OutboxError;
use crate::runtime::common::WiringError;
use crate::runtime::options::Options;
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::wiring::{Service, wire};

/// How long each step of the drain may take. Together less than `TimeoutStopSec` of the unit.
const ANALYZE_GRACE: Duration = Duration::from_secs(5);
const FORWARD_GRACE: Duration = Duration::from_secs(4);
const OUTBOX_GRACE: Duration = Duration::from_secs(5);
const PLANT_GRACE: Duration = Duration::from_secs(2);

/// Longest drain: every step takes all of its grace.
pub const DRAIN_TOTAL: Duration = Duration::from_secs(
    ANALYZE_GRACE.as_secs() + FORWARD_GRACE.as_secs() + OUTBOX_GRACE.as_secs() + 2 * PLANT_GRACE.as_secs(),
);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be set up.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// Its executor or a signal handler could not be set up.
    #[error("set up the executor or the signal handlers")]
    Start(#[source] std::io::Error),
    /// The outbox can no longer be trusted.
    #[error("stopped because the outbox can no longer be trusted: check the disk, then start again")]
    Outbox(#[source] OutboxError),
    /// A task ended that should not have.
    #[error("task {0} ended before the gateway was asked to stop: a bug, please report it with the log")]
    Ended(&'static str),
}

/// Runs the service until it is asked to stop.
///
/// # Errors
/// When it cannot be set up, when the outbox fails, or when a task ends early. What is durable stays durable.
pub fn run(config: &Config, options: Options) -> Result<(), RunError> {
    hide_panic_messages();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Start)?;
    runtime.block_on(async {
        let service = wire(config, &options)?;
        supervise(service, options.stop).await
    })
}

async fn supervise(mut service: Service, stop: Option<oneshot::Receiver<()>>) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
    let mut stop = std::pin::pin!(async {
        match stop {
            Some(stop) => drop(stop.await),
            None => std::future::pending().await,
        }
    });
    systemd::ready();
    info!("started");
    let early = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = stop.as_mut() => break Ok(()),
            ended = &mut service.outbox => break Err(outbox_ended(ended)),
            _ = &mut service.plant => break Err(RunError::Ended("plant")),
            _ = &mut service.analyze => break Err(RunError::Ended("analyze")),
            _ = &mut service.forward => break Err(RunError::Ended("forward")),
            _ = &mut service.governor => break Err(RunError::Ended("governor")),
            _ = &mut service.infer => break Err(RunError::Ended("infer")),
            () = tokio::time::sleep(IDLE_TURN) => {
                match service.progress.stalled(service.clock.uptime()) {
                    None => systemd::feed_watchdog(),
                    Some(task) => warn!(task = task.as_str(), "a task makes no progress, watchdog is not fed"),
                }
            }
        }
    };
    systemd::stopping();
    if let Err(error) = &early {
        error!(%error, "draining after a failure");
    }
    let drained = drain(service).await;
    early.and(drained)
}

/// Ends the tasks in the order of the flow: sources, brain, link upstream, outbox, link to the plant.
async fn drain(mut service: Service) -> Result<(), RunError> {
    service.stopping.send_replace(true);
    finish("analyze", ANALYZE_GRACE, &mut service.analyze).await;
    service.grace.send_replace(Some(service.clock.uptime().after(FORWARD_GRACE)));
    finish("forward", FORWARD_GRACE + PLANT_GRACE, &mut service.forward).await;
    // Nobody can ask the outbox any more: it makes everything durable and ends.
    let outcome = match tokio::time::timeout(OUTBOX_GRACE, &mut service.outbox).await {
        Ok(Ok(Err(error))) => Err(RunError::Outbox(error)),
        Ok(Ok(Ok(())) | Err(_)) => Ok(()),
        Err(_) => {
            warn!("outbox did not end in time");
            Ok(())
        }
    };
    let publisher = service.publisher.borrow().clone();
    if let Some(publisher) = publisher {
        let available = service.topics.available();
        let health = service.topics.health();
        let down =
            format!("{{\"v\":1,\"status\":\"down\",\"reason\":\"stopped\",\"pid\":{}}}", std::process::id());
        best_effort(publisher.publish(&health, down.into_bytes(), Delivery::AtMostOnce, true));
        best_effort(publisher.publish(&available, b"stopped".to_vec(), Delivery::AtMostOnce, true));
        best_effort(publisher.disconnect());
        finish("plant", PLANT_GRACE, &mut service.plant).await;
    }
    info!("stopped");
    outcome
}

async fn finish(task: &'static str, grace: Duration, handle: &mut JoinHandle<()>) {
    if handle.is_finished() {
        return;
    }
    if tokio::time::timeout(grace, &mut *handle).await.is_err() {
        warn!(task, "did not end in time");
        handle.abort();
    }
}

fn outbox_ended(ended: Result<Result<(), OutboxError>, oneshot::error::RecvError>) -> RunError {
    match ended {
        Ok(Err(error)) => RunError::Outbox(error),
        Ok(Ok(())) | Err(_) => RunError::Ended("outbox"),
    }
}

/// A panic's message may hold what the panicking code was working on: only its place is logged.
fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        error!(place, "a task panicked");
    }));
}
