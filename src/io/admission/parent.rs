//! The parent: reads the bytes once, starts the child, waits for so long, believes only what fits together.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::infer::manifest::{MANIFEST_BYTES_MAX, Manifest, Variant};
use crate::infer::{
    AdmissionError, AdmissionLimits, AdmissionReport, Digest, EngineError, Model, VariantReport,
};
use crate::io::admission::child::Line;
use crate::io::admission::source::{ModelSource, proven};
use crate::io::files::read_capped;
use crate::units::Bytes;

/// Bytes of the child's standard output that are read: a report of 8 variants is 3 kB.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of its standard error that are read, for the words it dies with.
const LAST_WORDS_BYTES_MAX: u64 = 16 * 1024;
/// Polls of the child's end after it has closed its output.
const END_POLLS: u32 = 200;
/// Time between them.
const END_POLL: Duration = Duration::from_millis(5);

/// How models are examined.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The program that has the `admit` subcommand: normally this very one.
    pub program: PathBuf,
    /// Heap the child may take.
    pub memory: Bytes,
    /// Processor time and wall time the child may take, in seconds.
    pub seconds: u32,
}

/// A model that passed, with the bytes that passed.
#[derive(Clone)]
pub struct Admitted {
    manifest: Arc<Manifest>,
    folder: PathBuf,
    report: AdmissionReport,
    /// Bytes of every file that the manifest names.
    files: BTreeMap<Arc<str>, Vec<u8>>,
}

/// Why a model is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// A file cannot be read.
    #[error("model {model}: read {file}: correct the path or copy the model again")]
    Read {
        /// Name of the folder.
        model: String,
        /// Path of the file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest has faults, or a digest differs, or the child refused it.
    #[error("{why}")]
    Refused {
        /// In words that name model, file and remedy.
        why: String,
    },
    /// The child could not be started or listened to.
    #[error("model {model}: start the admission child")]
    Start {
        /// Name of the folder.
        model: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The child died.
    #[error(
        "model {model}: the admission child {how} while it was to {step}: refuse the file or export it again"
    )]
    Died {
        /// Name of the folder.
        model: String,
        /// Of what.
        how: String,
        /// Its last step.
        step: String,
    },
    /// What the child examined is not what the parent read.
    #[error("model {model}: its files changed while they were examined: try again when nothing writes to it")]
    Changed {
        /// Name of the folder.
        model: String,
    },
}

impl Admission {
    /// With this very program as the child.
    pub fn by_this_program(memory: Bytes, seconds: u32) -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, memory, seconds })
    }

    /// Examines the model in a folder. Blocks for at most about `seconds`.
    pub fn admit(&self, dir: &Path) -> Result<Admitted, AdmitError> {
        let name = dir.file_name().map_or_else(|| dir.to_string_lossy(), OsStr::to_string_lossy);
        let limits = AdmissionLimits::default();
        let read = |file: &str, limit: u64| {
            read_capped(&dir.join(file), limit).map_err(|source| AdmitError::Read {
                model: name.to_string(),
                file: dir.join(file).display().to_string(),
                source,
            })
        };
        let text = read("manifest.toml", MANIFEST_BYTES_MAX as u64)?;
        let manifest_sha256 = Digest::of(&text);
        let manifest = parse(&name, &text)?;
        let most = limits.file_bytes;
        let mut files = vec![(&manifest.golden.file, manifest.golden.sha256, most)];
        files.extend(manifest.variants.iter().map(|variant| (&variant.file, variant.sha256, most)));
        files.extend(manifest.companions().map(|(beside, most)| (&beside.file, beside.sha256, most)));
        let mut kept = BTreeMap::new();
        for (file, expected, most) in files {
            let bytes = read(file, most)?;
            let found = Digest::of(&bytes);
            if found != expected {
                let (model, file) = (Arc::clone(manifest.id()), Arc::clone(file));
                let why = AdmissionError::Digest { model, file, expected, found }.to_string();
                return Err(AdmitError::Refused { why });
            }
            kept.insert(Arc::clone(file), bytes);
        }
        let report = self.examine(dir, &name)?;
        let same = report.manifest_sha256 == manifest_sha256
            && report.golden_sha256 == manifest.golden.sha256
            && report.variants.len() == manifest.variants.len()
            && report.variants.iter().zip(&manifest.variants).all(|(a, b)| a.sha256 == b.sha256);
        if !same {
            return Err(AdmitError::Changed { model: name.into_owned() });
        }
        Ok(Admitted { manifest: Arc::new(manifest), folder: dir.to_owned(), report, files: kept })
    }

    /// Runs the child to its end, natural or not.
    fn examine(&self, dir: &Path, name: &str) -> Result<AdmissionReport, AdmitError> {
        let start = |source| AdmitError::Start { model: name.to_owned(), source };
        let mut child = self.spawn(dir).map_err(start)?;
        let heard = self.listen(&mut child).map_err(start);
        // Nothing is left behind, whatever happened: killing what has ended is no error that matters.
        drop(child.kill());
        let status = child.wait().map_err(start)?;
        let heard = heard?;
        let status = heard.status.unwrap_or(status);
        let mut step = "start".to_owned();
        for line in heard.output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Step(next)) => step = printable(&next),
                Ok(Line::Report(report)) if !heard.late && status.success() => return Ok(*report),
                Ok(Line::Refused(why)) => return Err(AdmitError::Refused { why: printable(&why) }),
                Ok(Line::Report(_)) | Err(_) => break,
            }
        }
        let how = if heard.late {
            format!("was stopped after {} s", self.seconds)
        } else {
            cause(status, &heard.last_words)
        };
        Err(AdmitError::Died { model: name.to_owned(), how, step })
    }

    fn spawn(&self, dir: &Path) -> io::Result<Child> {
        Command::new(&self.program)
            .arg("admit")
            .arg("--dir")
            .arg(dir)
            .arg("--memory")
            .arg(self.memory.0.to_string())
            .arg("--seconds")
            .arg(self.seconds.to_string())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Reads both streams of the child until they end or time is up.
    fn listen(&self, child: &mut Child) -> io::Result<Heard> {
        let output = drain(child.stdout.take(), OUTPUT_BYTES_MAX)?;
        let last_words = drain(child.stderr.take(), LAST_WORDS_BYTES_MAX)?;
        let mut heard = Heard::default();
        match output.recv_timeout(Duration::from_secs(u64::from(self.seconds.max(1)))) {
            Ok(bytes) => heard.output = bytes,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => heard.late = true,
        }
        if heard.late {
            // The reader ends when the child does, and then it has what the child had said.
            child.kill()?;
            heard.output = output.recv_timeout(END_POLL * END_POLLS).unwrap_or_default();
            return Ok(heard);
        }
        // It has closed its output, so it is about to end. Nobody sends here: waiting on it is a pause.
        let (_silent, pause) = sync_channel::<()>(1);
        for _ in 0..END_POLLS {
            heard.status = child.try_wait()?;
            if heard.status.is_some() {
                break;
            }
            if pause.recv_timeout(END_POLL).is_ok() {
                break;
            }
        }
        heard.last_words = last_words.recv_timeout(END_POLL * END_POLLS).unwrap_or_default();
        Ok(heard)
    }
}

