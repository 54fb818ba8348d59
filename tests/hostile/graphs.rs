//! Graphs that are wrong, dear, endless or that lie: each with a name that says how.

use crate::onnx::{
    Dim, F32, F64, I8, I64, Message, STRING, U8, floats, graph, integers, model, model_of, node, port, tensor,
};

/// A graph with the inputs and outputs of the manifest: `features` to `y`, two numbers each.
fn pair(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    model(pair_graph(nodes, constants))
}

fn pair_graph(nodes: &[Message], constants: &[Message]) -> Message {
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    graph(&[port("features", F32, &dims)], &[port("y", F32, &dims)], nodes, constants)
}

fn echo() -> Message {
    node("Identity", "features", "y")
}

/// The echo with a constant beside it that something is done with.
fn beside(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    let mut all = nodes.to_vec();
    all.push(node("ReduceMax", "big", "top").attribute_int("keepdims", 0));
    all.push(node("Add", "features top", "y"));
    pair(&all, constants)
}

/// Two dense layers: what is cut, flipped and corrupted.
pub(crate) fn dense() -> Vec<u8> {
    dense_of(floats("w", &[2, 2], &[1.0, 0.0, 0.0, 1.0]))
}

fn dense_of(weights: Message) -> Vec<u8> {
    let nodes = [node("MatMul", "features w", "h"), node("Add", "h b", "y")];
    pair(&nodes, &[weights, floats("b", &[2], &[0.0, 0.0])])
}

type Named = (String, Vec<u8>);

fn named(name: &str, graph: Vec<u8>) -> Named {
    (name.to_owned(), graph)
}

/// Every graph.
pub(crate) fn all() -> Vec<Named> {
    [
        no_graphs(),
        bombs(),
        operators(),
        types(),
        external(),
        weights(),
        cycles(),
        masses(),
        outputs(),
        dimensions(),
        names(),
        inputs(),
        subgraphs(),
        slow(),
        attributes(),
        lengths(),
        negatives(),
        zeros(),
        versions(),
        quantised(),
    ]
    .concat()
}

/// Bytes that are no graph at all.
fn no_graphs() -> Vec<Named> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut cases = vec![
        named("empty", Vec::new()),
        named("one-zero", vec![0]),
        named("zeros", vec![0; 10_000]),
        named("ones", vec![0xff; 10_000]),
        named("text", b"this is not a graph, it is a sentence".repeat(100)),
        named("json", b"{\"graph\":{\"node\":[]}}".to_vec()),
        named("zip", b"PK\x03\x04\x14\0\0\0\x08\0".repeat(50)),
        named("elf", [b"\x7fELF\x02\x01\x01".to_vec(), vec![0; 500]].concat()),
        named("endless-varint", vec![0x80; 4096]),
        named("length-beyond-end", vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]),
        named("length-of-2-to-63", vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        named("groups-in-groups", vec![0x3b; 100_000]),
        named("field-zero", vec![0x02, 0x01, 0x00]),
        named("graph-of-wrong-wire-type", Message::default().int(1, 9).int(7, 5).0),
        named("graph-twice", [dense(), dense()].concat()),
        named("no-graph", Message::default().int(1, 9).0),
    ];
    for index in 0..8 {
        let count = random.usize(1..4096);
        let bytes = std::iter::repeat_with(|| random.u8(..)).take(count).collect();
        cases.push(named(&format!("noise-{index}"), bytes));
    }
    cases
}

