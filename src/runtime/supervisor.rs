//! Starts everything, watches progress, drains in the order of the flow.

use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::device::seam::HardwareCommand;
use crate::io::mqtt::Delivery;
use crate::io::systemd;
use crate::outbox::OutboxError;
use crate::runtime::common::WiringError;
use crate::runtime::hardware::HardwareEnd;
use crate::runtime::infer::InferLost;
use crate::runtime::options::Options;
use crate::runtime::power_fail::PowerFail;
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::starts::StartLog;
use crate::runtime::status::last_health;
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
    /// What memory held at the end is on no disk.
    #[error("stopped while the disk of the outbox took nothing: check the disk, then start again")]
    Outbox(#[source] OutboxError),
    /// The disk was too slow for the orderly end.
    #[error("outbox did not end within {} s: events of the last moments may not be durable", OUTBOX_GRACE.as_secs())]
    Unfinished,
    /// Models hang, one after the other.
    #[error("stopped for a fresh start: refuse the models that hang, or export them again")]
    Infer(#[source] InferLost),
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
    let mut starts = StartLog::begin(&config.gateway.state_dir, &SystemClock::start());
    let ended = runtime.block_on(async {
        // What tools of a battery-backed supply send, beside the input on a pin. From the beginning on: to be ended by it
        // while the models are examined would look like a crash.
        let power = signal(SignalKind::from_raw(Signal::POWER.as_raw())).map_err(RunError::Start)?;
        let service = wire(config, &options, starts.is_safe())?;
        supervise(service, options.stop, power, &mut starts).await
    });
    if is_orderly(&ended) {
        starts.end();
    }
    ended
}

/// Whether the run came to an end of its own, good or bad; else it counts as a crash.
fn is_orderly(ended: &Result<(), RunError>) -> bool {
    match ended {
        Ok(()) | Err(RunError::Wiring(_) | RunError::Start(_) | RunError::Outbox(_)) => true,
        // Models that hang again and again are what safe mode is for.
        Err(RunError::Unfinished | RunError::Infer(_) | RunError::Ended(_)) => false,
    }
}

async fn supervise(
    mut service: Service,
    stop: Option<oneshot::Receiver<()>>,
    mut power: tokio::signal::unix::Signal,
    starts: &mut StartLog,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
    let mut stop = std::pin::pin!(async {
        match stop {
            Some(stop) => drop(stop.await),
            None => std::future::pending().await,
        }
    });
    // A clock of its own: signals and flushes in a storm must not put the feed off.
    let mut turn = tokio::time::interval(IDLE_TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    systemd::ready();
    info!("started");
    let early = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = stop.as_mut() => break Ok(()),
            // One that finds no room finds a flush under way.
            _ = power.recv() => best_effort(service.power_fail.try_send(PowerFail { at: service.clock.uptime() })),
            ended = &mut service.outbox => break Err(outbox_ended(ended)),
            _ = &mut service.plant => break Err(RunError::Ended("plant")),
            _ = &mut service.analyze => break Err(RunError::Ended("analyze")),
            _ = &mut service.forward => break Err(RunError::Ended("forward")),
            _ = &mut service.governor => break Err(RunError::Ended("governor")),
            ended = &mut service.infer => break Err(infer_ended(&ended)),
            _ = &mut service.status => break Err(RunError::Ended("status")),
            _ = &mut service.operations => break Err(RunError::Ended("operations")),
            // Whatever comes now is no crash.
            Ok(()) = service.flushed.changed() => starts.end(),
            _ = turn.tick() => {
                starts.keep(service.clock.uptime());
                match service.progress.stalled(service.clock.uptime()) {
                    None => {
                        systemd::feed_watchdog();
                        service.hardware.send(HardwareCommand::FeedWatchdog);
                    }
                    Some(task) => warn!(task = task.as_str(), "a task makes no progress, watchdog is not fed"),
                }
            }
        }
    };
    systemd::stopping();
    if let Err(error) = &early {
        error!(%error, "draining after a failure");
    }
    let hardware = std::mem::replace(&mut service.hardware_end, HardwareEnd::none());
    let drained = drain(service).await;
    let ended = early.and(drained);
    hardware.end(ended.is_ok()).await;
    ended
}

