"""Evaluates fault detection on SKAB, a water-pump test bed, by file never seen. Ships nothing: the data are GPL-3.0.

python skab.py [--data FOLDER] writes the table into README.md.

The usual protocol: the first 400 rows of a file are its own normal reference, the rest is judged row by row, all files
together. The features come from `tidegate features`; TIDEGATE names the program. The reference of each file is applied
here: the gateway normalises all sources of a stream alike.
"""

import argparse
import csv
import tempfile
import tomllib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import calibration
import common
import dense
import graph
import variants

CONFIG = Path(__file__).resolve().parent / "skab.toml"
STREAM = "water-pump"
# Its table stands there.
NOTES = Path(__file__).resolve().parent / "README.md"
REFERENCE_ROWS = 400
# The first windows of a file are not full.
SETTLING_ROWS = 15
CLIP = 8.0
# A deviation smaller than a thousandth of the value is the resolution of the sensor.
RESOLUTION = 1e-3
HIDDEN, DROPOUT, EPOCHS = 64, 0.3, 6
SEEDS = (0, 1, 2)
LABELS = ["normal", "fault"]


@dataclass
class File:
    """One recording: features of the window that ends with each row, relative to its reference, and the truth."""

    name: str
    inputs: np.ndarray
    fault: np.ndarray


def layout():
    """Channels of the stream."""
    stream = tomllib.loads(CONFIG.read_text())["streams"][0]
    return stream["payload"]["values"]


def seconds(text):
    """Whole seconds since 1970."""
    return round(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


def features(rows):
    """(names, {second a window ends: features}) by the gateway's own extractor."""
    channels = layout()
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
        table = csv.writer(file)
        table.writerow(["datetime", *channels])
        table.writerows([seconds(row["datetime"]), *(row[name] for name in channels)] for row in rows)
        file.flush()
        text = common.tidegate("features", "--config", CONFIG, "--stream", STREAM, file.name)
    found = list(csv.reader(text.splitlines()))
    values = {round(float(row[1])): np.array([float(cell or "nan") for cell in row[3:]]) for row in found[1:]}
    return found[0][3:], values


def relative(values):
    """Deviation from the reference rows of the same file, in their standard deviations."""
    reference = values[SETTLING_ROWS:REFERENCE_ROWS]
    mean, std = np.nanmean(reference, 0), np.nanstd(reference, 0)
    scaled = (values - mean) / np.maximum(std, RESOLUTION * np.abs(mean) + 1e-6)
    return np.nan_to_num(np.clip(scaled, -CLIP, CLIP), nan=0.0).astype(np.float32)


def load(data):
    """(names of the features, all labelled files)."""
    files = []
    for path in sorted((data / "skab").glob("*/*.csv")):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        if "anomaly" in rows[0]:
            names, found = features(rows)
            values = np.array([found[seconds(row["datetime"]) + 1] for row in rows])
            fault = np.array([int(float(row["anomaly"])) for row in rows])
            files.append(File(f"{path.parent.name}/{path.stem}", relative(values), fault))
    return names, files


def learn(files, channel, seed):
    """A network from all rows of some files but the first few."""
    inputs = np.concatenate([file.inputs[SETTLING_ROWS:] for file in files])
    fault = np.concatenate([file.fault[SETTLING_ROWS:] for file in files])
    return dense.train(inputs, [(2, fault)], channel, HIDDEN, DROPOUT, EPOCHS, seed)


def measures(fault, said):
    """F1, false-alarm rate and missed-alarm rate."""
    hit, wrong = (said & fault).sum(), (said & ~fault).sum()
    missed, quiet = (~said & fault).sum(), (~said & ~fault).sum()
    return 2 * hit / (2 * hit + wrong + missed), wrong / (wrong + quiet), missed / (missed + hit)


def held_out(files, channel, seed):
    """Probability of a fault for each judged row, by a network that has not seen its file."""
    found = []
    for place, file in enumerate(files):
        network = learn(files[:place] + files[place + 1 :], channel, seed)
        logits = dense.answer(network, file.inputs[REFERENCE_ROWS:])
        found.append(calibration.softmax(logits)[:, 1])
    return found


def in_engine(names, files, channel):
    """What the gateway says of the network as ONNX: admission and latency."""
    network = learn(files, channel, SEEDS[0])
    made = graph.Graph("skab")
    hidden = made.add("Relu", made.dense(made.input("features", len(names)), network[0], network[2], "layer"))
    made.dense(hidden, network[1], network[3], "fault")
    made.output("fault", len(LABELS))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "skab"
        folder.mkdir()
        made.write(folder / "model.onnx")
        common.write_golden(folder, [{"input": files[0].inputs[row]} for row in (0, 500, 600, 700)])
        ones = np.ones(len(names))
        common.write_manifest(folder, {
            "name": "skab",
            "version": "1.0.0",
            "kind": "sensor",
            "input": {"tensor": "features", "channels": layout(), "features": names, "mean": 0 * ones, "std": ones},
            "tasks": [{"output": "fault", "labels": LABELS, "alarm": LABELS[1:], "threshold": 0.5}],
            "variants": [common.variant(folder)],
            "golden": common.golden(folder),
        })  # fmt: skip
        common.measure(folder)
        return variants.in_engine(folder, len(names)) | {"bytes": (folder / "model.onnx").stat().st_size}


def table(head, rows):
    """Markdown of (name, F1, false alarms, missed)."""
    lines = [f"| {head} | F1 | false alarms | missed |", "|---|---|---|---|"]
    lines += [f"| {name} | {f1:.3f} | {false:.3f} | {missed:.3f} |" for name, f1, false, missed in rows]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with skab/")
    names, files = load(parser.parse_args().data)
    channel = np.array([layout().index(name.split(".")[0]) for name in names])
    fault = np.concatenate([file.fault[REFERENCE_ROWS:] for file in files]) > 0
    answers = {seed: held_out(files, channel, seed) for seed in SEEDS}
    rows = [(f"seed {seed}", *measures(fault, np.concatenate(found) > 0.5)) for seed, found in answers.items()]
    whole = table("network", [*rows, ("always a fault", *measures(fault, fault | True))])
    first = zip(files, answers[SEEDS[0]])
    each = [(file.name, *measures(file.fault[REFERENCE_ROWS:] > 0, found > 0.5)) for file, found in first]
    text = f"{whole}\n\n{table(f'file, seed {SEEDS[0]}', each)}"
    print(f"{text}\n\nas ONNX in the engine: {in_engine(names, files, channel)}")
    notes = NOTES.read_text("utf-8")
    begin, end = notes.index("<!-- skab -->"), notes.index("<!-- /skab -->")
    NOTES.write_text(f"{notes[:begin]}<!-- skab -->\n{text}\n{notes[end:]}", "utf-8")


if __name__ == "__main__":
    main()