/// Little bytes that stand for many.
fn bombs() -> Vec<Named> {
    let one = || floats("v", &[1], &[1.0]);
    let filled = |name: &str, shape: &[i64]| {
        let nodes = [node("ConstantOfShape", "shape", "big").attribute_tensor("value", one())];
        named(name, beside(&nodes, &[integers("shape", &[shape.len() as i64], shape)]))
    };
    let repeated = |name: &str, kind: &str, by: &[i64]| {
        let nodes = [node(kind, "seed by", "big")];
        let seed = floats("seed", &[1, 1], &[1.0]);
        named(name, beside(&nodes, &[seed, integers("by", &[by.len() as i64], by)]))
    };
    let range = |name: &str, last: i64, step: i64| {
        let scalars = [("first", 0), ("last", last), ("step", step)];
        let constants: Vec<Message> =
            scalars.iter().map(|(name, value)| integers(name, &[], &[*value])).collect();
        let nodes =
            [node("Range", "first last step", "whole"), node("Cast", "whole", "big").attribute_int("to", 1)];
        named(name, beside(&nodes, &constants))
    };
    let doubled = |name: &str, times: usize| {
        let mut nodes = Vec::new();
        for step in 0..times {
            let (from, to) = (format!("d{step}"), format!("d{}", step + 1));
            nodes.push(node("Concat", &format!("{from} {from}"), &to).attribute_int("axis", 0));
        }
        nodes.push(node("Identity", &format!("d{times}"), "big"));
        named(name, beside(&nodes, &[floats("d0", &[2], &[1.0, 1.0])]))
    };
    let unused = [
        node("ConstantOfShape", "shape", "big").attribute_tensor("value", one()),
        node("Identity", "features", "y"),
    ];
    vec![
        filled("fill-2-to-26", &[1 << 26]),
        filled("fill-2-to-30", &[1 << 15, 1 << 15]),
        filled("fill-2-to-40", &[1 << 20, 1 << 20]),
        filled("fill-2-to-62", &[1 << 31, 1 << 31]),
        filled("fill-2-to-70", &[1 << 35, 1 << 35]),
        filled("fill-4-times-2-to-62", &[1 << 62, 4]),
        named("fill-unused", pair(&unused, &[integers("shape", &[1], &[1 << 40])])),
        repeated("tile-2-to-28", "Tile", &[1 << 14, 1 << 14]),
        repeated("tile-2-to-60", "Tile", &[1 << 30, 1 << 30]),
        repeated("expand-2-to-28", "Expand", &[1 << 14, 1 << 14]),
        repeated("expand-2-to-60", "Expand", &[1 << 30, 1 << 30]),
        range("range-2-to-28", 1 << 28, 1),
        range("range-2-to-40", 1 << 40, 1),
        range("range-of-step-0", 10, 0),
        range("range-backwards", 10, -1),
        doubled("doubled-28-times", 28),
        doubled("doubled-62-times", 62),
        named(
            "padded-2-to-40",
            beside(
                &[node("Pad", "seed by", "big")],
                &[floats("seed", &[1], &[1.0]), integers("by", &[2], &[0, 1 << 40])],
            ),
        ),
        named(
            "one-hot-2-to-36",
            beside(
                &[node("OneHot", "where depth values", "big")],
                &[
                    integers("where", &[2], &[0, 1]),
                    integers("depth", &[1], &[1 << 36]),
                    floats("values", &[2], &[0.0, 1.0]),
                ],
            ),
        ),
        named(
            "product-of-2-to-32",
            beside(
                &[
                    node("ConstantOfShape", "tall", "a").attribute_tensor("value", one()),
                    node("ConstantOfShape", "wide", "b").attribute_tensor("value", one()),
                    node("MatMul", "a b", "big"),
                ],
                &[integers("tall", &[2], &[1 << 16, 1]), integers("wide", &[2], &[1, 1 << 16])],
            ),
        ),
        named(
            "resize-a-billion-times",
            beside(
                &[node("Resize", "seed _ scales", "big").attribute_text("mode", "nearest")],
                &[floats("seed", &[1, 1, 1, 1], &[1.0]), floats("scales", &[4], &[1.0, 1.0, 3e4, 3e4])],
            ),
        ),
        named(
            "eye-of-2-to-20",
            beside(
                &[
                    node("ConstantOfShape", "shape", "m").attribute_tensor("value", one()),
                    node("EyeLike", "m", "big"),
                ],
                &[integers("shape", &[2], &[1 << 20, 1 << 20])],
            ),
        ),
        named("weights-of-2-to-40", dense_of(tensor("w", F32, &[2, 1 << 40], &[0; 16]))),
        named("weights-of-2-to-62-squared", dense_of(tensor("w", F32, &[1 << 62, 1 << 62], &[0; 16]))),
        named("weights-of-17-dimensions", dense_of(tensor("w", F32, &[2; 17], &[0; 16]))),
        named("weights-of-100000-dimensions", dense_of(tensor("w", F32, &[1; 100_000], &[0; 4]))),
        named(
            "heavy-at-run-time",
            pair(
                &[
                    node("Expand", "features shape", "wide"),
                    node("MatMul", "wide w", "h"),
                    node("ReduceSum", "h axes", "s").attribute_int("keepdims", 0),
                    node("Add", "features s", "y"),
                ],
                &[
                    integers("shape", &[3], &[4096, 4096, 2]),
                    floats("w", &[2, 64], &[1.0; 128]),
                    integers("axes", &[3], &[0, 1, 2]),
                ],
            ),
        ),
    ]
}

