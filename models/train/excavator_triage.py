"""Trains models/excavator-triage: system, action and failure mode of a work order, for a machine never seen in training.

python excavator_triage.py [--data FOLDER] [--teacher FOLDER]

Words as hashed n-grams (words.py); three linear classifiers over their weighted, length-normalised sum. The classifiers
and the weight of each n-gram are the columns of one table, so that the network is a look-up and a division. The labels of
the data were made by rules that look for words; a linear model over n-grams can express those, and misspelt words besides.
"""

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC
from onnx import TensorProto

import calibration
import common
import minilm
import scope
import variants
import words
from graph import Graph

FOLDER = common.MODELS / "excavator-triage"
CONFIG = words.Config(split="punctuation", dims=8192, n_min=3, n_max=4, grams=20, lengths=(8, 16, 32))
INPUT = "ids"
# (task, output, column of the data)
TASKS = [("system", "system", "MajorSystem"), ("action", "action", "Action"), ("failure-mode", "failure_mode", "FM")]
# What an empty field of the data is called.
NOTHING = "none"
# Labels that occur less often are not learnt, and count as wrong when they are due.
COUNT_MIN = 10
# Inverse of the penalty, and how much more an example of a rare label weighs: count^-0.5. Both by folds over assets A to D.
STRENGTH = 6.0
RARITY = 0.5
# Below this a text has no n-gram and the division would fail.
NORM_MIN = 1e-6
# What the gateway falls back to when memory is short: a quarter of the bytes, the same answers. Its table rounds, by so much.
FALLBACK, ROUNDING = "int8-table", 0.05
# Bits of the set of known n-grams, and their length.
KNOWN_BITS, KNOWN_N = 1 << 18, 5


def bag(texts):
    """How often each id occurs in each text, as the gateway reads it: at most lengths[-1] words."""
    entries = [(row, id) for row, text in enumerate(texts) for word in words.ids(text, CONFIG)[: CONFIG.lengths[-1]] for id in word]
    at = np.array(entries).reshape(-1, 2).T
    return sp.csr_matrix((np.ones(at.shape[1]), at), shape=(len(texts), CONFIG.dims))


def rarity(counts):
    """Weight of each id: the fewer texts it occurs in, the greater."""
    return np.log((1 + counts.shape[0]) / (1 + np.asarray((counts > 0).sum(0)).ravel())) + 1


def weighted(counts, weight):
    """Weighted rows, divided by the root of the sum of squared weights of their ids."""
    norm = np.sqrt(np.maximum(counts @ weight**2, NORM_MIN))
    return sp.diags(1 / norm) @ counts @ sp.diags(weight)


def label_weight(truth):
    """How much an example of each label weighs; 1 on average."""
    count = Counter(truth)
    mean = np.mean([count[label] ** -RARITY for label in truth])
    return {label: number**-RARITY / mean for label, number in count.items()}


def fit(counts, truths, names):
    """(weight per id, [(weights [dims, labels], bias) per task])."""
    weight = rarity(counts)
    inputs = weighted(counts, weight)
    found = []
    for truth, known in zip(truths, names):
        rows = np.isin(truth, known)
        model = LinearSVC(C=STRENGTH, class_weight=label_weight(truth[rows]), random_state=0).fit(inputs[rows], truth[rows])
        weights, bias = np.zeros((CONFIG.dims, len(known))), np.full(len(known), -2.0)
        places = [known.index(label) for label in model.classes_]
        weights[:, places], bias[places] = model.coef_.T, model.intercept_
        found.append((weights, bias))
    return weight, found


def answer(model, counts):
    """Logits per task."""
    weight, heads = model
    inputs = weighted(counts, weight)
    return [inputs @ weights + bias for weights, bias in heads]


def held_out(counts, truths, names, assets):
    """Logits per task of every work order by a model that has not seen its machine."""
    logits = [np.zeros((len(assets), len(known))) for known in names]
    for asset in np.unique(assets):
        test = assets == asset
        model = fit(counts[~test], [truth[~test] for truth in truths], names)
        for target, found in zip(logits, answer(model, counts[test])):
            target[test] = found
    return logits


