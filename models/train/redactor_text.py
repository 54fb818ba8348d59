"""What the redactor learns from: texts with the places of what is to be hidden.

An item is a text and its spans (start, end, type) in characters. MaintNorm gives raw words and what a person made of
each ("1000H" became "<num> hour"); the spans are found by laying the two beside one another.
"""

import re
from typing import NamedTuple

import common
import words

MASKS = ("id", "num", "date", "sensitive")
PLACEHOLDER = re.compile("<(%s)>" % "|".join(MASKS))
PARTS = ("train", "val", "test")
COMPANIES = ("a", "b")
# The personal kinds of the data as far as it is public, and the two of its makers' list that have no example in it.
PERSONAL = (
    "person", "street_address", "gpe", "organization", "credit_card", "date_time", "phone_number", "age", "nrp",
    "zip_code", "email_address", "title", "domain_name", "iban_code", "ip_address", "us_ssn", "us_driver_license",
)  # fmt: skip
TYPES = MASKS + PERSONAL
# "CR871REPLACE", "gk5982-stick": letters and digits, then at most one letter; else capitals and digits ("forDR1442").
GLUED_IDS = (
    re.compile(r"(?<![A-Za-z])[#=/]?[A-Za-z]{0,4}\d+(?:[A-Za-z](?![A-Za-z/]))?"),
    re.compile(r"[A-Z]{0,4}\d+(?:[A-Za-z](?![A-Za-z/]))?"),
    re.compile(r"\w*\d\w*"),
)
# After a masked word, a word without a mask of its own belongs to it if it looks so: "BYF 89", "YQM".
ID_REST = re.compile(r"^(?:\w*\d\w*|[A-Z]{2,4})$")


class Item(NamedTuple):
    """A text with spans, the set it is from and the group that must not be split between folds."""

    text: str
    spans: tuple
    source: str
    group: str


def inner_spans(raw, masked):
    """Spans (start, end, type) inside one raw word whose masked form has at least one placeholder."""
    kinds = PLACEHOLDER.findall(masked)
    rest = PLACEHOLDER.sub("", masked).strip(" -")
    if len(kinds) == 1 and not rest:
        kept = re.fullmatch(r"(-?)(.*?)(-?)", raw) if "-" in PLACEHOLDER.sub("", masked) else None
        return [(kept.start(2), kept.end(2), kinds[0])] if kept else [(0, len(raw), kinds[0])]
    found, place = [], 0
    for kind in kinds:
        if kind == "num":
            match = re.compile(r"\d+").search(raw, place)
        elif kind == "id":
            match = next(filter(None, (form.search(raw, place) for form in GLUED_IDS)), None)
        else:
            word = r"\w+" if masked.startswith("<") else r"\w+$"
            match = re.compile(word).search(raw, place)
        if match:
            found.append((match.start(), match.end(), kind))
            place = match.end()
    return found or [(0, len(raw), kinds[0])]


def maintenance_item(raw, masked, source, group):
    """One work order of MaintNorm."""
    spans, place, before = [], 0, None
    for word, mask in zip(raw, masked):
        if "<" in mask and PLACEHOLDER.search(mask):
            own = inner_spans(word, mask)
            spans += [(place + start, place + end, kind) for start, end, kind in own]
            whole = PLACEHOLDER.fullmatch(mask) or mask.endswith("<sensitive>")
            before = own[-1][2] if whole else None
        elif mask == "" and before in ("sensitive", "date") or (before == "id" and mask == "" and ID_REST.match(word)):
            start, _, kind = spans[-1]
            spans[-1] = (start, place + len(word), kind)
        else:
            before = None
        place += len(word) + 1
    return Item(" ".join(raw), tuple(spans), source, group)


def maintenance(data, company, parts=PARTS):
    """The work orders of one company."""
    found = []
    for part in parts:
        for row in common.rows(data / "maintnorm" / f"company_{company}_{part}.jsonl"):
            found.append(maintenance_item(row["raw"], row["masked"], f"maintnorm-{company}", company))
    return found


def personal(data):
    """The sentences with personal data."""
    found = []
    for row in common.rows(data / "pii" / "sentences.jsonl"):
        spans = sorted((s["start_position"], s["end_position"], s["entity_type"].lower()) for s in row["spans"])
        found.append(Item(row["text"], tuple(spans), "pii", str(row["template_id"])))
    return found


def tags(item, split, types=TYPES):
    """(words, BIO tags as numbers: 0 is O, 1 + 2t begins type t, 2 + 2t goes on)."""
    found = words.words(item.text, split)
    out = [0] * len(found)
    for start, end, kind in item.spans:
        tag = 1 + 2 * types.index(kind)
        for place, word in enumerate(found):
            if word.char_start < end and word.char_end > start:
                out[place] = tag
                tag = 2 + 2 * types.index(kind)
    return found, out
