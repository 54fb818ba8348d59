//! `[[tasks]]`, `[tags]` and `[scope]` of a manifest: what a model answers, marks, and when it should be silent.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::flow::StreamKind;
use crate::infer::manifest::faults::{Faults, found, shortened};
use crate::infer::manifest::input::GRAM_MAX;
use crate::infer::manifest::raw::{RawFile, RawManifest, RawScope, RawTags, RawTask};
use crate::infer::manifest::{Encoding, RULES, Scope, Tags, Task};

/// Labels of one task: scores of all of them are carried in every event.
const LABELS_MAX: usize = 256;
/// Tasks of one model: each has its label, score and verdict in every event.
const TASKS_MAX: usize = 32;
/// Types of entities of one model: three times as many as in any data set of ours.
const TYPES_MAX: usize = 64;
/// Bytes of a type: it stands in every event once for each entity.
const TYPE_BYTES_MAX: usize = 64;

/// What the model answers: tasks, or the entities it marks.
pub(crate) fn answers(
    raw: &mut RawManifest,
    kind: StreamKind,
    encoding: &Encoding,
    faults: &mut Faults,
) -> (Vec<Task>, Option<Tags>) {
    let listed = raw.tasks.take().unwrap_or_default();
    let Some(raw) = raw.tags.take() else { return (tasks(listed, faults), None) };
    if !listed.is_empty() {
        faults.push("tags", "there are tasks too", "either [[tasks]] or [tags]: two models");
    }
    if kind != StreamKind::Report || !matches!(encoding, Encoding::WordGrams(_)) {
        faults.push("tags", "the input has no words", "only where kind is report and the encoder word-grams");
    }
    (Vec::new(), Some(tags(raw, faults)))
}

fn tasks(raw: Vec<RawTask>, faults: &mut Faults) -> Vec<Task> {
    if !(1..=TASKS_MAX).contains(&raw.len()) {
        faults.push("tasks", format!("{} tasks", raw.len()), format!("1 to {TASKS_MAX}"));
    }
    let alone = raw.len() == 1;
    let mut names = BTreeSet::new();
    let mut tasks = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = |field: &str| format!("tasks[{index}].{field}");
        let name = match raw.name {
            Some(name) if alone && name.is_empty() => Arc::from(""),
            None if alone => Arc::from(""),
            name => faults.word(&key("name"), name, ""),
        };
        if !names.insert(name.clone()) {
            faults.push(&key("name"), format!("{name:?} is there twice"), "a name of its own");
        }
        let labels = faults.distinct(&key("labels"), raw.labels.unwrap_or_default(), (2, LABELS_MAX));
        let mut alarm = Vec::new();
        for label in raw.alarm {
            match labels.iter().position(|known| **known == *label).map(u16::try_from) {
                Some(Ok(position)) => alarm.push(position),
                Some(Err(_)) | None => {
                    faults.push(&key("alarm"), format!("{:?}", shortened(&label)), "labels of this task");
                }
            }
        }
        tasks.push(Task {
            name,
            output: faults.name(&key("output"), raw.output),
            labels,
            temperature: faults.number(&key("temperature"), raw.temperature, (0.001, 1000.0), Some(1.0)),
            threshold: faults.number(&key("threshold"), raw.threshold, (0.0, 1.0), None),
            alarm,
        });
    }
    tasks
}

fn tags(raw: RawTags, faults: &mut Faults) -> Tags {
    let types = faults.distinct("tags.types", raw.types.unwrap_or_default(), (1, TYPES_MAX));
    for (index, long) in types.iter().enumerate().filter(|(_, name)| name.len() > TYPE_BYTES_MAX) {
        let allowed = format!("at most {TYPE_BYTES_MAX} bytes");
        faults.push(&format!("tags.types[{index}]"), format!("{} bytes", long.len()), allowed);
    }
    let mut rules: Vec<Arc<str>> = Vec::new();
    for rule in raw.rules {
        if !RULES.contains(&&*rule) || rules.iter().any(|known| **known == *rule) {
            faults.push(
                "tags.rules",
                format!("{:?}", shortened(&rule)),
                format!("once each of {}", RULES.join(", ")),
            );
        }
        rules.push(rule.into());
    }
    Tags {
        output: faults.name("tags.output", raw.output),
        types,
        temperature: faults.number("tags.temperature", raw.temperature, (0.001, 1000.0), Some(1.0)),
        threshold: faults.number("tags.threshold", raw.threshold, (0.0, 1.0), None),
        outside_bias: faults.number("tags.outside_bias", raw.outside_bias, (-100.0, 100.0), Some(0.0)),
        vocabulary: raw.vocabulary.map(|file| faults.file_digest("tags.vocabulary", file)),
        rules,
    }
}

/// `[scope]`; `None` if it is wrong.
pub(crate) fn scope(encoding: &Encoding, raw: RawScope, faults: &mut Faults) -> Option<Scope> {
    let features = match encoding {
        Encoding::Features { features, .. } => Some(features.len()),
        Encoding::CharNgrams { .. } | Encoding::WordGrams(_) => None,
    };
    match (raw.kind.as_deref(), features) {
        (Some("feature-distance"), Some(features)) => {
            for (key, is_set) in
                [("n", raw.n.is_some()), ("file", raw.file.is_some()), ("sha256", raw.sha256.is_some())]
            {
                if is_set {
                    faults.push(&format!("scope.{key}"), "is set", "only where kind is known-grams");
                }
            }
            let limit = faults.number("scope.limit", raw.limit, (f32::MIN_POSITIVE, 1e6), None);
            let whitening = raw.whitening.map(|rows| whitening(rows, features, faults)).unwrap_or_default();
            Some(Scope::FeatureDistance { limit, whitening })
        }
        (Some("known-grams"), None) => {
            if raw.whitening.is_some() {
                faults.push("scope.whitening", "is set", "only where kind is feature-distance");
            }
            let n = raw.n.unwrap_or(0);
            if !(1..=GRAM_MAX).contains(&n) {
                faults.push("scope.n", n.to_string(), format!("1 to {GRAM_MAX} characters"));
            }
            let known = faults.file_digest("scope", RawFile { file: raw.file, sha256: raw.sha256 });
            let limit = faults.number("scope.limit", raw.limit, (0.0, 1.0), None);
            Some(Scope::KnownGrams { n, known, limit })
        }
        (other, _) => {
            faults.push("scope.kind", found(other), "feature-distance (sensor), known-grams (report)");
            None
        }
    }
}

/// The rows of `scope.whitening`.
fn whitening(rows: Vec<Vec<f32>>, features: usize, faults: &mut Faults) -> Vec<Vec<f32>> {
    if !(1..=features).contains(&rows.len()) {
        faults.push("scope.whitening", format!("{} rows", rows.len()), format!("1 to {features} rows"));
    }
    for (index, row) in rows.iter().enumerate() {
        if row.len() != features || !row.iter().all(|value| value.is_finite()) {
            let wrong =
                format!("{} numbers, all finite: {}", row.len(), row.iter().all(|value| value.is_finite()));
            let allowed = format!("one finite number per feature: {features}");
            faults.push(&format!("scope.whitening[{index}]"), wrong, allowed);
        }
    }
    rows
}
