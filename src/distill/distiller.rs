//! The stage itself: one event per judged inference, and the decision whether it goes upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ClockQuality, EventTime};
use crate::distill::config::{DistillConfig, ForwardEvents, ModelNames, StreamPolicy, TaskNames};
use crate::distill::rate::HourlyLimit;
use crate::distill::standing::{Dwell, Observed, Standing};
use crate::flow::{
    AssetId, Change, Event, EventId, Facts, FailureReason, Inference, Judgement, Local, Named, Outcome,
    Priority, StreamId, StreamKind, Subject, TaskResult, When,
};
use crate::tally::{DropReason, Tally};

/// Sources of one stream whose state is kept.
///
/// As many as ingest distinguishes in all (4,096 series); about 150 bytes each. Further ones are still decided,
/// without memory: nothing dwells and no alarm stands. [`Distiller::stateless`] counts them.
pub const ASSETS_MAX: usize = 4096;

/// Inferences in, events out.
pub struct Distiller {
    streams: Vec<Stream>,
    models: Vec<ModelNames>,
    tally: Tally,
    stateless: u64,
}

struct Stream {
    policy: StreamPolicy,
    dwell: Dwell,
    /// Shortest of the cadences.
    every: Option<Duration>,
    assets: HashMap<AssetId, Standing>,
    limit: HourlyLimit,
    tally: Tally,
}

/// The decision on one inference.
struct Decision {
    observed: Observed,
    alarm: Option<Vec<Arc<str>>>,
    forward: Result<(), DropReason>,
}

impl Distiller {
    /// Starts with no source known. Policies are indexed by `StreamId`, models by `ModelId`.
    pub fn new(config: DistillConfig, models: Vec<ModelNames>) -> Self {
        let streams = config.streams.into_iter().map(Stream::new).collect();
        Self { streams, models, tally: Tally::new(), stateless: 0 }
    }

    /// Turns an inference into the event for the plant; `event.forward` says whether it also goes upstream.
    ///
    /// An inference without a result is dropped for the reason returned.
    pub fn judge(
        &mut self,
        inference: Inference,
        id: EventId,
        clock: ClockQuality,
    ) -> Result<Event, DropReason> {
        self.tally.received += 1;
        let Some(stream) = self.streams.get_mut(usize::from(inference.subject.stream.0)) else {
            self.tally.drop(DropReason::NoStream, 1);
            return Err(DropReason::NoStream);
        };
        stream.tally.received += 1;
        let model = self.models.get(usize::from(inference.model.0));
        let result = stream.judge(inference, model, id, clock, &mut self.stateless);
        for tally in [&mut self.tally, &mut stream.tally] {
            match &result {
                Ok((_, Ok(()))) => tally.passed += 1,
                Ok((_, Err(reason))) | Err(reason) => tally.drop(*reason, 1),
            }
        }
        result.map(|(event, _)| event)
    }

    /// Inferences in, events to forward out, everything else by reason.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same for one stream.
    pub fn stream_tally(&self, stream: StreamId) -> Option<&Tally> {
        self.streams.get(usize::from(stream.0)).map(|stream| &stream.tally)
    }

    /// Events decided without memory because their stream has more than [`ASSETS_MAX`] sources.
    pub fn stateless(&self) -> u64 {
        self.stateless
    }

    /// Sources whose state is kept, all streams together.
    pub fn assets(&self) -> usize {
        self.streams.iter().map(|stream| stream.assets.len()).sum()
    }
}

impl Stream {
    fn new(policy: StreamPolicy) -> Self {
        Self {
            dwell: Dwell { change: micros(policy.dwell), clear: micros(policy.clear_dwell) },
            every: policy.every.iter().map(|(_, every)| *every).min(),
            policy,
            assets: HashMap::new(),
            limit: HourlyLimit::default(),
            tally: Tally::new(),
        }
    }

    fn judge(
        &mut self,
        inference: Inference,
        model: Option<&ModelNames>,
        id: EventId,
        clock: ClockQuality,
        stateless: &mut u64,
    ) -> Result<(Event, Result<(), DropReason>), DropReason> {
        let (judgements, features) = match inference.outcome {
            Outcome::Judged { judgements, features } => (judgements, features),
            Outcome::Failed(reason) => return Err(drop_reason(reason)),
        };
        let model = model.ok_or(DropReason::NoModel)?;
        let results = named_results(judgements.as_slice(), &model.tasks).ok_or(DropReason::ModelFailed)?;
        let subject = inference.subject;
        let decision = self.decide(&subject, &judgements, &model.tasks, stateless);
        let shown = self.policy.shown.iter().zip(&features.values).filter(|(_, value)| value.is_finite());
        let facts = Facts {
            id,
            stream: Arc::clone(&self.policy.name),
            kind: self.policy.kind,
            when: subject.when,
            clock,
            model: Arc::clone(&model.id),
            results,
            features: shown.map(|(name, value)| Named { name: Arc::clone(name), value: *value }).collect(),
            entities: Vec::new(),
            completeness: subject.completeness.map(|completeness| completeness.ratio().get()),
            change: decision.observed.change,
            priority: if decision.observed.alarm_changed { Priority::Alarm } else { self.policy.priority },
            historical: false,
        };
        let (reference, text) = match subject.report {
            Some(report) => (report.reference, self.policy.show_text.then_some(report.text)),
            None => (None, None),
        };
        let local = Local {
            stream: subject.stream,
            asset: subject.asset,
            reference,
            text,
            entities: Vec::new(),
            alarm: decision.alarm,
            alarm_changed: decision.observed.alarm_changed,
        };
        Ok((Event { facts, local, forward: decision.forward.is_ok() }, decision.forward))
    }

    /// Updates the state of the source and decides what the event means and whether it goes upstream.
    fn decide(
        &mut self,
        subject: &Subject,
        judgements: &[Judgement],
        tasks: &[TaskNames],
        stateless: &mut u64,
    ) -> Decision {
        let at = instant(subject.when);
        let room = self.assets.len() < ASSETS_MAX || self.assets.contains_key(&subject.asset);
        let standing =
            room.then(|| self.assets.entry(subject.asset).or_insert_with(|| Standing::new(tasks.len())));
        let mut forgotten = Standing::new(0);
        let standing = standing.unwrap_or_else(|| {
            *stateless += 1;
            &mut forgotten
        });
        let mut observed = standing.observe(at, judgements, tasks, self.dwell);
        if self.policy.kind == StreamKind::Report && observed.change != Change::Cleared {
            observed.change = Change::New;
        }
        let wanted = match self.policy.events {
            ForwardEvents::All => Ok(()),
            ForwardEvents::OnChange if is_change(observed.change) => Ok(()),
            ForwardEvents::OnChange if is_due(standing.sent, at, self.every) => Ok(()),
            ForwardEvents::OnChange => Err(DropReason::Unchanged),
            ForwardEvents::None => Err(DropReason::NotForwarded),
        };
        let forward = wanted.and_then(|()| match self.policy.rate_max_per_hour {
            Some(max) if !observed.alarm_changed && !self.limit.take(at, max) => Err(DropReason::RateLimit),
            Some(_) | None => Ok(()),
        });
        if forward.is_ok() {
            standing.sent = Some(at);
        }
        Decision { observed, alarm: standing.alarm(tasks), forward }
    }
}

/// The judgements by name; `None` when they do not fit the model's tasks and labels.
fn named_results(judgements: &[Judgement], tasks: &[TaskNames]) -> Option<Vec<TaskResult>> {
    if judgements.len() != tasks.len() {
        return None;
    }
    let named = judgements.iter().zip(tasks).map(|(judgement, task)| {
        let label = task.labels.get(usize::from(judgement.label))?;
        let scores = task.labels.iter().zip(&judgement.scores);
        Some(TaskResult {
            task: Arc::clone(&task.task),
            label: Arc::clone(label),
            score: judgement.score,
            verdict: judgement.verdict,
            scores: scores.map(|(name, value)| Named { name: Arc::clone(name), value: *value }).collect(),
        })
    });
    named.collect()
}

fn drop_reason(reason: FailureReason) -> DropReason {
    match reason {
        FailureReason::Deadline => DropReason::Stale,
        FailureReason::Panicked | FailureReason::NonFinite | FailureReason::Errored => {
            DropReason::ModelFailed
        }
        FailureReason::Quarantined => DropReason::Quarantined,
    }
}

fn is_change(change: Change) -> bool {
    match change {
        Change::New | Change::Cleared => true,
        Change::Same | Change::Pending => false,
    }
}

/// Whether the features' time has come. A clock that went back by more than the cadence starts anew.
fn is_due(sent: Option<EventTime>, at: EventTime, every: Option<Duration>) -> bool {
    let Some(every) = every else { return false };
    sent.is_none_or(|sent| at.micros_since(sent).saturating_abs() >= micros(every))
}

/// The instant a subject stands for: the end of a window, the time of a report.
fn instant(when: When) -> EventTime {
    match when {
        When::Span(span) => span.to,
        When::At(at) => at,
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
