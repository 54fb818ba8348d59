//! From an ONNX file to a model folder that is admitted.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use crate::cli::exit::{Failure, say};
use crate::cli::model::bench::{answers, readable};
use crate::cli::model::cases::{Case, Cases};
use crate::cli::model::folder::{MANIFEST, admit};
use crate::cli::model::graph::Graph;
use crate::cli::model::list::say_all;
use crate::cli::model::new::args::NewArgs;
use crate::cli::model::new::golden::rows;
use crate::cli::model::new::input::{InputKind, list, shape};
use crate::cli::model::new::manifest::Draft;
use crate::cli::table::table;
use crate::infer::engine::Declared;
use crate::infer::manifest::Task;
use crate::infer::tensor::{Bucket, Dtype, OutputPort, Spec};
use crate::infer::{AdmissionLimits, Digest, EngineError, Manifest, spec_at};
use crate::io::files::{create_folder, read_bytes, read_text, write_file};

/// Makes a model folder.
pub(in crate::cli::model) fn new(args: &NewArgs) -> Result<(), Failure> {
    if args.types.is_some() && args.word_grams.is_none() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--types needs --word-grams: entities are marked word by word"
        )));
    }
    let path = args.onnx.as_path();
    let bytes = read_bytes(path, AdmissionLimits::default().file_bytes);
    let bytes = bytes.map_err(|error| Failure::Io(error.into()))?;
    let survey = readable(path, &bytes)?;
    let ports = |ports: &[Declared]| {
        let list: Vec<String> = ports
            .iter()
            .map(|port| format!("{:?} {} {}", port.name, port.type_name, shape(&port.shape)))
            .collect();
        list.join(", ")
    };
    say(&format!("takes {}; gives {}", ports(&survey.inputs), ports(&survey.outputs)));
    let wrong = |what: String| Failure::Config(anyhow::anyhow!("{}: {what}", path.display()));
    let [input] = survey.inputs.as_slice() else {
        return Err(wrong(format!("{} inputs, exactly one can be fed", survey.inputs.len())));
    };
    let kind = InputKind::new(args)?;
    if let Some(what) = kind.misfit(input) {
        return Err(wrong(what));
    }
    let refused =
        |error: EngineError| Failure::Config(anyhow::Error::new(error).context(path.display().to_string()));
    let length = kind.lengths().last().copied().unwrap_or(1);
    let spec = spec_at(&bytes, &survey, Bucket { items: 1, length }).map_err(refused)?;
    let tags = args.types.as_deref().map(list);
    let (tasks, tagged) = match &tags {
        Some(types) => (Vec::new(), Some(tag_output(&spec, types, length, &kind).map_err(wrong)?)),
        None => (labels_of(&spec, args)?, None),
    };
    let name = args.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut draft = Draft {
        name: &name,
        tensor: &input.name,
        dtype: input.dtype.unwrap_or(Dtype::F32),
        input: &kind,
        tasks: &tasks,
        tags: tagged.as_deref().zip(tags.as_deref()),
        graph: Digest::of(&bytes),
        golden: Digest::of(&[]),
        parameters: 0,
        memory_bytes: 0,
        measured: (0, 0),
        operations: 0,
    };
    // The manifest decides how inputs are made, so it is read before it is written for good.
    let manifest = Arc::new(parsed(&draft.text())?);
    let golden = golden(args, &manifest, &bytes)?;
    draft.golden = Digest::of(golden.as_bytes());
    let io = |error: crate::io::files::FileError| Failure::Io(error.into());
    create_folder(&args.dir).map_err(io)?;
    write_file(&args.dir.join("model.onnx"), &bytes).map_err(io)?;
    write_file(&args.dir.join("golden.json"), golden.as_bytes()).map_err(io)?;
    write_file(&args.dir.join(MANIFEST), draft.text().as_bytes()).map_err(io)?;
    // What it costs is what admission finds.
    let admitted = admit(&args.dir)?;
    if let Some((_, report)) = admitted.variant(None) {
        draft.parameters = report.parameters;
        draft.memory_bytes = report.memory_bytes;
        draft.measured = (report.memory_measured, report.load_peak);
        draft.operations = report.operations;
        write_file(&args.dir.join(MANIFEST), draft.text().as_bytes()).map_err(io)?;
    }
    finished(&args.dir, &draft);
    Ok(())
}

