"""Trains models/work-order-entities: marks items, activities, observations and so on in a maintenance work order.

TIDEGATE=tidegate python work_order_entities.py [--data FOLDER] [--teacher FOLDER] [--keep FOLDER]

A sentence encoder is fine-tuned on the labelled texts (teacher.py) and then tags other maintenance texts, and the
labelled ones with their entities exchanged. The student (tagger.py) learns from labels and teacher together, with slips
of the keyboard, abbreviations and capitals put in: it has a hundredth of the teacher's size. What is held out for
calibration was seen by neither of the two that are judged on it.
"""

import argparse
import json
import pickle
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import calibration
import common
import graph
import scope
import tagger
import tags as decoding
import teacher
import variants
import vocabulary
import words

FOLDER = common.MODELS / "work-order-entities"
# The gateway splits at white space, as the texts of the set were split before they were tagged.
CONFIG = words.Config(split="space", dims=8192, n_min=3, n_max=4, grams=20, lengths=(8, 16, 32, 64))
LENGTH = 16  # words of a training text; the longest labelled one has 11
STUDENT = {"width": 40, "hidden": 96, "layers": 3, "kernel": 3}
# First the student learns from the teacher, over all texts, then mostly from labels. `labels` is their weight against
# the teacher. With many texts little has to be hidden from it, with few more.
PHASES = (
    {"all": True, "labels": 0.3, "epochs": 12, "rate": 3e-3, "dropout": 0.1},
    {"all": False, "labels": 0.9, "epochs": 20, "rate": 2e-3, "dropout": 0.3},
)
# A fifth is held out, for settings and calibration.
FOLDS, HELD_OUT = 5, 1
SHUFFLE = 1
SWAP_SHARE = 0.4
TYPO_SHARE, TYPO_LETTERS_MIN = 0.05, 4
ABBREVIATION_SHARE, ABBREVIATION_COUNT_MIN = 0.15, 3
# Grams of three or four characters are common to all English; 64 KiB of bits keep chance hits rare.
KNOWN_N, KNOWN_BITS = 5, 1 << 19
FALLBACK = "int8-dynamic"
LATENCY_WORDS, LATENCY_RUNS = 32, 30
GOLDEN = (
    "hose leaking @ auxilary pump",
    "REPLACE BLOWN HYD LINES ON DECK SPANNER",
    "No5 cyl. head gasket leaking",
    "change out 240v generator",
    "operator reports all lights out 16/7",
    "low oil pressure, check level",
    "",
    "x",
    "überhitzung am lager 6205",
    "def : plug on back of camara screen u/s and main hydraulic pump shut down on wednesday",
    "repair oil leak at decompression valve " * 5,
    "replace 4 alternator belts " * 16,
)


def types_of(rows):
    """The entity types, by name."""
    return sorted({tag[2:] for row in rows for tag in row["tags"] if tag != "O"})


def unlabelled(data):
    """Pairs of lists of words: as the teacher reads a text and as the student does. Where companies hid identifiers
    from the public, the labelled set wrote item_id; the student reads the invented ones of MaintNorm."""
    pairs = [(row["OriginalShorttext"].lower().split(),) * 2 for row in common.rows(data / "excavator" / "work_orders.jsonl")]
    for row in common.rows(data / "maintie" / "train.jsonl"):
        pairs.append(([word.replace("<id>", "item_id") for word in row["tokens"]],) * 2)
    for at, row in enumerate(maintnorm(data)):
        raw = [word.lower() for word in row["raw"]]
        if at % 2:  # every other text in full words
            raw = [full if full and " " not in full and "<" not in full else own for own, full in zip(raw, row["masked"])]
        pairs.append((["item_id" if full == "<id>" else own for own, full in zip(raw, row["masked"])], raw))
    found = {tuple(read): (taught, read) for taught, read in pairs if 1 < len(read) <= LENGTH}
    return [found[key] for key in sorted(found)]


def maintnorm(data):
    """Raw texts with what each word stands for."""
    return [row for company in "ab" for row in common.rows(data / "maintnorm" / f"company_{company}_train.jsonl")]


