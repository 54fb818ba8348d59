"""Made-up texts for the redactor: new ids, numbers and names in known texts, personal data in templates.

Every function takes the random generator; the same seed gives the same texts.
"""

import re
import tomllib
from pathlib import Path

from redactor_text import Item

HERE = Path(__file__).resolve().parent
PLACE = re.compile(r"\{(\w+)(?::(\w+))?\}")
# Of the words of a language by frequency, so many are never replaced.
GRAMMAR_WORDS = 120
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Forms of asset and part numbers: A a letter, 9 a digit, anything else itself. From one to many letters, with and without
# separators (~ is a space), letters before and after, as tag standards and plants' own habits have them.
ID_FORMS = """A99 A999 A9999 AA9 AA99 AA999 AA9999 AA99999 AAA9 AAA99 AAA999 AAA9999 AAA99999 AAAA99 AAAA999 AAAA9999 AAAAA99
AAAAA999 A-99 A-999 A-999A AA-99 AA-999 AA-9999 AAA-99 AAA-999 AAA-9999 AAAA-999 AA-9-99 AA-99-99 99-AA-999 99-AA-99A
999-AA-99 9AA999 99AA99 99A 999A 9999A A99A A999A AA99A AA999A AA9999A AAA99A AAA999A A9A99 9A9999 A9A999999 AA/99 AAA/999
AA.999 AAA_99 AA99-A AA99/99 AA999-99 AAA99-99A 999-9999 99-9999 9999-99 #AA99 #AA999 #AAA99 AA~99 AA~999 AAA~99 AAA~999 AAA~9999
A~9999 AA99AA AA99AA99 AAA-AAA-999 99.AAA.99 AA=999 9999AA99""".split()
# How numbers stand in work orders; 9 is a digit of the number, the rest is text.
NUM_FORMS = """POS [9]|POS[9]|pos [9]|Pos [9]|#[9]|No[9]|no. [9]|[9] HR SERVICE|[99]hr service|[999] HOUR SERVICE|[999]HR|[9999]H|[250]HR SERVICE|
[9] x|[9]x|x[9]|X [9]|[9]M insp|[9]W|[9] Weekly|[99]V|[9]V|[99] bar|[999]kpa|[99]psi|[99]mm|[9] mm|[9]m|[99] degrees|[9]%|[99]A|[9]&[9]|[9] & [9]|[9]/[9]|[9],[9]|
[9]-[9]|[9].[9]|No [9]|number [9]|cyl [9]|bank [9]|[9] off|[9] of|QTY [9]|[99]L|[9]T|[999]rpm|injector [9]|tooth [9]|bogie [9]|stage [9]|line [9]|level [9]|[9] month|
[9]Y|[9]K|[99]t|gear [9]|[9] leg|axle [9]|drum [9]|pump [9]|roller [9]|fan [9]|section [9]|[250]H service|[500]H|[1000]H inspection|[2000]H|[99]00H|[9]00HRS|[125]h|[9]000 hrs|[9]KH|[12]M service|[6]mth|[9]yr""".replace("\n", "").split("|")
SENSITIVE_FORMS = "BY {x}|{x} TO REPAIR|{x} to supply|{x} labour hire|ex {x}|{x} quote|{x} hose repairs|sent to {x}|w/ {x}|{x} warranty|for {x}|at {x}".split("|")
# How hours are written after a service interval.
HOURS = re.compile(r"^( ?)(?:HOURS?|HRS?|H|hours?|hrs?|h|Hrs?|Hours?)\\b")
HOURS_FORMS = ("H", "H", "h", "HR", "hr", "HRS", "hrs", "Hr", " H", " HR", " hrs", " hours", " HOUR")
# Short words in capitals that are no ids.
ACRONYMS = """PO P/O WO PM TBC TBA U/S LH RH L/H R/H LHS RHS LHF RHF LHR RHR LF RF FR RR FWD AFT UPR LWR INT EXT HP LP DE NDE A/C AC DC ECM ECU
PLC HMI VSD PTO OEM NDT UT MPI SOS AFFF T/C TC F/D C/B CB PRV PSV ESD CV MCC DCS RPM PSI KPA CHN TRK CYL PMP MTR BRG ENG HYD ELEC
MECH INSP SVCE REPL REQD SUPP ASSY QTY NO OK NG INOP PPE SWL VIMS GET CW CCW TDC OD ID HV LV MV IO I/O P/N S/N""".split()
ADDRESS_BOX = ("PO Box {n}", "P.O. Box {n}", "Unit {u} Box {u}\n{ap} {st} {z}", "PSC {u}, Box {u}\n{ap} {st} {z}", "Postfach {n}", "Locked Bag {n}")


