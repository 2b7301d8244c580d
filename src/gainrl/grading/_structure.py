r"""The structure of an answer: lists, sets and unions in any order, tuples and intervals in order.

What cannot be taken apart further is a leaf (`_reading`). Leaves are compared by a function of the
caller, which may not know: then the answer is None, and symbols have to decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from gainrl.grading._expressions import NotRead
from gainrl.grading._notation import uniform
from gainrl.grading._reading import bare, leaf
from gainrl.grading._surroundings import split_label, split_qualifier, strip_prefix

Same = Callable[["Item", "Item"], bool | None]
"""Whether an answer equals a gold one, of items without parts or as a whole; None if unknown."""

UNORDERED = ("list", "set", "union")
"""The kinds of items whose parts may be in any order."""

DEEPEST = 12
"""Brackets within brackets beyond this are not taken apart."""

_SPELT_SETS = dict.fromkeys(("all real numbers", "all reals", "real numbers"), "\\mathbb{R}")
_AND = re.compile(r"\s*(?:\\text\{[\s,]*(?:and|or)\s*\}|,?\s(?:and|or)\s)")
_OR = re.compile(r"\\text\{[\s,]*or\s*\}|\sor\s")
_MATRIX = re.compile(r"\\begin\{matrix\}(?P<cells>.*)\\end\{matrix\}", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<open>\\begin\{\w+\}|\\\{|[(\[{])|(?P<close>\\end\{\w+\}|\\\}|[)\]}])"
    r"|\\(?:cup|setminus|approx|text)(?![a-zA-Z])|\\.|[,;=&:]",
    re.DOTALL,
)
_ATOM = r"(?:[A-Za-z]|\\(?!sin|cos|tan|ln|log|sqrt|frac)[A-Za-z]+)"
_SIMPLE = rf"[-+]?(?:{_ATOM}|\d+)(?:_(?:\w|\{{[^{{}}]*\}}))?"
_NAME = re.compile(
    rf"(?:{_ATOM}|m?\\(?:angle|triangle|overline|vec|overrightarrow)\s*\{{?[A-Za-z\d_\s{{}}]+\}}?"
    r"|\\text\s*\{[^{}]*\}|[A-Z]{2,}|\|[A-Z]{2}\||[a-z]{4,}(?:\s[a-z]+)*|ans|max|min|\\Delta\s*[a-zA-Z]"
    r"|\\frac\s*\{d\s*\^?\d?\s*\\?\w+\}\s*\{d\s*\\?\w+(?:\^\d)?\})"
    r"(?:_(?:\w|\{[^{}]*\})|')*"
    rf"(?:\s*\(\s*{_SIMPLE}(?:\s*,\s*{_SIMPLE})*\s*\)|(?<=[fghFGHP])\s*\([^()]*\))?"
    r"|\(\s*[A-Za-z](?:_\w)?\s*(?:,\s*[A-Za-z](?:_\w)?\s*)*\)"
)
_SET = re.compile(r"[(\[{]|\\(?:\{|mathbb|emptyset)")
_NO_NAME = re.compile(
    r"\b(?:not|no|wrong|incorrect|false|never|one|two|three|four|five|six|seven|eight|nine|ten|zero"
    r"|except|but|or|and)\b|\\(?:pi|infty|emptyset)(?![a-z])|^i$",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    r"(?:the|of|total|final|surface|average|maximum|minimum|max|min|correct|answer|value|area|volume"
    r"|perimeter|length|number|sum|cost|price|probability|distance|speed|time|angle|mean|median|\s)+"
)
_MEMBER = re.compile(r"(.+?)\\in(?![a-zA-Z])(.+)", re.DOTALL)
ORDER = re.compile(r"(<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z]))")
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


@dataclass(frozen=True, slots=True)
class Item:
    """A leaf (no parts), a list ('list', 'set' and 'union', in any order) or an ordered group.

    The kind of an ordered group is its brackets ('(]'), 'matrix', 'row', 'ratio' or 'difference';
    'chain' are the sides of an equation. `name` is what stands before '=' or an element sign, if it
    is only a name; `text` is all of it, `value` the text without name.
    """

    text: str
    value: str
    name: str | None = None
    kind: str = ""
    parts: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer without what surrounds it; `item` is None where a label is all."""

    letter: str | None
    item: Item | None
    condition: str | None


