"""Two methods seed by seed: what one is worth at equal cost, and how much faster it gets there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gainrl.compare.statistics import (
    TOLERANCE,
    FloatArray,
    Interval,
    Median,
    cost_to_reach,
    levels_at_equal_cost,
    median_cost,
    paired_difference,
    speedup,
    target_accuracy,
)
from gainrl.config.statistics import Statistics

NOISE = 2.0
"""Standard errors that a gain has to be, or it is none."""


class Track(NamedTuple):
    """The tests of one run: (n,) what was spent before each, increasing, and (n,) accuracies."""

    costs: FloatArray
    accuracies: FloatArray


@dataclass(frozen=True)
class Speed:
    """What a method spends to come to the baseline's final level.

    cost: median over seeds. ratio: of the baseline's cost to it, median over paired seeds; None
    where the start models are already at that level, so that there is nothing to be faster at.
    """

    cost: Median
    ratio: Median | None


def speed(
    method: Sequence[Track],
    baseline: Sequence[Track],
    how: Statistics,
    targets: Sequence[float] | None = None,
) -> Speed:
    """How fast a method is; both with one track a seed, in the same seed order and unit.

    Args:
        targets: accuracy that each seed has to reach; else the mean final level of the baseline.

    Raises:
        ValueError: as for `cost_to_reach` and `speedup`.
    """
    window, confidence = how.smoothing, how.confidence
    there = targets is None and at_target(baseline, window)
    if targets is None:
        target = target_accuracy([track.accuracies for track in baseline], window)
        targets = [target] * len(baseline)
    reached, base_reached = (
        [
            cost_to_reach(*track, target, window)
            for track, target in zip(tracks, targets, strict=True)
        ]
        for tracks in (method, baseline)
    )
    cost = median_cost(reached, confidence)
    pairs = zip(reached, base_reached, strict=True)
    if there or all(one.at_start or other.at_start for one, other in pairs):
        return Speed(cost, None)
    return Speed(cost, speedup(base_reached, reached, confidence))


def at_target(baseline: Sequence[Track], window: int) -> bool:
    """Whether a baseline ends, in the mean, where its start models are already, or below."""
    target = target_accuracy([track.accuracies for track in baseline], window)
    return bool(target <= np.mean([track.accuracies[0] for track in baseline]) + TOLERANCE)


def learnt(baseline: Sequence[Track], window: int) -> bool:
    """Whether a baseline ends above its first tests by more than NOISE errors of its tests.

    A level that it has by chance is one that any method has at once. The error of a test is taken
    from how its curves bend: second differences of independent errors have six times their
    variance, a straight rise has none. First tests are left out there, for the steepest rise comes
    after them; those that are equal are one test of one start model. With fewer than four tests a
    run the error is not known, and any gain counts.
    """
    curves = [track.accuracies for track in baseline]
    starts = {float(curve[0]) for curve in curves}
    gain = target_accuracy(curves, window) - np.mean([curve[0] for curve in curves])
    bends = np.concatenate([np.diff(curve[1:], 2) for curve in curves])
    variance = np.mean(bends**2) / 6 if bends.size else 0.0
    error = np.sqrt(variance * (1 / (window * len(curves)) + 1 / len(starts)))
    return bool(gain > max(NOISE * error, TOLERANCE))


def equal_difference(
    method: Sequence[Track],
    baseline: Sequence[Track],
    how: Statistics,
    from_start: bool = False,
    share: float = 1.0,
) -> tuple[Interval, float]:
    """Level of a method less the baseline's at equal cost, paired by seed, and the mean budget.

    The budget of a seed is what both of its runs spent, and `from_start` whether first tests are of
    the start model (`levels_at_equal_cost`). share: of the budget; both are read at it.

    Raises:
        ValueError: as for `levels_at_equal_cost`, or not as many tracks of both.
    """
    pairs = [
        levels_at_equal_cost(one, other, how.smoothing, from_start, share)
        for one, other in zip(method, baseline, strict=True)
    ]
    levels, base, budgets = np.transpose(pairs)
    return paired_difference(levels, base, how.confidence), float(budgets.mean())
