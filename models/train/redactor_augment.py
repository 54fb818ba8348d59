"""New ids, numbers, names and words in known texts, and texts put together from pieces.

Every function takes the random generator; the same seed gives the same texts.
"""

import re

from redactor_fill import any_case, common_word, digits, form_like
from redactor_text import Item

# Of the words of a language by frequency, so many are never replaced.
GRAMMAR_WORDS = 120
# Forms of asset and part numbers: A a letter, 9 a digit, ~ a space, anything else itself. From one to many letters, with
# and without separators, letters before and after, as tag standards and plants' own habits have them.
ID_FORMS = """A99 A999 A9999 AA9 AA99 AA999 AA9999 AA99999 AAA9 AAA99 AAA999 AAA9999 AAA99999 AAAA99 AAAA999 AAAA9999
AAAAA99 AAAAA999 A-99 A-999 A-999A AA-99 AA-999 AA-9999 AAA-99 AAA-999 AAA-9999 AAAA-999 AA-9-99 AA-99-99 99-AA-999 99-AA-99A
999-AA-99 9AA999 99AA99 99A 999A 9999A A99A A999A AA99A AA999A AA9999A AAA99A AAA999A A9A99 9A9999 A9A999999 AA/99
AAA/999 AA.999 AAA_99 AA99-A AA99/99 AA999-99 AAA99-99A 999-9999 99-9999 9999-99 #AA99 #AA999 #AAA99 AA~99 AA~999 AAA~99 AAA~999
AAA~9999 A~9999 AA99AA AA99AA99 AAA-AAA-999 99.AAA.99 AA=999 9999AA99""".split()
# How hours are written after a service interval.
HOURS = re.compile(r"^( ?)(?:HOURS?|HRS?|H|hours?|hrs?|h|Hrs?|Hours?)\b")
HOURS_FORMS = ("H", "H", "h", "HR", "hr", "HRS", "hrs", "Hr", " H", " HR", " hrs", " hours", " HOUR")


def sentence(rng, filler):
    """Pieces of sentences, half of them with personal data, as one text."""
    pieces = [rng.choice(filler.words["frame" if rng.random() < 0.5 else "common"]) for _ in range(rng.randrange(1, 7))]
    text = pieces[0]
    for piece in pieces[1:]:
        text += rng.choice([" ", " ", " ", " ", ", ", ". ", " and ", " but ", ": "]) + piece
    item = filler.fill(text[:1].upper() + text[1:] + rng.choice(["", ".", ".", "?", "!"]))
    return item._replace(text=any_case(rng, item.text, 0.08, 0.05))


def refilled(item, filler, share=0.85):
    """A sentence with other personal data in the same places."""
    text, spans, last = "", [], 0
    for start, end, kind in item.spans:
        text += item.text[last:start]
        old = item.text[start:end]
        own = old if filler.rng.random() > share else filler.one(kind, form_like(kind, old))
        spans.append((len(text), len(text) + len(own), kind))
        text, last = text + own, end
    return item._replace(text=text + item.text[last:], spans=tuple(spans))


def reworded(item, rng, vocabulary, share=0.3):
    """A text with some of its plain words replaced by others of the language, so that a word never seen is not taken
    for a name because of that. `vocabulary` is by falling frequency; the commonest, mostly grammar, stay."""
    kept, others = set(vocabulary[:GRAMMAR_WORDS]), vocabulary[GRAMMAR_WORDS:]
    parts, last = [], 0
    for start, end, kind in [*item.spans, (len(item.text), len(item.text), None)]:
        own = item.text[last:start]
        out, place = "", 0
        for word in re.finditer(r"(?<![\w'])[A-Za-z]{3,}(?![\w'])", own):
            new = word[0]
            if rng.random() < share and new.lower() not in kept:
                new = common_word(rng, others)
                new = new.upper() if word[0].isupper() else new.capitalize() if word[0][0].isupper() else new
            out += own[place : word.start()] + new
            place = word.end()
        parts += [(out + own[place:], None), (item.text[start:end], kind)]
        last = end
    return together(parts, item)


def new_id(rng):
    """A made-up id."""
    text = digits(rng, rng.choice(ID_FORMS))
    chance = rng.random()
    return text.lower() if chance < 0.1 else text.title() if chance < 0.14 else text


