//! The gateway's memory: the real cores, wired as the shells wire them. A power cut takes all of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::{ClockQuality, UtcTime};
use tidegate::distill::{DistillConfig, ForwardEvents, ModelNames, StreamPolicy, TaskNames};
use tidegate::egress::{Declared, Entities, ModelWords, Policy, TaskWords};
use tidegate::flow::{
    Extraction, FailureReason, FeatureVector, FoundEntity, Inference, Judgement, ModelId, Outcome, Priority,
    StreamId, StreamKind, Verdict,
};
use tidegate::forward::{ForwardConfig, LaneStart, Moment, Session};
use tidegate::governor::{Governor, GovernorConfig};
use tidegate::infer::schedule::HOLD_UP_MAX;
use tidegate::infer::{Batch, ScheduleConfig, Work, WorkInput};
use tidegate::outbox::{Lane, Outbox, OutboxConfig, OutboxError, WhenFull};
use tidegate::pipeline::{Pipeline, PipelinePlan, StreamPlan};
use tidegate::units::{BitRate, Bytes, Celsius, Ratio};
use tidegate::window::{Length, WindowConfig};
use tidegate::wire::Encoder;

use crate::crash_disk::CrashDisk;

/// Work waiting for the fake engine at most.
pub(crate) const QUEUE_MAX: usize = 6;

const MODEL: &str = "sim@1.0.0";
const LABELS: [&str; 2] = ["good", "worn"];
const MARKER: &str = "marker@1.0.0";
const ENTITY: &str = "Item";
const TERM: &str = "pump";
const FEATURE: &str = "x.mean";

/// Everything that is lost with the power.
pub(crate) struct Gateway {
    pub(crate) pipeline: Pipeline,
    pub(crate) outbox: Outbox<CrashDisk>,
    /// Records that the outbox brought along when it was opened.
    pub(crate) recovered: u64,
    pub(crate) session: Session,
    pub(crate) governor: Governor,
    pub(crate) encoder: Encoder,
    /// Work at the engine.
    pub(crate) at_engine: VecDeque<Batch>,
    /// Records appended since the last sync.
    pub(crate) unsynced: u32,
    pub(crate) sync_due: bool,
    /// The forwarder has not heard yet of what is durable.
    pub(crate) untold: bool,
}

/// What the seed sets of the configuration.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) outbox: OutboxConfig,
    pub(crate) forward: ForwardConfig,
    pub(crate) every: Duration,
    pub(crate) rate: Option<u32>,
    /// The broker dies at every so many-th event.
    pub(crate) poison: Option<u64>,
    /// It refuses it instead.
    pub(crate) says_no: bool,
}

impl Settings {
    pub(crate) fn of(random: &mut fastrand::Rng) -> Self {
        let segment_bytes = Bytes(4096);
        let size = OutboxConfig::size_min(segment_bytes).0;
        Self {
            outbox: OutboxConfig {
                segment_bytes,
                free_min: Bytes(0),
                size_max: Bytes(size * random.u64(1..5)),
                age_max: Duration::from_secs(random.u64(600..100_000)),
                when_full: if random.bool() { WhenFull::DropOldest } else { WhenFull::RejectNew },
                sync_interval: Duration::from_millis(random.u64(1..1_000)),
                batch_records_max: random.u32(1..20),
            },
            forward: ForwardConfig {
                in_flight: random.u16(1..12),
                batch_records_max: random.u32(1..40),
                batch_bytes_max: Bytes(random.u64(100..8_000)),
                rate: random.bool().then(|| BitRate(random.u64(2_000..50_000))),
                daily: (random.u8(..4) == 0).then(|| Bytes(random.u64(20_000..80_000))),
                alarm_reserve: Ratio::of(1, 5),
                backoff_min: Duration::from_secs(1),
                backoff_max: Duration::from_mins(1),
                ack_timeout: Duration::from_secs(20),
                keep_alive: Duration::from_mins(2),
                tls: false,
            },
            every: Duration::from_secs([10, 30, 120][random.usize(..3)]),
            rate: random.bool().then(|| random.u32(20..400)),
            poison: (random.u8(..3) == 0).then(|| random.u64(20..80)),
            says_no: random.bool(),
        }
    }
}

/// The epoch of an empty directory is 1, whenever the world began.
const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

impl Gateway {
    /// Opens the outbox and starts with nothing else.
    pub(crate) fn open(
        disk: &CrashDisk,
        settings: &Settings,
        entropy: u64,
        now: Moment,
        forget_note: bool,
    ) -> Result<Self, OutboxError> {
        let opened = Outbox::open(disk.clone(), settings.outbox.clone(), entropy, NO_CLOCK)?;
        let outbox = opened.outbox;
        let start = |lane| LaneStart { acked: outbox.acked(lane).0, done: outbox.done(lane).to_vec() };
        let note = if forget_note { &[] } else { outbox.remembered() };
        let random = (entropy % 1_000) as f64 / 1e3;
        let starts = Lane::ALL.map(start);
        let mut session = Session::new(settings.forward.clone(), &starts, note, now, random);
        for (number, lane) in (0_u8..).zip(Lane::ALL) {
            session.durable(number, outbox.durable(lane).0);
        }
        Ok(Self {
            pipeline: Pipeline::new(plan(settings, outbox.epoch())),
            recovered: outbox.tally().received,
            outbox,
            session,
            governor: Governor::new(GovernorConfig {
                has_sensor: true,
                ok: Celsius(50.0),
                memory: Bytes(100 << 20),
                forecast: Duration::from_secs(30),
                dwell: Duration::from_secs(30),
                dwell_max: Duration::from_mins(2),
                ..GovernorConfig::default()
            }),
            encoder: Encoder::new(),
            at_engine: VecDeque::new(),
            unsynced: 0,
            sync_due: false,
            untold: false,
        })
    }
}

