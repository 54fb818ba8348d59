"""What the recipes share: golden vectors, the manifest, measurements by the gateway's own program, the figures."""

import hashlib
import json
import os
import subprocess
import time
import tomllib
from pathlib import Path

import numpy as np

import cards
import graph
import ngrams
import words

MODELS = Path(__file__).resolve().parent.parent
SHARED = MODELS.parent.parent / "shared"
DATA = SHARED / "data"
TEACHER = SHARED / "models" / "minilm-l6-v2"
TEACHER_GRAPH = "all-MiniLM-L6-v2-op17-int8dyn.onnx"
# Relative where a logit is above 1. Kernels of other processors round differently.
TOLERANCE = 1e-4


class Refused(Exception):
    """What the gateway's program said when it failed."""


def rows(path):
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def macro_f1(truth, answer):
    """Mean F1 over the classes that occur in the truth."""
    scores = []
    for label in np.unique(truth):
        hit = ((answer == label) & (truth == label)).sum()
        scores.append(2 * hit / ((answer == label).sum() + (truth == label).sum()))
    return float(np.mean(scores))


def tidegate(*arguments):
    """What the program says on stdout; it is `tidegate` of the PATH or the one TIDEGATE names."""
    command = [os.environ.get("TIDEGATE", "tidegate"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {' '.join(done.stderr.split())}")
    return done.stdout


def short(row):
    """9 digits keep every f32; whole numbers without ".0", most of a text's row being 0."""
    row = np.asarray(row).ravel()
    return [int(value) if value == int(value) else float(f"{value:.9g}") for value in row.tolist()]


def encoded(text, encoder, length=None):
    """The row a graph takes of a text by the encoder table of a manifest; of words `length`, or as many as hold it."""
    settings = {key: value for key, value in encoder.items() if key != "type"}
    if encoder["type"] == "word-grams":
        return words.encode([text], words.Config(**settings), length)[0][0].ravel()
    return ngrams.encode([text], **settings)[0]


def write_golden(folder, cases, tasks=(), file="model.onnx"):
    """golden.json: inputs as the graph takes them and what ONNX Runtime answers to each alone.

    A case is {"input": row} and what the gateway makes that row of: "raw" (features before normalisation, NaN where
    missing) or "text", with which the row itself is left out. `tasks` are (name, output, labels), for a tagger one
    (output, output, types): the labels of the file in their order, and of classifiers the answer to each case in words,
    so that a manifest with other labels, another order, another normalisation or another encoder is refused."""
    lines = []
    for case in cases:
        answers = graph.run(folder / file, np.asarray(case["input"])[None])
        line = {"text": case["text"]} if "text" in case else {"input": short(case["input"])}
        if "raw" in case:
            line["raw"] = [None if np.isnan(value) else short([value])[0] for value in np.asarray(case["raw"], float)]
        line["outputs"] = {key: short(value[0]) for key, value in answers.items()}
        judged = [task for task in tasks if answers[task[1]].ndim == 2]
        found = {name or output: labels[int(np.argmax(answers[output][0]))] for name, output, labels in judged}
        lines.append(json.dumps(line | ({"labels": found} if found else {}), separators=(",", ":"), ensure_ascii=False))
    labels = {name or output: list(labels) for name, output, labels in tasks}
    head = f'"labels":{json.dumps(labels, ensure_ascii=False)},\n' if labels else ""
    (folder / "golden.json").write_text("{" + head + '"cases":[\n' + ",\n".join(lines) + "\n]}\n", "utf-8")


def median_us(run, inputs):
    """Median time of run(input) over the inputs, in microseconds."""
    times = []
    for one in inputs:
        start = time.perf_counter_ns()
        run(one)
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


def digest(path):
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def golden(folder, tolerance=TOLERANCE):
    """The [golden] table."""
    return {"file": "golden.json", "sha256": digest(folder / "golden.json"), "tolerance": tolerance}


def variant(folder, name="fp32", file="model.onnx", **more):
    """A [[variants]] table; parameters, operations and memory are put in by `measure`."""
    sizes = {"parameters": 0, "memory_bytes": 0, "operations": 0}
    return {"name": name, "file": file, "sha256": digest(folder / file), **sizes, **more}


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


def write_manifest(folder, manifest):
    """manifest.toml from a dictionary: plain values first, then a table per dictionary and per item of a list of them."""

    def is_table(value):
        return isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))

    lines = ["# Written by the recipe named under [training]; change that, not this.", ""]
    lines += [f"{key} = {toml(value)}" for key, value in manifest.items() if not is_table(value)]
    for key, value in manifest.items():
        if is_table(value):
            head, tables = (f"[[{key}]]", value) if isinstance(value, list) else (f"[{key}]", [value])
            for table in tables:
                lines += ["", head] + [f"{name} = {toml(item)}" for name, item in table.items()]
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n", "utf-8")


def read_manifest(folder):
    """The same, read back."""
    return tomllib.loads((folder / "manifest.toml").read_text("utf-8"))


def measure(folder):
    """Asks the gateway what each variant of a finished folder costs, writes that into the manifest, and fails if the
    gateway does not admit it."""
    found = {item["name"]: item for item in json.loads(tidegate("model", "inspect", folder, "--json"))["variants"]}
    manifest = read_manifest(folder)
    for entry in manifest["variants"]:
        seen = found[entry["name"]]
        entry |= {"parameters": seen["parameters"], "memory_bytes": seen["memory_predicted"]}
        # Counted by the program's own allocator: the same at every run on machines of one kind.
        entry |= {"memory_measured": seen["memory_measured"], "load_peak": seen["load_peak"]}
        entry |= {"operations": seen["operations"]}
    write_manifest(folder, manifest)
    return found


def write_figures(folder, **figures):
    """figures.json and the tables of the card, printed too. `scores` also stand in the manifest."""
    text = json.dumps(figures, indent=1, ensure_ascii=False, default=float)
    (folder / "figures.json").write_text(text + "\n", "utf-8")
    cards.write(folder)