def abbreviations(data):
    """{full word: [short forms]} that occur often enough."""
    count = Counter()
    for row in maintnorm(data):
        for raw, full in zip(row["raw"], row["masked"]):
            raw, full = raw.lower(), full.lower()
            if raw != full and full.isalpha() and raw[:1] == full[:1] and len(raw) < len(full):
                count[full, raw] += 1
    found = {}
    for (full, raw), seen in sorted(count.items()):
        if seen >= ABBREVIATION_COUNT_MIN:
            found.setdefault(full, []).append(raw)
    return found


def exchanged(texts, numbers, seed=7):
    """One more text per labelled one, with some entities replaced by others of their type."""
    chance, mentions = random.Random(seed), {}
    for text, tags in zip(texts, numbers):
        for start, end, kind in sorted(decoding.entities(tags)):
            mentions.setdefault(kind, []).append(text[start:end])
    found = []
    for text, tags in zip(texts, numbers):
        out, at = [], 0
        for start, end, kind in sorted(decoding.entities(tags)):
            other = chance.choice(mentions[kind]) if chance.random() < SWAP_SHARE else text[start:end]
            out, at = out + text[at:start] + other, end
        found.append((out + text[at:])[:LENGTH])
    return found


def disturbed(text, short, chance):
    """The text with slips, abbreviations and capitals."""
    out = []
    for word in text:
        if word in short and chance.random() < ABBREVIATION_SHARE:
            word = chance.choice(short[word])
        elif len(word) >= TYPO_LETTERS_MIN and chance.random() < TYPO_SHARE:
            word = tagger.mistyped(word, chance)
        out.append(word)
    return tagger.recased(out, chance)


def lesson(texts, numbers, tags, asked, others, encoder):
    """What one student is taught: {"texts", "answers"} of the teacher, labelled texts first;
    its logits for the texts `asked`, which it has not seen; its size."""
    start = time.time()
    own = {tuple(text) for text in asked}
    others = [pair for pair in others if tuple(pair[1]) not in own]
    swapped = exchanged(texts, numbers)
    mentor = teacher.train(encoder, texts, numbers, tags)
    logits = teacher.answers(mentor, texts + swapped + [taught for taught, _ in others])
    answers = np.zeros((len(logits), LENGTH, tags), np.float32)
    for answer, rows in zip(answers, logits):
        answer[: len(rows)] = calibration.softmax(rows)
    print(f"teacher of {len(texts)} texts asked for {len(logits)}: {time.time() - start:.0f} s", flush=True)
    return {
        "texts": texts + swapped + [read for _, read in others],
        "answers": answers,
        "held": teacher.answers(mentor, asked),
        "parameters": sum(part.numel() for part in mentor.parameters()),
    }


def kept(folder, name, *arguments):
    """The lesson of an earlier run if one was kept, or a new one."""
    file = folder and folder / f"{name}.pickle"
    if file and file.exists():
        return pickle.loads(file.read_bytes())
    made = lesson(*arguments)
    if file:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(made))
    return made


def student(taught, numbers, tags, short, seed):
    """A student of one lesson; `numbers` are the labels of its first texts."""
    labels = np.stack([tagger.one_hot(own, tags, LENGTH) for own in numbers])
    torch.manual_seed(seed)
    made = tagger.Student(CONFIG.dims, tags, **STUDENT)
    for phase in PHASES:
        texts = taught["texts"] if phase["all"] else taught["texts"][: len(labels)]
        targets = taught["answers"][: len(texts)].copy()
        targets[: len(labels)] *= 1 - phase["labels"]
        targets[: len(labels)] += phase["labels"] * labels

        def draw(epoch, chance, texts=texts, targets=targets):
            disturbances = [disturbed(text, short, chance) for text in texts]
            return words.encode_tokens(disturbances, CONFIG, LENGTH), targets

        made.dropout.p = phase["dropout"]
        tagger.train(made, draw, phase["epochs"], rate=phase["rate"], seed=seed)
    return made


