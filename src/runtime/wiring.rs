//! From a configuration to a running service: opens, connects, spawns, back to front.
//!
//! | channel | capacity | when full |
//! |---|---|---|
//! | plant → analyze | [`INPUTS_MAX`] messages | the poller waits: the broker holds QoS 1 messages back |
//! | analyze → infer | [`BATCHES_OUT_MAX`] | cannot: the brain gives no more than that out |
//! | infer → analyze | [`BATCHES_OUT_MAX`] | cannot, for the same reason |
//! | analyze, forward → outbox | [`REQUESTS_MAX`] | they wait: events are the product |
//! | analyze → outbox, alarms | [`URGENT_MAX`] | they wait, behind alarms only |

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::{Config, LinkSettings};
use crate::egress::Door;
use crate::flow::{Budget, ModelId, StreamId};
use crate::forward::{ForwardConfig, LaneStart, Moment, Session, Status};
use crate::infer::{BATCHES_OUT_MAX, ModelStatus, Residency};
use crate::io::disk::Directory;
use crate::io::files::read_secret;
use crate::io::mqtt::{Endpoint, Protocol, Publisher, TlsFiles, TlsMemory, Will};
use crate::outbox::{Lane, Outbox, OutboxError};
use crate::runtime::analyze::Analyze;
use crate::runtime::arrivals::Arrivals;
use crate::runtime::bench::Bench;
use crate::runtime::certificates::Certificates;
use crate::runtime::coarsening::Coarsening;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::complaints::Complaints;
use crate::runtime::crowd::Crowd;
use crate::runtime::decisions::Decisions;
use crate::runtime::desk::Desk;
use crate::runtime::forward::{Forward, Wires};
use crate::runtime::governor::{LevelTeller, Waiting, prepare_governor};
use crate::runtime::hang::{HangWatch, InferLost};
use crate::runtime::hardware::HardwareVoice;
use crate::runtime::known_time::KnownTime;
use crate::runtime::limits::{INPUTS_MAX, REQUESTS_MAX, URGENT_MAX};
use crate::runtime::memory::models_limit;
use crate::runtime::models::{Models, load_models};
use crate::runtime::operations::{PauseBook, Surroundings, prepare};
use crate::runtime::options::{Options, Pace};
use crate::runtime::outbox::{OutboxReport, OutboxRequest, OutboxWorker};
use crate::runtime::plan::{Plan, door, plan};
use crate::runtime::plant::{PlantInput, PlantLink};
use crate::runtime::room::Room;
use crate::runtime::shelf::Shelf;
use crate::runtime::status::{Sources, StatusReport, Topics};
use crate::runtime::summary_ids::SummaryIds;
use crate::runtime::target::Target;
use crate::runtime::threads::thread;
use crate::telemetry::{Progress, Purpose, book, booked};
use crate::wire::{Encoder, Origin};

/// Decisions on the plant's broker without acknowledgement.
const PLANT_IN_FLIGHT: u16 = 64;

/// Packets a broker upstream must take, bytes. An event with the features of a usual model is a quarter of it; a broker
/// that takes less would have the events skipped one by one as undeliverable.
const UPSTREAM_PACKET_MIN: u32 = 4 << 10;

/// Bytes of a packet around its payload: topic, header, properties.
const PACKET_EXTRA: u32 = 1_024;

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
    pub(in crate::runtime) publisher: watch::Receiver<Option<Publisher>>,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) instance: String,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) clock: SystemClock,
}

/// Opens and spawns everything, back to front. Needs a running executor.
pub(in crate::runtime) fn wire(config: &Config, options: &Options) -> Result<Service, WiringError> {
    let known_time = KnownTime::in_folder(&config.gateway.state_dir);
    let common = common(config, options, known_time.read());
    let (stopping, stopping_seen) = watch::channel(false);
    let (grace, grace_seen) = watch::channel(None);
    let (health, health_seen) = watch::channel(Arc::from(""));
    let (publisher, publisher_seen) = watch::channel(None);

    let (_voice, view) = HardwareVoice::channel();
    let governor = prepare_governor(config, &options.root, stopping_seen.clone(), view, &common)?;
    let models = admitted_models(config)?;
    let sparing = governor.budget.subscribe();
    let outbox = start_outbox(config, door(config, &models.manifests, &models.readings), sparing, &common)?;
    let plan = plan(config, &models.manifests, &models.readings, outbox.epoch)
        .map_err(|faults| WiringError::Plan { faults })?;
    let (forward, link) = start_forward(config, &common, &outbox, grace_seen, health_seen.clone())?;
    let levels = level_teller(&outbox, publisher_seen.clone(), &common);
    let shelf = shelf(config, models, &common);
    let pauses = Arc::new(pause_book(config, &common));
    let allowed = Allowed { budget: governor.budget.subscribe(), paused: pauses.ids() };
    let brain = start_brain(plan, shelf, (outbox.urgent, outbox.requests), allowed, &common)?;
    let sources = Sources {
        pauses: pauses.subscribe(),
        outbox: outbox.report,
        link,
        models: brain.models,
        budget: governor.budget.subscribe(),
        governor: governor.status.subscribe(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    let instance = instance();
    let around = Surroundings {
        pauses,
        health: health_seen,
        publisher: publisher_seen.clone(),
        stopping: stopping_seen.clone(),
        instance: instance.clone(),
    };
    let operations = prepare(&config.gateway.state_dir, around, &common);
    let status = StatusReport {
        sources,
        publisher: publisher_seen.clone(),
        health,
        stopping: stopping_seen.clone(),
        topics: common.topics.clone(),
        instance: instance.clone(),
        memory_max: config.budget.memory,
        every: common.pace.report_every,
        certificates: certificates(config, &common),
        known_time,
        clock: common.clock.clone(),
    };
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
        stopping,
        grace,
        publisher: publisher_seen,
        topics: common.topics,
        instance,
        progress: common.progress,
        clock: common.clock,
    })
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
        origin: Origin { site: Arc::clone(&config.gateway.site), gateway: Arc::clone(&config.gateway.id) },
        clock,
    }
}

