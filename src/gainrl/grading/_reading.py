r"""One value: its unit and magnitude, and the number, words or expression that it is.

An answer is read whole or not at all: what is neither is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from gainrl.grading._expressions import NotRead, canonical, is_word
from gainrl.grading._notation import uniform
from gainrl.grading._units import unit

LONGEST = 600
"""Answers of more characters are only compared as they stand: the patterns here are quadratic."""

_SPELT = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_SPELT += " fifteen sixteen seventeen eighteen nineteen twenty"
NUMERALS = {word: Fraction(place) for place, word in enumerate(_SPELT.split())}
NUMERALS |= {f"\\text{{{word}}}": number for word, number in NUMERALS.items()}
_MAGNITUDES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
_MAGNITUDE = re.compile(
    rf"(?P<value>.*\d)\s*(?:\\text\{{)?\s*(?P<word>{'|'.join(_MAGNITUDES)})s?\b\}}?(?P<rest>.*)"
)
_MONEY = re.compile(
    r"(?P<sign>[-+]?)\s*(?:US\s*|CA\s*|A)?(?P<money>\\\$|[€£¥₹]|USD\s|EUR\s)\s*(?=[-\d.\\(])"
)
_UNIT_PLACE = re.compile(
    r"(?<=[\d})\s!])(?=\\text\{|(?<=[\d})\s])[A-Za-z]|[(\[](?:\\text\{|[a-z]{2})|/\s*[a-z]{2}|\\%|\^\\circ|\\mu|\\\$|[€£¥₹¢]|')|(?<=\\pi)(?=\s*\\text|\s+[a-z]{2})"
)
_GROUPS = re.compile(r"(?<![\d.,{])(\d{1,3}(?:,\d{3})+)(?![\d]|,\d)")
_BRACES = re.compile(r"\{([^{}\\,;]*)\}")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?:"
    r"(?P<whole>\d*)\\frac(?:\{(?P<top>-?\d+)\}|(?P<top1>\d))(?:\{(?P<bottom>\d+)\}|(?P<bottom1>\d))"
    r"|(?P<above>\d+)\.?/(?P<below>\d+)"
    r"|(?P<based>\d+)_\{?(?P<base>\d{1,2})\}?"
    r"|(?P<decimal>\d+\.?\d*|\.\d+)(?:(?:[eE]|(?:\\times|\\cdot|\*)10\^)\{?(?P<power>[-+]?\d{1,3})\}?)?"
    r"|10\^\{?(?P<ten>[-+]?\d{1,3})\}?"
    r"|(?P<finite>\d*\.(?P<places>\d*))\\(?:overline|dot|bar)(?:\{(?P<period>\d+)\}|(?P<period1>\d))"
    r")"
)
_TYPED_MIXED = re.compile(r"([-+]?\d+)\s+(\d+)\s*/\s*(\d+)")
_WORDS = re.compile(
    r"(?:\\text\{[^{}\\]*\}|[A-Za-z]+(?:[-' ,]+[A-Za-z]+)*)(?:\s*\\text\{[^{}\\]*\})*"
)
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


@dataclass(frozen=True)
class Leaf:
    """A value that is no list: a number, words, or an expression that symbols have to compare.

    text: without blanks; value: without unit; unit: canonical, or None; whole: whether the unit may
    as well be a factor ('10 m').
    """

    text: str
    value: str
    unit: str | None
    number: Fraction | None
    base: str | None
    words: str | None
    whole: bool

    @cached_property
    def latex(self) -> str:
        """The value for the library. Raises NotRead."""
        return canonical(self.value)


@lru_cache(maxsize=8192)
def leaf(text: str, gold: bool = False) -> Leaf:
    """Read a value in the notation of `uniform`; of a gold answer any text may be the unit."""
    text = _GROUPS.sub(lambda match: match[0].replace(",", ""), text.strip().removeprefix("+"))
    value, name, whole = _split_unit(text, gold)
    value, factor = _split_magnitude(value)
    while value.startswith("(") and value.endswith(")") and _closes(value) and "," not in value:
        value = value[1:-1].strip()
    number, base = read_number(value)
    number = NUMERALS.get(value.lower()) if number is None else number
    if number is not None:
        number *= factor
    elif factor != 1:
        value = f"{factor} \\cdot ({value})"
    words = None if number is not None else _words(text)
    return Leaf(bare(text), value, name, number, base, words, whole)


def bare(text: str) -> str:
    r"""Text that does not depend on blanks, braces and upright letters that mean nothing."""
    text = re.sub(r"\\text\{\s*([A-Za-z])\s*\}", r"\1", text)
    text = re.sub(r"(?<=[\^_])\{(\w)\}(?!\d)|(?<=\\frac)\{(\d)\}(?=\{\d\})", r"\1\2", text)
    return re.sub(r"(?<![A-Za-z\d])\s+|\s+(?![A-Za-z\d])", "", text)


def _split_unit(text: str, gold: bool) -> tuple[str, str | None, bool]:
    name = None
    if (match := _MONEY.match(text)) is not None:
        name = match["money"].strip()
        text = match["sign"] + text[match.end() :]
    if not re.search(r"[A-Za-z%€£¥₹¢'$]", text):
        return text, name and unit(name), False
    for match in _UNIT_PLACE.finditer(text):
        value, rest = text[: match.start()].strip(), text[match.start() :].strip()
        magnitude = _MAGNITUDE.match(f"0 {rest}")
        if magnitude is not None and magnitude["rest"].strip():
            continue  # '5 million dollars': the unit begins later
        one = len(rest) == 1 and rest.isalpha()
        if one and (gold or text[match.start() - 1] != " " or not _is_number(value)):
            continue
        found = unit(f"{name or ''} {rest}", _is_one(value))
        if found is None and gold and (inside := re.fullmatch(r"\\text\{([A-Za-z .]+)\}", rest)):
            found = inside[1]
        if found and value and value[-1] not in "+-*/^_=<>,(" and _ends_value(value, rest):
            return value, found, one
    return text, name and unit(name), False


def _ends_value(value: str, rest: str) -> bool:
    """Plain words count only behind a number: 'x cm' may be a product."""
    if rest.startswith("^\\circ") and re.search(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])", value):
        return False
    return (
        _is_number(value)
        or rest[0] in "\\(["
        or value[-1] in "})!"
        or value[-1].isdigit()
        or value[-3:] == "\\pi"
    )


def _is_one(value: str) -> bool:
    return value.strip() == "1"


def _is_number(value: str) -> bool:
    return (
        read_number(_split_magnitude(_GROUPS.sub(lambda m: m[0].replace(",", ""), value))[0])[0]
        is not None
    )


def _split_magnitude(value: str) -> tuple[str, int]:
    """'2.5 million' is ('2.5', 1000000)."""
    factor = 1
    while (match := _MAGNITUDE.fullmatch(value)) is not None and not match["rest"].strip():
        value, factor = match["value"].strip(), factor * _MAGNITUDES[match["word"]]
    return value, factor


def read_number(value: str) -> tuple[Fraction | None, str | None]:
    """A number, exactly, and its base where it has a subscript."""
    if (mixed := _TYPED_MIXED.fullmatch(value)) is not None:
        value = rf"{mixed[1]}\frac{{{mixed[2]}}}{{{mixed[3]}}}"
    plain = _BLANK.sub("", value)
    match = _NUMBER.fullmatch(plain) if len(plain) <= LONGEST else None
    if match is None:
        return None, None
    part = match.groupdict()
    sign = -1 if part["sign"] == "-" else 1
    if part["based"]:
        return sign * Fraction(int(part["based"])), part["base"]
    if part["decimal"]:
        return sign * Fraction(part["decimal"]) * Fraction(10) ** int(part["power"] or 0), None
    if part["ten"]:
        return sign * Fraction(10) ** int(part["ten"]), None
    if period := part["period"] or part["period1"]:
        nines = 10 ** len(part["places"]) * (10 ** len(period) - 1)
        return sign * (Fraction(f"0{part['finite']}0") + Fraction(int(period), nines)), None
    above = int(part["above"] or part["top"] or part["top1"])
    below = int(part["below"] or part["bottom"] or part["bottom1"])
    if below == 0 or (part["whole"] and above < 0):
        return None, None
    return sign * (int(part["whole"] or 0) + Fraction(above, below)), None


def _words(text: str) -> str | None:
    """Folded words; None for what may be an expression."""
    if _WORDS.fullmatch(text) is None or text.lower() in ("infinity", "theta", "gamma", "alpha"):
        return None
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    runs = re.findall("[A-Za-z]+", plain)
    upright = "\\text" in text and len(plain.strip()) > 1
    capitals = len(runs) == 1 and len(plain) > 1 and plain.isupper()
    if upright or capitals or any(map(is_word, runs)):
        return _folded(text)
    return None


def _same_words(answer: str, gold: str) -> bool:
    """Case counts where letters may be names: AB is not ab, EAST is east."""
    if _folded(answer) != _folded(gold):
        return False
    letters = [re.sub("[^A-Za-z]", "", text.replace("\\text", "")) for text in (answer, gold)]
    return letters[0] == letters[1] or is_word(letters[0])


_SHORT_WORD = re.compile(r"[b-df-hj-np-tv-z][aeiou][b-df-hj-np-tv-z]")


def _folded(text: str) -> str:
    """Words without fonts, case and punctuation."""
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    return " ".join(re.split(r"[\s,.'-]+", plain.strip(" .,"))).casefold()


def _closes(text: str) -> bool:
    """Whether the bracket that opens the text closes only at its end."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if depth == 0:
            return place == len(text) - 1
    return False


