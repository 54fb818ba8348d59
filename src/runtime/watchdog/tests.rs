//! WDG: each task is stalled in a process of its own, in each way in which a task can stall, and systemd's place is taken by a
//! socket that listens for the feed.
//!
//! The service is the real one, wired and supervised by [`run`]; only the place where a task ticks is a fail-point
//! ([`FAIL_POINT`]), and that in tests only.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::Config;
use crate::runtime::options::Options;
use crate::runtime::state_files::DISK_HANGS;
use crate::runtime::supervisor::run;
use crate::telemetry::{FAIL_POINT, Task};

/// Which stall a child is to have: `how:task`.
const STALL: &str = "TIDEGATE_TEST_STALL";
/// Where its configuration lies.
const FOLDER: &str = "TIDEGATE_TEST_FOLDER";
/// The test below that is the child.
const CHILD: &str =
    "runtime::watchdog_tests::a_gateway_that_stalls_where_it_is_told_as_a_child_of_the_others";

/// Ticks of the task before it stalls: the gateway is up by then.
const TICKS_BEFORE: u64 = 3;

/// From the stall to the last feed: the silence that is allowed, a turn of the supervisor, and as much for a busy machine.
const LAST_FEED: Duration = Duration::from_secs(10 + 1 + 2);

/// A feed that does not come for so long has stopped: it comes every second.
const SILENT: Duration = Duration::from_secs(3);

/// How a task stalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It does not.
    Not,
    /// It waits for ever, as in a deadlock, and with it everything on its thread.
    Blocks,
    /// It computes for ever, as in a livelock.
    Spins,
    /// It awaits for ever; the others on its executor go on.
    Awaits,
    /// It does not, but the disk under the small files of state never answers.
    DiskHangs,
    /// The planted bug: it blocks, and a timer ticks in its place.
    TickedByTimer,
}

const ALL: [How; 6] = [How::Not, How::Blocks, How::Spins, How::Awaits, How::DiskHangs, How::TickedByTimer];

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Not => "not",
            Self::Blocks => "blocks",
            Self::Spins => "spins",
            Self::Awaits => "awaits",
            Self::DiskHangs => "disk-hangs",
            Self::TickedByTimer => "ticked-by-timer",
        }
    }
}

/// What this process was told to do.
fn told() -> Option<(How, Task)> {
    let text = std::env::var(STALL).ok()?;
    let (how, task) = text.split_once(':')?;
    Some((
        ALL.into_iter().find(|known| known.word() == how)?,
        Task::ALL.into_iter().find(|known| known.as_str() == task)?,
    ))
}

fn tell_systemd(word: &str) {
    let path = std::env::var_os("NOTIFY_SOCKET").unwrap();
    UnixDatagram::unbound().unwrap().send_to(word.as_bytes(), path).unwrap();
}

/// What the child does at each tick.
fn fail(ticking: Task) -> Vec<Task> {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    static STALLED: AtomicU64 = AtomicU64::new(0);
    let Some((how, task)) = told() else { return vec![ticking] };
    if ticking != task {
        let timer = how == How::TickedByTimer && STALLED.load(Ordering::Relaxed) > 0;
        return if timer { vec![ticking, task] } else { vec![ticking] };
    }
    if matches!(how, How::Not | How::DiskHangs) || TICKS.fetch_add(1, Ordering::Relaxed) < TICKS_BEFORE {
        return vec![ticking];
    }
    if STALLED.fetch_add(1, Ordering::Relaxed) == 0 {
        tell_systemd("STALLED=1");
    }
    match how {
        How::Not | How::DiskHangs | How::Awaits => Vec::new(),
        How::Blocks | How::TickedByTimer => loop {
            std::thread::park();
        },
        How::Spins => loop {
            std::hint::spin_loop();
        },
    }
}

#[test]
fn a_gateway_that_stalls_where_it_is_told_as_a_child_of_the_others() {
    // By itself it is no test.
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    assert!(FAIL_POINT.set(fail).is_ok());
    if let Some((How::DiskHangs, _)) = told() {
        assert!(DISK_HANGS.set(()).is_ok());
    }
    crate::telemetry::start_logging("info");
    let text = std::fs::read_to_string(Path::new(&folder).join("gateway.toml")).unwrap();
    let options = Options { root: Path::new(&folder).join("root"), ..Options::default() };
    run(&Config::parse(&text).unwrap(), options).unwrap();
}

/// A child and the socket it feeds.
struct Watched {
    folder: tempfile::TempDir,
    systemd: UnixDatagram,
    child: Child,
    log: std::path::PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "a watchdog watches real time")]
fn now() -> Instant {
    Instant::now()
}