/// Operators nobody has, or that exist but not like this.
fn operators() -> Vec<Named> {
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
    cases.push(named("operator-of-10-megabytes", pair(&[node(&"x".repeat(10 << 20), "features", "y")], &[])));
    let elsewhere = node("Identity", "features", "h").bytes(7, "com.example");
    cases.push(named("operator-without-inputs", pair(&[node("MatMul", "", "y")], &[])));
    cases.push(named("operator-with-40-inputs", pair(&[node("Relu", &"features ".repeat(40), "y")], &[])));
    cases.push(named(
        "operator-with-40-outputs",
        pair(
            &[node("Relu", "features", &(0..40).map(|n| format!("o{n} ")).collect::<String>()), echo()],
            &[],
        ),
    ));
    cases.push(named("domain-nobody-has", pair(&[elsewhere, node("Frobnicate", "h", "y")], &[])));
    cases
}

/// Numbers of the wrong type.
fn types() -> Vec<Named> {
    let mut cases = Vec::new();
    // Of TensorProto.DataType: undefined, f16, f64, the complex ones, bf16, fp8, int4, and what does not exist.
    for dtype in [0, 2, 3, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 99, u64::MAX] {
        let name = format!("weights-of-type-{}", if dtype > 99 { 100 } else { dtype });
        cases.push((name, dense_of(tensor("w", dtype, &[2, 2], &[0; 16]))));
    }
    for (name, dtype) in
        [("double", F64), ("string", STRING), ("whole", I64), ("byte", U8), ("none", 0), ("odd", 77)]
    {
        let dims = [Dim::Named("N"), Dim::Fixed(2)];
        let built = |input, output| {
            model(graph(&[port("features", input, &dims)], &[port("y", output, &dims)], &[echo()], &[]))
        };
        cases.push((format!("input-of-type-{name}"), built(dtype, F32)));
        let cast = node("Cast", "features", "y").attribute_int("to", dtype.cast_signed());
        let ports = ([port("features", F32, &dims)], [port("y", dtype, &dims)]);
        cases.push((format!("output-of-type-{name}"), model(graph(&ports.0, &ports.1, &[cast], &[]))));
    }
    let words = Message::default().int(1, 2).int(1, 2).int(2, STRING).bytes(8, "w");
    let words = ["a", "b", "c", "d"].iter().fold(words, |words, word| words.bytes(6, word));
    cases.push(named("weights-are-strings", dense_of(words)));
    let sequence =
        Message::default().bytes(1, "features").message(2, Message::default().message(4, Message::default()));
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    cases.push(named(
        "input-is-a-sequence",
        model(graph(&[sequence], &[port("y", F32, &dims)], &[echo()], &[])),
    ));
    let untyped = Message::default().bytes(1, "features");
    cases.push(named("input-of-no-type", model(graph(&[untyped], &[port("y", F32, &dims)], &[echo()], &[]))));
    cases
}

