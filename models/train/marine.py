"""Evaluates, and ships nothing: the event type of a marine incident report (UK MAIB), by hashed character n-grams.

python marine.py [--data FOLDER]

The source is Crown data and the copy states no licence, so no weights leave this script. Folds are grouped by title:
reports of one title often tell of one kind of event in the same words.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC

import calibration
import common
import ngrams

DIMS, N_MIN, N_MAX = 8192, 3, 5
FOLDS = 5
SHUFFLES = (10, 11, 12)
STRENGTH = 0.3  # inverse of the penalty
COUNT_MIN = 10  # classes with fewer reports are left out


def held_out(inputs, truth, groups, shuffle):
    """(fold, scores) of every report by a matrix that has not seen its title."""
    fold, scores = np.zeros(len(truth), int), np.zeros((len(truth), truth.max() + 1))
    splits = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=shuffle).split(inputs, truth, groups)
    for number, (known, judged) in enumerate(splits):
        rarity = np.log((1 + len(known)) / (1 + np.asarray((inputs[known] > 0).sum(0))[0])) + 1
        weighted = inputs @ sparse.diags(rarity)
        model = LinearSVC(C=STRENGTH, random_state=0).fit(weighted[known], truth[known])
        fold[judged], scores[judged] = number, model.decision_function(weighted[judged])
    return fold, scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with marine-incidents/")
    source = parser.parse_args().data / "marine-incidents" / "reports.jsonl"
    if not source.exists():
        sys.exit(f"{source} is not there; name the folder of the data with --data")
    reports = common.rows(source)
    counts = Counter(report["event"] for report in reports)
    reports = [report for report in reports if counts[report["event"]] >= COUNT_MIN]
    names = sorted({report["event"] for report in reports})
    truth = np.array([names.index(report["event"]) for report in reports])
    titles = np.unique([report["title"] for report in reports], return_inverse=True)[1]
    common_share = np.bincount(truth).max() / len(truth)
    print(f"{len(reports)} reports, {len(names)} event types; the most frequent is {common_share:.3f}")
    print("| text | accuracy | macro-F1 | ECE | precision of accepted | coverage |\n|---|---|---|---|---|---|")
    forms = {"report": [report["text"] for report in reports]}
    forms["title and report"] = [f"{report['title']}. {report['text']}" for report in reports]
    for name, texts in forms.items():
        inputs, found = ngrams.encode_rows(texts, DIMS, N_MIN, N_MAX), []
        for shuffle in SHUFFLES:
            fold, scores = held_out(inputs, truth, titles, shuffle)
            fact = calibration.calibrate(scores, truth, fold)
            answer = scores.argmax(1)
            facts = (fact[key] for key in ("ece_after", "precision", "coverage"))
            found.append([(answer == truth).mean(), common.macro_f1(truth, answer), *facts])
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in np.mean(found, 0)) + " |", flush=True)


if __name__ == "__main__":
    main()