def held_out(keep, encoder, texts, numbers, tags, others, short):
    """Texts held out with their tag numbers and the logits of the teacher and the student that have not seen them; a
    text that occurs twice counts once."""
    fold = tagger.grouped_folds([" ".join(text) for text in texts], FOLDS, SHUFFLE)
    found = {"texts": [], "numbers": [], "teacher": [], "student": []}
    for number in range(HELD_OUT):
        known = [at for at in range(len(texts)) if fold[at] != number]
        test = sorted({tuple(texts[at]): at for at in range(len(texts)) if fold[at] == number}.values())
        asked = [texts[at] for at in test]
        inside = [texts[at] for at in known], [numbers[at] for at in known]
        taught = kept(keep, str(number), *inside, tags, asked, others, encoder)
        made = student(taught, inside[1], tags, short, number)
        found["texts"] += asked
        found["numbers"] += [numbers[at] for at in test]
        found["teacher"] += taught["held"]
        found["student"] += tagger.predict(made, asked, CONFIG)
    return found


def f1(numbers, logits):
    """Micro-F1 of whole entities."""
    truth = [decoding.entities(tags) for tags in numbers]
    return tagger.f1(truth, [decoding.entities(decoding.path(rows)) for rows in logits])[2]


def judged(numbers, logits, temperature):
    """(scores, right, number of the text) of the entities that are found."""
    score, right, place = [], [], []
    for at, (tags, rows) in enumerate(zip(numbers, logits)):
        truth = decoding.entities(tags)
        for kind, start, end, own in decoding.decode(rows, temperature=temperature):
            score.append(own)
            right.append((start, end, kind) in truth)
            place.append(at)
    return np.array(score), np.array(right), np.array(place)


def calibrated(numbers, logits):
    """(temperature, threshold, rows for the figures, share of texts accepted, share of those wholly right). Figures
    are of each half of the texts judged by the calibration of the other."""
    half = np.arange(len(logits)) % 2
    word_half = np.repeat(half, [len(rows) for rows in logits])
    flat, truth = np.concatenate(logits), np.concatenate(numbers)
    word = calibration.calibrate(flat, truth, word_half)
    plain, right, place = judged(numbers, logits, 1.0)
    after, limits = np.zeros(len(right)), np.zeros(len(right))
    for number in (0, 1):
        heat = calibration.temperature(flat[word_half != number], truth[word_half != number])
        score = judged(numbers, logits, heat)[0]
        own = half[place] == number
        after[own] = score[own]
        limits[own] = calibration.threshold(score[~own], right[~own])
    sure = after >= limits
    threshold = calibration.threshold(judged(numbers, logits, word["temperature"])[0], right)
    entity = {"temperature": word["temperature"], "threshold": threshold}
    entity |= {"ece_before": calibration.ece(plain, right), "ece_after": calibration.ece(after, right)}
    entity |= {"precision": right[sure].mean(), "coverage": sure.mean()}
    accepted = np.setdiff1d(np.unique(place), place[~sure])
    whole = [set(decoding.entities(numbers[at])) == decoding.entities(decoding.path(logits[at])) for at in accepted]
    del word["threshold"], word["precision"], word["coverage"]
    rows = [{"task": "words", **word}, {"task": "entities", **entity}]
    return word["temperature"], threshold, rows, len(accepted) / len(logits), float(np.mean(whole))


def known(data, texts, others):
    """(known.bin, limit, rows for the figures)."""
    plain, wide = [" ".join(text) for text in texts], [" ".join(read) for _, read in others]
    fold = tagger.grouped_folds(plain, FOLDS, SHUFFLE)
    least, shares = scope.limit(plain, fold, wide, KNOWN_N, KNOWN_BITS)
    bits = words.known_bits(plain + wide, KNOWN_N, KNOWN_BITS)
    return bits, least, scope.rows(bits, KNOWN_N, least, ("work orders held out", shares), scope.foreign(data))


def mentions(texts, numbers, types):
    """[(type, text)] of all entities."""
    return [
        (types[kind], " ".join(text[start:end]))
        for text, tags in zip(texts, numbers)
        for start, end, kind in sorted(decoding.entities(tags))
    ]


def changed(texts, seed=3):
    """The texts in capitals, and with one slip in every word of six letters or more of every other text."""
    chance = random.Random(seed)
    slips = [
        [tagger.mistyped(word, chance) if at % 2 and len(word) > 5 else word for word in text]
        for at, text in enumerate(texts)
    ]
    return {"in capitals": [[word.upper() for word in text] for text in texts], "with slips": slips}


