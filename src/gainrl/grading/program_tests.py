"""Tests of programs as plain data, and as the text that a prompt table holds."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from gainrl.errors import DataError
from gainrl.files import parse_json

LONG = 100_000
"""Tests whose text has more characters are stored compressed: some problems have 100 MB of them."""


@dataclass(frozen=True, slots=True)
class FunctionTests:
    """Tests of a function: `tests` defines `check(candidate)` or asserts at its top level.

    `prompt` is what the program goes on from: imports, helpers and the head of the function.
    """

    prompt: str
    entry_point: str
    tests: str


@dataclass(frozen=True, slots=True)
class CallTests:
    """Calls of a function and their results: pairs of a JSON list of arguments and a JSON value.

    The program comes after `prompt` (imports). The entry point "Solution.solve" is a method: every
    call makes a new instance of the class.
    """

    prompt: str
    entry_point: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StreamTests:
    """Pairs of standard input and the output that belongs to it."""

    pairs: tuple[tuple[str, str], ...]


Tests = FunctionTests | CallTests | StreamTests
PairTests = TypeVar("PairTests", bound=CallTests | StreamTests)


def encode(tests: Tests) -> str:
    """Tests as the text that stands in a prompt table's column `answer`."""
    text = json.dumps({"kind": type(tests).__name__, **asdict(tests)}, sort_keys=True)
    if len(text) <= LONG:
        return text
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    return json.dumps({"kind": "compressed", "zlib": packed}, sort_keys=True)


def decode(text: str) -> Tests:
    """The tests that `encode` wrote.

    Raises:
        DataError: the text is no tests.
    """
    try:
        content = parse_json(text)
        kind = content.pop("kind")
        if kind == "compressed":
            content = parse_json(zlib.decompress(base64.b64decode(content["zlib"], validate=True)))
            kind = content.pop("kind")
        if kind == StreamTests.__name__:
            return StreamTests(_pairs(content["pairs"]))
        if kind == CallTests.__name__:
            return CallTests(**{**content, "pairs": _pairs(content["pairs"])})
        if kind == FunctionTests.__name__:
            return FunctionTests(**content)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise DataError(f"not the tests of a program: {text[:80]!r} ({error})") from error
    raise DataError(f"not the tests of a program: unknown kind '{kind}'")


def _pairs(content: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(given), str(result)) for given, result in content)


def subset(tests: PairTests, count: int) -> PairTests:
    """The `count` pairs with the longest input, in the order of the source.

    DeepCoder trains on the 15 longest, as the hardest ones. Of equally long ones the first are
    taken.
    """
    longest = sorted(range(len(tests.pairs)), key=lambda row: -len(tests.pairs[row][0]))[:count]
    return replace(tests, pairs=tuple(tests.pairs[row] for row in sorted(longest)))
