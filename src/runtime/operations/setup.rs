//! Everything of commands that is made before the tasks run: which operations there are, and the ways to them.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::io::mqtt::Publisher;
use crate::runtime::common::Common;
use crate::runtime::operations::command::Command;
use crate::runtime::operations::health::Health;
use crate::runtime::operations::intake::Intake;
use crate::runtime::operations::journal::Journal;
use crate::runtime::operations::operation::Operation;
use crate::runtime::operations::pause::Pause;
use crate::runtime::operations::pauses::PauseBook;
use crate::runtime::operations::resume::Resume;
use crate::runtime::operations::shell::{COMMANDS_MAX, OperationsShell};
use crate::runtime::state_files::StateFiles;

/// The shell and what leads to it.
pub(in crate::runtime) struct Prepared {
    pub(in crate::runtime) shell: OperationsShell,
    pub(in crate::runtime) intake: Intake,
    pub(in crate::runtime) commands: mpsc::Sender<Command>,
}

/// What the operations work on and hear.
pub(in crate::runtime) struct Surroundings {
    pub(in crate::runtime) files: StateFiles,
    pub(in crate::runtime) pauses: Arc<PauseBook>,
    pub(in crate::runtime) health: watch::Receiver<Arc<str>>,
    pub(in crate::runtime) publisher: watch::Receiver<Option<Publisher>>,
    pub(in crate::runtime) stopping: watch::Receiver<bool>,
}

/// The registry: a new operation is one file beside this one and one line here.
fn operations(around: &Surroundings) -> Vec<Box<dyn Operation>> {
    vec![
        Box::new(Health(around.health.clone())),
        Box::new(Pause(Arc::clone(&around.pauses))),
        Box::new(Resume(Arc::clone(&around.pauses))),
    ]
}

/// Makes the shell of a gateway with this state directory.
pub(in crate::runtime) fn prepare(state_dir: &Path, around: Surroundings, common: &Common) -> Prepared {
    let operations = operations(&around);
    let names: Vec<_> = operations.iter().map(|operation| operation.name()).collect();
    let (commands, commands_seen) = mpsc::channel(COMMANDS_MAX);
    let journal = Journal::in_folder(state_dir, around.files);
    let shell = OperationsShell {
        commands: commands_seen,
        publisher: around.publisher,
        stopping: around.stopping,
        operations,
        ledger: journal.read(),
        journal,
        pauses: around.pauses,
        topics: common.topics.clone(),
        instance: common.instance.clone(),
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
    };
    Prepared { shell, intake: Intake::new(common.topics.root(), &names), commands }
}