def lists():
    """The lists of words, templates among them."""
    found = tomllib.loads((HERE / "redactor_lists.toml").read_text("utf-8"))
    split = {
        key: [word.replace("_", " ").strip() for word in (value.split("|") if "|" in value else value.split())]
        for key, value in found.items()
    }
    for key, value in tomllib.loads((HERE / "redactor_templates.toml").read_text("utf-8")).items():
        split[key] = value.strip().split("\n")
    return {key: [word for word in value if word] for key, value in split.items()}


def digits(rng, form):
    """`form` with each 9 and each A made random."""
    return "".join(str(rng.randrange(10)) if c == "9" else rng.choice(LETTERS) if c == "A" else " " if c == "~" else c for c in form)


def any_case(rng, text, lower=0.1, upper=0.05):
    """The text, sometimes in lower or upper case where that keeps its length."""
    chance = rng.random()
    other = text.lower() if chance < lower else text.upper() if chance < lower + upper else text
    return other if len(other) == len(text) else text


def common_word(rng, vocabulary):
    """One of the words, the commoner the likelier."""
    return vocabulary[int(len(vocabulary) * rng.random() ** 2)]


class Filler:
    """Made-up personal data, and what the texts given as `seen` had. `vocabulary` are the common words, commonest first."""

    def __init__(self, rng, seen=(), vocabulary=("word",), seen_share=0.3):
        self.rng, self.words, self.vocabulary, self.seen_share = rng, lists(), vocabulary, seen_share
        self.seen = {}
        for item in seen:
            for start, end, kind in item.spans:
                own = item.text[start:end]
                self.seen.setdefault((kind, form_like(kind, own)), []).append(own)

    def pick(self, key):
        """One word of a list."""
        return self.rng.choice(self.words[key])

    def one(self, kind, form=None):
        """A text of the kind."""
        if (kind, form) in self.seen and self.rng.random() < self.seen_share:
            return self.rng.choice(self.seen[kind, form])
        return getattr(self, kind)(form)

    def person(self, form):
        rng = self.rng
        first, last = self.pick("first"), self.pick("last")
        if form == "first" or form is None and rng.random() < 0.2:
            return first
        if form == "last":
            return last
        middle = rng.choice(["", "", "", "", rng.choice(LETTERS) + " ", rng.choice(LETTERS) + ". ", self.pick("first") + " "])
        double = "-" + self.pick("last") if rng.random() < 0.04 else ""
        return any_case(rng, f"{first} {middle}{last}{double}", 0.08, 0.04)

    def number(self):
        rng = self.rng
        return str(rng.choice([rng.randrange(1, 20), rng.randrange(1, 200), rng.randrange(1, 3000), rng.randrange(1, 3000)]))

    def street(self):
        rng, name = self.rng, self.pick("street")
        if rng.random() < 0.45:
            text = f"{self.number()} {self.pick('street' if rng.random() < 0.6 else 'last')} {self.pick('street_kind')}"
            return text + rng.choice(["", "", "", " " + self.pick("street_kind")])
        stem = rng.choice([self.pick("last"), name, self.pick("city"), self.pick("first")])
        number = rng.choice([self.number(), self.number() + rng.choice("abcAB"), f"{rng.randrange(1, 99)}/{rng.randrange(1, 99)}"])
        return self.pick("street_form").replace("%s", stem).replace("%n", number)

    def flat(self):
        return f"{self.rng.choice(['Apt.', 'Suite', 'Apt.', 'Suite', 'Unit', 'Flat', 'apt', 'Level', 'Room'])} {digits(self.rng, self.rng.choice(['9', '99', '999']))}"

    def street_address(self, form):
        rng = self.rng
        if form == "code":
            return digits(rng, rng.choice(["99999", "99999", "999", "9999", "99"]))
        if form == "flat":
            return self.flat()
        if form == "name":
            return re.sub(r"^\d+\S* |,? \d+\S*$", "", self.street())
        if form == "box" or form == "full" and rng.random() < 0.1:
            box = rng.choice(ADDRESS_BOX).format(
                n=digits(rng, "999"), u=digits(rng, "9999"), ap=rng.choice(["APO", "FPO", "DPO"]), st=rng.choice(["AE", "AP", "AA"]), z=digits(rng, "99999")
            )
            return box
        if form == "full" or rng.random() < 0.3:
            city = any_case(rng, self.pick("city"), 0.1, 0.4)
            first = rng.choice(["", "", digits(rng, "99") + " ", digits(rng, "999") + " ", digits(rng, "99999") + " "])
            flat = rng.choice(["", " " + self.flat(), "\n " + self.flat(), ", " + self.flat()])
            end = rng.choice([f"{self.pick('region')} {digits(rng, '99999')}", f"{self.pick('country')} {digits(rng, '99999')}", f"{digits(rng, '9999')}",
                              self.pick("country"), f"{digits(rng, '9999')} {self.pick('country')}", f"nan {digits(rng, '99999')}"])  # fmt: skip
            glue = rng.choice([", ", "\n ", "\n", " "])
            return f"{first}{self.street()}{flat}{glue}{city}{rng.choice([', ', ', ', glue])}{end}"
        if rng.random() < 0.04:
            return f"the corner of {self.street()} and {self.street()}"
        return self.street() + rng.choice(["", "", "", " " + self.flat()])

    def gpe(self, form):
        if form == "region":
            return self.pick("region")
        key = "country" if form == "country" or form is None and self.rng.random() < 0.35 else "city"
        return any_case(self.rng, self.pick(key), 0.06, 0.2 if key == "city" else 0.02)

    def organization(self, form):
        rng, chance = self.rng, self.rng.random()
        if chance < 0.12:
            name = f"{self.pick('last')}, {self.pick('last')} and {self.pick('last')}"
        elif chance < 0.24:
            name = f"{self.pick('last')}-{self.pick('last')}"
        elif chance < 0.3:
            name = f"{self.pick('last')} {self.pick('firm_end')}"
        else:
            name = self.pick("firm_first")
            if rng.random() < 0.6:
                name += self.pick("firm_second")
            if rng.random() < 0.45:
                name += " " + self.pick("firm_word")
            if rng.random() < 0.1:
                name += " " + self.pick("firm_word")
            if rng.random() < 0.3:
                name += " " + self.pick("firm_end")
            if rng.random() < 0.05:
                name = digits(rng, rng.choice(["9", "99"])) + " " + name
        return any_case(rng, name, 0.06, 0.04)

    def credit_card(self, form):
        start = self.rng.choice(["4", "4", "51", "55", "2221", "34", "37", "6011", "65", "30", "36", "35", "18000", "21310", "5018", "63"])
        plain = digits(self.rng, start.ljust(self.rng.choice([12, 13, 14, 15, 16, 16, 16, 19]), "9"))
        return " ".join(re.findall(".{1,4}", plain)) if self.rng.random() < 0.15 else plain

    def date_time(self, form):
        rng = self.rng
        d, m, y = rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(1930, 2031)
        if form == "year" or form is None and rng.random() < 0.15:
            return str(y)
        if form == "day":
            return self.pick("day")
        month, clock = self.pick("month"), f"{rng.randrange(24):02}:{rng.randrange(60):02}"
        full = (f"{y}-{m:02}-{d:02} {clock}:{rng.randrange(60):02}", f"{d:02}.{m:02}.{y} {clock}", f"{y}-{m:02}-{d:02}T{clock}:00Z", f"{d}/{m}/{y} {clock}")
        dates = (f"{m}/{d}/{y}", f"{d}/{m}/{y}", f"{d:02}/{m:02}/{y % 100:02}", f"{y}-{m:02}-{d:02}", f"{d}.{m}.{y}", f"{d} {month} {y}", f"{month} {d}, {y}", f"{month} {d}",
                 f"{d} {month}", f"{month} {y}", f"{d:02}-{month}-{y}", f"the {d}th of {month}", f"{month.upper()}{y % 100:02}")  # fmt: skip
        return rng.choice(full) if form == "full" or rng.random() < 0.15 else rng.choice(dates)

    def phone_number(self, form):
        return digits(self.rng, self.rng.choice(
            """999-999-9999|(999) 999-9999|(999)999-9999|+1-999-999-9999|999.999.9999|9999999999|09999 999 999|099 9999 9999|+44 9999 999999|0499 999 999|+61 499 999 999|
            (09) 9999 9999|9999 9999|+49 99 9999999|0999/9999999|0999 9999999|99 99 99 99|99.99.99.99.99|+33 9 99 99 99 99|09 99 99 99 99|+48 999 999 999|999 999 999|(99) 999-999|99 999 999|
            +36 99 999 9999|(99) 9999-9999|+41 99 999 99 99|999 999 99 99|0699-999999|09-999 99 99|+358 99 999 9999|(99) 9999 9999|999-9999|+47 99 99 99 99|0999 99 99 99|0999 999 99 99|+90 999 999 99 99|
            001-999-999-9999|+(99)9 9999999|+41 (0)99 999 99 99|999-999-9999x999|1-999-999-9999""".replace("\n", "").replace("            ", "").split("|")))  # fmt: skip

    def age(self, form):
        return str(self.rng.randrange(18, 99) if self.rng.random() < 0.9 else self.rng.randrange(1, 18))

    def nrp(self, form):
        return any_case(self.rng, self.pick("nation"), 0.2, 0.01)

    def zip_code(self, form):
        return digits(self.rng, self.rng.choice(["99999", "99999", "9999", "9999", "999", "999 99", "AA9 9AA", "9999-999", "99-999", "9999 AA", "A9A 9A9"]))

    def email_address(self, form):
        rng = self.rng
        first, last = re.sub(r"\W", "", self.pick("first")), re.sub(r"\W", "", self.pick("last"))
        local = rng.choice([first + last, f"{first}.{last}".lower(), f"{first[0]}{last}".lower(), f"{first}{rng.choice(LETTERS)}{last}", first.lower() + digits(rng, "99"), f"{last}_{first[0]}"])
        return f"{local}@{rng.choice([self.pick('host'), self.pick('firm_first').lower() + self.pick('firm_second')])}.{self.pick('domain')}"

    def title(self, form):
        rng = self.rng
        if form == "short":
            return rng.choice(["Mr.", "Mrs.", "Ms.", "Dr.", "Mr", "Mrs", "Ms", "Dr", "Miss", "Prof."])
        return any_case(rng, self.pick("job"), 0.3, 0.02)

    def domain_name(self, form):
        rng = self.rng
        name = self.pick("firm_first") + rng.choice([self.pick("firm_second"), self.pick("firm_word")])
        start = rng.choice(["https://www.", "http://www.", "https://", "www.", "http://", ""])
        return f"{start}{any_case(rng, name, 0.4, 0)}.{self.pick('domain')}{rng.choice(['', '/', '/', '/index.html']) if start else ''}"

    def iban_code(self, form):
        country, size = self.rng.choice([("GB", 22), ("DE", 22), ("FR", 27), ("NO", 15), ("ES", 24), ("PL", 28), ("NL", 18)])
        plain = country + digits(self.rng, "99" + ("AAAA" if country in ("GB", "NL") else "9999")).ljust(size - 2, "9")
        plain = digits(self.rng, plain)[:2].replace(plain[:2], country) + digits(self.rng, plain[2:].replace("A", "B"))
        plain = " ".join(re.findall(".{1,4}", plain)) if self.rng.random() < 0.2 else plain
        return any_case(self.rng, plain, 0.15, 0)

    def ip_address(self, form):
        rng = self.rng
        if rng.random() < 0.3:
            return ":".join(f"{rng.randrange(1 << 16):x}" for _ in range(8))
        return ".".join(str(rng.randrange(1, 255)) for _ in range(4))

    def us_ssn(self, form):
        return digits(self.rng, self.rng.choice(["999-99-9999", "999-99-9999", "999-99-9999", "999 99 9999", "999999999"]))

    def us_driver_license(self, form):
        return digits(self.rng, self.rng.choice(["A9999999", "A999-9999-9999", "999999999", "99AAA9999", "A99-99-9999", "AA999999", "A99999999999", "99 999 999", "9999999"]))

    def fill(self, template, work=None):
        """The template with its places filled."""
        text, spans, last = "", [], 0
        for place in PLACE.finditer(template):
            text += template[last : place.start()]
            last = place.end()
            kind, form = place.groups()
            if kind == "word":
                word = common_word(self.rng, self.vocabulary)
                text += word.capitalize() if form == "cap" else word
                continue
            if kind == "work":
                spans += [(start + len(text), end + len(text), own) for start, end, own in work.spans]
                text += work.text
                continue
            value = self.one(kind, form)
            spans.append((len(text), len(text) + len(value), kind))
            text += value
        return Item(text + template[last:], tuple(spans), "made", template)


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
    """A text with some of its plain words replaced by others of the language, so that a word never seen is not taken for
    a name because of that. `vocabulary` is by falling frequency; the commonest, mostly grammar, stay."""
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
    text, spans = "", []
    for own, kind in parts:
        if kind:
            spans.append((len(text), len(text) + len(own), kind))
        text += own
    return item._replace(text=text, spans=tuple(spans))