impl Watched {
    fn start(how: How, task: Task) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let config = format!(
            "[gateway]\nsite = \"test\"\nid = \"gw\"\nboard = \"generic-x86-64\"\nstate_dir = \"{0}/state\"\n\
             [plant]\nurl = \"mqtt://127.0.0.1:9\"\n[upstream]\nurl = \"mqtt://127.0.0.1:10\"\n\
             [[streams]]\nname = \"good\"\nkind = \"sensor\"\ntopic = \"plant/good\"\n\
             payload = {{ format = \"json\", values = [\"a\"] }}\nwindow = {{ samples = 1 }}\n\
             features = [\"a.mean\"]\nforward = {{ events = \"all\" }}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        let systemd = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let log = folder.path().join("log");
        let child = Self::spawn(folder.path(), &log, how, task);
        Self { folder, systemd, child, log }
    }

    fn spawn(folder: &Path, log: &Path, how: How, task: Task) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture"])
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .env(STALL, format!("{}:{}", how.word(), task.as_str()))
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The next thing it says; `None` if it says nothing for this long.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.systemd.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).unwrap();
        let mut word = [0; 128];
        match self.systemd.recv(&mut word) {
            Ok(length) => Some(String::from_utf8_lossy(&word[..length]).trim().to_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn wait_for(&self, word: &str) {
        let end = now() + Duration::from_mins(1);
        while self
            .hear(end.saturating_duration_since(now()))
            .unwrap_or_else(|| panic!("no {word}: {}", self.said()))
            != word
        {}
    }

    /// Seconds from the stall to the last feed; `None` if the feed goes on.
    fn feed_after_stall(&self) -> Option<Duration> {
        self.wait_for("STALLED=1");
        let (stalled, mut last) = (now(), Duration::ZERO);
        loop {
            if self.hear(SILENT).is_none() {
                return Some(last);
            }
            last = now() - stalled;
            if last > LAST_FEED + SILENT {
                return None;
            }
        }
    }

    /// As systemd ends a service that does not feed its watchdog, and starts it again.
    fn restart(&mut self, how: How, task: Task) {
        // It may have ended in order.
        drop(self.child.kill());
        self.child.wait().unwrap();
        while self.hear(Duration::ZERO).is_some() {}
        self.child = Self::spawn(self.folder.path(), &self.log, how, task);
    }

    /// An orderly end, which is no crash.
    fn terminate(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs all cases at once: each waits most of its time.
fn all_at_once(cases: &[(How, Task)]) -> Vec<Option<Duration>> {
    let found = Mutex::new(vec![None; cases.len()]);
    std::thread::scope(|scope| {
        for (index, (how, task)) in cases.iter().enumerate() {
            let found = &found;
            scope.spawn(move || {
                let fed = Watched::start(*how, *task).feed_after_stall();
                found.lock().unwrap()[index] = fed;
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn whatever_task_stalls_in_whatever_way_the_watchdog_is_fed_no_more() {
    let mut cases: Vec<_> =
        [How::Blocks, How::Awaits].into_iter().flat_map(|how| Task::ALL.map(|task| (how, task))).collect();
    // One on the executor and one on a thread of its own: each takes a core.
    cases.extend([(How::Spins, Task::Analyze), (How::Spins, Task::Infer)]);
    let fed = all_at_once(&cases);
    for ((how, task), fed) in cases.iter().zip(&fed) {
        let fed = fed.unwrap_or_else(|| panic!("{} {}: the feed goes on", task.as_str(), how.word()));
        assert!(fed <= LAST_FEED, "{} {}: fed for {fed:?}", task.as_str(), how.word());
    }
    let longest = fed.iter().flatten().max().unwrap();
    println!("WDG: {} stalls, the last feed at most {longest:.1?} after one", cases.len());
    assert_eq!(all_at_once(&[(How::TickedByTimer, Task::Infer)]), [None], "the planted bug is not seen");
}

#[test]
fn a_disk_that_hangs_under_the_files_of_state_keeps_nobody_from_starting_feeding_and_ending() {
    let mut gateway = Watched::start(How::DiskHangs, Task::Analyze);
    gateway.wait_for("READY=1");
    for _ in 0..3 {
        assert_eq!(gateway.hear(SILENT).as_deref(), Some("WATCHDOG=1"));
    }
    gateway.terminate();
    assert!(gateway.said().contains("a crash loop may go on"), "{}", gateway.said());
    assert!(gateway.said().contains("state 2"), "the last step takes its grace: {}", gateway.said());
}

#[test]
fn a_gateway_that_is_well_feeds_and_one_that_stalls_five_times_starts_without_models() {
    let mut gateway = Watched::start(How::Not, Task::Analyze);
    gateway.wait_for("READY=1");
    for _ in 0..5 {
        assert_eq!(gateway.hear(SILENT).as_deref(), Some("WATCHDOG=1"));
    }
    gateway.terminate();
    for crash in 0..5 {
        assert!(!gateway.said().contains("models are left out"), "after {crash} crashes");
        gateway.restart(How::Blocks, Task::Analyze);
        gateway.wait_for("STALLED=1");
        while gateway.hear(SILENT).is_some() {}
    }
    gateway.restart(How::Not, Task::Analyze);
    gateway.wait_for("READY=1");
    assert!(gateway.said().contains("models are left out"), "{}", gateway.said());
}
