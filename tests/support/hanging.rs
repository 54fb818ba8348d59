//! A model that passes admission and then, for one kind of input, stays in a single node for hours.
//!
//! Its golden vectors take the short branch of an `If`. With a first feature above a half it takes the other, and the engine
//! cannot tell what its node costs: the largest of half of [`CANDIDATES`], for each of the other half.

use std::fs;
use std::path::Path;

use tidegate::infer::Digest;

use crate::onnx::{Dim, F32, Message, floats, graph, integers, model, node, port};

/// Candidates: a quarter of their square is compared, at some nanoseconds each.
const CANDIDATES: i64 = 4_000_000;

/// Writes the folder of the model `name`, which takes the means of `a` and `b`.
pub(crate) fn write_hanging(name: &str, folder: &Path) {
    let row = Dim::Named("N");
    let inputs = [port("features", F32, &[row, Dim::Fixed(2)])];
    let outputs = [port("y", F32, &[row, Dim::Fixed(2)])];
    let long = [
        node("Expand", "score candidates", "scores"),
        node("MaxPool", "scores", "largest").attribute_ints("kernel_shape", &[CANDIDATES / 2]),
        node("ReduceMax", "largest", "most").attribute_ints("axes", &[2]).attribute_int("keepdims", 1),
        node("Reshape", "most square", "one_by_one"),
        node("Min", "one_by_one none", "nothing"),
        node("Add", "features nothing", "long"),
    ];
    let short = [node("Add", "features none", "short")];
    let branch =
        |nodes: &[Message], output| graph(&[], &[port(output, F32, &[row, Dim::Fixed(2)])], nodes, &[]);
    let nodes = [
        node("Slice", "features zero one zero", "first_row"),
        node("Slice", "first_row zero one one", "first"),
        node("Reshape", "first cube", "score"),
        node("Greater", "score half", "is_busy"),
        node("If", "is_busy", "y")
            .attribute_graph("then_branch", branch(&long, "long"))
            .attribute_graph("else_branch", branch(&short, "short")),
    ];
    let constants = [
        integers("zero", &[1], &[0]),
        integers("one", &[1], &[1]),
        integers("cube", &[3], &[1, 1, 1]),
        integers("candidates", &[3], &[1, 1, CANDIDATES]),
        integers("square", &[2], &[1, 1]),
        floats("half", &[1], &[0.5]),
        floats("none", &[1], &[0.0]),
    ];
    let bytes = model(graph(&inputs, &outputs, &nodes, &constants));
    let golden = r#"{"cases":[{"input":[0.25,-0.25],"outputs":{"y":[0.25,-0.25]}}]}"#;
    let (sha256, golden_sha256) = (Digest::of(&bytes), Digest::of(golden.as_bytes()));
    let manifest = format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\ndescription = \"hangs\"\nkind = \"sensor\"\n\
         [input]\ntensor = \"features\"\nchannels = [\"a\", \"b\"]\nfeatures = [\"a.mean\", \"b.mean\"]\n\
         mean = [0.0, 0.0]\nstd = [1.0, 1.0]\n\
         [[tasks]]\noutput = \"y\"\nlabels = [\"calm\", \"busy\"]\nthreshold = 0.5\n\
         [[variants]]\nname = \"fp32\"\nfile = \"model.onnx\"\nsha256 = \"{sha256}\"\n\
         parameters = 0\nmemory_bytes = 0\noperations = 0\n\
         [golden]\nfile = \"golden.json\"\nsha256 = \"{golden_sha256}\"\ntolerance = 1e-4\n"
    );
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("model.onnx"), &bytes).unwrap();
    fs::write(folder.join("golden.json"), golden).unwrap();
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
}
