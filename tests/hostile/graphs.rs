//! Graphs that are wrong, dear, endless or that lie: each with a name that says how.

mod bombs;
mod numbers;
mod ports;

use crate::onnx::{Dim, F32, Message, U8, floats, graph, integers, model, model_of, node, port, tensor};

/// A graph with the inputs and outputs of the manifest: `features` to `y`, two numbers each.
pub(crate) fn pair(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    model(pair_graph(nodes, constants))
}

pub(crate) fn pair_graph(nodes: &[Message], constants: &[Message]) -> Message {
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    graph(&[port("features", F32, &dims)], &[port("y", F32, &dims)], nodes, constants)
}

pub(crate) fn echo() -> Message {
    node("Identity", "features", "y")
}

/// The echo with a constant beside it that something is done with.
pub(crate) fn beside(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    let mut all = nodes.to_vec();
    all.push(node("ReduceMax", "big", "top").attribute_int("keepdims", 0));
    all.push(node("Add", "features top", "y"));
    pair(&all, constants)
}

/// Two dense layers: what is cut, flipped and corrupted.
pub(crate) fn dense() -> Vec<u8> {
    dense_of(floats("w", &[2, 2], &[1.0, 0.0, 0.0, 1.0]))
}

pub(crate) fn dense_of(weights: Message) -> Vec<u8> {
    let nodes = [node("MatMul", "features w", "h"), node("Add", "h b", "y")];
    pair(&nodes, &[weights, floats("b", &[2], &[0.0, 0.0])])
}

/// Golden vectors of the cases that need their own: right ones, by hand.
pub(crate) fn golden(name: &str) -> Option<&'static str> {
    // Softmax of 0.5 and -0.25, in steps of 1/256 and as it is.
    match name {
        "quantised-softmax" | "quantised-softmax-last-axis" => {
            Some(r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"y":[0.6796875,0.3203125]}}]}"#)
        }
        "float-softmax" => Some(r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"y":[0.6791787,0.3208213]}}]}"#),
        _ => None,
    }
}

/// A graph and what is wrong with it.
pub(crate) type Named = (String, Vec<u8>);

/// How many lengths a shape has.
pub(crate) fn count(shape: &[i64]) -> i64 {
    i64::try_from(shape.len()).unwrap()
}

pub(crate) fn named(name: &str, graph: Vec<u8>) -> Named {
    (name.to_owned(), graph)
}

/// Every graph.
pub(crate) fn all() -> Vec<Named> {
    [
        no_graphs(),
        bombs::bombs(),
        ports::operators(),
        numbers::types(),
        ports::external(),
        numbers::weights(),
        cycles(),
        bombs::masses(),
        ports::outputs(),
        ports::dimensions(),
        ports::names(),
        ports::inputs(),
        bombs::subgraphs(),
        bombs::slow(),
        bombs::attributes(),
        numbers::lengths(),
        numbers::negatives(),
        numbers::zeros(),
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
    let float = [
        node("QuantizeLinear", "features scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "d"),
        node("Softmax", "d", "y").attribute_int("axis", 1),
    ];
    let constants = [floats("scale", &[], &[0.05]), tensor("zero", U8, &[], &[128])];
    vec![
        named("quantised-softmax", softmax(1, 128)),
        named("quantised-softmax-last-axis", softmax(-1, 100)),
        named("float-softmax", pair(&float, &constants)),
    ]
}
