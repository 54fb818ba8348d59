//! `tidegate check`: configuration, board and models, every fault at once, and the memory plan.

use std::path::Path;

use crate::cli::exit::{Failure, say};
use crate::config::{Config, Fault, LinkSettings, ValueSource, WHOLE_FILE};
use crate::infer::residency::DWELL;
use crate::infer::{Fit, ModelState};
use crate::io::files::{read_secret, read_text};
use crate::io::mqtt::{FileFault, TlsFiles, TlsMemory, examine, expiries};
use crate::io::sysfs::Sysfs;
use crate::runtime::{Models, attached, board_profile, least_budget, load_models, memory_plan, plan};
use crate::units::Bytes;

/// Checks everything that can be checked without starting.
pub(in crate::cli) fn check(path: &Path) -> Result<(), Failure> {
    let text = read_text(path).map_err(|error| Failure::Config(error.into()))?;
    let (mut config, found) = Config::examine(&text);
    if let [unread] = found.as_slice()
        && unread.key == WHOLE_FILE
    {
        // Not TOML: there is nothing to examine or to plan for.
        return Err(Failure::Config(anyhow::anyhow!("{}:\n{unread}", path.display())));
    }
    let mut faults: Vec<String> = found.iter().map(Fault::to_string).collect();
    faults.extend(unreadable_secrets(&config));
    faults.extend(examined_certificates(&config));
    match board_profile(config.gateway.board.as_deref(), &Sysfs::at(Path::new("/"))) {
        Ok(board) => {
            say(&format!("board   {} ({})", board.name, board.title));
            config = config.on(&board);
            faults.extend(attached(&config, &board).err().iter().flatten().map(Fault::to_string));
        }
        Err(wrong) => faults.push(wrong),
    }
    let budget = &config.budget;
    let (memory_from, cpu_from) = (budget.memory_from.as_str(), budget.cpu_from.as_str());
    let limits = format!("memory {} ({memory_from}), cpu {} ({cpu_from})", budget.memory, budget.cpu);
    say(&format!("budget  {limits}"));
    let models = load_models(&config.models).map_err(|error| Failure::Io(error.into()))?;
    faults.extend(models.faults.iter().map(|fault| {
        let allowed = "a folder with a manifest and the files it names, unchanged";
        format!("models[{}].path: {}; allowed: {allowed}", fault.index, fault.why)
    }));
    for status in models.registry.status() {
        match status.state {
            ModelState::Ready | ModelState::Unloaded | ModelState::Loading => {
                say(&format!("model   {} {}", status.id, Bytes(status.memory_bytes)));
            }
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

/// Passwords that the service could not read.
fn unreadable_secrets(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    for (section, link) in links(config) {
        if let Some(file) = &link.password_file
            && let Err(error) = read_secret(file)
        {
            let fault = Fault {
                key: format!("{section}.password_file"),
                wrong: format!("{:#}", anyhow::Error::new(error)),
                allowed: format!("the path of a file that user tidegate can read; {} is not", file.display()),
            };
            faults.push(fault.to_string());
        }
    }
    faults
}

/// Prints until when certificates serve; faults are those that cannot be used.
fn examined_certificates(config: &Config) -> Vec<String> {
    let memory = TlsMemory::default();
    let now = memory.now();
    let mut faults = Vec::new();
    for (section, link) in links(config) {
        let Some(ca) = link.ca_file.clone() else { continue };
        let client = link.cert_file.clone().zip(link.key_file.clone());
        let files = TlsFiles { ca, client };
        let mut found = Vec::new();
        for expiry in expiries(&files) {
            match expiry {
                Ok(expiry) => {
                    say(&format!("tls     {section}.{}", expiry.warning(now)));
                    if expiry.what == "cert_file" && expiry.ends < now {
                        faults.push(format!("{section}.{}", expiry.warning(now)));
                    }
                }
                Err(fault) => found.push(fault),
            }
        }
        if found.is_empty() {
            found.extend(examine(&files, &memory).err());
        }
        faults.extend(found.into_iter().map(|fault| file_fault(section, fault)));
    }
    faults
}

fn file_fault(section: &str, (what, path, fault): FileFault) -> String {
    format!("{section}.{what}: {}: {:#}", path.display(), anyhow::Error::new(fault))
}

fn links(config: &Config) -> [(&'static str, &LinkSettings); 2] {
    [("plant", &config.plant.link), ("upstream", &config.upstream.link)]
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
    if let Fit::Turns { turns, .. } = models.fit(config)
        && turns.len() > 1
    {
        let stays = DWELL.as_secs();
        say(&format!(
            "turns   a model stays for at least {stays} s: give the streams of these a deadline of minutes"
        ));
    }
    if sum > budget.0 {
        let from = match config.budget.memory_from {
            ValueSource::Configuration => String::new(),
            from @ (ValueSource::Board | ValueSource::BuiltIn) => format!(" ({})", from.as_str()),
        };
        let enough = least_budget(config, models).map(|least| {
            format!("at least {least}, of which windows and queues get their share, and MemoryMax of the unit with it; ")
        });
        let enough = enough.unwrap_or_default();
        let fault = Fault {
            key: "budget.memory".to_owned(),
            wrong: format!("{budget}{from} is less than the {} the plan needs", Bytes(sum)),
            allowed: format!(
                "{enough}fewer or smaller models; smaller limits.series, limits.text, limits.packet"
            ),
        };
        faults.push(fault.to_string());
    }
}
