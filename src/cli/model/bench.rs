//! `tidegate model bench`: how fast a graph runs on one thread, and what memory it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::exit::{Failure, print};
use crate::cli::model::cases::{Case, Cases};
use crate::cli::model::folder::{admit, variants_of};
use crate::cli::model::graph::Graph;
use crate::cli::model::list::{say_all, short};
use crate::cli::model::measure::{Timing, memory, memory_among, span, time};
use crate::cli::table::table;
use crate::infer::tensor::{Bucket, Dtype, Outputs, Spec};
use crate::infer::{AdmissionLimits, Draft, Engine, EngineError, RunError, Survey, spec_at};
use crate::io::files::{read_bytes, write_file};
use crate::units::{Bytes, parse_duration};

/// Rows of random numbers for a graph that comes without cases: no figure may hang on a single one.
const RANDOM_ROWS: usize = 16;

/// What to measure.
#[derive(clap::Args)]
pub(in crate::cli) struct BenchArgs {
    /// Folder with a model, or one ONNX file that need not be in any manifest
    #[arg(value_name = "DIR|FILE.onnx")]
    path: PathBuf,
    /// This variant of the model only
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Time for each shape, warm-up not counted
    #[arg(long, value_name = "TIME", default_value = "1 s", value_parser = parse_duration)]
    time: Duration,
    /// For an ONNX file: numbers per row, where the graph leaves it open; may be repeated
    #[arg(long, value_name = "N", value_parser = length)]
    length: Vec<usize>,
    /// For an ONNX file: inputs in the form of golden.json (outputs are not needed); otherwise random numbers
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Write what the network answers to the cases, in the form of golden.json
    #[arg(long, value_name = "FILE")]
    outputs: Option<PathBuf>,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Numbers per row that can be asked for: the longest row a manifest allows twice.
const LENGTH_MAX: usize = 1 << 17;

fn length(text: &str) -> Result<usize, String> {
    let length = text.parse().ok().filter(|length| (1..=LENGTH_MAX).contains(length));
    length.ok_or_else(|| format!("write a number of numbers from 1 to {LENGTH_MAX}"))
}

/// One variant, measured.
struct Measured {
    variant: String,
    file: String,
    bytes: u64,
    parameters: u64,
    operations: u64,
    predicted: u64,
    memory: Option<u64>,
    shapes: Vec<(Bucket, Timing)>,
}

/// Measures every variant of a model, or one file.
pub(in crate::cli::model) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let is_file = args.path.extension().is_some_and(|extension| extension == "onnx");
    let (model, measured) = if is_file { bench_file(args)? } else { bench_model(args)? };
    if args.json {
        let variants: Vec<Value> = measured.iter().map(Measured::json).collect();
        let found = json!({ "v": 1, "model": model, "threads": 1, "variants": variants });
        return print(&found.to_string());
    }
    let head = ["variant", "input", "p50", "p99", "per second", "memory", "file"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for variant in &measured {
        for (bucket, timing) in &variant.shapes {
            rows.push(vec![
                variant.variant.clone(),
                format!("[{}, {}]", bucket.items, bucket.length),
                span(timing.p50),
                span(timing.p99),
                format!("{:.0}", timing.per_second(bucket.items)),
                variant.memory.map_or("unknown".to_owned(), |bytes| Bytes(bytes).to_string()),
                Bytes(variant.bytes).to_string(),
            ]);
        }
    }
    say_all(&table(&rows));
    Ok(())
}

impl Measured {
    /// The figures of the first shape stand beside those of the variant: one item, as long as the first case.
    fn json(&self) -> Value {
        let shape = |(bucket, timing): &(Bucket, Timing)| {
            let mut shape = json!({ "items": bucket.items, "length": bucket.length });
            put_all(&mut shape, timing.json(bucket.items));
            shape
        };
        let mut variant = json!({
            "name": self.variant, "file": self.file, "bytes": self.bytes,
            "parameters": self.parameters, "operations": self.operations,
            "memory_predicted": self.predicted, "memory_measured": self.memory,
        });
        if let Some(first) = self.shapes.first() {
            put_all(&mut variant, shape(first));
        }
        put_all(&mut variant, json!({ "shapes": self.shapes.iter().map(shape).collect::<Vec<_>>() }));
        variant
    }
}

/// Puts the keys of an object into another.
fn put_all(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Measures the variants of a model as the service loads them.
fn bench_model(args: &BenchArgs) -> Result<(String, Vec<Measured>), Failure> {
    if !args.length.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!("--length is for ONNX files: the manifest says it")));
    }
    let admitted = admit(&args.path)?;
    let manifest = admitted.manifest();
    let cases = match &args.cases {
        Some(file) => Cases::read(file, Some(manifest))?,
        None => Cases::golden(&args.path, manifest)?,
    };
    let chosen = variants_of(&admitted, args.variant.as_deref())?;
    let mut measured = Vec::new();
    for &(variant, report) in &chosen {
        let bytes = admitted.file(&variant.file).unwrap_or_default();
        let graph = Graph::of_variant(manifest, report, bytes);
        // Memory first: a process that has already worked hides growth in what it has kept.
        let memory = memory_among(chosen.len(), &args.path, report, &graph, &cases)?;
        measured.push(Measured {
            variant: variant.name.to_string(),
            file: variant.file.to_string(),
            bytes: bytes.len() as u64,
            parameters: report.parameters,
            operations: report.operations,
            predicted: report.memory_bytes,
            memory,
            shapes: times(&graph, &cases, args)?,
        });
    }
    Ok((manifest.id().to_string(), measured))
}

