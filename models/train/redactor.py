"""Trains models/redactor: what must not leave the plant in a maintenance text, from asset numbers to names.

python redactor.py [--data FOLDER] [--teacher FOLDER]

Trained on two companies' masked work orders (MaintNorm), sentences with personal data, and texts made up from both
(redactor_augment.py). Every figure is of a company and of sentence templates the scored network has not seen.
"""

import argparse
import collections
import math
import random
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from torch import nn

import calibration
import common
import minilm
import redactor_augment as augment
import redactor_text as texts
import tagger
import tags
import words

FOLDER = common.MODELS / "redactor"
TYPES = texts.TYPES
TAGS = 1 + 2 * len(TYPES)
CONFIG = words.Config(split="punctuation", dims=8192, n_min=3, n_max=4, grams=20, lengths=(8, 16, 32, 64, 128))
WIDTH, HIDDEN, LAYERS, KERNEL, DROPOUT = 40, 96, 3, 3, 0.2
EPOCHS, BATCH, RATE, DECAY = 14, 64, 3e-3, 1e-3
# Runs: each trains on one company and on the templates of the other folds, and is scored on the rest.
FOLDS = 4
FOLD_SEED = 7
# Texts per epoch: copies of each sentence with other data, filled templates, put-together sentences, work orders with
# things put in, copies of sentences with nothing to hide.
COPIES, FILLED, SENTENCES, EQUIPPED, PLAIN_COPIES = 3, 3000, 4000, 3000, 4
ALTERED_SHARE = 0.7
VOCABULARY_WORDS = 14000
# Lists of names, most of whose words are nothing else; words that look as much like one to the teacher are left out.
NAME_LISTS = ("first", "last", "city", "country", "nation", "month", "day")
NAME_STRENGTH, NAME_DOUBT = 3.0, 0.25
REWORDED_SHARES = (0.0, 0.2, 0.4)
# Of the words to hide in work orders of another company this share must be hidden, whatever type they are given.
RECALL_WANTED = 0.99
BIASES = (0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0)
RULES = ["iban", "card", "imo", "mmsi", "phone", "email", "ip", "mac", "coordinates"]
KNOWN_N, KNOWN_BITS = 4, 1 << 19
FALSE_REJECTION = 0.05


class Corpus(NamedTuple):
    """All there is to learn from; `plain` are work orders of other plants with nothing to hide, `language` words."""

    maintenance: list
    personal: list
    plain: list
    language: list


def plain_texts(data):
    """Work orders of other sets that have neither digit nor mask."""
    found = set()
    for part in ("train", "dev"):
        found |= {" ".join(row["tokens"]) for row in common.rows(data / "work-order-entities" / f"{part}.jsonl")}
    found |= {row["text"] for row in common.rows(data / "maintie" / "train.jsonl")}
    found |= {row["OriginalShorttext"] for row in common.rows(data / "excavator" / "work_orders.jsonl")}
    return sorted(text for text in found if text and not re.search(r"[\d<#]", text))


def language(teacher):
    """Common words, commonest first: whole words of the teacher's vocabulary that its embedding does not take for a name.
    What a name is, a logistic regression learns from the names of our lists among these words."""
    vocabulary = Tokenizer.from_file(str(teacher / "tokenizer.json")).get_vocab()
    ranked = [word for word in sorted(vocabulary, key=vocabulary.get) if re.fullmatch("[a-z]{3,}", word)]
    lists = augment.lists()
    names = {part for key in NAME_LISTS for name in lists[key] for part in name.lower().split()}
    listed = np.array([word in names for word in ranked])
    table = minilm.weights(teacher / minilm.GRAPH)["we"][[vocabulary[word] for word in ranked]]
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    model = LogisticRegression(C=NAME_STRENGTH, class_weight="balanced", max_iter=500).fit(table, listed)
    doubtful = model.predict_proba(table)[:, 1] > NAME_DOUBT
    return [word for word, drop in zip(ranked, listed | doubtful) if not drop][:VOCABULARY_WORDS]


def corpus(data, teacher):
    """Reads all of it."""
    maintenance = [item for company in texts.COMPANIES for item in texts.maintenance(data, company)]
    return Corpus(maintenance, texts.personal(data), plain_texts(data), language(teacher))


