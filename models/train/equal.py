"""Proves that training and serving see the same: 1,000 real samples per encoder, by the gateway and by Python.

python equal.py [--data FOLDER]      TIDEGATE names the program; ends with 77 where the data are not

Texts: what `tidegate features` prints against ngrams.py and words.py. Windows: against numpy and scipy, from windows
cut here. Prints one line per encoder and the first differences; ends with 1 if there is any.
"""

import argparse
import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))

import features  # noqa: E402
import ngrams  # noqa: E402
import words  # noqa: E402

SAMPLES = 1000
SHOWN = 3
WINDOW_S = 60
CHANNELS = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"]
# What is printed is 32 bits wide: half a unit in the last place is 6e-8 of the number. Features are told apart from that
# share of the number or, where large numbers cancel, of the greatest value of the window.
TOLERANCE = 1e-6
CHAR_NGRAMS = {"dims": 4096, "n_min": 2, "n_max": 4}
# (file, where the text of a row is)
TEXTS = [
    ("failure-mode/train.jsonl", lambda row: row["text"]),
    ("work-order-entities/train.jsonl", lambda row: " ".join(row["tokens"])),
    ("excavator/work_orders.jsonl", lambda row: row["OriginalShorttext"]),
    ("maintie/train.jsonl", lambda row: row["text"]),
    ("maintnorm/company_a_train.jsonl", lambda row: " ".join(row["raw"])),
    ("maintnorm/company_b_train.jsonl", lambda row: " ".join(row["raw"])),
    ("marine-incidents/reports.jsonl", lambda row: row["text"]),
    ("pii/sentences.jsonl", lambda row: row["text"]),
]
MANIFEST = """
name = "equal"
version = "1.0.0"
kind = "report"
[input]
tensor = "x"
encoder = {{ type = "{type}", {settings} }}
[[tasks]]
output = "y"
labels = ["a", "b"]
threshold = 0.5
[[variants]]
name = "fp32"
file = "model.onnx"
sha256 = "{digest}"
parameters = 1
memory_bytes = 1
operations = 1
[golden]
file = "golden.json"
sha256 = "{digest}"
tolerance = 1e-4
"""
CONFIG = """
[gateway]
site = "training"
id = "equal"
[plant]
url = "mqtt://127.0.0.1:1883"
[upstream]
url = "mqtt://127.0.0.1:1884"
"""


