//! Does any model, however wrong, do more than be refused with a clear word?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate::io::admission::Admission;
use tidegate::units::Bytes;

#[path = "hostile/folder.rs"]
mod folder;
#[path = "hostile/golden.rs"]
mod golden;
#[path = "hostile/graphs.rs"]
mod graphs;
#[path = "hostile/manifests.rs"]
mod manifests;
#[path = "support/onnx.rs"]
mod onnx;
#[path = "hostile/run_time.rs"]
mod run_time;

use folder::Folder;

/// Heap of a child.
const MEMORY: Bytes = Bytes(256 << 20);
/// Memory of the program itself: a debug build maps 150 MiB and touches a tenth.
const PROGRAM: Bytes = Bytes(96 << 20);
/// Processor and wall time of a child.
const SECONDS: u32 = 20;
/// The same for those that take all they get.
const SECONDS_OF_SLOW: u32 = 3;
/// Beyond it: starting, reading 64 MiB and hashing them twice in a debug build on a busy machine.
const SLACK: Duration = Duration::from_secs(15);
/// Children at once: the machines this runs on have two cores.
const CHILDREN: usize = 2;

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
fn now() -> Instant {
    Instant::now()
}

/// What admission says to a folder; nothing if it is content.
fn refusal(folder: &Folder) -> String {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(&folder.name);
    folder.write(&dir);
    refusal_of(&dir, SECONDS)
}

fn refusal_of(dir: &Path, seconds: u32) -> String {
    let program = env!("CARGO_BIN_EXE_tidegate").into();
    match (Admission { program, memory: MEMORY, seconds }.admit(dir)) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// The largest memory any child of this process had, as long as `done` is not set.
fn watch(done: &AtomicBool, peak: &AtomicU64) {
    let (_silent, pause) = std::sync::mpsc::sync_channel::<()>(1);
    while !done.load(Ordering::Relaxed) {
        for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kilobytes: Option<u64> =
                    line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak.fetch_max(kilobytes.unwrap_or(0) << 10, Ordering::Relaxed);
            }
        }
        pause.recv_timeout(Duration::from_millis(5)).unwrap_err();
    }
}

/// Examines every folder, two at a time: what admission said by name.
#[expect(clippy::print_stdout, reason = "what was said is worth reading when a case fails")]
fn examine(cases: Vec<Folder>) -> BTreeMap<String, String> {
    let root = tempfile::tempdir().unwrap();
    let (queue, said) = (Mutex::new(cases.into_iter()), Mutex::new(BTreeMap::new()));
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&done, &peak));
        let work = || {
            loop {
                let Some(case) = queue.lock().unwrap().next() else { return };
                let dir = root.path().join(&case.name);
                case.write(&dir);
                let started = now();
                let seconds = if SLOW.contains(&case.name.as_str()) { SECONDS_OF_SLOW } else { SECONDS };
                let refusal = refusal_of(&dir, seconds);
                let took = started.elapsed();
                println!("{:6} ms  {}: {refusal}", took.as_millis(), case.name);
                assert!(
                    took < Duration::from_secs(u64::from(SECONDS)) + SLACK,
                    "{} took {took:?}",
                    case.name
                );
                fs::remove_dir_all(&dir).unwrap();
                assert!(
                    said.lock().unwrap().insert(case.name.clone(), refusal).is_none(),
                    "{} twice",
                    case.name
                );
            }
        };
        let workers: Vec<_> = (0..CHILDREN).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a case failed, see above");
    });
    let peak = Bytes(peak.into_inner());
    println!("the largest child had {peak}");
    assert!(peak.0 > 1 << 20, "the memory of children cannot be read");
    assert!(peak.0 <= MEMORY.0 + PROGRAM.0, "a child had {peak}");
    said.into_inner().unwrap()
}

