"""Learning curves as people have them: a curve a run, in a form that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gainrl.compare.pairs import Track
from gainrl.compare.statistics import FloatArray
from gainrl.errors import DataError, nearest

RUNS = r"(?P<method>[^/]+?)[-_./]*(?:seed|s)[-_=]?(?P<seed>\d+)(?=$|[/.])"
"""Where a run's name says its method and seed: mopps-seed1.jsonl, out/mopps/seed1/log.jsonl."""


class Point(NamedTuple):
    """One test of one run; tokens: all that were spent by then, None if nobody counted."""

    method: str
    seed: int
    task: str
    step: int
    tokens: float | None
    accuracy: float
    where: str


@dataclass(frozen=True, eq=False)
class Curve:
    """The tests of one run, in the order of its steps, which increase.

    accuracies: (n,); tokens: (n,) all that were spent by each test, or None. task: empty where
    there is one. where: file and row of the first test, for messages.
    """

    method: str
    seed: int
    task: str
    steps: FloatArray
    accuracies: FloatArray
    tokens: FloatArray | None
    where: str

    def track(self, currency: str) -> Track:
        """What was spent before each test, in "steps" or "tokens", and the accuracies."""
        costs = self.steps if currency == "steps" else self.tokens
        assert costs is not None
        return Track(costs, self.accuracies)


Task = dict[str, list[Curve]]
"""The curves of each method, in the order of their seeds."""


def curves_of(points: Iterable[Point]) -> list[Curve]:
    """Put the tests of each run together, in the order in which the runs appear.

    Raises:
        DataError: a step, a seed or tokens are below 0, a step is there twice, or tokens fall or
            are missing at some tests.
    """
    runs: dict[tuple[str, int, str], list[Point]] = {}
    for point in points:
        low = {"step": point.step, "seed": point.seed}
        if below := next((name for name, value in low.items() if value < 0), None):
            raise DataError(f"{point.where}: {below} {low[below]} is below 0")
        if point.tokens is not None and not 0 <= point.tokens < np.inf:
            what = "below 0" if point.tokens < 0 else "no number"
            raise DataError(f"{point.where}: {point.tokens:g} tokens are {what}")
        runs.setdefault((point.method, point.seed, point.task), []).append(point)
    return [_curve(found) for found in runs.values()]


def _curve(points: list[Point]) -> Curve:
    points = sorted(points, key=lambda point: point.step)
    first = points[0]
    for before, point in pairwise(points):
        run = f"method '{point.method}', seed {point.seed}"
        if before.step == point.step:
            raise DataError(f"{point.where}: step {point.step} of {run} is there twice "
                            f"(also {before.where})")  # fmt: skip
        if (before.tokens is None) != (point.tokens is None):
            empty = before if before.tokens is None else point
            raise DataError(f"{empty.where}: tokens are missing, other tests of {run} have them")
        if before.tokens is not None and point.tokens is not None and before.tokens >= point.tokens:
            raise DataError(
                f"{point.where}: tokens of {run} do not increase ({before.tokens:g} at step "
                f"{before.step}, {point.tokens:g} at step {point.step}); they are all that were "
                "spent up to a step"
            )
    tokens = [point.tokens for point in points if point.tokens is not None]
    return Curve(
        first.method,
        first.seed,
        first.task,
        np.array([point.step for point in points], dtype=np.float64),
        np.array([point.accuracy for point in points], dtype=np.float64),
        np.array(tokens, dtype=np.float64) if tokens else None,
        first.where,
    )


