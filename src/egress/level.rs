//! The event that tells of a change of the governor's level. Made of closed words and rounded numbers only.

use std::sync::Arc;

use crate::clock::{ClockQuality, EventTime};
use crate::egress::config::{Declared, Entities, ModelWords, Policy, TaskWords};
use crate::egress::door::{in_millis, rounded};
use crate::flow::{
    BudgetReason, Change, EventId, Facts, Level, Named, Outbound, Priority, StreamKind, TaskResult, Verdict,
    When,
};

/// The stream of these events; no configured one may be called so.
pub const GOVERNOR_STREAM: &str = "governor";

/// Who says it: no model, but the version matters to whoever reads it.
const MODEL: &str = concat!("governor@", env!("CARGO_PKG_VERSION"));

const LEVEL_TASK: &str = "level";
const REASON_TASK: &str = "reason";

/// The numbers that may leave, with their resolution: degrees, and shares of the headroom and of the memory.
const FEATURES: [(&str, f32); 3] = [("temperature", 0.5), ("headroom", 0.01), ("memory", 0.01)];

/// A change of the level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelChange {
    /// The level there is now.
    pub level: Level,
    /// Why.
    pub reason: BudgetReason,
    /// Temperature in degrees Celsius.
    pub temperature: Option<f32>,
    /// Share of the thermal headroom that is left.
    pub headroom: Option<f32>,
    /// Share of the memory budget that is used.
    pub memory: Option<f32>,
}

/// The event of a change. What alarms depend on goes with the alarms.
pub fn level(id: EventId, change: &LevelChange, at: EventTime, clock: ClockQuality) -> Outbound {
    let result = |task: &str, word: &str| TaskResult {
        task: task.into(),
        label: word.into(),
        score: 1.0,
        verdict: Verdict::Accepted,
        scores: Vec::new(),
    };
    let values = [change.temperature, change.headroom, change.memory];
    let features = FEATURES.iter().zip(values).filter_map(|(&(name, resolution), value)| {
        Some(Named { name: name.into(), value: rounded(value?, f64::from(resolution))? })
    });
    Outbound::passed(Facts {
        id,
        stream: GOVERNOR_STREAM.into(),
        kind: StreamKind::Sensor,
        when: in_millis(When::At(at)),
        clock,
        model: MODEL.into(),
        results: vec![result(LEVEL_TASK, change.level.as_str()), result(REASON_TASK, change.reason.as_str())],
        features: features.collect(),
        entities: Vec::new(),
        extraction: None,
        completeness: None,
        change: Change::New,
        priority: if change.level >= Level::Critical { Priority::Alarm } else { Priority::Normal },
        historical: false,
        summary: None,
    })
}

/// What may leave of summaries of these events.
pub(crate) fn policy() -> Policy {
    let declared = |(name, resolution): (&str, f32)| Declared { name: name.into(), resolution };
    Policy {
        stream: GOVERNOR_STREAM.into(),
        features: FEATURES.map(declared).into(),
        entities: Entities::None,
        scores: false,
    }
}

/// The words these events can say.
pub(crate) fn words() -> ModelWords {
    let task = |task: &str, labels: Vec<Arc<str>>| TaskWords { task: task.into(), labels };
    ModelWords {
        id: MODEL.into(),
        tasks: vec![
            task(LEVEL_TASK, Level::ALL.iter().map(|level| level.as_str().into()).collect()),
            task(REASON_TASK, BudgetReason::ALL.iter().map(|reason| reason.as_str().into()).collect()),
        ],
        entity_types: Vec::new(),
        vocabulary: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(level_now: Level) -> Outbound {
        let change = LevelChange {
            level: level_now,
            reason: BudgetReason::Temperature,
            temperature: Some(77.312_34),
            headroom: Some(0.123_456),
            memory: None,
        };
        let id = EventId { epoch: 3, number: 9 };
        level(id, &change, EventTime(1_795_143_600_123_456), ClockQuality::Synced)
    }

    #[test]
    fn a_change_says_level_and_reason_in_words_and_rounded_numbers_where_known() {
        let event = told(Level::Hot);
        let facts = event.facts();
        let words: Vec<_> = facts.results.iter().map(|result| (&*result.task, &*result.label)).collect();
        assert_eq!(words, [("level", "hot"), ("reason", "temperature")]);
        let numbers: Vec<_> = facts.features.iter().map(|named| (&*named.name, named.value)).collect();
        assert_eq!(numbers, [("temperature", 77.5), ("headroom", 0.12)]);
        assert_eq!((&*facts.stream, facts.when), ("governor", When::At(EventTime(1_795_143_600_123_000))));
        assert!(facts.model.starts_with("governor@"));
    }

    #[test]
    fn from_critical_on_it_goes_with_the_alarms() {
        for level in Level::ALL {
            let alarm = told(level).facts().priority == Priority::Alarm;
            assert_eq!(alarm, level >= Level::Critical, "{level:?}");
        }
    }
}
