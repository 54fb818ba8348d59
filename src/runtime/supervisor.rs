//! Starts everything, watches progress, drains in the order of the flow.

mod drain;
mod signals;
mod stall;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::device::seam::HardwareCommand;
use crate::io::systemd;
use crate::outbox::OutboxError;
use crate::runtime::common::WiringError;
use crate::runtime::hardware::HardwareEnd;
use crate::runtime::infer::InferLost;
use crate::runtime::options::Options;
use crate::runtime::power_fail::PowerFail;
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::starts::StartLog;
use crate::runtime::state_files::StateFiles;
use crate::runtime::supervisor::drain::{OUTBOX_GRACE, Steps};
use crate::runtime::supervisor::signals::Signals;
use crate::runtime::supervisor::stall::StallTeller;
use crate::runtime::wiring::{Service, wire};

pub use drain::DRAIN_TOTAL;

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
    finish(runtime, serve(config, options))
}

/// Runs until the service has ended. A name that is still being looked up keeps its thread for as long as the resolver likes,
/// 40 s and more: nobody waits for it.
fn finish<T>(runtime: Runtime, service: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(service);
    runtime.shutdown_background();
    ended
}

/// From the first moment to the last: whatever happens, the start is written down before it and the end after it.
async fn serve(config: &Config, mut options: Options) -> Result<(), RunError> {
    // From the beginning on: to be ended by a signal while the models are examined would look like a crash.
    let mut signals = Signals::hear(options.stop.take()).map_err(RunError::Start)?;
    let clock = SystemClock::start();
    let state_dir = &config.gateway.state_dir;
    let files = StateFiles::start(state_dir, &options.metrics).map_err(RunError::Start)?;
    let mut starts = StartLog::begin(state_dir, files.clone(), &clock).await;
    let mut steps = Steps::new(clock);
    let service = tokio::select! {
        biased;
        service = wire(config, &options, &files, starts.is_safe()) => Some(service),
        () = signals.stop.asked() => None,
    };
    let ended = match service {
        Some(Ok(service)) => supervise(service, signals, &mut starts, &mut steps).await,
        Some(Err(error)) => Err(error.into()),
        None => Ok(()),
    };
    if is_orderly(&ended) {
        starts.end();
    }
    steps.state(&files).await;
    info!(took = %steps, "stopped");
    ended
}

/// Whether the run came to an end of its own, good or bad; else it counts as a crash.
fn is_orderly(ended: &Result<(), RunError>) -> bool {
    match ended {
        // Asked to stop, a disk that is too slow is no crash: leaving the models out makes it no faster.
        Ok(())
        | Err(RunError::Wiring(_) | RunError::Start(_) | RunError::Outbox(_) | RunError::Unfinished) => true,
        // Models that hang again and again are what safe mode is for.
        Err(RunError::Infer(_) | RunError::Ended(_)) => false,
    }
}

