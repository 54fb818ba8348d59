//! Judges labelled inputs one by one, as the service does, and counts.

use crate::cli::config::{find_stream, load, time_column};
use crate::cli::exit::{Failure, print};
use crate::cli::model::cases::Cases;
use crate::cli::model::eval::args::EvalArgs;
use crate::cli::model::eval::judge::{Answer, Judge};
use crate::cli::model::eval::labels::Labels;
use crate::cli::model::eval::page::{Evaluated, describe, json};
use crate::cli::model::eval::plot::plot;
use crate::cli::model::eval::reports::{ReportFile, read, read_marked};
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
use crate::io::admission::Admitted;
use crate::io::files::{open_file, write_file};

/// Evaluates a model on labelled data.
pub(in crate::cli::model) fn eval(args: &EvalArgs) -> Result<(), Failure> {
    let admitted = admit(&args.dir)?;
    let manifest = admitted.manifest();
    let variant = args.variant.as_deref();
    let memory = memory_of(&admitted, args)?;
    let mut judge = Judge::load(&admitted, variant)?;
    let labels = Labels::new(manifest, judge.entity_types(), args)?;
    let tally = match manifest.kind {
        StreamKind::Sensor => windows(args, labels, &mut judge, manifest)?,
        StreamKind::Report => reports(args, labels, &mut judge, manifest)?,
    };
    if tally.inputs == 0 {
        return Err(Failure::Io(anyhow::anyhow!(
            "{}: no input could be judged: {} windows without one clear label, {} failed{}",
            args.data.display(),
            tally.unmatched,
            tally.failed,
            tally.failure().map_or(String::new(), |why| format!(", the first because {why}"))
        )));
    }
    let found = Evaluated {
        manifest,
        variant: admitted.variant(variant).map_or("", |(_, report)| &report.name),
        data: args.data.display().to_string(),
        timing: Timing::of(tally.times.clone()),
        memory,
        tally: &tally,
    };
    if let Some(path) = &args.plot {
        write_file(path, plot(manifest, &tally).as_bytes()).map_err(|error| Failure::Io(error.into()))?;
    }
    if args.json {
        return print(&json(&found).to_string());
    }
    describe(&found);
    Ok(())
}

/// Memory of one copy, measured before anything else has worked in this process.
fn memory_of(admitted: &Admitted, args: &EvalArgs) -> Result<Option<u64>, Failure> {
    let manifest = admitted.manifest();
    let Some((variant, report)) = admitted.variant(args.variant.as_deref()) else { return Ok(None) };
    let graph = Graph::of_variant(manifest, report, admitted.file(&variant.file).unwrap_or_default());
    memory(&graph, &Cases::golden(&args.dir, manifest)?, report.memory_bytes)
}

/// What separates the cells of CSV.
fn delimiter(args: &EvalArgs) -> Result<u8, Failure> {
    u8::try_from(args.delimiter)
        .map_err(|_| Failure::Usage(anyhow::anyhow!("--delimiter takes one ASCII character")))
}

/// Judges labelled reports.
fn reports(
    args: &EvalArgs,
    mut labels: Labels,
    judge: &mut Judge,
    manifest: &Manifest,
) -> Result<Tally, Failure> {
    if args.labels.is_some() || args.config.is_some() {
        let id = manifest.id();
        return Err(Failure::Usage(anyhow::anyhow!(
            "{id} takes reports: their labels stand beside the text, and --labels and --config are for samples"
        )));
    }
    let file = ReportFile { path: &args.data, text: &args.text, delimiter: delimiter(args)? };
    let mut tally = Tally::new(manifest, judge.entity_types());
    let clock = SystemClock::start();
    let mut timed = |tally: &mut Tally, text: &str| {
        let from = clock.uptime();
        let answer = judge.report(text);
        tally.judged(clock.uptime().since(from), answer)
    };
    if tally.entities.is_some() {
        for report in read_marked(file, &labels)? {
            let Some(Answer::Entities(found)) = timed(&mut tally, &report.text) else { continue };
            if let Some(entities) = &mut tally.entities {
                entities.left_out += report.left_out;
                entities.add(&found, &report.entities);
            }
        }
        return Ok(tally);
    }
    for report in read(file, &mut labels)? {
        if let Some(Answer::Tasks(judgements)) = timed(&mut tally, &report.text) {
            tally.add(&judgements, &report.truths);
        }
    }
    Ok(tally)
}

/// Cuts samples into windows and judges those with a label.
fn windows(
    args: &EvalArgs,
    mut labels: Labels,
    judge: &mut Judge,
    manifest: &Manifest,
) -> Result<Tally, Failure> {
    let (Some(config), Some(stream), Some(labels_file)) = (&args.config, &args.stream, &args.labels) else {
        let id = manifest.id();
        return Err(Failure::Usage(anyhow::anyhow!(
            "{id} takes samples: give --config FILE and --stream NAME, which say how they are windowed, and \
             --labels FILE"
        )));
    };
    let delimiter = delimiter(args)?;
    let loaded = load(config)?;
    let stream = find_stream(&loaded, stream)?;
    let (Some(window), Encoding::Features { features, .. }) = (&stream.window, &manifest.input.encoding)
    else {
        return Err(Failure::Usage(anyhow::anyhow!("stream {:?} is no stream of samples", stream.name)));
    };
    let channels = stream.values();
    let names: Vec<String> = features.iter().map(ToString::to_string).collect();
    let layout = FeatureLayout::resolve(&names, channels).map_err(|error| {
        let what = format!("stream {:?} does not fit {}", stream.name, manifest.id());
        Failure::Config(anyhow::Error::new(error).context(what))
    })?;
    let time = time_column(stream.payload());
    let timeline = match &args.join {
        Some(join) => Timeline::by_column((labels_file, &args.data), join, time, delimiter, &mut labels)?,
        None => Timeline::by_time(labels_file, delimiter, &mut labels)?,
    };
    let file = open_file(&args.data).map_err(|error| Failure::Io(error.into()))?;
    let columns = Columns { time, channels, delimiter };
    let rows = SampleRows::new(file, &columns).map_err(|error| Failure::Io(error.into()))?;
    let (mut extractor, mut vector) = (Extractor::new(), FeatureVector::default());
    let mut tally = Tally::new(manifest, &[]);
    let clock = SystemClock::start();
    let judged = for_each_window(window, rows, &mut |window| {
        let Some(truths) = timeline.of(window.span) else {
            tally.unmatched += 1;
            return Ok(());
        };
        let from = clock.uptime();
        extractor.extract(&layout, window, &mut vector);
        let judged = judge.window(&vector.values, window.completeness.ratio().get());
        if let Some(judgements) = tally.judged(clock.uptime().since(from), judged) {
            tally.add(&judgements, truths);
        }
        Ok(())
    });
    judged.map_err(|error| Failure::Io(error.into()))?;
    Ok(tally)
}
