//! Architecture rules as tests: who may import whom, what is allowed only where, how files look.

#![expect(clippy::unwrap_used, reason = "a test program")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BASE: &[&str] = &["units", "clock", "ranges", "tally"];

/// Room → rooms it may import besides itself and the base. The table of ARCHITECTURE.md.
const IMPORTS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("clock", &[]),
    ("ranges", &[]),
    ("tally", &[]),
    ("flow", &[]),
    ("telemetry", &["flow"]),
    ("board", &["flow"]),
    ("device", &["flow", "board"]),
    ("ingest", &["flow"]),
    ("window", &["flow"]),
    ("features", &["flow"]),
    ("text", &["flow"]),
    ("infer", &["flow"]),
    ("quality", &[]),
    ("distill", &["flow"]),
    ("governor", &["flow"]),
    ("egress", &["flow"]),
    ("wire", &["flow"]),
    ("outbox", &[]),
    ("forward", &[]),
    ("pipeline", &["flow", "window", "infer", "distill", "egress"]),
    // io: the address of a broker is parsed in one place, beside the client that uses it.
    (
        "config",
        &[
            "io", "flow", "ingest", "window", "features", "distill", "egress", "outbox", "forward",
            "governor", "board", "device",
        ],
    ),
    ("io", &["flow", "ingest", "infer", "outbox", "board", "device"]),
    (
        "runtime",
        &[
            "flow",
            "ingest",
            "window",
            "features",
            "text",
            "infer",
            "distill",
            "egress",
            "wire",
            "outbox",
            "forward",
            "governor",
            "board",
            "device",
            "pipeline",
            "config",
            "telemetry",
            "io",
        ],
    ),
    (
        "cli",
        &[
            "flow",
            "ingest",
            "window",
            "features",
            "text",
            "infer",
            "quality",
            "distill",
            "egress",
            "wire",
            "outbox",
            "forward",
            "governor",
            "board",
            "device",
            "pipeline",
            "config",
            "telemetry",
            "io",
            "runtime",
            "demo",
        ],
    ),
    ("demo", &["flow", "ingest", "config", "telemetry", "io", "runtime", "wire", "board"]),
];

/// Text → path prefixes (below `src/`) in which it may stand.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("tokio::", &["runtime/", "io/mqtt", "demo/"]),
    ("std::thread", &["runtime/", "io/", "demo/"]),
    ("std::fs", &["io/"]),
    ("std::net", &["io/", "demo/", "runtime/"]),
    ("std::process::Command", &["io/"]),
    ("rumqttc", &["io/mqtt"]),
    ("rumqttd", &["demo/"]),
    ("tract_onnx", &["infer/engine"]),
    ("Instant::now", &["clock.rs", "io/mqtt/link.rs"]),
    ("SystemTime::now", &["clock.rs"]),
    ("Timestamp::now", &["telemetry/logging.rs"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("tidegate_alloc", &["main.rs", "telemetry/", "infer/", "runtime/", "io/admission", "cli/"]),
    ("Outbound::passed", &["flow/", "egress/", "wire/"]),
    ("linux_embedded_hal", &["io/devices"]),
    ("gpiocdev", &["io/devices"]),
];

/// Lines of a file before its tests.
const LINES_MAX: usize = 500;

struct Source {
    /// Path below `src/`, with `/`.
    path: String,
    /// The file without its test module.
    code: String,
    /// The file without its test module and without comments.
    bare: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, ".rs", &mut files);
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        let bare =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        Source { path, code, bare }
    };
    // A test module in a file of its own is as free as one at the end of a file.
    files.into_iter().filter(|file| !file.ends_with("tests.rs")).map(read).collect()
}

fn room_of(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Rooms named after `crate::` in a piece of code, also inside `crate::{…}`.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                rooms.extend(list.split('}').next().unwrap().split(',').map(|item| word(item.trim())));
            }
            None => rooms.push(word(after)),
        }
    }
    rooms
}

