//! Does the engine compute what ONNX says it should?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::infer::EngineError;
use tidegate::infer::engine::general::{AnyGraph, AnyTensor, Feed, Numbers};

#[path = "conformance/archive.rs"]
mod archive;
#[path = "conformance/isolated.rs"]
mod isolated;

use isolated::Verdict;

/// The verdict on each node test.
const NODE_LIST: &str = "tests/golden/onnx-nodes.txt";
const NODE_LIST_HEAD: &str = "\
# What became of each test of ONNX 1.23 in onnx-node-tests.tar.zst. Written by
# UPDATE_GOLDEN=1 cargo test --test conformance
# passed     as it is
# constants  with its shapes, axes and counts as constants of the graph, as exporters write them, not as inputs
# number     computes something else (tolerance of the ONNX tests: 1e-3 relative, 1e-7 absolute)
# operator   the engine has not that operator
# type       sequences, optional values, strings, bf16, fp8, int4, and f16 where the operator does not take it
# refused    the engine has the operator, but not this form of it
# panic      the engine panics and the panic ends in it
# died       the process dies: stack, memory or time
";
const PASSED: &str = "passed";
const CONSTANTS: &str = "constants";

/// Tolerance of the ONNX backend tests, of a number and beside it.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the shared models, or nothing and a word about it.
fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/models").join(name);
    let path = if path.is_file() { path } else { Path::new("/work/shared/models").join(name) };
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED {test}: {} is not there", path.display());
    None
}

/// Reads the numbered tensors of a test: `input_0.pb` and so on.
fn tensors(folder: &Path, kind: &str) -> Result<Vec<AnyTensor>, EngineError> {
    let files = (0..).map(|index| folder.join(format!("test_data_set_0/{kind}_{index}.pb")));
    files.map_while(|file| fs::read(file).ok()).map(|bytes| AnyTensor::from_proto(&bytes)).collect()
}

/// Runs a node test: as it is, and if that fails with its shapes, axes and counts as constants.
fn node_test(folder: &Path) -> Verdict {
    let graph = fs::read(folder.join("model.onnx")).unwrap();
    let (inputs, expected) = match (tensors(folder, "input"), tensors(folder, "output")) {
        (Ok(inputs), Ok(expected)) => (inputs, expected),
        (Err(error), _) | (_, Err(error)) => return ("type".to_owned(), error.to_string()),
    };
    let first = attempt(&graph, &inputs, &expected, Feed::AtRunTime);
    let Err(verdict) = first else { return (PASSED.to_owned(), String::new()) };
    if matches!(verdict.0.as_str(), "operator" | "type") {
        return verdict;
    }
    match attempt(&graph, &inputs, &expected, Feed::ShapesAsConstants) {
        Ok(()) => (CONSTANTS.to_owned(), verdict.1),
        Err(_) => verdict,
    }
}

fn attempt(graph: &[u8], inputs: &[AnyTensor], expected: &[AnyTensor], feed: Feed) -> Result<(), Verdict> {
    let mut loaded = AnyGraph::load(graph, inputs, feed).map_err(|error| (class(&error), error.to_string()))?;
    let found = loaded.run(inputs).map_err(|error| (class(&error), error.to_string()))?;
    if found.len() < expected.len() {
        return Err(("number".to_owned(), format!("{} outputs, not {}", found.len(), expected.len())));
    }
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        if let Some(why) = difference(found, expected) {
            return Err(("number".to_owned(), format!("output {index}: {why}")));
        }
    }
    Ok(())
}

/// What differs, if anything does.
fn difference(found: &AnyTensor, expected: &AnyTensor) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("shape {:?}, not {:?}", found.shape(), expected.shape()));
    }
    let near = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= ABSOLUTE + RELATIVE * b.abs()
    };
    let (wanted, is) = (expected.dtype(), found.dtype());
    if is != wanted && (is.as_str(), wanted.as_str()) != ("TDim", "I64") {
        return Some(format!("{is}, not {wanted}"));
    }
    match (found.numbers(), expected.numbers()) {
        (Some(Numbers::Real(found)), Some(Numbers::Real(expected))) => {
            let mut pairs = found.iter().zip(&expected);
            pairs.find(|(a, b)| !near(**a, **b)).map(|(a, b)| format!("{a}, not {b}"))
        }
        (Some(found), Some(expected)) => {
            (found != expected).then(|| format!("{found:?}, not {expected:?}"))
        }
        (None, _) | (_, None) => Some(format!("{is} cannot be compared")),
    }
}

fn class(error: &EngineError) -> String {
    let text = error.to_string();
    let class = match error {
        EngineError::Panicked { .. } => "panic",
        EngineError::Parse { .. }
        | EngineError::Interface { .. }
        | EngineError::Prepare { .. }
        | EngineError::General { .. } => {
            let of_type = ["Unknown DatumType", "translating to fact", "unify F16"];
            if text.contains("Unimplemented(") {
                "operator"
            } else if of_type.iter().any(|words| text.contains(words)) {
                "type"
            } else {
                "refused"
            }
        }
    };
    class.to_owned()
}

/// The committed verdicts: the name of a test, a tab, its class.
fn committed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join(NODE_LIST)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn write_list(verdicts: &BTreeMap<String, Verdict>) {
    let mut text = String::from(NODE_LIST_HEAD);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (class, _) in verdicts.values() {
        *counts.entry(class).or_default() += 1;
    }
    for (class, count) in counts {
        text.push_str(&format!("# {count} {class}\n"));
    }
    for (name, (class, _)) in verdicts {
        text.push_str(&format!("{name}\t{class}\n"));
    }
    fs::write(root().join(NODE_LIST), text).unwrap();
}