def epoch_items(known, rng, filler):
    """The texts of one epoch, made anew."""
    filler.rng = rng
    items = [
        augment.altered(item, rng, filler) if rng.random() < ALTERED_SHARE else item for item in known.maintenance
    ]

    def reworded(item):
        return augment.reworded(item, rng, known.language, rng.choice(REWORDED_SHARES))

    for item in known.personal:
        items += [reworded(augment.refilled(item, filler)) for _ in range(COPIES)]
    own = filler.words
    templates = own["talk"] + own["report"] * 2 + own["block"] * 3 + own["work"] * 3
    for _ in range(FILLED):
        work = equipped(known, rng, filler) if rng.random() < 0.5 else augment.altered(rng.choice(known.maintenance), rng, filler)
        item = filler.fill(rng.choice(templates), work)
        items.append(reworded(item._replace(text=augment.any_case(rng, item.text))))
    items += [reworded(texts.Item(text, (), "plain", text)) for text in own["plain"] for _ in range(PLAIN_COPIES)]
    items += [augment.sentence(rng, filler) for _ in range(SENTENCES)]
    return items + [equipped(known, rng, filler) for _ in range(EQUIPPED)]


def equipped(known, rng, filler):
    """A made-up work order."""
    return augment.equipped(rng.choice(known.plain), rng, filler)


def encoded(items):
    """(words, tags) of each text, at most as many as the network reads."""
    found = []
    for item in items:
        own, numbers = texts.tags(item, CONFIG.split)
        found.append(([word.text for word in own][: CONFIG.lengths[-1]], numbers[: CONFIG.lengths[-1]]))
    return found


def batches(data, rng):
    """(ids, tags) tensors of texts of like length, in random order; -100 where there is no word."""
    order = sorted(range(len(data)), key=lambda at: (len(data[at][0]), rng.random()))
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    rng.shuffle(parts)
    for part in parts:
        length = max(8, max(len(data[at][0]) for at in part))
        ids = words.encode_tokens([data[at][0] for at in part], CONFIG, length)
        targets = np.full((len(part), length), -100)
        for row, at in zip(targets, part):
            row[: len(data[at][1])] = data[at][1]
        yield torch.from_numpy(ids), torch.from_numpy(targets)


def student():
    """The network, untrained."""
    return tagger.Student(CONFIG.dims, TAGS, WIDTH, HIDDEN, LAYERS, KERNEL, DROPOUT)


def train(known, seed):
    """A network that has seen `known`. AdamW; the rate rises for a tenth and falls to 0 along a cosine."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    network, filler = student(), augment.Filler(rng, known.personal, known.language)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    network.train()
    for epoch in range(EPOCHS):
        data = encoded(epoch_items(known, rng, filler))
        steps = math.ceil(len(data) / BATCH)
        for step, (ids, targets) in enumerate(batches(data, rng)):
            done = (epoch + step / steps) / EPOCHS
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(done * 10, 0.5 + 0.5 * math.cos(math.pi * done))
            optimiser.zero_grad(set_to_none=True)
            logits = network(ids).flatten(0, 1)
            nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=-100).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    return network.eval()


def splits(everything):
    """(number, known, held out) of each run: one company and the templates of the other folds are known."""
    groups = sorted({item.group for item in everything.personal})
    random.Random(FOLD_SEED).shuffle(groups)
    fold = {group: at % FOLDS for at, group in enumerate(groups)}
    for number in range(FOLDS):
        company = texts.COMPANIES[number % len(texts.COMPANIES)]
        known = everything._replace(
            maintenance=[item for item in everything.maintenance if item.group == company],
            personal=[item for item in everything.personal if fold[item.group] != number],
        )
        held = [item for item in everything.maintenance if item.group != company]
        held += [item for item in everything.personal if fold[item.group] == number]
        yield number, known, held


class Judged(NamedTuple):
    """A held-out text, its words and tags, what a network that has not seen its like says, and the run."""

    item: texts.Item
    own: list
    truth: list
    logits: np.ndarray
    run: int


def held_out(everything):
    """Every held-out text of every run, judged; and the known texts' bits of each run."""
    found = []
    for number, known, held in splits(everything):
        network = train(known, seed=number)
        data = encoded(held)
        logits = tagger.predict(network, [own for own, _ in data], CONFIG)
        for item, (own, truth), rows in zip(held, data, logits):
            found.append(Judged(item, words.words(item.text, CONFIG.split)[: len(own)], truth, rows, number))
        print(f"run {number}: {len(held)} texts judged", flush=True)
    return found


