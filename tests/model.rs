//! `tidegate model …` as its users meet it: good cases and every wrong input they are likely to give.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "support/onnx.rs"]
#[expect(dead_code, reason = "a few graphs are enough here")]
mod onnx;
#[path = "support/program.rs"]
#[expect(dead_code, reason = "these commands end by themselves")]
mod program;

use std::fs;
use std::path::Path;

use onnx::{Dim, F32, graph, model, node, port};
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

const EMBEDDING: &str = "tests/golden/models/embedding";
const TAGGER: &str = "tests/golden/models/tagger";

/// A configuration with a stream of windows of ten seconds.
const STREAM: &str = r#"
[gateway]
site = "test"
id = "test"
[plant]
url = "mqtt://127.0.0.1:1883"
[upstream]
url = "mqtt://127.0.0.1:1884"
[[streams]]
name = "pump"
kind = "sensor"
topic = "plant/pump"
payload = { format = "json", time = "ts", values = ["a"] }
window = { length = "10 s", hop = "10 s", lateness = "1 s", idle = "5 s" }
features = ["a.mean", "a.std", "a.max", "a.rms"]
"#;

/// A sensor model with features that exist, made by the command itself.
fn scaffold(folder: &Path) -> String {
    let dir = folder.join("pump-wear").display().to_string();
    let config = write(folder, "stream.toml", STREAM);
    let graph = format!("{DENSE}/model.onnx");
    let ended = run(&[
        "model",
        "new",
        &graph,
        &dir,
        "--config",
        &config,
        "--stream",
        "pump",
        "--labels",
        "wear=none,some,severe",
        "--labels",
        "leak=no,yes",
    ]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    for open in ["description", "input.mean", "tasks.temperature", "[scope]", "golden.json", "[training]"] {
        assert!(
            ended.stderr.contains(open),
            "{open} is not among what is still to be said: {}",
            ended.stderr
        );
    }
    dir
}

/// Samples of three windows, and labels by time and by column.
fn recording(folder: &Path) -> [String; 3] {
    let rows: Vec<String> =
        (0..30).map(|second| format!("{},{},k{}", 1_700_000_000 + second, second % 7, second / 10)).collect();
    let samples = write(folder, "samples.csv", &format!("ts,a,cycle\n{}\n", rows.join("\n")));
    let by_time = "ts,wear,leak\n1700000000,0,no\n1700000012,1,no\n1700000029,,yes\n";
    let by_time = write(folder, "by-time.csv", by_time);
    let by_key = write(folder, "by-key.csv", "cycle,wear,leak\nk0,0,no\nk1,1,no\nk9,2,yes\n");
    [samples, by_time, by_key]
}

#[test]
fn a_folder_made_of_an_onnx_file_is_a_model_that_can_be_evaluated_and_reported_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = scaffold(folder.path());
    let [samples, by_time, by_key] = recording(folder.path());
    let config = folder.path().join("stream.toml").display().to_string();
    let plot = folder.path().join("plot.svg").display().to_string();
    let map =
        write(folder.path(), "map.toml", "[wear]\n\"0\" = \"none\"\n\"1\" = \"some\"\n\"2\" = \"severe\"\n");
    let base =
        ["model", "eval", &dir, &samples, "--config", &config, "--stream", "pump", "--map", &map, "--json"];
    let found = json(&[&base[..], &["--labels", &by_time, "--plot", &plot]].concat());
    assert_eq!((&found["inputs"], &found["unmatched"]), (&3.into(), &0.into()), "{found}");
    let [wear, leak] = [0, 1].map(|task| &found["tasks"][task]);
    assert_eq!((&wear["labelled"], &wear["unlabelled"]), (&2.into(), &1.into()), "{wear}");
    assert_eq!(leak["labelled"], 3);
    let sum: u64 = leak["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(sum, 3);
    assert!(
        found["latency"]["p50_us"].as_f64().unwrap() > 0.0 && found["memory_measured"].as_u64().is_some()
    );
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("polyline") && svg.contains("share of answers kept"));
    let found = json(&[&base[..], &["--labels", &by_key, "--join", "cycle"]].concat());
    // The third cycle has no label.
    assert_eq!(found["tasks"][0]["labelled"], 2);
    let text = run(&[&base[..base.len() - 1], &["--labels", &by_time]].concat());
    assert_eq!((text.code, text.stdout.as_str()), (Some(0), ""));
    for words in ["macro-F1", "coverage", "ECE", "precision", "from features or text to verdict"] {
        assert!(text.stderr.contains(words), "{words} is missing: {}", text.stderr);
    }

    let page =
        json(&["model", "report", &dir, "--time", "20 ms", "--latency", "1 h", "--rate", "6/min", "--json"]);
    let answer = |key: &str| page["answers"][key]["answer"].as_str().unwrap().to_owned();
    assert_eq!(answer("latency"), "yes");
    assert_eq!(answer("bounded"), "not shown", "nobody has measured it");
    assert_eq!(answer("maintained"), "nobody yet");
    assert!(page["answers"]["cost"]["figures"]["core_share"].as_f64().unwrap() > 0.0);
    let bits = page["answers"]["leaving"]["figures"]["label_bits"].as_f64().unwrap();
    assert!((bits - 6.0_f64.log2()).abs() < 1e-9, "three labels and two");
    let page = json(&["model", "report", &dir, "--time", "20 ms", "--latency", "0.001 us", "--json"]);
    assert_eq!(page["answers"]["latency"]["answer"], "no");

    let manifest = Path::new(&dir).join("manifest.toml");
    let swapped = fs::read_to_string(&manifest).unwrap().replace("\"none\", \"some\"", "\"some\", \"none\"");
    fs::write(&manifest, swapped).unwrap();
    refused(&["model", "inspect", &dir], 78, "in the manifest \"some\"");
}

