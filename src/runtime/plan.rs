//! From the configuration and the models' manifests to what each stage is told.

use std::sync::Arc;

use crate::config::{Config, Fault, StreamSettings};
use crate::distill::{DistillConfig, ModelNames, StreamPolicy, TaskNames};
use crate::egress::{Declared, ModelWords, Policy, TaskWords};
use crate::features::FeatureLayout;
use crate::flow::{ModelId, StreamKind};
use crate::infer::Manifest;
use crate::infer::manifest::Encoding;
use crate::ingest::{IngestConfig, StreamInput as TopicInput};
use crate::pipeline::{PipelinePlan, StreamPlan};
use crate::runtime::infer::StreamInput;
use crate::text::{NgramConfig, NgramEncoder};

/// Work waiting for a model. A window of 60 s of 8 channels at 1 Hz takes 6 kB: at most about 1.5 MB wait.
pub(in crate::runtime) const QUEUE_MAX: usize = 256;

/// Stands in events of streams that forward features without a model.
const NO_MODEL: &str = "features@0";

/// What each stage is told.
pub struct Plan {
    pub(in crate::runtime) ingest: IngestConfig,
    pub(in crate::runtime) pipeline: PipelinePlan,
    pub(in crate::runtime) inputs: Vec<StreamInput>,
    pub(in crate::runtime) encoders: Vec<Option<NgramEncoder>>,
}

/// Ties streams to models.
///
/// # Errors
/// Every stream that does not fit its model. Streams of refused models are no fault here: their work is counted as
/// quarantined.
pub fn plan(config: &Config, manifests: &[Option<Arc<Manifest>>], epoch: u32) -> Result<Plan, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut plan = Plan {
        ingest: IngestConfig { streams: Vec::new(), limits: config.limits },
        pipeline: PipelinePlan {
            streams: Vec::new(),
            distill: DistillConfig { streams: Vec::new() },
            models: names(config, manifests),
            policies: Vec::new(),
            words: words(config, manifests),
            epoch,
            queue_max: QUEUE_MAX,
        },
        inputs: Vec::new(),
        encoders: manifests.iter().map(|manifest| encoder(manifest.as_deref())).collect(),
    };
    let no_model = ModelId(u16::try_from(config.models.len()).unwrap_or(u16::MAX));
    for (index, stream) in config.streams.iter().enumerate() {
        let manifest = stream.model.and_then(|model| manifests.get(usize::from(model))?.as_deref());
        let shown = match layouts(stream, manifest) {
            Ok(layouts) => layouts,
            Err(wrong) => {
                faults.push(fault(stream, wrong));
                continue;
            }
        };
        let id = crate::flow::StreamId(u16::try_from(index).unwrap_or(u16::MAX));
        plan.ingest.streams.push(TopicInput {
            id,
            filter: stream.filter.clone(),
            payload: stream.payload.clone(),
        });
        plan.pipeline.streams.push(StreamPlan {
            window: stream.window,
            model: stream.model.map_or(no_model, ModelId),
            priority: stream.priority,
            deadline: stream.deadline,
        });
        plan.pipeline.distill.streams.push(stream_policy(stream, &shown.names));
        plan.pipeline.policies.push(egress_policy(stream));
        plan.inputs.push(StreamInput {
            model: stream.model.map(ModelId),
            layout: shown.layout,
            model_features: shown.model_features,
            shown: shown.positions,
            uncertain_below: stream.uncertain_below,
        });
    }
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

/// The features of one stream: what the model takes, what is shown.
#[derive(Default)]
struct Shown {
    /// What the model takes, in its order, then what else is shown.
    layout: Option<FeatureLayout>,
    model_features: usize,
    /// Positions in the layout of what is shown.
    positions: Vec<usize>,
    /// Names of what is shown.
    names: Vec<Arc<str>>,
}

