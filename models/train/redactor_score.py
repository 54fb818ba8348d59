"""How well the redactor marks texts it has not seen: entities, tokens, bias, calibration."""

import collections
from typing import NamedTuple

import numpy as np

import calibration
import redactor_text as texts
import tagger
import tags
import words

# These shares of the tokens to hide must be hidden, under whatever type: in work orders of another company, and in
# sentences of other templates.
RECALL_WANTED, RECALL_WANTED_PERSONAL = 0.985, 0.93
BIASES = (0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0)
MASKS = range(len(texts.MASKS))
PERSONAL = range(len(texts.MASKS), len(texts.TYPES))


class Judged(NamedTuple):
    """A held-out text, its words and tags, what a network that has not seen its like says, and the run."""

    item: texts.Item
    own: list
    truth: list
    logits: np.ndarray
    run: int


def entities(judged, bias):
    """(true, found) sets of (type, first word, word after the last)."""
    true = {(kind, start, end) for start, end, kind in tags.entities(judged.truth)}
    return true, {(kind, start, end) for kind, start, end, _ in tags.decode(judged.logits, outside_bias=bias)}


def tokens(judged, spans):
    """{(type, number of the white-space token)} that spans touch: a text's raw tokens, as MaintNorm masks them."""
    token = np.cumsum([at == 0 or own.char_start > judged.own[at - 1].char_end for at, own in enumerate(judged.own)])
    return {(kind, int(token[at])) for kind, start, end in spans for at in range(start, end)}


def joined(spans):
    """Spans with neighbours of one type made one: the parts of an address are marked now each, now together."""
    found = []
    for kind, start, end in sorted(spans, key=lambda span: span[1]):
        if found and found[-1][0] == kind and found[-1][2] == start:
            start = found.pop()[1]
        found.append((kind, start, end))
    return set(found)


class Counts:
    """Hits, answers and truths per type."""

    def __init__(self):
        self.hit, self.said, self.there = collections.Counter(), collections.Counter(), collections.Counter()

    def add(self, true, found):
        self.there.update(kind for kind, *_ in true)
        self.said.update(kind for kind, *_ in found)
        self.hit.update(kind for kind, *_ in true & found)

    def of(self, kinds):
        """Precision, recall, F1 of some types together."""
        return tagger.rates(*(sum(counter[kind] for kind in kinds) for counter in (self.hit, self.said, self.there)))


def count(judged, bias):
    """{"spans", "joined", "tokens", "hidden"}: Counts per type of exact spans, of these with neighbours joined, of
    white-space tokens, and of tokens hidden under whatever type."""
    found = {"spans": Counts(), "joined": Counts(), "tokens": Counts(), "hidden": Counts()}
    for own in judged:
        true, said = entities(own, bias)
        found["spans"].add(true, said)
        found["joined"].add(joined(true), joined(said))
        true, said = tokens(own, true), tokens(own, said)
        found["tokens"].add(true, said)
        found["hidden"].add({(0, at) for _, at in true}, {(0, at) for _, at in said})
    return found


def sets(judged):
    """The held-out texts by what they are of: heading -> texts."""
    orders = {f"work orders of company {c}": [j for j in judged if j.item.group == c] for c in texts.COMPANIES}
    return orders, {"personal data, other templates": [j for j in judged if j.item.source == "pii"]}


def score_rows(judged, bias, label):
    """Rows of the score table at one bias."""
    orders, sentences = sets(judged)
    rows = []

    def add(where, task, metric, value):
        rows.append({"set": f"{where}, {label}", "task": task, "metric": metric, "value": value})

    for where, own in orders.items():
        counted = count(own, bias)
        for kind in MASKS:
            if counted["tokens"].there[kind]:
                for metric, value in zip(("precision", "recall", "F1"), counted["tokens"].of([kind])):
                    add(where, texts.TYPES[kind], f"token {metric}", value)
        add(where, "id", "span F1", counted["spans"].of([0])[2])
        for metric, value in zip(("precision", "recall"), counted["hidden"].of([0])):
            add(where, "any", f"hidden, token {metric}", value)
    for where, own in sentences.items():
        counted = count(own, bias)
        for metric, value in zip(("precision", "recall", "F1"), counted["tokens"].of(PERSONAL)):
            add(where, "all personal", f"token {metric}", value)
        add(where, "all personal", "span F1", counted["spans"].of(PERSONAL)[2])
        add(where, "all personal", "span F1, neighbours joined", counted["joined"].of(PERSONAL)[2])
        for kind in PERSONAL:
            if counted["tokens"].there[kind]:
                add(where, texts.TYPES[kind], "token F1", counted["tokens"].of([kind])[2])
        for metric, value in zip(("precision", "recall"), counted["hidden"].of([0])):
            add(where, "any", f"hidden, token {metric}", value)
    return rows


def chosen_bias(judged):
    """The bias nearest 0 that hides as much as wanted; the lowest if none does."""
    for bias in BIASES:
        orders, sentences = (
            [count(own, bias)["hidden"].of([0])[1] for own in part.values()] for part in sets(judged)
        )
        if np.mean(orders) >= RECALL_WANTED and np.mean(sentences) >= RECALL_WANTED_PERSONAL:
            return bias
    return BIASES[-1]


def calibrated(judged, bias):
    """Temperature of the words; threshold of the entities; calibration error before and after."""
    logits = np.concatenate([own.logits for own in judged])
    truth = np.concatenate([own.truth for own in judged])
    temperature = calibration.temperature(logits, truth)

    def scored(t):
        score, right, run = [], [], []
        for own in judged:
            true, _ = entities(own, bias)
            for kind, start, end, value in tags.decode(own.logits, temperature=t, outside_bias=bias):
                score.append(value)
                right.append((kind, start, end) in true)
                run.append(own.run)
        return np.array(score), np.array(right), np.array(run)

    score, right, run = scored(temperature)
    sure = np.zeros(len(score), bool)
    for number in np.unique(run):
        sure[run == number] = score[run == number] >= calibration.threshold(score[run != number], right[run != number])
    return {
        "task": "entities",
        "temperature": temperature,
        "threshold": calibration.threshold(score, right),
        "ece_before": calibration.ece(*scored(1.0)[:2]),
        "ece_after": calibration.ece(score, right),
        "precision": float(right[sure].mean()),
        "coverage": float(sure.mean()),
    }


def in_short(judged):
    """The two scores that matter, as text."""
    orders, sentences = sets(judged)
    ids = [count(own, 0.0)["tokens"].of([0])[2] for own in orders.values() if own]
    personal = [count(own, 0.0)["tokens"].of(PERSONAL)[2] for own in sentences.values()]
    return f"id {np.mean(ids):.3f}, personal {np.mean(personal):.3f} (token F1)"