impl Admitted {
    /// The manifest that was examined.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// What was found out.
    pub fn report(&self) -> &AdmissionReport {
        &self.report
    }

    /// The bytes of a file that the manifest names, as they were examined.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// A variant with what was found out about it; the first one if `None` is asked for.
    pub fn variant(&self, name: Option<&str>) -> Option<(&Variant, &VariantReport)> {
        let mut variants = self.manifest.variants.iter().zip(&self.report.variants);
        variants.find(|(variant, _)| name.is_none_or(|name| *variant.name == *name))
    }

    /// Loads a variant from the bytes that were examined; the first one if `None` is asked for. `Ok(None)` if there
    /// is none of that name.
    pub fn load(&self, name: Option<&str>) -> Result<Option<Model>, EngineError> {
        let Some((variant, report)) = self.variant(name) else { return Ok(None) };
        let bytes = self.file(&variant.file).unwrap_or_default();
        Model::load(Arc::clone(&self.manifest), bytes, &proven(report)).map(Some)
    }

    /// Where it can be loaded from again, without its bytes.
    pub fn source(&self) -> ModelSource {
        let Self { manifest, folder, report, .. } = self;
        ModelSource::new(Arc::clone(manifest), folder.clone(), report.variants.clone())
    }
}

/// What was heard of a child.
#[derive(Default)]
struct Heard {
    output: Vec<u8>,
    last_words: Vec<u8>,
    status: Option<ExitStatus>,
    late: bool,
}

fn parse(name: &str, text: &[u8]) -> Result<Manifest, AdmitError> {
    let text = std::str::from_utf8(text);
    let text = text.map_err(|_| AdmitError::Refused {
        why: format!("model {name}: manifest.toml is not UTF-8: copy the model again"),
    })?;
    Manifest::parse(text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        AdmitError::Refused { why: format!("model {name}: manifest.toml: {}", faults.join("; ")) }
    })
}

/// Reads a stream to its end or to `limit` on a thread of its own, so that waiting for it can have a limit.
fn drain<R: Read + Send + 'static>(stream: Option<R>, limit: u64) -> io::Result<Receiver<Vec<u8>>> {
    let stream = stream.ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("tg-admission".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error still counts; nobody may be waiting any more.
        drop(stream.take(limit).read_to_end(&mut bytes));
        drop(sender.send(bytes));
    })?;
    Ok(receiver)
}

/// How a child ended, in words.
fn cause(status: ExitStatus, last_words: &[u8]) -> String {
    let words = String::from_utf8_lossy(last_words);
    match status.signal() {
        Some(6) if words.contains("overflowed its stack") => "overflowed its stack".to_owned(),
        Some(6) if words.contains("memory allocation of") => "ran out of the memory it may take".to_owned(),
        Some(9 | 24) => "used up its processor time".to_owned(),
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("ended with exit code {} and no report", status.code().unwrap_or(-1)),
    }
}

/// Words of the child fit for a log line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(2000).collect()
}
