"""What stages hand to each other: tables with checked columns, JSON and append-only JSON lines.

Every file appears under its final name only when it is complete (`gainrl.files`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gainrl.errors import DataError
from gainrl.files import (
    append_lines,
    atomic_write,
    finite,
    not_finite,
    read_json,
    read_lines,
    truncate_lines,
    write_json,
    write_text,
)

__all__ = [
    "BATCH",
    "DIFFICULTY",
    "FEATURES",
    "GRADIENTS",
    "LAYERS",
    "LINEARITY",
    "ORDER",
    "PROBE",
    "PROMPTS",
    "SAMPLES",
    "SCORES",
    "Schema",
    "append_lines",
    "atomic_write",
    "check_table",
    "finite",
    "not_finite",
    "read_json",
    "read_lines",
    "read_metadata",
    "read_table",
    "truncate_lines",
    "write_json",
    "write_table",
    "write_text",
]


@dataclass(frozen=True)
class Schema:
    """Columns and kinds: 'str', 'int', 'float', 'ints' (a list); optional ones may be absent."""

    name: str
    required: Mapping[str, str]
    optional: Mapping[str, str]
    unique: str | None = "id"


PROMPTS = Schema(
    "prompt table",
    {"id": "str", "question": "str", "answer": "str"},
    {
        "difficulty": "float",
        "category": "str",
        "solution": "str",
        "noisy_solution": "str",
        "kind": "str",
    },
)
"""One row a prompt. difficulty: the source's own scale; answer: gold, as text; kind: what a prompt
is in a pool (gainrl.data.pools), for analyses alone: nothing that trains or chooses reads it."""

SCORES = Schema(
    "score table",
    {"id": "str", "n_prefix": "int", "n_question": "int", "c_intra": "float", "c_inter": "float"},
    {
        "c_intra_offdiagonal": "float",
        "c": "float",
        "c_released": "float",
        "c_post_norm": "float",
        "c_pre_norm": "float",
        "c_up_proj_input": "float",
    },
)
"""One row a prompt: segment lengths in tokens and the angle signal of Eq. 5 (dimensionless).

c: what the order `angle` sorts by; c_<tap>: C at another tap; both NaN where the released script's
value is.
"""

ORDER = Schema("order table", {"rank": "int", "id": "str"}, {"value": "float"})
"""rank 0 first; value: what the prompts were sorted by. Provenance is in the file's metadata."""

DIFFICULTY = Schema(
    "difficulty table",
    {"id": "str", "difficulty": "float", "pass_rate": "float", "samples": "int"},
    {},
)
"""difficulty = 100 (1 - pass rate) of the start model, as ADARFT's coefficient (spec section 4)."""

SAMPLES = Schema(
    "sample table",
    {"id": "str", "sample": "int", "response": "str", "correct": "int", "tokens": "int"},
    {
        "extracted": "str",
        "reason": "str",
        "rule": "str",
        "prompt": "str",
        "truncated": "int",
        "token_ids": "ints",
    },
    unique=None,
)
"""One row a generated answer. tokens: response length; extracted: what was graded, found by `rule`
('box', 'phrase', ...), and `reason` why it is right or wrong; prompt: hash of the prompt's token
ids; truncated: 1 if it met the limit."""


FEATURES = Schema(
    "feature table",
    {"id": "str", **{f"state{number:02d}": "float" for number in range(16)}},
    {},
)
"""One row a prompt: principal components of the start model's mean final state over the question,
those of the largest variance first."""

LAYERS = Schema(
    "layer table",
    {"id": "str", "layer": "int", "c_intra": "float", "c_inter": "float"},
    {},
    unique=None,
)
"""One row a prompt and layer; layer 0 is the embeddings, the last is after the final norm."""

GRADIENTS = Schema(
    "gradient table",
    {"id": "str", "gradient_norm": "float", "pass_rate": "float", "rollouts": "int"},
    {},
)
"""One row a prompt: norm of the gradient of its own GRPO loss, and the pass rate of its group."""

PROBE = Schema(
    "probe table",
    {
        "step": "int",
        "id": "str",
        "c_intra": "float",
        "c_inter": "float",
        "c": "float",
        "correct": "int",
        "samples": "int",
    },
    {},
    unique=None,
)
"""One row a snapshot and prompt: the signal and the right answers of the policy of that step."""

