"""Finished runs of a preset as pilots: by problem, where answers are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gainrl.compare.curves import Curve
from gainrl.compare.power import parts_of
from gainrl.compare.statistics import FloatArray
from gainrl.errors import DataError
from gainrl.power.pilot import Pilot, from_curves
from gainrl.records import SAMPLES, read_table
from gainrl.results.runs import Run
from gainrl.results.speed import TOKENS
from gainrl.training import files


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
        _with_parts(
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
    return Curve(
        run.method,
        run.seed,
        _task(run),
        run.evaluated,
        run.curve(benchmark),
        TOKENS.at_tests(run, 0),
        str(run.folder),
    )


@dataclass(frozen=True, eq=False)
class Answers:
    """The last test of a run, problem by problem.

    problems: their ids; shares: (problems,) of right answers; samples: answers of each; chance:
    variance of a share by the chance of its answers, in the mean over problems; NaN of one answer.
    """

    problems: list[str]
    shares: FloatArray
    samples: int
    chance: float


def _answers(run: Run) -> Answers | None:
    """None where none were kept, or benchmarks have other numbers of problems or answers.

    Of several benchmarks with as many problems, the means of their first, second, ... problems.

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
    count = samples.pop()
    chance = math.nan
    if count > 1:  # s (1 - s) / (count - 1) has the mean p (1 - p) / count
        chance = float(np.mean([s * (1 - s) / (count - 1) for s in shares])) / len(shares)
    problems = [name for each in ids for name in each]
    return Answers(problems, np.mean(shares, axis=0), count, chance)


def _with_parts(
    pilot: Pilot, ours: Sequence[Answers | None], theirs: Sequence[Answers | None]
) -> Pilot:
    known = [each for each in (*ours, *theirs) if each is not None]
    if len(known) < len(ours) + len(theirs):
        return pilot
    first = known[0]
    if any((each.problems, each.samples) != (first.problems, first.samples) for each in known):
        raise DataError(f"{pilot.task}: the runs of '{pilot.method}' were tested on other problems")
    if first.shares.size < 2:
        return pilot
    matrix = 100 * np.stack([each.shares for each in known])
    cells = matrix[: len(ours)] - matrix[len(ours) :]
    if abs(cells.mean() - pilot.differences.mean()) > 1e-6:
        raise DataError(f"{pilot.task}: the answers of '{pilot.method}' are not of the last tests")
    chance = 2 * 100**2 * float(np.mean([each.chance for each in known]))
    return replace(pilot, parts=parts_of(cells, first.samples, chance))
