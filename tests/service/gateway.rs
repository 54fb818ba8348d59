//! The real program in a child process.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for the program to end. Its own grace is shorter.
const EXIT_MAX: Duration = Duration::from_secs(30);

/// A gateway. Killed when dropped; its log is shown when the test fails.
pub(crate) struct Gateway {
    directory: TempDir,
    child: Option<Running>,
    log: Arc<Mutex<String>>,
}

struct Running {
    process: Child,
    /// Answers when the log has ended: then the process is gone.
    ended: mpsc::Receiver<()>,
}

impl Gateway {
    /// Starts it; `{dir}` in the configuration is a folder of its own.
    pub(crate) fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config.replace("{dir}", &directory.path().display().to_string());
        std::fs::write(directory.path().join("gateway.toml"), config).unwrap();
        let mut gateway = Self { directory, child: None, log: Arc::default() };
        gateway.launch();
        gateway
    }

    /// Starts it again after its end.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let mut process =
            command().args(["run", "--config"]).arg(self.config()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let log = Arc::clone(&self.log);
        let (tell, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                log.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            // The test may have ended already.
            tell.send(()).ok();
        });
        self.child = Some(Running { process, ended });
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    /// A folder in its own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything it has logged so far, over all its runs.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.child.take() {
            running.process.kill().unwrap();
            running.process.wait().unwrap();
        }
    }

    /// Asks it to end and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let running = self.child.as_ref().expect("it does not run");
        let id = i32::try_from(running.process.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let mut running = self.child.take().expect("it does not run");
        if running.ended.recv_timeout(EXIT_MAX).is_err() {
            running.process.kill().unwrap();
            panic!("did not end within {EXIT_MAX:?}");
        }
        running.process.wait().unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|running| running.process.try_wait().unwrap().is_none())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("the gateway's log:\n{}", self.log());
        }
    }
}

/// The program with a plain environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_remove("NOTIFY_SOCKET").env_remove("TIDEGATE_LOG").stdin(Stdio::null());
    command
}

/// Numbers of the events that wait in an outbox, as (epoch, number); read from the files, not from a running gateway.
pub(crate) fn waiting(outbox: &Path) -> Vec<(u32, u64)> {
    let output =
        command().args(["outbox", "peek", "--json", "--count", "1000000"]).arg(outbox).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let words = line["content"].as_str().unwrap().to_owned();
        let (epoch, number) = words.split(' ').nth(1).unwrap().split_once('/').unwrap();
        (epoch.parse().unwrap(), number.parse().unwrap())
    };
    String::from_utf8(output.stdout).unwrap().lines().map(id).collect()
}
