"""From a preset's data set to prompt tables: registry, files, hub, generators, reasoning-gym.

Every table follows gainrl.records.PROMPTS. A row's id is '<data set>/<split>/<row of the source>',
so it does not depend on how many rows a preset asks for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.config_data import Dataset, Fields, Files, Generated, Gym, Hub, Registered
from gainrl.data.answers import READERS
from gainrl.data.registry import Entry, HubTable, Layout, Split, find
from gainrl.errors import ConfigError, DataError, nearest
from gainrl.records import PROMPTS, check_table

log = logging.getLogger(__name__)

Splits = dict[str, pd.DataFrame]
_FIELDS = ("question", "answer", "solution", "difficulty", "category")
_MISSING = object()


@dataclass(frozen=True)
class _Records:
    """Rows as the source has them; `where` names the source in errors."""

    where: str
    rows: list[Any]
    layout: Layout
    unanswered: int = 0


def load_splits(spec: Dataset, *, data_dir: Path | None, name: str) -> Splits:
    """Load, cut and check the splits of a data set.

    Args:
        spec: the preset's entry.
        data_dir: folder of local copies, which then replace the hub. A registered data set must
            have its copy there; for `source: hub` a copy is used where there is one, named as
            `registry.HubTable.copy_name` says.
        name: the data set's name in the preset; ids begin with it.

    Returns:
        'train', 'eval' and 'warmup' (each possibly empty), with columns id, question, answer and,
        where the source has them, solution, difficulty (the source's own scale) and category.
        Counts in the spec take a seeded random subset, kept in the source's order; subsets of one
        seed are nested. Warm-up rows are train rows with a worked solution that RL never sees.

    Raises:
        ConfigError: an unknown name in the registry, a data set without any file, a reasoning-gym
            task or argument that does not exist, or the extra `gym` is not installed.
        DataError: a source that is missing or malformed, a missing column, an empty question, a
            missing answer, a repeated id, or fewer rows than asked for.
    """
    if isinstance(spec, Generated):
        from gainrl.data.generate import generate_splits

        splits = generate_splits(spec, name)
    elif isinstance(spec, Gym):
        splits = _gym_splits(spec, name)
    else:
        train, evaluation = _read(spec, data_dir, name)
        splits = _cut(spec, name, _frame(train, name, "train"), _frame(evaluation, name, "eval"))
    _check(splits, name)
    return splits


# --- where rows come from ------------------------------------------------------------------------


def _read(
    spec: Registered | Files | Hub, data_dir: Path | None, name: str
) -> tuple[_Records | None, _Records | None]:
    """The records of both splits; None where there is none or the preset wants none of it."""
    train = spec.train != 0 or spec.warmup > 0
    evaluation = spec.eval != 0
    if isinstance(spec, Registered):
        entry = find(spec.name)
        return (
            _registered(entry, entry.train, data_dir) if train else None,
            _registered(entry, entry.eval, data_dir) if evaluation else None,
        )
    layout = Layout(spec.fields)
    if isinstance(spec, Files):
        if spec.train_file is None and spec.eval_file is None:
            raise ConfigError(f"data set '{name}' names neither train_file nor eval_file")
        return (
            _file(Path(spec.train_file), layout) if train and spec.train_file else None,
            _file(Path(spec.eval_file), layout) if evaluation and spec.eval_file else None,
        )
    return (
        _hub(spec, spec.train_split, layout, data_dir) if train else None,
        _hub(spec, spec.eval_split, layout, data_dir) if evaluation else None,
    )


def _registered(entry: Entry, split: Split | None, data_dir: Path | None) -> _Records | None:
    if split is None:
        return None
    if data_dir is None:
        if split.hub is None:
            raise DataError(
                f"data set '{entry.name}' is not on the hub: name a folder with {split.local} "
                "in GAINRL_DATA_DIR"
            )
        return _Records(str(split.hub), _read_hub(split.hub), split.layout, split.unanswered)
    path = data_dir / (split.local or (split.hub.copy_name if split.hub else ""))
    if not path.is_file():
        without = f", or unset GAINRL_DATA_DIR to read {split.hub}" if split.hub else ""
        raise DataError(f"{path}: no local copy of data set '{entry.name}'; put it there{without}")
    layout = split.local_layout if split.local and split.local_layout else split.layout
    return _file(path, layout, split.unanswered)


def _file(path: Path, layout: Layout, unanswered: int = 0) -> _Records:
    return _Records(str(path), _read_file(path), layout, unanswered)


def _hub(spec: Hub, split: str | None, layout: Layout, data_dir: Path | None) -> _Records | None:
    if split is None:
        return None
    table = HubTable(spec.id, split, spec.config, spec.revision)
    if data_dir is not None and (path := data_dir / table.copy_name).is_file():
        return _file(path, layout)
    return _Records(str(table), _read_hub(table), layout)


def _read_hub(table: HubTable) -> list[Any]:
    import datasets

    try:
        loaded: Any = datasets.load_dataset(
            table.id, table.config, split=table.split, revision=table.revision
        )
        return loaded.to_list()
    except (OSError, ValueError) as error:  # what the library raises for names and for the network
        reason = " ".join(str(error).split())
        raise DataError(f"{table}: cannot read from the hub: {reason}") from error


def _read_file(path: Path) -> list[Any]:
    """The records of a .json (a list of records), .jsonl or .parquet file."""
    readers = {".json": _read_json, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path}: unknown kind of file; known: {', '.join(readers)}")
    try:
        return readers[path.suffix](path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def _read_json(path: Path) -> list[Any]:
    data = _parse(path.read_text(encoding="utf-8-sig"), path)
    if not isinstance(data, list):
        raise DataError(
            f"{path}: a JSON data set is a list of records, not a {type(data).__name__}"
        )
    return data


def _read_json_lines(path: Path) -> list[Any]:
    # Not splitlines(): it also cuts at characters that JSON allows inside a string.
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return [_parse(line, path, number) for number, line in enumerate(lines) if line.strip()]


def _parse(text: str, path: Path, lines_before: int = 0) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + lines_before
        raise DataError(f"{path}: line {line}: not valid JSON: {error.msg}") from error


def _read_parquet(path: Path) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            return pq.read_table(file).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


# --- records to tables ---------------------------------------------------------------------------


def _frame(records: _Records | None, name: str, split: str) -> pd.DataFrame:
    if records is None:
        return pd.DataFrame({column: pd.Series(dtype=str) for column in PROMPTS.required})
    where, rows = records.where, records.rows
    if not rows:
        raise DataError(f"{where}: holds no rows")
    for row, record in enumerate(rows):
        if not isinstance(record, dict):
            raise DataError(f"{where}: row {row} is a {type(record).__name__}, not a record")
    frame = pd.DataFrame({"id": [f"{name}/{split}/{row:04d}" for row in range(len(rows))]})
    for field in _FIELDS:
        path = getattr(records.layout.fields, field)
        if path is not None:
            values = _column(records, field, path)
            frame[field] = pd.Series(values, dtype=float if field == "difficulty" else object)
    empty = frame["question"].isna()
    if empty.any():
        column = records.layout.fields.question
        raise DataError(f"{where}: row {empty.idxmax()}: the question in '{column}' is empty")
    return _answered(frame, records)


def _column(records: _Records, field: str, path: str) -> list[Any]:
    """One of our columns: looked up in every record and passed through its reader."""
    found = [_lookup(record, path) for record in records.rows]
    if all(value is _MISSING for value in found):
        hint = nearest(path, _names(records.rows[0]))
        raise DataError(f"{records.where}: no column '{path}' for the {field}{hint}")
    reader = READERS[records.layout.reader(field)]
    values = []
    for row, value in enumerate(found):
        try:
            values.append(None if value is _MISSING else reader(value))
        except ValueError as error:
            raise DataError(f"{records.where}: row {row}: '{path}' {error}") from error
    return values


def _answered(frame: pd.DataFrame, records: _Records) -> pd.DataFrame:
    """Refuse rows without a gold answer, but for the few that the registry knows of."""
    missing, column = frame["answer"].isna(), records.layout.fields.answer
    count = int(missing.sum())
    if count > records.unanswered:
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise DataError(
            f"{records.where}: row {missing.idxmax()} has no answer in '{column}'{more}"
        )
    if count:
        rows = ", ".join(map(str, frame.index[missing]))
        log.warning("%s: left out %d rows without an answer: %s", records.where, count, rows)
    return frame[~missing].reset_index(drop=True)


def _lookup(record: Any, path: str) -> Any:
    """The value at a dotted path, or _MISSING. A column whose own name has dots comes first."""
    if path in record:
        return record[path]
    value = record
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _names(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of everything in a record that is not itself a record."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value[:1])
        for key, below in items:
            yield from _names(below, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix


# --- which rows ----------------------------------------------------------------------------------


def _cut(
    spec: Registered | Files | Hub, name: str, train: pd.DataFrame, evaluation: pd.DataFrame
) -> Splits:
    """Take the rows that the preset asks for."""
    order = np.random.default_rng([spec.seed, 0]).permutation(len(train))
    solved = train["solution"].notna() if "solution" in train else np.zeros(len(train), bool)
    # Warm-up rows come from the far end, so that a larger warm-up leaves the train rows in place.
    candidates = order[np.asarray(solved)[order]][::-1]
    warmup = _first(candidates, spec.warmup, f"data set '{name}': warmup (rows with a solution)")
    rest = order[~np.isin(order, warmup)]
    eval_order = np.random.default_rng([spec.seed, 1]).permutation(len(evaluation))
    return {
        "train": _rows(train, _first(rest, spec.train, f"data set '{name}': train")),
        "eval": _rows(evaluation, _first(eval_order, spec.eval, f"data set '{name}': eval")),
        "warmup": _rows(train, warmup),
    }


def _first(candidates: np.ndarray, count: int | None, what: str) -> np.ndarray:
    if count is not None and count > len(candidates):
        raise DataError(f"{what} asks for {count} rows; there are {len(candidates)}")
    return candidates[:count]


def _rows(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    return frame.iloc[np.sort(rows)].reset_index(drop=True)


def _check(splits: Splits, name: str) -> None:
    for split, frame in splits.items():
        check_table(frame, PROMPTS, f"data set '{name}', {split}")
    ids = pd.concat([frame["id"] for frame in splits.values()])
    for repeated in ids[ids.duplicated()]:
        raise DataError(f"data set '{name}': the id '{repeated}' is in two splits")


# --- reasoning-gym -------------------------------------------------------------------------------


def _gym_splits(spec: Gym, name: str) -> Splits:
    """Train and eval rows from one stream of problems; it has no worked solutions to warm up on."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ConfigError(
            f"data set '{name}' needs reasoning-gym: pip install 'gainrl[gym]' ({error})"
        ) from error
    if spec.task not in DATASETS:
        raise ConfigError(
            f"data set '{name}': unknown task '{spec.task}'{nearest(spec.task, DATASETS)}"
        )
    size = spec.train + spec.eval
    try:
        problems = reasoning_gym.create_dataset(
            spec.task, seed=spec.seed, size=size, **spec.arguments
        )
    except (TypeError, ValueError, AssertionError) as error:  # its validation uses assert
        raise ConfigError(f"data set '{name}': arguments of task '{spec.task}': {error}") from error
    rows = [problems[index] for index in range(size)]
    where, layout = f"reasoning-gym task '{spec.task}'", Layout(Fields())
    train = _Records(where, rows[: spec.train], layout) if spec.train else None
    return {
        "train": _frame(train, name, "train"),
        "eval": _frame(_Records(where, rows[spec.train :], layout), name, "eval"),
        "warmup": _frame(None, name, "warmup"),
    }
