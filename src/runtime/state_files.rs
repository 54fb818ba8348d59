//! Small files of state on a thread of their own: nobody else waits for their disk.
//!
//! # Invariants
//! * The last state of a file wins, and at most one of each waits: memory does not grow while a disk hangs.
//! * What the disk does not take is told, counted and tried again until it does. Nothing ends because of it.
//! * Whoever promises that something is durable waits for exactly that, and not for ever.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::io::files::{FileError, replace_file};
use crate::runtime::threads::thread;
use crate::telemetry::{Metric, Metrics};

/// Longest wait until something is durable: a worn card takes seconds for a sync, and who asks wants an answer.
const KEPT_MAX: Duration = Duration::from_secs(5);

/// What a disk did not take is given to it again this often.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Set in a test's process of its own: the disk never answers.
#[cfg(test)]
pub(in crate::runtime) static DISK_HANGS: std::sync::OnceLock<()> = std::sync::OnceLock::new();

/// A file in `state_dir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum StateFile {
    /// Runs that have not ended in order.
    Starts,
    /// Commands that were begun.
    Commands,
    /// Streams that are paused.
    Pauses,
    /// The last confirmed wall time.
    Clock,
}

/// Why a state is not durable. It may become so later.
#[derive(Debug, thiserror::Error)]
pub(in crate::runtime) enum NotKept {
    /// The disk refused it.
    #[error("{0}")]
    Refused(Arc<str>),
    /// The disk hangs.
    #[error("the disk has not answered for {} s", KEPT_MAX.as_secs())]
    Late,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct StateFiles {
    wanted: watch::Sender<Wanted>,
    tried: watch::Receiver<Tried>,
    metrics: Arc<Metrics>,
}

/// What is to be on the disk: of each file the last state, numbered.
#[derive(Clone, Debug, Default)]
struct Wanted {
    states: BTreeMap<StateFile, (u64, Arc<[u8]>)>,
    closing: bool,
}

/// Of each file the state that was tried last, and why the disk did not take it.
type Tried = BTreeMap<StateFile, Attempt>;

#[derive(Clone, Debug)]
struct Attempt {
    number: u64,
    fault: Option<Arc<str>>,
}

/// The thread's state.
struct Worker<W> {
    folder: PathBuf,
    write: W,
    wanted: watch::Receiver<Wanted>,
    tried: watch::Sender<Tried>,
    metrics: Arc<Metrics>,
}

impl StateFile {
    /// Its name in `state_dir`.
    pub(in crate::runtime) fn name(self) -> &'static str {
        match self {
            Self::Starts => "starts",
            Self::Commands => "commands",
            Self::Pauses => "pauses",
            Self::Clock => "clock",
        }
    }

    /// What comes of it if it is not written.
    fn consequence(self) -> &'static str {
        match self {
            Self::Starts => "a crash loop may go on",
            Self::Commands => "a restart may call a command interrupted that has ended",
            Self::Pauses => "a restart may begin a pause again that is over",
            Self::Clock => "after a restart without a clock older certificates may pass",
        }
    }
}

