"""Makes the small models of tests/golden/models: good ones and hostile ones.

Needs onnx, numpy and onnxruntime. The files it writes are committed; tests do not run this.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).parent / "models"
sys.path.insert(0, str(ROOT.parents[2] / "models" / "train"))
from words import Config, encode, known_bits, word_ids  # noqa: E402

RANDOM = np.random.default_rng(7)
SCOPE = '[scope]\nkind = "feature-distance"\nlimit = 9.0'
F32, I64, I8, U8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT8, TensorProto.UINT8


def weights(name, *shape):
    return numpy_helper.from_array(RANDOM.normal(0, 0.7, shape).astype(np.float32), name)


def constant(name, values, dtype):
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"n_{output}", **attributes)


def model(inputs, outputs, nodes, initializers):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made


def dense(hidden=8):
    return model(
        [value("features", F32, "N", 4)],
        [value("wear", F32, "N", 3), value("leak", F32, "N", 2)],
        [
            node("Gemm", "features w1 b1", "h0"),
            node("Relu", "h0", "h"),
            node("Gemm", "h w2 b2", "wear"),
            node("Gemm", "h w3 b3", "leak"),
        ],
        [
            weights("w1", 4, hidden), weights("b1", hidden),
            weights("w2", hidden, 3), weights("b2", 3),
            weights("w3", hidden, 2), weights("b3", 2),
        ],
    )  # fmt: skip


def embedding(pooled="ReduceSum"):
    """A bag of ids; its mean instead of its sum would look at padding."""
    table = RANDOM.normal(0, 0.7, (32, 6)).astype(np.float32)
    table[0] = 0
    sum_axes = "e one" if pooled == "ReduceSum" else "e"
    return model(
        [value("words", I64, "N", "L")],
        [value("class", F32, "N", 3)],
        [
            node("Gather", "table words", "e", axis=0),
            node(pooled, sum_axes, "m", keepdims=0, **({} if pooled == "ReduceSum" else {"axes": [1]})),
            node("MatMul", "m w", "class"),
        ],
        [numpy_helper.from_array(table, "table"), weights("w", 6, 3)]
        + ([constant("one", [1], np.int64)] if pooled == "ReduceSum" else []),
    )


MARKED = {
    "Item": "pump valve seal PUMP",
    "Activity": "replace check",
    "+Item": "hydraulic hyd.",
}
TAG_TYPES = ["Item", "Activity"]
WORDS = Config(split="space", dims=1024, n_min=3, n_max=3, grams=4, lengths=(4, 8))
DOUBTFUL = "gasket"  # marked as an item, with a probability below the threshold
FATAL = "storm"  # an id of it lies beyond the table of tagger-panics


def tagger(rows=WORDS.dims):
    """Marks a few whole words: the row of a word's first id holds its logits."""
    table = np.zeros((rows, 5), np.float32)

    def mark(word, tag, logit):
        table[word_ids(word, WORDS)[0] % rows, tag] = logit

    # O, B-Item, I-Item, B-Activity, I-Activity
    for word in MARKED["Item"].split():
        mark(word, 1, 8), mark(word, 2, 9)
    for word in MARKED["+Item"].split():
        mark(word, 1, 8)
    for word in MARKED["Activity"].split():
        mark(word, 3, 8)
    mark(DOUBTFUL, 1, 3.2)
    return model(
        [value("words", I64, "N", "L")],
        [value("tags", F32, "N", "W", 5)],
        [
            node("Reshape", "words shape", "w"),
            node("Gather", "table w", "e", axis=0),
            node("ReduceSum", "e two", "s", keepdims=0),
            node("Add", "s bias", "tags"),
        ],
        [
            constant("shape", [0, -1, WORDS.grams], np.int64),
            numpy_helper.from_array(table, "table"),
            constant("two", [2], np.int64),
            constant("bias", [3, 0, 0, 0, 0], np.float32),
        ],
    )


def quantised(kind, zero):
    dtype = np.uint8 if kind == U8 else np.int8
    return model(
        [value("features", kind, "N", 4)],
        [value("wear", F32, "N", 3)],
        [node("DequantizeLinear", "features scale zero", "x"), node("Gemm", "x w b", "wear")],
        [
            constant("scale", 0.05, np.float32), constant("zero", zero, dtype),
            weights("w", 4, 3), weights("b", 3),
        ],
    )  # fmt: skip


def with_index():
    return model(
        [value("features", F32, "N", 4)],
        [value("logits", F32, "N", 3), value("index", I64, "N", 1), value("unused", F32, "N", 4)],
        [
            node("MatMul", "features w", "logits"),
            node("ArgMax", "logits", "index", axis=1, keepdims=1),
            node("Exp", "features", "unused"),
        ],
        [weights("w", 4, 3)],
    )


