"""Words as hashed character n-grams: the twin of src/text/words.rs and src/text/known.rs for training recipes.

Must give the same ids, spans and shares as the gateway; tests/words_golden.rs and models/train/equal.py compare.

    config = Config(split="punctuation", dims=8192, lengths=(16, 32, 64))
    ids, words = encode(["Hyd. pump leaks 3/4\""], config)   # ids [texts, words, grams] int64, words[0][0].start

Words of a character newer than Unicode 14, the version of Python 3.11, may be split otherwise by the gateway.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ngrams import DIGITS, SPACE, fnv1a, normalise

SPLITS = ("space", "punctuation", "classes")
SHAPE_CHARS = 12
# What is alphabetic in Unicode without being letter, number or mark: circled and squared letters.
ALPHABETIC_SIGNS = ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189))


@dataclass(frozen=True)
class Config:
    """The `encoder` table of a manifest."""

    split: str = "space"
    dims: int = 8192
    n_min: int = 3
    n_max: int = 4
    grams: int = 20
    lengths: tuple = (8, 16, 32, 64)

    def __post_init__(self):
        object.__setattr__(self, "lengths", tuple(self.lengths))
        assert self.split in SPLITS and self.dims >= 3 and 1 <= self.n_min <= self.n_max <= 8 and self.grams >= 3
        assert self.lengths and all(a < b for a, b in zip((0, *self.lengths), self.lengths))

    def manifest(self):
        """The table as common.toml writes it."""
        return {"type": "word-grams", **vars(self), "lengths": list(self.lengths)}


class Word(NamedTuple):
    """A word of a text, in bytes of its UTF-8 and in characters."""

    text: str
    start: int
    end: int
    char_start: int
    char_end: int


@lru_cache(maxsize=None)
def in_run(char):
    """Whether a character is alphanumeric or a mark: those stay together."""
    if unicodedata.category(char)[0] in "LNM":
        return True
    return any(low <= ord(char) <= high for low, high in ALPHABETIC_SIGNS)


def pieces_of(word, split):
    """Cuts a run without white space: (start, end) in characters."""
    if split == "space":
        return [(0, len(word))]
    kinds = [
        None if not in_run(char) else "0" if split == "classes" and char in DIGITS else "x" for char in word
    ]
    out, start = [], 0
    for end in range(1, len(word) + 1):
        if end == len(word) or kinds[end] is None or kinds[end] != kinds[end - 1]:
            out.append((start, end))
            start = end
    return out


def words(text, split="space"):
    """The words of a text with their places."""
    out, start, byte = [], None, 0
    for place, char in enumerate(text + " "):
        if char not in SPACE:
            start = place if start is None else start
            continue
        if start is not None:
            run = text[start:place]
            for low, high in pieces_of(run, split):
                size = len(run[low:high].encode())
                out.append(Word(run[low:high], byte, byte + size, start + low, start + high))
                byte += size
            start = None
        byte += len(char.encode())
    return out


def normalise_word(word):
    """NFKC, lower case character by character, each ASCII digit to 0."""
    return "".join(
        "0" if char in DIGITS else char for wide in unicodedata.normalize("NFKC", word) for char in wide.lower()
    )


def shape(word):
    """The first characters as classes: X upper case, x lower case, 0 ASCII digit, anything else itself."""
    return "".join(
        "X" if char.isupper() else "x" if char.islower() else "0" if char in DIGITS else char
        for char in word[:SHAPE_CHARS]
    )


@lru_cache(maxsize=1 << 20)
def word_ids(word, config):
    """The ids of one word, at most config.grams, without padding."""
    plain = normalise_word(word)
    hashes = [fnv1a(("w" + plain).encode()), fnv1a(("s" + shape(word)).encode())]
    marked = [char.encode() for char in "<" + plain + ">"]
    for start in range(len(marked)):
        if len(hashes) >= config.grams:
            break
        value = fnv1a(b"g")
        for length, char in enumerate(marked[start : start + config.n_max], 1):
            value = fnv1a(char, value)
            if length >= config.n_min:
                hashes.append(value)
    return tuple(1 + value % (config.dims - 1) for value in hashes[: config.grams])


def ids(text, config=Config()):
    """One list of ids per word of the text, all words, without padding."""
    return [list(word_ids(word.text, config)) for word in words(text, config.split)]


def bucket(count, config):
    """The smallest length that holds `count` words; the greatest if none does."""
    return next((length for length in config.lengths if length >= count), config.lengths[-1])


def encode_tokens(tokens, config=Config(), length=None):
    """Ids [texts, words, grams] of texts given as lists of words; `length` words wide (default: the smallest of
    config.lengths that holds the longest), the rest cut."""
    length = length or bucket(max(map(len, tokens), default=0), config)
    out = np.zeros((len(tokens), length, config.grams), np.int64)
    for row, own in zip(out, tokens):
        for place, word in zip(row, own):
            found = word_ids(word, config)
            place[: len(found)] = found
    return out


def encode(texts, config=Config(), length=None):
    """(ids [texts, words, grams] int64, the Words of each text, uncut)."""
    found = [words(text, config.split) for text in texts]
    return encode_tokens([[word.text for word in own] for own in found], config, length), found


@lru_cache(maxsize=1 << 20)
def _known_hash(gram):
    return fnv1a(("k" + gram).encode())


def known_grams(text, n):
    """Hashes of the n-grams of the normalised text; a text shorter than that is one gram."""
    text = normalise(text)
    return [_known_hash(text[start : start + n]) for start in range(max(1, len(text) - n + 1))]


def known_bits(texts, n=4, bits=1 << 16):
    """The bit set of the n-grams of `texts`: bits / 8 bytes, what known.bin holds."""
    assert bits & (bits - 1) == 0 and 128 <= bits <= 1 << 19
    flags = np.zeros(bits, np.uint8)
    for text in texts:
        flags[[value % bits for value in known_grams(text, n)]] = 1
    return np.packbits(flags, bitorder="little").tobytes()


def known_share(text, bits, n=4):
    """Share of the n-grams of a text that are in the bit set (bytes)."""
    size = len(bits) * 8
    grams = known_grams(text, n)
    places = [value % size for value in grams]
    return sum(bits[place >> 3] >> (place & 7) & 1 for place in places) / len(grams)
