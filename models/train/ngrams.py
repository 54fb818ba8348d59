"""Hashed character n-grams: the twin of src/text/ngrams.rs for training recipes.

Must give the same vectors as the gateway; tests/text_golden.rs compares. Run as a script it writes the golden
vectors: python3 models/train/ngrams.py tests/golden/ngrams.json
"""

import json
import math
import sys
import unicodedata
from collections import Counter

# Unicode White_Space. str.isspace() differs: it takes U+001C to U+001F for space.
SPACE = frozenset(
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
DIGITS = frozenset("0123456789")
FNV_START = 0x811C9DC5
FNV_FACTOR = 0x01000193


def normalise(text):
    """NFKC, lower case character by character, digit runs to 0, space runs to one space, a space on both sides."""
    out = [" "]
    for wide in unicodedata.normalize("NFKC", text):
        for char in wide.lower():
            if char in SPACE:
                if out[-1] != " ":
                    out.append(" ")
            elif char not in DIGITS:
                out.append(char)
            elif out[-1] != "0":
                out.append("0")
    if out[-1] != " ":
        out.append(" ")
    return "".join(out) if len(out) > 1 else ""


def fnv1a(data, value=FNV_START):
    """32-bit FNV-1a, continued from `value`."""
    for byte in data:
        value = (value ^ byte) * FNV_FACTOR & 0xFFFFFFFF
    return value


def counts(text, dims, n_min, n_max):
    """How often each entry of the vector is hit."""
    assert dims >= 2 and dims & (dims - 1) == 0 and 1 <= n_min <= n_max <= 8
    hit = Counter()
    text = normalise(text)
    for n in range(n_min, n_max + 1):
        for gram, count in Counter(text[i : i + n] for i in range(len(text) - n + 1)).items():
            hit[fnv1a(gram.encode()) & (dims - 1)] += count
    return hit


def encode_sparse(text, dims=2048, n_min=1, n_max=4):
    """(index, value) by rising index; 1 + ln(count), scaled to length 1."""
    weights = {index: 1 + math.log(count) for index, count in sorted(counts(text, dims, n_min, n_max).items())}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return [(index, weight / length) for index, weight in weights.items()]


def encode(texts, dims=2048, n_min=1, n_max=4):
    """Matrix of float32, one row per text; all zero for a text without characters."""
    import numpy

    matrix = numpy.zeros((len(texts), dims), dtype=numpy.float32)
    for row, text in enumerate(texts):
        for index, value in encode_sparse(text, dims, n_min, n_max):
            matrix[row, index] = value
    return matrix


def encode_rows(texts, dims, n_min, n_max):
    """The same as a sparse matrix of float64, for scikit-learn."""
    from scipy import sparse

    rows, columns, values = [], [], []
    for row, text in enumerate(texts):
        for column, value in encode_sparse(text, dims, n_min, n_max):
            rows.append(row), columns.append(column), values.append(value)
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), dims))


def golden_texts():
    """Texts that a careless twin would get wrong. {"text", "repeat"}: repeated that often, to keep the file small."""
    once = [
        "", " ", "\t\r\n", "a", "A", "0", "7", "42", "007", "1 2 3", "0 0", "a1b22c333",
        "Pump leaking", "PUMP  LEAKING!", "replace hyd. hose 3/4\"", "Boom cyl. leaks oil - bucket won't curl",
        "6,5 bar @ 14:07:33 on 2026-11-20", "-12.5e-3 °C", "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M*47",
        "Überhitzung am Lager 6205", "GROSSES MAẞ: STRASSE, straße", "ΟΔΟΣ ΣΑΣ ς", "\u0130stanbul I\u0307 ı",
        "ﬁlter ﬂow ½ ² ① Ⅷ ℃ Å", "e\u0301 é E\u0301 É", "\u1100\u1161\u11a8 각", "ｆｕｌｌ　ｗｉｄｔｈ １２３",
        "液圧ポンプの漏れ", "泵漏油，请更换密封件。", "насос течёт; замена №5", "مضخة ٣٤٥ تسرب", "पंप १२३ रिसाव",
        "no\u00a0break\u2007figure\u202fnarrow", "zero\u200bwidth\u200djoiner\ufeffmark", "sep\u001carated\u001f\u0085next\u180evowel",
        "line one\nline two\r\n\tline three\u2028line four", "😀👩‍🔧🔧 fixed 👍🏽", "\U0001d400\U0001d401 \U0001d7d8\U0001d7d9", "\u0000nul\u0007bell",
        "a\u0315\u0300\u05ae\u0300\u0062", "q\u0307\u0323 q\u0323\u0307", "ǅ ǈ Ǌ", "ﷺ", "aaaaaaaaaaaaaaaaaaaaaaaa", "ab ab ab ab ab ab", "#", "...", "c", "bc", " x ",
    ]
    repeated = [("x", 65536), ("leak ", 13107), ("é1 ", 16384), ("0123456789", 6553), ("Σ\u3000", 13107), ("ﷺ", 3000),
                ("The quick brown fox jumps over 13 lazy dogs. ", 1456), (" ", 65536), ("\u0300", 200)]
    return [{"text": text, "repeat": 1} for text in once] + [{"text": text, "repeat": n} for text, n in repeated]


def main(path):
    cases = []
    for number, case in enumerate(golden_texts()):
        shape = [(2048, 1, 4), (256, 2, 3), (1 << 20, 1, 8)][number % 3]
        sparse = encode_sparse(case["text"] * case["repeat"], *shape)
        dims, n_min, n_max = shape
        cases.append({**case, "dims": dims, "n_min": n_min, "n_max": n_max, "normalised": normalise(case["text"]),
                      "index": [index for index, _ in sparse], "value": [float(f"{value:.9g}") for _, value in sparse]})
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
