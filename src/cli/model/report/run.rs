//! Measures what the report needs and prints it.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::config::{find_stream, load};
use crate::cli::exit::{Failure, print, say};
use crate::cli::model::bench::times_of;
use crate::cli::model::cases::Cases;
use crate::cli::model::folder::{admit, no_such_variant};
use crate::cli::model::graph::Graph;
use crate::cli::model::measure::memory;
use crate::cli::model::report::answers::{Answer, Facts, answers};
use crate::cli::model::report::args::ReportArgs;
use crate::config::{Config, StreamSettings};
use crate::io::sysfs::Sysfs;
use crate::runtime::{Reading, board_profile};
use crate::window::Length;

/// Prints the page of a model.
pub(in crate::cli::model) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let config = args.config.as_deref().map(load).transpose()?;
    let stream = match (&config, &args.stream) {
        (Some(config), Some(name)) => Some(find_stream(config, name)?),
        (_, _) => None,
    };
    let board = board(args, config.as_ref())?;
    let admitted = admit(&args.dir)?;
    let manifest = admitted.manifest();
    if let Some(stream) = stream.filter(|stream| stream.kind != manifest.kind) {
        let (id, kind) = (manifest.id(), manifest.kind.as_str());
        return Err(Failure::Usage(anyhow::anyhow!(
            "{id} is for {kind} streams, and {:?} is none",
            stream.name
        )));
    }
    let name = args.variant.as_deref();
    let unknown = || Failure::Usage(no_such_variant(manifest, name));
    let (variant, report) = admitted.variant(name).ok_or_else(unknown)?;
    let bytes = admitted.file(&variant.file).unwrap_or_default();
    let graph = Graph::of_variant(manifest, report, bytes);
    let cases = Cases::golden(&args.dir, manifest)?;
    let memory = memory(&graph, &cases, report.memory_bytes)?;
    // The first shape: one input, as long as the first golden case.
    let timings = times_of(&graph, &cases, args.time)?;
    let timing = timings.first().map(|(_, timing)| *timing).unwrap_or_default();
    let single = timings.iter().filter(|(bucket, _)| bucket.items == 1);
    let mut lengths: Vec<_> = single.map(|(bucket, timing)| (bucket.length, *timing)).collect();
    lengths.sort_by_key(|(length, _)| *length);
    let reading = Reading::new(manifest, &|file| admitted.file(file).map(<[u8]>::to_vec));
    let reading = reading.map_err(|error| Failure::Config(error.into()))?;
    let facts = Facts {
        manifest,
        report,
        bytes: bytes.len() as u64,
        timing,
        lengths,
        memory,
        types: reading.as_ref().map_or(0, |reading| reading.entity_types().len()),
        terms: reading.as_ref().map_or(0, |reading| reading.terms().len()),
        stream,
        latency: args.latency.or_else(|| stream.map(|stream| stream.deadline)),
        rate: args.rate.or_else(|| stream.and_then(windows_per_second)),
        board: board.as_ref(),
    };
    let answers = answers(&facts);
    if args.json {
        let page: Map<String, Value> =
            answers.iter().map(|answer| (answer.key.to_owned(), entry(answer))).collect();
        let found = json!({ "v": 1, "model": &**manifest.id(), "variant": report.name, "answers": page });
        return print(&found.to_string());
    }
    say(&format!("{} {}  {}", manifest.id(), report.name, manifest.description));
    for (number, answer) in answers.iter().enumerate() {
        say("");
        say(&format!("{}. {} {}", number + 1, answer.question, answer.verdict));
        answer.lines.iter().for_each(|line| say(&format!("   {line}")));
    }
    Ok(())
}

fn entry(answer: &Answer) -> Value {
    json!({
        "question": answer.question, "answer": answer.verdict, "figures": answer.figures, "lines": answer.lines,
    })
}

/// The board that is named, or that of the configuration, or the one this runs on; `None` if that is not known.
fn board(args: &ReportArgs, config: Option<&Config>) -> Result<Option<crate::board::Profile>, Failure> {
    let configured = config.and_then(|config| config.gateway.board.as_deref());
    let named = args.board.as_deref().or(configured);
    match board_profile(named, &Sysfs::at(Path::new("/"))) {
        Ok(board) => Ok(Some(board)),
        Err(_) if named.is_none() => Ok(None),
        Err(why) => Err(Failure::Usage(anyhow::anyhow!("{why}"))),
    }
}

/// Windows of one source, where their length is a time.
fn windows_per_second(stream: &StreamSettings) -> Option<f64> {
    match stream.window.as_ref()?.length {
        Length::Time { hop, .. } => Some(1.0 / hop.as_secs_f64().max(1e-6)),
        Length::Count { .. } => None,
    }
}