#[test]
fn the_shares_of_each_label_add_up_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["pump leaks", "hose", "valve stuck open", "a b c d e f g", "7", "motor trips"];
    let mut right = 0.0;
    for label in ["l0", "l1", "l2"] {
        let lines: Vec<String> =
            texts.iter().map(|text| format!("{{\"text\":{text:?},\"class\":{label:?}}}")).collect();
        let data = write(folder.path(), "data.jsonl", &lines.join("\n"));
        let found = json(&["model", "eval", EMBEDDING, &data, "--label", "class", "--json"]);
        let task = &found["tasks"][0];
        assert_eq!(task["labelled"], 6, "{found}");
        right += task["accuracy"].as_f64().unwrap();
        let number = |key: &str| task[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&number("ece")) && (0.0..=1.0).contains(&number("coverage")), "{task}");
        let rows: Vec<String> = texts.iter().map(|text| format!("\"{text}\";{label}")).collect();
        let data = write(folder.path(), "data.csv", &format!("text;class\n{}\n", rows.join("\n")));
        let same = ["model", "eval", EMBEDDING, &data, "--label", "class", "--delimiter", ";", "--json"];
        assert_eq!(json(&same)["tasks"], found["tasks"], "rows of a table are reports as well");
    }
    assert!((right - 1.0).abs() < 1e-9, "{right}");
}

#[test]
fn marked_reports_are_compared_by_type_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = [
        r#"{"tokens":["replace","pump"],"tags":["B-Activity","B-Item"]}"#,
        r#"{"tokens":["hydraulic","pump"],"tags":["B-Item","O"]}"#,
        r#"{"text":"mail a@b.example replace","spans":[{"type":"ACTIVITY","start":17,"end":24},{"type":"Person","start":0,"end":4}]}"#,
    ];
    let data = write(folder.path(), "marked.jsonl", &data.join("\n"));
    refused(&["model", "eval", TAGGER, &data], 74, "\"Person\" is no type");
    let found = json(&["model", "eval", TAGGER, &data, "--skip-unknown", "--json"]);
    let entities = &found["entities"];
    assert_eq!((&entities["reports"], &entities["left_out"]), (&3.into(), &1.into()), "{entities}");
    // Right: replace, pump, replace. True besides: hydraulic alone. Found besides: hydraulic pump, the address.
    assert_eq!(entities["entities"], 4, "{entities}");
    assert!((entities["recall"].as_f64().unwrap() - 3.0 / 4.0).abs() < 1e-9, "{entities}");
    assert!((entities["precision"].as_f64().unwrap() - 3.0 / 5.0).abs() < 1e-9, "{entities}");
    let kinds = entities["types"].as_array().unwrap();
    let of = |name: &str| kinds.iter().find(|kind| kind["label"] == name).unwrap();
    assert_eq!(of("Activity")["f1"], 1.0);
    assert_eq!(of("email_address")["answered"], 1);
    let bench = json(&["model", "bench", TAGGER, "--time", "20 ms", "--json"]);
    assert_eq!(
        bench["variants"][0]["shapes"].as_array().unwrap().len(),
        4,
        "two lengths, alone and in batches"
    );
    let page = json(&["model", "report", TAGGER, "--time", "20 ms", "--json"]);
    assert_eq!(page["answers"]["leaving"]["figures"]["terms"], 3);
}

