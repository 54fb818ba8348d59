//! Do golden vectors find what loads well and means something else: another normalisation, encoder or order of labels?

use tidegate::infer::Manifest;
use tidegate::runtime::text_row;

use crate::folder::Folder;
use crate::onnx::{Dim, F32, I64, floats, graph, integers, model, node, port};
use crate::refusal;

/// Two features, normalised by hand below, through a matrix that tells them apart.
const GOLDEN: &str = r#"{"labels":{"wear":["none","some","severe"]},"cases":[
{"raw":[12.0,-1.0],"input":[0.5,-1.5],"outputs":{"y":[0.5,-1.5,0.0]},"labels":{"wear":"none"}},
{"raw":[6.0,8.0],"input":[-1.0,3.0],"outputs":{"y":[-1.0,3.0,0.0]},"labels":{"wear":"some"}},
{"raw":[8.0,null],"input":[-0.5,0.0],"outputs":{"y":[-0.5,0.0,0.0]}},
{"raw":[-990.0,0.5],"outputs":{"y":[-8.0,-0.75,0.0]},"labels":{"wear":"severe"}}]}"#;

const MIDDLE: &str = r#"kind = "sensor"
[input]
tensor = "features"
channels = ["a"]
features = ["a.mean", "a.std"]
mean = [10.0, 2.0]
std = [4.0, 2.0]
[[tasks]]
name = "wear"
output = "y"
labels = ["none", "some", "severe"]
threshold = 0.5
"#;