def write_files(made, terms, bits):
    """Everything but manifest, golden vectors and card."""
    FOLDER.mkdir(exist_ok=True)
    tagger.export(made, CONFIG, FOLDER / "model.onnx", FOLDER.name)
    text = json.dumps({key: terms[key] for key in ("terms", "aliases", "words")}, indent=0, ensure_ascii=False)
    (FOLDER / "vocabulary.json").write_text(text + "\n", "utf-8")
    (FOLDER / "known.bin").write_bytes(bits)


def row_of(text):
    """What the graph gets of one text."""
    return words.encode([text], CONFIG)[0].reshape(-1)


def teacher_us(encoder, tags):
    """Median time of the teacher for a text of LATENCY_WORDS words on one thread, in microseconds, by torch."""
    mentor = teacher.Teacher(encoder, tags).eval()
    text, times = ["replace", "hyd", "hose", "leaking"] * (LATENCY_WORDS // 4), []
    for _ in range(LATENCY_RUNS):
        start = time.perf_counter_ns()
        teacher.answers(mentor, [text])
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


def fallback():
    """The variant with the least memory. It rounds: golden vectors are those of fp32, so it may miss them by twice of
    what it does in ONNX Runtime."""
    file, miss = variants.ship(FOLDER, FALLBACK), 0.0
    for text in GOLDEN:
        one, other = (graph.run(FOLDER / name, row_of(text)[None])[tagger.OUTPUT] for name in ("model.onnx", file))
        miss = max(miss, float((np.abs(one - other) / np.maximum(1, np.abs(one))).max()))
    return common.variant(FOLDER, FALLBACK, file, tolerance=round(2 * miss, 2))


def write_manifest(types, temperature, threshold, limit, scores):
    """The manifest; sizes are put in by common.measure."""
    manifest = {
        "name": FOLDER.name,
        "version": "1.0.0",
        "kind": "report",
        "description": "Items, activities, observations and other entities in a maintenance work order",
        "input": {"tensor": tagger.INPUT, "encoder": CONFIG.manifest()},
        "tags": {
            "output": tagger.OUTPUT,
            "types": types,
            "temperature": temperature,
            "threshold": threshold,
            "outside_bias": 0.0,
            "vocabulary": {"file": "vocabulary.json", "sha256": common.digest(FOLDER / "vocabulary.json")},
        },
        "scope": scope.table(FOLDER, KNOWN_N, limit),
        "variants": [common.variant(FOLDER), fallback()],
        "golden": common.golden(FOLDER),
        "training": {
            "data": "work-order-entities (train); texts without labels of excavator, MaintIE and MaintNorm; abbreviations "
            "of MaintNorm; teacher all-MiniLM-L6-v2, fine-tuned",
            "licence": "Apache-2.0 (labels, teacher), MIT (excavator, MaintIE, MaintNorm)",
            "recipe": "../train/work_order_entities.py",
        },
        "scores": scores,
    }
    common.write_manifest(FOLDER, manifest)


def score_row(where, metric, value):
    """One row of the scores."""
    return {"set": where, "task": "", "metric": metric, "value": float(value)}


def dev_scores(made, taught, dev, texts, numbers, types, terms):
    """Rows of scores on dev, the student's F1 first, then the teacher's."""
    where = f"dev ({len(dev)})"
    logits = tagger.predict(made, texts, CONFIG)
    found = [
        score_row(where, "entity micro-F1", f1(numbers, logits)),
        score_row(where, "entity micro-F1 of the teacher", f1(numbers, taught["held"])),
    ]
    for name, inputs in changed(texts).items():
        found.append(score_row(where, f"entity micro-F1, {name}", f1(numbers, tagger.predict(made, inputs, CONFIG))))
    paths = numbers, [decoding.path(rows) for rows in logits]
    for number, kind in enumerate(types):
        truth, said = [[{own for own in decoding.entities(path) if own[2] == number} for path in part] for part in paths]
        if any(truth):
            found.append(score_row(where, f"F1 of {kind} ({sum(map(len, truth))})", tagger.f1(truth, said)[2]))
    terms_found = [decoding.lookup(text, terms) for _, text in mentions(texts, numbers, types)]
    with_term = np.mean([term is not None for term in terms_found])
    return [*found, score_row(where, "labelled entities with a term", with_term)]


def measured_forms(texts, numbers):
    """Rows of variants, each scored on dev, with inputs of LATENCY_WORDS words."""
    inputs = words.encode_tokens(texts, CONFIG, LATENCY_WORDS).reshape(len(texts), -1)

    def score(answer):
        return f1(numbers, [rows[: len(text)] for rows, text in zip(answer[tagger.OUTPUT], texts)])

    return variants.examine(FOLDER, inputs, score)


def distillation(scores, taught, sizes, form, teacher_time):
    """Rows for teacher and student; `scores` are those of dev_scores."""
    teacher_row = {"role": "teacher", "name": "MiniLM, fine-tuned", "score": f"{scores[1]['value']:.3f}"}
    teacher_row |= {"parameters": taught["parameters"], "bytes": taught["parameters"] * 4, "latency_us": teacher_time}
    student_row = {"role": "student", "name": "table of n-grams, 3 convolutions", "score": f"{scores[0]['value']:.3f}"}
    student_row |= {"parameters": sizes["parameters"], "bytes": form["bytes"], "latency_us": form.get("latency_us")}
    return [teacher_row, student_row]


def options():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with work-order-entities/ and the other texts")
    parser.add_argument("--teacher", type=Path, default=common.TEACHER, help="folder of the sentence encoder")
    parser.add_argument("--keep", type=Path, help="folder that keeps what the teachers said, for the next run")
    found = parser.parse_args()
    if not (found.data / "work-order-entities").exists() or not found.teacher.exists():
        sys.exit(f"{found.data} or {found.teacher} is not there; name them with --data and --teacher")
    return found


def main():
    given = options()
    torch.set_num_threads(1)
    train, dev = (common.rows(given.data / "work-order-entities" / f"{part}.jsonl") for part in ("train", "dev"))
    types = types_of(train)
    tags = 1 + 2 * len(types)
    texts, dev_texts = ([row["tokens"] for row in part] for part in (train, dev))
    numbers, dev_numbers = ([tagger.numbered(row["tags"], types) for row in part] for part in (train, dev))
    others, short = unlabelled(given.data), abbreviations(given.data)

    held = held_out(given.keep, given.teacher, texts, numbers, tags, others, short)
    temperature, threshold, calibration_rows, accepted, whole = calibrated(held["numbers"], held["student"])
    bits, limit, scope_rows = known(given.data, texts, others)
    where = f"train, {HELD_OUT} of {FOLDS} folds ({len(held['texts'])})"
    held_scores = [
        score_row(where, "entity micro-F1", f1(held["numbers"], held["student"])),
        score_row(where, "entity micro-F1 of the teacher", f1(held["numbers"], held["teacher"])),
        score_row(where, "texts accepted", accepted),
        score_row(where, "accepted texts without a fault", whole),
    ]

    taught = kept(given.keep, "train", texts, numbers, tags, dev_texts, others, given.teacher)
    made = student(taught, numbers, tags, short, 0)
    terms = vocabulary.build(mentions(texts, numbers, types), maintnorm(given.data))
    write_files(made, terms, bits)
    scores = dev_scores(made, taught, dev, dev_texts, dev_numbers, types, terms)

    labels = [(tagger.OUTPUT, tagger.OUTPUT, types)]
    common.write_golden(FOLDER, [{"text": text, "input": row_of(text)} for text in GOLDEN], labels)
    write_manifest(types, temperature, threshold, limit, held_scores + scores)
    sizes = common.measure(FOLDER)["fp32"]
    forms = measured_forms(dev_texts, dev_numbers)
    common.write_figures(
        FOLDER,
        scores=held_scores + scores,
        calibration=calibration_rows,
        scope=scope_rows,
        distillation=distillation(scores, taught, sizes, forms[0], teacher_us(given.teacher, tags)),
        variants=forms,
    )


if __name__ == "__main__":
    main()
