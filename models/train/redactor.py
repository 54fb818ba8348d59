"""Trains models/redactor: what must not leave the plant in a maintenance text, from asset numbers to names.

python redactor.py [--data FOLDER] [--teacher FOLDER]

Trained on two companies' masked work orders (MaintNorm), sentences with personal data, and texts made up from both
(redactor_augment.py). Every figure is of a company and of sentence templates the scored network has not seen.
"""

import argparse
import random
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

import calibration
import common
import graph
import minilm
import redactor_augment as augment
import redactor_fill as fill
import redactor_score as score
import redactor_teacher as teacher
import redactor_text as texts
import scope
import tagger
import variants
import words

FOLDER = common.MODELS / "redactor"
TYPES = texts.TYPES
TAGS = 1 + 2 * len(TYPES)
CONFIG = words.Config(split="punctuation", dims=8192, n_min=3, n_max=4, grams=20, lengths=(8, 16, 32, 64, 128))
WIDTH, HIDDEN, LAYERS, KERNEL, DROPOUT = 40, 80, 3, 5, 0.2
EPOCHS, BATCH, RATE, DECAY = 8, 64, 3e-3, 1e-3
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
# The teacher and what is learnt from it are tried on this run; texts the teacher is trained on, texts it answers for
# the student, and how many of these the student sees in an epoch.
TEACHER_RUN, TEACHER_TEXTS, SOFT_TEXTS, SOFT_SHOWN = 0, 7000, 6000, 3000
# Answers of the teacher that are timed.
LATENCY_RUNS = 50
RULES = ["iban", "card", "imo", "mmsi", "phone", "email", "ip", "mac", "coordinates"]
# What of the scores stands in the manifest.
HEADLINES = ("token F1", "hidden, token recall")
KNOWN_N, KNOWN_BITS = 4, 1 << 19
# Texts the smaller forms are compared on; each fills 32 words.
FORM_TEXTS = 400


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
    """Common words, commonest first: whole words of the teacher's vocabulary that its embedding does not take for a
    name. What a name is, a logistic regression learns from the names of our lists among these words."""
    vocabulary = Tokenizer.from_file(str(teacher / "tokenizer.json")).get_vocab()
    ranked = [word for word in sorted(vocabulary, key=vocabulary.get) if re.fullmatch("[a-z]{3,}", word)]
    lists = fill.lists()
    names = {part for key in NAME_LISTS for name in lists[key] for part in name.lower().split()}
    listed = np.array([word in names for word in ranked])
    table = minilm.weights(teacher / common.TEACHER_GRAPH)["we"][[vocabulary[word] for word in ranked]]
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
        if rng.random() < 0.5:
            work = equipped(known, rng, filler)
        else:
            work = augment.altered(rng.choice(known.maintenance), rng, filler)
        item = filler.fill(rng.choice(templates), work)
        items.append(reworded(item._replace(text=fill.any_case(rng, item.text))))
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
    """(ids, targets [N, words, tags]) tensors of texts of like length, in random order; all 0 where there is no word.
    `data` are (words, tag numbers, or a share per tag)."""
    for part in tagger.by_length(data, BATCH, rng):
        length = max(8, max(len(data[at][0]) for at in part))
        ids = words.encode_tokens([data[at][0] for at in part], CONFIG, length)
        targets = np.zeros((len(part), length, TAGS), np.float32)
        for row, at in zip(targets, part):
            own = data[at][1]
            row[: len(own)] = own if isinstance(own, np.ndarray) else np.eye(TAGS, dtype=np.float32)[own]
        yield torch.from_numpy(ids), torch.from_numpy(targets)


def student():
    """The network, untrained."""
    return tagger.Student(CONFIG.dims, TAGS, WIDTH, HIDDEN, LAYERS, KERNEL, DROPOUT)


