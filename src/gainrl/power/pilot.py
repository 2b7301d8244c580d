"""Pilot runs as power sees them: paired differences, by problem where answers are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gainrl.compare.curves import Curve, Task, arranged
from gainrl.compare.pairs import Track
from gainrl.compare.power import Parts, parts_of
from gainrl.compare.statistics import TOLERANCE, FloatArray, smooth
from gainrl.errors import DataError
from gainrl.records import SAMPLES, read_table
from gainrl.results.runs import Run
from gainrl.training import files

WINDOW = 3
"""Tests in the smoothed curves that speed is read of."""


@dataclass(frozen=True, eq=False)
class Pilot:
    """A method beside the baseline on a task, in the same seeds.

    differences: (n,) of levels, in points where accuracies are shares. cells: (n, problems) the
    same by problem, or None. logs: by currency, (n,) logarithms of what the baseline spent to a
    level that all runs of both reach over what the method spent; without it where some run is there
    from the first test, or all seeds have one ratio.
    """

    task: str
    method: str
    differences: FloatArray
    logs: dict[str, FloatArray]
    cells: FloatArray | None = None
    samples: int = 0

    @property
    def seen(self) -> float:
        """Standard deviation of the differences over seeds."""
        return float(self.differences.std(ddof=1))

    @property
    def parts(self) -> Parts:
        """What their variance is made of."""
        if self.cells is not None:
            return parts_of(self.cells, self.samples)
        return Parts(self.seen, self.differences.size - 1)


def from_curves(
    curves: Sequence[Curve], baseline: str, smoothing: int, seeds: Iterable[int] | None = None
) -> list[Pilot]:
    """The pilots of curves.

    Args:
        smoothing: tests whose mean is a run's level.
        seeds: the only ones to be used; else all.

    Raises:
        DataError: curves that cannot be compared (`arranged`), or a single seed.
    """
    tasks = arranged(curves, baseline, seeds)
    every = [curve for task in tasks.values() for found in task.values() for curve in found]
    scale = 100 if all(0 <= value <= 1 for one in every for value in one.accuracies) else 1
    return [
        _pilot(name, method, task, baseline, smoothing, scale)
        for name, task in tasks.items()
        for method in task
        if method != baseline
    ]


def _pilot(name: str, method: str, task: Task, baseline: str, smoothing: int, scale: int) -> Pilot:
    ours, theirs = task[method], task[baseline]
    if len(ours) < 2:
        raise DataError(f"{ours[0].where}: one seed of '{method}'; a pilot needs two, better five")
    levels, base = (
        np.array([smooth(one.accuracies, smoothing)[-1] for one in runs]) for runs in (ours, theirs)
    )
    currencies = ("steps", "tokens") if ours[0].tokens is not None else ("steps",)
    logs = {}
    for currency in currencies:
        found = _logs(*([one.track(currency) for one in runs] for runs in (ours, theirs)))
        if found is not None:
            logs[currency] = found
    return Pilot(name, method, scale * (levels - base), logs)


def _logs(ours: Sequence[Track], theirs: Sequence[Track]) -> FloatArray | None:
    """(n,) logarithms of speed-ups to the highest level that all runs end at or above."""
    both = [*ours, *theirs]
    level = min(float(smooth(track.accuracies, WINDOW)[-1]) for track in both)
    spent = [_crossing(track, level) for track in both]
    if min(spent) <= 0:
        return None
    found = np.log(spent[len(ours) :]) - np.log(spent[: len(ours)])
    return found if np.ptp(found) > 0 else None


def _crossing(track: Track, level: float) -> float:
    """Where a smoothed curve comes to a level to stay, on the line between two tests.

    Tables take the later test; tests far apart would hide how speed-ups vary.
    """
    curve = smooth(track.accuracies, WINDOW)
    below = np.flatnonzero(curve < level - TOLERANCE)
    if not below.size:
        return 0.0
    last = int(below[-1])
    share = (level - curve[last]) / (curve[last + 1] - curve[last])
    return float(track.costs[last] + share * (track.costs[last + 1] - track.costs[last]))


def from_runs(runs: Sequence[Run], baseline: str, smoothing: int) -> list[Pilot]:
    """The pilots of finished runs; by problem where levels are last tests, whose answers are kept.

    A task is a model and a data set; of several benchmarks it is their average.

    Raises:
        DataError: as for `from_curves`, or answers that are damaged or of other problems.
    """
    pilots = from_curves([_curve(run, run.measures[-1]) for run in runs], baseline, smoothing)
    if smoothing > 1:
        return pilots
    by_method: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        by_method.setdefault((_task(run), run.method), []).append(run)
    return [
        _with_cells(
            pilot,
            *(
                [_answers(run) for run in by_method[pilot.task, method]]
                for method in (pilot.method, baseline)
            ),
        )
        for pilot in pilots
    ]


def _task(run: Run) -> str:
    return f"{run.model} on {run.dataset}"


def _curve(run: Run, benchmark: str) -> Curve:
    spent = np.concatenate([[0.0], np.cumsum(run.steps["rollout_tokens"].to_numpy(float))])
    return Curve(
        run.method,
        run.seed,
        _task(run),
        run.evaluated,
        run.curve(benchmark),
        spent[run.evaluated.astype(int)],
        str(run.folder),
    )


Answers = tuple[list[str], FloatArray, int] | None
"""Problems, (problems,) shares of right answers, and answers each; None where none were kept."""


def _answers(run: Run) -> Answers:
    """Of several benchmarks with as many problems, the means of their first, second, ... problems.

    Which problem stands with which is arbitrary: their chances are independent, and the mean over
    all is the average of the benchmarks.
    """
    ids, shares, samples = [], [], set()
    for name in run.benchmarks:
        path = run.folder / files.SAMPLES / f"{name}.parquet"
        if not path.exists():
            return None
        frame = read_table(path, SAMPLES)
        found = frame.groupby("id", sort=True)["correct"].mean()
        ids.append(list(found.index))
        shares.append(found.to_numpy(float))
        samples.add(int(frame["sample"].max()) + 1)
    if len({len(each) for each in ids}) > 1 or len(samples) > 1:
        return None
    return [name for each in ids for name in each], np.mean(shares, axis=0), samples.pop()


def _with_cells(pilot: Pilot, ours: Sequence[Answers], theirs: Sequence[Answers]) -> Pilot:
    known = [each for each in (*ours, *theirs) if each is not None]
    if len(known) < len(ours) + len(theirs):
        return pilot
    ids, _, samples = known[0]
    if any(each[0] != ids or each[2] != samples for each in known):
        raise DataError(f"{pilot.task}: the runs of '{pilot.method}' were tested on other problems")
    if known[0][1].size < 2:
        return pilot
    matrix = 100 * np.stack([each[1] for each in known])
    cells = matrix[: len(ours)] - matrix[len(ours) :]
    if abs(cells.mean() - pilot.differences.mean()) > 1e-6:
        raise DataError(f"{pilot.task}: the answers of '{pilot.method}' are not of the last tests")
    return replace(pilot, cells=cells, samples=samples)
