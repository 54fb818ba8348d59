//! Builds what leaves from the lists of what may leave.

use std::sync::Arc;

use crate::clock::EventTime;
use crate::egress::config::{Declared, Entities, ModelWords, Policy, TaskWords};
use crate::egress::level;
use crate::egress::summary::declared as declared_summary;
use crate::flow::{Entity, Event, Extracted, Facts, Named, Outbound, TaskResult, TimeSpan, When};
use crate::tally::{DropReason, Tally};

/// Scores and completeness leave as the nearest multiple of this.
const SHARE_RESOLUTION: f64 = 0.01;

/// Times leave in whole milliseconds.
const MICROS_PER_MILLI: i64 = 1_000;

/// The door.
pub struct Door {
    policies: Vec<Rule>,
    models: Vec<ModelWords>,
    /// What may leave of the gateway's own events, which are of no configured stream.
    own: (Rule, ModelWords),
    tally: Tally,
}

/// One policy, ready for use.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    /// Resolution of each declared feature as the decimal number it was written as; `None`: stays inside.
    resolutions: Vec<Option<f64>>,
}

impl Door {
    /// Builds the door from one policy per stream, by `StreamId`, and the words of the models.
    pub fn new(policies: Vec<Policy>, mut models: Vec<ModelWords>) -> Self {
        for model in &mut models {
            model.vocabulary.sort_unstable();
        }
        let policies = policies.into_iter().map(Rule::new).collect();
        let own = (Rule::new(level::policy()), level::words());
        Self { policies, models, own, tally: Tally::new() }
    }

    /// What may leave of an event; [`DropReason::NotDeclared`] when its stream, its model or a label of it is on
    /// no list.
    pub fn pass(&mut self, event: &Event) -> Result<Outbound, DropReason> {
        self.tally.received += 1;
        let Some(facts) = self.declared(event) else {
            self.tally.drop(DropReason::NotDeclared, 1);
            return Err(DropReason::NotDeclared);
        };
        self.tally.passed += 1;
        Ok(Outbound::passed(facts))
    }

    /// What may leave of a summary of events that have passed the door: its stream is found by name. Gaps name no
    /// stream and are made by [`gap`](crate::egress::gap). Not counted here: what it stands for has been.
    ///
    /// # Errors
    /// [`DropReason::NotDeclared`] when its stream is on no list.
    pub fn pass_summary(&self, facts: &Facts) -> Result<Outbound, DropReason> {
        let passed = facts.summary.as_ref().and_then(|summary| {
            let (rule, words) = &self.own;
            let rule = self.policies.iter().chain([rule]).find(|rule| rule.policy.stream == facts.stream)?;
            let model = self.models.iter().chain([words]).find(|model| model.id == facts.model);
            Some(declared_summary(facts, summary, rule, model))
        });
        passed.map(Outbound::passed).ok_or(DropReason::NotDeclared)
    }

    /// Events in, outbound events out.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn declared(&self, event: &Event) -> Option<Facts> {
        let facts = &event.facts;
        let rule = self.policies.get(usize::from(event.local.stream.0))?;
        let words_of = |id: &Arc<str>| self.models.iter().find(|model| model.id == *id);
        let model = words_of(&facts.model)?;
        let marker = facts.extraction.as_ref().map_or(Some(model), |found| words_of(&found.model))?;
        // Where no entity may leave, an empty list would say that there was none. Without a label it is all there is.
        let shown = rule.policy.entities != Entities::None || facts.results.is_empty();
        let extraction = facts.extraction.as_ref().filter(|_| shown);
        let results = facts.results.iter().map(|result| declared_result(result, model, rule.policy.scores));
        Some(Facts {
            id: facts.id,
            stream: Arc::clone(&rule.policy.stream),
            kind: facts.kind,
            when: in_millis(facts.when),
            clock: facts.clock,
            model: Arc::clone(&model.id),
            results: results.collect::<Option<Vec<_>>>()?,
            features: rule.features(&facts.features),
            entities: declared_entities(&facts.entities, marker, rule.policy.entities),
            extraction: extraction
                .map(|found| Extracted { model: Arc::clone(&marker.id), verdict: found.verdict }),
            completeness: facts.completeness.map(share),
            change: facts.change,
            priority: facts.priority,
            historical: facts.historical,
            summary: None,
        })
    }
}