#[test]
fn what_cannot_be_evaluated_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let dir = scaffold(place);
    let [samples, by_time, by_key] = recording(place);
    let config = place.join("stream.toml").display().to_string();
    let good = write(place, "good.jsonl", "{\"text\":\"pump\",\"label\":\"l1\"}\n");
    let empty = write(place, "empty.jsonl", "\n");
    let unknown = write(place, "unknown.jsonl", "{\"text\":\"pump\",\"label\":\"broken\"}\n");
    let prose = write(place, "prose.jsonl", "once upon a time\n");
    let numbers = write(place, "numbers.jsonl", "{\"text\":5,\"label\":\"l1\"}\n");
    let no_labels = write(place, "no-labels.csv", "ts,wear,leak\n");
    let eval = |data: &str, more: &[&str], code, words: &str| {
        refused(&[&["model", "eval", EMBEDDING, data], more].concat(), code, words);
    };
    eval(&good, &["--label", "class"], 74, "no label for class; there are: label, text");
    eval(&good, &["--label", "colour=label"], 64, "which task is \"colour\"");
    eval(&good, &["--text", "body"], 74, "--text");
    eval(&good, &["--map", "broken=l7"], 64, "cannot be \"l7\"");
    eval(&good, &["--map", "broken"], 64, "VALUE=LABEL");
    eval(&good, &["--labels", &by_time], 64, "for samples");
    eval(&good, &["--variant", "int4"], 64, "it has: fp32");
    eval(&unknown, &[], 74, "line 1: \"broken\" is no label; the model has l0 | l1 | l2");
    let ragged = write(place, "ragged.csv", "text,label\npump,l1\nhose\n");
    eval(&ragged, &[], 74, "line: 3");
    eval(&empty, &[], 74, "holds no report");
    eval(&prose, &[], 74, "line 1: no JSON object");
    eval(&numbers, &[], 74, "is no text");
    eval("absent.jsonl", &[], 74, "absent.jsonl");
    assert_eq!(run(&["model", "eval", EMBEDDING, &unknown, "--map", "broken=l1"]).code, Some(0));
    assert_eq!(run(&["model", "eval", EMBEDDING, &unknown, "--skip-unknown"]).code, Some(0));
    let sensor = |more: &[&str], code, words: &str| {
        refused(&[&["model", "eval", &dir, &samples], more].concat(), code, words);
    };
    let stream = ["--config", &config, "--stream", "pump"];
    sensor(&[], 64, "--config FILE");
    sensor(&["--config", &config, "--stream", "boiler", "--labels", &by_time], 64, "there are: pump");
    sensor(&[&stream[..], &["--labels", &by_time]].concat(), 74, "line 2: \"0\" is no wear");
    sensor(&[&stream[..], &["--labels", &by_time, "--label", "wear=rust"]].concat(), 74, "no label for rust");
    sensor(&[&stream[..], &["--labels", &by_key]].concat(), 74, "--join");
    sensor(&[&stream[..], &["--labels", &by_key, "--join", "batch"]].concat(), 74, "no column \"batch\"");
    sensor(&[&stream[..], &["--labels", &no_labels]].concat(), 74, "holds no label");
    let foreign = write(place, "foreign.csv", "ts,a,cycle\n1800000000,1,k0\n1800000011,1,k0\n");
    let args = ["model", "eval", &dir, &foreign, "--labels", &by_time, "--skip-unknown"];
    refused(&[&args[..], &stream[..]].concat(), 74, "no input could be judged");
}

/// One field of a protocol buffer: bytes, or a number.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}

/// An ONNX file with one node of a kind.
fn graph_of(operator: &str) -> Vec<u8> {
    let shape = field(2, &[field(1, &[1 << 3, 1]), field(1, &[1 << 3, 4])].concat());
    let kind = field(2, &field(1, &[&[1 << 3, 1], &shape[..]].concat()));
    let port = |name: &str| [field(1, name.as_bytes()), kind.clone()].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(4, operator.as_bytes())].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &port("x")), field(12, &port("y"))].concat();
    [vec![1 << 3, 8], field(8, &[2 << 3, 17]), field(7, &graph)].concat()
}

