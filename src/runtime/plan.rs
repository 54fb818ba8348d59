//! From the configuration and the models' manifests to what each stage is told.

use std::sync::Arc;

use crate::config::{Config, Fault, ModelEntry, StreamSettings, StreamSource};
use crate::distill::{DistillConfig, ModelNames, StreamPolicy, TaskNames};
use crate::egress::{Declared, Door, ModelWords, Policy, TaskWords};
use crate::features::FeatureLayout;
use crate::flow::{ModelId, StreamId, StreamKind};
use crate::infer::manifest::Encoding;
use crate::infer::schedule::HOLD_UP_MAX;
use crate::infer::{Manifest, ScheduleConfig};
use crate::ingest::{Ingest, IngestConfig, StreamInput as TopicInput};
use crate::pipeline::{Pipeline, PipelinePlan, StreamPlan};
use crate::runtime::hardware::MeasuredStream;
use crate::runtime::infer::StreamInput;
use crate::runtime::memory::{queue_bytes, queue_max, window_bytes};
use crate::runtime::reading::Reading;

/// Stands in events of streams that forward features without a model.
const NO_MODEL: &str = "features@0";

/// What each stage is told.
pub struct Plan {
    pub(in crate::runtime) ingest: IngestConfig,
    pub(in crate::runtime) pipeline: PipelinePlan,
    pub(in crate::runtime) inputs: Vec<StreamInput>,
    pub(in crate::runtime) measured: Vec<MeasuredStream>,
    /// Bytes the windows of each stream may take.
    pub(in crate::runtime) window_bytes: Vec<u64>,
}

impl Plan {
    /// The stages that do without models, as the service starts them.
    pub fn stages(&self) -> (Ingest, Pipeline) {
        let mut pipeline = Pipeline::new(self.pipeline.clone());
        pipeline.limit_windows(&self.window_bytes);
        (Ingest::new(self.ingest.clone()), pipeline)
    }
}

