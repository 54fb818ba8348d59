"""What shapes the engine is quick at: layers of a width over a number of words, in the gateway's engine and in ONNX Runtime,
both on one thread: python shapes.py. For choosing an architecture; TIDEGATE names the program.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

import cards
import common
import variants
from graph import Graph

LAYERS = 6
TIME = "300 ms"
# (kind, channels, words)
CASES = [
    *(("convolution of 3", channels, 32) for channels in (64, 96, 128)),
    *(("convolution of 3", 96, words) for words in (24, 36, 48)),
    *(("matrix", channels, 32) for channels in (96, 128, 288)),
]
COLUMNS = [
    ("kind", "layer", "s"),
    ("channels", "channels", "d"),
    ("words", "words", "d"),
    ("ours", "engine, µs", ",.0f"),
    ("reference", "ONNX Runtime, µs", ",.0f"),
    ("ratio", "ratio", ".2f"),
    ("rate", "engine, multiply-adds per ns", ".0f"),
]


def layers(kind, channels, words, path):
    """LAYERS such layers with ReLU between; multiply-adds of all of them."""
    chance = np.random.default_rng(0)
    graph = Graph("shape")
    order = (channels, words) if kind != "matrix" else (words, channels)
    state = graph.input("rows", channels * words)
    state = graph.add("Reshape", state, graph.constant(np.array([0, *order], np.int64), "shape"))
    width = 1 if kind == "matrix" else 3
    for depth in range(LAYERS):
        weights = chance.standard_normal((channels, channels, width)) * 0.05
        make = graph.dense if kind == "matrix" else graph.conv
        weights = weights[:, :, 0] if kind == "matrix" else weights
        state = graph.add("Relu", make(state, weights, np.zeros(channels), f"layer{depth}"))
    flat = graph.constant(np.array([0, channels * words], np.int64), "flat")
    graph.add("Reshape", state, flat, name="answer")
    graph.output("answer", channels * words)
    graph.write(path)
    return channels * channels * width * words * LAYERS


def main():
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "shape.onnx"
        for kind, channels, words in CASES:
            work = layers(kind, channels, words, path)
            row = np.random.default_rng(1).random(channels * words, np.float32)
            seen = json.loads(common.tidegate("model", "bench", path, "--length", len(row), "--time", TIME, "--json"))
            ours = next(shape["p50_us"] for shape in seen["variants"][0]["shapes"] if shape["items"] == 1)
            reference = variants.reference_us(path, row)
            found = {"kind": kind, "channels": channels, "words": words, "ours": ours, "reference": reference}
            table.append(found | {"ratio": ours / reference, "rate": work / ours / 1000})
    print(cards.table(table, COLUMNS))


if __name__ == "__main__":
    main()
