"""Knowing how sure an answer is: temperature, calibration error, thresholds, the risk–coverage curve."""

import numpy as np
from scipy.optimize import minimize_scalar

PRECISION_WANTED = 0.95
# No answer is accepted on less than even odds, however well the held-out answers went.
THRESHOLD_MIN = 0.5
# Of the surest answers this share must reach the wanted precision, or chance decides.
SURE_SHARE_MIN = 0.1
# Bins of the calibration error, as Guo et al. 2017, "On calibration of modern neural networks".
BINS = 15


def softmax(logits, temperature=1.0):
    """Rows of probabilities."""
    scaled = logits / temperature
    power = np.exp(scaled - scaled.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def temperature(logits, truth):
    """The number that makes softmax(logits / number) most likely; logits must come from held-out folds."""

    def loss(log_t):
        chosen = softmax(logits, np.exp(log_t))[np.arange(len(truth)), truth]
        return -np.log(np.maximum(chosen, 1e-12)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def ece(score, right, bins=BINS):
    """Expected calibration error: how far the mean score of a bin is from its share of right answers, over bins of
    equal width weighted by their size."""
    score, right = np.asarray(score, float), np.asarray(right, float)
    place = np.minimum((score * bins).astype(int), bins - 1)
    gaps = [abs(score[place == b].sum() - right[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / max(len(score), 1))


def risk_coverage(score, right):
    """(coverage, risk) arrays: the share of answers kept and the share of wrong ones among them, surest first."""
    order = np.argsort(-np.asarray(score), kind="stable")
    wrong = np.cumsum(~np.asarray(right, bool)[order])
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), wrong / kept


def threshold(score, right, wanted=PRECISION_WANTED):
    """The lowest score from which on answers are right with the wanted precision; never below THRESHOLD_MIN. 1 where
    the surest tenth of the answers is not that good: then nothing is accepted."""
    order = np.argsort(-score, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.nonzero(precision >= wanted)[0]
    good = good[good >= int(len(order) * SURE_SHARE_MIN)]
    if not len(good):
        return 1.0
    last = good[-1]
    following = score[order[last + 1]] if last + 1 < len(order) else 0.0
    return float(max(THRESHOLD_MIN, (score[order[last]] + following) / 2))


def calibrate(logits, truth, fold, wanted=PRECISION_WANTED):
    """Calibration of one task from held-out answers: {"temperature", "threshold"} fitted on all of them, and what that
    is worth where each fold is judged by the calibration of the others: {"ece_before", "ece_after", "precision",
    "coverage"}; precision and coverage are those of the accepted answers."""

    def fit(rows):
        t = temperature(logits[rows], truth[rows])
        p = softmax(logits[rows], t)
        return t, threshold(p.max(1), p.argmax(1) == truth[rows], wanted)

    right = logits.argmax(1) == truth
    after, sure = np.zeros(len(truth)), np.zeros(len(truth), bool)
    for number in np.unique(fold):
        t, limit = fit(fold != number)
        rows = fold == number
        after[rows] = softmax(logits[rows], t).max(1)
        sure[rows] = after[rows] >= limit
    t, limit = fit(np.ones(len(truth), bool))
    return {
        "temperature": t,
        "threshold": limit,
        "ece_before": ece(softmax(logits).max(1), right),
        "ece_after": ece(after, right),
        "precision": float(right[sure].mean()) if sure.any() else 0.0,
        "coverage": float(sure.mean()),
    }