@lru_cache(maxsize=8192)
def parse(text: str, lists: bool = False) -> ParsedAnswer:
    """Take an answer apart.

    Args:
        text: in any notation.
        lists: whether '8,221' is two numbers and not a thousand.
    """
    letter, plain = split_label(strip_prefix(uniform(text)))
    plain = strip_prefix(plain)
    plain, condition = split_qualifier(plain)
    if lists:
        plain = re.sub(r"(?<=\d),(?=\d)", ", ", plain)
    plain = _SPELT_SETS.get(re.sub(r"\\text\{([^{}]*)\}", r"\1", plain).casefold(), plain)
    tidy = _AND.sub(", ", plain)
    tidy = re.sub(r",\s*,", ",", tidy).strip() if tidy != plain else plain
    item = _item(tidy, DEEPEST) if tidy else None
    if item is not None and item.kind == "list" and _OR.search(plain):
        item = replace(item, kind="set")  # alternatives are no tuple
    return ParsedAnswer(letter, item, condition)


def unread(item: Item, gold: bool = False) -> str | None:
    """The first place that is not read, None if there is none."""
    if item.kind:
        return next(filter(None, (unread(part, gold) for part in item.parts)), None)
    one = leaf(item.value, gold)
    if one.number is not None or one.words is not None:
        return None
    try:
        _ = one.latex
    except NotRead as place:
        return str(place) or item.value
    return None


def same_structure(answer: Item, gold: Item, same: Same) -> bool | None:
    """Whether two answers are the same; None where `same` did not know one that matters."""
    if bare(answer.text) == bare(gold.text):
        return True
    if answer.name and gold.name:
        differ = differently_named(answer, gold)
        return same(answer, gold) if differ else _same_values(answer, gold, same)
    if "chain" in (answer.kind, gold.kind):
        return _same_chains(answer, gold, same)
    return _same_values(answer, gold, same)


def differently_named(answer: Item, gold: Item) -> bool:
    """Whether two equations name other things; '(x,y)=' only says what the order is."""
    if not (answer.name and gold.name) or bare(answer.name) == bare(gold.name):
        return False
    return not (answer.name.startswith("(") or gold.name.startswith("("))


def _same_chains(answer: Item, gold: Item, same: Same) -> bool | None:
    """Two equations are the same as a whole; one equals a value if each of its sides does."""
    if answer.kind == gold.kind == "chain" or _is_equation(answer) or _is_equation(gold):
        return same(answer, gold)
    chain, value = (answer, gold) if answer.kind == "chain" else (gold, answer)
    if chain is gold:
        return _all(same_structure(value, side, same) for side in chain.parts)
    return _all(same_structure(side, value, same) for side in chain.parts)


def _is_equation(item: Item) -> bool:
    """Whether 'y = 2x' may be compared with '2x - y = 0'."""
    return item.name is not None and item.kind != "chain" and not item.parts


def _same_values(answer: Item, gold: Item, same: Same) -> bool | None:
    if not answer.parts and not gold.parts:
        return same(answer, gold)
    if "chain" in (answer.kind, gold.kind):
        return _same_chains(answer, gold, same)
    sets = [item.kind in ("union", "difference") or _is_set(item.value) for item in (answer, gold)]
    if not answer.parts or not gold.parts:
        orders = all(ORDER.search(item.text) for item in (answer, gold))
        return same(answer, gold) if any(sets) or orders else False
    return _same_groups(answer, gold, same, any(sets))


def _is_set(text: str) -> bool:
    return "\\mathbb" in text or "\\ne" in text


def _same_groups(answer: Item, gold: Item, same: Same, sets: bool) -> bool | None:
    unordered = [item.kind in UNORDERED for item in (answer, gold)]
    if all(unordered):
        result = _match(answer.parts, gold.parts, same)
        return same(answer, gold) if result is False and sets else result
    if sets:
        return same(answer, gold)
    if not all(unordered):
        answer, gold = _by_name(answer), _by_name(gold)
    # A list without brackets may stand for a tuple, but only in the tuple's order.
    kinds = {item.kind for item in (answer, gold)} - {"list", "set"}
    if len(answer.parts) != len(gold.parts) or (len(kinds) > 1 and not _only_tuples(answer, gold)):
        return False
    if any(unordered) and (kinds != {"()"} or "set" in (answer.kind, gold.kind)):
        return False
    return _all(same_structure(a, g, same) for a, g in zip(answer.parts, gold.parts, strict=True))


