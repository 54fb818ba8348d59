//! Runs cases in child processes of this test program, many in each: whatever one does or dies of costs only itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Where a child finds the names of its cases; its results stand beside with `.out` at the end.
const CASES: &str = "TIDEGATE_CONFORMANCE_CASES";
/// Time for one case: the slowest takes a fifth of a second in a debug build.
const CASE_TIME_MAX: Duration = Duration::from_secs(20);
/// Address space of a child, so that a bomb is an error and not a full machine.
const MEMORY_MAX: u64 = 4 << 30;
/// Children at once: the machines this runs on have two cores.
const CHILDREN: usize = 2;
/// Cases in one child: few enough that a death costs little, many enough that starting costs little.
const BATCH: usize = 64;

/// What came of a case: `passed`, or a class of failure and why.
pub(crate) type Verdict = (String, String);

/// Runs every case in children that execute the test `child_test` of this program.
pub(crate) fn run(names: &[String], folder: &Path, child_test: &str) -> BTreeMap<String, Verdict> {
    let batches: Vec<Vec<String>> = names.chunks(BATCH).map(<[String]>::to_vec).collect();
    let (waiting, verdicts) = (Arc::new(Mutex::new(batches)), Arc::new(Mutex::new(BTreeMap::new())));
    std::thread::scope(|scope| {
        for worker in 0..CHILDREN {
            let (waiting, verdicts) = (Arc::clone(&waiting), Arc::clone(&verdicts));
            scope.spawn(move || {
                let list = folder.join(format!("cases-{worker}"));
                loop {
                    let Some(batch) = waiting.lock().unwrap().pop() else { return };
                    let found = run_batch(batch, &list, child_test);
                    verdicts.lock().unwrap().extend(found);
                }
            });
        }
    });
    Arc::into_inner(verdicts).unwrap().into_inner().unwrap()
}

/// Starts children until each case of the batch has a verdict.
fn run_batch(mut left: Vec<String>, list: &Path, child_test: &str) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    let out = list.with_extension("out");
    while !left.is_empty() {
        fs::write(list, left.join("\n")).unwrap();
        fs::write(&out, "").unwrap();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([child_test, "--exact", "--test-threads=1", "--nocapture"])
            .env(CASES, list)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let said = fs::read_to_string(&out).unwrap();
        for line in said.lines() {
            let mut parts = line.splitn(3, '\t').map(str::to_owned);
            let name = parts.next().unwrap();
            verdicts.insert(name, (parts.next().unwrap(), parts.next().unwrap_or_default()));
        }
        let before = left.len();
        left.retain(|name| !verdicts.contains_key(name) || verdicts[name].0 == "started");
        if let Some(last) = left.iter().position(|name| verdicts.contains_key(name)) {
            let why = format!("the process ended with {ended}");
            verdicts.insert(left.remove(last), ("died".to_owned(), why));
        }
        assert!(left.len() < before, "a child did nothing: {ended}");
    }
    verdicts
}

/// In a child: runs each of its cases, given the folder and its name, under a watch. Returns at once in the parent.
pub(crate) fn child(case: impl Fn(&Path, &str) -> Verdict) {
    let Ok(list) = std::env::var(CASES) else { return };
    let list = Path::new(&list);
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, both(0)).unwrap();
    setrlimit(Resource::As, both(MEMORY_MAX)).unwrap();
    let mut out = fs::File::options().append(true).open(list.with_extension("out")).unwrap();
    let (beat, heard) = channel::<()>();
    std::thread::spawn(move || {
        while heard.recv_timeout(CASE_TIME_MAX) != Err(RecvTimeoutError::Timeout) {}
        std::process::abort();
    });
    for name in fs::read_to_string(list).unwrap().lines() {
        out.write_all(format!("{name}\tstarted\n").as_bytes()).unwrap();
        let (class, why) = case(list.parent().unwrap(), name);
        let why = why.replace(['\n', '\t'], " ");
        out.write_all(format!("{name}\t{class}\t{why}\n").as_bytes()).unwrap();
        beat.send(()).unwrap();
    }
    // The watch must not take the end of the channel for silence.
    std::mem::forget(beat);
}
