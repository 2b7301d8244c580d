r"""Reading answers: the final answer of a response, and one answer as text, unit and exact number.

Pure text work, in microseconds; the structure of lists and tuples is read in `_structure`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

LONGEST = 600
"""Answers of more characters are only compared as they stand: the patterns here are quadratic."""

_BRACE = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_STATED = re.compile(r"answer is:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)")


def extract(response: str) -> str | None:
    r"""The final answer of a response, or None.

    The content of the last complete \boxed{...}; without one, the line after the last '####';
    without that, what follows the last "answer is" up to the end of the sentence. Nothing else
    counts, so a number that merely stands in the text is no answer.
    """
    answer: str | None = None
    if "\\boxed" in response:
        answer = _last_box(response)
    if answer is None and "####" in response:
        answer = response.rpartition("####")[2].strip().partition("\n")[0]
    if answer is None:
        ends = [match.end() for match in _STATED.finditer(response)]
        if ends:
            line = response[ends[-1] :].partition("\n")[0]
            answer = _SENTENCE_END.split(line, maxsplit=1)[0]
    return (answer.strip(" \t\r\n*") or None) if answer is not None else None


def marks_once(response: str) -> bool:
    r"""Whether a response marks exactly one answer, by #### or by \boxed, for a format reward."""
    return response.count("####") + response.count("\\boxed") == 1


def _last_box(text: str) -> str | None:
    r"""Content of the complete \boxed{...} that starts last. One pass, whatever the nesting."""
    opened: list[int | None] = []
    start, end = -1, -1
    for match in _BRACE.finditer(text):
        token = match.group()
        if token == "}":
            if opened and (begin := opened.pop()) is not None and begin > start:
                start, end = begin, match.start()
        elif token == "{":
            opened.append(None)
        elif token.startswith("\\boxed"):
            opened.append(match.end())
    return text[start:end] if start >= 0 else None