def arranged(
    curves: Sequence[Curve],
    baseline: str,
    seeds: Iterable[int] | None = None,
    remedy: str = "--seeds {} keeps those of both",
) -> dict[str, Task]:
    """Curves by task and method, so that methods can be compared with the baseline seed by seed.

    Args:
        seeds: the only ones to be kept; else all.
        remedy: what to do where methods have other seeds; {}: those of both.

    Raises:
        DataError: no curves, none of a seed, a task of some and not of all, no such baseline,
            methods with other seeds than the baseline's, tokens of some runs but not of others, or
            no other method than the baseline.
    """
    wanted = None if seeds is None else {*seeds}
    if wanted and curves and (absent := wanted - {curve.seed for curve in curves}):
        raise DataError(f"--seeds {min(absent)}: no curve has this seed")
    kept = [each for each in curves if wanted is None or each.seed in wanted]
    if not kept:
        raise DataError("no curves to compare")
    if named := next((curve.task for curve in kept if curve.task), None):
        for curve in kept:
            if not curve.task:
                raise DataError(f"{curve.where}: no task is said, and others are of '{named}'")
    tasks: dict[str, Task] = {}
    for curve in sorted(kept, key=lambda curve: curve.seed):
        tasks.setdefault(curve.task, {}).setdefault(curve.method, []).append(curve)
    order = list(dict.fromkeys([baseline, *(curve.method for curve in kept)]))
    for task, methods in tasks.items():
        if baseline not in methods:
            at = f"task '{task}': " if task else ""
            raise DataError(
                f"{at}no curve of the baseline '{baseline}'{nearest(baseline, methods)}"
            )
        _same_seeds(methods, baseline, remedy)
        _same_methods(task, methods, order)
    counted = [curve for curve in kept if curve.tokens is not None]
    if counted and len(counted) < len(kept):
        bare = next(curve for curve in kept if curve.tokens is None)
        raise DataError(f"{bare.where}: no tokens, but {counted[0].where} has them")
    if len(order) < 2:
        raise DataError(f"no method to compare with the baseline '{baseline}'")
    names = dict.fromkeys(curve.task for curve in kept)
    return {task: {name: tasks[task][name] for name in order} for task in names}


def _same_seeds(methods: Task, baseline: str, remedy: str) -> None:
    wanted = [curve.seed for curve in methods[baseline]]
    for method, curves in methods.items():
        found = [curve.seed for curve in curves]
        if found != wanted:
            both = " ".join(map(str, sorted({*found} & {*wanted})))
            raise DataError(
                f"{curves[0].where}: method '{method}' has seeds {_list(found)}, the baseline "
                f"'{baseline}' has {_list(wanted)}; methods are compared seed by seed"
                + (f": {remedy.format(both)}" if both else ", and these share none")
            )


def _same_methods(task: str, methods: Task, order: Sequence[str]) -> None:
    missing = [name for name in order if name not in methods]
    if missing:
        raise DataError(f"task '{task}' has no curve of method '{missing[0]}', another task has")


def check_window(curves: Iterable[Curve], window: int) -> None:
    """Refuse a level of more tests than some run has (DataError)."""
    short = min(curves, key=lambda curve: curve.steps.size)
    if (tests := short.steps.size) < window:
        raise DataError(
            f"{short.where}: method '{short.method}', seed {short.seed} has {tests} "
            f"test{'s' * (tests > 1)}, fewer than --smoothing {window}; pass {tests} or less"
        )


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