def texts(data):
    """Texts of all sets, evenly spread over each."""
    found = []
    for number, (name, text) in enumerate(TEXTS):
        rows = (data / name).read_text("utf-8").splitlines()
        count = min(len(rows), math.ceil((SAMPLES - len(found)) / (len(TEXTS) - number)))
        found += [text(json.loads(rows[at * len(rows) // count])) for at in range(count)]
    return found


def gateway(config, recording):
    """What `tidegate features` prints for a configuration and a recording."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, text in config.items():
            (folder / name).write_text(text.replace("FOLDER", str(folder)), "utf-8")
        (folder / "recording").write_text(recording, "utf-8")
        program = os.environ.get("TIDEGATE", "tidegate")
        command = [program, "features", "--config", "config.toml", "--stream", "s", "recording"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout


def encoded(settings, kind, found):
    """Lines for texts under an encoder."""
    pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    stream = '[[models]]\nname = "equal"\npath = "FOLDER"\n[[streams]]\nname = "s"\nkind = "report"\ntopic = "t"\n'
    stream += 'payload = { format = "json", text = "text" }\nclassifier = "equal"\n'
    manifest = MANIFEST.format(type=kind, settings=pairs, digest="0" * 64)
    recording = "".join(json.dumps({"text": text}) + "\n" for text in found)
    lines = gateway({"config.toml": CONFIG + stream, "manifest.toml": manifest}, recording).split("\n")
    assert len(lines) == len(found) + 1, f"{len(lines)} lines for {len(found)} texts"
    return lines[:-1]


def unequal_ngrams(line, text):
    """The difference between a line and the vector of a text, if there is one."""
    own = [entry.split(":") for entry in line.split()]
    expect = ngrams.encode_sparse(text, **CHAR_NGRAMS)
    if [int(index) for index, _ in own] != [index for index, _ in expect]:
        return f"{text!r}: other entries"
    far = max((abs(float(a[1]) - b[1]) for a, b in zip(own, expect)), default=0)
    return f"{text!r}: {far} apart" if far > TOLERANCE else None


def unequal_words(line, text, config):
    """The difference between a line and the words of a text, if there is one."""
    rows = zip(words.words(text, config.split), words.ids(text, config))
    expect = [f"{word.start}-{word.end} " + " ".join(map(str, ids)) for word, ids in rows]
    differing = [pair for pair in zip(line.split(" | "), expect) if pair[0] != pair[1]]
    if differing:
        return f"{text!r}: {differing[0][0]} instead of {differing[0][1]}"
    return None if line == " | ".join(expect) else f"{text!r}: other words"


def recorded(data):
    """{start of the window: (microseconds, values per channel)} of the first windows, and the lines they are from."""
    found, lines = {}, []
    with (data / "hydraulic" / "samples.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            micros = round(datetime.fromisoformat(row["ts"]).timestamp() * 1e6)
            start = micros // 1_000_000 // WINDOW_S * WINDOW_S
            if start not in found and len(found) == SAMPLES:
                break
            at, values = found.setdefault(start, ([], []))
            at.append(micros)
            values.append([np.float32(row[channel]) for channel in CHANNELS])
            lines.append([row["ts"], *(row[channel] for channel in CHANNELS)])
    return found, lines


def unequal_windows(data):
    """Differences between the windows of the gateway and those cut and computed here; how many numbers were compared."""
    found, lines = recorded(data)
    names = list(features.features(np.arange(WINDOW_S) * 10**6, np.sin(np.arange(WINDOW_S))))
    patterns = json.dumps([f"*.{name}" for name in names])
    stream = '[[streams]]\nname = "s"\nkind = "sensor"\ntopic = "t"\n'
    stream += f'payload = {{ format = "json", time = "ts", values = {json.dumps(CHANNELS)} }}\n'
    stream += f'window = {{ length = "{WINDOW_S} s", hop = "{WINDOW_S} s", lateness = "2 s", idle = "5 s" }}\n'
    recording = "\n".join(",".join(line) for line in [["ts", *CHANNELS], *lines]) + "\n"
    rows = csv.DictReader(io.StringIO(gateway({"config.toml": CONFIG + stream + f"features = {patterns}\n"}, recording)))
    differences, compared, seen = [], 0, set()
    for row in rows:
        start = int(float(row["from"]))
        seen.add(start)
        at, values = found.get(start, ([0], [[0] * len(CHANNELS)]))
        for channel, series in zip(CHANNELS, np.array(values, np.float32).T):
            for name, expect in features.features(np.array(at), series).items():
                compared += 1
                own = row[f"{channel}.{name}"]
                if not agree(own, expect, series):
                    differences.append(f"window {start}, {channel}.{name}: {own or 'missing'} instead of {expect}")
    if seen != set(found):
        differences.append(f"other windows: {len(seen)} instead of {len(found)}")
    return differences, compared


def agree(own, expect, series):
    """Whether a printed number is the expected one, as far as 32 bits go."""
    if own == "" or expect is None:
        return own == "" and expect is None
    size = max(abs(expect), float(np.abs(series).max()))
    return abs(float(own) - expect) <= TOLERANCE * size


def report(name, count, differences):
    """Prints the result of one encoder; returns whether all is equal."""
    print(f"{name}: {count} compared, {len(differences)} differ", flush=True)
    for difference in differences[:SHOWN]:
        print(f"  {difference}")
    return not differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("TIDEGATE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    data = parser.parse_args().data
    if not data.is_dir():
        print(f"SKIPPED equal: no data in {data}")
        return 77
    found = texts(data)
    lines = encoded(CHAR_NGRAMS, "char-ngrams", found)
    results = [report("char-ngrams, texts", len(found), list(filter(None, map(unequal_ngrams, lines, found))))]
    for split in words.SPLITS:
        config = words.Config(split=split)
        settings = {key: value for key, value in config.manifest().items() if key != "type"}
        lines = encoded(settings, "word-grams", found)
        differences = [unequal_words(line, text, config) for line, text in zip(lines, found)]
        results.append(report(f"word-grams by {split}, texts", len(found), list(filter(None, differences))))
    differences, compared = unequal_windows(data)
    results.append(report(f"features of {SAMPLES} windows, numbers", compared, differences))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