async fn supervise(
    mut service: Service,
    mut signals: Signals,
    starts: &mut StartLog,
    steps: &mut Steps,
) -> Result<(), RunError> {
    // A clock of its own: signals and flushes in a storm must not put the feed off.
    let mut turn = tokio::time::interval(IDLE_TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stall = StallTeller::default();
    systemd::ready();
    info!("started");
    let early = loop {
        tokio::select! {
            () = signals.stop.asked() => break Ok(()),
            // One that finds no room finds a flush under way.
            _ = signals.power.recv() => best_effort(service.power_fail.try_send(PowerFail { at: service.clock.uptime() })),
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
                let now = service.clock.uptime();
                starts.keep(now);
                let stalled = service.progress.stalled(now);
                stall.tell(stalled, now);
                if stalled.is_none() {
                    systemd::feed_watchdog();
                    service.hardware.send(HardwareCommand::FeedWatchdog);
                }
            }
        }
    };
    systemd::stopping();
    if let Err(error) = &early {
        error!(%error, "draining after a failure");
    }
    let hardware = std::mem::replace(&mut service.hardware_end, HardwareEnd::none());
    let drained = steps.drain(service).await;
    let ended = early.and(drained);
    steps.lines(hardware, ended.is_ok()).await;
    ended
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
    use std::time::Duration;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::io::mqtt::{Endpoint, open};
    use crate::runtime::hardware::HardwareCommands;
    use crate::runtime::status::Topics;
    use crate::runtime::supervisor::drain::{
        ANALYZE_GRACE, FORWARD_MAX, LINES_GRACE, PLANT_GRACE, STATE_GRACE,
    };
    use crate::telemetry::{Metrics, Progress};

    /// Reports the end of the outbox's thread.
    type OutboxEnd = oneshot::Sender<Result<(), OutboxError>>;

    /// Of a gateway without a state directory.
    async fn starts() -> StartLog {
        let folder = Path::new("/proc/none");
        let files = StateFiles::start(folder, &Arc::new(Metrics::new())).unwrap();
        StartLog::begin(folder, files, &SystemClock::start()).await
    }

    fn steps() -> Steps {
        Steps::new(SystemClock::by(virtual_now, || std::time::UNIX_EPOCH))
    }

    fn virtual_now() -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Supervises a service to its end.
    async fn supervised(service: Service, stop: Option<oneshot::Receiver<()>>) -> Result<(), RunError> {
        supervise(service, Signals::hear(stop).unwrap(), &mut starts().await, &mut steps()).await
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
        let ended = supervised(service, None).await;
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
            let ended = supervised(service, Some(stopped)).await;
            match (ended, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().starts_with(text), "{error}"),
                (ended, expected) => panic!("{ended:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_crash_however_slow_the_disk_is() {
        assert!(is_orderly(&Ok(())) && is_orderly(&Err(RunError::Outbox(held()))));
        assert!(is_orderly(&Err(RunError::Unfinished)));
        assert!(
            !is_orderly(&Err(RunError::Infer(InferLost::Hung)))
                && !is_orderly(&Err(RunError::Ended("status")))
        );
    }

    #[tokio::test]
    async fn an_orderly_end_feeds_the_hardware_watchdog_between_its_steps() {
        let (mut service, outbox) = service();
        let (way, mut told) = mpsc::channel(16);
        service.hardware = HardwareCommands::new(Some(way));
        outbox.send(Ok(())).unwrap();
        steps().drain(service).await.unwrap();
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
        let (ended, ()) = tokio::join!(supervised(service, Some(stopped)), storm);
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
        let ended = supervised(service, None).await;
        assert!(matches!(ended, Err(RunError::Ended("status"))), "{ended:?}");
    }

    /// What hangs in a drain.
    #[derive(Clone, Copy, Debug)]
    enum Hangs {
        Analyze,
        Forward,
        Outbox,
        Plant,
        Lines,
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_hangs_in_the_drain_costs_its_own_grace_and_no_more() {
        for (hangs, grace) in [
            (Hangs::Analyze, ANALYZE_GRACE),
            (Hangs::Forward, FORWARD_MAX),
            (Hangs::Outbox, OUTBOX_GRACE),
            (Hangs::Plant, PLANT_GRACE),
            (Hangs::Lines, LINES_GRACE),
        ] {
            let (mut service, outbox) = service();
            let endpoint = Endpoint::new("mqtt://127.0.0.1:9".parse().unwrap(), "gw");
            let (publisher, _connection) = open(&endpoint).unwrap();
            service.publisher = watch::channel(Some(publisher)).1;
            let (closing, _) = watch::channel(None);
            let (lines_done, done) = oneshot::channel();
            let mut hardware = HardwareEnd::none();
            let endless = || tokio::spawn(std::future::pending());
            match hangs {
                Hangs::Analyze => service.analyze = endless(),
                Hangs::Forward => service.forward = endless(),
                Hangs::Plant => service.plant = endless(),
                Hangs::Lines => hardware = HardwareEnd { closing, done: Some(done) },
                Hangs::Outbox => {}
            }
            let outbox = match hangs {
                Hangs::Outbox => Some(outbox),
                Hangs::Analyze | Hangs::Forward | Hangs::Plant | Hangs::Lines => {
                    outbox.send(Ok(())).unwrap();
                    None
                }
            };
            let (mut steps, began) = (steps(), virtual_now());
            let ended = steps.drain(service).await;
            steps.lines(hardware, ended.is_ok()).await;
            let took = virtual_now() - began;
            assert!((grace..grace + Duration::from_millis(10)).contains(&took), "{hangs:?}: {took:?}");
            assert_eq!(ended.is_err(), matches!(hangs, Hangs::Outbox), "{hangs:?}: {ended:?}");
            let named = format!("{} {} ms", format!("{hangs:?}").to_lowercase(), grace.as_millis());
            assert!(steps.to_string().contains(&named), "{hangs:?}: {steps}");
            drop((outbox, lines_done));
        }
        let all = ANALYZE_GRACE + FORWARD_MAX + OUTBOX_GRACE + PLANT_GRACE + LINES_GRACE + STATE_GRACE;
        assert_eq!(all, DRAIN_TOTAL);
    }

    /// An end was seen to take more than 40 s: the resolver's patience with a name server that is away.
    #[test]
    fn a_name_that_is_still_being_looked_up_holds_up_no_end() {
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            finish(runtime, async {
                // As `lookup_host` does it.
                drop(tokio::task::spawn_blocking(move || held.recv()));
                tokio::task::yield_now().await;
            });
            done.send(()).unwrap();
        });
        assert!(ended.recv_timeout(Duration::from_secs(20)).is_ok(), "the end waits for the resolver");
        drop(release);
    }
}
