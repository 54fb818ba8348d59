#!/usr/bin/env python3
"""The tables of the model cards, from figures.json of each model.

cards.py           writes models/*/README.md between the marks
cards.py --check   fails if a card does not say what the figures say

Needs nothing but Python. A card holds a table between <!-- scores --> and <!-- /scores -->, and so on for each table of
TABLES; the recipe of the model writes figures.json.
"""

import json
import re
import sys
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
# Per table: (key of a row, heading, format). A key missing in all rows takes its column with it.
TABLES = {
    "scores": [("set", "set", "s"), ("task", "task", "s"), ("metric", "metric", "s"), ("value", "value", ".3f")],
    "distillation": [
        ("role", "", "s"),
        ("name", "network", "s"),
        ("score", "score", "s"),
        ("parameters", "parameters", ",d"),
        ("bytes", "bytes", ",d"),
        ("latency_us", "µs", ",.0f"),
    ],
    "calibration": [
        ("task", "task", "s"),
        ("temperature", "temperature", ".2f"),
        ("ece_before", "ECE before", ".3f"),
        ("ece_after", "ECE after", ".3f"),
        ("threshold", "threshold", ".3f"),
        ("precision", "precision of accepted", ".3f"),
        ("coverage", "coverage", ".3f"),
    ],
    "scope": [("inputs", "inputs", "s"), ("count", "number", ",d"), ("rejected", "out of scope", ".1%")],
    "variants": [
        ("name", "variant", "s"),
        ("bytes", "bytes", ",d"),
        ("score", "score", ".3f"),
        ("engine", "in the engine", "s"),
        ("memory", "memory", ",d"),
        ("latency_us", "µs", ",.1f"),
        ("reference_us", "µs, ONNX Runtime", ",.1f"),
        ("shipped", "", "s"),
    ],
}


def table(rows, columns):
    """Markdown."""
    used = [column for column in columns if any(column[0] in row for row in rows)]

    def cell(row, key, form):
        value = row.get(key)
        if value is None or value == "":
            return "–"
        return format(round(value) if form.endswith("d") else value, form)

    lines = ["| " + " | ".join(heading for _, heading, _ in used) + " |", "|" + "---|" * len(used)]
    lines += ["| " + " | ".join(cell(row, key, form) for key, _, form in used) + " |" for row in rows]
    return "\n".join(lines)


def filled(card, figures):
    """The card with its tables; a table without a place in the card is an error, so is a place without figures."""
    for name, columns in TABLES.items():
        mark = f"<!-- {name} -->", f"<!-- /{name} -->"
        if (name in figures) != (mark[0] in card):
            raise SystemExit(f"{mark[0]} stands in the card or in figures.json, not in both")
        if name in figures:
            text = f"{mark[0]}\n{table(figures[name], columns)}\n{mark[1]}"
            card = re.sub(f"{mark[0]}.*{mark[1]}", lambda _: text, card, flags=re.DOTALL)
    return card


def write(folder):
    """Fills the card of one model and prints its tables."""
    card = folder / "README.md"
    figures = json.loads((folder / "figures.json").read_text("utf-8"))
    card.write_text(filled(card.read_text("utf-8"), figures), "utf-8")
    for name, columns in TABLES.items():
        if name in figures:
            print(f"\n{folder.name}: {name}\n{table(figures[name], columns)}", flush=True)


def main():
    checking = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not checking:
        sys.exit(__doc__)
    stale = []
    for figures in sorted(MODELS.glob("*/figures.json")):
        card = figures.parent / "README.md"
        text = card.read_text("utf-8")
        if checking and filled(text, json.loads(figures.read_text("utf-8"))) != text:
            stale.append(figures.parent.name)
        elif not checking:
            write(figures.parent)
    if stale:
        sys.exit(f"the tables of {', '.join(stale)} are not those of figures.json: run models/train/cards.py")


if __name__ == "__main__":
    main()
