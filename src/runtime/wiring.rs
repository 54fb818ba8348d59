//! From a configuration to a running service: opens, connects, spawns, back to front.
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | plant → analyze | [`INPUTS_MAX`] messages | the poller waits: the broker holds QoS 1 messages back |
//! | analyze → infer | [`BATCHES_OUT_MAX`] | cannot: the brain gives no more than that out |
//! | infer → analyze | [`BATCHES_OUT_MAX`] | cannot, for the same reason |
//! | analyze, forward → outbox | [`REQUESTS_MAX`] | they wait: events are the product |
//! | analyze → outbox, alarms | [`URGENT_MAX`] | they wait, behind alarms only |
//! | a failing supply → outbox | [`POWER_FAIL_MAX`] edges | dropped: the flush that runs serves them all |
//! | plant → operations | 32 commands | dropped and counted: the broker keeps them for the next connection |

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::Config;
use crate::egress::Door;
use crate::flow::{Budget, ModelId, StreamId};
use crate::forward::{LaneStart, Moment, Session, Status};
use crate::governor::GovernorStatus;
use crate::infer::{BATCHES_OUT_MAX, ModelStatus, Residency};
use crate::io::disk::Directory;
use crate::io::mqtt::Publisher;
use crate::outbox::{Lane, Outbox, OutboxError};
use crate::runtime::analyze::Analyze;
use crate::runtime::arrivals::Arrivals;
use crate::runtime::bench::Bench;
use crate::runtime::coarsening::Coarsening;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::complaints::Complaints;
use crate::runtime::crowd::Crowd;
use crate::runtime::decisions::Decisions;
use crate::runtime::desk::Desk;
use crate::runtime::endpoints::{certificates, forward_config, plant_target, upstream_target};
use crate::runtime::forward::{Forward, Wires};
use crate::runtime::governor::{LevelTeller, prepare_governor};
use crate::runtime::hang::{HangWatch, InferLost};
use crate::runtime::hardware::{
    HardwareCommands, HardwareEnd, HardwareVoice, Measurements, OnPowerFail, start_hardware,
};
use crate::runtime::known_time::KnownTime;
use crate::runtime::limits::{INPUTS_MAX, REQUESTS_MAX, URGENT_MAX};
use crate::runtime::memory::models_limit;
use crate::runtime::models::{Models, load_models};
use crate::runtime::operations::{PauseBook, Surroundings, prepare};
use crate::runtime::options::Options;
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::plan::{Plan, door, plan};
use crate::runtime::plant::{PlantInput, PlantLink};
use crate::runtime::power_fail::{Flushed, POWER_FAIL_MAX, PowerFail};
use crate::runtime::retry::best_effort;
use crate::runtime::room::Room;
use crate::runtime::shelf::Shelf;
use crate::runtime::starts::LEFT_OUT;
use crate::runtime::status::{Sources, StatusReport, Topics};
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::threads::thread;
use crate::telemetry::{Progress, Purpose, book, booked};
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

