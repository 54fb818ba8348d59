//! The thread that computes features and runs models.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::features::{Extractor, FeatureLayout};
use crate::flow::{
    FailureReason, FeatureVector, Inference, Judgement, ModelId, Outcome, Subject, Verdict, Window,
};
use crate::infer::{ModelInput, ModelStatus, Registry, Work, WorkInput};
use crate::runtime::retry::IDLE_TURN;
use crate::telemetry::{Progress, Task};
use crate::text::NgramEncoder;

/// A result, with the window whose buffers can be used again.
pub(in crate::runtime) struct Judged {
    pub(in crate::runtime) inference: Inference,
    pub(in crate::runtime) window: Option<Window>,
}

/// How the input of one stream is made.
pub(in crate::runtime) struct StreamInput {
    /// The model, if there is one; otherwise only features are computed.
    pub(in crate::runtime) model: Option<ModelId>,
    /// What the model asks for, then what else is shown; `None` for reports.
    pub(in crate::runtime) layout: Option<FeatureLayout>,
    /// How many of the layout's features the model takes.
    pub(in crate::runtime) model_features: usize,
    /// Positions in the layout of the features shown.
    pub(in crate::runtime) shown: Vec<usize>,
    /// Answers below this are uncertain, whatever the manifest says.
    pub(in crate::runtime) uncertain_below: Option<f32>,
}

/// The thread's state.
pub(in crate::runtime) struct InferWorker {
    pub(in crate::runtime) work: mpsc::Receiver<Work>,
    pub(in crate::runtime) results: mpsc::Sender<Judged>,
    pub(in crate::runtime) status: watch::Sender<Vec<ModelStatus>>,
    pub(in crate::runtime) registry: Registry,
    pub(in crate::runtime) streams: Vec<StreamInput>,
    /// By model; `None` where it takes features.
    pub(in crate::runtime) encoders: Vec<Option<NgramEncoder>>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) scratch: Scratch,
}

/// Buffers kept from one piece of work to the next.
#[derive(Default)]
pub(in crate::runtime) struct Scratch {
    extractor: Extractor,
    features: FeatureVector,
    dense: Vec<f32>,
}

impl InferWorker {
    /// Runs until no more work can come and everything has been answered.
    pub(in crate::runtime) async fn run(mut self) {
        let mut reported = Uptime::ZERO;
        loop {
            self.progress.tick(Task::Infer, self.clock.uptime());
            let work = match tokio::time::timeout(IDLE_TURN, self.work.recv()).await {
                Ok(Some(work)) => Some(work),
                Ok(None) => break,
                Err(_idle) => None,
            };
            if let Some(work) = work {
                let judged = self.judge(work);
                if self.results.send(judged).await.is_err() {
                    break;
                }
            }
            let now = self.clock.uptime();
            if now.since(reported) >= IDLE_TURN {
                reported = now;
                self.status.send_replace(self.registry.status().collect());
            }
        }
        self.status.send_replace(self.registry.status().collect());
    }

    fn judge(&mut self, work: Work) -> Judged {
        let started = self.clock.uptime();
        let model = work.model;
        let outcome = match &work.input {
            WorkInput::Window(window) => self.judge_window(&work.subject, window, work.deadline),
            WorkInput::Report => self.judge_report(&work.subject, work.deadline),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Failed);
        let took = self.clock.uptime().since(started);
        self.registry.record(model, took);
        let window = match work.input {
            WorkInput::Window(window) => Some(window),
            WorkInput::Report => None,
        };
        Judged {
            inference: Inference { subject: work.subject, model, outcome, queued: work.queued, took },
            window,
        }
    }

    fn judge_window(
        &mut self,
        subject: &Subject,
        window: &Window,
        deadline: Uptime,
    ) -> Result<Outcome, FailureReason> {
        let Self { streams, scratch, registry, clock, .. } = self;
        let stream = streams.get(usize::from(subject.stream.0)).ok_or(FailureReason::Errored)?;
        // Without a layout the model was refused and nothing else is asked for.
        let layout = stream.layout.as_ref().ok_or(FailureReason::Quarantined)?;
        scratch.extractor.extract(layout, window, &mut scratch.features);
        let judgements = match stream.model {
            Some(model) => {
                let values =
                    scratch.features.values.get(..stream.model_features).ok_or(FailureReason::Errored)?;
                let completeness = subject.completeness.map(|completeness| completeness.ratio().get());
                let input = ModelInput::Features { values, completeness };
                let mut expired = || clock.uptime() > deadline;
                registry.judge(model, &input, &mut expired)?
            }
            None => Vec::new(),
        };
        let values: Vec<f32> =
            stream.shown.iter().filter_map(|&at| scratch.features.values.get(at).copied()).collect();
        let missing = u16::try_from(values.iter().filter(|value| value.is_nan()).count()).unwrap_or(u16::MAX);
        let features = FeatureVector { values, missing };
        Ok(Outcome::Judged { judgements: stricter(judgements, stream.uncertain_below), features })
    }

    fn judge_report(&mut self, subject: &Subject, deadline: Uptime) -> Result<Outcome, FailureReason> {
        let Self { streams, scratch, registry, clock, encoders, .. } = self;
        let stream = streams.get(usize::from(subject.stream.0)).ok_or(FailureReason::Errored)?;
        let model = stream.model.ok_or(FailureReason::Errored)?;
        let report = subject.report.as_ref().ok_or(FailureReason::Errored)?;
        let encoder = encoders.get_mut(usize::from(model.0)).and_then(Option::as_mut);
        // Without an encoder the model was refused. What is in the buffer then belongs to another model.
        encoder.ok_or(FailureReason::Quarantined)?.encode(report.text.expose(), &mut scratch.dense);
        let input = ModelInput::Vector { values: &scratch.dense, known_share: None };
        let mut expired = || clock.uptime() > deadline;
        let judgements = registry.judge(model, &input, &mut expired)?;
        let features = FeatureVector::default();
        Ok(Outcome::Judged { judgements: stricter(judgements, stream.uncertain_below), features })
    }
}

/// Applies the stream's own threshold on top of the model's.
fn stricter(mut judgements: Vec<Judgement>, uncertain_below: Option<f32>) -> Vec<Judgement> {
    for judgement in &mut judgements {
        if uncertain_below.is_some_and(|threshold| judgement.score < threshold) {
            judgement.verdict = judgement.verdict.max(Verdict::Uncertain);
        }
    }
    judgements
}

/// Longest time the drain waits for the models.
pub(in crate::runtime) const DRAIN_MAX: Duration = Duration::from_secs(3);
