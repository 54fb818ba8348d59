//! The five answers, each with the figures it rests on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::board::Profile;
use crate::cli::model::list::short;
use crate::cli::model::measure::{Timing, span};
use crate::cli::model::new::FILL_IN;
use crate::config::StreamSettings;
use crate::distill::ForwardEvents;
use crate::egress::Entities;
use crate::governor::energy;
use crate::infer::manifest::{Manifest, Scope, Score, Task};
use crate::infer::{Digest, VariantReport};
use crate::units::Bytes;

/// Everything the answers rest on.
pub(in crate::cli::model::report) struct Facts<'a> {
    pub(in crate::cli::model::report) manifest: &'a Manifest,
    pub(in crate::cli::model::report) report: &'a VariantReport,
    /// Bytes of the graph.
    pub(in crate::cli::model::report) bytes: u64,
    /// Of one input as long as the first golden case.
    pub(in crate::cli::model::report) timing: Timing,
    /// Of one input at each length, and its numbers.
    pub(in crate::cli::model::report) lengths: Vec<(usize, Timing)>,
    pub(in crate::cli::model::report) memory: Option<u64>,
    /// Types of entities, those of rules included, and terms.
    pub(in crate::cli::model::report) types: usize,
    pub(in crate::cli::model::report) terms: usize,
    pub(in crate::cli::model::report) stream: Option<&'a StreamSettings>,
    pub(in crate::cli::model::report) latency: Option<Duration>,
    /// Inputs per second.
    pub(in crate::cli::model::report) rate: Option<f64>,
    pub(in crate::cli::model::report) board: Option<&'a Profile>,
}

/// A question with its answer.
pub(in crate::cli::model::report) struct Answer {
    pub(in crate::cli::model::report) question: &'static str,
    /// For programs.
    pub(in crate::cli::model::report) key: &'static str,
    /// One of a few words.
    pub(in crate::cli::model::report) verdict: &'static str,
    pub(in crate::cli::model::report) lines: Vec<String>,
    pub(in crate::cli::model::report) figures: Value,
}

/// The five answers.
pub(in crate::cli::model::report) fn answers(facts: &Facts<'_>) -> [Answer; 5] {
    [bounded(facts), in_time(facts), leaving(facts), cost(facts), maintained(facts)]
}

fn name(task: &Task) -> &str {
    if task.name.is_empty() { "label" } else { &task.name }
}

fn bounded(facts: &Facts<'_>) -> Answer {
    let manifest = facts.manifest;
    let mut lines: Vec<String> = manifest
        .tasks
        .iter()
        .map(|task| {
            let (name, labels, threshold) = (name(task), task.labels.len(), task.threshold);
            format!("{name}: one of {labels} labels, or uncertain below {threshold:.2}")
        })
        .collect();
    if let Some(tags) = &manifest.tags {
        let (types, terms, threshold) = (facts.types, facts.terms, tags.threshold);
        let terms = if terms == 0 { String::new() } else { format!(", {terms} terms") };
        lines.push(format!("entities of {types} types{terms}, uncertain below {threshold:.2}"));
    }
    let abstains = manifest.tasks.iter().all(|task| task.threshold > 0.0)
        && manifest.tags.as_ref().is_none_or(|tags| tags.threshold > 0.0);
    lines.push(match &manifest.scope {
        Some(Scope::FeatureDistance { limit, .. }) => {
            format!("out of scope: features further than {limit:.2} from the training set (mean square)")
        }
        Some(Scope::KnownGrams { n, limit, .. }) => {
            format!(
                "out of scope: texts of which less than {limit:.2} of the {n}-grams were seen in training"
            )
        }
        None => {
            "nothing is out of scope: [scope] is missing, so a foreign input gets an answer too".to_owned()
        }
    });
    lines.extend(scored(manifest));
    if manifest.scores.is_empty() {
        lines.push("no scores: measure it with `tidegate model eval`".to_owned());
    }
    let scored = !manifest.scores.is_empty();
    let verdict = match (abstains && manifest.scope.is_some(), scored) {
        (true, true) => "yes",
        (_, false) => "not shown",
        (false, true) => "in part",
    };
    let scores = manifest.scores.iter().map(
        |score| json!({ "set": score.set, "task": score.task, "metric": score.metric, "value": score.value }),
    );
    let labels = manifest.tasks.iter().map(|task| json!({ "task": &*task.name, "labels": task.labels.len(), "threshold": short(task.threshold) }));
    let figures = json!({
        "tasks": labels.collect::<Vec<_>>(), "entity_types": facts.types, "terms": facts.terms,
        "abstains": abstains, "scope": manifest.scope.is_some(), "scores": scores.collect::<Vec<_>>(),
    });
    Answer { question: "Is the task bounded?", key: "bounded", verdict, lines, figures }
}