LINEARITY = Schema(
    "linearity table",
    {
        "part": "str",
        "selection": "str",
        "grouping": "str",
        "group": "str",
        "count": "int",
        "constant": "int",
        "kept": "int",
        "histogram": "ints",
    },
    {
        **dict.fromkeys(("mean", "q05", "q25", "median", "q75", "q95"), "float"),
        **dict.fromkeys(("over_0.7", "over_0.9", "null_median"), "float"),
    },
    unique=None,
)
"""R^2 against the RL step (docs/linearity-analysis.md): a row a part, selection and group.

part: weights, tokens_start, tokens_last, or random_walk; grouping: all, module, layer or tensor, of
which `group` names one. count: trajectories looked at; constant: those without R^2; kept: those
that the selection keeps, of which the other columns tell: quantiles, shares over a value, counts in
equal bins from 0 to 1. null_median: of random walks, selected to the same share by the same rule.
"""


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_string_dtype(column):
        return True
    return bool(column.map(lambda value: isinstance(value, str)).all())


_KINDS: dict[str, Callable[[pd.Series], bool]] = {
    "str": _is_text,
    "int": lambda column: bool(pd.api.types.is_integer_dtype(column)),
    "float": lambda column: bool(pd.api.types.is_numeric_dtype(column)),
    "ints": lambda column: bool(column.map(np.ndim).eq(1).all()),
}


def check_table(frame: pd.DataFrame, schema: Schema, where: str | os.PathLike[str]) -> None:
    """Refuse a table that does not fit its schema.

    Raises:
        DataError: a missing or unknown column, an empty or infinite required cell or a repeated
            id; the message names the file, the column and the row.
    """
    known = {**schema.required, **schema.optional}
    for column in schema.required:
        if column not in frame:
            raise DataError(f"{where}: the {schema.name} has no column '{column}'")
    for column in map(str, frame.columns):
        if column not in known:
            raise DataError(f"{where}: unknown column '{column}' in the {schema.name}")
        empty = frame[column].isna()
        if column in schema.required and empty.any():
            raise DataError(f"{where}: row {_first(empty)} has no '{column}'")
        if len(frame) and not _KINDS[known[column]](frame[column].dropna()):
            raise DataError(f"{where}: column '{column}' is not of kind {known[column]}")
        if schema.required.get(column) == "float":
            endless = frame[column].isin([math.inf, -math.inf])
            if endless.any():
                raise DataError(f"{where}: row {_first(endless)}: '{column}' is infinite")
    if schema.unique:
        repeated = frame[schema.unique].duplicated()
        if repeated.any():
            row = _first(repeated)
            value = frame[schema.unique].iloc[row]
            raise DataError(f"{where}: row {row} repeats the {schema.unique} '{value}'")


def _first(mask: pd.Series) -> int:
    return int(mask.to_numpy().argmax())


BATCH = 16
"""Rows of a table that is written with texts from elsewhere."""


def write_table(
    path: str | os.PathLike[str],
    frame: pd.DataFrame,
    schema: Schema,
    metadata: Mapping[str, Any] | None = None,
    filled: Mapping[str, Callable[[str], str]] | None = None,
) -> None:
    """Check and write a Parquet table atomically; metadata is kept in the file's schema.

    Args:
        filled: by column of texts, what makes a text of a cell as it is written: BATCH rows at a
            time, so that large texts are never all in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_table(frame, schema, path)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = json.dumps(dict(metadata or {}), sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"gainrl": note})
    with atomic_write(path) as file:
        if not filled:
            pq.write_table(table, file)
            return
        with pq.ParquetWriter(file, table.schema) as writer:
            for start in range(0, len(table), BATCH):
                part = table.slice(start, BATCH)
                for name, text in filled.items():
                    at = table.schema.get_field_index(name)
                    cells = pa.array(map(text, part[name].to_pylist()), table.schema.field(at).type)
                    part = part.set_column(at, table.schema.field(at), cells)
                writer.write_table(part)


def read_table(path: str | os.PathLike[str], schema: Schema) -> pd.DataFrame:
    """Read and check a Parquet table.

    Raises:
        DataError: the file is missing, is not Parquet or does not fit the schema.
    """
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such {schema.name}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    check_table(frame, schema, path)
    return frame


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that `write_table` stored in a Parquet file."""
    import pyarrow.parquet as pq

    raw = (pq.read_schema(path).metadata or {}).get(b"gainrl", b"{}")
    return json.loads(raw)
