//! The child: limits itself, examines one folder, says what it found, ends.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::infer::manifest::MANIFEST_BYTES_MAX;
use crate::infer::{AdmissionLimits, AdmissionReport, Encode, examine};
use crate::io::files::read_capped;
use crate::units::Bytes;

/// Open files: the three standard ones, the file being read and a few the C library opens.
const OPEN_FILES_MAX: u64 = 16;

/// Characters of a refusal.
const REFUSAL_CHARS: usize = 2000;

/// One line of the child's standard output.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    /// What it is about to do.
    Step(String),
    /// It ended well.
    Report(Box<AdmissionReport>),
    /// The model is refused, and why.
    Refused(String),
}

/// Runs the hidden subcommand `admit --dir DIR --memory BYTES --seconds N`: `memory` is the heap beyond what the
/// program itself takes, `seconds` the processor time. `encode` makes numbers of the reports in golden vectors.
pub fn child_main(dir: &Path, memory: Bytes, seconds: u32, encode: Encode<'_>) -> ExitCode {
    let said = match limit(memory, seconds) {
        Ok(()) => say(&examined(dir, memory, encode)),
        Err(error) => say(&Line::Refused(format!("limit the admission child: {error}"))),
    };
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn examined(dir: &Path, memory: Bytes, encode: Encode<'_>) -> Line {
    let limits = AdmissionLimits { memory_bytes: memory.0, ..AdmissionLimits::default() };
    let manifest = read_capped(&dir.join("manifest.toml"), MANIFEST_BYTES_MAX as u64);
    let Some(text) = manifest.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Line::Refused("manifest.toml cannot be read: copy the model again".to_owned());
    };
    let files = |name: &str| read_capped(&dir.join(name), limits.file_bytes).ok();
    // A step that cannot be told is no reason to stop; the last line is the one that counts.
    let mut step = |what: &str| drop(say(&Line::Step(what.to_owned())));
    let clock = SystemClock::start();
    match examine(&text, &files, &limits, encode, &|| clock.thread_time(), &mut step) {
        Ok(report) => Line::Report(Box::new(report)),
        // A parser repeats what it does not know, however long; the parent reads no more than a line of its log.
        Err(error) => Line::Refused(chain(&error).chars().take(REFUSAL_CHARS).collect()),
    }
}

/// Sets the limits of this process: no core file, few files, processor time, memory.
fn limit(memory: Bytes, seconds: u32) -> io::Result<()> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?
        .split_whitespace()
        .next()
        .and_then(|pages| pages.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let program = pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096));
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Nofile, both(OPEN_FILES_MAX))?;
    setrlimit(Resource::Cpu, both(u64::from(seconds.max(1))))?;
    setrlimit(Resource::As, both(program.saturating_add(memory.0)))?;
    Ok(())
}

fn say(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

/// An error and its causes on one line, as a refusal is told.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