/// What breaks the import table in the given files, one line each.
fn import_faults(sources: &[Source]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs")) {
        let room = room_of(&source.path);
        let Some(allowed) = table.get(room) else {
            faults.push(format!("{}: room {room:?} is not in the table", source.path));
            continue;
        };
        for import in imports(&source.bare).into_iter().filter(|import| table.contains_key(import.as_str())) {
            let import = import.as_str();
            if import != room && !BASE.contains(&import) && !allowed.contains(&import) {
                faults.push(format!("{}: {room} may not import {import}", source.path));
            }
        }
    }
    faults
}

fn place_faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for (text, places) in ONLY_IN {
            if source.bare.contains(text) && !places.iter().any(|place| source.path.starts_with(place)) {
                faults.push(format!("{}: {text} is allowed only in {places:?}", source.path));
            }
        }
    }
    faults
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    assert_eq!(import_faults(&sources()), Vec::<String>::new());
}

#[test]
fn a_planted_import_is_found() {
    let code = "use crate::{units::Bytes, window::Windower};".to_owned();
    let planted = Source { path: "features/stats.rs".into(), bare: code.clone(), code };
    assert_eq!(import_faults(&[planted]), ["features/stats.rs: features may not import window"]);
    let code = "fn now() -> std::time::Instant { std::time::Instant::now() }".to_owned();
    let planted = Source { path: "window/windower.rs".into(), bare: code.clone(), code };
    assert_eq!(place_faults(&[planted]).len(), 1);
}

#[test]
fn the_outside_world_is_touched_only_where_allowed() {
    assert_eq!(place_faults(&sources()), Vec::<String>::new());
}

#[test]
fn files_are_short_and_open_with_a_sentence() {
    for source in sources() {
        let lines = source.code.lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines before its tests, at most {LINES_MAX}", source.path);
        let first = source.code.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") || first.starts_with("#![doc"),
            "{}: no opening sentence",
            source.path
        );
    }
}

#[test]
fn mod_files_define_nothing() {
    for source in sources().into_iter().filter(|source| source.path.ends_with("mod.rs")) {
        for word in ["fn ", "struct ", "enum ", "impl ", "const ", "trait "] {
            let defined = source.bare.lines().any(|line| line.trim_start_matches("pub ").starts_with(word));
            assert!(!defined, "{}: defines something ({word})", source.path);
        }
    }
}

#[test]
fn children_do_not_reach_for_their_parent() {
    for source in sources()
        .into_iter()
        .filter(|source| !source.path.ends_with("mod.rs") && room_of(&source.path) != "flow")
    {
        assert!(!source.bare.contains("super::"), "{}: use crate::{}::…", source.path, room_of(&source.path));
    }
}

/// Borrows of what a `watch` holds that outlast their expression: bound to a name, passed on, in the head of a block, or two in
/// one statement.
fn borrow_faults(source: &Source) -> Vec<String> {
    let spots =
        |text: &'static str| source.bare.match_indices(text).map(move |(at, _)| (at, at + text.len()));
    let mut faults = Vec::new();
    let mut statement = None;
    let mut borrows: Vec<_> = spots(".borrow()").chain(spots(".borrow_and_update()")).collect();
    borrows.sort_unstable();
    for (from, to) in borrows {
        let (before, after) = (&source.bare[..from], source.bare[to..].trim_start());
        let value = before.trim_end_matches(|c: char| c.is_alphanumeric() || "_.".contains(c));
        let is_copied = value.ends_with('*') && !value.ends_with("&*");
        let begin = before.rfind([';', '{', '}']);
        let head = before[begin.map_or(0, |begin| begin + 1)..].trim_start();
        let is_head = ["for ", "match ", "if let ", "while let ", "else if let "];
        let is_second = statement.replace(begin) == Some(begin);
        if !(is_copied || after.starts_with('.'))
            || is_second
            || is_head.iter().any(|word| head.starts_with(word))
        {
            faults.push(format!("{}: {head}…", source.path));
        }
    }
    faults
}

