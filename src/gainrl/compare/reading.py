"""Curves from files: CSV, exports of Weights & Biases, logs of TRL and verl."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl.compare.curves import RUNS, Curve, Log, Point, curves_of, points_of
from gainrl.compare.units import check_units
from gainrl.errors import DataError, nearest
from gainrl.files import not_utf8, parse_json, read_json

PathLike = str | os.PathLike[str]
REQUIRED = ("method", "seed", "step", "accuracy")
OPTIONAL = ("tokens", "task")
TRL_TOKENS, VERL_TOKENS = "num_tokens", "perf/total_num_tokens"
"""All tokens so far; tokens of a step. Prompts are in both."""


def read_curves(
    files: Sequence[PathLike],
    *,
    columns: Mapping[str, str] | None = None,
    metric: str = "",
    tokens: str = "",
    each_step: bool = False,
    runs: str = RUNS,
    wandb: bool = False,
    logged: Sequence[Log] = (),
    any_value: bool = False,
) -> list[Curve]:
    """Read the curves of files of any of the kinds, told by their ends and their contents.

    `.csv`: a row a test (`read_csv`), or an export of a chart if `wandb`. `.json`: TRL's
    trainer_state.json. `.jsonl`: verl's file logger, or TRL's log_history, a row a line.

    Args:
        columns: names of a CSV's columns by those that are expected.
        metric, tokens, each_step, runs: of logs, as `points_of` takes them; metric is required.
        logged: further logs, from elsewhere than files.
        any_value: take accuracies though a few are outside [0, 1], or some runs in percent.

    Raises:
        DataError: a file that is missing or not of its kind, or as `curves_of` and `points_of`;
            or a few accuracies outside [0, 1], or some runs in percent.
    """
    points: list[Point] = []
    logs: list[Log] = [*logged]
    for path in map(Path, files):
        if path.suffix == ".csv" and not wandb:
            points += read_csv(path, columns)
        elif path.suffix == ".csv":
            logs += read_wandb(path)
        elif path.suffix in (".json", ".jsonl"):
            logs.append(read_log(path))
        else:
            hint = "; save it as .csv, with commas" if path.suffix == ".tsv" else ""
            raise DataError(f"{path}: curves are read from .csv, .json and .jsonl{hint}")
    of_logs = {"--metric": metric, "--tokens": tokens, "--tokens-each-step": each_step}
    of_logs["--runs"] = runs != RUNS
    _check_options([*map(Path, files)], logs, of_logs, columns, wandb)
    if logs and not metric:
        names = dict.fromkeys(name for log in logs for name in log.metrics)
        shown = [name for name in names if any(part in name for part in ("acc", "eval", "val"))]
        raise DataError(
            f"{logs[0].source}: name the metric of the accuracy with --metric; logged are "
            f"{', '.join((shown or list(names))[:12])}"
        )
    points += points_of(logs, metric, tokens, each_step, runs)
    if not any_value:
        check_units(points)
    return curves_of(points)


def _check_options(
    files: Sequence[Path],
    logs: Sequence[Log],
    of_logs: Mapping[str, object],
    columns: Mapping[str, str] | None,
    wandb: bool,
) -> None:
    """Refuse what would say nothing of the files."""
    tables = [path for path in files if path.suffix == ".csv"]
    if wandb and not tables:
        raise DataError("--wandb-csv: no file is a .csv")
    if columns and (wandb or not tables):
        raise DataError("--columns is of CSVs with a row a test, and there is none")
    given = next((flag for flag, value in of_logs.items() if value), None)
    if given and tables and not logs:
        raise DataError(
            f"{given} is of logs, and {tables[0]} has a row a test; a column that is called "
            "otherwise: --columns accuracy=NAME; an export of W&B: --wandb-csv"
        )


# --- a row a test --------------------------------------------------------------------------------


def read_csv(path: PathLike, columns: Mapping[str, str] | None = None) -> list[Point]:
    """The tests in a CSV with the columns method, seed, step, accuracy, and perhaps tokens, task.

    Args:
        columns: what a column is called in the file, for those that are called otherwise.

    Raises:
        DataError: a missing column or a cell that is no number; named by file, row and column.
    """
    names = {name: (columns or {}).get(name, name) for name in (*REQUIRED, *OPTIONAL)}
    for name in columns or {}:
        if name not in names:
            raise DataError(f"--columns: no column '{name}' is read{nearest(name, names)}")
    rows = _rows(path)
    head = next(rows)[1]
    free = [name for name in head if name not in names.values()]
    for name in (*REQUIRED, *(columns or {})):
        if names[name] in head:
            continue
        if head[0] == "Step" and any(" - " in each for each in head[1:]):
            raise DataError(f"{path}: it looks like a chart's export of W&B: add --wandb-csv")
        raise DataError(
            f"{path}: no column '{names[name]}'{nearest(names[name], free)}; if it is called "
            f"otherwise: --columns {name}=NAME"
        )
    for name in names.values():
        if head.count(name) > 1:
            raise DataError(f"{path}: the column '{name}' is there {head.count(name)} times")
    points = [_point(path, number, dict(zip(head, cells, strict=True)), names)
              for number, cells in rows]  # fmt: skip
    if any(point.task for point in points):
        for point in points:
            if not point.task:
                raise DataError(f"{point.where}, column '{names['task']}': the cell is empty")
    return points


def _rows(path: PathLike) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of the head and of each row; as many cells as the head has."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            _check_commas(path, file.readline())
            file.seek(0)
            reader = csv.reader(file, strict=True)
            width = rows = 0
            for cells in reader:
                if width and cells and len(cells) != width:
                    raise DataError(
                        f"{path}: row {reader.line_num} has {len(cells)} cells, the head {width}"
                    )
                if cells:
                    width, rows = width or len(cells), rows + 1
                    yield reader.line_num, [cell.strip() for cell in cells]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV: {error}") from error
    if rows < 2:
        raise DataError(f"{path}: {'no row below the head' if rows else 'the file is empty'}")


def _check_commas(path: PathLike, head: str) -> None:
    for mark, said in ((";", "';'"), ("\t", "tabs")):
        if mark in head and "," not in head:
            raise DataError(f"{path}: its columns are parted by {said}; commas are wanted")


def _point(path: PathLike, number: int, row: Mapping[str, str], names: Mapping[str, str]) -> Point:
    where = f"{path}: row {number}"

    def whole(name: str) -> int:
        text = row[names[name]]
        if name == "seed" and text.isdecimal() and len(text) < 100:  # more than a float tells apart
            return int(text)
        value = _number(where, names[name], text)
        if value != int(value):
            raise DataError(f"{where}, column '{names[name]}': {value:g} is no whole number")
        return int(value)

    method = row[names["method"]]
    if not method:
        raise DataError(f"{where}, column '{names['method']}': the cell is empty")
    tokens = row.get(names["tokens"]) or None
    return Point(
        method,
        whole("seed"),
        row.get(names["task"], ""),
        whole("step"),
        None if tokens is None else _number(where, names["tokens"], tokens),
        _number(where, names["accuracy"], row[names["accuracy"]]),
        where,
    )


def _number(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        shown = f"'{text}' is no finite number" if text else "the cell is empty"
        raise DataError(f"{where}, column '{column}': {shown}")
    return value


# --- exports and logs ----------------------------------------------------------------------------


def read_wandb(path: PathLike) -> list[Log]:
    """The runs in a chart's export of Weights & Biases: a column Step, one for each run's metric.

    Columns are called 'RUN - METRIC'; those of a line's least and largest value are left out.

    Raises:
        DataError: the first column is no step, no other is called so, or all cells are empty.
    """
    rows = _rows(path)
    head = next(rows)[1]
    places = {
        place: name.rpartition(" - ")[::2]
        for place, name in enumerate(head[1:], start=1)
        if " - " in name and not name.endswith(("__MIN", "__MAX"))
    }
    if not places:
        raise DataError(f"{path}: no column is called 'RUN - METRIC', as in an export of W&B")
    found: dict[str, dict[str, dict[int, float]]] = {}
    for number, cells in rows:
        step = _number(f"{path}: row {number}", head[0], cells[0])
        if step != int(step):
            raise DataError(
                f"{path}: row {number}, column '{head[0]}': {step:g} is no whole step; export the "
                "chart with Step as its x axis"
            )
        for place, (run, metric) in places.items():
            if cells[place]:
                value = _number(f"{path}: row {number}", head[place], cells[place])
                found.setdefault(run, {}).setdefault(metric, {})[int(step)] = value
    if not found:
        raise DataError(f"{path}: no value is there")
    return [Log(run, f"{path}: run '{run}'", metrics) for run, metrics in found.items()]


def read_log(path: PathLike) -> Log:
    """What a run has logged to TRL's trainer_state.json, to its log_history, or by verl to a file.

    Raises:
        DataError: the file is missing, or is none of these.
    """
    path = Path(path)
    rows = _history(path) if path.suffix == ".json" else _lines(path)
    metrics: dict[str, dict[int, float]] = {}
    verl = False
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int) or isinstance(step, bool):
            raise DataError(f"{where} has no whole number 'step', as in a log of TRL or verl")
        if isinstance(row.get("data"), dict):
            verl, values = True, row["data"]
        else:
            values = {key: value for key, value in row.items() if key != "step"}
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                metrics.setdefault(name, {})[step] = float(value)
    if not metrics:
        raise DataError(f"{path}: no metric is logged there")
    return Log(str(path), str(path), metrics, VERL_TOKENS if verl else TRL_TOKENS, verl)


def _history(path: Path) -> list[Any]:
    found = read_json(path)
    if isinstance(found, dict) and isinstance(found.get("log_history"), list):
        return found["log_history"]
    raise DataError(f"{path}: no 'log_history', as in TRL's trainer_state.json")


def _lines(path: Path) -> list[Any]:
    """JSON lines; a last line that a killed run has torn is left out."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    *lines, last = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    found = []
    for number, line in enumerate([*lines, last], start=1):
        try:
            found += [parse_json(line)] if line.strip() else []
        except ValueError as error:
            if line is last:
                break
            raise DataError(f"{path}: row {number} is not valid JSON: {error}") from error
    if not found:
        raise DataError(f"{path}: nothing is logged there")
    return found