/// Tests that passed and do not, with what came of them, and tests that did not and do.
fn compare(
    committed: &BTreeMap<String, String>,
    found: &BTreeMap<String, Verdict>,
) -> (Vec<String>, Vec<String>) {
    let passes = |class: &str| matches!(class, PASSED | CONSTANTS);
    let mut lost = Vec::new();
    for (name, was) in committed.iter().filter(|(_, was)| passes(was)) {
        match found.get(name) {
            // What needs its shapes as constants now is worse off.
            Some((is, _)) if is == PASSED || is == was => {}
            Some((is, why)) => lost.push(format!("{name}: was {was}, is {is}: {why}")),
            None => lost.push(format!("{name}: was {was}, is not there")),
        }
    }
    let new = found.iter().filter(|(name, (class, _))| {
        passes(class) && !committed.get(*name).is_some_and(|was| passes(was))
    });
    (lost, new.map(|(name, _)| name.clone()).collect())
}

#[test]
fn child_of_the_node_tests() {
    isolated::child(|folder, name| node_test(&folder.join(name)));
}

#[test]
fn every_node_test_of_onnx_that_ever_passed_passes() {
    let Some(archive) = shared("the ONNX node tests", "onnx-node-tests.tar.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for (path, bytes) in archive::tar(&zstd::decode_all(fs::File::open(archive).unwrap()).unwrap()) {
        let file = folder.path().join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        names.extend(path.strip_suffix("/model.onnx").map(str::to_owned));
    }
    let verdicts = isolated::run(&names, folder.path(), "child_of_the_node_tests");
    assert_eq!(verdicts.len(), names.len());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        write_list(&verdicts);
    }
    let (lost, new) = compare(&committed(), &verdicts);
    if !new.is_empty() {
        println!("pass now, UPDATE_GOLDEN=1 puts them on the list: {}", new.join(", "));
    }
    assert!(lost.is_empty(), "{} tests passed once and do not now:\n{}", lost.len(), lost.join("\n"));
}

#[test]
fn a_test_that_is_lost_gone_or_worse_off_is_found_and_a_new_pass_is_no_fault() {
    let list = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, class)| ((*name).to_owned(), (*class).to_owned())).collect()
    };
    let was = list(&[("a", PASSED), ("b", PASSED), ("c", CONSTANTS), ("d", "number"), ("e", PASSED)]);
    let is = list(&[("a", CONSTANTS), ("c", PASSED), ("d", PASSED), ("e", "panic"), ("f", "type")]);
    let is = is.into_iter().map(|(name, class)| (name, (class, String::new()))).collect();
    let (lost, new) = compare(&was, &is);
    assert_eq!(lost.iter().map(|line| &line[..1]).collect::<String>(), "abe");
    assert_eq!(new, ["d"]);
}

/// A small quantised or floating-point network of MLPerf Tiny, and how far the engine is from TensorFlow Lite on the
/// same graph and inputs.
struct Tiny {
    name: &'static str,
}

#[test]
fn mlperf_probe() {
    for name in ["ad_int8", "kws_int8", "sww_int8", "ic_resnet8_int8", "vww_mobilenet025_int8", "ad_fp32", "kws_fp32", "ic_resnet8_fp32", "vww_mobilenet025_fp32"] {
        let started = std::time::Instant::now();
        let golden = archive::npz(&fs::read(shared("x", &format!("mlperf-tiny/{name}.golden.npz")).unwrap()).unwrap());
        let graph = fs::read(shared("x", &format!("mlperf-tiny/{name}.onnx")).unwrap()).unwrap();
        let (x, y) = (&golden["x"], &golden["y_tflite"]);
        let t = |array: &archive::Npy, row: usize| {
            let shape = &array.shape[1..];
            let count: usize = shape.iter().product();
            if array.dtype == "|i1" {
                let v: Vec<i8> = array.bytes[row * count..(row + 1) * count].iter().map(|b| b.cast_signed()).collect();
                AnyTensor::of(shape, &tidegate::infer::tensor::Rows::I8(&v)).unwrap()
            } else {
                let v: Vec<f32> = array.bytes[row * count * 4..(row + 1) * count * 4].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                AnyTensor::of(shape, &tidegate::infer::tensor::Rows::F32(&v)).unwrap()
            }
        };
        let mut loaded = AnyGraph::load(&graph, &[t(x, 0)], Feed::AtRunTime).unwrap();
        let load = started.elapsed();
        let (mut max, mut agree, mut same, mut all) = (0.0_f64, 0, 0, 0);
        for row in 0..x.shape[0] {
            let f = loaded.run(&[t(x, row)]).unwrap()[0].numbers().unwrap();
            let e = t(y, row).numbers().unwrap();
            let v = |n: Numbers| match n { Numbers::Real(v) => v, Numbers::Whole(v) => v.iter().map(|v| *v as f64).collect(), Numbers::Words(_) => vec![] };
            let (f, e) = (v(f), v(e));
            let best = |v: &[f64]| v.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            agree += usize::from(best(&f) == best(&e));
            for (a, b) in f.iter().zip(&e) { max = max.max((a - b).abs()); all += 1; same += usize::from(a == b); }
        }
        println!("{name}: max {max} argmax {agree}/{} same {same}/{all} load {load:?} all {:?}", x.shape[0], started.elapsed());
    }
}
