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
    mean_interval,
    median_cost,
    paired_difference,
    smooth,
    speedup,
    target_accuracy,
)
from gainrl.config.statistics import Statistics


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


def learnt(baseline: Sequence[Track], how: Statistics) -> bool:
    """Whether a baseline ends above its first tests by more than its seeds' spread, one-sided.

    A level that it has by chance is one that any method has at once. Of one seed or two, whose
    spread says next to nothing, any gain counts.
    """
    gains = [
        smooth(track.accuracies, how.smoothing)[-1] - track.accuracies[0] for track in baseline
    ]
    gain = mean_interval(gains, 2 * how.confidence - 1)
    return gain.mean > TOLERANCE and (gain.n < 3 or gain.low > 0)


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
