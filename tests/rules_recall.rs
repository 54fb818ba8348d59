//! What the rules find in real and synthetic sentences, against the spans marked there.
//!
//! `cargo test --test rules_recall -- --nocapture` prints the table; `TIDEGATE_DATA` names the data folder.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use tidegate::text::{RuleKind, RuleMatch, Rules};

#[derive(Deserialize)]
struct Sentence {
    text: String,
    spans: Vec<Span>,
}

/// In characters.
#[derive(Deserialize)]
struct Span {
    entity_type: String,
    start_position: usize,
    end_position: usize,
}

#[derive(Default)]
struct Counts {
    marked: u32,
    found: u32,
    exact: u32,
    /// Marked spans of which a match covers every letter and digit.
    covered: u32,
}

/// The data folder; says so where it is absent.
fn data(test: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("TIDEGATE_DATA").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED {test}: no data in {}", folder.display());
    None
}

fn lines(path: PathBuf) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The place of some characters in bytes.
fn bytes(text: &str, span: &Span) -> (usize, usize) {
    let at = |count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    (at(span.start_position), at(span.end_position))
}

#[test]
fn rules_find_the_identifiers_of_the_synthetic_sentences() {
    let Some(folder) = data("rules_find_the_identifiers_of_the_synthetic_sentences") else { return };
    let rules = Rules::new(&RuleKind::ALL);
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut found: Vec<RuleMatch> = Vec::new();
    for line in lines(folder.join("pii/sentences.jsonl")) {
        let sentence: Sentence = serde_json::from_str(&line).unwrap();
        rules.find(&sentence.text, &mut found);
        for kind in RuleKind::ALL {
            let own = counts.entry(kind.entity_type()).or_default();
            let matches: Vec<(usize, usize)> = found
                .iter()
                .filter(|found| found.kind == kind)
                .map(|found| (found.start as usize, found.end as usize))
                .collect();
            let marked: Vec<(usize, usize)> = sentence
                .spans
                .iter()
                .filter(|span| span.entity_type.eq_ignore_ascii_case(kind.entity_type()))
                .map(|span| bytes(&sentence.text, span))
                .collect();
            own.marked += u32::try_from(marked.len()).unwrap();
            own.found += u32::try_from(matches.len()).unwrap();
            for span in &marked {
                own.exact += u32::from(matches.contains(span));
                own.covered += u32::from(matches.iter().any(|own| own.0 <= span.0 && span.1 <= own.1));
            }
            for (start, end) in matches.iter().filter(|own| !marked.contains(own)) {
                println!("not marked as {}: {:?}", kind.name(), &sentence.text[*start..*end]);
            }
            for (start, end) in marked.iter().filter(|own| !matches.contains(own)) {
                println!("missed {}: {:?}", kind.name(), &sentence.text[*start..*end]);
            }
        }
    }
    println!("| kind | marked | found | precision | recall | covered |\n|---|---|---|---|---|---|");
    let share = |part: u32, of: u32| f64::from(part) / f64::from(of.max(1));
    for (kind, own) in &counts {
        let (precision, recall) = (share(own.exact, own.found), share(own.exact, own.marked));
        let covered = share(own.covered, own.marked);
        println!("| {kind} | {} | {} | {precision:.3} | {recall:.3} | {covered:.3} |", own.marked, own.found);
    }
    for (kind, least) in [
        ("iban_code", 1.0),
        ("credit_card", 1.0),
        ("email_address", 1.0),
        ("ip_address", 1.0),
        ("phone_number", 0.9),
    ] {
        let own = counts.get(kind).unwrap();
        assert!(share(own.exact, own.marked) >= least && share(own.exact, own.found) >= 0.95, "{kind}");
    }
}

#[test]
fn rules_find_next_to_nothing_in_maintenance_texts() {
    let Some(folder) = data("rules_find_next_to_nothing_in_maintenance_texts") else { return };
    let sets = [
        ("failure-mode/train.jsonl", "text"),
        ("work-order-entities/train.jsonl", "tokens"),
        ("excavator/work_orders.jsonl", "OriginalShorttext"),
        ("maintie/train.jsonl", "text"),
        ("maintnorm/company_a_train.jsonl", "raw"),
        ("maintnorm/company_b_train.jsonl", "raw"),
        ("device-manual/sections.jsonl", "text"),
        ("marine-incidents/reports.jsonl", "text"),
        ("cranfield/docs.jsonl", "text"),
    ];
    let rules = Rules::new(&RuleKind::ALL);
    let mut found = Vec::new();
    let (mut texts, mut all) = (0, 0);
    println!("| set | texts | found |\n|---|---|---|");
    for (name, field) in sets {
        let (mut own, mut count) = (Vec::new(), 0);
        for line in lines(folder.join(name)) {
            let row: serde_json::Value = serde_json::from_str(&line).unwrap();
            let value = row.get(field).unwrap();
            let tokens = value.as_array().map(|tokens| {
                tokens.iter().map(|token| token.as_str().unwrap()).collect::<Vec<_>>().join(" ")
            });
            let text = tokens.unwrap_or_else(|| value.as_str().unwrap().to_owned());
            rules.find(&text, &mut found);
            count += 1;
            own.extend(found.iter().map(|found| {
                (found.kind.name(), text.get(found.start as usize..found.end as usize).unwrap().to_owned())
            }));
        }
        println!("| {name} | {count} | {own:?} |");
        texts += count;
        all += own.len();
    }
    println!("{all} in {texts} texts");
    assert!(all * 1000 <= texts, "{all} in {texts} texts");
}
