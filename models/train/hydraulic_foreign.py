"""Inputs that hydraulic_condition.py must not judge: other data in place of its channels, and its own data spoilt.

Everything is an array [windows, 60 seconds, channels] in the order and at the rate of the recorded cycles.
"""

import re
from itertools import combinations

import numpy as np

# Of one kind of input; more say no more.
WINDOWS_MAX = 300
# Sentences of the ship's log and the field that is a number: speed through the water, speed parallel to the wind,
# course, wind speed, depth, apparent wind.
SENTENCES = {"IIVHW": 5, "IIVPW": 1, "IIVTG": 1, "IIMWV": 3, "IIDBT": 3, "IIVWT": 3}


def cut(rows, length):
    """Windows one after the other."""
    count = len(rows) // length
    return rows[: count * length].reshape(count, length, -1)


def picked(windows, channels, chance):
    """As many channels as the model has, drawn anew for each window."""
    return np.stack([window[:, chance.choice(window.shape[1], channels, replace=False)] for window in windows])


def water_pump(data, length):
    """SKAB: eight channels of a water pump."""
    windows = []
    for path in sorted((data / "skab").glob("*/*.csv")):
        lines = path.read_text().splitlines()[1:]
        windows.append(cut(np.array([[float(cell) for cell in line.split(";")[1:9]] for line in lines]), length))
    return np.concatenate(windows)


def ship(data, length):
    """NMEA 0183 of a ship, one row per sentence of the time of day."""
    rows, row = [], {}
    for line in (data / "ship" / "plaka.log").read_text("ascii", "replace").splitlines():
        found = re.search(r"\$(\w{5}),([^*]*)\*", line)
        if not found:
            continue
        kind, fields = found[1], f"{found[1]},{found[2]}".split(",")
        if kind == "GPZDA":
            if len(row) == len(SENTENCES):
                rows.append([row[key] for key in SENTENCES])
            row = {}
        elif kind in SENTENCES and re.fullmatch(r"-?[0-9.]+", fields[SENTENCES[kind]]):
            row[kind] = float(fields[SENTENCES[kind]])
    return cut(np.array(rows), length)


def shifted(cycles, numbers, seconds):
    """Windows that begin so many seconds after the cycle."""
    follows = np.nonzero(np.diff(numbers) == 1)[0]
    return np.concatenate([cycles[follows, seconds:], cycles[follows + 1, :seconds]], axis=1)


def kinds(data, names, numbers, cycles, seed=0):
    """{what it is: windows}. `cycles` are the recorded ones with channels `names`, `numbers` their numbers."""
    chance = np.random.default_rng(seed)
    count, length, width = cycles.shape
    found = {
        "SKAB, any channels in place": picked(water_pump(data, length), width, chance),
        "ship's log, any channels in place": picked(ship(data, length), width, chance),
        "all constant at their means": np.repeat(cycles.mean(1, keepdims=True), length, axis=1),
        "all zero": np.zeros((1, length, width)),
        "doubled": 2 * cycles,
        "in hundredths": cycles / 100,
        "noise of the same mean and deviation": cycles.mean((0, 1))
        + cycles.std((0, 1)) * chance.standard_normal(cycles.shape),
        "seconds in any order": np.stack([cycle[chance.permutation(length)] for cycle in cycles]),
    }
    for first, second in combinations(range(width), 2):
        order = list(range(width))
        order[first], order[second] = second, first
        found[f"{names[first]} and {names[second]} swapped"] = cycles[:, :, order]
    for channel, name in enumerate(names):
        stuck = cycles.copy()
        stuck[:, :, channel] = 0
        found[f"{name} stuck at 0"] = stuck
    for seconds in (1, 2, 5, 30, 59):
        found[f"{seconds} s out of phase"] = shifted(cycles, numbers, seconds)
    return {kind: windows[:: -(-len(windows) // WINDOWS_MAX)] for kind, windows in found.items()}