# --- what trainers log ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """What a run has logged: by metric, values at steps.

    name: says method and seed. tokens: the metric that counts tokens where none is named; a
    step's own if each_step, else all up to it. run: method, seed and task where they are known.
    """

    name: str
    source: str
    metrics: Mapping[str, Mapping[int, float]]
    tokens: str = ""
    each_step: bool = False
    run: tuple[str, int, str] | None = None


def points_of(
    logs: Sequence[Log], metric: str, tokens: str = "", each_step: bool = False, runs: str = RUNS
) -> list[Point]:
    """The tests of runs from what they have logged.

    Logs of one run are put together if each metric begins later than in the one before, as those
    of attempts that went on from a checkpoint do; where two have a step, the later one's is taken.

    Args:
        metric: of the accuracy; a run may have logged it at any steps.
        tokens: of the tokens, else what the logs name; where none of them has it, there are none.
        each_step: `tokens` is a step's own, and what was spent are the sums.
        runs: regular expression with the groups method and seed, and perhaps task; where it is
            found last in a log's name, it says whose log it is.

    Raises:
        DataError: a name without method and seed, two logs of one run that begin alike, a log
            without the metric, or tokens of some steps but not of those before them.
    """
    try:
        pattern = re.compile(runs)
    except re.error as error:
        raise DataError(f"--runs {runs}: not a regular expression: {error}") from error
    attempts: dict[tuple[str, int, str], list[Log]] = {}
    for log in logs:
        attempts.setdefault(log.run or _named(log, pattern), []).append(log)
    found = []
    for (method, seed, task), parts in attempts.items():
        log = _joined(parts, f"method '{method}', seed {seed}")
        if metric not in log.metrics:
            raise DataError(f"{log.source}: no metric '{metric}'"
                            f"{_apt(metric, log.metrics)}")  # fmt: skip
        spent = _spent(log, tokens or log.tokens, each_step or (log.each_step and not tokens))
        if tokens and spent is None:
            raise DataError(f"{log.source}: no metric '{tokens}' for tokens"
                            f"{_apt(tokens, log.metrics)}")  # fmt: skip
        for step, value in sorted(log.metrics[metric].items()):
            where = f"{log.source}: step {step}"
            if not np.isfinite(value):
                raise DataError(f"{where}: '{metric}' is {value}")
            counted = None if spent is None else _until(spent, step, where)
            found.append(Point(method, seed, task, step, counted, float(value), where))
    return found


def _named(log: Log, runs: re.Pattern[str]) -> tuple[str, int, str]:
    matches = list(runs.finditer(log.name))
    try:
        groups = matches[-1].groupdict()
        return groups["method"], int(groups["seed"]), groups.get("task") or ""
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{log.source}: the name '{log.name}' does not say method and seed; name a pattern "
            "that finds them: --runs '(?P<method>[^/]+)/run(?P<seed>[0-9]+)'"
        ) from error


def _joined(parts: Sequence[Log], run: str) -> Log:
    metrics: dict[str, dict[int, float]] = {}
    for name in dict.fromkeys(name for log in parts for name in log.metrics):
        having = sorted((log for log in parts if name in log.metrics),
                        key=lambda log: min(log.metrics[name]))  # fmt: skip
        for before, after in pairwise(having):
            first = min(after.metrics[name])
            if min(before.metrics[name]) == first:
                raise DataError(
                    f"{before.source} and {after.source} both have '{name}' of {run} from step "
                    f"{first} on, so they are two runs; --runs tells them apart"
                )
        metrics[name] = {step: value for log in having for step, value in log.metrics[name].items()}
    return replace(parts[-1], metrics=metrics)


def _apt(wanted: str, metrics: Iterable[str]) -> str:
    apt = [name for name in metrics if re.search("acc|reward|eval|val|token", name)]
    return nearest(wanted, apt or metrics)


def _spent(log: Log, metric: str, each_step: bool) -> dict[int, float] | None:
    """All tokens up to each step at which they were logged; None if they were not."""
    logged = log.metrics.get(metric)
    if not logged:
        return None
    if not each_step:
        return dict(sorted(logged.items()))
    steps = sorted(logged)
    missing = sorted({*range(1, steps[-1] + 1)} - {*steps})
    if missing:
        raise DataError(
            f"{log.source}: no '{metric}' of step {missing[0]}, so what was "
            "spent is unknown; give the logs of all its attempts, or --tokens with a running total"
        )
    return dict(zip(steps, np.cumsum([logged[step] for step in steps]).tolist(), strict=True))


def _until(spent: Mapping[int, float], step: int, where: str) -> float:
    """What was spent by a step: at the last one of it and those before at which it was logged."""
    before = [at for at in spent if at <= step]
    if before:
        return float(spent[max(before)])
    if step > 0:
        raise DataError(f"{where}: no tokens were logged by then")
    return 0.0