def close(answer: Fraction, gold: Fraction, tolerance: float) -> bool:
    """Whether two numbers are equal, or at most the gold one times `tolerance` apart."""
    return answer == gold or abs(answer - gold) <= Fraction(tolerance) * abs(gold)


def same_plain(answer: Leaf, gold: Leaf, tolerance: float) -> tuple[bool, str] | None:
    """Compare by text and exact numbers; None where symbols have to decide.

    The second value is what decided, 'text' or 'number'.
    """
    if answer.text == gold.text:
        return True, "text"
    if answer.unit and not gold.unit and (other := leaf(gold.text)).unit == answer.unit:
        gold = other  # '5 g' is a product only where the answer is one
    if answer.unit and gold.unit and answer.unit != gold.unit:
        return False, "text"
    if answer.number is not None and gold.number is not None:
        if answer.base and not gold.base:
            return _from_base(answer) == gold.number, "number"
        same_base = answer.base in (None, gold.base)
        return same_base and any(
            close(one, gold.number, tolerance) for one in _values(answer, gold)
        ), "number"
    if answer.words or gold.words:  # symbols would multiply letters: 'stop' would equal 'pots'
        return _same_words(answer.text, gold.text), "text"
    if all(map(_SHORT_WORD.fullmatch, (answer.text, gold.text))):
        return False, "text"  # 'saw' is not 'was', though a product would be
    return None


def _from_base(answer: Leaf) -> int | None:
    """101_2 is 5."""
    assert answer.base
    try:
        return int(str(answer.number), int(answer.base))
    except ValueError:
        return None


def _values(answer: Leaf, gold: Leaf) -> list[Fraction]:
    """50% is 50 and 1/2, where only one side says percent."""
    assert answer.number is not None
    if answer.unit == gold.unit or "percent" not in (answer.unit, gold.unit):
        return [answer.number]
    per = Fraction(1, 100) if answer.unit == "percent" else Fraction(100)
    return [answer.number, answer.number * per]


__all__ = ["LONGEST", "Leaf", "NotRead", "bare", "leaf", "same_plain", "uniform"]