def entities(judged, bias):
    """(true, found) sets of (type, first word, word after the last)."""
    true = {(kind, start, end) for start, end, kind in tagger.entities(judged.truth)}
    return true, {(kind, start, end) for kind, start, end, _ in tags.decode(judged.logits, outside_bias=bias)}


def tokens(judged, spans):
    """{(type, number of the white-space token)} that spans touch: a text's raw tokens, as MaintNorm masks them."""
    token = np.cumsum([at == 0 or own.char_start > judged.own[at - 1].char_end for at, own in enumerate(judged.own)])
    return {(kind, int(token[at])) for kind, start, end in spans for at in range(start, end)}


def f1(hit, said, there):
    """Precision, recall, F1."""
    return hit / max(said, 1), hit / max(there, 1), 2 * hit / max(said + there, 1)


class Counts:
    """Hits, answers and truths per type."""

    def __init__(self):
        self.hit, self.said, self.there = collections.Counter(), collections.Counter(), collections.Counter()

    def add(self, true, found):
        self.there.update(kind for kind, *_ in true)
        self.said.update(kind for kind, *_ in found)
        self.hit.update(kind for kind, *_ in true & found)

    def of(self, kinds):
        return f1(*(sum(counter[kind] for kind in kinds) for counter in (self.hit, self.said, self.there)))


def count(judged, bias):
    """{"spans", "tokens", "hidden"}: Counts per type of exact spans, of white-space tokens, and of tokens hidden under
    whatever type."""
    found = {"spans": Counts(), "tokens": Counts(), "hidden": Counts()}
    for own in judged:
        true, said = entities(own, bias)
        found["spans"].add(true, said)
        true, said = tokens(own, true), tokens(own, said)
        found["tokens"].add(true, said)
        found["hidden"].add({(0, at) for _, at in true}, {(0, at) for _, at in said})
    return found


MASKS = range(len(texts.MASKS))
PERSONAL = range(len(texts.MASKS), len(TYPES))


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
                    add(where, TYPES[kind], f"token {metric}", value)
        add(where, "id", "span F1", counted["spans"].of([0])[2])
        for metric, value in zip(("precision", "recall"), counted["hidden"].of([0])):
            add(where, "any", f"hidden, token {metric}", value)
    for where, own in sentences.items():
        counted = count(own, bias)
        for metric, value in zip(("precision", "recall", "F1"), counted["tokens"].of(PERSONAL)):
            add(where, "all personal", f"token {metric}", value)
        add(where, "all personal", "span F1", counted["spans"].of(PERSONAL)[2])
        for kind in PERSONAL:
            if counted["tokens"].there[kind]:
                add(where, TYPES[kind], "token F1", counted["tokens"].of([kind])[2])
        for metric, value in zip(("precision", "recall"), counted["hidden"].of([0])):
            add(where, "any", f"hidden, token {metric}", value)
    return rows


def chosen_bias(judged):
    """The bias nearest 0 that hides as much of the work orders as wanted; the lowest if none does."""
    orders, _ = sets(judged)
    own = [one for part in orders.values() for one in part]
    for bias in BIASES:
        if count(own, bias)["hidden"].of([0])[1] >= RECALL_WANTED:
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


def known_texts(known):
    """What the scope learns its n-grams from: the real texts and the templates as they are."""
    own = augment.lists()
    templates = [augment.PLACE.sub(" ", text) for key in ("talk", "report", "block", "work", "plain") for text in own[key]]
    return [item.text for item in known.maintenance + known.personal] + known.plain + templates


def foreign(data):
    """Inputs that are no business of the model: {name: texts}."""
    nmea = (data / "ship" / "plaka.log").read_text("utf-8", "replace").splitlines()[:20000:20]
    code = [
        line.strip()
        for path in sorted((common.MODELS.parent / "src").rglob("*.rs"))[:60]
        for line in path.read_text("utf-8").splitlines()
        if len(line.strip()) > 20 and not line.strip().startswith("//")
    ][::5]
    other = (Path(__file__).resolve().parent / "redactor_foreign.txt").read_text("utf-8").splitlines()
    return {"NMEA 0183 lines": nmea, "lines of Rust": code, "sentences in other languages": other}