/// Opens and spawns everything, back to front. Needs a running executor.
pub(in crate::runtime) fn wire(
    config: &Config,
    options: &Options,
    is_safe_mode: bool,
) -> Result<Service, WiringError> {
    let known_time = KnownTime::in_folder(&config.gateway.state_dir);
    let common = common(config, options, known_time.read());
    let (stopping, stopping_seen) = watch::channel(false);
    let (grace, grace_seen) = watch::channel(None);
    let (health, health_seen) = watch::channel(Arc::from(""));
    let (publisher, publisher_seen) = watch::channel(None);

    let (voice, view) = HardwareVoice::channel();
    let mut governor = prepare_governor(config, &options.root, stopping_seen.clone(), view, &common)?;
    let models = models(config, is_safe_mode)?;
    let sparing = governor.budget.subscribe();
    let outbox = start_outbox(config, door(config, &models.manifests, &models.readings), sparing, &common)?;
    let mut plan = plan(config, &models.manifests, &models.readings, outbox.epoch)
        .map_err(|faults| WiringError::Plan { faults })?;
    let hardware = start_hardware(
        std::mem::take(&mut governor.attached),
        &options.root,
        std::mem::take(&mut plan.measured),
        (voice, on_power_fail(&outbox)),
        stopping_seen.clone(),
        &common,
    )?;
    let (forward, link) = start_forward(config, &common, &outbox, grace_seen, health_seen.clone())?;
    let ways = (outbox.urgent.clone(), outbox.requests.clone());
    let levels = LevelTeller::new(outbox.epoch, ways, publisher_seen.clone(), &common);
    let shelf = shelf(config, models, &common);
    let pauses = Arc::new(pause_book(config, &common));
    let allowed = Allowed {
        budget: governor.budget.subscribe(),
        governor: governor.status.subscribe(),
        paused: pauses.ids(),
    };
    let own = (hardware.measurements, hardware.commands.clone());
    let brain = start_brain(plan, shelf, (outbox.urgent, outbox.requests), (allowed, own), &common)?;
    let sources = Sources {
        pauses: pauses.subscribe(),
        is_safe_mode,
        outbox: outbox.report,
        flushed: outbox.flushed.clone(),
        link,
        models: brain.models,
        budget: governor.budget.subscribe(),
        governor: governor.status.subscribe(),
        hardware: hardware.health,
        panel: hardware.commands.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    let around = Surroundings {
        pauses,
        health: health_seen,
        publisher: publisher_seen.clone(),
        stopping: stopping_seen.clone(),
    };
    let operations = prepare(&config.gateway.state_dir, around, &common);
    let ways = (publisher_seen.clone(), health, stopping_seen.clone());
    let status = status_report(config, sources, ways, known_time, &common);
    let plant = PlantLink {
        target: plant_target(config, &common)?,
        filters: brain.filters.into_iter().chain([common.topics.commands()]).collect(),
        inputs: brain.inputs,
        intake: operations.intake,
        commands: operations.commands,
        publisher,
        stopping: stopping_seen,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    // Examining the models may take longer than any task may be silent.
    common.progress.restart(common.clock.uptime());
    Ok(Service {
        forward,
        analyze: brain.analyze,
        governor: tokio::spawn(booked(Purpose::Status, governor.run(levels))),
        status: tokio::spawn(booked(Purpose::Status, status.run())),
        operations: tokio::spawn(operations.shell.run()),
        plant: tokio::spawn(booked(Purpose::Plant, plant.run())),
        infer: brain.infer,
        outbox: outbox.done,
        power_fail: outbox.power_fail,
        flushed: outbox.flushed,
        stopping,
        grace,
        publisher: publisher_seen,
        topics: common.topics,
        instance: common.instance,
        progress: common.progress,
        hardware: hardware.commands,
        hardware_end: hardware.end,
        clock: common.clock,
    })
}

/// The shell that tells the plant how the gateway is: through the connection of the plant link, and to the link upstream.
fn status_report(
    config: &Config,
    sources: Sources,
    (publisher, health, stopping): (
        watch::Receiver<Option<Publisher>>,
        watch::Sender<Arc<str>>,
        watch::Receiver<bool>,
    ),
    known_time: KnownTime,
    common: &Common,
) -> StatusReport {
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

/// The models; those that are refused are logged. In safe mode there are none.
fn models(config: &Config, is_safe_mode: bool) -> Result<Models, WiringError> {
    if is_safe_mode {
        return Ok(Models::left_out(&config.models, LEFT_OUT));
    }
    let models = load_models(&config.models).map_err(WiringError::Thread)?;
    for fault in &models.faults {
        error!(why = %fault.why, "refused a model");
    }
    Ok(models)
}

/// The outbox's thread and the ways to it.
struct OutboxSide {
    epoch: u32,
    /// Where the forwarder goes on: cursors, what was delivered beyond them, and its note.
    starts: [LaneStart; 3],
    note: Vec<u8>,
    urgent: mpsc::Sender<OutboxRequest>,
    requests: mpsc::Sender<OutboxRequest>,
    /// Where the power-fail input is told, and how the flush went.
    power_fail: mpsc::Sender<PowerFail>,
    flushed: watch::Receiver<Option<Flushed>>,
    durable: watch::Receiver<[u64; 3]>,
    report: watch::Receiver<OutboxReport>,
    done: oneshot::Receiver<Result<(), OutboxError>>,
}

fn start_outbox(
    config: &Config,
    door: Door,
    budget: watch::Receiver<Budget>,
    common: &Common,
) -> Result<OutboxSide, WiringError> {
    let _booked = book(Purpose::Outbox);
    let path = config.gateway.state_dir.join("outbox");
    let directory = Directory::open(&path)?;
    // The salt needs to differ from run to run, not to be secret.
    let entropy = fastrand::u64(..);
    let opened = Outbox::open(directory, config.outbox.clone(), entropy, common.clock.utc())
        .map_err(|source| WiringError::Outbox { directory: path.display().to_string(), source })?;
    let (outbox, recovered) = (opened.outbox, opened.recovered);
    info!(epoch = outbox.epoch(), ?recovered, "opened the outbox");
    let (urgent, urgent_seen) = mpsc::channel(URGENT_MAX);
    let (requests, requests_seen) = mpsc::channel(REQUESTS_MAX);
    let (power_fail, power_fail_seen) = mpsc::channel(POWER_FAIL_MAX);
    let (flushed, flushed_seen) = watch::channel(None);
    let (durable, durable_seen) = watch::channel(Lane::ALL.map(|lane| outbox.durable(lane).0));
    let (report, report_seen) = watch::channel(OutboxReport::default());
    let start = |lane| LaneStart { acked: outbox.acked(lane).0, done: outbox.done(lane).to_vec() };
    let (epoch, starts, note) = (outbox.epoch(), Lane::ALL.map(start), outbox.remembered().to_vec());
    let worker = OutboxWorker {
        room: Room::new(Coarsening::new(door, SummaryIds::new(outbox.epoch()))).sparing(budget),
        outbox,
        urgent: urgent_seen,
        power_fail: power_fail_seen,
        flushed,
        requests: requests_seen,
        durable,
        report,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    let done = thread("tg-outbox", booked(Purpose::Outbox, worker.run())).map_err(WiringError::Thread)?;
    Ok(OutboxSide {
        epoch,
        starts,
        note,
        urgent,
        requests,
        power_fail,
        flushed: flushed_seen,
        durable: durable_seen,
        report: report_seen,
        done,
    })
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

/// The models, those that fit loaded: first the ones that stay.
fn shelf(config: &Config, models: Models, common: &Common) -> Shelf {
    let needs = models.needs(config);
    let limit = models_limit(config, &models.manifests);
    let mut order: Vec<(bool, ModelId)> =
        (0_u16..).zip(&needs).map(|(id, needs)| (!needs.pinned, ModelId(id))).collect();
    order.sort_by_key(|(stays, id)| (*stays, id.0));
    let Models { registry, readings, sources, .. } = models;
    let mut shelf = Shelf::new(registry, readings, sources, Residency::new(needs, limit));
    let order: Vec<ModelId> = order.into_iter().map(|(_, id)| id).collect();
    shelf.fill(&order, common.clock.uptime());
    shelf
}

/// What the brain may judge at the moment.
struct Allowed {
    budget: watch::Receiver<Budget>,
    governor: watch::Receiver<GovernorStatus>,
    paused: watch::Receiver<Arc<[StreamId]>>,
}

/// Flushes the outbox at the edge, on the thread that saw it. A flush that is under way serves this edge too.
fn on_power_fail(outbox: &OutboxSide) -> OnPowerFail {
    let flush = outbox.power_fail.clone();
    Arc::new(move |at| best_effort(flush.try_send(PowerFail { at })))
}

/// The brain's task, the models' thread and the ways to them.
struct BrainSide {
    analyze: JoinHandle<()>,
    infer: JoinHandle<Result<(), InferLost>>,
    inputs: mpsc::Sender<PlantInput>,
    filters: Vec<String>,
    models: watch::Receiver<Vec<ModelStatus>>,
}

fn start_brain(
    mut plan: Plan,
    shelf: Shelf,
    (urgent, outbox): (mpsc::Sender<OutboxRequest>, mpsc::Sender<OutboxRequest>),
    (allowed, (measurements, panel)): (Allowed, (Measurements, HardwareCommands)),
    common: &Common,
) -> Result<BrainSide, WiringError> {
    let (work, work_seen) = mpsc::channel(BATCHES_OUT_MAX);
    let (results, results_seen) = mpsc::channel(BATCHES_OUT_MAX);
    let (inputs, inputs_seen) = mpsc::channel(INPUTS_MAX);
    let (status, models) = watch::channel(shelf.registry.status().collect());
    plan.pipeline.schedule.batch_max = shelf.registry.batch_sizes().collect();
    plan.pipeline.schedule.costs = shelf.costs();
    let (ingest, pipeline) = plan.stages();
    let bench = Box::new(Bench {
        work: work_seen,
        budget: allowed.budget.clone(),
        status,
        shelf,
        waiting: Vec::new(),
        marking: Vec::new(),
        ended: false,
        reported: Uptime::ZERO,
    });
    let watch = HangWatch {
        desk: Arc::new(Desk::default()),
        streams: plan.inputs.into(),
        results,
        clock: common.clock.clone(),
        progress: Arc::clone(&common.progress),
    };
    let running = watch.start(bench).map_err(WiringError::Thread)?;
    let infer = tokio::spawn(watch.run(running));
    let crowd = Crowd::new(plan.pipeline.schedule.pieces_max);
    let filters = ingest.subscriptions();
    let names = plan.pipeline.policies.iter().map(|policy| Arc::clone(&policy.stream)).collect();
    let analyze = Analyze {
        ingest,
        pipeline,
        inputs: inputs_seen,
        work,
        results: results_seen,
        urgent,
        outbox,
        budget: allowed.budget,
        governor: allowed.governor,
        paused: allowed.paused,
        measurements,
        panel,
        decisions: Decisions::new(),
        complaints: Complaints::new(names),
        arrivals: Arrivals::default(),
        unacked: VecDeque::new(),
        crowd,
        topics: common.topics.clone(),
        origin: common.origin.clone(),
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    Ok(BrainSide {
        analyze: tokio::spawn(booked(Purpose::Distill, analyze.run())),
        infer,
        inputs,
        filters,
        models,
    })
}

/// The pauses of the configured streams, those of before the restart among them.
fn pause_book(config: &Config, common: &Common) -> PauseBook {
    let streams = config.streams.iter().map(|stream| (Arc::clone(&stream.name), stream.priority)).collect();
    PauseBook::open(&config.gateway.state_dir, streams, common.clock.clone())
}

fn topics(config: &Config) -> Topics {
    let streams = config.streams.iter().map(|stream| &*stream.name);
    Topics::new(&config.gateway.site, &config.gateway.id, &streams)
}