def f1_of_common(truth, answers, least=10, total=None):
    """Macro-F1 over labels with at least `least` examples in `total`, of those that occur in truth."""
    count = Counter(truth if total is None else total)
    hits = []
    for label in sorted(set(truth)):
        if count[label] >= least and label != NOTHING:
            hit = ((answers == label) & (truth == label)).sum()
            hits.append(2 * hit / ((answers == label).sum() + (truth == label).sum()))
    return float(np.mean(hits))


def quality(truth, answers, assets):
    """Per asset (macro-F1, accuracy)."""
    parts = [assets == asset for asset in np.unique(assets)]
    return [(f1_of_common(truth[part], answers[part], total=truth), (answers[part] == truth[part]).mean()) for part in parts]


def sentences(folder, texts):
    """Sentence vectors of the encoder, in lower case as it was trained."""
    encoder, tokenizer = minilm.load(folder)
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), 256):
            ids = [tokenizer.encode(text.lower()).ids for text in texts[start : start + 256]]
            found.append(encoder(*minilm.batch(ids))[1].numpy())
    return np.concatenate(found)


def teach(texts, truths, assets, folder):
    """Answers of the teachers per task, for unseen machines: [(name, [answers per task], numbers in it)]."""
    hidden = sentences(folder, texts)
    found = {"n-grams, not hashed, SVM": [], "MiniLM sentence vectors, logistic regression": []}
    sizes = dict.fromkeys(found, 0)
    for truth in truths:
        answers = {name: np.empty(len(texts), object) for name in found}
        for asset in np.unique(assets):
            test = assets == asset
            grams = make_union(
                TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), sublinear_tf=True),
                TfidfVectorizer(token_pattern=r"[a-z0-9]+", ngram_range=(1, 2), sublinear_tf=True),
            )
            wide = grams.fit_transform(texts[~test]), grams.transform(texts[test])
            for name, model, (seen, new) in [
                (list(found)[0], LinearSVC(C=3, class_weight=label_weight(truth[~test]), random_state=0), wide),
                (list(found)[1], LogisticRegression(C=30, max_iter=300), (hidden[~test], hidden[test])),
            ]:
                answers[name][test] = model.fit(seen, truth[~test]).predict(new)
                sizes[name] = max(sizes[name], model.coef_.size)
        for name in found:
            found[name].append(answers[name].astype(str))
    return [(name, found[name], sizes[name]) for name in found]


def export(model):
    """model.onnx."""
    weight, heads = model
    table = np.hstack([weights * weight[:, None] for weights, _ in heads] + [weight[:, None] ** 2])
    table[0] = 0
    graph = Graph(FOLDER.name)
    rows = graph.gram_rows(graph.input(INPUT, "L", TensorProto.INT64), CONFIG.grams)
    axes = graph.constant(np.array([1], np.int64), "words_axis")
    total = graph.add("ReduceSum", graph.total(rows, table), axes, name="text_sum", keepdims=0)
    width = table.shape[1]
    squares = graph.add("Max", graph.columns(total, width - 1, width, "squares"), graph.constant(np.array([NORM_MIN]), "norm_min"))
    scaled = graph.add("Div", total, graph.add("Sqrt", squares, name="norm"), name="scaled")
    bias = np.concatenate([own for _, own in heads] + [[0.0]])
    answers = graph.add("Add", scaled, graph.constant(bias, "bias"), name="answers")
    begin = 0
    for (_, output, _), (_, own) in zip(TASKS, heads):
        graph.pick(answers, range(begin, begin + len(own)), output)
        graph.output(output, len(own))
        begin += len(own)
    graph.write(FOLDER / "model.onnx")


def golden_cases(names):
    """A few work orders made up for this, and the words of every label."""
    lines = ["", "zzz", "REPLACE ENGINE", "hyd hose leaking", "L/H bucket won't open", "cracked boom weld", "repair air con"]
    lines += sorted({label.replace("_", " ").lower() for known in names for label in known})
    return [{"text": line, "input": words.encode([line], CONFIG)[0][0].ravel()} for line in lines]