def scope(everything, data):
    """(limit, rows): the limit that rejects one in twenty of the held-out texts, and what it rejects."""
    shares, strange = [], {name: [] for name in foreign(data)}
    for _, known, held in splits(everything):
        bits = words.known_bits(known_texts(known), KNOWN_N, KNOWN_BITS)
        shares.append([words.known_share(item.text, bits, KNOWN_N) for item in held])
        for name, own in foreign(data).items():
            strange[name].append([words.known_share(text, bits, KNOWN_N) for text in own])
    limit = float(np.mean([np.quantile(own, FALSE_REJECTION) for own in shares]))
    rows = [("held-out work orders and sentences", shares), *strange.items()]
    return limit, [
        {"inputs": name, "count": sum(map(len, own)) // FOLDS, "rejected": float(np.mean([np.mean(np.array(part) < limit) for part in own]))}
        for name, own in rows
    ]  # fmt: skip


def golden_cases(network, filler):
    """Texts that the written file must answer as ONNX Runtime does, one of each type at least."""
    lines = ["", "-", "XH335 REPLACE CAB DOOR GLASS", "1000H Insp Hyd Cyl Tong Swing OO9426", "replace pos 3&4 tyres 24V", "pump leaking"]
    lines += [filler.fill("{%s}" % kind).text for kind in texts.PERSONAL]
    lines += [filler.fill(template).text for template in filler.words["report"][:4]]
    cases = []
    for text in lines:
        ids, _ = words.encode([text], CONFIG)
        cases.append({"text": text, "input": ids[0].ravel()})
    return cases


def write(network, everything, facts, limit):
    """The model folder but for its figures."""
    FOLDER.mkdir(exist_ok=True)
    tagger.export(network, CONFIG, FOLDER / "model.onnx", FOLDER.name)
    common.write_golden(FOLDER, golden_cases(network, augment.Filler(random.Random(1))))
    (FOLDER / "known.bin").write_bytes(words.known_bits(known_texts(everything), KNOWN_N, KNOWN_BITS))
    manifest = {
        "name": FOLDER.name,
        "version": "1.0.0",
        "kind": "report",
        "description": "Identifiers, numbers, dates, sensitive words and personal data in a maintenance text",
        "input": {"tensor": tagger.INPUT, "encoder": CONFIG.manifest()},
        "tags": {"output": tagger.OUTPUT, "types": list(TYPES), **facts, "rules": RULES},
        "scope": {"kind": "known-grams", "n": KNOWN_N, "file": "known.bin", "sha256": common.digest(FOLDER / "known.bin"), "limit": limit},
        "variants": [common.variant(FOLDER)],
        "golden": common.golden(FOLDER),
        "training": {
            "data": "MaintNorm companies A and B (8,000 work orders), Presidio-style sentences with personal data (1,035), texts made up "
            "by the recipe; unlabelled work orders of work-order-entities, MaintIE and excavator",
            "licence": "MIT (MaintNorm, sentences, MaintIE, excavator), Apache-2.0 (work-order-entities, word list)",
            "recipe": "../train/redactor.py",
        },
    }  # fmt: skip
    common.write_manifest(FOLDER, manifest)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=common.DATA)
    parser.add_argument("--teacher", type=Path, default=common.TEACHER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything = corpus(arguments.data, arguments.teacher)
    judged = held_out(everything)
    bias = chosen_bias(judged)
    facts = calibrated(judged, bias)
    limit, scope_rows = scope(everything, arguments.data)
    network = train(everything, seed=FOLDS)
    shipped = {key: facts[key] for key in ("temperature", "threshold")} | {"outside_bias": bias}
    write(network, everything, shipped, limit)
    scores = score_rows(judged, 0.0, "bias 0") + score_rows(judged, bias, f"bias {bias:g}, as shipped")
    common.write_figures(FOLDER, scores=scores, calibration=[facts], scope=scope_rows)


if __name__ == "__main__":
    main()
