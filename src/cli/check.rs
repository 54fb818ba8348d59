//! `tidegate check`: configuration, board and models, every fault at once, and the memory plan.

use std::path::Path;

use crate::cli::exit::{Failure, say};
use crate::config::{Config, Fault, LinkSettings, WHOLE_FILE};
use crate::infer::ModelState;
use crate::io::files::{read_pem, read_secret, read_text};
use crate::io::sysfs::Sysfs;
use crate::runtime::{Models, board_profile, load_models, memory_plan, plan};
use crate::units::Bytes;

/// Checks everything that can be checked without starting.
pub(in crate::cli) fn check(path: &Path) -> Result<(), Failure> {
    let text = read_text(path).map_err(|error| Failure::Config(error.into()))?;
    let (config, found) = Config::examine(&text);
    if let [unread] = found.as_slice()
        && unread.key == WHOLE_FILE
    {
        // Not TOML: there is nothing to examine or to plan for.
        return Err(Failure::Config(anyhow::anyhow!("{}:\n{unread}", path.display())));
    }
    let mut faults: Vec<String> = found.iter().map(Fault::to_string).collect();
    faults.extend(unreadable_files(&config));
    match board_profile(config.gateway.board.as_deref(), &Sysfs::at(Path::new("/"))) {
        Ok(board) => say(&format!("board   {} ({})", board.name, board.title)),
        Err(wrong) => faults.push(wrong),
    }
    let models = load_models(&config.models).map_err(|error| Failure::Io(error.into()))?;
    faults.extend(models.faults.iter().map(|fault| {
        let allowed = "a folder with a manifest and the files it names, unchanged";
        format!("models[{}].path: {}; allowed: {allowed}", fault.index, fault.why)
    }));
    for status in models.registry.status() {
        match status.state {
            ModelState::Ready => say(&format!("model   {} {}", status.id, Bytes(status.memory_bytes))),
            ModelState::Refused(_) | ModelState::Quarantined(_) => {
                say(&format!("model   {} refused, see below", status.id));
            }
        }
    }
    if let Err(found) = plan(&config, &models.manifests, &models.readings, 0) {
        faults.extend(found.iter().map(Fault::to_string));
    }
    print_memory(&config, &models, &mut faults);
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

/// Secrets and certificates that the service could not read.
fn unreadable_files(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    for (section, link) in [("plant", &config.plant.link), ("upstream", &config.upstream.link)] {
        let LinkSettings { ca_file, cert_file, key_file, password_file, .. } = link;
        let opened = |file: &Path| read_pem(file).map(drop);
        let read = |file: &Path| read_secret(file).map(drop);
        for (key, file, result) in [
            ("ca_file", ca_file, ca_file.as_deref().map(opened)),
            ("cert_file", cert_file, cert_file.as_deref().map(opened)),
            ("key_file", key_file, key_file.as_deref().map(opened)),
            ("password_file", password_file, password_file.as_deref().map(read)),
        ] {
            if let (Some(file), Some(Err(error))) = (file, result) {
                let fault = Fault {
                    key: format!("{section}.{key}"),
                    wrong: format!("{:#}", anyhow::Error::new(error)),
                    allowed: format!(
                        "the path of a file that user tidegate can read; {} is not",
                        file.display()
                    ),
                };
                faults.push(fault.to_string());
            }
        }
    }
    faults
}

fn print_memory(config: &Config, models: &Models, faults: &mut Vec<String>) {
    let parts = memory_plan(config, models);
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
