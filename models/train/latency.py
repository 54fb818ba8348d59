"""Time of one input in the gateway's engine against ONNX Runtime, both on one thread: python latency.py [ROUNDS]

Each shipped variant takes turns with ONNX Runtime on the same rows; the ratio is the median of those of the rounds, so that
what else the machine does falls on both. Text models at 32 words, or as long as they go. TIDEGATE names the program.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import cards
import common
import variants

ROUNDS = 5
WORDS = 32
TIME = "300 ms"
# 32 words as they come in work orders; written for this.
TEXT = "replace leaking hyd hose on rh lift cylinder and check o-rings for wear " * 3
COLUMNS = [
    ("model", "model", "s"),
    ("variant", "variant", "s"),
    ("row", "input", "s"),
    ("ours", "engine, µs", ",.1f"),
    ("reference", "ONNX Runtime, µs", ",.1f"),
    ("ratio", "ratio", ".2f"),
]


def row_of(manifest):
    """(a row as the graph takes it, what it is)."""
    encoder = manifest["input"].get("encoder")
    if encoder is None:
        width = len(manifest["input"]["features"])
        return np.linspace(-1, 1, width, dtype=np.float32), f"{width} features"
    length = max((at for at in encoder.get("lengths", ()) if at <= WORDS), default=WORDS)
    row = common.encoded(" ".join(TEXT.split()[:length]), encoder, length)
    return row, f"{length} words" if encoder["type"] == "word-grams" else f"{encoder['dims']:,} n-grams"


def engine_us(file, row, scratch):
    """Median time of one run."""
    cases = Path(scratch) / "cases.json"
    cases.write_text(json.dumps({"cases": [{"input": row.tolist(), "outputs": {}}]}))
    length = ("--length", len(row), "--cases", cases, "--time", TIME, "--json")
    seen = json.loads(common.tidegate("model", "bench", file, *length))
    return next(shape["p50_us"] for shape in seen["variants"][0]["shapes"] if shape["items"] == 1)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(common.MODELS.glob("*/manifest.toml")):
            manifest = common.read_manifest(path.parent)
            row, what = row_of(manifest)
            for entry in manifest["variants"]:
                file = path.parent / entry["file"]
                pairs = [(engine_us(file, row, scratch), variants.reference_us(file, row)) for _ in range(rounds)]
                ours, reference = np.median(pairs, 0)
                ratio = float(np.median([a / b for a, b in pairs]))
                found = {"model": path.parent.name, "variant": entry["name"], "row": what}
                table.append(found | {"ours": float(ours), "reference": float(reference), "ratio": ratio})
    print(cards.table(table, COLUMNS))


if __name__ == "__main__":
    main()
