"""The rows of a data set with all their columns, and the same rows in another order as a file."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gainrl.data.entry import HubTable
from gainrl.data.reading import read_files, read_hub
from gainrl.errors import DataError
from gainrl.files import atomic_write, in_utf8, keep_inputs
from gainrl.ordering.asked import SPLIT

if TYPE_CHECKING:
    import pyarrow as pa

RANK, VALUE = "gainrl_rank", "gainrl_value"
"""What is added to each row."""
FORMATS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Rows:
    """A data set as it was read.

    name: for messages; places: (N,) where each row is, which begins every message about it;
    records: (N,); table: the same as Arrow has it, where it was Parquet.
    """

    name: str
    places: list[str]
    records: list[dict[str, Any]]
    table: pa.Table | None = None


def read(source: str, split: str, config: str | None, out: Path) -> Rows:
    """Read a file, or a data set of the hub by its id.

    Args:
        split, config: of the data set, if it is on the hub.
        out: where its rows will be written.

    Raises:
        DataError: it is not there, cannot be read, is empty or was ordered before, or `out`
            is of another format or the file itself.
    """
    path = Path(source)
    keep_inputs([out], [path])
    if not out.name.endswith(FORMATS):
        raise DataError(f"--out {out}: its name ends in none of {', '.join(FORMATS)}")
    if not path.exists() and not path.suffix and _HUB.fullmatch(source):
        place = HubTable(id=source, split=split, config=config)
        return _rows(str(place), list(read_hub(place)), None)
    if config is not None or split != SPLIT:
        flag = "--split" if config is None else "--config"
        raise DataError(f"{flag} goes with a data set of the hub, and {path} is a file")
    placed = list(read_files([path]))
    kind = _kind(path)
    if kind != _kind(out):
        raise DataError(f"--out {out}: {path} is a {kind} file, and so will its order be")
    if kind != ".parquet":
        return _rows(source, placed, None)
    import pyarrow.parquet as pq

    return _rows(source, placed, pq.read_table(path))


def _kind(path: Path) -> str:
    """Its suffix; of JSONL the same, packed or not."""
    return Path(path.name.removesuffix(".gz")).suffix


def _rows(name: str, placed: list[tuple[str, Any]], table: pa.Table | None) -> Rows:
    for place, record in placed:
        if not isinstance(record, dict):
            raise DataError(f"{place}: a row is a record, not a {type(record).__name__}")
        if taken := next((name for name in (RANK, VALUE) if name in record), None):
            raise DataError(
                f"{place}: has '{taken}' already, which an order adds; rename or drop that column"
            )
    if not placed:
        raise DataError(f"{name}: no rows")
    return Rows(name, [place for place, _ in placed], [record for _, record in placed], table)


def write(out: Path, rows: Rows, order: Sequence[int], values: Sequence[float]) -> None:
    """Write rows in an order, each with its rank, from 0, and its value; as `out` is called.

    Args:
        order: (M,) rows; values: (M,) theirs, NaN for none.
    """
    if out.suffix == ".parquet":
        _write_parquet(out, rows, order, values)
        return
    found = [
        {**rows.records[row], RANK: rank, VALUE: None if np.isnan(value) else float(value)}
        for rank, (row, value) in enumerate(zip(order, values, strict=True))
    ]
    with atomic_write(out) as file:
        if out.suffix == ".json":
            file.write(in_utf8(json.dumps(found, ensure_ascii=False, indent=1) + "\n"))
            return
        packed = out.suffix == ".gz"
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) if packed else nullcontext(file) as to:
            for record in found:
                to.write(in_utf8(json.dumps(record, ensure_ascii=False) + "\n"))


def _write_parquet(out: Path, rows: Rows, order: Sequence[int], values: Sequence[float]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pylist(rows.records) if rows.table is None else rows.table
    except pa.ArrowException as error:
        raise DataError(f"{rows.name}: cannot be written as Parquet: {error}") from error
    table = table.take(pa.array(order, pa.int64()))
    table = table.append_column(RANK, pa.array(range(len(order)), pa.int64()))
    table = table.append_column(VALUE, pa.array(values, pa.float64(), from_pandas=True))
    with atomic_write(out) as file:
        pq.write_table(table, file)
