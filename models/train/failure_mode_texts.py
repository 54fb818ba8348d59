"""The texts of failure_mode.py: labelled observations, the lexicon, phrases without labels, and which lexicon phrases a
fold may learn from."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np

import common
import ngrams

LEXICON = Path(__file__).with_name("failure_mode_lexicon.toml")
PHRASE_WORDS_MAX = 4
PHRASE_COUNT_MIN = 3
# How observations are put; words of the lexicon go into the gap. The teacher says what the result means.
FRAMES = (
    "not {}", "wont {}", "will not {}", "doesnt {}", "needs {}", "requires {}", "keeps {}", "has {}", "badly {}",
    "no {}", "very {}", "high {}", "low {}", "starting to {}", "{} issue",
)  # fmt: skip
WORD_LETTERS_MIN = 4
# Letters that a word is recognised by when a fold's lexicon is cut to the words of its training texts.
STEM = 4


def bare(text):
    """What is left of a text for comparison: letters and digit runs."""
    return re.sub("[^a-z0-9]", "", ngrams.normalise(text))


def stems(text):
    """The beginnings of its words."""
    return frozenset(word[:STEM] for word in re.findall("[a-z]+", ngrams.normalise(text)))


def lexicon(labels):
    """(phrases, index of the label of each)."""
    entries = tomllib.loads(LEXICON.read_text("utf-8"))
    assert sorted(entries) == labels, "every label needs phrases"
    pairs = [(phrase, labels.index(label)) for label, phrases in entries.items() for phrase in phrases]
    return [phrase for phrase, _ in pairs], np.array([label for _, label in pairs])


def allowed(phrases, known, judged, strict):
    """Indices of the lexicon phrases that may be learnt from where `judged` texts are answered. None that is one of
    them. Strict: also none with a word that only they have and `known` have not, and none made of the same words; what
    the author may have picked up from them is out, and much that he knew anyway."""
    texts, words = {bare(text) for text in judged}, {stems(text) for text in judged}
    fresh = set().union(*words) - set().union(*map(stems, known))
    found = []
    for index, phrase in enumerate(phrases):
        if bare(phrase) in texts or strict and (stems(phrase) in words or stems(phrase) & fresh):
            continue
        found.append(index)
    return found


def corpora(data):
    """Maintenance texts without labels, and the observations marked in some of them."""
    texts, observations = [], set()
    for part in ("train", "dev"):
        for row in common.rows(data / "work-order-entities" / f"{part}.jsonl"):
            texts.append(" ".join(row["tokens"]))
            joined = " ".join(token for token, tag in zip(row["tokens"], row["tags"]) if tag.endswith("-Observation"))
            observations.add(ngrams.normalise(joined).strip())
    texts += [row["text"] for row in common.rows(data / "maintie" / "train.jsonl")]
    texts += [row["OriginalShorttext"] for row in common.rows(data / "excavator" / "work_orders.jsonl")]
    for company in ("a", "b"):
        texts += [" ".join(row["masked"]) for row in common.rows(data / "maintnorm" / f"company_{company}_train.jsonl")]
    plain = {ngrams.normalise(re.sub("<[a-z]+>", " ", text)).strip() for text in texts}
    return sorted(plain - {""}), observations - {""}


def phrases(data, lexicon_phrases, labelled):
    """Texts for the teacher: short runs of words that occur often enough, observations, words of the lexicon alone and
    in frames. None of the labelled texts is among them."""
    texts, observations = corpora(data)
    counts = Counter()
    for text in texts:
        words = re.findall(r"[a-z]+(?:'[a-z]+)?", text)
        for size in range(1, PHRASE_WORDS_MAX + 1):
            counts.update(" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
    found = {phrase for phrase, count in counts.items() if count >= PHRASE_COUNT_MIN} | observations
    words = {word for phrase in lexicon_phrases for word in re.findall("[a-z]+", phrase)}
    words = {word for word in words if len(word) >= WORD_LETTERS_MIN}
    found |= words | {frame.format(word) for word in words for frame in FRAMES}
    banned = {bare(text) for text in labelled}
    return sorted(phrase for phrase in found if bare(phrase) not in banned)
