//! From a configuration to a running service: opens, connects, spawns, back to front.
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | plant → analyze | [`INPUTS_MAX`](crate::runtime::limits::INPUTS_MAX) messages | the poller waits: the broker holds QoS 1 messages back |
//! | analyze → infer | [`BATCHES_OUT_MAX`](crate::infer::BATCHES_OUT_MAX) | cannot: the brain gives no more than that out |
//! | infer → analyze | [`BATCHES_OUT_MAX`](crate::infer::BATCHES_OUT_MAX) | cannot, for the same reason |
//! | analyze, forward → outbox | [`REQUESTS_MAX`](crate::runtime::limits::REQUESTS_MAX) | they wait: events are the product |
//! | analyze → outbox, alarms | [`URGENT_MAX`](crate::runtime::limits::URGENT_MAX) | they wait, behind alarms only |
//! | a failing supply → outbox | [`POWER_FAIL_MAX`](crate::runtime::power_fail::POWER_FAIL_MAX) edges | dropped: the flush that runs serves them all |
//! | plant → operations | 32 commands | dropped and counted: the broker keeps them for the next connection |

mod brain;
mod outbox;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::board::Profile;
use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::Config;
use crate::forward::{Moment, Session, Status};
use crate::infer::ModelStatus;
use crate::io::mqtt::Publisher;
use crate::io::sysfs::Sysfs;
use crate::outbox::OutboxError;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::endpoints::{certificates, forward_config, plant_target, upstream_target};
use crate::runtime::forward::{Forward, Wires};
use crate::runtime::governor::{GovernorShell, LevelTeller, board_profile, prepare_governor};
use crate::runtime::hardware::{
    HardwareCommands, HardwareEnd, HardwareHealth, HardwareSide, HardwareVoice, start_hardware,
};
use crate::runtime::infer::InferLost;
use crate::runtime::infer::{Models, load_models};
use crate::runtime::known_time::KnownTime;
use crate::runtime::operations::{Command, Intake, PauseBook, Pauses, Prepared, Surroundings, prepare};
use crate::runtime::options::Options;
use crate::runtime::plan::{door, plan};
use crate::runtime::plant::{PlantInput, PlantLink};
use crate::runtime::power_fail::{Flushed, PowerFail};
use crate::runtime::starts::LEFT_OUT;
use crate::runtime::state_files::StateFiles;
use crate::runtime::status::{Sources, StatusReport, Topics};
use crate::runtime::threads::thread;
use crate::runtime::wiring::brain::{Around, BrainSide, shelf, start_brain};
use crate::runtime::wiring::outbox::{OutboxSide, on_power_fail, start_outbox};
use crate::telemetry::{Progress, Purpose, booked};
use crate::wire::{Encoder, Origin};

/// A running service: what the supervisor holds.
pub(in crate::runtime) struct Service {
    pub(in crate::runtime) plant: JoinHandle<()>,
    pub(in crate::runtime) analyze: JoinHandle<()>,
    pub(in crate::runtime) forward: JoinHandle<()>,
    pub(in crate::runtime) governor: JoinHandle<()>,
    pub(in crate::runtime) status: JoinHandle<()>,
    pub(in crate::runtime) operations: JoinHandle<()>,
    pub(in crate::runtime) infer: JoinHandle<Result<(), InferLost>>,
    pub(in crate::runtime) outbox: oneshot::Receiver<Result<(), OutboxError>>,
    pub(in crate::runtime) stopping: watch::Sender<bool>,
    pub(in crate::runtime) grace: watch::Sender<Option<Uptime>>,
    /// Where a failing supply is told, and how the flush went.
    pub(in crate::runtime) power_fail: mpsc::Sender<PowerFail>,
    pub(in crate::runtime) flushed: watch::Receiver<Option<Flushed>>,
    pub(in crate::runtime) publisher: watch::Receiver<Option<Publisher>>,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) instance: String,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) hardware: HardwareCommands,
    pub(in crate::runtime) hardware_end: HardwareEnd,
    pub(in crate::runtime) clock: SystemClock,
}

