"""The closed list of terms of the entities of work orders, by which they may leave the plant.

An entity's text becomes a term word by word: punctuation at its end goes, abbreviations and slips are put right, plurals
become singular where both are known. Terms are what is left often enough of the labelled entities. Names of people and
companies, numbers and dates are no terms.
"""

import re
from collections import Counter

from tags import plain

# Kinds that name people, companies, numbers and dates.
KINDS_LEFT_OUT = ("Agent", "Cardinality", "Time")
TERM_COUNT_MIN = 2
TERMS_MAX = 8192
# A short form counts where it stands for the same words nearly always.
SHORT_COUNT_MIN, SHORT_SHARE_MIN = 3, 0.85
# A rare word is a slip of a frequent one a single change away; short words have too many neighbours.
SLIP_LETTERS_MIN, SLIP_COUNT_MAX, RIGHT_COUNT_MIN = 6, 2, 10
PLURAL_LETTERS_MIN = 4
TERM = re.compile(r"[a-z][a-z'/-]*( [a-z][a-z'/-]*)*")


def is_short_form(short, full):
    """Whether the letters of one occur in the other in this order, from the first on."""
    letters = iter(full)
    return short[:1] == full[:1] and all(letter in letters for letter in short if letter.isalpha())


def is_one_slip(slip, word):
    """Whether a single letter was left out, added, replaced, or two neighbours swapped; the first letter stays, and
    the end too, where words take their forms."""
    if slip == word or slip[0] != word[0] or slip[-1] != word[-1] or abs(len(slip) - len(word)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(slip, word)) if a != b), min(len(slip), len(word)))
    ends = [(slip[start + 1 :], word[start:]), (slip[start:], word[start + 1 :]), (slip[start + 1 :], word[start + 1 :])]
    swapped = slip[start : start + 2] == word[start : start + 2][::-1] and slip[start + 2 :] == word[start + 2 :]
    return swapped or any(a == b for a, b in ends)


def short_forms(pairs):
    """{short: full} from rows of MaintNorm, where a word stands beside what it means."""
    count, seen = Counter(), Counter()
    for row in pairs:
        for raw, full, after in zip(row["raw"], row["masked"], row["masked"][1:] + ["-"]):
            raw, full = plain(raw), plain(full)
            seen[raw] += 1
            # An empty place says that words were joined: then this one does not stand alone.
            if full != raw and after and re.fullmatch(r"[a-z]+( [a-z]+)*", full) and re.search("[a-z]", raw):
                count[raw, full] += 1
    return {
        raw: full
        for (raw, full), times in sorted(count.items())
        if times >= SHORT_COUNT_MIN
        and times >= SHORT_SHARE_MIN * seen[raw]
        and (is_short_form(raw, full) or is_one_slip(raw, full))
        and not re.search("[ 0]", raw)
    }


def spelt_right(pairs):
    """Words that MaintNorm leaves as they are."""
    count = Counter(plain(raw) for row in pairs for raw, full in zip(row["raw"], row["masked"]) if plain(raw) == plain(full))
    return {word for word, times in count.items() if times > SLIP_COUNT_MAX}


def corrections(counts, short, right):
    """{word: word} for the words of the entities: abbreviations, ends, slips, plurals, in full to the end."""
    step = dict(short)
    clean = Counter()
    for word, times in counts.items():
        bare = word.strip(".,;:!-")
        if bare and bare != word:
            step[word] = bare
        clean[bare] += times
    frequent = [word for word, times in clean.items() if times >= RIGHT_COUNT_MIN and len(word) >= SLIP_LETTERS_MIN]
    for word, times in sorted(clean.items()):
        single = word[:-1]
        if len(word) > PLURAL_LETTERS_MIN and word.endswith("s") and not word.endswith("ss") and single in clean:
            step[word] = single
        elif times <= SLIP_COUNT_MAX and len(word) >= SLIP_LETTERS_MIN and word not in step and word not in right:
            near = sorted((other for other in frequent if is_one_slip(word, other)), key=lambda other: -clean[other])
            if near:
                step[word] = near[0]

    # A full stop or an s may follow words that were never seen with one.
    for word in sorted(clean):
        if word.isalpha() and word not in step and len(word) >= PLURAL_LETTERS_MIN:
            step.setdefault(f"{word}.", word)
            if not word.endswith("s"):
                step.setdefault(f"{word}s", word)
                step.setdefault(f"{word}s.", word)

    def end(word, depth=0):
        after = step.get(word, word)
        if after == word or depth > 4:
            return word
        return " ".join(end(part, depth + 1) for part in after.split(" "))

    return {word: end(word) for word in sorted(set(step) | set(clean)) if end(word) != word}


def build(entities, pairs):
    """{"terms", "aliases", "words"} of (kind, text) pairs of the labelled texts and the rows of MaintNorm."""
    texts = [plain(text) for kind, text in entities if kind not in KINDS_LEFT_OUT]
    words = corrections(Counter(word for text in texts for word in text.split(" ")), short_forms(pairs), spelt_right(pairs))
    count = Counter(" ".join(words.get(word, word) for word in text.split(" ")) for text in texts)
    kept = [(term, times) for term, times in count.items() if times >= TERM_COUNT_MIN and TERM.fullmatch(term)]
    terms = {term for term, _ in sorted(kept, key=lambda item: (-item[1], item[0]))[:TERMS_MAX]}
    # The same words written together or apart.
    aliases, joined = {}, {re.sub("[ /-]", "", term): term for term in sorted(terms, key=lambda term: count[term])}
    for term in sorted(count):
        best = joined.get(re.sub("[ /-]", "", term))
        if best and term not in terms:
            aliases[term] = best
    return {"terms": sorted(terms), "aliases": aliases, "words": words}