fn finished(dir: &Path, draft: &Draft<'_>) {
    say(&format!("wrote {}: admitted as it is", dir.display()));
    say("still to be said in manifest.toml, by you:");
    let points: Vec<Vec<String>> =
        draft.open_points().iter().map(|[key, what]| vec![format!("  {key}"), what.clone()]).collect();
    say_all(&table(&points));
    say(&format!("then: tidegate model report {}", dir.display()));
}

fn parsed(text: &str) -> Result<Manifest, Failure> {
    Manifest::parse(text).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::Usage(anyhow::anyhow!("the manifest would be wrong: {}", faults.join("; ")))
    })
}

/// Golden vectors by this engine.
fn golden(args: &NewArgs, manifest: &Arc<Manifest>, bytes: &[u8]) -> Result<String, Failure> {
    let rows = rows(args, manifest)?;
    let cases = rows.into_iter().map(|input| Case { input, ..Case::default() }).collect();
    let graph = Graph::of_manifest(manifest, bytes);
    let mut engine = graph.load()?;
    answers(&graph, &mut engine, &Cases { labels: words_of(manifest), cases })
}

/// What the numbers of each output mean, by task, or by output where the task has no name.
fn words_of(manifest: &Manifest) -> BTreeMap<String, Vec<String>> {
    let words = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    let key =
        |task: &Task| if task.name.is_empty() { task.output.to_string() } else { task.name.to_string() };
    let tasks = manifest.tasks.iter().map(|task| (key(task), words(&task.labels)));
    let tags = manifest.tags.iter().map(|tags| (tags.output.to_string(), words(&tags.types)));
    tasks.chain(tags).collect()
}

/// The output of a network that marks entities, if its numbers fit the types.
fn tag_output(spec: &Spec, types: &[String], length: usize, kind: &InputKind) -> Result<String, String> {
    let InputKind::WordGrams { grams, .. } = kind else {
        return Err("--types needs --word-grams".to_owned());
    };
    let [output] = spec.outputs.as_slice() else {
        return Err(format!("{} outputs, a network that marks entities has one", spec.outputs.len()));
    };
    let (words, wanted) = (length / (*grams).max(1), 1 + 2 * types.len());
    let found = output.width.at(length);
    if found != words * wanted {
        return Err(format!(
            "output {:?} has {found} numbers for {words} words; {} types need {wanted} for each: outside, then beginning \
             and inside of each type",
            output.name,
            types.len()
        ));
    }
    Ok(output.name.to_string())
}

/// The labels of each output.
fn labels_of(spec: &Spec, args: &NewArgs) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut given: Vec<(String, Vec<String>)> = Vec::new();
    let output_of = |text: &str| match text.split_once('=') {
        Some((output, rest)) if spec.outputs.iter().any(|port| *port.name == *output) => {
            (output.to_owned(), rest.to_owned())
        }
        Some(_) | None => {
            (spec.outputs.first().map(|port| port.name.to_string()).unwrap_or_default(), text.to_owned())
        }
    };
    for text in &args.labels {
        let (output, labels) = output_of(text);
        given.push((output, list(&labels)));
    }
    for text in &args.labels_file {
        let (output, file) = output_of(text);
        let text = read_text(Path::new(&file)).map_err(|error| Failure::Io(error.into()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        given.push((output, lines.map(str::to_owned).collect()));
    }
    let mut tasks = Vec::new();
    for port in &spec.outputs {
        let labels = match given.iter().find(|(output, _)| *output == *port.name) {
            Some((_, labels)) => labels.clone(),
            None => asked(port)?,
        };
        let wanted = port.width.at(1);
        if labels.len() != wanted || port.dtype != Dtype::F32 {
            return Err(Failure::Usage(anyhow::anyhow!(
                "output {:?} has {wanted} numbers of type {}, and {} labels were given: one label for each number",
                port.name,
                port.dtype.as_str(),
                labels.len()
            )));
        }
        tasks.push((port.name.to_string(), labels));
    }
    Ok(tasks)
}

/// Asks whoever sits at the terminal.
fn asked(port: &OutputPort) -> Result<Vec<String>, Failure> {
    let (name, wanted) = (&port.name, port.width.at(1));
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "what do the {wanted} numbers of output {name:?} mean? Give --labels {name}=… with {wanted} words, or \
             --labels-file"
        )));
    }
    say(&format!(
        "what do the {wanted} numbers of output {name:?} mean? {wanted} words, separated by commas:"
    ));
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| Failure::Io(error.into()))?;
    Ok(list(line.trim()))
}