/// Recognises the board; opens and spawns everything as it holds there, back to front. May be given up while the models are
/// examined: nothing runs before that.
pub(in crate::runtime) async fn wire(
    config: &Config,
    options: &Options,
    files: &StateFiles,
    is_safe_mode: bool,
) -> Result<Service, WiringError> {
    let (config, board) = on_board(config, &options.root)?;
    let config = &config;
    let known_time = KnownTime::in_folder(&config.gateway.state_dir, files.clone());
    let common = common(config, options, known_time.read());
    let (stopping, stopping_seen) = watch::channel(false);
    let (grace, grace_seen) = watch::channel(None);
    let (health, health_seen) = watch::channel(Arc::from(""));
    let (publisher, publisher_seen) = watch::channel(None);

    let (voice, view) = HardwareVoice::channel();
    let mut governor =
        prepare_governor((config, board), &options.root, stopping_seen.clone(), view, &common)?;
    let models = models(config, is_safe_mode).await?;
    let sparing = governor.budget.subscribe();
    let outbox = start_outbox(config, door(config, &models.manifests, &models.readings), sparing, &common)?;
    let mut plan = plan(config, &models.manifests, &models.readings, outbox.epoch)
        .map_err(|faults| WiringError::Plan { faults })?;
    let attached = (std::mem::take(&mut governor.attached), std::mem::take(&mut plan.measured));
    let outlets = (voice, on_power_fail(&outbox));
    let HardwareSide { measurements, commands: panel, health: hardware, end: hardware_end } =
        start_hardware(attached, &options.root, outlets, stopping_seen.clone(), &common)?;
    let (forward, link) = start_forward(config, &common, &outbox, grace_seen, health_seen.clone())?;
    let levels = LevelTeller::new(outbox.epoch, outbox.records.clone(), publisher_seen.clone(), &common);
    let shelf = shelf(config, models, &common);
    let pauses = Arc::new(pause_book(config, files.clone(), &common));
    let paused = pauses.ids();
    let around = Around { outbox: &outbox, governor: &governor, paused, measurements, panel: panel.clone() };
    let BrainSide { analyze, infer, inputs, filters, models } = start_brain(plan, shelf, around, &common)?;
    let pauses_seen = pauses.subscribe();
    let told = Told { link, models, pauses: pauses_seen, hardware, panel: panel.clone(), is_safe_mode };
    let sources = sources(&outbox, &governor, told, &common);
    let around = Surroundings {
        files: files.clone(),
        pauses,
        health: health_seen,
        publisher: publisher_seen.clone(),
        stopping: stopping_seen.clone(),
    };
    let ways = StatusWays { publisher: publisher_seen.clone(), health, stopping: stopping_seen.clone() };
    let status = status_report(config, sources, ways, known_time, &common);
    let Prepared { shell, intake, commands } = prepare(&config.gateway.state_dir, around, &common);
    let ways = PlantWays { inputs, intake, commands, publisher, stopping: stopping_seen };
    let plant = plant_link(config, filters, ways, &common)?;
    // Examining the models may take longer than any task may be silent.
    common.progress.restart(common.clock.uptime());
    Ok(Service {
        forward,
        analyze,
        governor: tokio::spawn(booked(Purpose::Status, governor.run(levels))),
        status: tokio::spawn(booked(Purpose::Status, status.run())),
        operations: tokio::spawn(shell.run()),
        plant: tokio::spawn(booked(Purpose::Plant, plant.run())),
        infer,
        outbox: outbox.done,
        power_fail: outbox.power_fail,
        flushed: outbox.flushed,
        stopping,
        grace,
        publisher: publisher_seen,
        topics: common.topics,
        instance: common.instance,
        progress: common.progress,
        hardware: panel,
        hardware_end,
        clock: common.clock,
    })
}

/// The board, and the configuration as it holds there.
fn on_board(config: &Config, root: &Path) -> Result<(Config, Profile), WiringError> {
    let board = board_profile(config.gateway.board.as_deref(), &Sysfs::at(root));
    let board = board.map_err(WiringError::Board)?;
    let config = config.on(&board);
    let budget = &config.budget;
    info!(
        board = board.name,
        memory = %budget.memory,
        memory_from = budget.memory_from.as_str(),
        cpu = budget.cpu,
        cpu_from = budget.cpu_from.as_str(),
        "recognised the board"
    );
    Ok((config, board))
}

/// Where the plant link hands on what comes, and what tells it to stop.
struct PlantWays {
    inputs: mpsc::Sender<PlantInput>,
    /// Tells commands from the rest.
    intake: Intake,
    commands: mpsc::Sender<Command>,
    publisher: watch::Sender<Option<Publisher>>,
    stopping: watch::Receiver<bool>,
}

fn plant_link(
    config: &Config,
    filters: Vec<String>,
    ways: PlantWays,
    common: &Common,
) -> Result<PlantLink, WiringError> {
    let PlantWays { inputs, intake, commands, publisher, stopping } = ways;
    Ok(PlantLink {
        target: plant_target(config, common)?,
        filters: filters.into_iter().chain([common.topics.commands()]).collect(),
        inputs,
        intake,
        commands,
        publisher,
        stopping,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    })
}

/// What the status tells of besides outbox and governor.
struct Told {
    link: watch::Receiver<Option<Status>>,
    models: watch::Receiver<Vec<ModelStatus>>,
    pauses: watch::Receiver<Pauses>,
    hardware: HardwareHealth,
    panel: HardwareCommands,
    is_safe_mode: bool,
}

/// What the status topics tell of.
fn sources(outbox: &OutboxSide, governor: &GovernorShell, told: Told, common: &Common) -> Sources {
    let Told { link, models, pauses, hardware, panel, is_safe_mode } = told;
    Sources {
        pauses,
        is_safe_mode,
        outbox: outbox.report.clone(),
        flushed: outbox.flushed.clone(),
        link,
        models,
        budget: governor.budget.subscribe(),
        governor: governor.status.subscribe(),
        hardware,
        panel,
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    }
}