def train(known, seed, soft=()):
    """A network that has seen `known`, and part of `soft`, (words, shares), in each epoch."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    network, filler = student(), fill.Filler(rng, known.personal, known.language)

    def drawn(_):
        data = encoded(epoch_items(known, rng, filler)) + rng.sample(list(soft), SOFT_SHOWN if soft else 0)
        return list(batches(data, rng))

    return tagger.descend(network, drawn, EPOCHS, RATE, DECAY)


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


def judge(held, logits_of, run):
    """The held-out texts with what `logits_of` their lists of words says."""
    data = encoded(held)
    logits = logits_of([own for own, _ in data])
    return [
        score.Judged(item, words.words(item.text, CONFIG.split)[: len(own)], truth, rows, run)
        for item, (own, truth), rows in zip(held, data, logits)
    ]


def held_out(everything):
    """Every held-out text of every run, judged."""
    found = []
    for number, known, held in splits(everything):
        network = train(known, seed=number)
        found += judge(held, lambda own, network=network: tagger.predict(network, own, CONFIG), number)
        print(f"run {number}: {len(held)} texts judged", flush=True)
    return found


def distillation(everything, judged, folder, student_us):
    """Rows of what a teacher, a student that learns from it, and the student that does not are worth on one run."""
    _, known, held = next(split for split in splits(everything) if split[0] == TEACHER_RUN)
    rng = random.Random(TEACHER_RUN)
    filler = fill.Filler(rng, known.personal, known.language)

    def grams(own):
        return words.encode_tokens(own, CONFIG, max(map(len, own)))

    made = encoded(epoch_items(known, rng, filler))
    large = teacher.Teacher(folder, student(), TAGS)
    teacher.train(large, rng.sample(made, TEACHER_TEXTS), grams, TEACHER_RUN)
    judged_large = judge(held, lambda own: teacher.answers(large, own, grams), TEACHER_RUN)
    texts_soft = [own for own, _ in rng.sample(encoded(epoch_items(known, rng, filler)), SOFT_TEXTS)]
    shares = [calibration.softmax(rows) for rows in teacher.answers(large, texts_soft, grams)]
    taught = train(known, TEACHER_RUN, list(zip(texts_soft, [share.astype(np.float32) for share in shares])))
    judged_taught = judge(held, lambda own: tagger.predict(taught, own, CONFIG), TEACHER_RUN)
    own = [word.text for word in words.words("XH335 replace seal on hyd filter cover", CONFIG.split)]
    large_us = common.median_us(lambda _: teacher.answers(large, [own], grams), range(LATENCY_RUNS))
    sizes = [sum(value.numel() for value in network.parameters()) for network in (large, taught)]
    plain = [one for one in judged if one.run == TEACHER_RUN]
    rows = [
        ("teacher", "MiniLM, fine-tuned, beside a student", judged_large, sizes[0], large_us),
        ("student", "taught by the teacher", judged_taught, sizes[1], student_us),
        ("student", "shipped: labels only", plain, sizes[1], student_us),
    ]
    return [
        {"role": role, "name": name, "score": score.in_short(own), "parameters": n, "bytes": 4 * n, "latency_us": us}
        for role, name, own, n, us in rows
    ]


def known_texts(known):
    """What the scope learns its n-grams from: the real texts and the templates as they are."""
    own = fill.lists()
    keys = ("talk", "report", "block", "work", "plain")
    templates = [fill.PLACE.sub(" ", text) for key in keys for text in own[key]]
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


def scope_of(everything, data):
    """(limit, rows): the limit that rejects one in twenty of the held-out texts, and what it rejects."""
    shares, strange = [], {name: [] for name in foreign(data)}
    for _, known, held in splits(everything):
        bits = words.known_bits(known_texts(known), KNOWN_N, KNOWN_BITS)
        shares.append([words.known_share(item.text, bits, KNOWN_N) for item in held])
        for name, own in foreign(data).items():
            strange[name].append([words.known_share(text, bits, KNOWN_N) for text in own])
    limit = float(np.quantile(np.concatenate(shares), scope.FALSE_REJECTION))
    rows = [("held-out work orders and sentences", shares), *strange.items()]
    return limit, [
        {
            "inputs": name,
            "count": sum(map(len, own)) // FOLDS,
            "rejected": float(np.mean(np.concatenate(own) < limit)),
        }
        for name, own in rows
    ]


def golden_cases(filler):
    """Texts that the written file must answer as ONNX Runtime does, one of each type at least."""
    lines = ["", "-", "pump leaking", "replace pos 3&4 tyres 24V"]
    lines += ["XH335 REPLACE CAB DOOR GLASS", "1000H Insp Hyd Cyl Tong Swing OO9426"]
    lines += [filler.fill("{%s}" % kind).text for kind in texts.PERSONAL]
    lines += [filler.fill(template).text for template in filler.words["report"][:4]]
    cases = []
    for text in lines:
        cases.append({"text": text, "input": row(text)})
    return cases


def row(text):
    """What the graph gets of a text."""
    return words.encode([text], CONFIG)[0][0].ravel()


def write(network, everything, facts, limit, scores):
    """The model folder but for its figures, admitted by the gateway."""
    FOLDER.mkdir(exist_ok=True)
    tagger.export(network, CONFIG, FOLDER / "model.onnx", FOLDER.name)
    cases = golden_cases(fill.Filler(random.Random(1)))
    common.write_golden(FOLDER, cases, [(tagger.OUTPUT, tagger.OUTPUT, TYPES)])
    (FOLDER / "known.bin").write_bytes(words.known_bits(known_texts(everything), KNOWN_N, KNOWN_BITS))
    manifest = {
        "name": FOLDER.name,
        "version": "1.0.0",
        "kind": "report",
        "description": "Identifiers, numbers, dates, sensitive words and personal data in a maintenance text",
        "input": {"tensor": tagger.INPUT, "encoder": CONFIG.manifest()},
        "tags": {"output": tagger.OUTPUT, "types": list(TYPES), **facts, "rules": RULES},
        "scope": scope.table(FOLDER, KNOWN_N, limit),
        "variants": [common.variant(FOLDER)],
        "golden": common.golden(FOLDER),
        "training": {
            "data": "MaintNorm companies A and B (8,000 work orders), synthetic sentences with personal data (1,035), "
            "texts made up by the recipe; unlabelled work orders of work-order-entities, MaintIE and excavator",
            "licence": "MIT (MaintNorm, sentences, MaintIE, excavator), Apache-2.0 (work-order-entities, word list)",
            "recipe": "../train/redactor.py",
        },
        "scores": scores,
    }
    common.write_manifest(FOLDER, manifest)
    common.measure(FOLDER)


def forms(judged):
    """Rows of the smaller forms of the shipped network. The score is the share of the words of held-out texts to which
    a form gives the tag that the network as trained gives."""
    sample = random.Random(0).sample([one for one in judged if 9 <= len(one.own) <= 32], FORM_TEXTS)
    ids, _ = words.encode([one.item.text for one in sample], CONFIG, 32)
    inputs = ids.reshape(len(sample), -1)
    present = ids[:, :, 0] > 0
    wanted = graph.run(FOLDER / "model.onnx", inputs)[tagger.OUTPUT].argmax(-1)
    return variants.examine(
        FOLDER, inputs, lambda out: (out[tagger.OUTPUT].argmax(-1) == wanted)[present].mean()
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=common.DATA)
    parser.add_argument("--teacher", type=Path, default=common.TEACHER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything = corpus(arguments.data, arguments.teacher)
    judged = held_out(everything)
    bias = score.chosen_bias(judged)
    facts = score.calibrated(judged, bias)
    limit, scope_rows = scope_of(everything, arguments.data)
    network = train(everything, seed=FOLDS)
    shipped = {key: facts[key] for key in ("temperature", "threshold")} | {"outside_bias": bias}
    scores = score.score_rows(judged, bias, f"bias {bias:g}, as shipped")
    write(network, everything, shipped, limit, [row for row in scores if row["metric"] in HEADLINES])
    if bias:
        scores = score.score_rows(judged, 0.0, "bias 0") + scores
    figures = {
        "scores": scores,
        "calibration": [facts],
        "scope": scope_rows,
        "variants": forms(judged),
    }
    student_us = figures["variants"][0]["reference_us"]
    figures["distillation"] = distillation(everything, judged, arguments.teacher, student_us)
    common.write_figures(FOLDER, **figures)


if __name__ == "__main__":
    main()