/// Weights that lie in another file.
fn external() -> Vec<Named> {
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

/// Weights that are no numbers.
fn weights() -> Vec<Named> {
    let mut cases = Vec::new();
    for (name, value) in [
        ("nan", f32::NAN),
        ("infinite", f32::INFINITY),
        ("minus-infinite", f32::NEG_INFINITY),
        ("huge", f32::MAX),
    ] {
        cases.push((format!("weights-{name}"), dense_of(floats("w", &[2, 2], &[value; 4]))));
        let nodes = [node("Add", "features b", "y")];
        cases.push((format!("bias-{name}"), pair(&nodes, &[floats("b", &[2], &[value, 0.0])])));
    }
    let zero = [node("Div", "features b", "y")];
    cases.push(named("division-by-zero", pair(&zero, &[floats("b", &[2], &[0.0, 0.0])])));
    cases.push(named("root-of-negative", pair(&[node("Sqrt", "features", "y")], &[])));
    cases
}

fn cycles() -> Vec<Named> {
    let two = [node("Add", "features b", "a"), node("Add", "features a", "b"), node("Add", "a b", "y")];
    let long = |count: usize| {
        let mut nodes: Vec<Message> = (0..count)
            .map(|n| node("Add", &format!("features c{}", (n + 1) % count), &format!("c{n}")))
            .collect();
        nodes.push(node("Identity", "c0", "y"));
        pair(&nodes, &[])
    };
    let unused = [node("Add", "features b", "a"), node("Add", "features a", "b"), echo()];
    vec![
        named("cycle-of-one", pair(&[node("Add", "features y", "y")], &[])),
        named("cycle-of-two", pair(&two, &[])),
        named("cycle-of-10000", long(10_000)),
        named("cycle-unused", pair(&unused, &[])),
        named("backwards", pair(&[node("Relu", "h", "y"), node("Abs", "features", "h")], &[])),
    ]
}

/// Very many of something.
fn masses() -> Vec<Named> {
    let chain = |kind: &str, count: usize| {
        let name = |n: usize| match n {
            0 => "features".to_owned(),
            n if n == count => "y".to_owned(),
            n => format!("c{n}"),
        };
        let nodes: Vec<Message> = (0..count).map(|n| node(kind, &name(n), &name(n + 1))).collect();
        pair(&nodes, &[])
    };
    let parallel = |count: usize| {
        let mut nodes: Vec<Message> =
            (0..count).map(|n| node("Relu", "features", &format!("p{n}"))).collect();
        nodes.push(echo());
        pair(&nodes, &[])
    };
    let wide = |count: usize| {
        let nodes = [
            node("Concat", &"features ".repeat(count), "big").attribute_int("axis", 1),
            node("ReduceMean", "big axes", "m"),
            node("Add", "features m", "y"),
        ];
        let mut constants = vec![integers("axes", &[1], &[1])];
        constants.truncate(1);
        pair(&nodes, &constants)
    };
    let constants: Vec<Message> = (0..100_000).map(|n| floats(&format!("k{n}"), &[1], &[1.0])).collect();
    let inputs: Vec<Message> = (0..20_000).map(|n| port(&format!("i{n}"), F32, &[Dim::Fixed(2)])).collect();
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    vec![
        named("chain-of-1000", chain("Relu", 1000)),
        named("chain-of-100000-identities", chain("Identity", 100_000)),
        named("chain-of-100000-exponentials", chain("Exp", 100_000)),
        named("parallel-100000", parallel(100_000)),
        named("concat-of-10000", wide(10_000)),
        named("constants-100000", pair(&[echo()], &constants)),
        named(
            "inputs-20000",
            model(graph(&inputs, &[port("y", F32, &dims)], &[node("Identity", "i0", "y")], &[])),
        ),
    ]
}

fn outputs() -> Vec<Named> {
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
fn dimensions() -> Vec<Named> {
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

fn names() -> Vec<Named> {
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
        named("name-of-5-megabytes", {
            let long = "n".repeat(5 << 20);
            pair(&[node("Identity", "features", &long), node("Identity", &long, "y")], &[])
        }),
    ]
}

fn inputs() -> Vec<Named> {
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

/// Graphs in graphs.
fn subgraphs() -> Vec<Named> {
    let nested = |depth: usize| {
        let leaf = graph(&[], &[port("o", F32, &[])], &[node("Identity", "features", "o")], &[]);
        let mut inner = leaf;
        for _ in 0..depth {
            let branch =
                node("If", "yes", "o").attribute_graph("then_branch", inner.clone()).attribute_graph(
                    "else_branch",
                    graph(&[], &[port("o", F32, &[])], &[node("Identity", "features", "o")], &[]),
                );
            inner = graph(&[], &[port("o", F32, &[])], &[branch], &[]);
        }
        let yes = tensor("yes", 9, &[], &[1]);
        let top = node("If", "yes", "y")
            .attribute_graph("then_branch", inner.clone())
            .attribute_graph("else_branch", inner);
        pair(&[top], &[yes])
    };
    let unlike = node("If", "yes", "y")
        .attribute_graph(
            "then_branch",
            graph(&[], &[port("o", F32, &[])], &[node("Identity", "features", "o")], &[]),
        )
        .attribute_graph("else_branch", graph(&[], &[], &[], &[]));
    let scan = |depth: usize| {
        let mut body = graph(&[port("i", F32, &[])], &[port("o", F32, &[])], &[node("Relu", "i", "o")], &[]);
        for _ in 0..depth {
            let inner =
                node("Scan", "i", "o").attribute_int("num_scan_inputs", 1).attribute_graph("body", body);
            body = graph(&[port("i", F32, &[])], &[port("o", F32, &[])], &[inner], &[]);
        }
        pair(
            &[node("Scan", "features", "y")
                .attribute_int("num_scan_inputs", 1)
                .attribute_graph("body", body)],
            &[],
        )
    };
    vec![
        named("if-in-if-5", nested(5)),
        named("if-in-if-40", nested(40)),
        named("if-in-if-1000", nested(1000)),
        named("if-of-unlike-branches", pair(&[unlike], &[tensor("yes", 9, &[], &[1])])),
        named("if-without-branches", pair(&[node("If", "yes", "y")], &[tensor("yes", 9, &[], &[1])])),
        named("if-by-input", pair(&[node("If", "features", "y")], &[])),
        named("scan-in-scan-30", scan(30)),
        named("scan-in-scan-1000", scan(1000)),
        named("function-that-calls-itself", {
            let call = node("Self", "x", "y").bytes(7, "own");
            let own = Message::default()
                .bytes(1, "Self")
                .bytes(4, "x")
                .bytes(5, "y")
                .message(7, call)
                .bytes(10, "own");
            let opset = Message::default().bytes(1, "").int(2, 17);
            let top = pair_graph(&[node("Self", "features", "y").bytes(7, "own")], &[]);
            Message::default().int(1, 9).message(7, top).message(8, opset).message(25, own).0
        }),
    ]
}

/// Little to read, much to do before anything is run.
fn slow() -> Vec<Named> {
    let mut towers = vec![node("Identity", "features", "h0")];
    for step in 0..3000 {
        towers.push(node("Relu", &format!("h{step}"), &format!("r{step}")));
        towers.push(node("Add", &format!("h{step} r{step}"), &format!("h{}", step + 1)));
    }
    towers.push(node("Identity", "h3000", "y"));
    let mut folded =
        vec![node("ConstantOfShape", "shape", "m0").attribute_tensor("value", floats("v", &[1], &[1e-4]))];
    for step in 0..200 {
        folded.push(node("MatMul", &format!("m{step} m{step}"), &format!("m{}", step + 1)));
    }
    folded.push(node("Identity", "m200", "big"));
    let mut reshaped = vec![node("Identity", "features", "s0")];
    for step in 0..2000 {
        reshaped.push(node("Reshape", &format!("s{step} turned"), &format!("t{step}")));
        reshaped.push(node("Reshape", &format!("t{step} back"), &format!("s{}", step + 1)));
    }
    reshaped.push(node("Identity", "s2000", "y"));
    let shapes = [integers("turned", &[2], &[-1, 1]), integers("back", &[2], &[-1, 2])];
    let letters = "abcdefghijklmnopqrstuvwxyz";
    let einsum = node("Einsum", &"features ".repeat(13), "y").attribute_text(
        "equation",
        &format!(
            "{}->ab",
            (0..13).map(|n| letters[2 * n..2 * n + 2].to_owned()).collect::<Vec<_>>().join(",")
        ),
    );
    vec![
        named("optimise-6000-residuals", pair(&towers, &[])),
        named("fold-200-products", beside(&folded, &[integers("shape", &[2], &[1500, 1500])])),
        named("optimise-4000-reshapes", pair(&reshaped, &shapes)),
        named("einsum-of-13", pair(&[einsum], &[])),
    ]
}

fn attributes() -> Vec<Named> {
    let text = "x".repeat(10 << 20);
    let relu = || node("Relu", "features", "y");
    vec![
        named("attribute-of-10-megabytes", pair(&[relu().attribute_text("note", &text)], &[])),
        named(
            "attribute-of-10-megabytes-that-is-read",
            pair(
                &[node("Pad", "features by", "y").attribute_text("mode", &text)],
                &[integers("by", &[4], &[0; 4])],
            ),
        ),
        named(
            "attribute-of-a-million-numbers",
            pair(&[node("Transpose", "features", "y").attribute_ints("perm", &vec![0; 1_000_000])], &[]),
        ),
        named(
            "attribute-of-the-wrong-type",
            pair(&[node("Concat", "features features", "y").attribute_text("axis", "one")], &[]),
        ),
        named("attribute-missing", pair(&[node("Concat", "features features", "y")], &[])),
        named(
            "attribute-without-a-type",
            pair(
                &[node("Transpose", "features", "y")
                    .message(5, Message::default().bytes(1, "perm").int(8, 0))],
                &[],
            ),
        ),
        named(
            "attribute-twice",
            pair(
                &[node("Concat", "features features", "y").attribute_int("axis", 1).attribute_int("axis", 9)],
                &[],
            ),
        ),
        named(
            "equation-of-a-megabyte",
            pair(&[node("Einsum", "features", "y").attribute_text("equation", &"a".repeat(1 << 20))], &[]),
        ),
        named(
            "equation-of-nothing",
            pair(&[node("Einsum", "features", "y").attribute_text("equation", "")], &[]),
        ),
        named("doc-of-20-megabytes", {
            let doc = "d".repeat(20 << 20);
            model(pair_graph(&[node("MatMul", "features features", "y")], &[]).bytes(10, doc))
        }),
    ]
}

/// Data of another length than its shape.
fn lengths() -> Vec<Named> {
    let packed = |count: usize| vec![0; count * 4];
    let typed = |field: u64, count: usize| {
        Message::default().int(1, 2).int(1, 2).int(2, F32).bytes(8, "w").bytes(field, packed(count))
    };
    let whole = Message::default().int(1, 2).int(2, I64).bytes(8, "k").bytes(7, [1, 2, 3]);
    vec![
        named("raw-too-short", dense_of(tensor("w", F32, &[2, 2], &[0; 12]))),
        named("raw-too-long", dense_of(tensor("w", F32, &[2, 2], &[0; 20]))),
        named("raw-of-odd-bytes", dense_of(tensor("w", F32, &[2, 2], &[0; 15]))),
        named("raw-of-one-byte", dense_of(tensor("w", F32, &[2, 2], &[0]))),
        named("floats-too-few", dense_of(typed(4, 3))),
        named("floats-too-many", dense_of(typed(4, 5))),
        named("floats-none", dense_of(Message::default().int(1, 2).int(1, 2).int(2, F32).bytes(8, "w"))),
        named("doubles-for-floats", dense_of(typed(10, 4))),
        named("shape-of-three-for-two", pair(&[node("Reshape", "features k", "y")], &[whole])),
        named("weights-turned", dense_of(floats("w", &[4, 1], &[0.0; 4]))),
        named("weights-flat", dense_of(floats("w", &[3], &[0.0; 3]))),
    ]
}

fn negatives() -> Vec<Named> {
    let image = || floats("image", &[1, 1, 4, 4], &[1.0; 16]);
    let over = |name: &str, node: Message, constants: &[Message]| {
        let mut all = vec![image()];
        all.extend_from_slice(constants);
        named(name, beside(&[node], &all))
    };
    let pool = |kernel: &[i64]| node("MaxPool", "image", "big").attribute_ints("kernel_shape", kernel);
    let average = |kernel: &[i64]| node("AveragePool", "image", "big").attribute_ints("kernel_shape", kernel);
    let conv = || node("Conv", "image k", "big");
    let kernel = || floats("k", &[1, 1, 2, 2], &[1.0; 4]);
    let filled = |shape: &[i64]| {
        let nodes = [node("ConstantOfShape", "shape", "big")];
        beside(&nodes, &[integers("shape", &[shape.len() as i64], shape)])
    };
    vec![
        named("weights-of-minus-2", dense_of(tensor("w", F32, &[-2, -2], &[0; 16]))),
        named("fill-minus-1", filled(&[-1])),
        named("fill-smallest", filled(&[i64::MIN, 2])),
        over("pool-of-0", pool(&[0, 0]), &[]),
        over("pool-of-minus-1", pool(&[-1, -1]), &[]),
        over("pool-of-2-to-40", pool(&[1 << 40, 1 << 40]), &[]),
        over("pool-by-0", pool(&[2, 2]).attribute_ints("strides", &[0, 0]), &[]),
        over("pool-by-minus-1", pool(&[2, 2]).attribute_ints("strides", &[-1, -1]), &[]),
        over("pool-of-three", pool(&[1, 1, 1]), &[]),
        over("average-of-0", average(&[0, 0]), &[]),
        over("average-padded-minus-9", average(&[2, 2]).attribute_ints("pads", &[-9, -9, -9, -9]), &[]),
        over("conv-by-0", conv().attribute_ints("strides", &[0, 0]), &[kernel()]),
        over("conv-spread-by-0", conv().attribute_ints("dilations", &[0, 0]), &[kernel()]),
        over("conv-spread-by-2-to-40", conv().attribute_ints("dilations", &[1 << 40, 1]), &[kernel()]),
        over("conv-padded-2-to-40", conv().attribute_ints("pads", &[1 << 40, 0, 0, 0]), &[kernel()]),
        over("conv-of-minus-1-groups", conv().attribute_int("group", -1), &[kernel()]),
        over("conv-of-7-groups", conv().attribute_int("group", 7), &[kernel()]),
        over("conv-of-0-groups", conv().attribute_int("group", 0), &[kernel()]),
        over("turned-by-9", node("Transpose", "image", "big").attribute_ints("perm", &[9, 8, 7, 6]), &[]),
        over("turned-by-0000", node("Transpose", "image", "big").attribute_ints("perm", &[0, 0, 0, 0]), &[]),
        over("squeezed-at-99", node("Squeeze", "image at", "big"), &[integers("at", &[1], &[99])]),
        over("unsqueezed-at-99", node("Unsqueeze", "image at", "big"), &[integers("at", &[1], &[99])]),
        over("unsqueezed-twice", node("Unsqueeze", "image at", "big"), &[integers("at", &[2], &[0, 0])]),
        over("concat-at-99", node("Concat", "image image", "big").attribute_int("axis", 99), &[]),
        over("softmax-at-99", node("Softmax", "image", "big").attribute_int("axis", 99), &[]),
        over("softmax-at-smallest", node("Softmax", "image", "big").attribute_int("axis", i64::MIN), &[]),
        over("reshaped-to-minus-2", node("Reshape", "image to", "big"), &[integers("to", &[2], &[-2, -1])]),
        over(
            "reshaped-to-two-unknown",
            node("Reshape", "image to", "big"),
            &[integers("to", &[2], &[-1, -1])],
        ),
        over("reshaped-to-7", node("Reshape", "image to", "big"), &[integers("to", &[1], &[7])]),
        over("gathered-at-99", node("Gather", "image at", "big"), &[integers("at", &[1], &[99])]),
        over("gathered-at-minus-99", node("Gather", "image at", "big"), &[integers("at", &[1], &[-99])]),
        over(
            "gathered-along-99",
            node("Gather", "image at", "big").attribute_int("axis", 99),
            &[integers("at", &[1], &[0])],
        ),
        over("split-into-unequal", node("Split", "image by", "big rest"), &[integers("by", &[2], &[9, 9])]),
        over(
            "sliced-by-0",
            node("Slice", "image a b _ c", "big"),
            &[integers("a", &[1], &[0]), integers("b", &[1], &[1]), integers("c", &[1], &[0])],
        ),
        over("padded-minus-9", node("Pad", "image by", "big"), &[integers("by", &[8], &[-9; 8])]),
        over("tiled-minus-1", node("Tile", "image by", "big"), &[integers("by", &[4], &[-1; 4])]),
        over("resized-to-minus-1", node("Resize", "image _ _ to", "big"), &[integers("to", &[4], &[-1; 4])]),
        over("resized-by-0", node("Resize", "image _ by", "big"), &[floats("by", &[4], &[0.0; 4])]),
        over("resized-by-nan", node("Resize", "image _ by", "big"), &[floats("by", &[4], &[f32::NAN; 4])]),
        over("best-of-minus-1", node("TopK", "image k", "big at"), &[integers("k", &[1], &[-1])]),
        over("best-of-2-to-40", node("TopK", "image k", "big at"), &[integers("k", &[1], &[1 << 40])]),
        over(
            "depth-of-minus-1",
            node("OneHot", "at depth values", "big"),
            &[
                integers("at", &[1], &[0]),
                integers("depth", &[1], &[-1]),
                floats("values", &[2], &[0.0, 1.0]),
            ],
        ),
        over("space-to-depth-of-0", node("SpaceToDepth", "image", "big").attribute_int("blocksize", 0), &[]),
        named(
            "whole-division-by-zero",
            beside(
                &[node("Div", "a b", "c"), node("Cast", "c", "big").attribute_int("to", 1)],
                &[integers("a", &[1], &[1]), integers("b", &[1], &[0])],
            ),
        ),
        named(
            "whole-remainder-by-zero",
            beside(
                &[node("Mod", "a b", "c"), node("Cast", "c", "big").attribute_int("to", 1)],
                &[integers("a", &[1], &[1]), integers("b", &[1], &[0])],
            ),
        ),
        named(
            "smallest-by-minus-1",
            beside(
                &[node("Div", "a b", "c"), node("Cast", "c", "big").attribute_int("to", 1)],
                &[integers("a", &[1], &[i64::MIN]), integers("b", &[1], &[-1])],
            ),
        ),
        named(
            "shifted-by-99",
            beside(
                &[
                    node("BitShift", "a b", "c").attribute_text("direction", "LEFT"),
                    node("Cast", "c", "big").attribute_int("to", 1),
                ],
                &[tensor("a", U8, &[1], &[1]), tensor("b", U8, &[1], &[99])],
            ),
        ),
        named("signed-bytes-for-weights", dense_of(tensor("w", I8, &[2, 2], &[1, 0, 0, 1]))),
    ]
}

fn zeros() -> Vec<Named> {
    let empty = |dims: &[i64]| floats("w", dims, &[]);
    vec![
        named("weights-of-0", dense_of(empty(&[0]))),
        named("weights-of-2-by-0", dense_of(empty(&[2, 0]))),
        named("weights-of-0-by-2", dense_of(empty(&[0, 2]))),
        named("largest-of-nothing", beside(&[node("Identity", "w", "big")], &[empty(&[0])])),
        named(
            "mean-of-nothing",
            pair(
                &[node("ReduceMean", "w", "m").attribute_int("keepdims", 0), node("Add", "features m", "y")],
                &[empty(&[0, 3])],
            ),
        ),
        named(
            "index-of-nothing",
            beside(
                &[node("ArgMax", "w", "a"), node("Cast", "a", "big").attribute_int("to", 1)],
                &[empty(&[0, 3])],
            ),
        ),
        named("normalised-nothing", beside(&[node("Softmax", "w", "big")], &[empty(&[3, 0])])),
        named(
            "nothing-reshaped",
            pair(&[node("Reshape", "w to", "y")], &[empty(&[0]), integers("to", &[2], &[-1, 2])]),
        ),
    ]
}

fn versions() -> Vec<Named> {
    let echo_of = |opset: u64| {
        model_of(
            pair_graph(&[node("ReduceSum", "features axes", "y")], &[integers("axes", &[1], &[7])]),
            opset,
        )
    };
    let mut cases: Vec<Named> =
        [0, 1, 8, 99, 1 << 40].iter().map(|opset| (format!("opset-{opset}"), echo_of(*opset))).collect();
    let top = pair_graph(&[node("Concat", "features features", "y").attribute_int("axis", 1)], &[]);
    cases.push(named("opset-none", Message::default().int(1, 9).message(7, top.clone()).0));
    cases.push(named("ir-version-none", Message::default().message(7, top).0));
    cases
}

/// Right graphs that the engine computes wrong: only golden vectors know.
fn quantised() -> Vec<Named> {
    let softmax = |axis: i64, zero: u8| {
        let nodes = [
            node("QuantizeLinear", "features scale zero", "q"),
            node("DequantizeLinear", "q scale zero", "d"),
            node("Softmax", "d", "s").attribute_int("axis", axis),
            node("QuantizeLinear", "s fine low", "p"),
            node("DequantizeLinear", "p fine low", "y"),
        ];
        let constants = [
            floats("scale", &[], &[0.05]),
            tensor("zero", U8, &[], &[zero]),
            floats("fine", &[], &[1.0 / 256.0]),
            tensor("low", U8, &[], &[0]),
        ];
        pair(&nodes, &constants)
    };
    vec![named("quantised-softmax", softmax(1, 128)), named("quantised-softmax-last-axis", softmax(-1, 100))]
}
