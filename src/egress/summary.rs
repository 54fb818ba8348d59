//! The door for what stands for several events: the same lists, and nothing of what is on none.

use std::sync::Arc;

use crate::clock::ClockQuality;
use crate::egress::config::{ModelWords, TaskWords};
use crate::egress::door::{Rule, floor, in_millis, rounded};
use crate::flow::{
    Change, EventId, Facts, FeatureSummary, GapReason, Grain, LabelSummary, Outbound, Priority, StreamKind,
    Summary, TaskSummary, TimeSpan, When,
};

/// The event that tells of lost ones. Made of closed words and numbers only.
pub fn gap(
    id: EventId,
    lane: Priority,
    reason: GapReason,
    events: u64,
    span: TimeSpan,
    clock: ClockQuality,
) -> Outbound {
    let summary = Summary { grain: Grain::Gap(reason), events, tasks: Vec::new(), features: Vec::new() };
    Outbound::passed(Facts {
        id,
        stream: lane.as_str().into(),
        kind: StreamKind::Sensor,
        when: in_millis(When::Span(span)),
        clock,
        model: "".into(),
        results: Vec::new(),
        features: Vec::new(),
        entities: Vec::new(),
        extraction: None,
        completeness: None,
        change: Change::Same,
        priority: lane,
        historical: false,
        summary: Some(Arc::new(summary)),
    })
}

/// What may leave of a summary. What is on no list is left out: of a model that is not there any more, or a label it
/// does not know, the task; the counts and the declared features stay.
pub(crate) fn declared(facts: &Facts, summary: &Summary, rule: &Rule, model: Option<&ModelWords>) -> Facts {
    let tasks = summary.tasks.iter().filter_map(|task| declared_task(task, model?));
    let summary = Summary {
        grain: summary.grain,
        events: summary.events,
        tasks: tasks.collect(),
        features: declared_features(&summary.features, rule),
    };
    Facts {
        id: facts.id,
        stream: Arc::clone(&rule.policy.stream),
        kind: facts.kind,
        when: in_millis(facts.when),
        clock: facts.clock,
        model: model.map_or_else(|| "".into(), |model| Arc::clone(&model.id)),
        results: Vec::new(),
        features: Vec::new(),
        entities: Vec::new(),
        extraction: None,
        completeness: None,
        change: facts.change,
        priority: facts.priority,
        historical: facts.historical,
        summary: Some(Arc::new(summary)),
    }
}

fn declared_task(task: &TaskSummary, model: &ModelWords) -> Option<TaskSummary> {
    let words = model.tasks.iter().find(|words| words.task == task.task)?;
    let labels = task.labels.iter().map(|label| declared_label(label, words));
    Some(TaskSummary {
        task: Arc::clone(&words.task),
        labels: labels.collect::<Option<Vec<_>>>()?,
        lead: task.lead,
        trail: task.trail,
    })
}

fn declared_label(label: &LabelSummary, words: &TaskWords) -> Option<LabelSummary> {
    Some(LabelSummary {
        label: words.labels.iter().find(|known| **known == label.label).map(Arc::clone)?,
        count: label.count,
        first: floor(label.first),
        last: floor(label.last),
        longest: label.longest,
    })
}

/// The declared features at their resolution, in the order of the declaration. The sketch goes with them: it never
/// leaves the disk.
fn declared_features(features: &[FeatureSummary], rule: &Rule) -> Vec<FeatureSummary> {
    let passed = rule.declared().filter_map(|(declared, resolution)| {
        let found = features.iter().find(|candidate| candidate.name == declared.name)?;
        let at = |value| rounded(value, resolution);
        let [low, middle, high] = found.quantiles;
        Some(FeatureSummary {
            name: Arc::clone(&declared.name),
            count: found.count,
            min: at(found.min)?,
            max: at(found.max)?,
            mean: at(found.mean)?,
            quantiles: [at(low)?, at(middle)?, at(high)?],
            sketch: Arc::clone(&found.sketch),
        })
    });
    passed.collect()
}