fn layouts(stream: &StreamSettings, manifest: Option<&Manifest>) -> Result<Shown, String> {
    if let Some(manifest) = manifest
        && manifest.kind != stream.kind
    {
        return Err(format!("model {} is for {} streams", manifest.id(), manifest.kind.as_str()));
    }
    if stream.kind == StreamKind::Report {
        return Ok(Shown::default());
    }
    let channels = stream.payload.values();
    let wanted: Vec<String> = match manifest.map(|manifest| &manifest.input.encoding) {
        Some(Encoding::Features { features, .. }) => features.iter().map(ToString::to_string).collect(),
        Some(Encoding::CharNgrams { .. } | Encoding::Tokens { .. }) | None => Vec::new(),
    };
    let mut shown = if stream.features.is_empty() { wanted.clone() } else { stream.features.clone() };
    shown.extend(stream.forward.features.iter().map(|feature| feature.name.clone()));
    let mut all = wanted.clone();
    all.extend(shown.iter().cloned());
    if all.is_empty() {
        // The model was refused and nothing else is asked for.
        return Ok(Shown::default());
    }
    let resolve = |patterns: &[String]| {
        FeatureLayout::resolve(patterns, channels).map_err(|error| match manifest {
            Some(manifest) => format!("model {} does not fit the channels: {error}", manifest.id()),
            None => error.to_string(),
        })
    };
    let layout = resolve(&all)?;
    let names: Vec<Arc<str>> = if shown.is_empty() { Vec::new() } else { resolve(&shown)?.names().to_vec() };
    let positions = names.iter().filter_map(|name| layout.position(name)).collect();
    Ok(Shown { layout: Some(layout), model_features: wanted.len(), positions, names })
}

fn fault(stream: &StreamSettings, wrong: String) -> Fault {
    let (key, allowed) = match stream.kind {
        StreamKind::Sensor => ("model", "a sensor model whose channels are all in payload.values"),
        StreamKind::Report => ("classifier", "a report model"),
    };
    Fault { key: format!("streams[{}].{key}", stream.index), wrong, allowed: allowed.to_owned() }
}

fn stream_policy(stream: &StreamSettings, shown: &[Arc<str>]) -> StreamPolicy {
    let every = stream.forward.features.iter().filter_map(|feature| {
        let position = shown.iter().position(|name| **name == *feature.name)?;
        Some((position, feature.every?))
    });
    StreamPolicy {
        name: Arc::clone(&stream.name),
        kind: stream.kind,
        priority: stream.priority,
        events: stream.forward.events,
        dwell: stream.dwell,
        clear_dwell: stream.clear_dwell,
        rate_max_per_hour: stream.forward.rate_max_per_hour,
        every: every.collect(),
        shown: shown.to_vec(),
        show_text: stream.show_text,
    }
}

fn egress_policy(stream: &StreamSettings) -> Policy {
    let declared = |feature: &crate::config::ForwardFeature| Declared {
        name: Arc::from(feature.name.as_str()),
        resolution: feature.resolution,
    };
    Policy {
        stream: Arc::clone(&stream.name),
        features: stream.forward.features.iter().map(declared).collect(),
        entities: stream.forward.entities,
        scores: stream.forward.scores,
    }
}

/// Closed words by `ModelId`; the last entry is for streams without a model.
fn names(config: &Config, manifests: &[Option<Arc<Manifest>>]) -> Vec<ModelNames> {
    let of = |(entry, manifest): (&crate::config::ModelEntry, &Option<Arc<Manifest>>)| match manifest {
        Some(manifest) => ModelNames {
            id: Arc::clone(manifest.id()),
            tasks: manifest
                .tasks
                .iter()
                .map(|task| TaskNames {
                    task: Arc::clone(&task.name),
                    labels: task.labels.clone(),
                    alarm: task.alarm.clone(),
                })
                .collect(),
        },
        None => ModelNames { id: Arc::clone(&entry.name), tasks: Vec::new() },
    };
    let none = ModelNames { id: Arc::from(NO_MODEL), tasks: Vec::new() };
    config.models.iter().zip(manifests).map(of).chain([none]).collect()
}

fn words(config: &Config, manifests: &[Option<Arc<Manifest>>]) -> Vec<ModelWords> {
    let of = |names: ModelNames| ModelWords {
        id: names.id,
        tasks: names
            .tasks
            .into_iter()
            .map(|task| TaskWords { task: task.task, labels: task.labels })
            .collect(),
        entity_types: Vec::new(),
        vocabulary: Vec::new(),
    };
    names(config, manifests).into_iter().map(of).collect()
}

fn encoder(manifest: Option<&Manifest>) -> Option<NgramEncoder> {
    match &manifest?.input.encoding {
        &Encoding::CharNgrams { dims, n_min, n_max } => {
            NgramConfig::new(dims, n_min, n_max).ok().map(NgramEncoder::new)
        }
        Encoding::Features { .. } | Encoding::Tokens { .. } => None,
    }
}
