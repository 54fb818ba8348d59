//! Made-up event streams of plants: what dictionaries are trained on and sizes measured with.
//!
//! Names of tasks, labels and terms are those of the models in this repository, read from their manifests; the plants,
//! their streams and every number are made up. The same seed makes the same events.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EventTime};
use tidegate::flow::{
    Change, Entity, EventId, Extracted, Facts, FeatureSummary, GapReason, Grain, LabelSummary, Named,
    Outbound, Priority, StreamKind, Summary, TaskResult, TaskSummary, TimeSpan, Verdict, When,
};
use tidegate::wire::Origin;

/// Where the names of a plant come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Its models are those of this repository, its channels are called as such channels often are.
    Usual,
    /// Nothing is called as anything elsewhere.
    Own,
}

const PLACES: [&str; 14] = [
    "plant",
    "site",
    "ship",
    "mill",
    "harbour",
    "terminal",
    "pump-station",
    "depot",
    "works",
    "quarry",
    "vessel",
    "factory",
    "mine",
    "my-plant",
];
const ROOMS: [&str; 12] = [
    "gateway",
    "engine",
    "hall",
    "line",
    "deck",
    "boiler-house",
    "crane",
    "unit",
    "cell",
    "workshop",
    "gateway-1",
    "press",
];
const MACHINES: [&str; 20] = [
    "hydraulics",
    "pump",
    "water-pump",
    "compressor",
    "fan",
    "motor",
    "generator",
    "conveyor",
    "gearbox",
    "chiller",
    "boiler",
    "turbine",
    "press",
    "winch",
    "crane",
    "valve",
    "thruster",
    "spindle",
    "mixer",
    "separator",
];
const DESKS: [&str; 8] =
    ["work-orders", "reports", "handovers", "excavators", "maintenance", "shift-log", "inspections", "notes"];
const CHANNELS: [&str; 32] = [
    "temperature",
    "pressure",
    "flow",
    "level",
    "speed",
    "rpm",
    "torque",
    "power",
    "current",
    "voltage",
    "frequency",
    "vibration",
    "acceleration",
    "acc",
    "humidity",
    "position",
    "load",
    "oil.temperature",
    "oil.pressure",
    "motor.current",
    "bearing.temperature",
    "vs1",
    "ts1",
    "ts2",
    "ps1",
    "fs1",
    "ce",
    "cp",
    "se",
    "x",
    "y",
    "z",
];
const FEATURES: [&str; 18] = [
    "mean",
    "mean",
    "mean",
    "rms",
    "rms",
    "std",
    "std",
    "min",
    "max",
    "p2p",
    "crest",
    "kurtosis",
    "slope",
    "median",
    "q(0.95)",
    "dominant_frequency",
    "band(2,10)",
    "skewness",
];
const LABELS: [&[&str]; 6] = [
    &["normal", "abnormal"],
    &["none", "weak", "severe"],
    &["ok", "warning", "fault"],
    &["normal", "anomaly"],
    &["healthy", "worn", "failed"],
    &["low", "normal", "high"],
];

/// What is known of a model.
#[derive(Clone)]
pub(crate) struct Model {
    name: Arc<str>,
    tasks: Vec<(Arc<str>, Vec<Arc<str>>)>,
    types: Vec<Arc<str>>,
    terms: Vec<Arc<str>>,
}

/// The models of this repository that judge samples, classify reports, and mark entities.
pub(crate) struct Models {
    sensor: Vec<Model>,
    classifiers: Vec<Model>,
    extractors: Vec<Model>,
}

impl Models {
    /// Reads the manifests.
    pub(crate) fn shipped() -> Self {
        let mut models = Self { sensor: vec![], classifiers: vec![], extractors: vec![] };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        for folder in folders {
            let Ok(manifest) = fs::read_to_string(folder.join("manifest.toml")) else { continue };
            let manifest: toml::Table = manifest.parse().unwrap();
            let model = Model::read(&manifest, &folder);
            let sensor = manifest["kind"].as_str() == Some("sensor");
            let list = match (sensor, model.tasks.is_empty()) {
                (true, _) => &mut models.sensor,
                (false, false) => &mut models.classifiers,
                (false, true) => &mut models.extractors,
            };
            list.push(model);
        }
        models
    }
}