def _by_name(item: Item) -> Item:
    """'y=2, x=1' as (1, 2); values of one name are no coordinates."""
    names = [part.name for part in item.parts]
    if item.kind != "list" or None in names:
        return item
    parts = sorted(item.parts, key=lambda part: part.name or "")
    return replace(
        item, parts=tuple(parts), kind="list" if len(set(names)) == len(names) else "set"
    )


def _only_tuples(*items: Item) -> bool:
    """Three or more values are no interval, so their brackets do not matter."""
    return all(len(item.parts) > 2 and len(item.kind) == 2 for item in items)


def _all(results: Iterator[bool | None]) -> bool | None:
    known = True
    for result in results:
        if result is False:
            return False
        known = known and result is not None
    return True if known else None


def _match(answer: tuple[Item, ...], gold: tuple[Item, ...], same: Same) -> bool | None:
    """Whether each part of one has a partner of its own in the other."""
    if len(answer) != len(gold):
        return False
    left, known = list(gold), True
    for part in answer:
        results = [same_structure(part, other, same) for other in left]
        if True in results:
            left.pop(results.index(True))
        elif None in results:
            known = False
        else:
            return False
    return True if known else None


# --- taking apart --------------------------------------------------------------------------------


def _item(text: str, depth: int) -> Item:
    text = text.strip().rstrip(" .") if not text.endswith("..") else text.strip()
    if not depth:
        return Item(text, text)
    for separator, kind in ((",;", "list"), ("\\cup", "union")):
        pieces = _split(text, separator, thousands=depth == DEEPEST)
        if len(pieces) > 1:
            return _group(text, text, None, kind, pieces, depth)
    name, value = _split_name(text)
    if name is not None:
        inner = _item(value, depth)
        return Item(text, inner.value, name, inner.kind, inner.parts)
    sides = _split(text, "=")
    if len(sides) > 1 and all(map(str.strip, sides)):
        return Item(text, text, None, "chain", tuple(_item(side, depth - 1) for side in sides))
    return _interval(text, depth) or _bracketed(text, depth)


def _interval(text: str, depth: int) -> Item | None:
    r"""'1 < x \le 2' and 'x > 1' as the interval, named by the variable."""
    sides = [side.strip() for side in ORDER.split(text)]
    if len(sides) not in (3, 5):
        return None
    middle = sides[2] if len(sides) == 5 else None
    if len(sides) == 3:
        sides = [*sides, "", ""] if _is_name(sides[2]) else ["", "", *sides]
        middle = sides[2]
    low, first, _, second, high = sides
    upward = {sign in ("<", "\\le") for sign in (first, second) if sign}
    if middle is None or not _is_name(middle) or len(upward) != 1:
        return None
    if not upward.pop():
        low, first, second, high = high, _FLIPPED.get(second, ""), _FLIPPED.get(first, ""), low
    kind = ("[" if first == "\\le" else "(") + ("]" if second == "\\le" else ")")
    ends = tuple(_item(end, depth - 1) for end in (low or "-\\infty", high or "\\infty"))
    return Item(text, text, middle, kind, ends)