def form_like(kind, old):
    """The form of filler that stands where `old` stood."""
    if kind == "street_address":
        if re.fullmatch(r"[\d -]+", old):
            return "code"
        if re.fullmatch(r"(?:Apt\.|Suite) \d+", old):
            return "flat"
        return "full" if "\n" in old or "," in old else None
    if kind == "date_time":
        return "year" if len(old) == 4 else "full" if ":" in old else None
    if kind == "title":
        return "short" if len(old) < 5 else None
    if kind == "gpe":
        return "region" if re.fullmatch("[A-Z]{2}", old) else None
    return None


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
            own = any_case(rng, filler.one("organization") if rng.random() < 0.8 else filler.one("person", "first"), 0.1, 0.5)
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
    """The item of (text, kind or None) parts."""
    text, spans = "", []
    for own, kind in parts:
        if kind:
            spans.append((len(text), len(text) + len(own), kind))
        text += own
    return item._replace(text=any_case(rng, text, 0.08, 0.15), spans=tuple(spans))


def equipped(text, rng, filler):
    """A work order made of a text without anything to hide, with ids, numbers and names put between its words."""
    pieces = [(word, None) for word in text.split(" ")]

    def insert(place, parts):
        pieces[place:place] = parts

    for _ in range(rng.choice([0, 0, 1, 2])):
        own = rng.choice(ACRONYMS) if rng.random() < 0.6 else digits(rng, rng.choice(["A", "AA", "AAA", "AAAA"]))
        insert(rng.randrange(len(pieces) + 1), [(own, None)])
    for _ in range(rng.choice([0, 1, 1, 2])):
        form = re.split(r"[\[\]]", rng.choice(NUM_FORMS))
        group = [(digits(rng, own), "num" if odd % 2 else None) for odd, own in enumerate(form) if own]
        insert(rng.randrange(len(pieces) + 1), [group])
    if rng.random() < 0.12:
        before, after = rng.choice(SENSITIVE_FORMS).split("{x}")
        name = any_case(rng, filler.one("organization", "made") if rng.random() < 0.8 else filler.one("person", "first"), 0.1, 0.4)
        insert(rng.choice([0, len(pieces)]), [[(before, None), (name, "sensitive"), (after, None)]])
    if rng.random() < 0.06:
        d, m, y = rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(0, 30)
        date = rng.choice([f"{d:02}/{m:02}", f"{d}/{m}/{y:02}", f"{d:02}/{m:02}/20{y:02}", f"{filler.pick('month')[:3].upper()}{y:02}", f"{d}.{m}.{y:02}", f"{d} {filler.pick('month')}"])
        insert(len(pieces), [(date, "date")])
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        glue = [(rng.choice(["-", ":", " -", " - ", ",", ""]), None)] if rng.random() < 0.3 else []
        insert(rng.choice([0, 0, 0, len(pieces), rng.randrange(len(pieces) + 1)]), [[(new_id(rng), "id"), *glue]])
    parts = []
    for piece in pieces:
        parts += [(" ", None)] if parts else []
        parts += piece if isinstance(piece, list) else [piece]
    return joined(parts, Item("", (), "equipped", ""), rng)