/// Measures one graph that belongs to no manifest.
fn bench_file(args: &BenchArgs) -> Result<(String, Vec<Measured>), Failure> {
    let path = &args.path;
    if args.variant.is_some() {
        return Err(Failure::Usage(anyhow::anyhow!("--variant is for model folders, not for an ONNX file")));
    }
    let bytes =
        read_bytes(path, AdmissionLimits::default().file_bytes).map_err(|error| Failure::Io(error.into()))?;
    let survey = readable(path, &bytes)?;
    let cases = match &args.cases {
        Some(file) => Cases::read(file, None)?,
        None => random_cases(path, &survey, args)?,
    };
    let mut lengths: Vec<usize> = cases.cases.iter().map(|case| case.input.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let buckets: Vec<Bucket> = lengths.into_iter().map(|length| Bucket { items: 1, length }).collect();
    let refused =
        |error: EngineError| Failure::Config(anyhow::Error::new(error).context(path.display().to_string()));
    let largest = buckets.last().copied().unwrap_or(Bucket { items: 1, length: 1 });
    let spec = spec_at(&bytes, &survey, largest).map_err(refused)?;
    let cost = Draft::parse(&spec, &bytes).and_then(|draft| draft.footprint(largest)).map_err(refused)?;
    let predicted = cost.parameter_bytes + cost.scratch_bytes;
    let graph = Graph { spec, bytes: &bytes, buckets, quantisation: None };
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let memory = memory(&graph, &cases, predicted)?;
    let measured = Measured {
        variant: name.clone(),
        file: path.display().to_string(),
        bytes: bytes.len() as u64,
        parameters: cost.parameters,
        operations: cost.operations,
        predicted,
        memory,
        shapes: times(&graph, &cases, args)?,
    };
    Ok((name, vec![measured]))
}

/// What a graph file declares, if the engine has all its operators.
///
/// A file from anywhere is read in this very process: what overflows its stack or takes minutes is refused first.
pub(in crate::cli::model) fn readable(path: &Path, bytes: &[u8]) -> Result<Survey, Failure> {
    AdmissionLimits::default()
        .outline
        .check(bytes)
        .map_err(|excess| Failure::Config(anyhow::Error::new(excess).context(path.display().to_string())))?;
    let survey = Survey::read(bytes).map_err(|error| {
        let what = format!("{} is no ONNX file that can be read: export it again", path.display());
        Failure::Config(anyhow::Error::new(error).context(what))
    })?;
    let lacking: Vec<String> =
        survey.unsupported().map(|(name, count)| format!("{name} ({count} nodes)")).collect();
    if lacking.is_empty() {
        return Ok(survey);
    }
    Err(Failure::Config(anyhow::anyhow!(
        "{}: the engine has no operator {}: export the network without it, see docs/models.md",
        path.display(),
        lacking.join(", ")
    )))
}

/// Rows of random numbers around 0, of the lengths asked for or declared.
fn random_cases(path: &Path, survey: &Survey, args: &BenchArgs) -> Result<Cases, Failure> {
    let [input] = survey.inputs.as_slice() else {
        let count = survey.inputs.len();
        return Err(Failure::Config(anyhow::anyhow!(
            "{}: {count} inputs, exactly one can be fed",
            path.display()
        )));
    };
    if input.dtype == Some(Dtype::I64) {
        return Err(Failure::Usage(anyhow::anyhow!(
            "{}: input {:?} takes ids, and only its author knows which: give some with --cases",
            path.display(),
            input.name
        )));
    }
    let declared = input.shape.get(1).copied().flatten();
    let lengths = if args.length.is_empty() { declared.into_iter().collect() } else { args.length.clone() };
    if lengths.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "{}: the graph leaves the length of {:?} open: give --length",
            path.display(),
            input.name
        )));
    }
    let mut random = fastrand::Rng::with_seed(0);
    let mut row = |length: usize| (0..length).map(|_| random.f64() * 4.0 - 2.0).collect();
    let rows = lengths.into_iter().flat_map(|length| std::iter::repeat_n(length, RANDOM_ROWS));
    let cases = rows.map(|length| Case { input: row(length), ..Case::default() }).collect();
    Ok(Cases { cases, ..Cases::default() })
}

