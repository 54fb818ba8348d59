"""Trains models/failure-mode: the ISO 14224 failure mode of a short observation.

python failure_mode.py [--data FOLDER] [--teacher FOLDER]

Hashed character n-grams (ngrams.py, the twin of the gateway's encoder), one matrix. With 502 examples for 22 classes
most words of a new observation were never seen with a label. Two things bring in what they mean: a lexicon of phrases
written for this model (failure_mode_lexicon.toml), and a sentence encoder (MiniLM). The teacher is a logistic
regression on n-grams and the encoder's embedding. The student has n-grams only and imitates the embedding: a linear map fitted,
without labels, on phrases of other maintenance texts and on frames filled with words of the lexicon. Imitation and
classes fold into one matrix.
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import scipy.linalg
import scipy.sparse as sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import calibration
import common
import graph
import ngrams
import scope
import variants
import words
from failure_mode_texts import allowed, lexicon, phrases

FOLDER = common.MODELS / "failure-mode"
TENSOR = "ngrams"
OUTPUT = "logits"
DIMS, N_MIN, N_MAX = 8192, 2, 5
FOLDS = 5
# Settings were chosen on shuffles 0 and 1; these are others.
SHUFFLES = (10, 11, 12, 13, 14)
STRENGTH = 10.0  # inverse of the L2 penalty
EMBEDDING_WEIGHT = 6.0
LEXICON_WEIGHT = 0.5  # of a phrase of the lexicon, against 1 of an example
RIDGE = 0.5
UNSEEN = -30.0  # logit of a class without an example
# Scope: with three characters a new word of the plant still shares some; 2^18 bits are nearly free of collisions.
KNOWN_N, KNOWN_BITS = 3, 1 << 18
# An n-gram counts as known if it is at least this much as frequent in observations as in general prose.
TYPICAL = 0.35
SENTENCE_MIN = 8  # characters
# What the governor may fall back to, and how far its logits may be from those of fp32.
FALLBACK, FALLBACK_TOLERANCE = "int8-qoperator", 0.4
# Phrases on which variants are compared with fp32.
COMPARED_PHRASES = 2000


def encode(texts):
    """Sparse matrix of n-gram vectors, as the gateway makes them."""
    return ngrams.encode_rows(texts, DIMS, N_MIN, N_MAX)


def dense(grams):
    """As the graph takes them."""
    return grams.toarray().astype(np.float32)


class Encoder:
    """The frozen sentence encoder."""

    def __init__(self, folder):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(64)
        self.session = graph.session(folder / common.TEACHER_GRAPH)
        self.bytes = (folder / common.TEACHER_GRAPH).stat().st_size
        constants = onnx.load(str(folder / common.TEACHER_GRAPH)).graph.initializer
        self.parameters = int(sum(np.prod(constant.dims) for constant in constants))

    def __call__(self, texts):
        """Embeddings of length 1."""
        found = []
        for text in texts:
            ids = np.array([self.tokenizer.encode(text).ids])
            found.append(self.session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
        found = np.array(found, float)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def latency_us(self, texts):
        """Median time of a text."""
        return common.median_us(lambda text: self([text]), texts)


def imitation(grams, embeddings):
    """Matrix [DIMS, width] from n-grams to embeddings, by ridge regression."""
    product = (grams.T @ grams).toarray()
    product[np.diag_indices(DIMS)] += RIDGE
    return scipy.linalg.solve(product, grams.T @ embeddings, assume_a="pos", overwrite_a=True)


class Learner:
    """All texts and what is known of them; `fit` learns from some of them and answers others.

    Rows of the matrices: train, dev, then the lexicon."""

    def __init__(self, texts, truth, encoder, data):
        labels = sorted(set(truth))
        self.labels, self.texts = labels, list(texts)
        self.phrases, marks = lexicon(labels)
        self.truth = np.concatenate([[labels.index(label) for label in truth], marks])
        pool = phrases(data, self.phrases, texts)
        pooled, self.pool = encoder(pool), encode(pool)
        self.grams = encode(self.texts + self.phrases)
        self.imitate = imitation(self.pool, pooled - pooled.mean(0))
        self.embeddings = encoder(self.texts + self.phrases) - pooled.mean(0)
        self.imitated = self.grams @ self.imitate

    def rarity(self, known):
        """Weights of the n-grams: rare ones count more."""
        seen = np.asarray((self.grams[known] > 0).sum(0))[0]
        return np.log((1 + len(known)) / (1 + seen)) + 1

    def fit(self, known, phrases, embedding):
        """(weights [DIMS + width, classes], bias) on weighted n-grams and an embedding."""
        rows = np.concatenate([known, np.array(phrases, int) + len(self.texts)])
        inputs = [self.grams @ sparse.diags(self.rarity(known))]
        if embedding is not None:
            inputs.append(sparse.csr_matrix(EMBEDDING_WEIGHT * embedding))
        inputs = sparse.hstack(inputs).tocsr()
        importance = np.concatenate([np.ones(len(known)), np.full(len(phrases), LEXICON_WEIGHT)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(C=STRENGTH, max_iter=500)
            model.fit(inputs[rows], self.truth[rows], sample_weight=importance)
        weights, bias = np.zeros((inputs.shape[1], len(self.labels))), np.full(len(self.labels), UNSEEN)
        weights[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
        return weights, bias, inputs

    def judge(self, known, judged, lexicon_use="strict", embedding="imitated"):
        """Logits of the judged texts by a model of the known ones."""
        own = []
        if lexicon_use != "none":
            texts = ([self.texts[row] for row in rows] for rows in (known, judged))
            own = allowed(self.phrases, *texts, lexicon_use == "strict")
        weights, bias, inputs = self.fit(known, own, getattr(self, embedding) if embedding else None)
        return inputs[judged] @ weights + bias

    def folded(self, known):
        """The shipped matrix [DIMS, classes] and bias: everything, with the whole lexicon."""
        weights, bias, _ = self.fit(known, range(len(self.phrases)), self.imitated)
        return self.rarity(known)[:, None] * weights[:DIMS] + EMBEDDING_WEIGHT * self.imitate @ weights[DIMS:], bias


def shuffles(truth):
    """Per shuffle the fold of every example."""
    for shuffle in SHUFFLES:
        fold = np.zeros(len(truth), int)
        for number, (_, judged) in enumerate(
            StratifiedKFold(FOLDS, shuffle=True, random_state=shuffle).split(truth, truth)
        ):
            fold[judged] = number
        yield fold


def held_out(learner, truth, folds, **settings):
    """Per shuffle the logits of every example by a model that has not seen it."""
    found = []
    for fold in folds:
        logits = np.zeros((len(truth), len(learner.labels)))
        for number in range(FOLDS):
            judged = np.nonzero(fold == number)[0]
            logits[judged] = learner.judge(np.nonzero(fold != number)[0], judged, **settings)
        found.append(logits)
    return found


def prose(data):
    """General English that may be learnt from, by name."""
    sections = [row["text"] for row in common.rows(data / "device-manual" / "sections.jsonl")]
    parts = [part.strip() for text in sections for part in re.split(r"(?<=[.])\s+", text)]
    manual = [part for part in parts if len(part) > SENTENCE_MIN]
    return {
        "pii, sentences": [row["text"] for row in common.rows(data / "pii" / "sentences.jsonl")],
        "device manual, sentences": manual,
    }


def rates(texts):
    """How much of the n-grams each bit has."""
    hits = np.zeros(KNOWN_BITS)
    for text in texts:
        np.add.at(hits, np.array(words.known_grams(text, KNOWN_N)) % KNOWN_BITS, 1)
    return hits / hits.sum()


def typical(texts, general):
    """Bit set of the n-grams that are as typical of these texts as of general prose."""
    own = rates(texts)
    return np.packbits((own > 0) & (own >= TYPICAL * general), bitorder="little").tobytes()


def scope_limit(learner, folds, general):
    """(limit, shares of held-out texts): each fold by n-grams of the others and of the strict lexicon."""
    shares = []
    for fold in folds:
        for number in range(FOLDS):
            parts = (np.nonzero(mask)[0] for mask in (fold != number, fold == number))
            known, judged = ([learner.texts[row] for row in part] for part in parts)
            own = [learner.phrases[index] for index in allowed(learner.phrases, known, judged, True)]
            bits = typical(known + own, general)
            shares += [words.known_share(text, bits, KNOWN_N) for text in judged]
    return float(np.quantile(shares, scope.FALSE_REJECTION)), np.array(shares)


def scope_of(learner, folds, data):
    """(bits, limit, rows for figures.json). A set of prose is judged by bits made without it."""
    sets = prose(data)
    foreign = scope.foreign(data)
    inputs = {**foreign, **sets}
    general = rates([text for texts in sets.values() for text in texts])
    limit, shares = scope_limit(learner, folds, general)
    bits = typical(learner.texts + learner.phrases, general)
    elsewhere = {name: texts for name, texts in inputs.items() if name not in sets}
    found = scope.rows(bits, KNOWN_N, limit, ("observations, held out in five shuffles", shares), elsewhere)
    for name, texts in sets.items():
        other = rates([text for key, own in sets.items() if key != name for text in own])
        least, shares = scope_limit(learner, folds, other)
        rest = typical(learner.texts + learner.phrases, other)
        found += scope.rows(rest, KNOWN_N, least, ("", shares), {name: texts})[1:]
    return bits, limit, found


def golden_cases(learner, weights, bias):
    """Odd texts, and for every label phrases of the lexicon that are answered with it."""
    texts = ["", "Wont start!", "bearing noisy  3", "not holding pressure", "zzz"]
    answers = (encode(learner.phrases) @ weights + bias).argmax(1)
    for label in range(len(learner.labels)):
        texts += [learner.phrases[index] for index in np.nonzero(answers == label)[0][:2]]
    return [{"text": text, "input": dense(encode([text]))[0]} for text in texts]


def write(learner, weights, bias, fact, known, limit, scores):
    """The model folder but for its figures."""
    built = graph.Graph(FOLDER.name)
    built.dense(built.input(TENSOR, DIMS), weights, bias, OUTPUT)
    built.output(OUTPUT, len(bias))
    built.write(FOLDER / "model.onnx")
    (FOLDER / "known.bin").write_bytes(known)
    small = variants.ship(FOLDER, FALLBACK, dense(learner.grams[:variants.CALIBRATION_ROWS]))
    common.write_golden(FOLDER, golden_cases(learner, weights, bias), tasks=[("", OUTPUT, learner.labels)])
    task = {"name": "", "output": OUTPUT, "labels": learner.labels, "alarm": []}
    task |= {key: fact[key] for key in ("temperature", "threshold")}
    manifest = {
        "name": FOLDER.name,
        "version": "2.0.0",
        "kind": "report",
        "description": "ISO 14224 failure mode of an observation in a maintenance report",
        "input": {"tensor": TENSOR, "encoder": {"type": "char-ngrams", "dims": DIMS, "n_min": N_MIN, "n_max": N_MAX}},
        "tasks": [task],
        "scope": scope.table(FOLDER, KNOWN_N, limit),
        "variants": [common.variant(FOLDER), common.variant(FOLDER, FALLBACK, small, tolerance=FALLBACK_TOLERANCE)],
        "golden": common.golden(FOLDER),
        "training": {
            "data": "Failure-mode classification of maintenance observations (502 + 62); own lexicon; unlabelled "
            "phrases of work-order-entities, MaintIE, excavator and MaintNorm; teacher all-MiniLM-L6-v2; scope also "
            "from device-manual and pii",
            "licence": "Apache-2.0 (labels, work-order-entities, device-manual, teacher), MIT (MaintIE, excavator, "
            "MaintNorm, pii)",
            "recipe": "../train/failure_mode.py",
        },
        "scores": scores,
    }
    common.write_manifest(FOLDER, manifest)
    common.measure(FOLDER)


def quality(found, truth):
    """(accuracy, macro-F1), mean of the shuffles."""
    pairs = [((logits.argmax(1) == truth).mean(), common.macro_f1(truth, logits.argmax(1))) for logits in found]
    return np.mean(pairs, 0)


# What is compared: name in the table, settings of Learner.judge.
COMPARED = {
    "n-grams alone": {"lexicon_use": "none", "embedding": None},
    "this model without the lexicon": {"lexicon_use": "none"},
    "teacher, lexicon strict": {"embedding": "embeddings"},
    "this model, lexicon strict": {},
    "this model, lexicon whole (optimistic)": {"lexicon_use": "whole"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with failure-mode/ and the other texts")
    parser.add_argument("--teacher", type=Path, default=common.TEACHER, help="folder of the sentence encoder")
    parser.add_argument("--folds", action="store_true", help="stop after the folds: for choosing settings without dev")
    options = parser.parse_args()
    if not (options.data / "failure-mode").exists() or not (options.teacher / common.TEACHER_GRAPH).exists():
        sys.exit(f"{options.data} or {options.teacher} is not there; name them with --data and --teacher")
    warnings.filterwarnings("ignore", message="The least populated class")
    train, dev = (common.rows(options.data / "failure-mode" / f"{part}.jsonl") for part in ("train", "dev"))
    encoder = Encoder(options.teacher)
    learner = Learner(*zip(*[(row["text"], row["failure_mode"]) for row in train + dev]), encoder, options.data)
    first, second = np.arange(len(train)), np.arange(len(train), len(train + dev))
    truth = learner.truth[first]
    folds = list(shuffles(truth))

    scores, mean = [], {}
    for name, settings in COMPARED.items():
        found = held_out(learner, truth, folds, **settings)
        mean[name] = quality(found, truth)
        if not settings:
            facts = [calibration.calibrate(logits, truth, fold) for logits, fold in zip(found, folds)]
            fact = {key: float(np.mean([own[key] for own in facts])) for key in facts[0]}
        for metric, value in zip(("accuracy", "macro-F1"), mean[name]):
            where = f"train (502), {FOLDS} folds, mean of {len(SHUFFLES)} shuffles: {name}"
            scores.append({"set": where, "task": "", "metric": metric, "value": float(value)})
        print(name, mean[name].round(4), flush=True)

    known, limit, outside = scope_of(learner, folds, options.data)
    print(limit, *outside, sep="\n", flush=True)
    if options.folds:
        return
    for use in ("none", "whole"):
        logits = learner.judge(first, second, use)
        right = logits.argmax(1) == learner.truth[second]
        sure = calibration.softmax(logits, fact["temperature"]).max(1) >= fact["threshold"]
        found = {"accuracy": right.mean(), "macro-F1": common.macro_f1(learner.truth[second], logits.argmax(1))}
        if use == "whole":
            found |= {"precision of accepted": right[sure].mean(), "coverage": sure.mean()}
        where = "dev (62), trained on train" + (", without the lexicon" if use == "none" else "")
        scores += [{"set": where, "task": "", "metric": key, "value": float(value)} for key, value in found.items()]

    # What ships has also seen the dev examples, with the same settings: each class needs all it can get.
    both = np.concatenate([first, second])
    weights, bias = learner.folded(both)
    headline = [score for score in scores if score["set"].endswith(("this model, lexicon strict", "trained on train"))]
    write(learner, weights, bias, fact, known, limit, headline)
    some = learner.pool[:: learner.pool.shape[0] // COMPARED_PHRASES]
    answers = (some @ weights + bias).argmax(1)
    forms = variants.examine(FOLDER, dense(some), lambda out: (out[OUTPUT].argmax(1) == answers).mean())
    teacher, student = (f"{mean[name][0]:.3f}" for name in ("teacher, lexicon strict", "this model, lexicon strict"))
    size = encoder.parameters + DIMS * len(bias)
    distilled = [
        {"role": "teacher", "name": "n-grams and MiniLM, logistic regression", "score": teacher, "parameters": size}
        | {"bytes": encoder.bytes + DIMS * len(bias) * 4, "latency_us": encoder.latency_us(learner.texts[:300])},
        {"role": "student", "name": "this model", "score": student, "parameters": weights.size + bias.size}
        | {"bytes": (FOLDER / "model.onnx").stat().st_size, "latency_us": forms[0].get("latency_us")},
    ]
    common.write_figures(
        FOLDER,
        scores=scores,
        distillation=distilled,
        calibration=[{"task": "", **fact}],
        scope=outside,
        variants=forms,
    )


if __name__ == "__main__":
    main()