def logarithm():
    return model(
        [value("features", F32, "N", 2)],
        [value("y", F32, "N", 2)],
        [node("Log", "features", "y")],
        [],
    )


def gather_by_input():
    return model(
        [value("features", F32, "N", 1)],
        [value("y", F32, "N", 2)],
        [
            node("Cast", "features", "i", to=I64),
            node("Reshape", "i flat", "row"),
            node("Gather", "table row", "y", axis=0),
        ],
        [constant("flat", [-1], np.int64), weights("table", 4, 2)],
    )


def echo():
    return model(
        [value("features", F32, "N", 2)], [value("y", F32, "N", 2)], [node("Identity", "features", "y")], []
    )


def one_row():
    return model(
        [value("features", F32, 1, 2)],
        [value("y", F32, 1, 2)],
        [node("Reshape", "features shape", "y")],
        [constant("shape", [1, 2], np.int64)],
    )


def rows_mixed():
    return model(
        [value("features", F32, "N", 2)],
        [value("y", F32, "N", 2)],
        [node("ReduceMean", "features", "mean", axes=[0]), node("Add", "features mean", "y")],
        [],
    )


def deep():
    made = logarithm()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "(" * 28_000
    return made


def huge():
    return model(
        [value("features", F32, "N", 2)],
        [value("y", F32, "N", 2)],
        [
            node("ConstantOfShape", "shape", "big", value=constant("one", [1.0], np.float32)),
            node("ReduceMax", "big", "top", keepdims=0),
            node("Mul", "features top", "y"),
        ],
        [constant("shape", [1 << 14, 1 << 14], np.int64)],
    )


def external():
    made = dense()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "golden.json"
    return made


