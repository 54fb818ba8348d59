//! Operators, names, inputs, outputs and lengths that are missing, doubled or odd.

use crate::graphs::{Named, dense_of, echo, named, pair, pair_graph};
use crate::onnx::{Dim, F32, Message, floats, graph, model, node, port};

/// Operators nobody has, or that exist but not like this.
pub(crate) fn operators() -> Vec<Named> {
    let mut cases = Vec::new();
    for kind in [
        "",
        "Frobnicate",
        "identity",
        "Loop",
        "SequenceConstruct",
        "SequenceEmpty",
        "Optional",
        "StringNormalizer",
        "TfIdfVectorizer",
        "Scaler",
        "ZipMap",
        "QAttention",
        "SVMClassifier",
        "Unique",
        "Adam",
        "Gradient",
        "../../bin/sh",
        "Identity\0",
        "%s%s%n",
    ] {
        let label = if kind.chars().all(char::is_alphanumeric) { kind } else { "odd" };
        let name = format!("operator-{}-{}", label.to_lowercase(), cases.len());
        cases.push((name, pair(&[node(kind, "features", "y")], &[])));
    }
    cases.push(named("operator-of-a-megabyte", pair(&[node(&"x".repeat(1 << 20), "features", "y")], &[])));
    let elsewhere = node("Identity", "features", "h").bytes(7, "com.example");
    cases.push(named("operator-without-inputs", pair(&[node("MatMul", "", "y")], &[])));
    cases.push(named("operator-with-40-inputs", pair(&[node("Relu", &"features ".repeat(40), "y")], &[])));
    cases.push(named(
        "operator-with-40-outputs",
        pair(
            &[
                node("Relu", "features", &(0..40).map(|n| format!("o{n}")).collect::<Vec<_>>().join(" ")),
                echo(),
            ],
            &[],
        ),
    ));
    cases.push(named("domain-nobody-has", pair(&[elsewhere, node("Frobnicate", "h", "y")], &[])));
    cases
}

/// Weights that lie in another file.
pub(crate) fn external() -> Vec<Named> {
    let weights = |entries: &[(&str, &str)]| {
        let tensor = Message::default().int(1, 2).int(1, 2).int(2, F32).bytes(8, "w").int(14, 1);
        let entry = |(key, value): &(&str, &str)| Message::default().bytes(1, key).bytes(2, value);
        dense_of(entries.iter().map(entry).fold(tensor, |tensor, entry| tensor.message(13, entry)))
    };
    vec![
        named("external-beside", weights(&[("location", "golden.json")])),
        named("external-passwd", weights(&[("location", "/etc/passwd")])),
        named("external-upwards", weights(&[("location", "../../../../../../etc/passwd")])),
        named("external-device", weights(&[("location", "/dev/zero")])),
        named("external-environment", weights(&[("location", "/proc/self/environ"), ("length", "16")])),
        named("external-offset", weights(&[("location", "model.onnx"), ("offset", "18446744073709551615")])),
        named("external-nowhere", weights(&[])),
    ]
}

pub(crate) fn names() -> Vec<Named> {
    let twice = [node("Relu", "features", "y"), node("Neg", "features", "y")];
    let same = [node("Relu", "features", "h").bytes(3, "n"), node("Neg", "h", "y").bytes(3, "n")];
    let constant = floats("features", &[1, 2], &[9.0, 9.0]);
    let pair_of = [floats("b", &[2], &[0.0, 0.0]), floats("b", &[2], &[7.0, 7.0])];
    vec![
        named("two-nodes-make-one-tensor", pair(&twice, &[])),
        named("two-nodes-of-one-name", pair(&same, &[])),
        named("constant-of-the-input's-name".replace('\'', "").as_str(), pair(&[echo()], &[constant])),
        named("constants-of-one-name", pair(&[node("Add", "features b", "y")], &pair_of)),
        named("name-not-utf-8", {
            let bad = Message::default().bytes(1, "features").bytes(2, [0xff, 0xfe]).bytes(4, "Identity");
            pair(&[bad, echo()], &[])
        }),
        named("name-of-a-megabyte", {
            let long = "n".repeat(1 << 20);
            pair(&[node("Identity", "features", &long), node("Identity", &long, "y")], &[])
        }),
    ]
}