/// One line for each test set, its tasks one after the other.
fn scored(manifest: &Manifest) -> Vec<String> {
    let mut sets: Vec<(&str, Vec<&Score>)> = Vec::new();
    for score in &manifest.scores {
        match sets.iter_mut().find(|(set, _)| *set == score.set) {
            Some((_, scores)) => scores.push(score),
            None => sets.push((&score.set, vec![score])),
        }
    }
    let line = |(set, scores): (&str, Vec<&Score>)| {
        let tasks = scores.chunk_by(|a, b| a.task == b.task).map(|group| {
            let figures: Vec<String> =
                group.iter().map(|score| format!("{} {:.3}", score.metric, score.value)).collect();
            let task = group.first().map_or("", |score| &score.task);
            format!("{task} {}", figures.join(", ")).trim_start().to_owned()
        });
        format!("scored on {set}: {}", tasks.collect::<Vec<_>>().join("; "))
    };
    sets.into_iter().map(line).collect()
}

fn in_time(facts: &Facts<'_>) -> Answer {
    let Timing { p50, p99, .. } = facts.timing;
    let mut lines =
        vec![format!("one run takes {} (p99 {}) on one thread of this machine", span(p50), span(p99))];
    if facts.lengths.len() > 1 {
        let each: Vec<String> = facts
            .lengths
            .iter()
            .map(|(numbers, timing)| {
                format!("{} words {}", numbers / facts.manifest.input.grams().max(1), span(timing.p50))
            })
            .collect();
        lines.push(format!("by length: {}", each.join(", ")));
    }
    let allowed = facts.latency.map(|latency| u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    // A text may be as long as the longest row.
    let longest = facts.lengths.last().map_or(p99, |(_, timing)| timing.p99);
    let verdict = if let Some(allowed) = allowed {
        lines.push(format!("allowed: {}; the longest input takes {} (p99)", span(allowed), span(longest)));
        if longest <= allowed {
            "yes"
        } else if p50 <= allowed {
            "mostly"
        } else {
            "no"
        }
    } else {
        lines.push("no limit given: --latency TIME, or --config and --stream".to_owned());
        "not asked"
    };
    let figures = json!({
        "run": facts.timing.json(1), "allowed_us": allowed.map(|nanos| nanos as f64 / 1e3),
        "lengths": facts.lengths.iter().map(|(numbers, timing)| json!({ "length": numbers, "run": timing.json(1) })).collect::<Vec<_>>(),
    });
    Answer { question: "Is the latency met?", key: "latency", verdict, lines, figures }
}

fn leaving(facts: &Facts<'_>) -> Answer {
    let manifest = facts.manifest;
    let bits = |count: usize| (count.max(1) as f64).log2();
    let labels: f64 = manifest.tasks.iter().map(|task| bits(task.labels.len())).sum();
    let entity = if facts.types == 0 { 0.0 } else { bits(facts.types) + bits(facts.terms + 1) };
    let mut lines = vec![match manifest.kind {
        crate::flow::StreamKind::Sensor => "never: a sample".to_owned(),
        crate::flow::StreamKind::Report => {
            "never: a word of the text that is not in a closed list".to_owned()
        }
    }];
    if !manifest.tasks.is_empty() {
        let each: Vec<String> =
            manifest.tasks.iter().map(|task| format!("{} of {}", name(task), task.labels.len())).collect();
        lines.push(format!("an event holds: {}; {labels:.1} bits of labels", each.join(", ")));
    }
    if facts.types > 0 {
        let (types, terms) = (facts.types, facts.terms);
        let terms = if terms == 0 { "no term".to_owned() } else { format!("one of {terms} terms or none") };
        lines.push(format!("each entity: one of {types} types and {terms}; {entity:.1} bits"));
    }
    let verdict = if let Some(stream) = facts.stream {
        lines.extend(forwarded(stream, facts));
        "only this"
    } else {
        lines.push("which of it does leave, a stream decides: --config and --stream".to_owned());
        "at most this"
    };
    let figures = json!({ "label_bits": labels, "bits_per_entity": entity, "entity_types": facts.types, "terms": facts.terms });
    Answer { question: "Is the data allowed to leave?", key: "leaving", verdict, lines, figures }
}

/// What a stream lets out.
fn forwarded(stream: &StreamSettings, facts: &Facts<'_>) -> Vec<String> {
    let forward = &stream.forward;
    let events = match forward.events {
        ForwardEvents::All => "all leave",
        ForwardEvents::OnChange => "leave on change",
        ForwardEvents::None => "stay",
    };
    let scores = if forward.scores { "leave" } else { "stay" };
    let entities = match forward.entities {
        Entities::Vocabulary if facts.terms > 0 => "with their term",
        Entities::Vocabulary | Entities::TypesOnly => "by type only",
        Entities::None => "stay",
    };
    let mut line = format!("stream {}: events {events}", stream.name);
    if !facts.manifest.tasks.is_empty() {
        line = format!("{line}, probabilities {scores}");
    }
    if facts.types > 0 {
        line = format!("{line}, entities {entities}");
    }
    let mut lines = vec![line];
    lines.extend(
        forward
            .features
            .iter()
            .map(|feature| format!("feature {} leaves in steps of {}", feature.name, feature.resolution)),
    );
    lines
}

fn cost(facts: &Facts<'_>) -> Answer {
    let (report, timing) = (facts.report, facts.timing);
    let memory = facts.memory.unwrap_or(report.memory_bytes);
    let measured = if facts.memory.is_some() { "measured" } else { "predicted" };
    let mut lines = vec![
        format!("{} of memory ({measured}), {} on disk", Bytes(memory), Bytes(facts.bytes)),
        format!("{} parameters, {} multiply-adds per input", report.parameters, report.operations),
    ];
    // The median: the mean counts what else the machine did.
    let share = facts.rate.map(|rate| rate * timing.p50 as f64 / 1e9);
    match (facts.rate, share) {
        (Some(rate), Some(share)) => {
            lines.push(format!(
                "{:.4} % of one core of this machine at {rate:.3} inputs per second",
                share * 100.0
            ));
        }
        (_, _) => lines.push(format!(
            "up to {:.0} inputs per second on one core of this machine; its share at yours: --rate",
            timing.per_second(1)
        )),
    }
    let mut verdict = "measured here";
    if let Some(board) = facts.board {
        let budget = board.budget;
        lines.push(format!(
            "budget of the board {}: {} of memory, {} cores",
            board.name, budget.memory, budget.cpu
        ));
        let fits = memory <= budget.memory.0 && share.is_none_or(|share| share <= f64::from(budget.cpu));
        verdict = if fits { "within the budget" } else { "beyond the budget" };
    }
    let core = facts.board.and_then(|board| board.power).map(|power| power.core);
    let energy = core.map(|core| energy(Duration::from_nanos(timing.p50), core).0 * 1e3);
    lines.push(energy.map_or("energy: no board file knows it; measure at the supply".to_owned(), |energy| {
        format!(
            "{energy:.3} mJ an input, by the watts of a busy core of the board and the time of this machine"
        )
    }));
    let figures = json!({
        "memory_bytes": memory, "memory_is": measured, "file_bytes": facts.bytes, "parameters": report.parameters,
        "operations": report.operations, "per_second": timing.per_second(1).round(), "rate": facts.rate,
        "core_share": share, "board": facts.board.map(|board| board.name.as_str()),
        "budget_bytes": facts.board.map(|board| board.budget.memory.0), "energy_mj": energy,
    });
    Answer { question: "What does it cost on this board?", key: "cost", verdict, lines, figures }
}

fn maintained(facts: &Facts<'_>) -> Answer {
    let manifest = facts.manifest;
    let training = manifest.training.clone().unwrap_or_default();
    let open = |text: &str| text.is_empty() || text.contains(FILL_IN);
    let mut missing: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for (what, text) in
        [("data", &training.data), ("licence", &training.licence), ("recipe", &training.recipe)]
    {
        if open(text) {
            missing.push(what);
        } else {
            lines.push(format!("{what}: {text}"));
        }
    }
    if open(&manifest.description) {
        missing.push("description");
    }
    let digest: Digest = facts.report.sha256;
    lines.push(format!("{} {}, sha256 {digest}", manifest.id(), facts.report.name));
    lines.push(format!(
        "{} golden vectors, largest difference {:.1e}",
        facts.report.golden_cases, facts.report.golden_error_max
    ));
    if !missing.is_empty() {
        lines.push(format!("not said: {}", missing.join(", ")));
    }
    let verdict = if missing.is_empty() { "its recipe" } else { "nobody yet" };
    let figures = json!({
        "version": &*manifest.version, "sha256": String::from(digest), "data": training.data,
        "licence": training.licence, "recipe": training.recipe, "missing": missing,
        "golden_cases": facts.report.golden_cases,
    });
    Answer { question: "Who maintains it?", key: "maintained", verdict, lines, figures }
}