_STYLE = r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|boldsymbol)"
_STYLED_LABEL = rf"\(?{_STYLE}\{{[\s~]*\(?(?P<letter>[A-E])\)?[\s~:.]*\\?\s*\}}\)?"
_SPACE = r"(?:\\[ ,;:!]|\\q?quad|[\s~])*+"
_LABELS = (
    re.compile(rf"^{_SPACE}{_STYLED_LABEL}{_SPACE}[:;=]?{_SPACE}"),
    re.compile(rf"^{_SPACE}\((?P<letter>[A-E])\){_SPACE}[:;=]?{_SPACE}"),
    re.compile(rf"{_SPACE}(?:\\(?:Long)?[Rr]ightarrow)?{_SPACE}{_STYLED_LABEL}$"),
)
_LETTER = re.compile(r"\(?([A-E])\)?[.:)]?")
_UNITS = (
    re.compile(
        rf"^(?P<value>.*[\d}})]){_SPACE}\\(?:text|mathrm|mbox|textrm)"
        r"\{[\s~]*(?P<unit>[A-Za-z][A-Za-z .~/]*)\}(?P<power>\^\{?-?\d\}?)?$"
    ),
    re.compile(
        rf"^(?P<value>[-+]?\$?[\d.,]*\d(?:{_SPACE}\\(?:times|cdot){_SPACE}10\^\{{?[-+]?\d+\}}?)?)"
        r"\s+(?P<unit>[A-Za-z]{2,}(?: [A-Za-z]+)*)(?P<power>)$"
    ),
    re.compile(r"^(?P<value>.*\d)\s*\^\{?(?P<unit>(?:\\prime\s*)+)\}?(?P<power>)$"),
    re.compile(
        rf"^(?P<value>.*\d){_SPACE}(?:\^\{{?\\circ\}}?|\\degree|°){_SPACE}"
        r"(?:\\(?:text|mathrm)\{)?\s*(?P<unit>[CFK])\}?(?P<power>)$"
    ),
)
_NOISE = re.compile(
    r"\\left(?![a-z])|\\right(?![a-z])|\\[,;:! ]|\\q?quad|~|\\?\$|\\?%|"
    r"\^\{?\\(?:circ|degree)\}?|\\degree|°"
)
_STYLED = re.compile(rf"{_STYLE}\s*\{{([^{{}}]*)\}}")
_FRACTION = re.compile(r"\\[dt]frac(?![a-z])")
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
_SEPARATOR = re.compile(r"(?<=\d)(?:,\s*\\!\s*|\{,\}\s*)(?=\d{3})")
_SUBSCRIPT = re.compile(r"_\{(\w)\}")
_PRIME = re.compile(r"(?<=[A-Za-z)])\^(?:\{\s*\\prime\s*\}|\\prime(?![a-zA-Z]))")
_GROUPS = re.compile(r"[-+]?\\?\$?\d{1,3}(?:,\d{3})+(?:\.\d*)?(?:\\?%)?")
_WORDS = re.compile(r"[A-Za-z]{3,}(?:[-\s'][A-Za-z]+)*")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?:"
    r"(?P<whole>\d*)\\frac(?:\{(?P<top>-?\d+)\}|(?P<top1>\d))(?:\{(?P<bottom>\d+)\}|(?P<bottom1>\d))"
    r"|(?P<above>\d+)\.?/(?P<below>\d+)"
    r"|(?P<based>\d+)_\{?(?P<base>\d{1,2})\}?"
    r"|(?P<decimal>\d+\.?\d*|\.\d+)(?:(?:[eE]|(?:\\times|\\cdot)10\^)\{?(?P<power>[-+]?\d{1,3})\}?)?"
    r"|10\^\{?(?P<ten>[-+]?\d{1,3})\}?"
    r"|(?P<finite>\d*\.(?P<places>\d*))\\overline\{(?P<period>\d+)\}"
    r")"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer in the forms in which it is compared; `text` is empty where a label is all.

    `latex` has neither label nor unit; `letter` is the label of a choice, `base` a subscript.
    """

    text: str
    latex: str
    letter: str | None
    unit: str | None
    number: Fraction | None
    base: str | None
    words: str | None


def same_plain(answer: str, gold: str, tolerance: float = 0.0) -> tuple[bool, str] | None:
    """Compare by text and exact numbers; None where symbols have to decide.

    The second value is what decided, 'text' or 'number'.
    """
    ours, theirs = read(answer), read(gold)
    if ours.letter and theirs.letter and not (ours.text and theirs.text):
        return ours.letter == theirs.letter, "text"
    if ours.unit and theirs.unit and ours.unit != theirs.unit:
        return False, "text"
    if ours.text and ours.text == theirs.text:
        return True, "text"
    if ours.number is not None and theirs.number is not None:
        same_base = ours.base == theirs.base or None in (ours.base, theirs.base)
        return same_base and close(ours.number, theirs.number, tolerance), "number"
    if ours.words or theirs.words:  # symbols would multiply letters: 'stop' would equal 'pots'
        return ours.words == theirs.words, "text"
    return None


def close(answer: Fraction, gold: Fraction, tolerance: float) -> bool:
    """Whether two numbers are equal, or at most the gold one times `tolerance` apart."""
    return answer == gold or abs(answer - gold) <= Fraction(tolerance) * abs(gold)


@lru_cache(maxsize=8192)
def read(answer: str) -> Answer:
    """Split an answer into label, value and unit, and read the value as a number if it is one."""
    latex, letter = _split_label(answer.strip().rstrip(" .\t\n\\"))
    latex, unit = _split_unit(latex)
    plain = _plain(latex)
    if letter is None and (match := _LETTER.fullmatch(plain)):
        plain, letter = "", match.group(1)
    number, base = _number(plain)
    words = _STYLED.sub(r"\1", latex).strip(" .$")
    is_words = number is None and _WORDS.fullmatch(words) is not None
    return Answer(
        text=plain,
        latex=latex.strip("$ "),
        letter=letter,
        unit=unit,
        number=number,
        base=base,
        words=words.casefold() if is_words else None,
    )


def _split_label(latex: str) -> tuple[str, str | None]:
    r"""'\textbf{(A)}\ 26' is ('26', 'A'); 'f(A)' has no label."""
    for pattern in _LABELS:
        if match := pattern.search(latex):
            return latex[: match.start()] + latex[match.end() :], match["letter"]
    return latex, None


def _split_unit(latex: str) -> tuple[str, str | None]:
    r"""'10 \text{ cm}^2' is ('10', 'cm^2'); '18 dollars' is ('18', 'dollar')."""
    for pattern in _UNITS:
        if match := pattern.match(latex):
            name = re.sub(r"[\s~.]", "", match["unit"]).casefold()
            name = name[:-1] if len(name) > 2 and name.endswith("s") else name
            return match["value"], name + re.sub(r"[{}]", "", match["power"] or "")
    return latex, None


def _plain(latex: str) -> str:
    """Text without what does not change its meaning."""
    text = uniform(latex)
    text = _FRACTION.sub(r"\\frac", _NOISE.sub("", text))
    text = _STYLED.sub(r"\1", text)
    return _BLANK.sub("", text).rstrip(".").replace("−", "-").replace("{-}", "-")


def uniform(latex: str) -> str:
    """One way to write 1080 ('1,080', '1{,}080'; '1, 080' is a list), x_1 and x' (a prime)."""
    text = _SEPARATOR.sub("", latex)
    text = text.replace(",", "") if _GROUPS.fullmatch(text.strip()) else text
    return _PRIME.sub("'", _SUBSCRIPT.sub(r"_\1", text))


def _number(plain: str) -> tuple[Fraction | None, str | None]:
    """A number in plain text, exactly, and its base where it has a subscript."""
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
    if part["period"]:
        nines = 10 ** len(part["places"]) * (10 ** len(part["period"]) - 1)
        return sign * (Fraction(f"0{part['finite']}0") + Fraction(int(part["period"]), nines)), None
    above = int(part["above"] or part["top"] or part["top1"])
    below = int(part["below"] or part["bottom"] or part["bottom1"])
    if below == 0 or (part["whole"] and above < 0):
        return None, None
    return sign * (int(part["whole"] or 0) + Fraction(above, below)), None
