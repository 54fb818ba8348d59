"""Smaller forms of a finished model, each measured: size, score, whether the gateway's engine takes it and takes it
right, memory and latency there, latency in ONNX Runtime on one thread.

`examine(folder, inputs, score)` makes them all of model.onnx; which of them ship is for the recipe to say.
"""

import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

import common
import graph

# Only these are quantised: a softmax between quantisation and its undoing is computed wrongly by the engine.
QUANTISED = ["MatMul", "Gemm", "Conv", "Gather"]
# Smaller tensors are not worth a cast.
STORED_MIN = 256
CALIBRATION_ROWS = 100
GOLDEN_ROWS = 16
RUNS = 300
# Of what the gateway says of a variant it refuses.
REASON_CHARS = 160
# Of 4-bit weights; the smallest there is.
BLOCK = 16

logging.getLogger().setLevel(logging.ERROR)


class Rows(CalibrationDataReader):
    """Inputs for static quantisation, one at a time."""

    def __init__(self, port, inputs):
        self.port, self.rows = port, iter(inputs[:CALIBRATION_ROWS])

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {self.port: row[None]}


def f16(source, target, inputs):
    """Weights stored as halves, computed in f32."""
    model = onnx.load(source)
    casts, kept = [], []
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT and np.prod(weights.dims) >= STORED_MIN:
            half = numpy_helper.to_array(weights).astype(np.float16)
            kept.append(numpy_helper.from_array(half, f"{weights.name}_half"))
            casts.append(helper.make_node("Cast", [f"{weights.name}_half"], [weights.name], to=TensorProto.FLOAT))
        else:
            kept.append(weights)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    target.write_bytes(model.SerializeToString(deterministic=True))


def int8_table(source, target, inputs):
    """The table of a bag of grams in bytes with one scale per column; summed as numbers, scaled once."""
    model = onnx.load(source)
    tables = {weights.name: weights for weights in model.graph.initializer}
    if "bag_table" not in tables:
        raise ValueError("has no table")
    table = numpy_helper.to_array(tables["bag_table"]).astype(np.float32)
    scale = np.maximum(np.abs(table).max(0), 1e-9) / 127
    model.graph.initializer.remove(tables["bag_table"])
    small = np.rint(table / scale).astype(np.int8)
    model.graph.initializer.append(numpy_helper.from_array(small, "bag_table"))
    model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), "bag_scale"))
    nodes = []
    for node in model.graph.node:
        if "bag_table" in node.input:
            found = node.output[0]
            node.output[0] = f"{found}_bytes"
            nodes += [node, helper.make_node("Cast", [node.output[0]], [found], to=TensorProto.FLOAT)]
        elif node.op_type == "ReduceSum" and node.output[0] == "bag_sum":
            node.output[0] = "bag_sum_steps"
            nodes += [node, helper.make_node("Mul", ["bag_sum_steps", "bag_scale"], ["bag_sum"])]
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    target.write_bytes(model.SerializeToString(deterministic=True))


def dynamic(source, target, inputs):
    """Weights in bytes, activations quantised at each run."""
    quantize_dynamic(source, target, op_types_to_quantize=QUANTISED, weight_type=QuantType.QInt8)


def static(form):
    """Weights and activations in bytes, ranges from a hundred inputs."""

    def make(source, target, inputs):
        port = onnx.load(source).graph.input[0].name
        quantize_static(
            source,
            target,
            Rows(port, inputs),
            quant_format=form,
            op_types_to_quantize=[op for op in QUANTISED if op != "Gather"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=False,
        )

    return make


def four_bits(source, target, inputs):
    """Matrices in blocks of 4-bit numbers."""
    quantiser = MatMulNBitsQuantizer(onnx.load(source), block_size=BLOCK, is_symmetric=True, accuracy_level=1)
    quantiser.process()
    if not any(node.op_type == "MatMulNBits" for node in quantiser.model.model.graph.node):
        raise ValueError("has no matrix product it can quantise")
    target.write_bytes(quantiser.model.model.SerializeToString(deterministic=True))


MAKERS = {
    "f16": f16,
    "int8-table": int8_table,
    "int8-dynamic": dynamic,
    "int8-qdq": static(QuantFormat.QDQ),
    "int8-qoperator": static(QuantFormat.QOperator),
    "q4": four_bits,
}


def reference_us(path, row):
    """Median time of one run in ONNX Runtime on one thread, in microseconds."""
    session = graph.session(path)
    port = session.get_inputs()[0].name
    return common.median_us(lambda _: session.run(None, {port: row[None]}), range(RUNS))


def alone(folder, name, file, inputs, place):
    """A folder with one variant only, its golden vectors those of ONNX Runtime for that very file: what the engine
    makes of it is then compared with what it means."""
    target = place / folder.name
    target.mkdir()
    shutil.copy(file, target / "model.onnx")
    for extra in folder.iterdir():
        if extra.suffix in (".bin", ".json") and extra.name not in ("golden.json", "figures.json"):
            shutil.copy(extra, target)
    common.write_golden(target, [{"input": row} for row in inputs[:GOLDEN_ROWS]])
    manifest = common.read_manifest(folder)
    manifest["variants"] = [common.variant(target, name)]
    # What rounds by steps may round the other way; a wrong operator is wrong by far more.
    manifest["golden"] = common.golden(target, common.TOLERANCE if name in ("fp32", "f16") else 0.05)
    common.write_manifest(target, manifest)
    return target


def in_engine(folder, length):
    """What the gateway says of a folder with one variant: {"engine": "right" or why not, "memory", "latency_us"}; the
    latency is that of one input of `length` numbers."""
    try:
        seen = json.loads(common.tidegate("model", "bench", folder, "--json"))["variants"][0]
    except common.Refused as error:
        return {"engine": f"refused: {str(error).rpartition('error: ')[2][:REASON_CHARS]}"}
    shape = next(shape for shape in seen["shapes"] if shape["items"] == 1 and shape["length"] == length)
    return {"engine": "right", "memory": seen["memory_measured"], "latency_us": shape["p50_us"]}


def examine(folder, inputs, score):
    """Rows for figures.json, "fp32" first. `inputs` are rows as the graph takes them; `score` makes a number, higher is
    better, of {output: array} for exactly these rows."""
    found, (default, *others) = [], [entry["name"] for entry in common.read_manifest(folder)["variants"]]
    shipped = {default: "default"} | dict.fromkeys(others, "fallback")
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in {"fp32": None, **MAKERS}.items():
            file = Path(scratch) / f"{name}.onnx"
            try:
                if make is None:
                    shutil.copy(folder / "model.onnx", file)
                else:
                    make(folder / "model.onnx", file, inputs)
            except ValueError as error:
                print(f"{folder.name}: {name} {error}")
                continue
            row = {"name": name, "bytes": file.stat().st_size, "score": float(score(graph.run(file, inputs)))}
            place = Path(scratch) / name
            place.mkdir()
            row |= in_engine(alone(folder, name, file, inputs, place), len(inputs[0]))
            row |= {"reference_us": reference_us(file, inputs[0]), "shipped": shipped.get(name, "")}
            found.append(row)
            print(f"{folder.name}: {found[-1]}", flush=True)
    return found


def ship(folder, name, inputs=None):
    """Puts a variant beside model.onnx and names its file. `inputs` are needed by static forms only."""
    file = folder / f"{name}.onnx"
    MAKERS[name](folder / "model.onnx", file, inputs)
    return file.name