def write(model, names, facts, known, least, scores):
    """The model folder but for its figures."""
    export(model)
    (FOLDER / "known.bin").write_bytes(known)
    labels = [(name, output, known) for (name, output, _), known in zip(TASKS, names)]
    common.write_golden(FOLDER, golden_cases(names), labels)
    manifest = {
        "name": FOLDER.name,
        "version": "1.0.0",
        "kind": "report",
        "description": "System, action and failure mode of an excavator's work order",
        "input": {"tensor": INPUT, "encoder": CONFIG.manifest()},
        "tasks": [
            {"name": name, "output": output, "labels": known, "alarm": []}
            | {key: fact[key] for key in ("temperature", "threshold")}
            for (name, output, known), fact in zip(labels, facts)
        ],
        "scope": scope.table(FOLDER, KNOWN_N, least),
        "variants": [common.variant(FOLDER), common.variant(FOLDER, FALLBACK, variants.ship(FOLDER, FALLBACK), tolerance=ROUNDING)],
        "golden": common.golden(FOLDER),
        "training": {
            "data": "Work orders of four excavators, 2001 to 2012 (4,534)",
            "licence": "MIT",
            "recipe": "../train/excavator_triage.py",
        },
        "scores": scores,
    }
    common.write_manifest(FOLDER, manifest)
    common.measure(FOLDER)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with excavator/ and the other texts")
    parser.add_argument("--teacher", type=Path, default=common.TEACHER, help="folder of the sentence encoder")
    options = parser.parse_args()
    source = options.data / "excavator" / "work_orders.jsonl"
    if not source.exists() or not options.teacher.exists():
        sys.exit(f"{source} or {options.teacher} is not there; name them with --data and --teacher")
    warnings.simplefilter("ignore", ConvergenceWarning)
    orders = common.rows(source)
    texts = np.array([order["OriginalShorttext"] for order in orders])
    assets = np.array([order["Asset"] for order in orders])
    truths = [np.array([order[column] or NOTHING for order in orders]) for _, _, column in TASKS]
    names = [sorted(label for label, count in Counter(truth).items() if count >= COUNT_MIN) for truth in truths]
    counts = bag(texts)

    logits = held_out(counts, truths, names, assets)
    answers = [np.array(known)[own.argmax(1)] for known, own in zip(names, logits)]
    scores, facts, best = [], [], {}
    for (task, _, _), truth, own, answered, known in zip(TASKS, truths, logits, answers, names):
        each = quality(truth, answered, assets)
        for asset, pair in zip([*np.unique(assets), "mean"], [*each, np.mean(each, 0)]):
            where = f"asset {asset}, trained on the others" if asset != "mean" else "mean of the four, each trained on the others"
            for metric, value in zip(("macro-F1", "accuracy"), pair):
                scores.append({"set": where, "task": task, "metric": metric, "value": float(value)})
        learnt = np.isin(truth, known)
        index = np.array([known.index(label) for label in truth[learnt]])
        facts.append(calibration.calibrate(own[learnt], index, assets[learnt]))
        best[task] = np.mean(each, 0)[0]

    model = fit(counts, truths, names)
    own = texts.tolist()
    least, shares = scope.limit(own, assets, [], KNOWN_N, KNOWN_BITS)
    known = words.known_bits(own, KNOWN_N, KNOWN_BITS)
    write(model, names, facts, known, least, [score for score in scores if score["set"] == "mean of the four, each trained on the others"])
    outside = scope.rows(known, KNOWN_N, least, ("work orders of unseen assets", shares), scope.foreign(options.data))

    teachers = [
        {"role": "teacher", "name": name, "parameters": size, "bytes": size * 4}
        | {"score": ", ".join(f"{np.mean(quality(t, a, assets), 0)[0]:.3f}" for t, a in zip(truths, found))}
        for name, found, size in teach(texts, truths, assets, options.teacher)
    ]
    rows = words.encode(own[:600], CONFIG, CONFIG.lengths[-1])[0].reshape(600, -1)
    wanted = truths[2][:600]
    forms = variants.examine(FOLDER, rows, lambda out: (np.array(names[2])[out["failure_mode"].argmax(1)] == wanted).mean())
    student = {"role": "student", "name": "this model", "parameters": common.read_manifest(FOLDER)["variants"][0]["parameters"]}
    student |= {"bytes": (FOLDER / "model.onnx").stat().st_size, "latency_us": forms[0].get("latency_us")}
    student["score"] = ", ".join(f"{best[task]:.3f}" for task, _, _ in TASKS)
    common.write_figures(
        FOLDER,
        scores=scores,
        distillation=[*teachers, student],
        calibration=[{"task": task, **fact} for (task, _, _), fact in zip(TASKS, facts)],
        scope=outside,
        variants=forms,
    )


if __name__ == "__main__":
    main()
