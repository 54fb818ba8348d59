"""Compares the rebuilt models with the committed ones: python same.py [REVISION]

Every *.onnx of models/ is compared with the file of the revision (default HEAD): the same bytes, or how far the answers to
the golden cases are apart. Another processor rounds differently, and training carries that on; ends with 1 if an answer
differs by more than TOLERANCE, or a score by more than SCORES.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np

import common
import graph

# Of a logit, relative to its size where that is above 1.
TOLERANCE = 0.05
SCORES = 0.02


def committed(path, revision):
    """The bytes of a file of the revision; None where it has none."""
    name = path.relative_to(common.MODELS.parent)
    found = subprocess.run(["git", "show", f"{revision}:{name}"], cwd=common.MODELS, capture_output=True)
    return None if found.returncode else found.stdout


def inputs(folder, manifest):
    """The golden cases as the graph takes them."""
    for case in json.loads((folder / "golden.json").read_text("utf-8"))["cases"]:
        own = case.get("input")
        yield common.encoded(case["text"], manifest["input"]["encoder"]) if own is None else np.array(own)


def distance(folder, file, old):
    """The largest difference of an answer."""
    with tempfile.TemporaryDirectory() as scratch:
        before = Path(scratch) / file.name
        before.write_bytes(old)
        most = 0.0
        for row in inputs(folder, tomllib.loads((folder / "manifest.toml").read_text("utf-8"))):
            ours, theirs = graph.run(file, row[None]), graph.run(before, row[None])
            for name, answer in ours.items():
                most = max(most, float((np.abs(answer - theirs[name]) / np.maximum(1, np.abs(theirs[name]))).max()))
        return most


def main():
    revision = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    far = []
    for file in sorted(common.MODELS.glob("*/*.onnx")):
        old, name = committed(file, revision), file.relative_to(common.MODELS)
        if old is None:
            print(f"{name}: not in {revision}")
        elif old == file.read_bytes():
            print(f"{name}: the same bytes")
        else:
            apart = distance(file.parent, file, old)
            print(f"{name}: answers differ by at most {apart:.2g}")
            far += [str(name)] if apart > TOLERANCE else []
    for file in sorted(common.MODELS.glob("*/figures.json")):
        old, name = committed(file, revision), file.parent.name
        if old is None:
            continue
        before, now = ([row["value"] for row in json.loads(text)["scores"]] for text in (old, file.read_bytes()))
        worst = max((abs(a - b) for a, b in zip(before, now)), default=0) if len(before) == len(now) else 1
        print(f"{name}: scores differ by at most {worst:.3f}")
        far += [f"scores of {name}"] if worst > SCORES else []
    if far:
        sys.exit(f"farther than {TOLERANCE} (answers) or {SCORES} (scores): {', '.join(far)}")


if __name__ == "__main__":
    main()