impl StateFiles {
    /// Starts the thread for the files in this folder.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(in crate::runtime) fn start(folder: &Path, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let (files, worker) = Self::with(folder, metrics, replace);
        // Its end closes the channel.
        drop(thread("tg-state", worker.run())?);
        Ok(files)
    }

    /// What the thread runs, and the way to it.
    fn with<W>(folder: &Path, metrics: &Arc<Metrics>, write: W) -> (Self, Worker<W>) {
        let (wanted, wanted_seen) = watch::channel(Wanted::default());
        let (tried, tried_seen) = watch::channel(Tried::new());
        let worker = Worker {
            folder: folder.to_owned(),
            write,
            wanted: wanted_seen,
            tried,
            metrics: Arc::clone(metrics),
        };
        (Self { wanted, tried: tried_seen, metrics: Arc::clone(metrics) }, worker)
    }

    /// Takes a state over: on the disk soon, or as soon as the disk takes it. The number it has among those of its file.
    pub(in crate::runtime) fn put(&self, file: StateFile, state: Vec<u8>) -> u64 {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            let (last, latest) = wanted.states.entry(file).or_insert_with(|| (0, Arc::default()));
            *last += 1;
            (number, *latest) = (*last, state.into());
        });
        number
    }

    /// Takes a state over and returns when it is durable.
    ///
    /// # Errors
    /// When the disk refuses it or hangs; it may become durable later unless another takes its place.
    pub(in crate::runtime) async fn keep(&self, file: StateFile, state: Vec<u8>) -> Result<(), NotKept> {
        let number = self.put(file, state);
        let mut tried = self.tried.clone();
        let is_tried = |tried: &Tried| tried.get(&file).is_some_and(|attempt| attempt.number >= number);
        let waited = tokio::time::timeout(KEPT_MAX, tried.wait_for(is_tried)).await;
        let fault =
            waited.map(|tried| tried.map(|tried| tried.get(&file).and_then(|attempt| attempt.fault.clone())));
        match fault {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(fault))) => Err(NotKept::Refused(fault)),
            Ok(Err(_)) => Err(NotKept::Refused("the gateway is ending".into())),
            Err(_) => {
                self.metrics.add(Metric::FailedStateWrites, 1);
                Err(NotKept::Late)
            }
        }
    }

    /// Has everything written that waits, and waits for it.
    pub(in crate::runtime) async fn end(&self) {
        self.wanted.send_modify(|wanted| wanted.closing = true);
        // Nothing is waited for but the end of the channel.
        drop(self.tried.clone().wait_for(|_| false).await);
    }
}

fn replace(path: &Path, state: &[u8]) -> Result<(), FileError> {
    #[cfg(test)]
    while DISK_HANGS.get().is_some() {
        std::thread::park();
    }
    replace_file(path, state)
}

