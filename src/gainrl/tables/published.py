"""The paper's printed numbers, as rows beside ours, and whether the two may be compared."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from gainrl.data import registry
from gainrl.errors import ConfigError, nearest
from gainrl.plan.results import AVERAGE

COMPARABLE = "comparable"
STEPS = 200
"""RL steps of every run in the paper (section 4)."""
PROMPTS = {1: 1024, 2: 512, 3: 1024, 4: 1024, 5: 1024}
"""Prompts of a step, by table (section 4, appendix E.2)."""
_TRAINED_ON = {1: "deepscaler", 2: "deepcoder"}
"""By table; Tables 3 to 5 train on the data set that they test."""
_TRAINING_SET = {"amc23": "amc"}
"""Training data of Tables 3 to 5 whose name in the registry is not the benchmark's."""
_ROUNDED = 0.1
"""Percentage points by which a printed average may miss the mean of its printed row."""


class Printed(NamedTuple):
    """A number of the paper: accuracies are in percent, steps are RL steps.

    Benchmarks have the registry's names; `average` is the printed average of a row.
    """

    table: int
    model: str
    method: str
    benchmark: str
    metric: str
    value: float


@cache
def load() -> tuple[Printed, ...]:
    """What the paper prints; docs/paper.md names the source. No pandas: a check asks here."""
    text = files("gainrl.tables").joinpath("published.csv").read_text(encoding="utf-8")
    _, *rows = csv.reader(io.StringIO(text))
    return tuple(
        Printed(int(table), model, method, benchmark, metric, float(value))
        for table, model, method, benchmark, metric, value in rows
    )


def _of(table: int) -> list[Printed]:
    return [each for each in load() if each.table == table]


def benchmarks(table: int) -> set[str]:
    """What a table of the paper has columns for, `average` among them."""
    return {each.benchmark for each in _of(table)}


@dataclass(frozen=True)
class ComparedCell:
    """One of our cells (our names), the paper's (its names), and what the two do not share."""

    model: str
    dataset: str
    method: str
    benchmark: str
    paper: tuple[str, str, str]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Ours:
    """What a cell of ours rests on.

    model: the last part of the hub id, None for a model that is not the hub's as it is.
    trained_on: name in the registry of the whole training split, else None. tested_on: the same of
    the test problems, for each benchmark that is in the cell. steps, prompts: of the training.
    """

    model: str | None
    trained_on: str | None
    tested_on: tuple[str | None, ...]
    steps: int
    prompts: int


def differences(table: int, model: str, benchmark: str, ours: Ours) -> tuple[str, ...]:
    """What keeps a cell of ours from being compared with the paper's, in words.

    Args:
        table: of the paper; model, benchmark: its names there, `average` for a row's average.
    """
    printed = {each.benchmark for each in _of(table) if each.model == model}
    of_row = sorted(printed - {AVERAGE})
    theirs = of_row if benchmark == AVERAGE else [benchmark]
    trained = _TRAINED_ON.get(table, _TRAINING_SET.get(benchmark, benchmark))
    found = []
    if ours.model != model:
        found.append("other model")
    if ours.trained_on != trained:
        found.append("other training data")
    if not _same_problems(ours.tested_on, theirs):
        found.append("other benchmarks" if benchmark == AVERAGE else "other benchmark")
    if ours.steps != STEPS:
        found.append(f"{ours.steps} steps and not {STEPS}")
    if ours.prompts != PROMPTS[table]:
        found.append(f"{ours.prompts} prompts a step and not {PROMPTS[table]}")
    return tuple(found)


def _same_problems(ours: Iterable[str | None], theirs: Iterable[str]) -> bool:
    """Whether two sets of benchmarks have the same problems; some have two names here."""
    left = [registry.find(name).eval if name else None for name in ours]
    right = [registry.find(name).eval for name in theirs]
    return len(left) == len(right) and all(each in right for each in left)


def check_names(table: int, where: str, **named: Iterable[str]) -> None:
    """Refuse names that a table of the paper lacks.

    Args:
        where: the key that maps to them.
        named: by field of `Printed`: model, method or benchmark.

    Raises:
        ConfigError: naming the key, the name and the nearest one.
    """
    for column, names in named.items():
        known = dict.fromkeys(getattr(each, column) for each in _of(table))
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{where}.{column}s: Table {table} of the paper has no '{name}'"
                    f"{nearest(name, known)}"
                )


def published_rows(table: int, cells: Iterable[ComparedCell]) -> list[dict[str, object]]:
    """Rows of a tidy table: published_accuracy, published_steps, and other metrics by their name.

    Accuracies are shares in [0, 1] here. The paper has one run, so n is 1 and there is no
    interval. differences: of the cell; remark: what is odd about the number; `note` is both in
    words: 'comparable', or 'not comparable: ' and what differs.
    """
    printed = {
        ((each.model, each.method, each.benchmark), each.metric): each.value for each in _of(table)
    }
    rows: list[dict[str, object]] = []
    for cell in cells:
        note = f"not comparable: {', '.join(cell.differences)}" if cell.differences else COMPARABLE
        for (key, metric), value in printed.items():
            if key != cell.paper:
                continue
            counted = metric.startswith("iterations_to_")
            remark = _odd_average(printed, key, metric, value)
            name = {"pass@1": "accuracy"}.get(metric, "steps" if counted else metric)
            rows.append(
                {
                    **{"model": cell.model, "dataset": cell.dataset, "method": cell.method},
                    "benchmark": cell.benchmark,
                    "metric": f"published_{name}",
                    "mean": value if counted else value / 100,
                    "low": math.nan,
                    "high": math.nan,
                    "n": 1,
                    "note": "; ".join(filter(None, [note, remark])),
                    "differences": cell.differences,
                    "remark": remark,
                }
            )
    return rows


def _odd_average(printed: dict, key: tuple[str, str, str], metric: str, value: float) -> str:
    """A note on an average that is printed otherwise than its row's mean."""
    if key[2] != AVERAGE or metric != "pass@1":
        return ""
    row = [
        each
        for (other, name), each in printed.items()
        if other[:2] == key[:2] and other[2] != AVERAGE and name == metric
    ]
    mean = sum(row) / len(row)
    if abs(mean - value) <= _ROUNDED:
        return ""
    return f"printed as {value:.2f}%, though the mean of its row is {mean:.2f}%"