def altered(item, rng, filler):
    """A work order with other ids and numbers, sometimes at other places and in other case."""
    parts, last = [], 0
    form = rng.choice(ID_FORMS) if rng.random() < 0.7 else None
    for start, end, kind in item.spans:
        own = item.text[start:end]
        between = item.text[last:start]
        if parts and parts[-1][1] == "num" and rng.random() < 0.5:
            between = HOURS.sub(lambda _: rng.choice(HOURS_FORMS), between)
        parts.append((between, None))
        if kind == "id" and any(c.isdigit() for c in own) and any(c.isalpha() for c in own):
            own = digits(rng, form) if form and not parts[:-1] else new_id(rng) if rng.random() < 0.5 else own
        elif kind == "num" or own.isdigit():
            own = digits(rng, re.sub(r"\d", "9", own)) if rng.random() < 0.7 else own
        elif kind == "sensitive" and rng.random() < 0.7:
            own = filler.one("organization") if rng.random() < 0.8 else filler.one("person", "first")
            own = any_case(rng, own, 0.1, 0.5)
        parts.append((own, kind))
        last = end
    after = item.text[last:]
    if parts and parts[-1][1] == "num" and rng.random() < 0.5:
        after = HOURS.sub(lambda _: rng.choice(HOURS_FORMS), after)
    parts.append((after, None))
    return joined(moved(parts, rng), item, rng)


def moved(parts, rng):
    """The leading id put elsewhere, left out or joined otherwise to what follows."""
    if len(parts) < 3 or parts[0][0] or parts[1][1] != "id" or not parts[2][0].startswith((" ", "-")):
        return parts
    chance, (_, leading, (after, _), *rest) = rng.random(), parts
    body = after.lstrip(" -:")
    if chance < 0.15:
        return [("", None), (body, None), *rest, (" ", None), leading]
    if chance < 0.22:
        return [(body, None), *rest]
    if chance < 0.3 and " " in body:
        head, tail = body.split(" ", 1)
        return [(head + " ", None), leading, (" " + tail, None), *rest]
    if chance < 0.5:
        return [leading, (rng.choice(["-", ": ", ", ", " - ", "- ", " -", "/", "", " : ", "; "]) + body, None), *rest]
    return parts


def joined(parts, item, rng):
    """The item of (text, kind or None) parts, sometimes in other case."""
    item = together(parts, item)
    return item._replace(text=any_case(rng, item.text, 0.08, 0.15))


def together(parts, item):
    """The item of (text, kind or None) parts."""
    text, spans = "", []
    for own, kind in parts:
        if kind:
            spans.append((len(text), len(text) + len(own), kind))
        text += own
    return item._replace(text=text, spans=tuple(spans))


def equipped(text, rng, filler):
    """A work order made of a text without anything to hide, with ids, numbers and names put between its words."""
    pieces = [(word, None) for word in text.split(" ")]

    def insert(place, parts):
        pieces[place:place] = parts

    for _ in range(rng.choice([0, 0, 1, 2])):
        own = filler.pick("acronym") if rng.random() < 0.6 else digits(rng, rng.choice(["A", "AA", "AAA", "AAAA"]))
        insert(rng.randrange(len(pieces) + 1), [(own, None)])
    for _ in range(rng.choice([0, 1, 1, 2])):
        form = re.split(r"[\[\]]", filler.pick("num_form"))
        group = [(digits(rng, own), "num" if odd % 2 else None) for odd, own in enumerate(form) if own]
        insert(rng.randrange(len(pieces) + 1), [group])
    if rng.random() < 0.12:
        before, after = filler.pick("sensitive_form").split("{x}")
        name = filler.one("organization", "made") if rng.random() < 0.8 else filler.one("person", "first")
        name = any_case(rng, name, 0.1, 0.4)
        insert(rng.choice([0, len(pieces)]), [[(before, None), (name, "sensitive"), (after, None)]])
    if rng.random() < 0.06:
        d, m, y = rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(0, 30)
        day, full = f"{d:02}/{m:02}", f"{d:02}/{m:02}/20{y:02}"
        month = f"{filler.pick('month')[:3].upper()}{y:02}"
        dates = (day, f"{d}/{m}/{y:02}", full, month, f"{d}.{m}.{y:02}", f"{d} {filler.pick('month')}")
        insert(len(pieces), [(rng.choice(dates), "date")])
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        glue = [(rng.choice(["-", ":", " -", " - ", ",", ""]), None)] if rng.random() < 0.3 else []
        insert(rng.choice([0, 0, 0, len(pieces), rng.randrange(len(pieces) + 1)]), [[(new_id(rng), "id"), *glue]])
    parts = []
    for piece in pieces:
        parts += [(" ", None)] if parts else []
        parts += piece if isinstance(piece, list) else [piece]
    return joined(parts, Item("", (), "equipped", ""), rng)
