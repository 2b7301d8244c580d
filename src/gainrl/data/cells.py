"""From a cell of a source to plain text: numbers written in full, nothing that cannot be seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"))
"""Unicode categories without a mark of their own: controls, formats, spaces, combining marks."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that are drawn as nothing."""
_EDGE = r"[\s\u200b\u2060\ufeff]+"
_EDGES = re.compile(rf"\A{_EDGE}|{_EDGE}\Z")
MISSING = object()
"""In place of a cell that a record does not have."""
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")


def is_blank(value: str) -> bool:
    """Whether a text has nothing that is seen: spaces, zero-width and other format characters."""
    return all(unicodedata.category(c) in _UNSEEN or c in _FILLERS for c in value)


def check_text(value: str) -> None:
    """Refuse text that no file, tokenizer or store takes.

    Raises:
        ValueError: half of a surrogate pair, or a NUL character.
    """
    if found := _NO_TEXT.search(value):
        code, place = ord(found.group()), found.start() + 1
        kind = "half of a surrogate pair" if code else "a NUL character"
        raise ValueError(f"has {kind} (\\u{code:04x}) as its character {place}, which is no text")


def opened(value: Any) -> Any:
    """The only element of a list, tuple or array of one, however deep; anything else as it is."""
    while isinstance(value, list | tuple | np.ndarray) and np.ndim(value) and len(value) == 1:
        value = value[0]
    return value


def stripped(value: str) -> str:
    """Text without surrounding space, zero-width space and byte order marks."""
    return _EDGES.sub("", value)


def _is_rounded(value: float | np.floating[Any], exact: Decimal) -> bool:
    """Whether a float stands for several whole numbers and does not look like a round one."""
    kind = np.finfo(type(value))
    digits = len(exact.normalize().as_tuple().digits)
    return abs(float(value)) > 2.0 ** (kind.nmant + 1) and digits > kind.precision


def written(value: float | Decimal | np.number[Any]) -> str | None:
    """A number as people write it, in full: '142' for 142.0, '0.00001' for 1e-05; None for NaN.

    A float is its shortest decimal of its own precision, so 0.1 is '0.1' in every one.

    Raises:
        ValueError: an infinity; a whole number with more digits than its kind of float keeps.
    """
    exact = Decimal(str(value))
    if exact.is_nan():
        return None
    if exact.is_infinite():
        raise ValueError(f"is {value}, not a finite number")
    plain = format(exact, "f")
    if isinstance(value, float | np.floating) and _is_rounded(value, exact):
        raise ValueError(f"is {value}, a float, which has not all digits of such a number")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def lookup(record: Any, path: str) -> Any:
    """The value at a dotted path, or MISSING. A column whose own name has dots comes first."""
    if path in record:
        return record[path]
    value = record
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def names_of(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of everything in a record that is not itself a record."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value[:1])
        for key, below in items:
            yield from names_of(below, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix
