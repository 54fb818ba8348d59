//! The stage itself: one event per judged inference, and the decision whether it goes upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ClockQuality, EventTime};
use crate::distill::config::{DistillConfig, ForwardEvents, ModelNames, StreamPolicy, TaskNames};
use crate::distill::rate::HourlyLimit;
use crate::distill::standing::{Dwell, Observed, Standing};
use crate::flow::{
    AssetId, Change, Entity, Event, EventId, Extracted, Facts, FoundEntity, Inference, Judgement, Local,
    LocalEntity, ModelId, Named, Outcome, Priority, Private, StreamId, StreamKind, Subject, TaskResult, When,
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
        let result = stream.judge(inference, &self.models, id, clock, &mut self.stateless);
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
        models: &[ModelNames],
        id: EventId,
        clock: ClockQuality,
        stateless: &mut u64,
    ) -> Result<(Event, Result<(), DropReason>), DropReason> {
        let (judgements, features, extraction) = match inference.outcome {
            Outcome::Judged { judgements, features, extraction } => (judgements, features, extraction),
            Outcome::Failed(reason) => return Err(reason.drop_reason()),
        };
        let names = |id: ModelId| models.get(usize::from(id.0));
        let model = names(inference.model).ok_or(DropReason::NoModel)?;
        let marker = self.policy.extractor.and_then(names);
        let results = named_results(judgements.as_slice(), &model.tasks).ok_or(DropReason::ModelFailed)?;
        let subject = inference.subject;
        let decision = self.decide(&subject, &judgements, &model.tasks, stateless);
        let extraction = extraction.zip(marker).zip(subject.report.as_ref());
        let (extracted, marked) = match extraction {
            Some(((extraction, marker), report)) => {
                let extracted = Extracted { model: Arc::clone(&marker.id), verdict: extraction.verdict };
                (Some(extracted), named_entities(&extraction.found, marker, report.text.expose()))
            }
            None => (None, Vec::new()),
        };
        let (entities, places) = marked.into_iter().unzip();
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
            entities,
            extraction: extracted,
            completeness: subject.completeness.map(|completeness| completeness.ratio().get()),
            change: decision.observed.change,
            priority: if decision.observed.alarm_changed { Priority::Alarm } else { self.policy.priority },
            historical: false,
            summary: None,
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
            entities: places,
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

/// The entities by name, each with its place; one whose type, term or place there is not is left out.
fn named_entities(found: &[FoundEntity], names: &ModelNames, text: &str) -> Vec<(Entity, LocalEntity)> {
    let named = found.iter().filter_map(|entity| {
        let kind = Arc::clone(names.entity_types.get(usize::from(entity.kind))?);
        let term = |index: u16| names.vocabulary.get(usize::from(index)).map(Arc::clone);
        let words = text.get(entity.start as usize..entity.end as usize)?;
        let place = LocalEntity {
            text: Private::new(words.to_owned()),
            start: entity.start,
            end: entity.end,
            score: entity.score,
        };
        Some((Entity { kind, value: entity.value.and_then(term) }, place))
    });
    named.collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Uptime;
    use crate::flow::{Completeness, Extraction, FailureReason, FeatureVector, Report, TimeSpan, Verdict};

    const SECOND: i64 = 1_000_000;

    fn policy(events: ForwardEvents) -> StreamPolicy {
        StreamPolicy {
            name: "hydraulics-1".into(),
            kind: StreamKind::Sensor,
            priority: Priority::Normal,
            events,
            dwell: Duration::from_secs(2),
            clear_dwell: Duration::from_secs(3),
            rate_max_per_hour: None,
            shown: vec!["vs1.rms".into(), "ts1.mean".into()],
            every: vec![],
            show_text: false,
            extractor: None,
        }
    }

    fn model() -> ModelNames {
        let labels = ["none", "weak", "severe", "broken"].map(Arc::from).to_vec();
        ModelNames {
            id: "pump@1.0.0".into(),
            tasks: vec![TaskNames { task: "".into(), labels, alarm: vec![2, 3] }],
            entity_types: vec![],
            vocabulary: vec![],
        }
    }

    fn distiller(policy: StreamPolicy) -> Distiller {
        Distiller::new(DistillConfig { streams: vec![policy] }, vec![model()])
    }

    fn window(asset: u32, at: i64, outcome: Outcome) -> Inference {
        let span = TimeSpan { from: EventTime(at.saturating_sub(SECOND)), to: EventTime(at) };
        Inference {
            subject: Subject {
                stream: StreamId(0),
                asset: AssetId(asset),
                when: When::Span(span),
                completeness: Some(Completeness { expected: 100, present: 98, late_dropped: 0, gaps: 0 }),
                report: None,
            },
            model: ModelId(0),
            outcome,
            queued: Uptime::ZERO,
            took: Duration::ZERO,
            spent: Duration::ZERO,
        }
    }

    fn judged(label: u16, verdict: Verdict) -> Outcome {
        let scores = vec![0.01, 0.01, 0.01, 0.97];
        Outcome::Judged {
            judgements: vec![Judgement { label, score: 0.97, scores, verdict }],
            features: FeatureVector { values: vec![0.61, f32::NAN], missing: 1 },
            extraction: None,
        }
    }

    fn report(at: i64, label: u16) -> Inference {
        let text = Private::new("pump leaks".to_owned());
        let report = Report {
            stream: StreamId(0),
            asset: AssetId(0),
            at: EventTime(at),
            received: Uptime::ZERO,
            reference: Some(Private::new("WO-1".to_owned())),
            text,
            class: None,
        };
        let mut inference = window(0, at, judged(label, Verdict::Accepted));
        inference.subject.when = When::At(EventTime(at));
        inference.subject.completeness = None;
        inference.subject.report = Some(report);
        inference
    }

    const ID: EventId = EventId { epoch: 7, number: 1 };

    /// Judges windows of one source, one per second, and says which went upstream.
    fn forwarded(distiller: &mut Distiller, labels: &[u16]) -> Vec<bool> {
        let judge = |(second, label): (usize, &u16)| {
            let at = i64::try_from(second).unwrap() * SECOND;
            let inference = window(0, at, judged(*label, Verdict::Accepted));
            distiller.judge(inference, ID, ClockQuality::Synced).map(|event| event.forward).unwrap()
        };
        labels.iter().enumerate().map(judge).collect()
    }

    #[test]
    fn an_event_carries_names_in_place_of_indices_and_only_features_that_are_numbers() {
        let mut distiller = distiller(policy(ForwardEvents::All));
        let event = distiller.judge(window(0, 0, judged(2, Verdict::Accepted)), ID, ClockQuality::Unknown);
        let Ok(event) = event else { panic!("was judged") };
        assert_eq!(&*event.facts.model, "pump@1.0.0");
        assert_eq!(&*event.facts.results[0].label, "severe");
        assert_eq!(event.facts.results[0].scores.len(), 4);
        assert_eq!(event.facts.features, [Named { name: "vs1.rms".into(), value: 0.61 }]);
        assert_eq!(event.facts.completeness, Some(0.98));
        assert_eq!(event.facts.clock, ClockQuality::Unknown);
        assert_eq!(event.facts.priority, Priority::Alarm);
        assert_eq!(event.local.alarm, Some(vec![Arc::from("severe")]));
    }

    #[test]
    fn the_policy_says_which_events_go_upstream() {
        let labels = [0, 0, 0, 1, 1, 1, 1];
        let all = forwarded(&mut distiller(policy(ForwardEvents::All)), &labels);
        assert_eq!(all, [true; 7]);
        let mut on_change = distiller(policy(ForwardEvents::OnChange));
        assert_eq!(forwarded(&mut on_change, &labels), [true, false, false, false, false, true, false]);
        assert_eq!(on_change.tally().dropped(DropReason::Unchanged), 5);
        let mut none = distiller(policy(ForwardEvents::None));
        assert_eq!(forwarded(&mut none, &[0, 0, 2, 2, 2, 2]), [false; 6]);
        assert_eq!(none.tally().dropped(DropReason::NotForwarded), 6);
    }

    #[test]
    fn features_go_upstream_at_their_cadence_even_when_nothing_changes() {
        let mut policy = policy(ForwardEvents::OnChange);
        policy.every = vec![(0, Duration::from_secs(3)), (1, Duration::from_mins(1))];
        let sent = forwarded(&mut distiller(policy), &[0; 7]);
        assert_eq!(sent, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn the_rate_limit_holds_back_events_but_no_alarm() {
        let mut policy = policy(ForwardEvents::All);
        policy.rate_max_per_hour = Some(3);
        let mut distiller = distiller(policy);
        let sent = forwarded(&mut distiller, &[0, 0, 0, 2, 2, 2, 2]);
        assert_eq!(sent, [true, true, true, false, false, true, false]);
        assert_eq!(distiller.tally().dropped(DropReason::RateLimit), 3);
    }

    /// A report of a stream whose entities model 1 marks; without a label where `label` is `None`.
    fn marked(label: Option<u16>, extraction: Option<Extraction>) -> Event {
        let mut policy = policy(ForwardEvents::All);
        (policy.kind, policy.extractor) = (StreamKind::Report, Some(ModelId(1)));
        let marker = ModelNames {
            id: "marker@1.0.0".into(),
            tasks: vec![],
            entity_types: vec!["Item".into(), "State".into()],
            vocabulary: vec!["hydraulic pump".into()],
        };
        let mut distiller = Distiller::new(DistillConfig { streams: vec![policy] }, vec![model(), marker]);
        let mut inference = report(0, label.unwrap_or(0));
        if label.is_none() {
            inference.model = ModelId(1);
        }
        if let Outcome::Judged { judgements, extraction: slot, .. } = &mut inference.outcome {
            *slot = extraction;
            judgements.truncate(usize::from(label.is_some()));
        }
        let Ok(event) = distiller.judge(inference, ID, ClockQuality::Synced) else { panic!("was judged") };
        event
    }

    #[test]
    fn entities_get_their_names_and_their_places_stay_in_the_plant() {
        let entity =
            |kind, value, start, end| FoundEntity { kind, value, start, end, score: 0.9, by_rule: false };
        let found = vec![
            entity(0, Some(0), 0, 4),
            entity(1, None, 5, 10),
            entity(7, None, 0, 4),
            entity(0, Some(9), 0, 4),
            entity(0, None, 5, 99),
        ];
        let extraction = Extraction { found, untold: 0, verdict: Verdict::Uncertain };
        let event = marked(Some(2), Some(extraction.clone()));
        let entity =
            |kind: &str, value: Option<&str>| Entity { kind: kind.into(), value: value.map(Arc::from) };
        let expected = [entity("Item", Some("hydraulic pump")), entity("State", None), entity("Item", None)];
        assert_eq!(event.facts.entities, expected, "what has no type or no place is left out");
        let places: Vec<_> =
            event.local.entities.iter().map(|place| (place.text.expose(), place.start)).collect();
        assert_eq!(places, [("pump", 0), ("leaks", 5), ("pump", 0)]);
        let extracted = event.facts.extraction.clone().unwrap();
        assert_eq!((&*event.facts.model, &*extracted.model), ("pump@1.0.0", "marker@1.0.0"));
        assert_eq!((event.facts.verdict(), extracted.verdict), (Verdict::Accepted, Verdict::Uncertain));
        let alone = marked(None, Some(extraction));
        assert!(alone.facts.results.is_empty() && alone.facts.change == Change::New && alone.forward);
        assert_eq!((&*alone.facts.model, alone.facts.verdict()), ("marker@1.0.0", Verdict::Uncertain));
        let failed = marked(Some(2), None);
        assert!(failed.facts.extraction.is_none() && failed.facts.results.len() == 1);
    }

    #[test]
    fn every_report_counts_as_new_and_its_text_stays_unless_shown() {
        let mut policy = policy(ForwardEvents::OnChange);
        policy.kind = StreamKind::Report;
        (policy.dwell, policy.clear_dwell) = (Duration::ZERO, Duration::ZERO);
        for show_text in [false, true] {
            policy.show_text = show_text;
            let mut distiller = distiller(policy.clone());
            for (second, label, change) in
                [(0, 0, Change::New), (1, 0, Change::New), (1, 2, Change::New), (2, 0, Change::Cleared)]
            {
                let event = distiller.judge(report(second * SECOND, label), ID, ClockQuality::Synced);
                let Ok(event) = event else { panic!("was judged") };
                assert_eq!(event.facts.change, change);
                assert!(event.forward);
                assert_eq!(event.local.text.is_some(), show_text);
                assert!(event.local.reference.is_some());
            }
        }
    }

    #[test]
    fn work_without_a_result_is_dropped_for_its_reason() {
        for (failure, reason) in [
            (FailureReason::Deadline, DropReason::Stale),
            (FailureReason::Panicked, DropReason::ModelFailed),
            (FailureReason::NonFinite, DropReason::ModelFailed),
            (FailureReason::Errored, DropReason::ModelFailed),
            (FailureReason::Hung, DropReason::Stale),
            (FailureReason::Quarantined, DropReason::Quarantined),
            (FailureReason::NoRoom, DropReason::Budget),
        ] {
            let mut distiller = distiller(policy(ForwardEvents::All));
            let result = distiller.judge(window(0, 0, Outcome::Failed(failure)), ID, ClockQuality::Synced);
            assert_eq!(result.err(), Some(reason));
            assert_eq!(distiller.tally().dropped(reason), 1);
            assert!(distiller.tally().balances(0));
        }
    }

    #[test]
    fn results_that_do_not_fit_the_model_are_dropped() {
        let mut distiller = distiller(policy(ForwardEvents::All));
        let beyond = window(0, 0, judged(9, Verdict::Accepted));
        assert_eq!(distiller.judge(beyond, ID, ClockQuality::Synced).err(), Some(DropReason::ModelFailed));
        let mut unknown = window(0, 0, judged(0, Verdict::Accepted));
        unknown.model = ModelId(5);
        assert_eq!(distiller.judge(unknown, ID, ClockQuality::Synced).err(), Some(DropReason::NoModel));
        let mut unknown = window(0, 0, judged(0, Verdict::Accepted));
        unknown.subject.stream = StreamId(5);
        assert_eq!(distiller.judge(unknown, ID, ClockQuality::Synced).err(), Some(DropReason::NoStream));
        assert!(distiller.tally().balances(0));
    }

    #[test]
    fn sources_beyond_the_limit_are_decided_without_memory() {
        let mut distiller = distiller(policy(ForwardEvents::OnChange));
        for asset in 0..u32::try_from(ASSETS_MAX).unwrap() + 10 {
            let event =
                distiller.judge(window(asset, 0, judged(2, Verdict::Accepted)), ID, ClockQuality::Synced);
            assert!(event.is_ok());
        }
        assert_eq!(distiller.assets(), ASSETS_MAX);
        assert_eq!(distiller.stateless(), 10);
        assert!(distiller.tally().balances(0));
    }

    fn any_step() -> impl Strategy<Value = i64> {
        prop_oneof![
            8 => 0..3 * SECOND,
            1 => -100 * SECOND..0,
            1 => 0..100_000 * SECOND,
            1 => any::<i64>(),
        ]
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![6 => Just(Verdict::Accepted), 1 => Just(Verdict::Uncertain), 1 => Just(Verdict::OutOfScope)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_state_changes_faster_than_its_dwell_and_alarms_alternate(
            windows in prop::collection::vec((any_step(), 0_u16..4, any_verdict()), 1..200)
        ) {
            let mut distiller = distiller(policy(ForwardEvents::OnChange));
            let (mut at, mut passed) = (0_i64, 0_i64);
            let mut alarm: Option<Vec<Arc<str>>> = None;
            let mut first = true;
            for (step, label, verdict) in windows {
                let before = at;
                at = at.saturating_add(step);
                passed = passed.saturating_add(at.saturating_sub(before).max(0));
                let event = distiller.judge(window(0, at, judged(label, verdict)), ID, ClockQuality::Synced);
                let Ok(event) = event else { panic!("was judged") };
                prop_assert_eq!(event.local.alarm_changed, event.local.alarm != alarm);
                prop_assert_eq!(event.local.alarm_changed, event.facts.priority == Priority::Alarm);
                let cleared = alarm.is_some() && event.local.alarm.is_none();
                prop_assert_eq!(event.facts.change == Change::Cleared, cleared);
                if is_change(event.facts.change) {
                    prop_assert_eq!(verdict, Verdict::Accepted);
                    let needed = if cleared { 3 * SECOND } else { 2 * SECOND };
                    prop_assert!(first || passed >= needed, "changed after {} us", passed);
                    (passed, first) = (0, false);
                }
                alarm = event.local.alarm;
                prop_assert!(distiller.tally().balances(0));
            }
        }
    }
}
