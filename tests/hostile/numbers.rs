//! Numbers out of range, of the wrong type, of the wrong count.

use crate::graphs::{Named, beside, count, dense_of, echo, named, pair};
use crate::onnx::{
    Dim, F32, F64, I8, I64, Message, STRING, U8, floats, graph, integers, model, node, port, tensor,
};

#[expect(clippy::too_many_lines, reason = "a list")]
pub(crate) fn negatives() -> Vec<Named> {
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
        beside(&nodes, &[integers("shape", &[count(shape)], shape)])
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

pub(crate) fn zeros() -> Vec<Named> {
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

/// Data of another length than its shape.
pub(crate) fn lengths() -> Vec<Named> {
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

/// Numbers of the wrong type.
pub(crate) fn types() -> Vec<Named> {
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

/// Weights that are no numbers.
pub(crate) fn weights() -> Vec<Named> {
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
