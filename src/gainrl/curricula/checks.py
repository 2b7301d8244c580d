"""Numbers that would poison a policy for the rest of a run: refused by name before it sees them.

One that is not a number, once it is in an average, makes every later comparison false.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np

from gainrl.curricula.base import (
    BoolArray,
    FloatArray,
    Groups,
    IntArray,
    Outcome,
    Prefilled,
    Setting,
)
from gainrl.errors import ConfigError, DataError

Answered = TypeVar("Answered", Outcome, Groups)


def answered(seen: Answered) -> Answered:
    """Without the prompts that have no response: they say nothing of themselves."""
    there = seen.rollouts > 0
    if there.all():
        return seen
    columns = {each.name: getattr(seen, each.name) for each in dataclasses.fields(seen)}
    found: dict[str, Any] = {
        name: each[there] for name, each in columns.items() if isinstance(each, np.ndarray)
    }
    return dataclasses.replace(seen, **found)


def check_setting(name: str, setting: Setting) -> None:
    """Refuse difficulties and features that are not finite (ConfigError)."""
    columns: dict[str, FloatArray | None] = {"difficulty": setting.difficulty}
    columns |= {f"feature '{key}'": values for key, values in (setting.features or {}).items()}
    for what, values in columns.items():
        if values is not None and not (fine := np.isfinite(values)).all():
            row = int(fine.argmin())
            raise ConfigError(
                f"curriculum '{name}': {what} of row {row} is not finite ({values[row]})"
            )


def check_rows(name: str, rows: IntArray, size: int) -> None:
    """Refuse a draw that is no rows, has one twice or one beyond the table (ConfigError)."""
    if not (isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype.kind in "iu"):
        kind = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows)
        found = kind if isinstance(kind, str) else kind.__name__
        raise ConfigError(
            f"curriculum '{name}': a draw is {found}, not a numpy array (P,) of whole numbers"
        )
    distinct, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ConfigError(f"curriculum '{name}' drew row {distinct[counts.argmax()]} twice")
    for row in distinct[:1], distinct[-1:]:
        if len(row) and not 0 <= row[0] < size:
            raise ConfigError(f"curriculum '{name}' drew row {row[0]} of a table of {size}")


def check_outcome(name: str, outcome: Outcome, reads_signal: bool) -> None:
    """Refuse what a step saw if a number of it is none, or no share (DataError).

    Signal and advantage may be NaN where nothing was trained on, and the whole signal where no part
    reads it: it was not measured then.
    """
    check_accuracy(name, outcome)
    measured = reads_signal or not np.isnan(outcome.signal).all()
    for what in ("signal", "advantage") if measured else ("advantage",):
        values = getattr(outcome, what)
        unmeasured = np.isnan(values) & ~outcome.trained
        _refuse(name, what, outcome, values, np.isfinite(values) | unmeasured)
    found = outcome.moments
    if found and not (np.isfinite(found.signal) and np.isfinite(found.noise)):
        raise DataError(f"curriculum '{name}': the moments of the gradient are no numbers: {found}")


def check_accuracy(name: str, seen: Outcome | Groups) -> None:
    """Refuse an accuracy that is no share (DataError)."""
    fine = (seen.accuracy >= 0) & (seen.accuracy <= 1)
    _refuse(name, "accuracy", seen, seen.accuracy, fine)


def check_entropy(name: str, found: Prefilled) -> None:
    """Refuse an entropy that is no number (DataError)."""
    _refuse(name, "the entropy", found, found.entropy, np.isfinite(found.entropy))


def _refuse(
    name: str, what: str, seen: Outcome | Groups | Prefilled, values: FloatArray, fine: BoolArray
) -> None:
    if not fine.all():
        at = int(fine.argmin())
        raise DataError(
            f"curriculum '{name}': {what} of row {seen.rows[at]} of the training table is "
            f"{values[at]}"
        )