#[test]
fn an_operator_the_engine_lacks_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = |operator: &str| {
        let path = folder.path().join("graph.onnx");
        fs::write(&path, graph_of(operator)).unwrap();
        path.display().to_string()
    };
    let dir = folder.path().join("new").display().to_string();
    let good = made("Relu");
    let args = ["model", "new", &good, &dir, "--features", "a.mean,a.std,a.max,a.min", "--labels", "a,b,c,d"];
    assert_eq!(run(&args).code, Some(0), "{}", run(&args).stderr);
    let there = refused(&args, 74, "write ");
    assert!(there.stderr.contains("not empty"), "{}", there.stderr);
    fs::remove_dir_all(&dir).unwrap();
    made("TfIdfVectorizer");
    refused(&args, 78, "the engine has no operator TfIdfVectorizer (1 nodes)");
    refused(&["model", "bench", &good], 78, "TfIdfVectorizer");
    assert!(!Path::new(&dir).try_exists().unwrap(), "nothing is left behind");
}

#[test]
fn a_graph_that_would_overflow_the_stack_or_take_minutes_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new").display().to_string();
    let deep = format!("{}1{}", "(".repeat(200_000), ")".repeat(200_000));
    let one = |dim: &str| {
        let [x, y] = ["x", "y"].map(|name| port(name, F32, &[Dim::Named("N"), Dim::Named(dim)]));
        model(graph(&[x], &[y], &[node("Identity", "x", "y")], &[]))
    };
    let [x, y] = ["x0", "x9000"].map(|name| port(name, F32, &[Dim::Named("N"), Dim::Fixed(4)]));
    let step = |at| node("Relu", &format!("x{at}"), &format!("x{}", at + 1));
    let many: Vec<_> = (0..9000).map(step).collect();
    for (bytes, words) in [
        (one(&deep), "400001 bytes in one name"),
        (model(graph(&[x], &[y], &many, &[])), "4097 nodes and constants, allowed are 4096"),
    ] {
        let file = folder.path().join("graph.onnx");
        fs::write(&file, bytes).unwrap();
        let file = file.display().to_string();
        refused(&["model", "bench", &file, "--length", "4"], 78, words);
        let inputs = ["--features", "a.mean,a.std,a.max,a.min", "--labels", "a,b,c,d"];
        refused(&[&["model", "new", &file, &dir][..], &inputs].concat(), 78, words);
    }
    let dense = format!("{DENSE}/model.onnx");
    refused(&["model", "bench", &dense, "--length", "99999999999"], 64, "from 1 to 131072");
}

#[test]
fn what_cannot_be_scaffolded_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new").display().to_string();
    let dense = format!("{DENSE}/model.onnx");
    let words = format!("{TAGGER}/model.onnx");
    let four = ["--features", "a.mean,a.std,a.max,a.min"];
    let labels = ["--labels", "wear=a,b,c", "--labels", "leak=d,e"];
    let bad = write(folder.path(), "bad.csv", "from,to,completeness,a.mean\n0,1,1,x\n");
    let new = |graph: &str, more: &[&[&str]], code, words: &str| {
        refused(&[&["model", "new", graph, &dir][..], &more.concat()].concat(), code, words);
        assert!(!Path::new(&dir).try_exists().unwrap(), "{words}: nothing is left behind");
    };
    new(&dense, &[], 64, "what goes into the network?");
    new(
        &dense,
        &[&["--features", "a.mean,a.std"], &labels],
        78,
        "takes 4 numbers, the list of features makes 2",
    );
    new(&dense, &[&four], 64, "what do the 3 numbers of output \"wear\" mean?");
    new(&dense, &[&four, &["--labels", "wear=a,b", "--labels", "leak=d,e"]], 64, "3 numbers");
    new(&dense, &[&["--char-ngrams", "4,1"], &labels], 64, "DIMS,N_MIN,N_MAX");
    new(&dense, &[&["--char-ngrams", "4,1,2"], &labels], 64, "input.encoder.dims");
    new(&dense, &[&["--word-grams", "32,3,3,4"], &labels], 78, "INT64 is needed");
    new(&dense, &[&four, &labels, &["--samples", &bad]], 74, "a cell is no number");
    new(&dense, &[&four, &labels, &["--types", "a"]], 64, "--word-grams");
    let tagged = ["--word-grams", "1024,3,3,4", "--lengths", "4,8", "--types"];
    new(&words, &[&tagged, &["Item"]], 78, "1 types need 3 for each");
    new("absent.onnx", &[&four, &labels], 74, "absent.onnx");
    let good = [&["model", "new", &words, &dir][..], &tagged, &["Item,Activity"]].concat();
    let ended = run(&good);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("tags.vocabulary"), "{}", ended.stderr);
}
