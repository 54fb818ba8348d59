//! Little to read that stands for much: memory, time, depth.

use crate::graphs::{Named, beside, count, dense_of, echo, named, pair, pair_graph};
use crate::onnx::{Dim, F32, Message, floats, graph, integers, model, node, port, tensor};

/// Little bytes that stand for many.
#[expect(clippy::too_many_lines, reason = "a list")]
pub(crate) fn bombs() -> Vec<Named> {
    let one = || floats("v", &[1], &[1.0]);
    let filled = |name: &str, shape: &[i64]| {
        let nodes = [node("ConstantOfShape", "shape", "big").attribute_tensor("value", one())];
        named(name, beside(&nodes, &[integers("shape", &[count(shape)], shape)]))
    };
    let repeated = |name: &str, kind: &str, by: &[i64]| {
        let nodes = [node(kind, "seed by", "big")];
        let seed = floats("seed", &[1, 1], &[1.0]);
        named(name, beside(&nodes, &[seed, integers("by", &[count(by)], by)]))
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
        doubled("doubled-26-times", 26),
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

/// Very many of something.
pub(crate) fn masses() -> Vec<Named> {
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
    let constants: Vec<Message> = (0..20_000).map(|n| floats(&format!("k{n}"), &[1], &[1.0])).collect();
    let inputs: Vec<Message> = (0..20_000).map(|n| port(&format!("i{n}"), F32, &[Dim::Fixed(2)])).collect();
    let dims = [Dim::Named("N"), Dim::Fixed(2)];
    vec![
        named("chain-of-300", chain("Relu", 300)),
        named("chain-of-100000-identities", chain("Identity", 100_000)),
        named("chain-of-100000-exponentials", chain("Exp", 100_000)),
        named("parallel-100000", parallel(100_000)),
        named("concat-of-10000", wide(10_000)),
        named("constants-20000", pair(&[echo()], &constants)),
        named(
            "inputs-20000",
            model(graph(&inputs, &[port("y", F32, &dims)], &[node("Identity", "i0", "y")], &[])),
        ),
    ]
}

/// Graphs in graphs.
pub(crate) fn subgraphs() -> Vec<Named> {
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
pub(crate) fn slow() -> Vec<Named> {
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

pub(crate) fn attributes() -> Vec<Named> {
    let text = "x".repeat(1 << 20);
    let relu = || node("Relu", "features", "y");
    vec![
        named("attribute-of-a-megabyte", pair(&[relu().attribute_text("note", &text)], &[])),
        named(
            "attribute-of-a-megabyte-that-is-read",
            pair(
                &[node("Pad", "features by", "y").attribute_text("mode", &text)],
                &[integers("by", &[4], &[0; 4])],
            ),
        ),
        named(
            "attribute-of-100000-numbers",
            pair(&[node("Transpose", "features", "y").attribute_ints("perm", &vec![0; 100_000])], &[]),
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
        named("doc-of-2-megabytes", {
            let doc = "d".repeat(2 << 20);
            model(pair_graph(&[node("MatMul", "features features", "y")], &[]).bytes(10, doc))
        }),
    ]
}
