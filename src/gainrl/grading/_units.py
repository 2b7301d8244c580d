r"""Units by a grammar: known names, their products and powers, and nouns that are counted.

    unit   = factor {(/ | per | a | an | each | of | * | \cdot | blank) factor}
    factor = [square | cubic] name [squared | cubed | ^power]

A name is a unit of the tables below, or a plural noun ('18 eggs'), unless it is a word of numbers
('3 halves', '2 dozens'); behind 'per', 'each' and 'of' any noun is one.
"""

from __future__ import annotations

import re
from functools import lru_cache


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SI = _names("m g s L l J W V A N Pa Hz eV cal mol K B bit bar Wh T F C pc Sv")
_LONG = {
    "meter": "m", "metre": "m", "gram": "g", "gramme": "g", "second": "s", "liter": "L",
    "litre": "L", "joule": "J", "watt": "W", "volt": "V", "ampere": "A", "amp": "A", "newton": "N",
    "pascal": "Pa", "hertz": "Hz", "electronvolt": "eV", "calorie": "cal", "mole": "mol",
    "kelvin": "K", "byte": "B", "ohm": "ohm", "parsec": "pc", "tesla": "T", "coulomb": "C",
}  # fmt: skip
_PREFIXES = {
    "kilo": "k", "centi": "c", "milli": "m", "micro": "u", "nano": "n", "pico": "p", "mega": "M",
    "giga": "G", "tera": "T", "deci": "d", "hecto": "h", "": "",
}  # fmt: skip
_OTHERS = """inch in|foot feet ft|yard yd|mile mi|pound lb|ounce oz|sec=s|minute min|hour hr h|day
week wk|month|year yr|decade|century centuries|dollar \\$ usd buck|cent ¢|euro eur €|pence penny
gbp £|yen ¥|rupee rs ₹|degree deg ^\\circ °|radian rad|percent \\%|mph=mile/hour|kph=km/hour
kmh=km/hour|gallon gal|quart qt|pint pt|cup|acre|hectare ha|ton tonne|knot|unit|point|person people
child children|man men|woman women|foot|fish|sheep|deer|mouse mice|arcminute '|arcsecond ''
tooth teeth|light-year|atm|psi|rpm|dB
am a.m.|pm p.m.|angstrom|celsius|fahrenheit|teaspoon tsp|tablespoon tbsp|hp|amu|mpg|credit"""
_NUMBER_WORDS = _names("""half halves third quarter fourth fifth sixth seventh eighth ninth tenth
eleventh twelfth hundredth thousandth one two three four five six seven eight nine ten eleven twelve
hundred thousand million billion trillion dozen pair score gross time plus minus squared
cubed power root factorial double triple twice percentage more less fewer other whole
square cube rest not none only exactly about infinity negative mod modulo base cos sin log
nothing wrong perhaps equal sometime always fail has exclude sine cosine tangent
reciprocal infinitie inverse radical error lie googol lot multiple sixe minuse pluse unles
because maybe etc""")
_TOKEN = re.compile(
    r"[\s()]*(?:(?P<join>/|\*|\\cdot(?![a-zA-Z])|-)|(?P<circ>\^\\circ)\s*(?P<scale>[CFK](?![A-Za-z]))?|(?P<word>\\?[A-Za-z]+(?:\.[A-Za-z]\.)?"
    r"|\\[$%]|[€£¥°]|[₹¢]|'{1,2})|(?P<power>\^\s*\{?\s*(?P<n>-?\d)\s*\}?|[23](?!\d))"
    r")"
)
_COUNTED = _names("""way solution apple book student ball box value integer number root triangle boy
girl friend page egg card coin car dog cat digit letter term child piece cookie ticket game""")
_ADJECTIVES = _names("""different distinct possible positive negative red blue green yellow black
white small large big full extra additional new old fresh such fluid fl light""")
_JOINS = {"per": -1, "a": -1, "an": -1, "each": -1, "every": -1, "/": -1, "of": 1}
_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_BEHIND = {"squared": 2, "cubed": 3}


def _table() -> dict[str, str]:
    names = {short + one: short + one for one in _SI for short in _PREFIXES.values()}
    names |= {f"{long}{name}": short + one for name, one in _LONG.items()
              for long, short in _PREFIXES.items()}  # fmt: skip
    for group in re.split(r"[|\n]", _OTHERS):
        first, *aliases = group.split(" ")
        name, _, canonical = first.partition("=")
        names |= {one: canonical or name for one in (name, *aliases)}
    return names | {"l": "L", "ml": "mL", "Ω": "ohm"}


_NAMES = _table()


@lru_cache(maxsize=4096)
def unit(text: str, single: bool = False) -> str | None:
    r"""The one way to write a unit: 'km per hour' and 'km/h' are 'hour^-1 km'; None if it is none.

    Args:
        text: what stands behind a value, in the notation of `_notation.uniform`.
        single: whether the value is 1, so that a noun need not be plural.
    """
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).replace("\\mu ", "u").strip(" ()[]")
    plain = re.sub(r"(?<=[a-z])\.(?=\s|$)", "", plain)
    powers: dict[str, int] = {}
    place, sign, before, last, joined = 0, 1, 1, "", False
    while place < len(plain):
        match = _TOKEN.match(plain, place)
        if match is None or match.end() == place:
            return None
        place, word = match.end(), match["word"]
        if match["join"] or (word in _JOINS and powers):
            joined = word is not None or match["join"] == "/"
            sign = _JOINS.get(word or match["join"], 1 if match["join"] == "-" else sign)
        elif match["power"] or word in _BEHIND:
            if not last:
                return None
            powers[last] *= int(match["n"] or match["power"]) if match["power"] else _BEHIND[word]
        elif word in _ADJECTIVES and plain[place:].strip():
            pass
        elif word in _BEFORE and plain[place:].strip():
            before = _BEFORE[word]
        else:
            name = match["scale"] or _name(word or "degree", joined, single)
            if name is None:
                return None
            last, _, under = name.partition("/")
            powers[last] = powers.get(last, 0) + sign * before
            if under:
                powers[under] = powers.get(under, 0) - sign
            before, joined = 1, False
    if len(powers) > 3 or any(abs(power) > 4 for power in powers.values()):
        return None
    return " ".join(sorted(n if p == 1 else f"{n}^{p}" for n, p in powers.items())) or None


def _name(word: str, joined: bool, single: bool) -> str | None:
    """The canonical name of a unit or noun; behind a joining word any noun is one."""
    for one in (
        word,
        word.lower(),
        word.lower().removesuffix("s"),
        word.lower().removesuffix("es"),
    ):
        if one in _NAMES and (len(one) > 1 or one == word):
            return _NAMES[one]
    lower = word.lower()
    stem = lower.removesuffix("s")
    fraction = re.search(r"(?:teen|tie|illion|usand|dred|if|[nvx])ths?$|illions?$", lower)
    if (
        fraction
        or not word.isalpha()
        or lower in _NUMBER_WORDS
        or stem in _NUMBER_WORDS
        or len(word) < 3
    ):
        return None
    plural = lower != stem and not lower.endswith(("ss", "us", "is")) and len(word) > 3
    if word.lower() == word and (plural or joined or (single and word in _COUNTED)):
        return stem
    return None
