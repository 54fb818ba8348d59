"""What a text model must not judge: the share of known n-grams below which a text is out of scope, and other texts."""

import re

import numpy as np

import common
import words

# One held-out text in twenty may be refused.
FALSE_REJECTION = 0.05


def foreign(data):
    """{name: texts} that are no maintenance texts."""
    sentence = re.compile(r"(?<=[.])\s+")
    abstracts = [row["text"] for row in common.rows(data / "cranfield" / "docs.jsonl")]
    lines = (data / "ship" / "plaka.log").read_text("utf-8", errors="replace").splitlines()
    reports = [row["text"] for row in common.rows(data / "marine-incidents" / "reports.jsonl")]
    return {
        "cranfield, sentences": [part for text in abstracts[::4] for part in sentence.split(text) if len(part) > 20],
        "pii, sentences": [row["text"] for row in common.rows(data / "pii" / "sentences.jsonl")],
        "marine reports": reports[::8],
        "marine reports, first sentence": [sentence.split(text)[0] for text in reports[::8]],
        "NMEA 0183 lines": [line for line in lines[::100] if line.strip()],
    }


def limit(texts, fold, others, n, bits):
    """(limit, shares of the held-out texts): each text is measured by the n-grams of the other folds and of `others`."""
    shares = np.zeros(len(texts))
    for number in np.unique(fold):
        held = {text for text, own in zip(texts, fold) if own == number}
        seen = [text for text, own in zip(texts, fold) if own != number] + [text for text in others if text not in held]
        known = words.known_bits(seen, n, bits)
        shares[fold == number] = [words.known_share(text, known, n) for text, own in zip(texts, fold) if own == number]
    return float(np.quantile(shares, FALSE_REJECTION)), shares


def table(folder, n, least):
    """The [scope] table of a folder in which known.bin stands."""
    digest = common.digest(folder / "known.bin")
    return {"kind": "known-grams", "n": n, "file": "known.bin", "sha256": digest, "limit": least}


def rows(known, n, least, held_out, inputs):
    """Rows for figures.json: (name, shares) of the held-out texts first, then each set of `inputs`."""
    name, shares = held_out
    found = [{"inputs": name, "count": len(shares), "rejected": float(np.mean(shares < least))}]
    for name, texts in inputs.items():
        rejected = np.mean([words.known_share(text, known, n) < least for text in texts])
        found.append({"inputs": name, "count": len(texts), "rejected": float(rejected)})
    return found
