//! `tidegate selftest`: opens and reads everything a board should have, and says what works.
//!
//! No watchdog is armed by it and no model kept; output lines say no, as at a start of the gateway.

mod attached;
mod board;
mod finding;
mod memory;
mod models;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::config::load;
use crate::cli::exit::{Failure, print, say};
use crate::cli::selftest::finding::Finding;
use crate::cli::table::table;
use crate::io::sysfs::Sysfs;
use crate::runtime::board_profile;

/// What to test.
#[derive(clap::Args)]
pub(in crate::cli) struct SelftestArgs {
    /// Board, by its name in boards/; recognised if not given
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// Configuration: its board, its hardware and its models are tested
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A made-up board: a folder with sys, proc and dev below it
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// Reads everything once and prints what it found.
pub(in crate::cli) fn selftest(args: &SelftestArgs) -> Result<(), Failure> {
    let config = args.config.as_deref().map(load).transpose()?;
    let configured = config.as_ref().and_then(|config| config.gateway.board.as_deref());
    let sysfs = Sysfs::at(&args.root);
    let profile = board_profile(args.board.as_deref().or(configured), &sysfs)
        .map_err(|why| Failure::Config(anyhow::anyhow!("{why}")))?;
    let wired = config.as_ref().map(|config| config.hardware.clone()).unwrap_or_default();
    let plan = profile.hardware.with(&wired);
    let mut findings = vec![Finding::ok("board", format!("{} ({})", profile.name, profile.title))];
    findings.extend(board::examine(&profile, &args.root));
    findings.extend(memory::examine(&profile, &args.root));
    findings.extend(attached::examine(&plan, &args.root));
    findings.extend(attached::watchdog(&profile, &plan, &args.root));
    findings.extend(models::examine(config.as_ref()));
    show(&profile.name, &findings, args.json)?;
    let faults = findings.iter().filter(|finding| finding.remedy().is_some()).count();
    match faults {
        0 => Ok(()),
        1 => Err(Failure::Io(anyhow::anyhow!("1 thing of {} does not work", findings.len()))),
        _ => Err(Failure::Io(anyhow::anyhow!("{faults} things of {} do not work", findings.len()))),
    }
}

fn show(board: &str, findings: &[Finding], json: bool) -> Result<(), Failure> {
    if json {
        let things: Vec<Value> = findings.iter().map(Finding::as_json).collect();
        return print(&json!({ "v": 1, "board": board, "things": things }).to_string());
    }
    let rows: Vec<Vec<String>> = findings.iter().map(Finding::as_row).collect();
    for (line, finding) in table(&rows).iter().zip(findings) {
        say(line);
        finding.remedy().into_iter().for_each(|remedy| say(&format!("        {remedy}")));
    }
    Ok(())
}
