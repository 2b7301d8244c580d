"""The records of data files and of the Hugging Face hub, one at a time, as the source has them.

Each comes with its place, which begins every message about it: the file and its line, or the source
and the record's number, from 0 as in the ids of prompts.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gainrl.data.entry import HubFiles, HubPlace, HubTable, HubTables
from gainrl.data.hub import advice
from gainrl.errors import DataError

BATCH = 64
"""Rows of a Parquet file that are held at a time."""

Placed = tuple[str, Any]
"""A record's place, and the record."""


def numbered(where: object, records: Iterable[Any]) -> Iterator[Placed]:
    """Records of a source without lines, with their places."""
    for row, record in enumerate(records):
        yield f"{where}: row {row} (from 0)", record


# --- the hub -------------------------------------------------------------------------------------


def read_hub(place: HubPlace) -> Iterator[Placed]:
    """The records of a place on the hub.

    Raises:
        DataError: the place does not exist, cannot be reached, or is none that `datasets` reads.
    """
    if isinstance(place, HubFiles):
        yield from read_files(_downloaded(place))
    else:
        for table in place.tables if isinstance(place, HubTables) else (place,):
            yield from numbered(table, _read_table(table))


def _read_table(table: HubTable) -> Iterator[Any]:
    import datasets

    with _hub_errors(table):
        loaded: Any = datasets.load_dataset(
            table.id, table.config, split=table.split, revision=table.revision
        )
        types = _short_floats(loaded.features.arrow_schema)
        for record in loaded:
            yield _shortest(record, types)


def _downloaded(place: HubFiles) -> Iterator[Path]:
    import huggingface_hub

    for file in place.files:
        with _hub_errors(place):
            path = huggingface_hub.hf_hub_download(
                place.id, file, repo_type="dataset", revision=place.revision
            )
        yield Path(path)


@contextmanager
def _hub_errors(place: HubPlace) -> Iterator[None]:
    """Whatever the hub's libraries raise as one line: builders let through all that they meet.

    Which file was read is only in what `datasets` logs meanwhile.
    """
    notes = _Notes(logging.ERROR)
    logger = logging.getLogger("datasets")
    logger.addHandler(notes)
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = [*notes.lines, str(cause) or type(cause).__name__]
        reason = next((line for line in said if str(cause) in line), said[-1])
        first = place.tables[0] if isinstance(place, HubTables) else place
        reason = advice(error, "dataset", first.id) or reason
        raise DataError(f"{place}: cannot read from the hub: {' '.join(reason.split())}") from error
    finally:
        logger.removeHandler(notes)


class _Notes(logging.Handler):
    """Keeps the messages that are logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(record.getMessage())


# --- files ---------------------------------------------------------------------------------------


def read_files(paths: Iterable[Path]) -> Iterator[Placed]:
    """The records of files, one after the other.

    They are .json (a list of records), .jsonl, .parquet or .jsonl.gz files.

    Raises:
        DataError: a file that is missing, of another kind, or not what its name says.
    """
    for path in paths:
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[Placed]:
    reader = next((_KINDS[kind] for kind in _KINDS if path.name.endswith(kind)), None)
    if reader is None:
        raise DataError(f"{path}: unknown kind of file; known: {', '.join(_KINDS)}")
    try:
        yield from reader(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a readable gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def _read_json(path: Path) -> Iterator[Placed]:
    data = _parse(_decoded(path.read_bytes(), str(path), first=True), path, 0)
    if not isinstance(data, list):
        raise DataError(
            f"{path}: a JSON data set is a list of records, not a {type(data).__name__}"
        )
    yield from numbered(path, data)


def _read_json_lines(path: Path) -> Iterator[Placed]:
    with path.open("rb") as file:
        yield from _lines(file, path)


def _read_packed_lines(path: Path) -> Iterator[Placed]:
    with gzip.open(path, "rb") as file:
        yield from _lines(file, path)


def _lines(file: BinaryIO | gzip.GzipFile, path: Path) -> Iterator[Placed]:
    # Lines of bytes: those of text also end at characters that JSON allows inside a string.
    for before, line in enumerate(file):
        place = f"{path}: line {before + 1}"
        text = _decoded(line, place, first=before == 0).strip()
        if text == "[":
            raise DataError(f"{place}: a list of records is a file whose name ends in .json")
        if text:
            yield place, _parse(text, path, before)


def _decoded(data: bytes, where: str, first: bool) -> str:
    """Text of bytes; the first may begin with a byte order mark."""
    try:
        return data.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text (byte {error.start})") from error


def _parse(text: str, path: Path, lines_before: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        line = error.lineno + lines_before
        hint = ""
        if error.msg == "Extra data" and path.suffix == ".json":
            hint = "; one record a line is a file whose name ends in .jsonl"
        raise DataError(f"{path}: line {line}: not valid JSON: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:  # a key given twice; longer or deeper than Python
        at = f" line {lines_before + 1}:" if path.suffix != ".json" else ""
        raise DataError(f"{path}:{at} cannot read this JSON: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which no key has two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(f"the key {key!r} has two values")
    return found


def _read_parquet(path: Path) -> Iterator[Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            source = pq.ParquetFile(file)
            schema = source.schema_arrow
            twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
            if twice:
                raise DataError(f"{path}: has the column '{twice[0]}' twice")
            types = _short_floats(schema)
            rows = (row for batch in source.iter_batches(BATCH) for row in batch.to_pylist())
            yield from numbered(path, (_shortest(row, types) for row in rows))
    except (pa.ArrowException, ValueError, OverflowError) as error:  # dates out of Python's range
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


# --- short floats --------------------------------------------------------------------------------


def _short_floats(fields: Iterable[Any]) -> list[tuple[str, Any]]:
    """Name and type of the fields of a schema or struct in which there is float16 or float32."""
    return [(field.name, field.type) for field in fields if "float" in str(field.type)]


def _shortest(record: dict[str, Any], types: list[tuple[str, Any]]) -> dict[str, Any]:
    """A record whose float16 and float32 numbers are of that kind: 0.1, not 0.10000000149."""
    return {**record, **{name: _typed(record[name], kind) for name, kind in types}}


def _typed(value: Any, kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(value, float):
        short = {pa.float16(): np.float16, pa.float32(): np.float32}.get(kind)
        return short(value) if short else value
    if isinstance(value, dict) and pa.types.is_struct(kind):
        return _shortest(value, _short_floats(kind))
    if isinstance(value, list) and hasattr(kind, "value_type"):
        return [_typed(item, kind.value_type) for item in value]
    return value


_KINDS: dict[str, Callable[[Path], Iterable[Placed]]] = {
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
    ".jsonl.gz": _read_packed_lines,
}
