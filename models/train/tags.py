"""Decoding of word tags and lookup of terms: the twins of src/text/tags.rs and src/text/vocabulary.rs.

    entities = decode(logits, words=7, temperature=1.2, outside_bias=-0.5)   # [(type, first word, end word, score)]
"""

import numpy as np

from ngrams import normalise


def path(logits, outside_bias=0.0):
    """The best sequence of tags (O, B-0, I-0, B-1, I-1 …) in which I only follows B or I of its type."""
    logits = np.array(logits, np.float64)
    if not len(logits):
        return []
    logits[:, 0] += outside_bias
    tags = logits.shape[1]
    inside = np.arange(2, tags, 2)
    best, back = logits[0].copy(), []
    best[inside] = -np.inf
    for row in logits[1:]:
        before = np.full(tags, best.argmax())
        before[inside] = np.where(best[inside - 1] >= best[inside], inside - 1, inside)
        back.append(before)
        best = best[before] + row
    out = [int(best.argmax())]
    for before in reversed(back):
        out.append(int(before[out[-1]]))
    return out[::-1]


def entities(tags):
    """{(first word, word after the last, type)} of tag numbers. An I that follows nothing of its type opens one."""
    found, start, kind = set(), 0, None
    for at, tag in enumerate([*tags, 0]):
        own = None if tag == 0 else (tag - 1) // 2
        if kind is not None and (own != kind or tag % 2 == 1):
            found.add((start, at, kind))
            kind = None
        if own is not None and kind is None:
            start, kind = at, own
    return found


def decode(logits, words=None, temperature=1.0, outside_bias=0.0):
    """Entities of one text as (type, first word, word after the last, score), from logits [words or more, tags]."""
    logits = np.asarray(logits)[:words]
    found = sorted(entities(path(logits, outside_bias)))
    return [(kind, start, end, score(logits[start:end], kind, temperature)) for start, end, kind in found]


def score(logits, kind, temperature):
    """Mean probability over the words, without bias, of B or I of the type."""
    scaled = logits / temperature
    power = np.exp(scaled - scaled.max(1, keepdims=True))
    return float((power[:, 1 + 2 * kind : 3 + 2 * kind].sum(1) / power.sum(1)).mean())


_last = (None, None)


def tables(vocabulary):
    """Normalised term to term, alias to term, word to its other form; those of the last vocabulary are kept."""
    global _last
    if _last[0] is not vocabulary:
        terms = {plain(term): term for term in vocabulary["terms"]}
        aliases = {plain(key): terms[plain(term)] for key, term in vocabulary.get("aliases", {}).items()}
        words = {plain(key): plain(other) for key, other in vocabulary.get("words", {}).items()}
        _last = (vocabulary, (terms, aliases, words))
    return _last[1]


def plain(entry):
    """An entry or a piece of a text as it is normalised before lookup."""
    return normalise(entry).strip(" ")


# What may stand around a word and says nothing about what it means.
AROUND = " .,;:!?\"'()[]"


def lookup(text, vocabulary):
    """The term of {"terms", "aliases", "words"} that stands for a text, or None."""
    whole = plain(text)
    bare = whole.strip(AROUND)
    term = find(whole, vocabulary)
    return find(bare, vocabulary) if term is None and bare != whole else term


def find(key, vocabulary):
    """The term that stands for a normalised text, or None."""
    terms, aliases, words = tables(vocabulary)
    if key in aliases:
        return aliases[key]
    return terms.get(" ".join(filter(None, (words.get(word, word) for word in key.split(" ")))))
