//! The real binary in a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longest wait for a line: generous, because a test that waits for it fails anyway.
const PATIENCE: Duration = Duration::from_mins(1);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("TIDEGATE_LOG");
    command
}

/// How a command ended and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command to its end, with nothing on stdin.
pub(crate) fn run(args: &[&str]) -> Ended {
    Running::start(args).end()
}

/// Runs a command with these bytes on stdin.
pub(crate) fn run_with(args: &[&str], stdin: &[u8]) -> Ended {
    let mut command = command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // Whoever does not read to the end says so by its exit code.
    let feeder = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.into()
}

/// A command that runs. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Receiver<String>>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a command whose stdout is read.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut running = Self::start_unread(args);
        running.stdout = running.child.stdout.take().map(lines);
        running
    }

    /// Starts a command whose stdout nobody reads.
    pub(crate) fn start_unread(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdout: None, stderr }
    }

    /// Closes the reading end of its stdout.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
    }

    /// The next line of stdout.
    pub(crate) fn line(&self) -> String {
        self.stdout.as_ref().unwrap().recv_timeout(PATIENCE).expect("no line on stdout")
    }

    /// A line of stdout if one comes within this time.
    pub(crate) fn line_within(&self, time: Duration) -> Option<String> {
        self.stdout.as_ref().unwrap().recv_timeout(time).ok()
    }

    /// Waits for a line of stderr that starts so.
    pub(crate) fn says(&self, start: &str) {
        while !self.stderr.recv_timeout(PATIENCE).expect("no such line on stderr").starts_with(start) {}
    }

    /// Asks it to stop, as systemd does.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end: the exit code and what it said since.
    pub(crate) fn end(mut self) -> Ended {
        // Both streams end with the process, and with a limit.
        let drain = |lines: &Receiver<String>| {
            let mut text = String::new();
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => text = text + &line + "\n",
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return text,
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end:\n{text}"),
                }
            }
        };
        let stderr = drain(&self.stderr);
        let stdout = self.stdout.as_ref().map(drain).unwrap_or_default();
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}
