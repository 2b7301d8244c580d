"""Pilots as power sees them: paired differences of curves. In numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gainrl.compare.curves import Curve, Task, arranged, check_window
from gainrl.compare.pairs import Track
from gainrl.compare.power import Parts
from gainrl.compare.statistics import TOLERANCE, FloatArray, smooth
from gainrl.compare.units import unit_of
from gainrl.errors import DataError

WINDOW = 3
"""Tests in the smoothed curves that speed is read of."""


@dataclass(frozen=True, eq=False)
class Pilot:
    """A method beside the baseline on a task, in the same seeds.

    differences: (n,) of levels, in points where accuracies are shares or percent. logs: by
    currency, (n,) logarithms of what the baseline spent to a level that all runs of both reach over
    what the method spent; without it where some run is there from the first test, or all seeds have
    one ratio. parts: of the differences' variance, which a file knows by seed alone.
    """

    task: str
    method: str
    differences: FloatArray
    logs: dict[str, FloatArray]
    parts: Parts


def from_curves(curves: Sequence[Curve], baseline: str, smoothing: int) -> list[Pilot]:
    """The pilots of curves.

    Args:
        smoothing: tests whose mean is a run's level.

    Raises:
        DataError: curves that cannot be compared (`arranged`), a run with fewer tests than
            `smoothing`, or a single seed.
    """
    tasks = arranged(curves, baseline, remedy="take out the rows of all seeds but {}")
    every = [curve for task in tasks.values() for found in task.values() for curve in found]
    check_window(every, smoothing)
    scale = 100 if unit_of(every) == "share" else 1
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
    differences = scale * (levels - base)
    parts = Parts(float(differences.var(ddof=1)), differences.size - 1)
    return Pilot(name, method, differences, logs, parts)


def _logs(ours: Sequence[Track], theirs: Sequence[Track]) -> FloatArray | None:
    """(n,) logarithms of speed-ups to the highest level that all runs end at or above."""
    both = [*ours, *theirs]
    level = min(float(smooth(track.accuracies, WINDOW)[-1]) for track in both)
    spent = [_crossing(track, level) for track in both]
    if min(spent) <= 0:
        return None
    found = np.log(spent[len(ours) :]) - np.log(spent[: len(ours)])
    return found if np.ptp(found) > TOLERANCE else None


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
