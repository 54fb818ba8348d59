"""What the recipes share: calibration, the graph, golden vectors, the manifest."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize_scalar

MODELS = Path(__file__).resolve().parent.parent
DATA = MODELS.parent.parent / "shared" / "data"
OPSET = 17
PRECISION_WANTED = 0.95
# No answer is accepted on less than even odds, however well the held-out cycles went.
THRESHOLD_MIN = 0.5


def softmax(logits, temperature=1.0):
    """Rows of probabilities."""
    scaled = logits / temperature
    power = np.exp(scaled - scaled.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def temperature(logits, truth):
    """The number that makes softmax(logits / number) most likely; logits must come from held-out folds."""

    def loss(log_t):
        chosen = softmax(logits, np.exp(log_t))[np.arange(len(truth)), truth]
        return -np.log(np.maximum(chosen, 1e-12)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def threshold(score, right, wanted=PRECISION_WANTED):
    """The lowest score from which on answers are right with the wanted precision; never below THRESHOLD_MIN. 1 where
    the surest tenth of the answers is not that good: then nothing is accepted."""
    order = np.argsort(-score, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.nonzero(precision >= wanted)[0]
    good = good[good >= len(order) // 10]
    if not len(good):
        return 1.0
    last = good[-1]
    following = score[order[last + 1]] if last + 1 < len(order) else 0.0
    return float(max(THRESHOLD_MIN, (score[order[last]] + following) / 2))


def calibrate(logits, truth, fold, wanted=PRECISION_WANTED):
    """Temperature and threshold from all held-out answers, and what they are worth: precision and coverage where
    each fold is judged by the calibration of the others."""

    def fit(rows):
        t = temperature(logits[rows], truth[rows])
        p = softmax(logits[rows], t)
        return t, threshold(p.max(1), p.argmax(1) == truth[rows], wanted)

    accepted = right = 0
    for number in np.unique(fold):
        t, limit = fit(fold != number)
        p = softmax(logits[fold == number], t)
        sure = p.max(1) >= limit
        accepted += sure.sum()
        right += (p.argmax(1) == truth[fold == number])[sure].sum()
    t, limit = fit(fold >= 0)
    return t, limit, right / max(accepted, 1), accepted / len(truth)


def macro_f1(truth, answer):
    """Mean F1 over the classes that occur in the truth."""
    scores = []
    for label in np.unique(truth):
        hit = ((answer == label) & (truth == label)).sum()
        scores.append(2 * hit / ((answer == label).sum() + (truth == label).sum()))
    return float(np.mean(scores))


def write_graph(folder, name, tensor, layers, outputs):
    """Dense layers with ReLU between as model.onnx. `layers` are (weights, bias) pairs; the last is a list of such
    pairs, one per entry of `outputs`. Input and outputs have a dynamic first dimension "N"."""
    nodes, constants = [], []

    def dense(source, weights, bias, target, key):
        for part, value in (("w", weights), ("b", bias)):
            constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), f"{key}_{part}"))
        nodes.append(helper.make_node("Gemm", [source, f"{key}_w", f"{key}_b"], [target], name=key))

    source = tensor
    for depth, (weights, bias) in enumerate(layers[:-1]):
        dense(source, weights, bias, f"linear{depth}", f"dense{depth}")
        nodes.append(helper.make_node("Relu", [f"linear{depth}"], [f"hidden{depth}"], name=f"relu{depth}"))
        source = f"hidden{depth}"
    for (weights, bias), output in zip(layers[-1], outputs):
        dense(source, weights, bias, output, f"head_{output}")
    length = (layers[0] if len(layers) > 1 else layers[0][0])[0].shape[0]

    def port(key, size):
        return helper.make_tensor_value_info(key, TensorProto.FLOAT, ["N", size])

    ports = [port(output, bias.shape[0]) for (_, bias), output in zip(layers[-1], outputs)]
    graph = helper.make_graph(nodes, name, [port(tensor, length)], ports, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="tidegate"
    )
    onnx.checker.check_model(model, full_check=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


def run_graph(folder, tensor, inputs):
    """{output: logits} of the written file, by ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {tensor: inputs.astype(np.float32)})))


def write_golden(folder, tensor, inputs):
    """golden.json: inputs as the graph takes them and what ONNX Runtime answers, one at a time."""

    def short(row):
        # 9 digits keep every f32; whole numbers without ".0", most of an n-gram vector being 0
        return [int(value) if value == int(value) else float(f"{value:.9g}") for value in row]

    cases = []
    for row in inputs.astype(np.float32):
        answers = run_graph(folder, tensor, row[None])
        cases.append({"input": short(row), "outputs": {key: short(value[0]) for key, value in answers.items()}})
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (folder / "golden.json").write_text('{"cases":[\n' + text + "\n]}\n")


def digest(path):
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toml(value):
    """One value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (float, np.floating)):
        return repr(float(f"{value:.9g}"))
    return str(int(value))


def write_manifest(folder, head, tables):
    """manifest.toml: `head` first, then (heading, pairs) in order."""
    lines = ["# Written by the recipe named under [training]; change that, not this.", ""]
    lines += [f"{key} = {toml(value)}" for key, value in head.items()]
    for heading, pairs in tables:
        lines += ["", heading] + [f"{key} = {toml(value)}" for key, value in pairs.items()]
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def variant(folder, layers):
    """The [[variants]] table of model.onnx: sizes counted from the weights. Multiply-adds are those of the matrix
    products; memory is weights plus a tenth for the plan."""
    pairs = [pair for layer in layers for pair in (layer if isinstance(layer, list) else [layer])]
    operations = sum(weights.size for weights, _ in pairs)
    parameters = operations + sum(bias.size for _, bias in pairs)
    file = folder / "model.onnx"
    return {
        "name": "fp32",
        "file": file.name,
        "sha256": digest(file),
        "parameters": parameters,
        "memory_bytes": int(parameters * 4 * 1.1) + 4096,
        "operations": operations,
    }


def golden(folder):
    """The [golden] table."""
    return {"file": "golden.json", "sha256": digest(folder / "golden.json"), "tolerance": 1e-4}


def write_scores(folder, scores):
    """Puts the table of scores between the marks of the model card and prints it."""
    rows = ["| set | task | metric | value |", "|---|---|---|---|"]
    rows += [f"| {s['set']} | {s['task'] or '–'} | {s['metric']} | {s['value']:.3f} |" for s in scores]
    card = folder / "README.md"
    text = "<!-- scores -->\n" + "\n".join(rows) + "\n<!-- /scores -->"
    card.write_text(
        re.sub(r"<!-- scores -->.*<!-- /scores -->", lambda _: text, card.read_text("utf-8"), flags=re.DOTALL), "utf-8"
    )
    print(f"\n{folder.name}\n" + "\n".join(rows), flush=True)