def replayed(made, inputs):
    """Golden cases as ONNX Runtime computes them; `inputs` is (what the manifest calls the input, the tensor)."""
    session = onnxruntime.InferenceSession(made.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    cases = []
    for written, tensor in inputs:
        outputs = session.run(names, {session.get_inputs()[0].name: tensor})
        floats = {n: o[0].ravel().tolist() for n, o in zip(names, outputs) if o.dtype == np.float32}
        cases.append({"input": written, "outputs": floats})
    return cases


def rows(width, count=6, low=-2.0, high=2.0):
    made = [np.round(RANDOM.uniform(low, high, width), 3).astype(np.float32) for _ in range(count)]
    return [([float(f"{x:.3f}") for x in row], row[None, :]) for row in made]


def ids(count=6):
    made = [np.maximum(RANDOM.integers(0, 32, 8 if k % 2 else 16), 1) for k in range(count)]
    return [(row.tolist(), row[None, :].astype(np.int64)) for row in made]


def texts(*written):
    encoded = [encode([text], WORDS)[0].reshape(1, -1) for text in written]
    return [(row[0].tolist(), row) for row in encoded]


def word_encoder(config):
    numbers = f"dims = {config.dims}, n_min = {config.n_min}, n_max = {config.n_max}, grams = {config.grams}"
    lengths = list(config.lengths)
    return f'{{ type = "word-grams", split = "{config.split}", {numbers}, lengths = {lengths} }}'


def beside(name, file, blob):
    """Writes a further file of a model; returns how a manifest names it."""
    (ROOT / name).mkdir(parents=True, exist_ok=True)
    (ROOT / name / file).write_bytes(blob)
    return f'file = "{file}", sha256 = "{hashlib.sha256(blob).hexdigest()}"'


def tags_of(name):
    """`[tags]` and `[scope]` of the taggers."""
    vocabulary = {
        "terms": ["hydraulic pump", "pump", "valve"],
        "aliases": {"hyd pump": "hydraulic pump"},
        "words": {"hyd.": "hydraulic"},
    }
    known = known_bits(["replace hydraulic pump", "check hyd. valve", "seal gasket replaced, checked"], 3, 2048)
    terms = beside(name, "vocabulary.json", json.dumps(vocabulary).encode())
    return "\n".join(
        [
            "[tags]",
            'output = "tags"',
            f"types = {json.dumps(TAG_TYPES)}",
            "threshold = 0.6",
            f"vocabulary = {{ {terms} }}",
            'rules = ["email"]',
            "[scope]",
            'kind = "known-grams"',
            "n = 3",
            beside(name, "known.bin", known).replace(", ", "\n"),
            "limit = 0.5",
        ]
    )


def as_bytes(inputs, dtype, zero):
    limits = np.iinfo(dtype)
    return [
        (written, np.clip(np.round(row / np.float32(0.05)) + zero, limits.min, limits.max).astype(dtype))
        for written, row in inputs
    ]


def write(name, blob, cases, tasks, sensor=None, extra="", encoder=None, parameters=0, operations=0):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    golden = json.dumps({"cases": cases}, separators=(",", ":")).encode()
    (folder / "model.onnx").write_bytes(blob)
    (folder / "golden.json").write_bytes(golden)
    lines = [
        f'name = "{name}"',
        'version = "1.0.0"',
        f'kind = "{"report" if encoder else "sensor"}"',
        'description = "made by tests/golden/make_models.py"',
        "[input]",
    ]
    if encoder:
        lines += ['tensor = "words"', f"encoder = {encoder}"]
    else:
        features = ", ".join(f'"a.f{k}"' for k in range(sensor))
        lines += [
            'tensor = "features"',
            'channels = ["a"]',
            f"features = [{features}]",
            f"mean = {[0.0] * sensor}",
            f"std = {[1.0] * sensor}",
        ]
    lines += [extra] if extra else []
    for task, output, labels in tasks:
        words = ", ".join(f'"l{k}"' for k in range(labels))
        lines += ["[[tasks]]", f'name = "{task}"', f'output = "{output}"', f"labels = [{words}]"]
        lines += [f'alarm = ["l{labels - 1}"]', "temperature = 1.0", "threshold = 0.5"]
    lines += [
        "[[variants]]",
        'name = "fp32"',
        'file = "model.onnx"',
        f'sha256 = "{hashlib.sha256(blob).hexdigest()}"',
        f"parameters = {parameters}",
        f"memory_bytes = {parameters * 4}",
        f"operations = {operations}",
        "[golden]",
        'file = "golden.json"',
        f'sha256 = "{hashlib.sha256(golden).hexdigest()}"',
        "tolerance = 1e-4",
    ]
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n")


def main():
    one = [("", "y", 2)]
    pair = [("wear", "wear", 3), ("leak", "leak", 2)]
    good = dense()
    cases = replayed(good, rows(4))
    blob = good.SerializeToString()
    cost = {"parameters": 4 * 8 + 8 + 8 * 3 + 3 + 8 * 2 + 2, "operations": 4 * 8 + 8 * 5}
    write("dense-pair", blob, cases, pair, 4, SCOPE, **cost)
    write("truncated", blob[: len(blob) // 2], cases, pair, 4)
    wrong = [
        {"input": c["input"], "outputs": {n: [x + 0.01 for x in o] for n, o in c["outputs"].items()}} for c in cases
    ]
    write("wrong-golden", blob, wrong, pair, 4)
    write("external-weights", external().SerializeToString(), cases, pair, 4)

    encoder = word_encoder(Config(dims=32, n_min=3, n_max=3, grams=4, lengths=(2, 4)))
    one_class = [("", "class", 3)]
    made = embedding()
    write("embedding", made.SerializeToString(), replayed(made, ids()), one_class, encoder=encoder)
    for name, kind, dtype, zero in [("bytes-in", U8, np.uint8, 128), ("signed-bytes-in", I8, np.int8, -3)]:
        made = quantised(kind, zero)
        made_cases = replayed(made, as_bytes(rows(4), dtype, zero))
        extra = f'dtype = "{"u8" if kind == U8 else "i8"}"\nscale = 0.05\nzero = {zero}'
        write(name, made.SerializeToString(), made_cases, [("", "wear", 3)], 4, extra)
    made = with_index()
    write("with-index", made.SerializeToString(), replayed(made, rows(4)), [("", "logits", 3)], 4)

    made = logarithm()
    positive = replayed(made, rows(2, low=0.5))
    write("nan-below-zero", made.SerializeToString(), positive, one, 2)
    made = gather_by_input()
    inside = replayed(made, [([float(k)], np.array([[k]], dtype=np.float32)) for k in range(4)])
    write("panics-out-of-range", made.SerializeToString(), inside, one, 1)
    made = echo()
    write("echo", made.SerializeToString(), replayed(made, rows(2)), one, 2)

    made = one_row()
    write("one-row", made.SerializeToString(), replayed(made, rows(2)), one, 2)
    made = rows_mixed()
    write("rows-mixed", made.SerializeToString(), replayed(made, rows(2)), one, 2)

    write("deep-dimension", deep().SerializeToString(), positive, one, 2)
    write("huge-constant", huge().SerializeToString(), positive, one, 2)

    made = embedding("ReduceMean")
    write("looks-at-padding", made.SerializeToString(), replayed(made, ids()), one_class, encoder=encoder)
    words = word_encoder(WORDS)
    inside = texts("replace hydraulic pump", "check valve seal of pump today", "gasket")
    made = tagger()
    extra = tags_of("tagger")
    write("tagger", made.SerializeToString(), replayed(made, inside), [], extra=extra, encoder=words)
    fatal = max(word_ids(FATAL, WORDS))
    assert max(row.max() for _, row in inside) < fatal, "choose another word"
    made = tagger(fatal)
    extra = tags_of("tagger-panics")
    write("tagger-panics", made.SerializeToString(), replayed(made, inside), [], extra=extra, encoder=words)


if __name__ == "__main__":
    main()
