"""Writes words.json: what models/train/words.py and tags.py say, for the gateway to agree with.

python3 tests/golden/make_words.py tests/golden/words.json    (numpy 2.4.6)
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "train"))

import numpy as np  # noqa: E402
import ngrams  # noqa: E402
import tags  # noqa: E402
import words  # noqa: E402

SEED = 20261120
MADE_UP = 260
CONFIGS = [
    words.Config(split=split, dims=dims, n_min=n_min, n_max=n_max, grams=grams, lengths=lengths)
    for split, (dims, n_min, n_max, grams, lengths) in zip(
        words.SPLITS * 2,
        [
            (8192, 3, 4, 20, (8, 16, 32, 64)),
            (8192, 3, 4, 20, (8, 16)),
            (4099, 2, 5, 12, (4, 8)),
            (3, 1, 8, 3, (1,)),
            (65536, 1, 3, 64, (16, 32)),
            (8191, 4, 4, 20, (8, 512)),
        ],
    )
]
OWN = [
    "1000H Mech Insp TRK Roll 2 LH OO9426", "hyd. hose 3/4\" burst", "C/O Fuel-tank breather", "24V,5A (±10%)", "a_b-c.d",
    "e\u0301te\u0301 e\u0301", "\u0301lone mark", "5\u0301 5\u20e3", "ǅungla ǈ", "ⓐⒷ🄰🅐🅰", "Ⅷ ⅷ ½", "ª º ʰ", "中文、日本語。", "हिन्दी १२", "x\u00adsoft",
    "a\u200db a\u200cb", "STRASSE ẞ ß", "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen", "ﬁﬂﬃ", "ﷺﷺﷺ", "ＡＢ１２",
    "x" * 300, "0123456789" * 9, "Ab1" * 50, "a" * 11, "A" * 12, "0" * 13, "İI ıi", "\ufeffbom", "tab\tnew\nline\r\nnel\u0085x", "a\u001cb",
]
LETTERS = list("abcXYZ019 .,-/()'\"°µ") + ["é", "e\u0301", "Ω", "ß", "\u00a0", "１", "中", "🔧", "ﬁ", "\u0327", "Ⅳ", "\t"]


def texts():
    """The texts of the n-gram golden file and some more, with how often each is repeated."""
    own = [(case["text"], min(case["repeat"], 40)) for case in ngrams.golden_texts()] + [(text, 1) for text in OWN]
    pick = random.Random(SEED)
    made = ["".join(pick.choices(LETTERS, k=pick.randint(1, 40))) for _ in range(MADE_UP)]
    return own + [(text, 1) for text in made]


def word_cases():
    """Row, words and their places of every text, each under one of the configurations."""
    for number, (text, repeat) in enumerate(texts()):
        config = CONFIGS[number % len(CONFIGS)]
        ids, found = words.encode([text * repeat], config)
        # One number per row keeps the file small: FNV-1a over the ids in decimal, each with a space behind.
        row = words.fnv1a("".join(f"{value} " for value in ids[0].ravel()).encode())
        yield {
            "text": text, "repeat": repeat, "config": number % len(CONFIGS), "row": row, "width": ids.shape[1],
            "first": ids[0, 0].tolist(), "spans": [[word.start, word.end] for word in found[0]],
        }


def known_cases():
    """Shares of texts in a bit set made of others."""
    seen = [text for text, _ in texts()[::3]]
    for n, bits in ((4, 1 << 11), (3, 1 << 9), (8, 1 << 19)):
        made = words.known_bits(seen, n, bits)
        shares = [words.known_share(text, made, n) for text, _ in texts()]
        set_bits = [place for place in range(bits) if made[place >> 3] >> (place & 7) & 1]
        yield {"n": n, "bytes": bits // 8, "set": set_bits, "shares": [round(share, 7) for share in shares]}


def tag_cases():
    """Decoded logits."""
    pick = np.random.default_rng(SEED)
    for number in range(60):
        types, count = int(pick.integers(1, 5)), int(pick.integers(0, 12))
        logits = (pick.normal(size=(count, 1 + 2 * types)) * 2).round(3)
        temperature, bias = [(1.0, 0.0), (1.5, -1.0), (0.7, 0.5)][number % 3]
        entities = tags.decode(logits.astype(np.float32), None, temperature, bias)
        yield {
            "types": types, "temperature": temperature, "outside_bias": bias, "logits": logits.ravel().tolist(),
            "entities": [[kind, first, end, round(score, 6)] for kind, first, end, score in entities],
        }


VOCABULARY = {
    "terms": ["hydraulic pump", "Air Conditioner", "bolt", "hourly service", "o-ring"],
    "aliases": {"hyd pmp": "hydraulic pump", "AC": "air conditioner", "½ bolt": "bolt", "500 hour service": "hourly service"},
    "words": {"hyd": "hydraulic", "a/c": "air conditioner", "bolts": "bolt", "the": "", "svce": "Service", "1h": "500 hour"},
}
PIECES = [
    "HYD  PMP", "hyd pump", "the hydraulic pump", "A/C", "ac", "Bolts\n", "1000 hour svce", "7H service", "\u00bd BOLT", "1\u20442 bolt",
    "ｈｙｄ\u3000ｐｕｍｐ", "pump", "hyd pmp bolts", "the", "the the", "", " ", "o-ring", "O‑ring", "oring", "bolt bolt", "bolts,", "(hyd pmp).", "a/c;", "hyd, pump", ",", "the,", "\"bolt\" !",
]


def term_cases():
    """Terms that stand for pieces of texts."""
    for piece in PIECES:
        yield {"text": piece, "term": tags.lookup(piece, VOCABULARY)}


def main(path):
    vocabulary = json.dumps(VOCABULARY)
    lists = {
        "configs": [config.manifest() for config in CONFIGS], "words": list(word_cases()),
        "known": list(known_cases()), "tags": list(tag_cases()), "vocabulary": [vocabulary], "terms": list(term_cases()),
    }
    body = ",\n".join(f'"{key}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for key, rows in lists.items())
    Path(path).write_text("{" + body + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
