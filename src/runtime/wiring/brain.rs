//! The brain's task and the models' thread.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Uptime};
use crate::config::Config;
use crate::flow::{ModelId, Priority, StreamId};
use crate::infer::{BATCHES_OUT_MAX, ModelStatus, Residency};
use crate::runtime::analyze::Analyze;
use crate::runtime::arrivals::Arrivals;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::complaints::Complaints;
use crate::runtime::crowd::Crowd;
use crate::runtime::decisions::Decisions;
use crate::runtime::governor::GovernorShell;
use crate::runtime::hardware::{HardwareCommands, Measurements};
use crate::runtime::infer::{Bench, Desk, HangWatch, InferLost, Models, Shelf};
use crate::runtime::limits::INPUTS_MAX;
use crate::runtime::memory::models_limit;
use crate::runtime::plan::Plan;
use crate::runtime::plant::PlantInput;
use crate::runtime::wiring::outbox::OutboxSide;
use crate::telemetry::{Purpose, booked};

/// What the brain hears and speaks to.
pub(in crate::runtime::wiring) struct Around<'a> {
    pub(in crate::runtime::wiring) outbox: &'a OutboxSide,
    pub(in crate::runtime::wiring) governor: &'a GovernorShell,
    /// The streams that are not judged for now.
    pub(in crate::runtime::wiring) paused: watch::Receiver<Arc<[StreamId]>>,
    /// What the board itself measures, and its panel.
    pub(in crate::runtime::wiring) measurements: Measurements,
    pub(in crate::runtime::wiring) panel: HardwareCommands,
}

/// The brain's task, the models' thread and the ways to them.
pub(in crate::runtime::wiring) struct BrainSide {
    pub(in crate::runtime::wiring) analyze: JoinHandle<()>,
    pub(in crate::runtime::wiring) infer: JoinHandle<Result<(), InferLost>>,
    pub(in crate::runtime::wiring) inputs: mpsc::Sender<PlantInput>,
    pub(in crate::runtime::wiring) filters: Vec<String>,
    pub(in crate::runtime::wiring) models: watch::Receiver<Vec<ModelStatus>>,
}

pub(in crate::runtime::wiring) fn start_brain(
    mut plan: Plan,
    shelf: Shelf,
    around: Around<'_>,
    common: &Common,
) -> Result<BrainSide, WiringError> {
    let (work, work_seen) = mpsc::channel(BATCHES_OUT_MAX);
    let (results, results_seen) = mpsc::channel(BATCHES_OUT_MAX);
    let (inputs, inputs_seen) = mpsc::channel(INPUTS_MAX);
    let (wanted, since) = watch::channel(Vec::new());
    let (turns, turns_seen) = watch::channel(Arc::default());
    let (status, models) = watch::channel(shelf.status());
    plan.pipeline.schedule.batch_max = shelf.registry.batch_sizes().collect();
    plan.pipeline.schedule.costs = shelf.costs();
    let (ingest, pipeline) = plan.stages();
    let bench = Box::new(Bench {
        work: work_seen,
        budget: around.governor.budget.subscribe(),
        status,
        shelf,
        wanted: since,
        turns,
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
        records: around.outbox.records.clone(),
        outbox: around.outbox.requests.clone(),
        budget: around.governor.budget.subscribe(),
        governor: around.governor.status.subscribe(),
        turns: turns_seen,
        waiting: wanted,
        since: Vec::new(),
        paused: around.paused,
        measurements: around.measurements,
        panel: around.panel,
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

/// The models, those that fit loaded: first the ones that stay.
pub(in crate::runtime::wiring) fn shelf(config: &Config, models: Models, common: &Common) -> Shelf {
    let needs = models.needs(config);
    let limit = models_limit(config, &models.manifests);
    let mut order: Vec<(Priority, ModelId)> =
        (0_u16..).zip(&needs).map(|(id, needs)| (needs.lane, ModelId(id))).collect();
    order.sort_by_key(|(lane, id)| (*lane, id.0));
    let Models { registry, readings, sources, .. } = models;
    let mut shelf = Shelf::new(registry, readings, sources, Residency::new(needs, limit));
    let order: Vec<ModelId> = order.into_iter().map(|(_, id)| id).collect();
    shelf.fill(&order, common.clock.uptime());
    shelf
}
