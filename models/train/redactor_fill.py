"""Made-up personal data, and templates filled with it.

Every function takes the random generator; the same seed gives the same texts.
"""

import re
import tomllib
from pathlib import Path

from redactor_text import Item

HERE = Path(__file__).resolve().parent
PLACE = re.compile(r"\{(\w+)(?::(\w+))?\}")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ADDRESS_BOX = (
    "PO Box {n}",
    "P.O. Box {n}",
    "Unit {u} Box {u}\n{ap} {st} {z}",
    "PSC {u}, Box {u}\n{ap} {st} {z}",
    "Postfach {n}",
    "Locked Bag {n}",
)
FLATS = ("Apt.", "Suite", "Apt.", "Suite", "Unit", "Flat", "apt", "Level", "Room")
CARD_STARTS = "4 4 51 55 2221 34 37 6011 65 30 36 35 18000 21310 5018 63".split()
IBAN_SIZES = (("GB", 22), ("DE", 22), ("FR", 27), ("NO", 15), ("ES", 24), ("PL", 28), ("NL", 18))
ZIP_FORMS = ("99999", "99999", "9999", "9999", "999", "999 99", "AA9 9AA", "9999-999", "99-999", "9999 AA", "A9A 9A9")
SSN_FORMS = ("999-99-9999", "999-99-9999", "999-99-9999", "999 99 9999", "999999999")
LICENSE_FORMS = """A9999999 A999-9999-9999 999999999 99AAA9999 A99-99-9999 AA999999 A99999999999 99~999~999 9999999""".split()
# {Y} year, {y} its end, {M} and {D} two digits, {m} and {d} as few as needed, {B} a month's name, {T} the time, {S} seconds.
DATES_FULL = ("{Y}-{M}-{D} {T}:{S}", "{D}.{M}.{Y} {T}", "{Y}-{M}-{D}T{T}:00Z", "{d}/{m}/{Y} {T}")
DATES = """{m}/{d}/{Y}|{d}/{m}/{Y}|{D}/{M}/{y}|{Y}-{M}-{D}|{d}.{m}.{Y}|{d} {B} {Y}|{B} {d}, {Y}|{B} {d}|{d} {B}|{B} {Y}|{D}-{B}-{Y}|
the {d}th of {B}|{U}{y}""".replace("\n", "").split("|")


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
    """`form` with each 9 and each A made random; ~ is a space."""
    made = {"9": lambda: str(rng.randrange(10)), "A": lambda: rng.choice(LETTERS), "~": lambda: " "}
    return "".join(made[char]() if char in made else char for char in form)


def any_case(rng, text, lower=0.1, upper=0.05):
    """The text, sometimes in lower or upper case where that keeps its length."""
    chance = rng.random()
    other = text.lower() if chance < lower else text.upper() if chance < lower + upper else text
    return other if len(other) == len(text) else text


# Beginnings, middles and ends of names that do not exist, so that a name is known by its place and not by heart.
NAME_PARTS = (
    "b br bl c ch cr d dr f fr g gr h j k kl kr l m n p pr qu r s sh sk st t tr v w y z sz cz ž š č þ".split() + [""],
    "a e i o u a e i o u aa ai au ei ie io oo ou á é í ó ö ø ü å ä y ı".split(),
    """b bb ck d dd g k l ll ld lm lt m mm n nn nd ng nt nk p r rr rd rg rk rm rn rt s ss sk st sz t tt v z zh th ch j
    ć š ł ñ""".split(),
    """a o i e us is as os in an en on er el a ić ov ova ev eva ez es son sen sson ski ska sky wicz ek ak ko enko ini elli
    etti o ian yan shvili oglu mann berg stein gård qvist nen la ainen ottir aho ura moto awa saki hara ng h ho""".split(),
)


INVENTED = {"first": 0.25, "last": 0.3, "city": 0.35, "firm_first": 0.15, "country": 0.03, "nation": 0.05}


def invented(rng):
    """A name that does not exist."""
    start, vowels, middles, ends = NAME_PARTS
    text = rng.choice(start) + rng.choice(vowels) + rng.choice(middles)
    if rng.random() < 0.4:
        text += rng.choice(vowels) + rng.choice(middles)
    return (text + rng.choice(ends)).capitalize()


def common_word(rng, vocabulary):
    """One of the words, the commoner the likelier."""
    return vocabulary[int(len(vocabulary) * rng.random() ** 2)]


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