/// The good model, cut off at every thirtieth, and with one to four bits turned.
fn cut_and_flipped() -> Vec<(String, Vec<u8>)> {
    let whole = graphs::dense();
    let mut random = fastrand::Rng::with_seed(1);
    let mut cases = Vec::new();
    for part in 1..30 {
        cases.push((format!("cut-at-{part}"), whole[..whole.len() * part / 30].to_vec()));
    }
    for number in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..=number % 4 {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        cases.push((format!("flipped-{number}"), bytes));
    }
    cases
}

/// Odd, but they compute what their golden vectors say, within the limits.
const HARMLESS: &[&str] = &[
    "cycle-unused",
    "fill-unused",
    "float-softmax",
    "if-in-if-5",
    "index-of-nothing",
    "input-unused",
    "length-0",
    "length-2-to-62",
    "length-divided-by-zero",
    "length-empty",
    "length-minus-1",
    "length-of-huge-number",
    "length-of-odd-signs",
    "length-smallest",
    "output-declared-wider",
];

/// What the library would not be done with for minutes.
const SLOW: &[&str] = &["conv-padded-2-to-40", "optimise-4000-reshapes"];

/// What is said of those whose names begin so; the others are refused by name as well.
const WORDS: &[(&str, &str)] = &[
    ("chain-of-100000", "4097 nodes and constants, allowed are 4096"),
    ("cycle-of-two", "Loop detected"),
    ("equation-of-a-megabyte", "1048576 bytes in one name or text"),
    ("external-", "no model path was specified"),
    ("fill-2-to-40", "failed to allocate"),
    ("if-in-if-1000", "9 graphs in one another, allowed are 8"),
    ("input-features-3", "has rows of 3, the manifest says 2"),
    ("length-100000", "bytes in one name or text, allowed are 1024"),
    ("operator-loop", "the engine has no operator [\"Loop\"]"),
    ("optimise-4000", "was stopped after 3 s while it was to predict the cost of model.onnx"),
    ("optimise-6000", "nodes and constants"),
    ("outputs-none", "the graph has no output \"y\""),
    ("quantised-softmax", "case 0: y differs by 0.67"),
    ("raw-too-short", "does not match shape [2, 2]"),
    ("turned-by-0000", "ran out of the memory it may take"),
    ("weights-are-strings", "model.onnx cannot be used"),
    ("weights-nan", "output 0 is not finite"),
    ("weights-of-100000-dimensions", "dimensions of one tensor, allowed are 16"),
    ("weights-of-minus-2", "Negative dimension"),
    ("weights-of-type-", "model.onnx cannot be used"),
];

#[test]
fn hostile_graphs_are_refused_by_name_in_time_and_memory() {
    let mut cases = graphs::all();
    cases.extend(cut_and_flipped());
    let count = cases.len();
    assert!(count >= 200);
    let folders = cases.into_iter().map(|(name, graph)| {
        let golden = graphs::golden(&name);
        let folder = Folder::pair(&name, graph);
        golden.map_or(folder.clone(), |golden| folder.golden(golden))
    });
    let said = examine(folders.collect());
    assert_eq!(said.len(), count);
    let mut wrong = Vec::new();
    for (name, refusal) in &said {
        let harmless = HARMLESS.contains(&name.as_str());
        let damaged = name.starts_with("cut") || name.starts_with("flipped");
        let clear = refusal.starts_with(&format!("model {name}")) && refusal.contains("model.onnx");
        if !(clear || (refusal.is_empty() && (harmless || damaged))) {
            wrong.push(format!("{name}: {refusal:?}"));
        }
    }
    for (name, words) in WORDS {
        assert!(said.keys().any(|case| case.starts_with(name)), "there is no {name}");
        let found = said.iter().filter(|(case, _)| case.starts_with(name));
        let found: Vec<_> = found.filter(|(_, refusal)| !refusal.contains(words)).collect();
        wrong.extend(found.iter().map(|(case, refusal)| format!("{case}: {refusal:?} without {words:?}")));
    }
    let damaged = said.iter().filter(|(name, said)| name.starts_with("flipped") && said.is_empty()).count();
    assert!(damaged <= 12, "{damaged} of 60 flipped graphs were admitted");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