impl Model {
    fn read(manifest: &toml::Table, folder: &Path) -> Self {
        let text = |value: &toml::Value| Arc::from(value.as_str().unwrap());
        let texts = |value: &toml::Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
        let name =
            format!("{}@{}", manifest["name"].as_str().unwrap(), manifest["version"].as_str().unwrap());
        let tasks = manifest.get("tasks").and_then(toml::Value::as_array).into_iter().flatten();
        let task_name = |task: &toml::Value| task.get("name").map_or(Arc::from(""), text);
        let types = manifest.get("tags").map_or(vec![], |tags| texts(&tags["types"]));
        let terms = fs::read_to_string(folder.join("vocabulary.json")).map_or(vec![], |vocabulary| {
            let vocabulary: serde_json::Value = serde_json::from_str(&vocabulary).unwrap();
            let terms = vocabulary["terms"].as_array().unwrap().iter();
            terms.map(|term| Arc::from(term.as_str().unwrap())).collect()
        });
        let tasks = tasks.map(|task| (task_name(task), texts(&task["labels"]))).collect();
        Self { name: name.into(), tasks, types, terms }
    }

    /// A model somebody trained at home.
    fn own(random: &mut fastrand::Rng, names: Names) -> Self {
        let tasks = (0..random.usize(1..3)).map(|index| {
            let labels = LABELS[random.usize(..LABELS.len())];
            let labels = match names {
                Names::Usual => labels.iter().map(|label| Arc::from(*label)).collect(),
                Names::Own => labels.iter().map(|_| strange(random).into()).collect(),
            };
            let task =
                if index == 0 && random.bool() { String::new() } else { word(random, names, &CHANNELS) };
            (task.into(), labels)
        });
        let tasks = tasks.collect();
        let name = format!("{}@{}.{}.0", word(random, names, &MACHINES), random.u8(1..3), random.u8(0..3));
        Self { name: name.into(), tasks, types: vec![], terms: vec![] }
    }
}

/// One stream of a plant.
struct Stream {
    name: Arc<str>,
    judge: Option<Model>,
    extractor: Option<Model>,
    /// Name, decimals, value as a whole number.
    features: Vec<(Arc<str>, i32, i64)>,
    report: bool,
    scores: bool,
    priority: Priority,
    /// Seconds.
    period: i64,
    next: i64,
    /// For each task the label of the last event.
    states: Vec<usize>,
}

/// A plant and what its gateway has to tell.
pub(crate) struct Plant {
    /// Who it is.
    pub(crate) origin: Origin,
    streams: Vec<Stream>,
    random: fastrand::Rng,
    id: EventId,
    clock: ClockQuality,
}

impl Plant {
    /// A plant of two to eight streams.
    pub(crate) fn new(models: &Models, names: Names, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = |random: &mut fastrand::Rng, list: &[&str]| {
            format!("{}-{}", word(random, names, list), random.u8(1..9)).into()
        };
        let origin = Origin { site: place(&mut random, &PLACES), gateway: place(&mut random, &ROOMS) };
        let start = 1_767_225_600 + 60 * random.i64(0..3_000_000);
        let count = random.usize(2..9);
        let streams = (0..count).map(|_| Stream::new(models, names, start, &mut random)).collect();
        let id = EventId { epoch: random.u32(1..60), number: random.u64(1..60_000) };
        let clock = [ClockQuality::Synced, ClockQuality::Synced, ClockQuality::Unknown][random.usize(..3)];
        Self { origin, streams, random, id, clock }
    }

    /// The next so many events, in the order of their time.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Outbound> {
        (0..count).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Outbound {
        let stream = self.streams.iter_mut().min_by_key(|stream| stream.next).unwrap();
        let mut facts = stream.event(&mut self.random, self.clock);
        self.id.number += 1 + u64::from(self.random.u8(..) < 10);
        facts.id = self.id;
        Outbound::passed(facts)
    }

    /// What is left of so many hours of each stream, and now and then a gap.
    pub(crate) fn summaries(&mut self, hours: usize) -> Vec<Outbound> {
        let mut events = Vec::new();
        for _ in 0..hours {
            for stream in &mut self.streams {
                let mut facts = stream.summary(&mut self.random, self.clock);
                self.id.number += 1;
                facts.id = EventId { number: self.id.number + (1 << 48), ..self.id };
                events.push(Outbound::passed(facts));
            }
        }
        events
    }
}