/// The models; those that are refused are logged.
fn admitted_models(config: &Config) -> Result<Models, WiringError> {
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
    let (durable, durable_seen) = watch::channel(Lane::ALL.map(|lane| outbox.durable(lane).0));
    let (report, report_seen) = watch::channel(OutboxReport::default());
    let start = |lane| LaneStart { acked: outbox.acked(lane).0, done: outbox.done(lane).to_vec() };
    let (epoch, starts, note) = (outbox.epoch(), Lane::ALL.map(start), outbox.remembered().to_vec());
    let worker = OutboxWorker {
        room: Room::new(Coarsening::new(door, SummaryIds::new(outbox.epoch()))).sparing(budget),
        outbox,
        urgent: urgent_seen,
        requests: requests_seen,
        durable,
        report,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    let done = thread("tg-outbox", booked(Purpose::Outbox, worker.run())).map_err(WiringError::Thread)?;
    Ok(OutboxSide { epoch, starts, note, urgent, requests, durable: durable_seen, report: report_seen, done })
}

/// Where changes of the level are told.
fn level_teller(
    outbox: &OutboxSide,
    publisher: watch::Receiver<Option<Publisher>>,
    common: &Common,
) -> LevelTeller {
    LevelTeller {
        ids: SummaryIds::of_levels(outbox.epoch),
        urgent: outbox.urgent.clone(),
        outbox: outbox.requests.clone(),
        publisher,
        topic: common.topics.governor(),
        origin: common.origin.clone(),
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        waiting: Waiting::default(),
    }
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
    paused: watch::Receiver<Arc<[StreamId]>>,
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
    allowed: Allowed,
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
        paused: allowed.paused,
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

/// Changes at every start, so that counters can be told apart.
fn instance() -> String {
    format!("{:08x}", fastrand::u32(..))
}

fn forward_config(config: &Config, pace: Pace) -> ForwardConfig {
    let upstream = &config.upstream;
    ForwardConfig {
        in_flight: upstream.in_flight,
        rate: upstream.rate,
        daily: upstream.daily,
        backoff_max: pace.backoff_max,
        keep_alive: upstream.link.keep_alive,
        tls: upstream.link.address.tls,
        ..ForwardConfig::default()
    }
}

fn plant_target(config: &Config, common: &Common) -> Result<Target, WiringError> {
    let packet_max = u32::try_from(config.limits.packet.0).unwrap_or(u32::MAX).saturating_add(PACKET_EXTRA);
    let endpoint = Endpoint {
        session_expiry: config.plant.session_expiry,
        clean_start: false,
        packet_max,
        in_flight: PLANT_IN_FLIGHT,
        ..endpoint(&config.plant.link, common)?
    };
    Ok(Target { endpoint, password_file: config.plant.link.password_file.clone() })
}

fn upstream_target(config: &Config, common: &Common) -> Result<Target, WiringError> {
    // Nothing is kept on the far broker for us: what it has not acknowledged comes from the outbox again.
    let endpoint = Endpoint {
        clean_start: true,
        in_flight: config.upstream.in_flight,
        packet_min: UPSTREAM_PACKET_MIN,
        ..endpoint(&config.upstream.link, common)?
    };
    Ok(Target { endpoint, password_file: config.upstream.link.password_file.clone() })
}

fn endpoint(link: &LinkSettings, common: &Common) -> Result<Endpoint, WiringError> {
    let client_id = format!("tidegate-{}-{}", common.origin.site, common.origin.gateway);
    // Read again for each connection; here so that one that is missing is a fault of the configuration.
    let password = link.password_file.as_deref().map(read_secret).transpose()?;
    Ok(Endpoint {
        tls: tls_files(link),
        tls_memory: tls_memory(common),
        username: link.username.clone(),
        password,
        protocol: if link.v5 { Protocol::V5 } else { Protocol::V311 },
        keep_alive: link.keep_alive,
        connect_timeout: link.connect_timeout,
        last_will: Some(Will {
            topic: common.topics.available(),
            payload: b"offline".to_vec(),
            retain: true,
        }),
        ..Endpoint::new(link.address.clone(), &client_id)
    })
}

fn tls_files(link: &LinkSettings) -> Option<TlsFiles> {
    let client = link.cert_file.clone().zip(link.key_file.clone());
    link.ca_file.clone().map(|ca| TlsFiles { ca, client })
}

fn tls_memory(common: &Common) -> TlsMemory {
    TlsMemory::new(Arc::new(common.clock.clone()), common.known)
}

/// What the certificates of both links are watched by.
fn certificates(config: &Config, common: &Common) -> Certificates {
    let links = [("plant", &config.plant.link), ("upstream", &config.upstream.link)];
    let links = links.into_iter().filter_map(|(name, link)| Some((name, tls_files(link)?))).collect();
    Certificates::new(links, tls_memory(common))
}