fn sensor() -> Folder {
    let ports = |width| [Dim::Named("N"), Dim::Fixed(width)];
    let weights = floats("w", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let graph = graph(
        &[port("features", F32, &ports(2))],
        &[port("y", F32, &ports(3))],
        &[node("MatMul", "features w", "y")],
        &[weights],
    );
    Folder::pair("golden-sensor", model(graph)).golden(GOLDEN).middle(MIDDLE.to_owned())
}

fn check(folder: &Folder, from: &str, to: &str, why: &str) {
    let changed = Folder {
        golden: folder.golden.replacen(from, to, 1),
        middle: folder.middle.replacen(from, to, 1),
        ..folder.clone()
    };
    assert!(changed.golden != folder.golden || changed.middle != folder.middle, "{from} is not there");
    let found = refusal(&changed);
    assert!(!why.is_empty() && found.contains(why), "{from} -> {to}: {found:?} does not contain {why:?}");
    assert!(found.contains(&folder.name) && found.contains("golden.json"), "{found:?} names nothing");
}

#[test]
fn a_changed_normalisation_is_refused() {
    let good = sensor();
    assert_eq!(refusal(&good), "");
    check(&good, "mean = [10.0", "mean = [10.5", "case 0: input 0 is 0.5, the gateway makes 0.375");
    check(&good, "std = [4.0", "std = [4.1", "case 0: input 0 is 0.5, the gateway makes");
    check(&good, "mean = [10.0, 2.0]", "mean = [10.0, 2.001]", "case 0: input 1 is -1.5");
    check(&good, "std = [4.0, 2.0]\n", "std = [4.0, 2.0]\nclip = 2.9\n", "case 1: input 1 is 3");
    check(&good, "\"raw\":[12.0,-1.0]", "\"raw\":[12.0]", "case 0 has 1 raw features, not 2");
    check(&good, "\"raw\":[12.0", "\"raw\":[null", "case 0: input 0 is 0.5, the gateway makes 0 ");
}

#[test]
fn a_clip_that_only_outputs_show_is_refused_by_them() {
    // The last case has no input of its own.
    let wider = sensor().middle(MIDDLE.replace("std = [4.0, 2.0]\n", "std = [4.0, 2.0]\nclip = 9.0\n"));
    let found = refusal(&wider);
    assert!(found.contains("model.onnx: case 3: y differs by"), "{found}");
}

#[test]
fn labels_in_another_order_are_refused_by_the_list_and_by_the_cases() {
    let good = sensor();
    let swapped = "labels = [\"some\", \"none\", \"severe\"]";
    let straight = "labels = [\"none\", \"some\", \"severe\"]";
    check(&good, straight, swapped, "label 0 of wear is \"none\", in the manifest \"some\"");
    let without_list =
        good.clone().golden(&GOLDEN.replacen("\"labels\":{\"wear\":[\"none\",\"some\",\"severe\"]},", "", 1));
    assert_eq!(refusal(&without_list), "");
    check(
        &without_list,
        straight,
        swapped,
        "case 0: wear is \"none\", by its outputs and the manifest's labels \"some\"",
    );
    check(&good, "\"none\",\"some\",\"severe\"]}", "\"none\",\"some\"]}", "label 2 of wear is missing");
    check(
        &good,
        "{\"labels\":{\"wear\"",
        "{\"labels\":{\"tear\"",
        "labels of \"tear\", which the manifest does not",
    );
    check(
        &good,
        "\"labels\":{\"wear\":\"none\"}",
        "\"labels\":{\"tear\":\"none\"}",
        "case 0 has a label of \"tear\"",
    );
}

#[test]
fn a_wrong_output_is_refused_and_so_are_numbers_that_are_none() {
    let good = sensor();
    for (from, to, why) in [
        ("\"y\":[0.5,", "\"y\":[0.501,", "case 0: y differs by 0.001"),
        ("\"y\":[0.5,", "\"y\":[0.499,", "case 0: y differs by 0.001"),
    ] {
        let changed = good.clone().golden(&GOLDEN.replacen(from, to, 1));
        let found = refusal(&changed);
        assert!(found.contains(why) && found.contains("model.onnx"), "{found}");
    }
    check(&good, "\"y\":[0.5,", "\"y\":[1e999,", "number out of range");
    check(&good, "\"input\":[0.5,", "\"input\":[NaN,", "expected value");
    check(
        &good,
        "\"raw\":[12.0",
        "\"text\":\"leak\",\"raw\":[12.0",
        "case 0 has a text, the model takes features",
    );
    check(&good, "\"raw\":[-990.0,0.5],", "", "case 3 has none of input, raw and text");
}

/// A report model: the sum of a vector of n-grams, and twice that.
fn report(encoder: &str) -> Folder {
    let ports = |width| [Dim::Named("N"), Dim::Fixed(width)];
    let weights: Vec<f32> = (0_u8..16).flat_map(|row| [f32::from(row), -f32::from(row)]).collect();
    let graph = graph(
        &[port("features", F32, &ports(16))],
        &[port("y", F32, &ports(2))],
        &[node("MatMul", "features w", "y")],
        &[floats("w", &[16, 2], &weights)],
    );
    let middle = format!(
        "kind = \"report\"\n[input]\ntensor = \"features\"\nencoder = {encoder}\n\
         [[tasks]]\noutput = \"y\"\nlabels = [\"leak\", \"no-leak\"]\nthreshold = 0.5\n"
    );
    Folder::pair("golden-report", model(graph)).middle(middle)
}

#[test]
fn a_changed_text_encoder_is_refused() {
    let encoder = "{ type = \"char-ngrams\", dims = 16, n_min = 2, n_max = 3 }";
    let config = tidegate::text::NgramConfig::new(16, 2, 3).unwrap();
    let mut row = Vec::new();
    tidegate::text::NgramEncoder::new(config).encode("Seal leaking", &mut row);
    let sum: f32 = row.iter().zip(0_u8..).map(|(value, at)| value * f32::from(at)).sum();
    let golden = format!(
        "{{\"labels\":{{\"y\":[\"leak\",\"no-leak\"]}},\"cases\":[{{\"text\":\"Seal leaking\",\
         \"outputs\":{{\"y\":[{sum},-{sum}]}},\"labels\":{{\"y\":\"leak\"}}}}]}}"
    );
    let good = report(encoder).golden(&golden);
    assert_eq!(refusal(&good), "");
    for changed in ["n_min = 2, n_max = 4", "n_min = 1, n_max = 3"] {
        let other = report(&encoder.replace("n_min = 2, n_max = 3", changed)).golden(&golden);
        let found = refusal(&other);
        assert!(found.contains("case 0: y differs by"), "{changed}: {found}");
    }
    let input: Vec<String> = row.iter().map(ToString::to_string).collect();
    let with_input = golden.replace("\"outputs\"", &format!("\"input\":[{}],\"outputs\"", input.join(",")));
    let good = good.golden(&with_input);
    assert_eq!(refusal(&good), "");
    check(&good, "Seal leaking", "Seal leaky", "the gateway makes");
    check(
        &good,
        "\"text\":\"Seal leaking\"",
        "\"raw\":[0.5]",
        "case 0 has raw features, the model takes text",
    );
}

#[test]
fn changed_words_are_refused() {
    let rows = [Dim::Named("N"), Dim::Named("L")];
    // The row of the padding is zero, so that a graph without a mask does not look at it.
    let table: Vec<f32> = (0_u8..16).flat_map(|row| [f32::from(row), -f32::from(row)]).collect();
    let graph = graph(
        &[port("features", I64, &rows)],
        &[port("y", F32, &[Dim::Named("N"), Dim::Fixed(2)])],
        &[
            node("Gather", "table features", "e"),
            node("ReduceSum", "e axes", "y").attribute_int("keepdims", 0),
        ],
        &[floats("table", &[16, 2], &table), integers("axes", &[1], &[1])],
    );
    let graph = model(graph);
    let words = "split = \"space\", dims = 16, n_min = 3, n_max = 4, grams = 6, lengths = [2, 4]";
    let report = |words: &str, golden: &str| {
        let middle = format!(
            "kind = \"report\"\n[input]\ntensor = \"features\"\nencoder = {{ type = \"word-grams\", {words} }}\n\
             [[tasks]]\noutput = \"y\"\nlabels = [\"leak\", \"no-leak\"]\nthreshold = 0.5\n"
        );
        Folder::pair("golden-words", graph.clone()).middle(middle).golden(golden)
    };
    let manifest = Manifest::parse(&report(words, "").manifest()).unwrap();
    let sum: f64 = text_row(&manifest, "Seal/O-ring leaking 1000H").unwrap().iter().sum();
    let golden = format!(
        "{{\"cases\":[{{\"text\":\"Seal/O-ring leaking 1000H\",\"outputs\":{{\"y\":[{sum},-{sum}]}},\
         \"labels\":{{\"y\":\"leak\"}}}}]}}"
    );
    assert_eq!(refusal(&report(words, &golden)), "");
    for (from, to) in [
        ("split = \"space\"", "split = \"punctuation\""),
        ("n_max = 4", "n_max = 5"),
        ("grams = 6", "grams = 5"),
        ("dims = 16", "dims = 17"),
    ] {
        let found = refusal(&report(&words.replace(from, to), &golden));
        assert!(found.contains("golden-words") && found.contains("case 0"), "{to}: {found:?}");
    }
}

/// What the parser says repeats the key, and a refusal the parent cannot read is none.
#[test]
fn a_golden_file_with_a_key_or_a_label_of_a_megabyte_is_refused_in_words() {
    let long = "k".repeat(1 << 20);
    for (from, to, why) in [
        ("\"cases\"", format!("\"{long}\":1,\"cases\""), "unknown field"),
        ("[\"none\"", format!("[\"{long}\""), "label 0 of wear is \"kkk"),
    ] {
        let found = refusal(&Folder { golden: sensor().golden.replacen(from, &to, 1), ..sensor() });
        assert!(found.contains(why) && found.len() < 3000, "{}", found.chars().take(300).collect::<String>());
    }
}