/// Measures each shape of a graph, and writes its answers if they are asked for.
fn times(graph: &Graph<'_>, cases: &Cases, args: &BenchArgs) -> Result<Vec<(Bucket, Timing)>, Failure> {
    if let Some(path) = &args.outputs {
        let text = answers(graph, &mut graph.load()?, cases)?;
        write_file(path, text.as_bytes()).map_err(|error| Failure::Io(error.into()))?;
    }
    times_of(graph, cases, args.time)
}

/// Measures each shape of a graph for this long: single items first, and of those the length of the first case.
pub(in crate::cli::model) fn times_of(
    graph: &Graph<'_>,
    cases: &Cases,
    length: Duration,
) -> Result<Vec<(Bucket, Timing)>, Failure> {
    let mut engine = graph.load()?;
    let first = cases.cases.first().map_or(0, |case| case.input.len());
    let mut buckets = graph.buckets.clone();
    buckets.sort_by_key(|bucket| (bucket.items, bucket.length != first, bucket.length));
    let mut timings = Vec::new();
    for bucket in &buckets {
        let rows = cases.of_length(bucket.length);
        let starts = 0..rows.len();
        let blocks: Vec<_> = starts
            .map(|start| {
                let rows = rows.iter().cycle().skip(start).take(bucket.items);
                graph.block(&rows.map(Vec::as_slice).collect::<Vec<_>>())
            })
            .collect();
        let timing = time(length, &mut |run| match blocks.get(run % blocks.len().max(1)) {
            Some(block) => block.run(&mut engine).map(drop),
            None => Ok(()),
        });
        timings.push((*bucket, timing.map_err(failed)?));
    }
    Ok(timings)
}

/// What a graph answers to each case, in the form of a golden file.
pub(in crate::cli::model) fn answers(
    graph: &Graph<'_>,
    engine: &mut Engine,
    cases: &Cases,
) -> Result<String, Failure> {
    let mut answered = Cases { labels: cases.labels.clone(), ..Cases::default() };
    for case in &cases.cases {
        let outputs = graph.block(&[&case.input]).run(engine).map_err(failed)?;
        answered.cases.push(Case { input: case.input.clone(), outputs: named(&graph.spec, outputs) });
    }
    serde_json::to_string(&answered).map_err(|error| Failure::Bug(error.into()))
}

/// The outputs of the first item by name.
fn named(spec: &Spec, outputs: &Outputs) -> BTreeMap<String, Vec<f64>> {
    let values = |index: usize| match (outputs.f32(index, 0), outputs.i64(index, 0)) {
        (Some(values), _) => values.iter().map(|value| short(*value)).collect(),
        (None, Some(values)) => values.iter().map(|value| *value as f64).collect(),
        (None, None) => Vec::new(),
    };
    spec.outputs.iter().enumerate().map(|(index, port)| (port.name.to_string(), values(index))).collect()
}

fn failed(error: RunError) -> Failure {
    Failure::Config(anyhow::Error::new(error).context("run the network"))
}
