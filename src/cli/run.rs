//! `tidegate run`: the service.

use std::path::Path;

use crate::cli::config::load;
use crate::cli::exit::Failure;
use crate::runtime::{Options, RunError, WiringError, run as run_service};
use crate::telemetry::start_logging;

/// Runs the service until SIGTERM or SIGINT.
pub(in crate::cli) fn run(config: &Path) -> Result<(), Failure> {
    start_logging("info");
    let config = load(config)?;
    run_service(&config, Options::default()).map_err(|error| match &error {
        RunError::Wiring(WiringError::Plan { .. } | WiringError::Board(_) | WiringError::Secret(_)) => {
            Failure::Config(error.into())
        }
        RunError::Wiring(WiringError::Directory(_) | WiringError::Outbox { .. } | WiringError::Thread(_))
        | RunError::Start(_)
        | RunError::Outbox(_)
        | RunError::Unfinished => Failure::Io(error.into()),
        RunError::Infer(_) | RunError::Ended(_) => Failure::Bug(error.into()),
    })
}
