"""What a run is trained on: prompts of its method's selection, their ranks and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl import plan
from gainrl.curricula.base import FloatArray, IntArray
from gainrl.curricula.selection import select
from gainrl.errors import DataError
from gainrl.plan import Inputs, RunKey
from gainrl.records import DIFFICULTY, FEATURES, ORDER, PROMPTS, SCORES, read_metadata, read_table
from gainrl.records.runs import Prepared
from gainrl.stages.common import Context

TABLES = {
    "scores": (SCORES, {"tokens": "n_question", "c_intra": "c_intra", "c_inter": "c_inter"}),
    "features": (FEATURES, {name: name for name in FEATURES.required if name != "id"}),
}
"""Tables that features come from (`Inputs.features`), and the columns they are."""


@dataclass(frozen=True)
class TrainingData:
    """N prompts; what the method or the data set does not have is None.

    order: (N,) rows from rank 0 on; difficulty: (N,) in [0, 100]; categories: (N,) codes from 0 on;
    features: name -> (N,), if the method's curriculum reads any.
    """

    table: pd.DataFrame
    order: IntArray | None
    difficulty: FloatArray | None
    categories: IntArray | None = None
    features: Mapping[str, FloatArray] | None = None

    def part(self, ranks: IntArray) -> TrainingData:
        """The prompts at some ranks; rows stay in the table's order, ranks in the order's."""
        assert self.order is not None
        chosen = self.order[ranks]
        rows = np.sort(chosen)
        return TrainingData(
            self.table.iloc[rows].reset_index(drop=True),
            np.searchsorted(rows, chosen).astype(np.int64),
            None if self.difficulty is None else self.difficulty[rows],
            None if self.categories is None else self.categories[rows],
            features=self.features
            and {name: values[rows] for name, values in self.features.items()},
        )


def training_data(context: Context, key: RunKey) -> TrainingData:
    """Read a run's prompts, order, difficulties and features; take its method's selection.

    Raises:
        DataError: a file is missing, is of another training table, or has no difficulties.
    """
    given = plan.inputs_of(context.preset, context.layout, key)
    table, order, difficulty = read_table(given.prompts, PROMPTS), None, None
    ids = table["id"].tolist()
    if given.order:
        order = _rows_of(ids, read_table(given.order, ORDER)["id"].tolist(), given.order)
    if given.difficulty:
        values = read_table(given.difficulty, DIFFICULTY)
        difficulty = np.empty(len(ids))
        difficulty[_rows_of(ids, values["id"].tolist(), given.difficulty)] = values["difficulty"]
    elif given.ranges is not None:
        difficulty = _scaled_column(table, given.prompts, given.ranges)
    data = TrainingData(table, order, difficulty, _categories(table), _features(given, ids))
    part = context.preset.methods[key.method].selection
    return data.part(select(len(ids), part.share, part.slope, key.seed)) if part else data


def input_digests(context: Context, key: RunKey) -> dict[str, Any]:
    """Short hashes of the order, the difficulties and the features that a run reads."""
    given, found = plan.inputs_of(context.preset, context.layout, key), {}
    if given.order:
        found["order"] = plan.digest(read_table(given.order, ORDER)["id"].tolist())
    if given.difficulty:
        found["difficulty"] = plan.digest(read_table(given.difficulty, DIFFICULTY).to_dict("list"))
    ids = read_table(given.prompts, PROMPTS)["id"].tolist()
    if features := _features(given, ids):
        values = {name: column.tolist() for name, column in features.items()}
        found["features"] = plan.digest(values)
    return found


def prepared_tokens(context: Context, key: RunKey) -> dict[str, int]:
    """Prompt and response tokens that the start model ran for what a run reads (`Prepared`).

    Raises:
        DataError: a table of before tokens were counted.
    """
    total = dict.fromkeys(Prepared.model_fields, 0)
    for path in plan.inputs_of(context.preset, context.layout, key).costly.values():
        about = read_metadata(path)
        if "prompt_tokens" not in about:
            raise DataError(
                f"{path}: its metadata does not say how many tokens it took; delete it, and it is "
                "measured again"
            )
        for name in total:
            total[name] += about.get(name, 0)
    return total


def _features(given: Inputs, ids: list[str]) -> dict[str, FloatArray] | None:
    """What the prefill says of each prompt, from the tables that the method's curriculum needs."""
    found: dict[str, FloatArray] = {}
    for table, path in given.features.items():
        schema, columns = TABLES[table]
        frame = read_table(path, schema)
        rows = _rows_of(ids, frame["id"].tolist(), path)
        for name, column in columns.items():
            found[name] = np.empty(len(ids))
            found[name][rows] = frame[column]
    return found or None


def _rows_of(ids: list[str], wanted: list[str], path: Path) -> IntArray:
    """Rows of the training table for the ids of another table, which must hold the same prompts."""
    where = {name: row for row, name in enumerate(ids)}
    if set(where) != set(wanted):
        odd = sorted(set(where) ^ set(wanted))[0]
        raise DataError(f"{path}: not of this training table (first difference: '{odd}')")
    return np.array([where[name] for name in wanted], dtype=np.int64)


def _categories(table: pd.DataFrame) -> IntArray | None:
    """(N,) codes, sorted by part and category; the parts of a mix share none.

    Prompts without a category are one of their part; None if no prompt has one.
    """
    if "category" not in table or table["category"].isna().all():
        return None
    part = table["id"].str.partition("/")[0]
    groups = table.groupby([part, table["category"].fillna("")], sort=True)
    return np.asarray(groups.ngroup(), dtype=np.int64)


def _scaled_column(
    table: pd.DataFrame, path: Path, ranges: Mapping[str, tuple[float, float]]
) -> FloatArray:
    """The data set's own difficulties on [0, 100], from the ends of the scale of each part."""
    found = np.empty(len(table))
    cells = table.get("difficulty", pd.Series(np.nan, table.index))
    for row, (name, value) in enumerate(zip(table["id"], cells, strict=True)):
        part = name.partition("/")[0]
        if part not in ranges or np.isnan(value):
            raise DataError(f"{path}: prompt '{name}' has no difficulty; use difficulty: measured")
        low, high = ranges[part]
        if not low <= value <= high:
            raise DataError(
                f"{path}: the difficulty of prompt '{name}' is {value:g}, "
                f"not in [{low:g}, {high:g}]"
            )
        found[row] = 100 * (value - low) / (high - low) if high > low else 50.0
    return found