/// Ties streams to models.
///
/// # Errors
/// Every stream that does not fit its model. Streams of refused models are no fault here: their work is counted as
/// quarantined.
pub fn plan(
    config: &Config,
    manifests: &[Option<Arc<Manifest>>],
    readings: &[Option<Reading>],
    epoch: u32,
) -> Result<Plan, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut plan = Plan {
        ingest: IngestConfig { streams: Vec::new(), limits: config.limits },
        pipeline: PipelinePlan {
            streams: Vec::new(),
            distill: DistillConfig { streams: Vec::new() },
            models: names(config, manifests, readings),
            policies: Vec::new(),
            words: words(config, manifests, readings),
            epoch,
            schedule: ScheduleConfig {
                pieces_max: queue_max(config),
                bytes_max: queue_bytes(config),
                batch_max: Vec::new(),
                costs: Vec::new(),
                hold_up_max: HOLD_UP_MAX,
            },
        },
        inputs: Vec::new(),
        measured: Vec::new(),
        window_bytes: window_bytes(config),
    };
    let no_model = ModelId(u16::try_from(config.models.len()).unwrap_or(u16::MAX));
    for (index, stream) in config.streams.iter().enumerate() {
        let manifest_of = |model: Option<u16>| manifests.get(usize::from(model?))?.as_deref();
        let manifest = manifest_of(stream.model);
        if let Some(wrong) = manifest_of(stream.extractor).and_then(no_extractor) {
            faults.push(fault(stream, "extractor", wrong));
        }
        let shown = match layouts(stream, manifest) {
            Ok(layouts) => layouts,
            Err(wrong) => {
                faults.push(fault(
                    stream,
                    if stream.kind == StreamKind::Sensor { "model" } else { "classifier" },
                    wrong,
                ));
                continue;
            }
        };
        let id = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
        match &stream.source {
            StreamSource::Plant { filter, payload } => {
                plan.ingest.streams.push(TopicInput { id, filter: filter.clone(), payload: payload.clone() });
            }
            StreamSource::Device(source) => plan.measured.push(MeasuredStream { id, source: source.clone() }),
        }
        plan.pipeline.streams.push(StreamPlan {
            window: stream.window,
            model: stream.model.or(stream.extractor).map_or(no_model, ModelId),
            priority: stream.priority,
            deadline: stream.deadline,
        });
        plan.pipeline.distill.streams.push(stream_policy(stream, &shown.names));
        plan.pipeline.policies.push(egress_policy(stream));
        plan.inputs.push(StreamInput {
            model: stream.model.map(ModelId),
            extractor: stream.extractor.map(ModelId),
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
        return match manifest {
            Some(manifest) if manifest.tags.is_some() => {
                Err(format!("model {} marks entities: name it as extractor", manifest.id()))
            }
            Some(_) | None => Ok(Shown::default()),
        };
    }
    let channels = stream.values();
    let wanted: Vec<String> = match manifest.map(|manifest| &manifest.input.encoding) {
        Some(Encoding::Features { features, .. }) => features.iter().map(ToString::to_string).collect(),
        Some(Encoding::CharNgrams { .. } | Encoding::WordGrams(_)) | None => Vec::new(),
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
    if !shown.is_empty()
        && FeatureLayout::resolve(&shown, channels).is_err()
        && (wanted.is_empty() || resolve(&wanted).is_ok())
    {
        // The stream's own features: the configuration has told it, and the model is not to blame.
        return Ok(Shown::default());
    }
    let layout = resolve(&all)?;
    if let Some(manifest) = manifest
        && !wanted.is_empty()
        && resolve(&wanted)?.len() != wanted.len()
    {
        // Its inputs would stand in the wrong places.
        return Err(format!("model {} lists a feature twice or by a pattern", manifest.id()));
    }
    let names: Vec<Arc<str>> = if shown.is_empty() { Vec::new() } else { resolve(&shown)?.names().to_vec() };
    let positions = names.iter().filter_map(|name| layout.position(name)).collect();
    Ok(Shown { layout: Some(layout), model_features: wanted.len(), positions, names })
}

/// What is wrong with a model as an extractor.
fn no_extractor(manifest: &Manifest) -> Option<String> {
    let id = manifest.id();
    match (&manifest.tags, manifest.kind) {
        (Some(_), _) => None,
        (None, StreamKind::Sensor) => Some(format!("model {id} is for sensor streams")),
        (None, StreamKind::Report) => Some(format!("model {id} answers tasks: name it as classifier")),
    }
}

fn fault(stream: &StreamSettings, key: &str, wrong: String) -> Fault {
    let allowed = match key {
        "model" => "a sensor model whose channels are all in payload.values",
        "classifier" => "a report model with [[tasks]]",
        _ => "a report model with [tags]",
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
        extractor: stream.extractor.map(ModelId),
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

/// The door, for those who meet events after they have passed it.
pub(in crate::runtime) fn door(
    config: &Config,
    manifests: &[Option<Arc<Manifest>>],
    readings: &[Option<Reading>],
) -> Door {
    Door::new(config.streams.iter().map(egress_policy).collect(), words(config, manifests, readings))
}

/// Closed words by `ModelId`; the last entry is for streams without a model.
fn names(
    config: &Config,
    manifests: &[Option<Arc<Manifest>>],
    readings: &[Option<Reading>],
) -> Vec<ModelNames> {
    let bare = |id: &Arc<str>| ModelNames {
        id: Arc::clone(id),
        tasks: Vec::new(),
        entity_types: Vec::new(),
        vocabulary: Vec::new(),
    };
    let of = |(index, entry): (usize, &ModelEntry)| match manifests.get(index).and_then(Option::as_ref) {
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
            entity_types: entities(readings, index, Reading::entity_types),
            vocabulary: entities(readings, index, Reading::terms),
        },
        None => bare(&entry.name),
    };
    config.models.iter().enumerate().map(of).chain([bare(&Arc::from(NO_MODEL))]).collect()
}

/// A list of words of the model with this index.
fn entities(readings: &[Option<Reading>], index: usize, list: fn(&Reading) -> &[Arc<str>]) -> Vec<Arc<str>> {
    readings.get(index).and_then(Option::as_ref).map_or_else(Vec::new, |reading| list(reading).to_vec())
}

fn words(
    config: &Config,
    manifests: &[Option<Arc<Manifest>>],
    readings: &[Option<Reading>],
) -> Vec<ModelWords> {
    let of = |names: ModelNames| ModelWords {
        id: names.id,
        tasks: names
            .tasks
            .into_iter()
            .map(|task| TaskWords { task: task.task, labels: task.labels })
            .collect(),
        entity_types: names.entity_types,
        vocabulary: names.vocabulary,
    };
    names(config, manifests, readings).into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_CONFIG;

    const SENSOR: &str = include_str!("../../models/hydraulic-condition/manifest.toml");
    const REPORT: &str = include_str!("../../models/failure-mode/manifest.toml");

    fn manifest(text: &str) -> Arc<Manifest> {
        Arc::new(Manifest::parse(text).unwrap())
    }

    /// The plan of the default configuration after a change, with these models.
    fn planned(from: &str, to: &str, manifests: &[Option<Arc<Manifest>>]) -> Result<Plan, Vec<String>> {
        assert!(DEFAULT_CONFIG.contains(from), "{from} is not there");
        let text = DEFAULT_CONFIG.replace(from, to);
        plan(&Config::parse(&text).unwrap(), manifests, &[], 7)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn shipped() -> [Option<Arc<Manifest>>; 2] {
        [Some(manifest(SENSOR)), Some(manifest(REPORT))]
    }

    #[test]
    fn a_model_gets_what_it_asks_for_first_and_what_is_shown_points_into_the_layout() {
        let Ok(plan) = planned("", "", &shipped()) else { panic!("the default does not fit") };
        let Some(Encoding::Features { features, .. }) =
            shipped()[0].as_ref().map(|it| it.input.encoding.clone())
        else {
            panic!("a sensor model takes features")
        };
        let (stream, layout) = (&plan.inputs[0], plan.inputs[0].layout.as_ref().unwrap());
        assert_eq!(stream.model_features, features.len());
        assert_eq!(layout.names()[..features.len()], features);
        let policy = &plan.pipeline.distill.streams[0];
        let shown: Vec<_> = stream.shown.iter().map(|&at| Arc::clone(&layout.names()[at])).collect();
        assert_eq!(shown, policy.shown);
        // The feature with a cadence of its own is among those shown, at the place named.
        assert_eq!(policy.every.iter().map(|(at, _)| &*policy.shown[*at]).collect::<Vec<_>>(), ["vs1.rms"]);
        assert_eq!((plan.pipeline.epoch, plan.pipeline.models.len()), (7, 6));
    }

    #[test]
    fn a_model_in_the_wrong_place_is_named_with_the_right_one() {
        const TAGGER: &str = include_str!("../../tests/golden/models/tagger/manifest.toml");
        let line = "extractor = \"work-order-entities\"";
        let sensor = "extractor = \"hydraulic-condition\"";
        let report = "extractor = \"failure-mode\"";
        for (to, second, expected) in [
            ("", TAGGER, "streams[1].classifier: model tagger@1.0.0 marks entities: name it as extractor"),
            (report, REPORT, "streams[1].extractor: model failure-mode@"),
            (sensor, REPORT, "streams[1].extractor: model hydraulic-condition@2.0.0 is for sensor streams"),
        ] {
            let models = [Some(manifest(SENSOR)), Some(manifest(second))];
            let faults = planned(line, to, &models).err().expect("a fault");
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
        }
        let models = [Some(manifest(SENSOR)), Some(manifest(REPORT)), None, None, Some(manifest(TAGGER))];
        let Ok(plan) = planned("", "", &models) else { panic!("it fits") };
        assert_eq!((plan.inputs[1].model, plan.inputs[1].extractor), (Some(ModelId(1)), Some(ModelId(2))));
        assert_eq!((plan.inputs[3].model, plan.inputs[3].extractor), (None, Some(ModelId(4))));
        assert_eq!(plan.pipeline.streams[3].model, ModelId(4));
    }

    #[test]
    fn a_refused_model_is_no_fault_of_its_stream() {
        let Ok(plan) = planned("", "", &[None, None]) else { panic!("was refused") };
        assert_eq!(plan.inputs[0].model_features, 0);
        assert!(plan.inputs[0].layout.is_some(), "what is shown is still computed");
        assert!(plan.inputs[1].layout.is_none());
    }

    #[test]
    fn streams_that_do_not_fit_their_model_are_named_with_what_would() {
        let twice = SENSOR.replacen("\"cp.mean\"", "\"*.mean\"", 1);
        assert!(twice != SENSOR);
        for (from, to, manifests, expected) in [
            (", \"se\"]", "]", shipped(), "streams[0].model: model hydraulic-condition@"),
            (
                "",
                "",
                [Some(manifest(REPORT)), Some(manifest(REPORT))],
                "streams[0].model: model failure-mode@",
            ),
            (
                "",
                "",
                [Some(manifest(SENSOR)), Some(manifest(SENSOR))],
                "streams[1].classifier: model hydraulic-condition@",
            ),
            (
                "",
                "",
                [Some(manifest(&twice)), Some(manifest(REPORT))],
                "lists a feature twice or by a pattern",
            ),
        ] {
            let faults = planned(from, to, &manifests).err().expect("a fault");
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
        }
    }
}