/// Through what the status is told: the connection of the plant link; health goes to the link upstream as well.
struct StatusWays {
    publisher: watch::Receiver<Option<Publisher>>,
    health: watch::Sender<Arc<str>>,
    stopping: watch::Receiver<bool>,
}

/// The shell that tells the plant how the gateway is.
fn status_report(
    config: &Config,
    sources: Sources,
    ways: StatusWays,
    known_time: KnownTime,
    common: &Common,
) -> StatusReport {
    let StatusWays { publisher, health, stopping } = ways;
    StatusReport {
        sources,
        publisher,
        health,
        stopping,
        topics: common.topics.clone(),
        instance: common.instance.clone(),
        memory_max: config.budget.memory,
        every: common.pace.report_every,
        certificates: certificates(config, common),
        known_time,
        clock: common.clock.clone(),
    }
}

/// What every shell gets.
fn common(config: &Config, options: &Options, known: Option<EventTime>) -> Common {
    let clock = SystemClock::start();
    Common {
        known,
        metrics: Arc::clone(&options.metrics),
        pace: options.pace,
        progress: Arc::new(Progress::new(clock.uptime())),
        topics: topics(config),
        instance: format!("{:08x}", fastrand::u32(..)),
        origin: Origin { site: Arc::clone(&config.gateway.site), gateway: Arc::clone(&config.gateway.id) },
        clock,
    }
}

/// The models; those that are refused are logged. In safe mode there are none. On a thread of its own: examining them takes
/// long, and who asks the gateway to stop meanwhile is heard.
async fn models(config: &Config, is_safe_mode: bool) -> Result<Models, WiringError> {
    if is_safe_mode {
        return Ok(Models::left_out(&config.models, LEFT_OUT));
    }
    let entries = config.models.clone();
    let examined = thread("tg-load", async move { load_models(&entries) }).map_err(WiringError::Thread)?;
    let ended = || std::io::Error::other("the thread that examines the models has ended: a bug, see the log");
    let models = examined.await.unwrap_or_else(|_| Err(ended())).map_err(WiringError::Thread)?;
    for fault in &models.faults {
        error!(why = %fault.why, "refused a model");
    }
    Ok(models)
}

fn start_forward(
    config: &Config,
    common: &Common,
    outbox: &OutboxSide,
    grace: watch::Receiver<Option<Uptime>>,
    health: watch::Receiver<Arc<str>>,
) -> Result<(JoinHandle<()>, watch::Receiver<Option<Status>>), WiringError> {
    let (status, status_seen) = watch::channel(None);
    let now = Moment { up: common.clock.uptime(), utc: common.clock.utc() };
    let settings = forward_config(config, common.pace);
    let session = Session::new(settings, &outbox.starts, &outbox.note, now, fastrand::f64());
    let forward = Forward {
        target: upstream_target(config, common)?,
        session,
        encoding: config.upstream.encoding,
        encoder: Encoder::new(),
        origin: common.origin.clone(),
        topics: common.topics.clone(),
        outbox: outbox.requests.clone(),
        durable: outbox.durable.clone(),
        status,
        grace,
        health,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
        wires: Wires::default(),
    };
    Ok((tokio::spawn(booked(Purpose::Forward, forward.run())), status_seen))
}

/// The pauses of the configured streams, those of before the restart among them.
fn pause_book(config: &Config, files: StateFiles, common: &Common) -> PauseBook {
    let streams = config.streams.iter().map(|stream| (Arc::clone(&stream.name), stream.priority)).collect();
    PauseBook::open(&config.gateway.state_dir, files, streams, common.clock.clone())
}

fn topics(config: &Config) -> Topics {
    let streams = config.streams.iter().map(|stream| &*stream.name);
    Topics::new(&config.gateway.site, &config.gateway.id, &streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_CONFIG, ValueSource};
    use crate::units::Bytes;

    #[test]
    fn a_small_board_gets_its_small_budget_unless_the_configuration_says_another() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("proc/device-tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("compatible"), "raspberrypi,model-zero-2-w\0brcm,bcm2837\0").unwrap();
        let budget = |text: &str| {
            let (config, board) = on_board(&Config::parse(text).unwrap(), root.path()).unwrap();
            assert_eq!(board.name, "raspberry-pi-zero-2-w");
            config.budget
        };
        let here = budget(DEFAULT_CONFIG);
        assert_eq!((here.memory, here.memory_from), (Bytes(64 << 20), ValueSource::Board));
        let said = budget(&DEFAULT_CONFIG.replace("# memory = ", "memory = "));
        assert_eq!((said.memory, said.memory_from), (Bytes(96 << 20), ValueSource::Configuration));
        assert_eq!((said.cpu, said.cpu_from), (1.0, ValueSource::Board));
    }
}