impl Stream {
    fn new(models: &Models, names: Names, start: i64, random: &mut fastrand::Rng) -> Self {
        let report = random.u8(..) < 100;
        let shipped = names == Names::Usual && random.u8(..) < 160;
        let pick = |list: &[Model], random: &mut fastrand::Rng| list[random.usize(..list.len())].clone();
        let judge = match (report, shipped) {
            (true, true) => Some(pick(&models.classifiers, random)),
            (false, true) => Some(pick(&models.sensor, random)),
            (false, false) if random.bool() => None,
            (_, false) => Some(Model::own(random, names)),
        };
        let extractor =
            (report && names == Names::Usual && random.bool()).then(|| pick(&models.extractors, random));
        let features = if report { 0 } else { random.usize(if judge.is_some() { 0..5 } else { 1..9 }) };
        let feature = |_| {
            let name =
                format!("{}.{}", word(random, names, &CHANNELS), FEATURES[random.usize(..FEATURES.len())]);
            (name.into(), random.i32(0..4), random.i64(10..90_000))
        };
        let features: Vec<_> = (0..features).map(feature).collect();
        let tasks = judge.as_ref().map_or(0, |judge| judge.tasks.len());
        let list: &[&str] = if report { &DESKS } else { &MACHINES };
        let name = word(random, names, list);
        let numbered = !report && random.bool();
        Self {
            name: if numbered { format!("{name}-{}", random.u8(1..5)).into() } else { name.into() },
            judge,
            extractor,
            features,
            report,
            scores: random.u8(..) < 60,
            priority: [Priority::Normal, Priority::Normal, Priority::Bulk, Priority::Alarm]
                [random.usize(..4)],
            period: if report { 1_700 } else { [1, 10, 60, 60, 60, 600][random.usize(..6)] },
            next: start + if report { random.i64(0..3_600) } else { 0 },
            states: vec![0; tasks],
        }
    }

    fn event(&mut self, random: &mut fastrand::Rng, clock: ClockQuality) -> Facts {
        let from = self.next;
        self.next += if self.report { random.i64(5..2 * self.period) } else { self.period };
        let mut changed = false;
        let mut results = Vec::new();
        for (state, (task, labels)) in
            self.states.iter_mut().zip(self.judge.iter().flat_map(|judge| &judge.tasks))
        {
            if random.u8(..) < if self.report { 230 } else { 12 } {
                let state_new = random.usize(..labels.len());
                changed |= *state != state_new;
                *state = state_new;
            }
            results.push(judged(task, labels, *state, self.scores, random));
        }
        for (_, _, value) in &mut self.features {
            let step = (value.unsigned_abs() / 40).clamp(2, 400).cast_signed();
            *value += random.i64(-step..=step);
        }
        let mut facts = self.blank(from, clock);
        facts.results = results;
        facts.features =
            self.features.iter().map(|(name, decimals, value)| named(name, *decimals, *value)).collect();
        facts.completeness =
            (!self.report).then(|| hundredths(if random.u8(..) < 200 { 100 } else { random.i64(90..100) }));
        if let Some(extractor) = &self.extractor {
            facts.entities = entities(extractor, random);
            let verdict = verdict(random.i64(0..100));
            facts.extraction = Some(Extracted { model: Arc::clone(&extractor.name), verdict });
        }
        facts.change = if changed || self.report { Change::New } else { Change::Same };
        facts
    }

    fn blank(&self, from: i64, clock: ClockQuality) -> Facts {
        let at = |second: i64| EventTime(second * 1_000_000);
        let model = self
            .judge
            .as_ref()
            .or(self.extractor.as_ref())
            .map_or(Arc::from(""), |model| Arc::clone(&model.name));
        Facts {
            id: EventId { epoch: 0, number: 0 },
            stream: Arc::clone(&self.name),
            kind: if self.report { StreamKind::Report } else { StreamKind::Sensor },
            when: if self.report {
                When::At(at(from))
            } else {
                When::Span(TimeSpan { from: at(from), to: at(from + self.period) })
            },
            clock,
            model,
            results: vec![],
            features: vec![],
            entities: vec![],
            extraction: None,
            completeness: None,
            change: Change::Same,
            priority: self.priority,
            historical: false,
            summary: None,
        }
    }