/// Ends the tasks in the order of the flow: sources, brain, link upstream, outbox, link to the plant.
async fn drain(mut service: Service) -> Result<(), RunError> {
    service.stopping.send_replace(true);
    finish("analyze", ANALYZE_GRACE, &mut service.analyze).await;
    // Each step is shorter than a hardware watchdog waits, all of them are not.
    service.hardware.send(HardwareCommand::FeedWatchdog);
    service.grace.send_replace(Some(service.clock.uptime().after(FORWARD_GRACE)));
    finish("forward", FORWARD_GRACE + PLANT_GRACE, &mut service.forward).await;
    service.hardware.send(HardwareCommand::FeedWatchdog);
    let outcome = outbox_end(&mut service.outbox).await;
    service.hardware.send(HardwareCommand::FeedWatchdog);
    let publisher = service.publisher.borrow().clone();
    if let Some(publisher) = publisher {
        let available = service.topics.available();
        let health = service.topics.health();
        let down = last_health(&service.clock, &service.instance);
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

/// Nobody can ask the outbox any more: it makes everything durable and ends.
async fn outbox_end(outbox: &mut oneshot::Receiver<Result<(), OutboxError>>) -> Result<(), RunError> {
    if outbox.is_terminated() {
        // Its end began the drain and has been told.
        return Ok(());
    }
    match tokio::time::timeout(OUTBOX_GRACE, outbox).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(ended) => Err(outbox_ended(ended)),
        Err(_) => Err(RunError::Unfinished),
    }
}

fn outbox_ended(ended: Result<Result<(), OutboxError>, oneshot::error::RecvError>) -> RunError {
    match ended {
        Ok(Err(error)) => RunError::Outbox(error),
        Ok(Ok(())) | Err(_) => RunError::Ended("outbox"),
    }
}

fn infer_ended(ended: &Result<Result<(), InferLost>, JoinError>) -> RunError {
    match ended {
        Ok(Err(InferLost::Hung)) => RunError::Infer(InferLost::Hung),
        Ok(Err(InferLost::Ended) | Ok(())) | Err(_) => RunError::Ended("infer"),
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::runtime::hardware::HardwareCommands;
    use crate::runtime::status::Topics;
    use crate::telemetry::Progress;

    /// Reports the end of the outbox's thread.
    type OutboxEnd = oneshot::Sender<Result<(), OutboxError>>;

    /// Of a gateway without a state directory.
    fn starts() -> StartLog {
        StartLog::begin(Path::new("/nonexistent/state"), &SystemClock::start())
    }

    fn power() -> tokio::signal::unix::Signal {
        signal(SignalKind::from_raw(Signal::POWER.as_raw())).unwrap()
    }

    fn held() -> OutboxError {
        OutboxError::Held { disk: "failing", records: 3 }
    }

    /// A service whose tasks wait until they are told to stop, and the ends of its threads.
    fn service() -> (Service, OutboxEnd) {
        let clock = SystemClock::start();
        let (stopping, stopping_seen) = watch::channel(false);
        let task = || {
            let mut stopping = stopping_seen.clone();
            tokio::spawn(async move { crate::runtime::plant::stopped(&mut stopping).await })
        };
        let (outbox_done, outbox) = oneshot::channel();
        let service = Service {
            plant: task(),
            analyze: task(),
            forward: task(),
            governor: task(),
            status: task(),
            operations: task(),
            infer: tokio::spawn(std::future::pending()),
            outbox,
            stopping,
            grace: watch::channel(None).0,
            power_fail: mpsc::channel(1).0,
            flushed: watch::channel(None).1,
            publisher: watch::channel(None).1,
            instance: String::new(),
            topics: Topics::new("site", "gateway", &std::iter::empty()),
            progress: Arc::new(Progress::new(clock.uptime())),
            hardware: HardwareCommands::new(None),
            hardware_end: HardwareEnd::none(),
            clock,
        };
        (service, outbox_done)
    }

    #[tokio::test]
    async fn an_outbox_that_fails_ends_the_service_in_order_and_is_what_it_ends_with() {
        let (service, outbox) = service();
        outbox.send(Err(held())).unwrap();
        let ended = supervise(service, None, power(), &mut starts()).await;
        assert!(matches!(ended, Err(RunError::Outbox(OutboxError::Held { .. }))), "{ended:?}");
    }

    /// Lets the outbox end when the drain has begun, with this or by a panic.
    fn end_in_the_drain(service: &Service, outbox: OutboxEnd, with: Option<Result<(), OutboxError>>) {
        let mut stopping = service.stopping.subscribe();
        tokio::spawn(async move {
            crate::runtime::plant::stopped(&mut stopping).await;
            if let Some(end) = with {
                outbox.send(end).unwrap();
            }
        });
    }

    #[tokio::test]
    async fn what_becomes_of_the_outbox_in_the_drain_decides_how_the_service_ends() {
        for (with, expected) in [
            (Some(Ok(())), None),
            (Some(Err(held())), Some("stopped while the disk of the outbox took nothing")),
            (None, Some("task outbox ended")),
        ] {
            let (service, outbox) = service();
            end_in_the_drain(&service, outbox, with);
            let (stop, stopped) = oneshot::channel();
            stop.send(()).unwrap();
            let ended = supervise(service, Some(stopped), power(), &mut starts()).await;
            match (ended, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().starts_with(text), "{error}"),
                (ended, expected) => panic!("{ended:?}, not {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_orderly_end_feeds_the_hardware_watchdog_between_its_steps() {
        let (mut service, outbox) = service();
        let (way, mut told) = mpsc::channel(16);
        service.hardware = HardwareCommands::new(Some(way));
        outbox.send(Ok(())).unwrap();
        drain(service).await.unwrap();
        let mut fed = 0;
        while let Ok(command) = told.try_recv() {
            assert_eq!(command, HardwareCommand::FeedWatchdog);
            fed += 1;
        }
        assert_eq!(fed, 3, "after analyze, after forward and after the outbox");
    }

    #[tokio::test]
    async fn a_storm_of_edges_of_the_supply_does_not_put_the_feed_of_the_watchdog_off() {
        let (mut service, outbox) = service();
        let (way, mut told) = mpsc::channel(64);
        service.hardware = HardwareCommands::new(Some(way));
        let (flushed, seen) = watch::channel(None);
        service.flushed = seen;
        end_in_the_drain(&service, outbox, Some(Ok(())));
        let (stop, stopped) = oneshot::channel();
        let storm = async {
            // Each edge well within a turn of the supervisor, for three turns and a bit.
            for _ in 0..16 {
                flushed.send_replace(None);
                tokio::time::sleep(IDLE_TURN / 5).await;
            }
            stop.send(()).unwrap();
        };
        let mut starts = starts();
        let (ended, ()) = tokio::join!(supervise(service, Some(stopped), power(), &mut starts), storm);
        ended.unwrap();
        let fed = std::iter::from_fn(|| told.try_recv().ok()).count();
        // Two are of the orderly end.
        assert!(fed >= 3 + 2, "fed {fed} times");
    }

    #[tokio::test]
    async fn a_task_that_ends_early_is_named() {
        let (mut service, outbox) = service();
        service.status = tokio::spawn(async {});
        end_in_the_drain(&service, outbox, Some(Ok(())));
        let ended = supervise(service, None, power(), &mut starts()).await;
        assert!(matches!(ended, Err(RunError::Ended("status"))), "{ended:?}");
    }
}