/// While a borrow lasts its sender waits, and from then on so does whoever borrows again: for ever where that is the same task.
#[test]
fn what_a_channel_holds_is_copied_out_in_one_expression() {
    let runtime = sources().into_iter().filter(|source| room_of(&source.path) == "runtime");
    let faults: Vec<_> = runtime.flat_map(|source| borrow_faults(&source)).collect();
    assert_eq!(faults, Vec::<String>::new());
    for (code, is_fault) in [
        ("let budget = *self.budget.borrow();", false),
        ("let models = self.models.borrow().clone();", false),
        ("while !*stopping.borrow() { step(); }", false),
        ("let models = self.models.borrow();", true),
        ("relieve(&self.budget.borrow(), now);", true),
        ("[told(*a.borrow()), told(*b.borrow())];", true),
        ("for model in models.borrow().iter() { show(model); }", true),
    ] {
        let planted = Source { path: "runtime/x.rs".into(), code: code.to_owned(), bare: code.to_owned() };
        assert_eq!(!borrow_faults(&planted).is_empty(), is_fault, "{code}");
    }
}

/// The allocator crate: what it may hold is told apart from the rooms.
fn allocator_sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    walk(&root().join("alloc/src"), ".rs", &mut files);
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        (file, text)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn unsafe_stands_in_one_short_file_and_every_use_says_why() {
    let with_unsafe: Vec<_> =
        allocator_sources().into_iter().filter(|(_, text)| text.contains("unsafe {")).collect();
    let [(file, text)] = with_unsafe.as_slice() else { panic!("unsafe stands in {}", with_unsafe.len()) };
    assert!(file.ends_with("alloc/src/counting.rs") && text.lines().count() <= 120, "{}", file.display());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
        assert!(lines[number - 1].starts_with("// SAFETY: "), "line {}: {line}", number + 1);
    }
    for source in sources() {
        assert!(!source.bare.contains("unsafe {") && !source.bare.contains("unsafe fn"), "{}", source.path);
    }
}

#[test]
fn the_allocator_crate_needs_no_other() {
    let manifest = fs::read_to_string(root().join("alloc/Cargo.toml")).unwrap();
    assert!(!manifest.contains("dependencies]"));
    for (file, text) in allocator_sources() {
        assert!(text.starts_with("//! "), "{}: no opening sentence", file.display());
        assert!(text.lines().count() <= LINES_MAX, "{}", file.display());
    }
}

#[test]
fn nothing_is_left_open_and_no_test_is_switched_off() {
    let mut files = Vec::new();
    for folder in ["src", "alloc", "tests", "benches", "scripts"] {
        if root().join(folder).is_dir() {
            walk(&root().join(folder), "", &mut files);
        }
    }
    for file in files.into_iter().filter(|file| !file.ends_with("tidy.rs")) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for word in ["TODO", "FIXME", "todo!(", "unimplemented!(", "#[ignore"] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

#[test]
fn every_drop_reason_and_metric_is_used() {
    let declared_in = |path: &str| matches!(path, "tally.rs" | "telemetry/metrics.rs");
    let all: String =
        sources().into_iter().filter(|source| !declared_in(&source.path)).map(|source| source.bare).collect();
    for (file, marker) in [("src/tally.rs", "DropReason"), ("src/telemetry/metrics.rs", "Metric")] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let start = if marker == "Metric" { "metrics! {\n" } else { "    DropReason {\n" };
        let body = text.split(start).nth(1).unwrap().split("\n    }\n").next().unwrap();
        for name in body
            .lines()
            .filter_map(|line| line.trim().split(" = \"").next().filter(|_| line.contains(" = \"")))
        {
            assert!(
                all.contains(&format!("{marker}::{name}")),
                "{marker}::{name} is declared but never used"
            );
        }
    }
}

#[test]
fn boards_models_and_units_are_named_in_their_readme() {
    for folder in ["boards", "models", "systemd"] {
        let readme = fs::read_to_string(root().join(folder).join("README.md")).unwrap();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            let named = readme.contains(name.trim_end_matches(".toml"));
            assert!(named || name == "README.md", "{folder}/README.md does not name {name}");
        }
    }
}