/// Two sensor streams, the first with the alarm lane, and one of reports.
pub(crate) fn plan(settings: &Settings, epoch: u32) -> PipelinePlan {
    let names = ["alarms", "machines", "reports"].map(Arc::<str>::from);
    let priorities = [Priority::Alarm, Priority::Normal, Priority::Bulk];
    let lengths = [
        Some(Length::Count { samples: 10, hop: 5 }),
        Some(Length::Time { length: Duration::from_secs(20), hop: Duration::from_secs(10) }),
        None,
    ];
    let window = |(stream, length): (u16, Option<Length>)| {
        length.map(|length| WindowConfig {
            stream: StreamId(stream),
            channels: 1,
            length,
            lateness: Duration::from_secs(3),
            idle: Duration::from_secs(15),
            future_max: Duration::from_mins(1),
            period: None,
            samples_max: 200,
        })
    };
    let stream = |(index, priority): (u16, Priority)| StreamPlan {
        window: window((index, lengths[usize::from(index)])),
        model: ModelId(0),
        priority,
        deadline: Duration::from_secs(40),
    };
    let policy = |(index, name): (usize, &Arc<str>)| StreamPolicy {
        name: Arc::clone(name),
        kind: if index == 2 { StreamKind::Report } else { StreamKind::Sensor },
        priority: priorities[index],
        events: if index == 1 { ForwardEvents::OnChange } else { ForwardEvents::All },
        dwell: Duration::from_secs(20),
        clear_dwell: Duration::from_secs(30),
        rate_max_per_hour: settings.rate,
        shown: if index == 2 { vec![] } else { vec![FEATURE.into()] },
        every: if index == 2 { vec![] } else { vec![(0, settings.every)] },
        show_text: false,
        extractor: (index == 2).then_some(ModelId(1)),
    };
    PipelinePlan {
        streams: (0..).zip(priorities).map(stream).collect(),
        distill: DistillConfig { streams: names.iter().enumerate().map(policy).collect() },
        models: models(),
        policies: names
            .iter()
            .map(|name| Policy {
                stream: Arc::clone(name),
                features: vec![Declared { name: FEATURE.into(), resolution: 0.01 }],
                entities: Entities::Vocabulary,
                scores: true,
            })
            .collect(),
        words: words(),
        epoch,
        schedule: ScheduleConfig {
            pieces_max: QUEUE_MAX,
            bytes_max: Bytes(16 << 20),
            batch_max: Vec::new(),
            costs: Vec::new(),
            hold_up_max: HOLD_UP_MAX,
        },
    }
}

fn labels() -> Vec<Arc<str>> {
    LABELS.map(Arc::from).to_vec()
}

/// Who answers tasks, and who marks entities.
fn models() -> Vec<ModelNames> {
    vec![
        ModelNames {
            id: MODEL.into(),
            tasks: vec![TaskNames { task: "".into(), labels: labels(), alarm: vec![1] }],
            entity_types: vec![],
            vocabulary: vec![],
        },
        ModelNames {
            id: MARKER.into(),
            tasks: vec![],
            entity_types: vec![ENTITY.into()],
            vocabulary: vec![TERM.into()],
        },
    ]
}

/// Every word they can say.
fn words() -> Vec<ModelWords> {
    vec![
        ModelWords {
            id: MODEL.into(),
            tasks: vec![TaskWords { task: "".into(), labels: labels() }],
            entity_types: vec![],
            vocabulary: vec![],
        },
        ModelWords {
            id: MARKER.into(),
            tasks: vec![],
            entity_types: vec![ENTITY.into()],
            vocabulary: vec![TERM.into()],
        },
    ]
}

/// The fake engine: what it says follows from the window alone.
pub(crate) fn judge(work: &Work, failure: Option<FailureReason>) -> Outcome {
    if let Some(failure) = failure {
        return Outcome::Failed(failure);
    }
    let mean = match &work.input {
        WorkInput::Window(window) => {
            let values = || window.series.iter().flat_map(|series| &series.values);
            Some(values().sum::<f32>() / values().count().max(1) as f32)
        }
        WorkInput::Report => None,
    };
    let wear = mean.map_or(0.9, |mean| mean.clamp(0.0, 1.0));
    let label = u16::from(wear > 0.5);
    let score = wear.max(1.0 - wear);
    let judgement = Judgement {
        label,
        score,
        scores: vec![1.0 - wear, wear],
        verdict: if score < 0.6 { Verdict::Uncertain } else { Verdict::Accepted },
    };
    let features = FeatureVector { values: mean.into_iter().collect(), missing: 0 };
    let extraction = work.subject.report.as_ref().and_then(|report| marked(report.text.expose()));
    Outcome::Judged { judgements: vec![judgement], features, extraction }
}

/// What the fake extractor finds: of a third of the texts nothing, because it fails.
fn marked(text: &str) -> Option<Extraction> {
    let sum: u32 = text.bytes().map(u32::from).sum();
    let entity = |value| FoundEntity { kind: 0, value, start: 0, end: 1, score: 0.9, by_rule: false };
    let verdict = if sum.is_multiple_of(2) { Verdict::Accepted } else { Verdict::Uncertain };
    (!sum.is_multiple_of(3)).then(|| Extraction {
        found: vec![entity(None), entity(Some(0))],
        untold: 0,
        verdict,
    })
}

/// The inference of a piece of work.
pub(crate) fn inference(work: Work, outcome: Outcome, took: Duration) -> Inference {
    Inference { subject: work.subject, model: work.model, outcome, queued: work.queued, took, spent: took }
}
