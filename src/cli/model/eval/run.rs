//! Judges labelled inputs one by one, as the service does, and counts.

use crate::cli::config::{find_stream, load, time_column};
use crate::cli::exit::{Failure, print};
use crate::cli::model::bench::no_such_variant;
use crate::cli::model::cases::Cases;
use crate::cli::model::encode::Encoder;
use crate::cli::model::eval::args::EvalArgs;
use crate::cli::model::eval::labels::Labels;
use crate::cli::model::eval::page::{Evaluated, describe, json};
use crate::cli::model::eval::plot::plot;
use crate::cli::model::eval::reports;
use crate::cli::model::eval::tally::Tally;
use crate::cli::model::eval::windows::Timeline;
use crate::cli::model::folder::admit;
use crate::cli::model::graph::Graph;
use crate::cli::model::measure::{Timing, memory};
use crate::cli::recorded::{Columns, SampleRows, for_each_window};
use crate::clock::{Clock, SystemClock};
use crate::features::{Extractor, FeatureLayout};
use crate::flow::{FeatureVector, StreamKind};
use crate::infer::manifest::{Encoding, Manifest};
use crate::infer::{Model, ModelInput};
use crate::io::admission::Admitted;
use crate::io::files::{open_file, write_file};

/// Evaluates a model on labelled data.
pub(in crate::cli::model) fn eval(args: &EvalArgs) -> Result<(), Failure> {
    let admitted = admit(&args.dir)?;
    let manifest = admitted.manifest().clone();
    let name = args.variant.as_deref();
    let unknown = || Failure::Usage(no_such_variant(&manifest, name));
    let report = admitted.variant(name).ok_or_else(unknown)?;
    let memory = memory_of(&admitted, args, &report.name)?;
    let model = admitted.load(Some(&report.name)).map_err(|error| Failure::Config(error.into()))?;
    let mut model = model.ok_or_else(unknown)?;
    let labels = Labels::new(&manifest, args)?;
    let tally = match manifest.kind {
        StreamKind::Sensor => windows(args, labels, &mut model, &manifest)?,
        StreamKind::Report => judge_reports(args, labels, &mut model, &manifest)?,
    };
    if tally.inputs == 0 {
        return Err(Failure::Io(anyhow::anyhow!(
            "{}: no input could be judged: {} windows without one clear label, {} failed",
            args.data.display(),
            tally.unmatched,
            tally.failed
        )));
    }
    let found = Evaluated {
        manifest: &manifest,
        variant: &report.name,
        data: args.data.display().to_string(),
        timing: Timing::of(tally.times.clone()),
        memory,
        tally: &tally,
    };
    if let Some(path) = &args.plot {
        write_file(path, plot(&manifest, &tally).as_bytes()).map_err(|error| Failure::Io(error.into()))?;
    }
    if args.json {
        return print(&json(&found).to_string());
    }
    describe(&found);
    Ok(())
}

/// Memory of one copy, measured before anything else has worked in this process.
fn memory_of(admitted: &Admitted, args: &EvalArgs, variant: &str) -> Result<Option<u64>, Failure> {
    let Some(report) = admitted.variant(Some(variant)) else { return Ok(None) };
    let graph = Graph::of_variant(admitted.manifest(), report, admitted.graph(variant).unwrap_or_default());
    let cases = Cases::golden(&args.dir, admitted.manifest())?;
    memory(&graph, &cases, report.memory_bytes)
}

/// Judges labelled reports.
fn judge_reports(
    args: &EvalArgs,
    mut labels: Labels,
    model: &mut Model,
    manifest: &Manifest,
) -> Result<Tally, Failure> {
    if args.labels.is_some() || args.config.is_some() {
        let id = manifest.id();
        return Err(Failure::Usage(anyhow::anyhow!(
            "{id} takes reports: their labels stand beside the text, and --labels and --config are for samples"
        )));
    }
    let reports = reports::read(&args.data, &args.text, &mut labels)?;
    let mut tally = Tally::new(manifest);
    let mut encoder = Encoder::new(manifest);
    let clock = SystemClock::start();
    for report in &reports {
        let from = clock.uptime();
        let judged = encoder.judge(model, &report.text);
        let took = clock.uptime().since(from);
        match judged {
            Ok(judgements) => {
                tally.times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                tally.add(&judgements, &report.truths);
            }
            Err(_) => tally.failed += 1,
        }
    }
    Ok(tally)
}

/// Cuts samples into windows and judges those with a label.
fn windows(
    args: &EvalArgs,
    mut labels: Labels,
    model: &mut Model,
    manifest: &Manifest,
) -> Result<Tally, Failure> {
    let (Some(config), Some(stream), Some(labels_file)) = (&args.config, &args.stream, &args.labels) else {
        let id = manifest.id();
        return Err(Failure::Usage(anyhow::anyhow!(
            "{id} takes samples: give --config FILE and --stream NAME, which say how they are windowed, and \
             --labels FILE"
        )));
    };
    let delimiter = u8::try_from(args.delimiter)
        .map_err(|_| Failure::Usage(anyhow::anyhow!("--delimiter takes one ASCII character")))?;
    let loaded = load(config)?;
    let stream = find_stream(&loaded, stream)?;
    let (Some(window), Encoding::Features { features, .. }) = (&stream.window, &manifest.input.encoding)
    else {
        return Err(Failure::Usage(anyhow::anyhow!("stream {:?} is no stream of samples", stream.name)));
    };
    let channels = stream.payload.values();
    let names: Vec<String> = features.iter().map(ToString::to_string).collect();
    let layout = FeatureLayout::resolve(&names, channels).map_err(|error| {
        let what = format!("stream {:?} does not fit {}", stream.name, manifest.id());
        Failure::Config(anyhow::Error::new(error).context(what))
    })?;
    let time = time_column(&stream.payload);
    let timeline = match &args.join {
        Some(join) => Timeline::by_column((labels_file, &args.data), join, time, delimiter, &mut labels)?,
        None => Timeline::by_time(labels_file, delimiter, &mut labels)?,
    };
    let file = open_file(&args.data).map_err(|error| Failure::Io(error.into()))?;
    let columns = Columns { time, channels, delimiter };
    let rows = SampleRows::new(file, &columns).map_err(|error| Failure::Io(error.into()))?;
    let (mut extractor, mut vector) = (Extractor::new(), FeatureVector::default());
    let mut tally = Tally::new(manifest);
    let clock = SystemClock::start();
    let judged = for_each_window(window, rows, &mut |window| {
        let Some(truths) = timeline.of(window.span) else {
            tally.unmatched += 1;
            return Ok(());
        };
        let from = clock.uptime();
        extractor.extract(&layout, window, &mut vector);
        let completeness = Some(window.completeness.ratio().get());
        let judged =
            model.judge(&ModelInput::Features { values: &vector.values, completeness }, &mut || false);
        let took = clock.uptime().since(from);
        match judged {
            Ok(judgements) => {
                tally.times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                tally.add(&judgements, truths);
            }
            Err(_) => tally.failed += 1,
        }
        Ok(())
    });
    judged.map_err(|error| Failure::Io(error.into()))?;
    Ok(tally)
}