class Filler:
    """Made-up personal data, and what the texts given as `seen` had. `vocabulary` are common words, commonest first.
    One method per kind, by its name."""

    def __init__(self, rng, seen=(), vocabulary=("word",), seen_share=0.3):
        self.rng, self.words, self.vocabulary, self.seen_share = rng, lists(), vocabulary, seen_share
        self.seen = {}
        for item in seen:
            for start, end, kind in item.spans:
                own = item.text[start:end]
                self.seen.setdefault((kind, form_like(kind, own)), []).append(own)

    def pick(self, key):
        """One word of a list, of names sometimes one that does not exist."""
        if key in INVENTED and self.rng.random() < INVENTED[key]:
            return invented(self.rng)
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
        letter, point, second = rng.choice(LETTERS) + " ", rng.choice(LETTERS) + ". ", self.pick("first") + " "
        middle = rng.choice(["", "", "", "", letter, point, second])
        double = "-" + self.pick("last") if rng.random() < 0.04 else ""
        return any_case(rng, f"{first} {middle}{last}{double}", 0.08, 0.04)

    def number(self):
        rng = self.rng
        return str(rng.choice([rng.randrange(1, most) for most in (20, 200, 3000, 3000)]))

    def street(self):
        rng, name = self.rng, self.pick("street")
        if rng.random() < 0.45:
            text = f"{self.number()} {self.pick('street' if rng.random() < 0.6 else 'last')} {self.pick('street_kind')}"
            return text + rng.choice(["", "", "", " " + self.pick("street_kind")])
        stem = rng.choice([self.pick("last"), name, self.pick("city"), self.pick("first")])
        numbers = (self.number(), self.number() + rng.choice("abcAB"), f"{rng.randrange(1, 99)}/{rng.randrange(1, 99)}")
        number = rng.choice(numbers)
        return self.pick("street_form").replace("%s", stem).replace("%n", number)

    def flat(self):
        return f"{self.rng.choice(FLATS)} {digits(self.rng, self.rng.choice(['9', '99', '999']))}"

    def street_address(self, form):
        rng = self.rng
        if form == "code":
            return digits(rng, rng.choice(["99999", "99999", "999", "9999", "99"]))
        if form == "flat":
            return self.flat()
        if form == "name":
            return re.sub(r"^\d+\S* |,? \d+\S*$", "", self.street())
        if form == "box" or form == "full" and rng.random() < 0.1:
            box = rng.choice(ADDRESS_BOX)
            numbers = {"n": digits(rng, "999"), "u": digits(rng, "9999")}
            post = {"ap": rng.choice(["APO", "FPO", "DPO"]), "st": rng.choice(["AE", "AP", "AA"])}
            return box.format(**numbers, **post, z=digits(rng, "99999"))
        if form == "full" or rng.random() < 0.3:
            city = any_case(rng, self.pick("city"), 0.1, 0.4)
            first = rng.choice(["", "", digits(rng, "99") + " ", digits(rng, "999") + " ", digits(rng, "99999") + " "])
            flat = rng.choice(["", " " + self.flat(), "\n " + self.flat(), ", " + self.flat()])
            ends = (
                f"{self.pick('region')} {digits(rng, '99999')}",
                f"{self.pick('country')} {digits(rng, '99999')}",
                digits(rng, "9999"),
                self.pick("country"),
                f"{digits(rng, '9999')} {self.pick('country')}",
                f"nan {digits(rng, '99999')}",
            )
            end = rng.choice(ends)
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
        start = self.rng.choice(CARD_STARTS)
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
        parts = {"Y": y, "y": f"{y % 100:02}", "M": f"{m:02}", "D": f"{d:02}", "m": m, "d": d}
        parts |= {"B": month, "U": month.upper(), "T": clock, "S": f"{rng.randrange(60):02}"}
        forms = DATES_FULL if form == "full" or rng.random() < 0.15 else DATES
        return rng.choice(forms).format(**parts)

    def phone_number(self, form):
        return digits(self.rng, self.pick("phone_form"))

    def age(self, form):
        return str(self.rng.randrange(18, 99) if self.rng.random() < 0.9 else self.rng.randrange(1, 18))

    def nrp(self, form):
        return any_case(self.rng, self.pick("nation"), 0.2, 0.01)

    def zip_code(self, form):
        return digits(self.rng, self.rng.choice(ZIP_FORMS))

    def email_address(self, form):
        rng = self.rng
        first, last = re.sub(r"\W", "", self.pick("first")), re.sub(r"\W", "", self.pick("last"))
        names = (
            first + last,
            f"{first}.{last}".lower(),
            f"{first[0]}{last}".lower(),
            f"{first}{rng.choice(LETTERS)}{last}",
            first.lower() + digits(rng, "99"),
            f"{last}_{first[0]}",
        )
        local = rng.choice(names)
        hosts = (self.pick("host"), self.pick("firm_first").lower() + self.pick("firm_second"))
        return f"{local}@{rng.choice(hosts)}.{self.pick('domain')}"

    def title(self, form):
        rng = self.rng
        if form == "short":
            return rng.choice(["Mr.", "Mrs.", "Ms.", "Dr.", "Mr", "Mrs", "Ms", "Dr", "Miss", "Prof."])
        return any_case(rng, self.pick("job"), 0.3, 0.02)

    def domain_name(self, form):
        rng = self.rng
        name = self.pick("firm_first") + rng.choice([self.pick("firm_second"), self.pick("firm_word")])
        start = rng.choice(["https://www.", "http://www.", "https://", "www.", "http://", ""])
        site = f"{start}{any_case(rng, name, 0.4, 0)}.{self.pick('domain')}"
        return site + rng.choice(["", "/", "/", "/index.html"]) if start else site

    def iban_code(self, form):
        country, size = self.rng.choice(IBAN_SIZES)
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
        return digits(self.rng, self.rng.choice(SSN_FORMS))

    def us_driver_license(self, form):
        return digits(self.rng, self.rng.choice(LICENSE_FORMS))

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