impl Rule {
    fn new(policy: Policy) -> Self {
        let resolutions = policy.features.iter().map(|feature| as_written(feature.resolution)).collect();
        Self { policy, resolutions }
    }

    /// The features that may leave, with their resolution.
    pub(crate) fn declared(&self) -> impl Iterator<Item = (&Declared, f64)> {
        let declared = self.policy.features.iter().zip(&self.resolutions);
        declared.filter_map(|(feature, resolution)| Some((feature, (*resolution)?)))
    }

    /// The declared features among those the event has, in the order of the declaration.
    fn features(&self, features: &[Named]) -> Vec<Named> {
        let passed = self.declared().filter_map(|(feature, resolution)| {
            let found = features.iter().find(|candidate| candidate.name == feature.name)?;
            let value = rounded(found.value, resolution)?;
            Some(Named { name: Arc::clone(&feature.name), value })
        });
        passed.collect()
    }
}

fn declared_result(result: &TaskResult, model: &ModelWords, scores: bool) -> Option<TaskResult> {
    let words = model.tasks.iter().find(|words| words.task == result.task)?;
    let shown = if scores { result.scores.as_slice() } else { &[] };
    let shown = shown.iter().map(|score| {
        let name = label(words, &score.name)?;
        Some(Named { name, value: share(score.value) })
    });
    Some(TaskResult {
        task: Arc::clone(&words.task),
        label: label(words, &result.label)?,
        score: share(result.score),
        verdict: result.verdict,
        scores: shown.collect::<Option<Vec<_>>>()?,
    })
}

/// The list's own copy of a label.
fn label(words: &TaskWords, name: &Arc<str>) -> Option<Arc<str>> {
    words.labels.iter().find(|known| *known == name).map(Arc::clone)
}

fn declared_entities(entities: &[Entity], model: &ModelWords, allowed: Entities) -> Vec<Entity> {
    let with_values = match allowed {
        Entities::Vocabulary => true,
        Entities::TypesOnly => false,
        Entities::None => return Vec::new(),
    };
    let passed = entities.iter().filter_map(|entity| {
        let kind = model.entity_types.iter().find(|known| **known == entity.kind)?;
        let value = entity.value.as_ref().filter(|_| with_values).and_then(|value| {
            let index = model.vocabulary.binary_search(value).ok()?;
            model.vocabulary.get(index).map(Arc::clone)
        });
        Some(Entity { kind: Arc::clone(kind), value })
    });
    passed.collect()
}

/// A resolution as the decimal number the operator wrote: 0.001 and not the nearest single-precision number to it.
fn as_written(resolution: f32) -> Option<f64> {
    if !resolution.is_finite() || resolution <= 0.0 {
        return None;
    }
    resolution.to_string().parse().ok()
}

/// The nearest multiple of the resolution; `None` for what is not a number.
pub(crate) fn rounded(value: f32, resolution: f64) -> Option<f32> {
    let steps = (f64::from(value) / resolution).round();
    #[expect(clippy::cast_possible_truncation, reason = "meant: the nearest single-precision number")]
    let value = (steps * resolution) as f32;
    // Adding zero turns a negative zero into the plain one.
    value.is_finite().then_some(value + 0.0)
}

/// A probability or share at its resolution, between 0 and 1; what is not a number counts as 0.
fn share(value: f32) -> f32 {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    rounded(value, SHARE_RESOLUTION).unwrap_or(0.0)
}