impl<W: FnMut(&Path, &[u8]) -> Result<(), FileError>> Worker<W> {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            for (file, (number, state)) in &wanted.states {
                self.write(*file, *number, state);
            }
            if wanted.closing {
                return;
            }
            let is_failing = self.tried.borrow().values().any(|attempt| attempt.fault.is_some());
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(RETRY_EVERY), if is_failing => {}
            }
        }
    }

    /// Writes a state unless it is on the disk already.
    fn write(&mut self, file: StateFile, number: u64, state: &[u8]) {
        let before = self.tried.borrow().get(&file).cloned();
        if before.as_ref().is_some_and(|attempt| attempt.number == number && attempt.fault.is_none()) {
            return;
        }
        let path = self.folder.join(file.name());
        let written = (self.write)(&path, state);
        let fault =
            written.err().map(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string));
        let had_failed = before.is_some_and(|attempt| attempt.fault.is_some());
        let (path, consequence) = (path.display(), file.consequence());
        match &fault {
            Some(fault) => {
                self.metrics.add(Metric::FailedStateWrites, 1);
                if !had_failed {
                    warn!(%path, fault, consequence, "could not write a file of state: trying again");
                }
            }
            None if had_failed => info!(%path, "a file of state is written again"),
            None => {}
        }
        let attempt = Attempt { number, fault: fault.map(Arc::from) };
        self.tried.send_modify(|tried| drop(tried.insert(file, attempt)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::runtime::retry::best_effort;

    /// What is on a disk, in the order in which it came there.
    type Written = Arc<Mutex<Vec<(PathBuf, Vec<u8>)>>>;

    /// A disk that says that it is asked to write and hangs until it is told that it may.
    struct Hanging {
        files: StateFiles,
        asked: Receiver<()>,
        tell: SyncSender<()>,
        written: Written,
    }

    fn hanging(metrics: &Arc<Metrics>) -> Hanging {
        let ((ask, asked), (tell, told)) = (sync_channel(64), sync_channel::<()>(64));
        let written = Written::default();
        let seen = Arc::clone(&written);
        let write = move |path: &Path, state: &[u8]| {
            ask.send(()).unwrap();
            // Whoever drops the other end lets everything pass.
            best_effort(told.recv());
            seen.lock().unwrap().push((path.to_owned(), state.to_vec()));
            Ok(())
        };
        let (files, worker) = StateFiles::with(Path::new("state"), metrics, write);
        drop(thread("tg-test", worker.run()).unwrap());
        Hanging { files, asked, tell, written }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_holds_up_who_waits_for_so_long_and_nobody_else() {
        let metrics = Arc::new(Metrics::new());
        let Hanging { files, asked, tell, written } = hanging(&metrics);
        files.put(StateFile::Pauses, b"first".to_vec());
        asked.recv().unwrap();
        let began = tokio::time::Instant::now();
        let late = files.keep(StateFile::Pauses, b"second".to_vec()).await;
        assert!(matches!(late, Err(NotKept::Late)), "{late:?}");
        assert!(began.elapsed() <= KEPT_MAX + Duration::from_millis(2), "{:?}", began.elapsed());
        assert_eq!(metrics.get(Metric::FailedStateWrites), 1);
        // Nobody waits for this, and memory holds the last of each.
        for number in 0..10_000_u32 {
            files.put(StateFile::Commands, number.to_string().into_bytes());
            files.put(StateFile::Starts, number.to_string().into_bytes());
        }
        assert_eq!(files.wanted.borrow().states.len(), 3);
        drop(tell);
        // On the thread's own time: the paused clock does not wait for it.
        files.end().await;
        let states: Vec<_> = written.lock().unwrap().iter().map(|(_, state)| state.clone()).collect();
        let expected: [&[u8]; 4] = [b"first", b"9999", b"9999", b"second"];
        assert_eq!(states, expected, "what was overtaken costs no write");
        assert_eq!(written.lock().unwrap()[3].0, Path::new("state/pauses"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_disk_refuses_is_told_counted_and_tried_again_until_it_is_taken() {
        let metrics = Arc::new(Metrics::new());
        let (written, refusals) = (Written::default(), Arc::new(Mutex::new(3_u32)));
        let (seen, left) = (Arc::clone(&written), Arc::clone(&refusals));
        let write = move |path: &Path, state: &[u8]| {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                let (path, source) = (path.to_owned(), io::ErrorKind::StorageFull.into());
                return Err(FileError::Write { path, source });
            }
            seen.lock().unwrap().push((path.to_owned(), state.to_vec()));
            Ok(())
        };
        let (files, worker) = StateFiles::with(Path::new("state"), &metrics, write);
        tokio::spawn(worker.run());
        let refused = files.keep(StateFile::Commands, b"x".to_vec()).await.unwrap_err();
        assert!(matches!(refused, NotKept::Refused(_)), "{refused}");
        assert_eq!(refused.to_string(), io::Error::from(io::ErrorKind::StorageFull).to_string());
        tokio::time::sleep(RETRY_EVERY.mul_f64(2.5)).await;
        assert_eq!(metrics.get(Metric::FailedStateWrites), 3);
        assert!(written.lock().unwrap().is_empty());
        tokio::time::sleep(RETRY_EVERY * 10).await;
        files.end().await;
        assert_eq!(metrics.get(Metric::FailedStateWrites), 3);
        assert_eq!(*written.lock().unwrap(), [(PathBuf::from("state/commands"), b"x".to_vec())], "once");
    }

    #[tokio::test]
    async fn an_orderly_end_writes_what_waits_and_nothing_is_promised_after_it() {
        let Hanging { files, asked, tell, written } = hanging(&Arc::new(Metrics::new()));
        files.put(StateFile::Starts, b"x".to_vec());
        drop(tell);
        files.end().await;
        assert_eq!((written.lock().unwrap().len(), asked.iter().count()), (1, 1));
        assert!(files.keep(StateFile::Starts, b"y".to_vec()).await.is_err());
    }
}
