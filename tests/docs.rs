//! The documents say what the code says: tables, lists, examples and links.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::config::{Config, DEFAULT_CONFIG};
use tidegate::infer::Manifest;
use tidegate::tally::{DropReason, Stage};
use tidegate::telemetry::{Metric, Task};

/// Documents whose links are followed.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "src/README.md",
    "tests/README.md",
    "boards/README.md",
    "models/README.md",
    "systemd/README.md",
    "docs/boards.md",
    "docs/budgets.md",
    "docs/hardware.md",
    "docs/models.md",
    "docs/operations.md",
    "docs/outbox.md",
    "docs/performance.md",
    "docs/reliability.md",
    "docs/security.md",
    "docs/wire.md",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Texts between the given quotes.
fn quoted(text: &str, quote: char) -> Vec<String> {
    text.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
}

/// The part of a document from a heading to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let after = document.split_once(&format!("{heading}\n")).unwrap().1;
    after.split("\n#").next().unwrap()
}

/// The cells of a table's rows, head and rule left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.starts_with("| ") || line.starts_with("|--");
    let cells = |line: &'_ str| -> Vec<usize> { line.match_indices('|').map(|(at, _)| at).collect() };
    let row = |line| {
        let at = cells(line);
        at.windows(2).map(|pair| line[pair[0] + 1..pair[1]].trim()).collect()
    };
    text.lines().filter(is_row).skip(2).map(row).collect()
}

/// The code blocks of a language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    document.split(&fence).skip(1).map(|block| block.split("\n```").next().unwrap()).collect()
}

/// A table of `tests/tidy.rs` as lists of words by first word.
fn tidy_table(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = read("tests/tidy.rs");
    let after = source.split_once(&format!("const {name}:")).unwrap().1;
    let body = after.split_once("= &[").unwrap().1.split("];\n").next().unwrap();
    let code: String = body.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let entry = |entry: &str| {
        let mut words = quoted(entry.split(']').next().unwrap(), '"').into_iter();
        (words.next().unwrap(), words.collect())
    };
    code.split('(').skip(1).map(entry).collect()
}

fn document_table(heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let document = read("ARCHITECTURE.md");
    let entry = |cells: Vec<&str>| {
        (quoted(cells[0], '`').remove(0), quoted(cells[1], '`').into_iter().collect::<BTreeSet<_>>())
    };
    rows(section(&document, heading)).into_iter().map(entry).collect()
}

#[test]
fn the_tables_of_the_architecture_are_those_that_are_enforced() {
    let imports = tidy_table("IMPORTS");
    assert!(imports.len() > 20);
    assert_eq!(document_table("### Who may import whom"), imports);
    let places = tidy_table("ONLY_IN");
    assert!(places.len() > 10);
    assert_eq!(document_table("### What may stand where"), places);
}

#[test]
fn every_room_stands_in_both_code_maps() {
    let maps = [read("ARCHITECTURE.md"), read("src/README.md")];
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let room = format!("| `{}/`", entry.file_name().to_string_lossy());
            for map in &maps {
                assert!(map.contains(&room), "{room} is in no code map");
            }
        }
    }
}

#[test]
fn every_dependency_has_its_line_and_no_other_has() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mut declared = BTreeSet::new();
    for section in ["dependencies", "dev-dependencies"] {
        declared.extend(manifest[section].as_table().unwrap().keys().cloned());
    }
    let document = read("ARCHITECTURE.md");
    let mut described = BTreeSet::new();
    for cells in rows(section(&document, "## Dependencies")) {
        assert!(cells[1..].iter().all(|cell| !cell.is_empty()), "{cells:?} has an empty cell");
        described.insert(cells[0].trim_matches('`').to_owned());
    }
    assert_eq!(described, declared);
}

#[test]
fn examples_in_the_documents_can_be_used() {
    let readme = read("README.md");
    let configurations = blocks(&readme, "toml");
    assert_eq!(configurations.len(), 1);
    for text in configurations {
        Config::parse(text).unwrap();
    }
    let models = read("docs/models.md");
    let manifests = blocks(&models, "toml");
    Manifest::parse(manifests[0]).unwrap();
    let files = &manifests[0][manifests[0].find("[[variants]]").unwrap()..];
    let head = "name = \"marker\"\nversion = \"1.0.0\"\nkind = \"report\"";
    Manifest::parse(&format!("{head}\n{}\n{files}", manifests[2])).unwrap();
    let reports = blocks(&readme, "json");
    for text in reports.into_iter().chain(blocks(&models, "json")) {
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }
}

#[test]
fn every_reason_metric_stage_and_task_is_explained() {
    let document = read("docs/operations.md");
    let reasons = DropReason::ALL.iter().map(|reason| reason.as_str());
    let metrics = Metric::ALL.iter().map(|metric| metric.as_str());
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    let tasks = Task::ALL.iter().map(|task| task.as_str());
    for word in reasons.chain(metrics).chain(stages).chain(tasks) {
        assert!(document.contains(&format!("`{word}`")), "docs/operations.md does not explain {word}");
    }
}

/// Keys that the sources of `config/` ask for, found as the first text of a call that reads a key.
fn configuration_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(root().join("src/config")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".rs") || path.ends_with("section.rs") {
            continue;
        }
        let code = fs::read_to_string(&path).unwrap();
        for call in [
            ".text(",
            ".texts(",
            ".word(",
            ".required(",
            ".quantity(",
            ".duration(",
            ".number(",
            ".whole(",
            ".flag(",
        ] {
            for after in code.split(call).skip(1) {
                if let Some(key) = after.trim_start().strip_prefix('"') {
                    keys.insert(key.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    keys
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let document = read("docs/operations.md");
    let table = section(&document, "## Configuration");
    let keys = configuration_keys();
    assert!(keys.len() > 40, "{keys:?}");
    for key in &keys {
        let named = [format!("`{key}`"), format!(".{key}`")].iter().any(|name| table.contains(name.as_str()));
        assert!(named, "docs/operations.md does not explain the key {key}");
    }
    for line in DEFAULT_CONFIG.lines().filter(|line| line.contains(" = ")) {
        let key = line.trim_start_matches("# ").split(" = ").next().unwrap();
        assert!(table.contains(key), "docs/operations.md does not explain the key {key} of the default");
    }
}

#[test]
fn every_command_stands_in_the_readme() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let readme = read("README.md");
    for command in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = command.split_whitespace().next().unwrap();
        assert!(name == "help" || readme.contains(&format!("`tidegate {name}")), "README.md lacks {name}");
    }
}

/// Targets of links in a document, without those to other sites.
fn links(document: &str) -> Vec<&str> {
    let targets = document.split("](").skip(1).map(|after| after.split(')').next().unwrap());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchor of a heading: lower case, spaces to hyphens, other marks left out.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().map(Path::to_owned).unwrap();
        for link in links(&text) {
            let (path, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(document) } else { folder.join(path) };
            assert!(target.try_exists().unwrap(), "{document}: {link} leads nowhere");
            if !part.is_empty() {
                let content = fs::read_to_string(&target).unwrap();
                let found = content.lines().any(|line| line.starts_with('#') && anchor(line) == part);
                assert!(found, "{document}: {link}: no such heading");
            }
        }
    }
}