/// Times in whole milliseconds: the start of a span down and its end up, so that it still covers its samples.
pub(crate) fn in_millis(when: When) -> When {
    match when {
        When::Span(span) => When::Span(TimeSpan { from: floor(span.from), to: ceil(span.to) }),
        When::At(at) => When::At(floor(at)),
    }
}

pub(crate) fn floor(at: EventTime) -> EventTime {
    EventTime(at.0.saturating_sub(at.0.rem_euclid(MICROS_PER_MILLI)))
}

fn ceil(at: EventTime) -> EventTime {
    match at.0.rem_euclid(MICROS_PER_MILLI) {
        0 => at,
        rest => EventTime(at.0.saturating_add(MICROS_PER_MILLI - rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockQuality;
    use crate::egress::config::Declared;
    use crate::flow::{AssetId, Change, EventId, Local, Priority, StreamId, StreamKind, Verdict};

    fn named(name: &str, value: f32) -> Named {
        Named { name: name.into(), value }
    }

    fn words() -> ModelWords {
        ModelWords {
            id: "pump@1.0.0".into(),
            tasks: vec![TaskWords { task: "leak".into(), labels: vec!["none".into(), "severe".into()] }],
            entity_types: vec!["Item".into()],
            vocabulary: vec!["pump".into(), "hose".into()],
        }
    }

    fn policy(entities: Entities, scores: bool) -> Policy {
        let declared = |name: &str, resolution| Declared { name: name.into(), resolution };
        let features =
            vec![declared("b", 0.001), declared("a", 0.5), declared("absent", 1.0), declared("z", 0.0)];
        Policy { stream: "hydraulics-1".into(), features, entities, scores }
    }

    fn event() -> Event {
        let entity =
            |kind: &str, value: Option<&str>| Entity { kind: kind.into(), value: value.map(Arc::from) };
        let facts = Facts {
            id: EventId { epoch: 7, number: 42 },
            stream: "anything the caller says".into(),
            kind: StreamKind::Sensor,
            when: When::Span(TimeSpan { from: EventTime(1_999), to: EventTime(5_001) }),
            clock: ClockQuality::Synced,
            model: "pump@1.0.0".into(),
            results: vec![TaskResult {
                task: "leak".into(),
                label: "severe".into(),
                score: 0.934_6,
                verdict: Verdict::Accepted,
                scores: vec![named("none", 0.065_4), named("severe", 0.934_6)],
            }],
            features: vec![named("a", 3.3), named("b", 0.610_49), named("secret", 1.0), named("z", 1.0)],
            entities: vec![entity("Item", Some("hose")), entity("Item", Some("Jane")), entity("Name", None)],
            extraction: None,
            completeness: Some(0.984),
            change: Change::New,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        };
        let local = Local {
            stream: StreamId(0),
            asset: AssetId(0),
            reference: None,
            text: None,
            entities: vec![],
            alarm: None,
            alarm_changed: false,
        };
        Event { facts, local, forward: true }
    }

    fn pass(policy: Policy, event: &Event) -> Facts {
        Door::new(vec![policy], vec![words()]).pass(event).unwrap().facts().clone()
    }

    #[test]
    fn only_declared_features_leave_and_at_their_resolution() {
        let facts = pass(policy(Entities::None, false), &event());
        assert_eq!(facts.features, [named("b", 0.61), named("a", 3.5)]);
        assert_eq!(&*facts.stream, "hydraulics-1");
        assert_eq!((facts.completeness, facts.results[0].score), (Some(0.98), 0.93));
        assert!(facts.results[0].scores.is_empty());
        assert!(facts.entities.is_empty());
        let shown = pass(policy(Entities::None, true), &event());
        assert_eq!(shown.results[0].scores, [named("none", 0.07), named("severe", 0.93)]);
    }

    #[test]
    fn entities_leave_as_words_of_the_vocabulary_only() {
        let values = |entities| -> Vec<Option<String>> {
            let facts = pass(policy(entities, false), &event());
            facts.entities.iter().map(|entity| entity.value.as_deref().map(str::to_owned)).collect()
        };
        assert_eq!(values(Entities::Vocabulary), [Some("hose".to_owned()), None]);
        assert_eq!(values(Entities::TypesOnly), [None, None]);
    }

    #[test]
    fn entities_are_held_against_the_words_of_the_model_that_marked_them() {
        let marker = ModelWords {
            id: "marker@1.0.0".into(),
            tasks: vec![],
            entity_types: vec!["Name".into()],
            vocabulary: vec!["Jane".into()],
        };
        let mut event = event();
        event.facts.extraction =
            Some(Extracted { model: "marker@1.0.0".into(), verdict: Verdict::Uncertain });
        let facts = |entities, event: &Event| {
            let mut door = Door::new(vec![policy(entities, false)], vec![words(), marker.clone()]);
            door.pass(event).map(|outbound| outbound.facts().clone())
        };
        let whole = facts(Entities::Vocabulary, &event).unwrap();
        assert_eq!(whole.entities, [Entity { kind: "Name".into(), value: None }]);
        assert_eq!(whole.extraction, event.facts.extraction);
        assert_eq!(facts(Entities::None, &event).unwrap().extraction, None, "not as if there were none");
        event.facts.results.clear();
        assert!(facts(Entities::None, &event).unwrap().extraction.is_some(), "the verdict is the event");
        event.facts.extraction = Some(Extracted { model: "stranger@1".into(), verdict: Verdict::Accepted });
        assert_eq!(facts(Entities::Vocabulary, &event), Err(DropReason::NotDeclared));
    }

    #[test]
    fn times_leave_in_milliseconds_that_still_cover_the_window() {
        let facts = pass(policy(Entities::None, false), &event());
        assert_eq!(facts.when, When::Span(TimeSpan { from: EventTime(1_000), to: EventTime(6_000) }));
        assert_eq!(in_millis(When::At(EventTime(-1))), When::At(EventTime(-1_000)));
    }

    #[test]
    fn a_word_on_no_list_stops_the_event() {
        let spoil: [fn(&mut Event); 5] = [
            |event| event.local.stream = StreamId(3),
            |event| event.facts.model = "pump@2.0.0".into(),
            |event| event.facts.results[0].task = "secret".into(),
            |event| event.facts.results[0].label = "secret".into(),
            |event| event.facts.results[0].scores[0].name = "secret".into(),
        ];
        for spoil in spoil {
            let mut door = Door::new(vec![policy(Entities::Vocabulary, true)], vec![words()]);
            let mut event = event();
            assert!(door.pass(&event).is_ok());
            spoil(&mut event);
            assert_eq!(door.pass(&event), Err(DropReason::NotDeclared));
            assert_eq!(door.tally().dropped(DropReason::NotDeclared), 1);
            assert!(door.tally().balances(0));
        }
    }

    #[test]
    fn numbers_round_to_the_decimal_that_was_written() {
        for (value, resolution, expected) in [
            (0.610_49, 0.001, "0.61"),
            (123.456_79, 0.01, "123.46"),
            (-0.000_2, 0.001, "0"),
            (7.0, 0.25, "7"),
            (0.3, 0.1, "0.3"),
            (1e30, 1.0, "1000000000000000000000000000000"),
        ] {
            let written = as_written(resolution).unwrap();
            assert_eq!(rounded(value, written).unwrap().to_string(), expected);
        }
        assert_eq!(rounded(f32::NAN, 0.1), None);
        assert_eq!(rounded(f32::INFINITY, 0.1), None);
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(as_written(wrong), None);
        }
        for (value, expected) in [(f32::NAN, "0"), (2.0, "1"), (-1.0, "0"), (0.296, "0.3"), (0.294, "0.29")] {
            assert_eq!(share(value).to_string(), expected);
        }
    }
}