pub(crate) fn inputs() -> Vec<Named> {
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    let y = [port("y", F32, &dims)];
    let two = [port("features", F32, &dims), port("mask", F32, &dims)];
    let twice = [port("features", F32, &dims), port("features", F32, &dims)];
    vec![
        named("input-missing", model(graph(&[], &y, &[node("Identity", "features", "y")], &[]))),
        named(
            "input-of-another-name",
            model(graph(&[port("x", F32, &dims)], &y, &[node("Identity", "x", "y")], &[])),
        ),
        named("input-nobody-asked-for", model(graph(&two, &y, &[node("Add", "features mask", "y")], &[]))),
        named("input-twice", model(graph(&twice, &y, &[echo()], &[]))),
        named("node-of-unknown-tensor", pair(&[node("Add", "features ghost", "y")], &[])),
        named("node-of-no-tensor", pair(&[node("Add", "features _", "y")], &[])),
        named("input-unused", pair(&[node("Identity", "k", "y")], &[floats("k", &[1, 2], &[0.5, -0.25])])),
        named("sparse-constant", {
            let sparse = Message::default().message(1, floats("b", &[1], &[1.0])).int(3, 1 << 40);
            model(pair_graph(&[node("Add", "features b", "y")], &[]).message(15, sparse))
        }),
    ]
}

pub(crate) fn outputs() -> Vec<Named> {
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    let features = [port("features", F32, &dims)];
    let with = |outputs: &[Message], nodes: &[Message]| model(graph(&features, outputs, nodes, &[]));
    let wide = [Dim::Named("N"), Dim::Fixed(2), Dim::Fixed(3)];
    vec![
        named("outputs-none", with(&[], &[echo()])),
        named("outputs-none-and-no-node", with(&[], &[])),
        named("output-of-no-node", with(&[port("y", F32, &dims)], &[])),
        named("output-without-a-name", with(&[port("", F32, &dims)], &[echo()])),
        named("output-of-another-name", with(&[port("z", F32, &dims)], &[node("Identity", "features", "z")])),
        named("output-that-no-node-makes", with(&[port("y", F32, &dims), port("z", F32, &dims)], &[echo()])),
        named("output-is-the-input", with(&[port("features", F32, &dims)], &[])),
        named("output-declared-wider", with(&[port("y", F32, &wide)], &[echo()])),
        named(
            "output-too-wide",
            pair(&[node("Concat", "features features", "y").attribute_int("axis", 1)], &[]),
        ),
        named(
            "output-turned",
            pair(&[node("Transpose", "features", "y").attribute_ints("perm", &[1, 0])], &[]),
        ),
        named(
            "output-without-rows",
            pair(&[node("ReduceSum", "features", "y").attribute_int("keepdims", 0)], &[]),
        ),
    ]
}

/// Names of lengths are expressions, and a parser is behind them.
pub(crate) fn dimensions() -> Vec<Named> {
    let named_dim = |text: &str| {
        let dims = [Dim::Named(text), Dim::Fixed(2)];
        model(graph(&[port("features", F32, &dims)], &[port("y", F32, &dims)], &[echo()], &[]))
    };
    let fixed = |length: i64| {
        let dims = [Dim::Fixed(length), Dim::Fixed(2)];
        model(graph(&[port("features", F32, &dims)], &[port("y", F32, &dims)], &[echo()], &[]))
    };
    let mut cases = vec![
        named("length-28000-brackets", named_dim(&"(".repeat(28_000))),
        named(
            "length-100000-brackets",
            named_dim(&format!("{}N{}", "(".repeat(100_000), ")".repeat(100_000))),
        ),
        named("length-100000-signs", named_dim(&format!("{}N", "-".repeat(100_000)))),
        named("length-100000-sums", named_dim(&format!("N{}", "+N".repeat(100_000)))),
        named("length-3000-products", named_dim(&format!("N{}", "*N".repeat(3_000)))),
        named("length-of-a-megabyte", named_dim(&"n".repeat(1 << 20))),
        named("length-divided-by-zero", named_dim("N/0")),
        named("length-of-huge-number", named_dim("99999999999999999999999999999")),
        named("length-of-odd-signs", named_dim("N%0+∞-{}[]")),
        named("length-empty", named_dim("")),
        named("length-0", fixed(0)),
        named("length-minus-1", fixed(-1)),
        named("length-2-to-62", fixed(1 << 62)),
        named("length-smallest", fixed(i64::MIN)),
    ];
    for (name, dims) in [
        ("rank-0", vec![]),
        ("rank-1", vec![Dim::Fixed(2)]),
        ("rank-3", vec![Dim::Named("N"), Dim::Fixed(2), Dim::Fixed(1)]),
        ("rank-1000", vec![Dim::Fixed(1); 1000]),
        ("features-3", vec![Dim::Named("N"), Dim::Fixed(3)]),
        ("features-2-to-40", vec![Dim::Named("N"), Dim::Fixed(1 << 40)]),
    ] {
        cases.push((
            format!("input-{name}"),
            model(graph(&[port("features", F32, &dims)], &[port("y", F32, &dims)], &[echo()], &[])),
        ));
    }
    cases
}
