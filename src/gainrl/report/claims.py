"""`results/claims.csv`, read for the report."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from gainrl.claims.verdicts import COLUMNS, VERDICTS
from gainrl.errors import DataError, nearest
from gainrl.report.page import Claim, Part


def read_claims(path: Path) -> list[Claim]:
    """The claims of a preset, in the order of the file; a row without a model is a claim's verdict.

    Raises:
        DataError: the file or a column is missing, a cell cannot be read, or a claim has no
            overall verdict or two.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable CSV file ({error})") from error
    for column in COLUMNS:
        if column not in frame:
            raise DataError(f"{path}: no column '{column}'")
    claims = []
    for name, rows in frame.groupby("claim", sort=False):
        parts = [_part(path, int(at) + 1, row) for at, row in rows.iterrows()]  # type: ignore[call-overload]
        overall = [part for part in parts if not part.model]
        if len(overall) != 1:
            raise DataError(f"{path}: claim '{name}' has {len(overall)} overall verdicts")
        first = rows[rows["model"] == ""].iloc[0]
        below = tuple(part for part in parts if part.model)
        claims.append(Claim(str(name), first["statement"], first["rule"], overall[0], below))
    return claims


def _part(path: Path, row: int, cells: pd.Series) -> Part:
    if cells["verdict"] not in VERDICTS:
        raise DataError(
            f"{path}: row {row}: unknown verdict '{cells['verdict']}'"
            f"{nearest(cells['verdict'], VERDICTS)}"
        )
    mean, low, high = (_number(path, row, name, cells[name]) for name in ("mean", "low", "high"))
    model, dataset, benchmark, quantity, n, verdict, note = (
        cells[name]
        for name in ("model", "dataset", "benchmark", "quantity", "n", "verdict", "note")
    )
    return Part(model, dataset, benchmark, quantity, mean, low, high, n, verdict, note)


def _number(path: Path, row: int, column: str, text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise DataError(f"{path}: row {row}: '{column}' is '{text}', no number") from error
