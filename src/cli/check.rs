//! `tidegate check`: configuration, board and models, every fault at once, and the memory plan.

use std::path::Path;

use crate::cli::config::load;
use crate::cli::exit::{Failure, say};
use crate::config::{Config, Fault};
use crate::io::files::{open_file, read_secret};
use crate::io::sysfs::Sysfs;
use crate::runtime::{board_profile, load_models, memory_plan, plan};
use crate::units::Bytes;

/// Checks everything that can be checked without starting.
pub(in crate::cli) fn check(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    let mut faults = Vec::new();
    match board_profile(config.gateway.board.as_deref(), &Sysfs::at(Path::new("/"))) {
        Ok(board) => say(&format!("board   {} ({})", board.name, board.title)),
        Err(wrong) => faults.push(wrong),
    }
    faults.extend(unreadable(&config));
    let models = load_models(&config.models).map_err(|error| Failure::Io(error.into()))?;
    faults.extend(models.faults.iter().map(|fault| format!("models[{}]: {}", fault.index, fault.why)));
    for status in models.registry.status() {
        say(&format!("model   {} {}", status.id, Bytes(status.memory_bytes)));
    }
    if let Err(found) = plan(&config, &models.manifests, 0) {
        faults.extend(found.iter().map(Fault::to_string));
    }
    print_memory(&config, &models.manifests, &mut faults);
    if faults.is_empty() {
        say(&format!(
            "ok      {}: {} streams, {} models",
            path.display(),
            config.streams.len(),
            config.models.len()
        ));
        Ok(())
    } else {
        Err(Failure::Config(anyhow::anyhow!("{}:\n{}", path.display(), faults.join("\n"))))
    }
}

/// Files that the links need and that cannot be read.
fn unreadable(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    for (section, link) in [("plant", &config.plant.link), ("upstream", &config.upstream.link)] {
        let pems = [("ca_file", &link.ca_file), ("cert_file", &link.cert_file), ("key_file", &link.key_file)];
        let pems = pems.map(|(key, path)| (key, path.as_deref().and_then(|path| open_file(path).err())));
        let password = link.password_file.as_deref().and_then(|path| read_secret(path).err());
        for (key, error) in pems.into_iter().chain([("password_file", password)]) {
            if let Some(error) = error {
                let cause =
                    std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let fault = Fault {
                    key: format!("{section}.{key}"),
                    wrong: format!("{error}{cause}"),
                    allowed: "a file that the service's user may read".to_owned(),
                };
                faults.push(fault.to_string());
            }
        }
    }
    faults
}

fn print_memory(
    config: &Config,
    manifests: &[Option<std::sync::Arc<crate::infer::Manifest>>],
    faults: &mut Vec<String>,
) {
    let parts = memory_plan(config, manifests);
    let sum = parts.iter().map(|part| part.bytes.0).sum();
    say("memory plan");
    for part in &parts {
        say(&format!("  {:>10}  {}", part.bytes.to_string(), part.what));
    }
    let budget = config.budget.memory;
    say(&format!("  {:>10}  together, of a budget of {budget}", Bytes(sum).to_string()));
    if sum > budget.0 {
        let fault = Fault {
            key: "budget.memory".to_owned(),
            wrong: format!("{budget} is less than the {} the plan needs", Bytes(sum)),
            allowed: "a larger budget, fewer or smaller models, or smaller limits".to_owned(),
        };
        faults.push(fault.to_string());
    }
}
