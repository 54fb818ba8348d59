//! Builds what leaves from the lists of what may leave.

use std::sync::Arc;

use crate::clock::EventTime;
use crate::egress::config::{Entities, ModelWords, Policy, TaskWords};
use crate::flow::{Entity, Event, Facts, Named, Outbound, TaskResult, TimeSpan, When};
use crate::tally::{DropReason, Tally};

/// Scores and completeness leave as the nearest multiple of this.
const SHARE_RESOLUTION: f64 = 0.01;

/// Times leave in whole milliseconds.
const MICROS_PER_MILLI: i64 = 1_000;

/// The door.
pub struct Door {
    policies: Vec<Rule>,
    models: Vec<ModelWords>,
    tally: Tally,
}

struct Rule {
    policy: Policy,
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
        Self { policies, models, tally: Tally::new() }
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

    /// Events in, outbound events out.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn declared(&self, event: &Event) -> Option<Facts> {
        let facts = &event.facts;
        let rule = self.policies.get(usize::from(event.local.stream.0))?;
        let model = self.models.iter().find(|model| model.id == facts.model)?;
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
            entities: declared_entities(&facts.entities, model, rule.policy.entities),
            completeness: facts.completeness.map(share),
            change: facts.change,
            priority: facts.priority,
            historical: facts.historical,
        })
    }
}

impl Rule {
    fn new(policy: Policy) -> Self {
        let resolutions = policy.features.iter().map(|feature| as_written(feature.resolution)).collect();
        Self { policy, resolutions }
    }

    /// The declared features among those the event has, in the order of the declaration.
    fn features(&self, features: &[Named]) -> Vec<Named> {
        let declared = self.policy.features.iter().zip(&self.resolutions);
        let passed = declared.filter_map(|(feature, resolution)| {
            let found = features.iter().find(|candidate| candidate.name == feature.name)?;
            let value = rounded(found.value, (*resolution)?)?;
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
fn rounded(value: f32, resolution: f64) -> Option<f32> {
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
fn in_millis(when: When) -> When {
    match when {
        When::Span(span) => When::Span(TimeSpan { from: floor(span.from), to: ceil(span.to) }),
        When::At(at) => When::At(floor(at)),
    }
}

fn floor(at: EventTime) -> EventTime {
    EventTime(at.0.saturating_sub(at.0.rem_euclid(MICROS_PER_MILLI)))
}

fn ceil(at: EventTime) -> EventTime {
    match at.0.rem_euclid(MICROS_PER_MILLI) {
        0 => at,
        rest => EventTime(at.0.saturating_add(MICROS_PER_MILLI - rest)),
    }
}