def _bracketed(text: str, depth: int) -> Item:
    r"""A set, a matrix, a tuple or interval, a ratio, two values with \pm, or a leaf."""
    if matrix := _MATRIX.fullmatch(text):
        cells = matrix["cells"].strip().removesuffix("\\\\")
        rows = [_split(row, "&") for row in _split(cells, "\\\\")]
        if all(len(row) == 1 for row in rows):  # a column is a vector, as a tuple is
            return _group(text, text, None, "()", [row[0] for row in rows], depth)
        parts = tuple(_group("&".join(row), "", None, "row", row, depth) for row in rows)
        return Item(text, text, None, "matrix", parts)
    for begin, end in (("\\{", "\\}"), ("{", "}")):
        if text.startswith(begin) and text.endswith(end) and _closes(text):
            inner = text[len(begin) : -len(end)]
            return _group(text, text, None, "set", _split(inner, ",;"), depth)
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and _closes(text):
        pieces = _split(text[1:-1], ",;")
        if len(pieces) > 1:
            return _group(text, text, None, text[0] + text[-1], pieces, depth)
    for separator, kind in (("\\setminus", "difference"), (":", "ratio")):
        pieces = _split(text, separator)
        if len(pieces) > 1 and all(map(str.strip, pieces)):
            parts = tuple(_item(piece, depth - 1) for piece in pieces)
            return Item(text, text, None, kind, parts)
    if len(re.findall(r"\\pm(?![a-z])", text)) == 1:
        before, _, after = text.partition("\\pm")
        signs = ("+" if before.strip(" ({[") else "", "-"), ("-", "+")
        both = [f"{before}{sign}{after.replace(chr(92) + 'mp', other)}"
                for sign, other in zip(*signs, strict=True)]  # fmt: skip
        return _group(text, text, None, "set", both, depth)
    return Item(text, text)


def _group(
    text: str, value: str, name: str | None, kind: str, pieces: list[str], depth: int
) -> Item:
    if not all(piece.strip() for piece in pieces) and len(pieces) > 1:
        return Item(text, text)  # '5,,6' has a part that is not there
    parts = tuple(_item(piece, depth - 1) for piece in pieces if piece.strip())
    if kind in UNORDERED:  # a list within a list is one list
        parts = tuple(
            inner
            for part in parts
            for inner in (part.parts if part.kind in UNORDERED and not part.name else (part,))
        )
        if len(parts) == 1:
            return parts[0]
    return Item(text, value, name, kind, parts)


def _is_name(text: str) -> bool:
    """Whether what stands beside '=' only says what the value is of."""
    if _NAME.fullmatch(text) is None or _NO_NAME.search(text):
        return False
    words = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text).casefold().strip()
    return " " not in words or "\\" in words or "(" in words or bool(_PHRASE.fullmatch(words))


def _split_name(text: str) -> tuple[str | None, str]:
    """'x=5' and '5=x' are ('x', '5'), 'x=2+3=5' is ('x', '2+3=5'); 'x+y=5' has no name."""
    pieces = [piece.strip() for piece in _split(text, "=")]
    if len(pieces) > 1 and all(pieces):
        if _is_name(pieces[0]):
            return pieces[0], " = ".join(pieces[1:])
        if len(pieces) == 2 and _is_name(pieces[1]) and not ORDER.search(text):
            return pieces[1], pieces[0]
    pieces = [piece.strip() for piece in _split(text, "\\approx")]
    if len(pieces) == 2 and _is_name(pieces[0]):
        return pieces[0], pieces[1]
    member = _MEMBER.fullmatch(text)
    if member and _is_name(member[1].strip()) and _SET.match(member[2].strip()):
        return member[1].strip(), member[2].strip()
    return None, text


def _split(text: str, separators: str, thousands: bool = False) -> list[str]:
    """Cut at the separators (a command, or any of some characters) that are in no brackets.

    Args:
        thousands: whether the comma of 1,080 is none.
    """
    pieces, start, depth = [], 0, 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += _step(match)
        at = token in separators if len(token) == 1 else token == separators
        if (
            depth == 0
            and at
            and not (thousands and token == "," and _thousands(text, match.start()))
        ):
            pieces.append(text[start : match.start()])
            start = match.end()
        if depth < 0:
            return [text]
    return [*pieces, text[start:]]


def _thousands(text: str, place: int) -> bool:
    """Whether the comma is within a number such as 1,080."""
    return (
        re.match(r",\d{3}(?!\d)", text[place:]) is not None
        and re.search(r"(?<![\d.])(?:\d{1,3},)*\d{1,3}$", text[:place]) is not None
        and not re.search(r"(?<!\d)0\d*$", text[:place])
    )


def _step(token: re.Match[str]) -> int:
    return {"open": 1, "close": -1}.get(token.lastgroup or "", 0)


def _closes(text: str) -> bool:
    """Whether the bracket that opens the text closes only at its end."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += _step(match)
        if depth <= 0:
            return match.end() == len(text)
    return False
