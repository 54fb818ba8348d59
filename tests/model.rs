//! `tidegate model …` as its users meet it: good cases and every wrong input they are likely to give.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "support/program.rs"]
#[expect(dead_code, reason = "these commands end by themselves")]
mod program;

use std::fs;
use std::path::Path;

use program::{Ended, run};
use serde_json::Value;

const DENSE: &str = "tests/golden/models/dense-pair";

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// What a command that must succeed printed for programs.
fn json(args: &[&str]) -> Value {
    let ended = run(args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn refused(args: &[&str], code: i32, words: &str) -> Ended {
    let ended = run(args);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{args:?}: {}", ended.stderr);
    assert!(ended.stderr.contains(words), "{args:?} does not say {words:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{args:?}: {}", ended.stderr);
    ended
}

#[test]
fn a_bench_measures_every_shape_of_every_variant() {
    let found = json(&["model", "bench", DENSE, "--time", "20 ms", "--json"]);
    assert_eq!((&found["model"], &found["threads"]), (&"dense-pair@1.0.0".into(), &1.into()));
    let variant = &found["variants"][0];
    let shapes = variant["shapes"].as_array().unwrap();
    assert_eq!((shapes.len(), &shapes[0]["items"], &shapes[1]["items"]), (2, &1.into(), &8.into()));
    for shape in shapes {
        let number = |key: &str| shape[key].as_f64().unwrap();
        assert!(number("min_us") > 0.0 && number("min_us") <= number("p50_us"), "{shape}");
        assert!(number("p50_us") <= number("p99_us") && number("runs") >= 100.0, "{shape}");
        let per_second = number("items") * 1e6 / number("mean_us");
        assert!((number("per_second") / per_second - 1.0).abs() < 0.01, "{shape}");
    }
    assert_eq!(variant["p50_us"], shapes[0]["p50_us"], "the single item stands for the variant");
    assert!(variant["memory_measured"].as_u64().is_some() && variant["bytes"].as_u64().unwrap() > 0);
    let text = run(&["model", "bench", DENSE, "--time", "20 ms"]);
    assert_eq!((text.code, text.stdout.as_str()), (Some(0), ""));
    assert!(text.stderr.contains("per second") && text.stderr.contains("[8, 4]"), "{}", text.stderr);
}

#[test]
fn a_file_in_no_manifest_can_be_measured_and_asked() {
    let graph = format!("{DENSE}/model.onnx");
    let found = json(&["model", "bench", &graph, "--time", "20 ms", "--json"]);
    assert_eq!(found["variants"][0]["length"], 4);
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers.json").display().to_string();
    let golden = format!("{DENSE}/golden.json");
    let args = ["model", "bench", &graph, "--cases", &golden, "--outputs", &answers, "--time", "20 ms"];
    assert_eq!(run(&args).code, Some(0));
    let read = |path: &str| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
    let (wanted, answered) = (read(&golden), read(&answers));
    let count = wanted["cases"].as_array().unwrap().len();
    assert_eq!(answered["cases"].as_array().unwrap().len(), count);
    for (wanted, answered) in
        wanted["cases"].as_array().unwrap().iter().zip(answered["cases"].as_array().unwrap())
    {
        for (output, values) in wanted["outputs"].as_object().unwrap() {
            let pairs =
                values.as_array().unwrap().iter().zip(answered["outputs"][output].as_array().unwrap());
            for (wanted, answered) in pairs {
                assert!((wanted.as_f64().unwrap() - answered.as_f64().unwrap()).abs() < 1e-4, "{output}");
            }
        }
    }
}

#[test]
fn what_cannot_be_measured_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let graph = format!("{DENSE}/model.onnx");
    let ids = "tests/golden/models/embedding/model.onnx";
    let cut = "tests/golden/models/truncated/model.onnx";
    let empty = write(folder.path(), "empty.json", "{\"cases\":[]}");
    let prose = write(folder.path(), "prose.json", "once upon a time");
    refused(&["model", "bench", DENSE, "--variant", "int4"], 64, "it has: fp32");
    refused(&["model", "bench", DENSE, "--length", "4"], 64, "--length is for ONNX files");
    refused(&["model", "bench", DENSE, "--time", "long"], 64, "--time");
    refused(&["model", "bench", &graph, "--variant", "fp32"], 64, "model folders");
    refused(&["model", "bench", &graph, "--length", "5"], 78, "prepare the graph for 1 x 5");
    refused(&["model", "bench", ids], 64, "--cases");
    refused(&["model", "bench", cut], 78, "is no ONNX file");
    refused(&["model", "bench", "absent.onnx"], 74, "absent.onnx");
    refused(&["model", "bench", "tests/golden/models/absent"], 74, "manifest.toml");
    refused(&["model", "bench", &graph, "--cases", &empty], 74, "holds no case");
    refused(&["model", "bench", &graph, "--cases", &prose], 74, "{\"cases\"");
    refused(&["model", "bench", "tests/golden/models/wrong-golden"], 78, "differs by");
}
