"""Writes features.json: features of synthetic series computed with numpy and scipy.

python3 tests/golden/features.py > tests/golden/features.json    (numpy 2.4.6, scipy 1.17.1)
"""

import json
import sys

import numpy as np
from scipy import signal, stats

SEGMENT_MAX = 32768
BANDS = [(0, 5), (2, 10), (0.05, 0.2), (20, 60), (1000, 5000)]
INTERVALS = [(0, 2), (0.07, 2.007), (1, 3), (3, 30), (59, 60)]
QUANTILES = [0, 0.05, 0.25, 0.5, 0.95, 1]


def rate(seconds):
    """One over the mean interval, intervals above three times the mean left out."""
    intervals = np.diff(seconds)
    return 1 / intervals[intervals <= 3 * intervals.mean()].mean()


def zero_crossings(x):
    deviation = x - x.mean()
    above = deviation[np.abs(deviation) > 1e-12 * np.abs(x).max()] > 0
    return int(np.count_nonzero(above[1:] != above[:-1]))


def spectral(x, seconds):
    names = ["dominant_frequency", "spectral_centroid"] + [f"band({lo},{hi})" for lo, hi in BANDS]
    if len(x) < 8:
        return dict.fromkeys(names)
    segment = min(len(x), SEGMENT_MAX)
    padded = 1 << (segment - 1).bit_length()
    overlap = segment - (segment + 1) // 2
    frequency, power = signal.welch(x, rate(seconds), "hann", segment, overlap, padded, "constant")
    constant = x.min() == x.max()
    result = {
        "dominant_frequency": None if constant else frequency[1:][np.argmax(power[1:])],
        "spectral_centroid": None if constant else (frequency * power)[1:].sum() / power[1:].sum(),
    }
    for lo, hi in BANDS:
        lines = power[(lo <= frequency) & (frequency < hi)]
        result[f"band({lo},{hi})"] = 0 if constant and len(lines) else lines.sum() * frequency[1] if len(lines) else None
    return result


def features(micros, values):
    x = values.astype(np.float64)
    seconds = (micros - micros[0]) * 1e-6
    constant = x.min() == x.max()
    rms = np.sqrt(np.mean(x**2))
    result = {
        "mean": x.mean(), "std": x.std(), "min": x.min(), "max": x.max(), "rms": rms, "p2p": np.ptp(x),
        "crest": np.abs(x).max() / rms if rms > 0 else None,
        "skewness": None if constant else stats.skew(x), "kurtosis": None if constant else stats.kurtosis(x),
        "slope": None if len(x) < 2 else 0 if constant else stats.linregress(seconds, x).slope,
        "median": np.median(x), "zero_crossings": zero_crossings(x),
    }
    for lo, hi in INTERVALS:
        inside = x[(round(lo * 1e6) <= micros - micros[0]) & (micros - micros[0] < round(hi * 1e6))]
        result[f"mean({lo},{hi})"] = inside.mean() if len(inside) else None
    result |= {f"q({share})": np.quantile(x, share) for share in QUANTILES}
    result |= spectral(x, seconds)
    return {name: None if value is None else float(value) for name, value in result.items()}


def lcg(seed, count):
    """A sequence the test can make itself: noise of 16 bits on a square wave with a period of 100 samples."""
    values, state = [], seed
    for index in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append((state >> 16) / 256 - 100 + 64 * (index // 50 % 2))
    return np.array(values, dtype=np.float32)


def written():
    """(name, micros, values): short series, written out."""
    random = np.random.default_rng(7)
    n = np.arange(60)
    yield "one hertz", n * 10**6, 40 + 3 * np.sin(n / 4) + random.normal(size=60)
    n = np.arange(500)
    yield "hundred hertz", n * 10**4, 0.5 * np.sin(n * 0.37) + 0.2 * random.gumbel(size=500) + 1
    yield "great offset", n[:300] * 10**4, 1e5 + random.normal(size=300)
    yield "tiny values", n[:100] * 10**5, 1e-12 * random.normal(size=100)
    yield "negative", n[:64] * 10**6, -50 - random.exponential(size=64)
    yield "jittered times", np.cumsum(random.integers(8000, 12000, 200)), random.normal(size=200).cumsum()
    yield "a gap", np.where(n[:200] < 90, n[:200], n[:200] + 400) * 10**4, np.sin(n[:200] * 0.8) + random.normal(size=200) / 9
    yield "two values", n[:33] * 10**6, n[:33] % 3 == 0
    yield "eight samples", n[:8] * 10**6, random.normal(size=8)
    yield "seven samples", n[:7] * 10**6, random.normal(size=7)
    yield "two samples", n[:2] * 10**6, random.normal(size=2)
    yield "one sample", n[:1], np.array([2.5])
    yield "constant", n[:50] * 10**6, np.full(50, 0.1)
    yield "zero", n[:50] * 10**6, np.zeros(50)


def generated():
    """(name, step, seed, count): long series, made by lcg on both sides."""
    yield "an hour of one hertz", 10**6, 1, 3600
    yield "a minute of 100 Hz", 10**4, 2, 6000
    yield "one segment exactly", 1000, 3, SEGMENT_MAX
    yield "one sample more than a segment", 1000, 4, SEGMENT_MAX + 1
    yield "three segments and a rest", 100, 5, 2 * SEGMENT_MAX + 777


def main():
    cases = []
    for name, micros, values in written():
        micros, values = np.asarray(micros) + 1_700_000_000_000_000, np.asarray(values, dtype=np.float32)
        cases.append({"name": name, "micros": micros.tolist(), "values": [float(f"{value:.9g}") for value in values],
                      "features": features(micros, values)})
    for name, step, seed, count in generated():
        cases.append({"name": name, "step": step, "seed": seed, "count": count,
                      "features": features(np.arange(count) * step, lcg(seed, count))})
    sys.stdout.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
