"""Figures of quality by scikit-learn, for tests/quality_golden.rs: python3 tests/golden/quality.py tests/golden/quality.json"""

import json
import sys

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_curve, precision_recall_fscore_support

SEED = 7
ANSWERS = 240
LABELS = 6  # of which the last is never true and never answered
BINS = 15
TEXTS = 60
TYPES = 4
PRECISION = 0.8


def classes(random):
    """Truth and answer that agree more often than not."""
    truth = random.integers(0, LABELS - 1, ANSWERS)
    answer = np.where(random.random(ANSWERS) < 0.6, truth, random.integers(0, LABELS - 1, ANSWERS))
    seen = sorted(set(truth) | set(answer))
    precision, recall, f1, support = precision_recall_fscore_support(truth, answer, labels=seen, zero_division=0)
    return truth, answer, {
        "truth": truth.tolist(),
        "answer": answer.tolist(),
        "labels": LABELS,
        "accuracy": accuracy_score(truth, answer),
        "macro_f1": f1_score(truth, answer, average="macro"),
        "confusion": confusion_matrix(truth, answer, labels=range(LABELS)).tolist(),
        "classes": [
            {"label": int(label), "precision": p, "recall": r, "f1": f, "support": int(s)}
            for label, p, r, f, s in zip(seen, precision, recall, f1, support)
        ],
    }


def scores(random, right):
    """Scores that know something of whether the answer is right, some of them equal."""
    score = np.round(np.clip(0.45 + 0.3 * right + random.normal(0, 0.2, len(right)), 0.01, 0.99), 2)
    # Off the edges of the bins, where definitions differ.
    score += 1e-4
    true, said = calibration_curve(right, score, n_bins=BINS, strategy="uniform")
    counts = np.histogram(score, np.linspace(0, 1, BINS + 1))[0]
    weights = counts[counts > 0] / len(score)
    precision, _, limits = precision_recall_curve(right, score)
    kept = [float((score >= limit).mean()) for limit, p in zip(limits, precision) if p >= PRECISION]
    return {
        "score": score.tolist(),
        "right": [bool(r) for r in right],
        "ece": float((weights * np.abs(true - said)).sum()),
        "precision": PRECISION,
        "coverage": max(kept, default=0.0),
    }


def entities(random):
    """Entities of texts, found or not: F1 of the table of all that are in either."""
    texts, rows = [], []
    for text in range(TEXTS):
        truth, found = set(), set()
        for place in range(random.integers(0, 6)):
            kind, start = int(random.integers(TYPES)), int(place * 4)
            entity = (kind, start, start + int(random.integers(1, 4)))
            luck = random.random()
            if luck < 0.9:
                truth.add(entity)
            if luck > 0.2:
                found.add((int(random.integers(TYPES)), *entity[1:]) if random.random() < 0.2 else entity)
        texts.append({"truth": sorted(truth), "found": sorted(found)})
        rows += [(entity[0], entity in truth, entity in found) for entity in sorted(truth | found)]
    kind, truth, found = (np.array(column) for column in zip(*rows))
    of = lambda wanted: f1_score(truth[wanted], found[wanted], zero_division=0)
    return {
        "texts": texts,
        "types": TYPES,
        "micro_f1": of(kind >= 0),
        "f1": [of(kind == number) for number in range(TYPES)],
    }


def main(path):
    random = np.random.default_rng(SEED)
    truth, answer, classified = classes(random)
    golden = {"classes": classified, "scores": scores(random, truth == answer), "entities": entities(random)}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
