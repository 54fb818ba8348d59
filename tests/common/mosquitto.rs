//! A real Mosquitto in a child process, on a free port, with its own configuration in a temporary directory.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// A broker. Killed when dropped.
pub(crate) struct Mosquitto {
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

/// Longest time a broker may take to start; it takes some milliseconds on an idle machine.
const START_MAX: Duration = Duration::from_secs(30);

impl Mosquitto {
    /// Starts a broker that lets everybody in. With persistence it keeps sessions over [`Self::stop`], not over
    /// [`Self::kill`].
    pub(crate) fn start(persistence: bool) -> Self {
        Self::start_with(persistence, "allow_anonymous true\n")
    }

    /// Starts a broker with further lines of `mosquitto.conf`; `{dir}` in them is its directory.
    pub(crate) fn start_with(persistence: bool, lines: &str) -> Self {
        Self::start_prepared(tempfile::tempdir().unwrap(), persistence, lines)
    }

    /// Starts a broker in a directory that already holds files for it.
    pub(crate) fn start_prepared(directory: TempDir, persistence: bool, lines: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = directory.path().display().to_string();
        // Without `user root` a broker started by root could not write into the directory.
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence {persistence}\npersistence_location {path}/\n\
             max_queued_messages 0\nset_tcp_nodelay true\nlog_dest stderr\nlog_type error\nlog_type warning\n\
             log_type notice\nlog_type information\n{}",
            lines.replace("{dir}", &path),
        );
        std::fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { directory, port, child: None };
        broker.launch();
        broker
    }

    /// The port it listens on, on 127.0.0.1. The same after a restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Ends it in order: a broker with persistence writes its sessions.
    pub(crate) fn stop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        reap(child);
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().unwrap();
        reap(child);
    }

    /// Starts it again on the same port; kills it first if it still runs.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    fn launch(&mut self) {
        let config = self.directory.path().join("mosquitto.conf");
        // Debian installs daemons where the PATH of a plain user does not look.
        let spawned = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
            .iter()
            .map(|program| Command::new(program).arg("-c").arg(&config).stderr(Stdio::piped()).spawn())
            .find(|spawned| !matches!(spawned, Err(error) if error.kind() == ErrorKind::NotFound))
            .expect("mosquitto is not installed: run scripts/setup");
        let mut child = spawned.unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the broker never waits for its log to be read.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let running = line.ends_with(" running");
                // Nobody listens any more once it runs.
                drop(tell.send((running, line)));
            }
        });
        self.child = Some(child);
        let mut log = String::new();
        while let Ok((running, line)) = told.recv_timeout(START_MAX) {
            if running {
                return;
            }
            log.push_str(&line);
            log.push('\n');
        }
        panic!("mosquitto did not start:\n{log}");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn reap(mut child: Child) {
    child.wait().unwrap();
}
