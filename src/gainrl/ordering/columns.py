"""Which column holds what: the question or conversation, the answer, numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gainrl.data import answers
from gainrl.data.cells import MISSING, is_blank, lookup, names_of
from gainrl.data.chats import Messages, messages_of
from gainrl.errors import DataError, nearest
from gainrl.ordering.table import Rows

QUESTIONS = ("question", "problem", "prompt", "messages", "query", "instruction")
"""Columns that are tried, in this order, where none is named."""
ANSWERS = ("answer", "reward_model.ground_truth", "ground_truth", "solution")


def found_column(rows: Rows, named: str | None, tried: Sequence[str], flag: str) -> str:
    """The column that is named, or the first of some that the first row has.

    Raises:
        DataError: there is none.
    """
    record = rows.records[0]
    if named is not None:
        if lookup(record, named) is MISSING:
            raise DataError(
                f"{rows.places[0]}: no column '{named}'{nearest(named, names_of(record))}"
            )
        return named
    for name in tried:
        if lookup(record, name) is not MISSING:
            return name
    raise DataError(
        f"{rows.places[0]}: none of the columns {', '.join(tried)}; name one with {flag} "
        f"(it has {', '.join(names_of(record))})"
    )


def conversations(rows: Rows, column: str, system: str | None) -> list[Messages]:
    """(N,) what a model is asked: a text as the user's message, chat messages as they are.

    Args:
        system: a system message before those that have none.

    Raises:
        DataError: naming the row whose cell holds neither.
    """

    def chat(cell: Any) -> Messages:
        if isinstance(cell, str):
            if is_blank(cell):
                raise ValueError("is empty")
            cell = [{"role": "user", "content": cell}]
        if not isinstance(cell, list | np.ndarray):
            kind = "number" if isinstance(cell, int | float) else type(cell).__name__
            raise ValueError(f"is a {kind}; a text or a list of chat messages is wanted")
        found = messages_of(cell)
        if system and found[0]["role"] != "system":
            found = [{"role": "system", "content": system}, *found]
        return found

    return _cells(rows, column, chat)


def golds(rows: Rows, column: str, code: bool) -> list[str]:
    """(N,) gold answers; one may stand at the end of a worked solution.

    Args:
        code: they are tests of programs, taken as they are.

    Raises:
        DataError: naming the row that has none.
    """

    def gold(cell: Any) -> str:
        found = answers.text(cell) if code else answers.answer(cell)
        if found is None:
            raise ValueError("is empty")
        return found

    return _cells(rows, column, gold)


def numbers(rows: Rows, column: str) -> list[float]:
    """(N,) of a column.

    Raises:
        DataError: naming the row that has no finite number.
    """

    def number(cell: Any) -> float:
        found = answers.number(cell)
        if found is None or not math.isfinite(found):
            raise ValueError("holds no number")
        return found

    return _cells(rows, column, number)


def _cells(rows: Rows, column: str, read: Callable[[Any], Any]) -> list[Any]:
    found = []
    for place, record in zip(rows.places, rows.records, strict=True):
        cell = lookup(record, column)
        if cell is MISSING or cell is None:
            raise DataError(f"{place}: no '{column}'")
        try:
            found.append(read(cell))
        except ValueError as error:
            raise DataError(f"{place}: '{column}' {error}") from None
    return found
