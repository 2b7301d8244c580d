"""What was measured of a preset's models on the machines that train them: rows of measured.csv.

A rehearsal writes it; `gainrl plan` reads it in place of assumptions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path

import pandas as pd

from gainrl.errors import DataError, nearest
from gainrl.records import write_text

UNITS = {
    "mean response": "tokens",
    "prefill": "question tokens/s",
    "decoding": "tokens/s",
    "training": "FLOP/s",
    "rollout": "s",
    "weight sync": "s",
    "save": "s",
    "start": "s",
    "tests of a step": "s",
    "host memory": "MiB",
    "GPU memory": "MiB",
}
"""Every quantity, and its unit. Rates are of all GPUs of a job; FLOP are counted as by
`gainrl.results.flops`: without attention and recomputation."""


@dataclass(frozen=True)
class Measured:
    """A number: the median of `count` of them, of a model and of what it was measured on.

    of: a data set ('mean response', 'prefill'), DATASET/METHOD (of a run), or a rule (memory).
    """

    quantity: str
    model: str
    of: str
    value: float
    unit: str
    count: int


COLUMNS = [each.name for each in fields(Measured)]


def write_measured(path: Path, rows: Iterable[Measured]) -> None:
    """Write the table, whole or not at all."""
    frame = pd.DataFrame([asdict(row) for row in rows], columns=COLUMNS)
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_measured(path: Path) -> list[Measured]:
    """The rows of the table; none where there is no file.

    Raises:
        DataError: it is no such table, or a row has an unknown quantity, another unit than it has
            to have, or a value that is no positive number.
    """
    if not path.exists():
        return []
    try:
        frame = pd.read_csv(path, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the table: {error}") from error
    if missing := [column for column in COLUMNS if column not in frame]:
        raise DataError(f"{path}: no column '{missing[0]}'{nearest(missing[0], map(str, frame))}")
    rows = frame[COLUMNS].astype(str).itertuples(index=False, name=None)
    return [_row(f"{path}: row {number}", *row) for number, row in enumerate(rows, start=1)]


def _row(where: str, *cells: str) -> Measured:
    quantity, model, of, number, unit, counted = cells
    if quantity not in UNITS:
        raise DataError(f"{where}: unknown quantity '{quantity}'{nearest(quantity, UNITS)}")
    if unit != UNITS[quantity]:
        raise DataError(f"{where}: '{quantity}' is in '{unit}', not in '{UNITS[quantity]}'")
    try:
        value, count = float(number), int(counted)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    if not (isfinite(value) and value > 0):
        raise DataError(f"{where}: value {value:g} is no positive number")
    return Measured(quantity, model, of, value, unit, count)