    fn summary(&mut self, random: &mut fastrand::Rng, clock: ClockQuality) -> Facts {
        let from = self.next / 3_600 * 3_600;
        self.next = from + 3_600;
        let mut facts = self.blank(from, clock);
        facts.historical = true;
        let at = |second: i64| EventTime((from + second) * 1_000_000);
        facts.when = When::Span(TimeSpan { from: at(0), to: at(3_600) });
        let events = 3_600 / self.period.unsigned_abs().max(1);
        if random.u8(..) < 10 {
            let grain = Grain::Gap(GapReason::ALL[random.usize(..4)]);
            (facts.stream, facts.model) = (facts.priority.as_str().into(), "".into());
            let events = random.u64(1..5_000);
            facts.summary = Some(Arc::new(Summary { grain, events, tasks: vec![], features: vec![] }));
            return facts;
        }
        let label = |(index, label): (usize, &Arc<str>), random: &mut fastrand::Rng| LabelSummary {
            label: Arc::clone(label),
            count: if index == 0 { events.saturating_sub(2) } else { random.u64(1..4) },
            first: at(random.i64(0..30) * 60),
            last: at(3_600 - self.period.min(600)),
            longest: Duration::from_secs(random.u64(1..60) * 60),
        };
        let tasks = self.judge.iter().flat_map(|judge| &judge.tasks).map(|(task, labels)| TaskSummary {
            task: Arc::clone(task),
            lead: Duration::ZERO,
            trail: Duration::ZERO,
            labels: labels
                .iter()
                .enumerate()
                .filter(|(index, _)| *index < 2)
                .map(|item| label(item, random))
                .collect(),
        });
        let tasks = tasks.collect();
        let features = self.features.iter().map(|(name, decimals, value)| {
            let mut near =
                |share: i64| named(name, *decimals, value + value / 100 * share + random.i64(-1..2)).value;
            FeatureSummary {
                name: Arc::clone(name),
                count: events,
                min: near(-3),
                max: near(4),
                mean: near(0),
                quantiles: [near(-2), near(0), near(2)],
                sketch: Arc::default(),
            }
        });
        let features = features.collect();
        facts.summary = Some(Arc::new(Summary { grain: Grain::Hour, events, tasks, features }));
        facts
    }
}

fn judged(
    task: &Arc<str>,
    labels: &[Arc<str>],
    state: usize,
    scores: bool,
    random: &mut fastrand::Rng,
) -> TaskResult {
    let sure = if random.u8(..) < 150 { 100 } else { random.i64(40..100) };
    let mut left = 100 - sure;
    let scores = labels.iter().enumerate().filter(|_| scores).map(|(index, label)| {
        let share = if index == state { sure } else { left / 2 };
        left -= if index == state { 0 } else { share };
        Named { name: Arc::clone(label), value: hundredths(share) }
    });
    let scores = scores.collect();
    TaskResult {
        task: Arc::clone(task),
        label: Arc::clone(&labels[state]),
        score: hundredths(sure),
        verdict: verdict(sure),
        scores,
    }
}

fn entities(model: &Model, random: &mut fastrand::Rng) -> Vec<Entity> {
    let count = random.usize(0..5);
    let entity = |_| {
        let value = (!model.terms.is_empty() && random.u8(..) < 180).then(|| {
            // Few terms make up most reports.
            let most = if random.bool() { 60.min(model.terms.len()) } else { model.terms.len() };
            Arc::clone(&model.terms[random.usize(..most)])
        });
        Entity { kind: Arc::clone(&model.types[random.usize(..model.types.len())]), value }
    };
    (0..count).map(entity).collect()
}

fn verdict(hundredths: i64) -> Verdict {
    match hundredths {
        60.. => Verdict::Accepted,
        20..60 => Verdict::Uncertain,
        _ => Verdict::OutOfScope,
    }
}

fn hundredths(share: i64) -> f32 {
    (share as f64 / 100.0) as f32
}

fn named(name: &Arc<str>, decimals: i32, value: i64) -> Named {
    Named { name: Arc::clone(name), value: (value as f64 / 10_f64.powi(decimals)) as f32 }
}

/// A name out of a list, or one that nobody has heard of.
fn word(random: &mut fastrand::Rng, names: Names, list: &[&str]) -> String {
    match names {
        Names::Usual => list[random.usize(..list.len())].to_owned(),
        Names::Own => strange(random),
    }
}

fn strange(random: &mut fastrand::Rng) -> String {
    let syllable = |random: &mut fastrand::Rng| {
        let letter = |random: &mut fastrand::Rng, all: &[u8]| char::from(all[random.usize(..all.len())]);
        [letter(random, b"bdfgjklmnprtvwxz"), letter(random, b"aeiouy")]
    };
    (0..random.usize(3..7)).flat_map(|_| syllable(random)).collect()
}
