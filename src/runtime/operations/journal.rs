//! The ledger on the disk: which commands were begun, so that none of them runs again after a restart.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::io::files::read_bytes;
use crate::runtime::operations::ledger::{Entry, Ledger};
use crate::runtime::operations::operation::Outcome;
use crate::runtime::state_files::{NotKept, StateFile, StateFiles};

/// Longest file that is read: far more than the ledger holds.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file: one line of JSON for each command, the oldest first.
#[derive(Debug)]
pub(in crate::runtime) struct Journal {
    path: PathBuf,
    files: StateFiles,
}

/// One line.
#[derive(Deserialize, Serialize)]
struct Line {
    op: Box<str>,
    id: Box<str>,
    status: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Journal {
    /// In this state directory.
    pub(in crate::runtime) fn in_folder(state_dir: &Path, files: StateFiles) -> Self {
        Self { path: state_dir.join(StateFile::Commands.name()), files }
    }

    /// What an earlier run has written; a file that is absent or damaged knows nothing.
    pub(in crate::runtime::operations) fn read(&self) -> Ledger {
        let bytes = read_bytes(&self.path, FILE_BYTES_MAX).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        Ledger::restore(lines.map(|line| {
            let ended = match &*line.status {
                "successful" => Some(Outcome::Successful(Map::new())),
                "failed" => Some(Outcome::Failed(line.reason.unwrap_or_default())),
                _ => None,
            };
            Entry::kept(line.op, line.id, ended)
        }))
    }

    /// Writes down what the ledger knows of commands that change something, and returns when it is durable.
    pub(in crate::runtime::operations) async fn keep(
        &self,
        ledger: &Ledger,
        changes: impl Fn(&str) -> bool,
    ) -> Result<(), NotKept> {
        let text = text(ledger, changes);
        self.files.keep(StateFile::Commands, text).await
    }

    /// The same without waiting for the disk.
    pub(in crate::runtime::operations) fn put(&self, ledger: &Ledger, changes: impl Fn(&str) -> bool) {
        self.files.put(StateFile::Commands, text(ledger, changes));
    }
}

fn text(ledger: &Ledger, changes: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in ledger.entries().filter(|entry| changes(&entry.op)) {
        let (status, reason) = match &entry.ended {
            None => ("executing", None),
            Some(Outcome::Successful(_)) => ("successful", None),
            Some(Outcome::Failed(reason)) => ("failed", Some(reason.clone())),
        };
        let line = Line { op: entry.op.clone(), id: entry.id.clone(), status: Cow::Borrowed(status), reason };
        // Plain texts always become JSON.
        text.extend(serde_json::to_vec(&line).unwrap_or_default());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runtime::operations::ledger::INTERRUPTED;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn what_was_begun_is_known_to_the_next_run_and_a_damaged_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let files = StateFiles::start(folder.path(), &Arc::new(Metrics::new())).unwrap();
        let journal = Journal::in_folder(folder.path(), files);
        assert_eq!(journal.read().entries().count(), 0);
        let mut ledger = Ledger::default();
        for id in ["good", "bad", "begun"] {
            ledger.begin("pause", id);
        }
        ledger.begin("health", "not kept");
        let (good, bad) = (Outcome::Successful(Map::new()), Outcome::Failed("no such stream".to_owned()));
        ledger.end("pause", "good", &good);
        ledger.end("pause", "bad", &bad);
        journal.keep(&ledger, |op| op == "pause").await.unwrap();
        let read = |journal: &Journal| -> Vec<_> {
            journal.read().entries().map(|entry| (entry.id.clone(), entry.ended.clone().unwrap())).collect()
        };
        let interrupted = Outcome::Failed(INTERRUPTED.to_owned());
        let expected = vec![("good".into(), good), ("bad".into(), bad), ("begun".into(), interrupted)];
        assert_eq!(read(&journal), expected);
        let path = folder.path().join("commands");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] = 0xff;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&journal), expected[1..], "the damaged line alone is lost");
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(read(&journal), []);
    }
}
