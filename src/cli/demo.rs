//! `tidegate demo`: the whole thing with nothing installed.

use std::time::Duration;

use crate::cli::exit::{Failure, print, say};
use crate::demo::{DemoError, DemoOptions, run_demo};
use crate::runtime::{RunError, WiringError};
use crate::telemetry::start_logging;

/// Gives the demonstration and prints its result.
pub(in crate::cli) fn demo(seconds: u64, seed: u64, json: bool) -> Result<(), Failure> {
    // The view tells what happens; only bugs are worth a line in between. `TIDEGATE_LOG=info` shows all.
    start_logging("tidegate=error");
    let options = DemoOptions { length: Duration::from_secs(seconds), seed };
    let summary = run_demo(options).map_err(failure)?;
    say(&format!("\n{}", summary.text()));
    if json {
        print(&summary.json().to_string())?;
    }
    let faults = summary.faults();
    if faults.is_empty() { Ok(()) } else { Err(Failure::Bug(anyhow::anyhow!("{}", faults.join("; ")))) }
}

fn failure(error: DemoError) -> Failure {
    match &error {
        DemoError::Hung(_)
        | DemoError::Config(_)
        | DemoError::Service(
            RunError::Infer(_)
            | RunError::Ended(_)
            | RunError::Wiring(WiringError::Plan { .. } | WiringError::Board(_) | WiringError::Secret(_)),
        ) => Failure::Bug(error.into()),
        DemoError::Scratch(_)
        | DemoError::Start(_)
        | DemoError::Broker(_)
        | DemoError::Connect { .. }
        | DemoError::Lost { .. }
        | DemoError::Interrupted
        | DemoError::Service(
            RunError::Start(_)
            | RunError::Outbox(_)
            | RunError::Unfinished
            | RunError::Wiring(WiringError::Directory(_) | WiringError::Outbox { .. } | WiringError::Thread(_)),
        ) => Failure::Io(error.into()),
    }
}
