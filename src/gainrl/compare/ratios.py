"""How many times as much the baseline spends for the same accuracy, with an interval.

A median of speed-ups is open as soon as half of the seeds end below the baseline's final level,
which half of the baseline's own do; and where start models differ, hardly a level is one that all
come to. The question is therefore turned round: for a ratio r, is a method that has spent 1 / r of
a budget where the baseline is with all of it? That is a mean of paired differences, with an
interval by Student's t, and the ratios that it does not refute are an interval of r (Fieller 1954
inverts the t of a ratio of means in the same way). No seed is censored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gainrl.compare.pairs import Track
from gainrl.compare.statistics import (
    TIMES,
    TOLERANCE,
    FloatArray,
    Interval,
    holds,
    levels_at_equal_cost,
    mean_interval,
    smooth,
)
from gainrl.config.statistics import Statistics

MOST = 64.0
"""The largest ratio that is looked at, and one over the least; beyond it is open."""
FINE = 128
"""Ratios between one and its double at which gaps are looked at first."""
OPEN = "open"


@dataclass(frozen=True)
class Ratio:
    """What the baseline spends for an accuracy over what a method spends, over `n` paired seeds.

    Above 1 the method is cheaper. value: 0 or inf where the curves do not meet within MOST times,
    or within what is known. low, high: its interval; 0 or inf where it is open, NaN if n = 1. gap:
    of a ratio, the level of the method less the baseline's, paired by seed. known: the ratios at
    which all runs can be read.
    """

    value: float
    low: float
    high: float
    n: int
    gap: Callable[[float], Interval] = field(compare=False, repr=False)
    known: tuple[float, float] = (0.0, math.inf)

    def p(self, threshold: float = 1.0) -> float:
        """Two-sided p that the true ratio is the threshold: that the gap there is 0.

        Beyond what is known it is that of the nearest ratio that is; NaN if the interval, open
        there, holds the threshold.
        """
        at = min(max(threshold, self.known[0]), self.known[1])
        if at != threshold and self.low <= threshold <= self.high:
            return math.nan
        return self.gap(at).p()

    def text(self) -> str:
        """What a table prints, such as '0.75× [0.60, 0.85]' or '3.10× [1.20, open]'."""
        return ratio_text(self.value, self.low, self.high)


def ratio_text(value: float, low: float, high: float) -> str:
    """What `Ratio.text` prints."""
    shown = f"{value:.2f}{TIMES}" if 0 < value < math.inf else OPEN
    if math.isnan(low):
        return shown
    ends = (f"{end:.2f}" if 0 < end < math.inf else OPEN for end in (low, high))
    return f"{shown} [{', '.join(ends)}]"


def equal_accuracy(
    method: Sequence[Track],
    baseline: Sequence[Track],
    how: Statistics,
    from_start: bool = False,
) -> Ratio:
    """How many times as much the baseline spends as a method for the same accuracy.

    Both runs of a seed are read on their smoothed curves, within the budget B that both of them
    spent. At a ratio r >= 1 the method is read at B / r and the baseline at B; at r < 1 the method
    at B and the baseline at r B. So the accuracy is the one that the worse of the two ends at, and
    the ratio is 1 over that of the two exchanged. At r = 1 the gap is `equal_difference`, and the
    interval leaves out 1 where that of the difference leaves out 0.

    The value is the ratio next to 1 at which the mean gap is 0. The interval goes from the least to
    the largest ratio at which the gap's own interval holds 0, on the value's side of 1 where that
    at 1 does not.

    Args:
        method, baseline: a track a seed, in the same seed order and unit.
        from_start: the first tests are of the start model (`levels_at_equal_cost`). Without it a
            ratio at which some run would be read before its first test is beyond what is known.

    Raises:
        ValueError: as for `levels_at_equal_cost`, or not as many tracks of both.
    """
    pairs = [
        _pair(one, other, how.smoothing, from_start)
        for one, other in zip(method, baseline, strict=True)
    ]
    n = len(pairs)
    least, most = max(pair.least for pair in pairs), min(pair.most for pair in pairs)

    def gap(ratio: float) -> Interval:
        return mean_interval([float(pair.gaps(ratio)) for pair in pairs], how.confidence)

    def kept(ratio: float) -> bool:
        found = gap(ratio)
        return found.low <= 0 <= found.high

    ratios = _grid(least, most)
    gaps = np.stack([pair.gaps(ratios) for pair in pairs])
    value = _next_zero(ratios, gaps.mean(0), lambda ratio: gap(ratio).mean)
    if n == 1:
        return Ratio(value, math.nan, math.nan, n, gap, (least, most))
    among = holds(gaps, 0.0, how.confidence)
    if not kept(1.0):
        among &= (ratios > 1) == (value > 1)
    low = _end(ratios[::-1], among[::-1], value, 0.0, kept)
    return Ratio(value, low, _end(ratios, among, value, math.inf, kept), n, gap, (least, most))


@dataclass(frozen=True)
class _Pair:
    """The smoothed curves of a seed's two runs, and the ratios at which both can be read."""

    method: tuple[FloatArray, FloatArray]
    baseline: tuple[FloatArray, FloatArray]
    budget: float
    least: float
    most: float

    def gaps(self, ratios: FloatArray | float) -> FloatArray:
        """Of each ratio, the level of the method less the baseline's."""
        ours = np.interp(self.budget / np.maximum(ratios, 1), *self.method)
        theirs = np.interp(self.budget * np.minimum(ratios, 1), *self.baseline)
        return np.asarray(ours - theirs, dtype=np.float64)


def _pair(one: Track, other: Track, window: int, from_start: bool) -> _Pair:
    _, _, budget = levels_at_equal_cost(one, other, window, from_start)
    (ours, levels), (theirs, base) = (
        (smooth(costs, window), smooth(accuracies, window)) for costs, accuracies in (one, other)
    )
    least, most = 0.0, math.inf
    if not from_start and budget > 0:
        least, most = theirs[0] / budget, budget / ours[0] if ours[0] > 0 else math.inf
    return _Pair((ours, levels), (theirs, base), budget, least, most)


def _grid(least: float, most: float) -> FloatArray:
    """(ratios,) 1 and those that are looked at on both of its sides, increasing."""
    octaves = round(math.log2(MOST))
    ratios = 2.0 ** (np.arange(-octaves * FINE, octaves * FINE + 1) / FINE)
    return np.asarray(ratios[(least <= ratios) & (ratios <= most)], dtype=np.float64)


def _next_zero(ratios: FloatArray, means: FloatArray, mean: Callable[[float], float]) -> float:
    """The ratio next to 1 where the mean gap is 0; 0 or inf where it is none on that side.

    Above 1 the gap falls in the main, from what it is at 1.
    """
    one = int(np.flatnonzero(ratios == 1)[0])
    if abs(means[one]) <= TOLERANCE:
        return 1.0
    if means[one] > 0:
        crossed = one + np.flatnonzero(means[one:] <= TOLERANCE)[:1]
        beyond, step = math.inf, -1
    else:
        crossed = np.flatnonzero(means[:one] >= -TOLERANCE)[-1:]
        beyond, step = 0.0, 1
    if not crossed.size:
        return beyond
    at = int(crossed[0])
    sign = math.copysign(1, means[one])
    before, after = float(ratios[at + step]), float(ratios[at])
    return _edge(before, after, lambda ratio: sign * mean(ratio) > TOLERANCE)


def _end(
    ratios: FloatArray,
    kept: NDArray[np.bool_],
    value: float,
    beyond: float,
    holds: Callable[[float], bool],
) -> float:
    """The outermost ratio that is kept, in the order of `ratios`; `beyond` if the last one is."""
    if kept[-1] or value == beyond:
        return beyond
    side = 1 if beyond else -1
    known = [*ratios[kept], *([value] if 0 < value < math.inf else [])]
    if not known:  # the value is beyond what is looked at, on the other side
        return float(ratios[0])
    inside = side * max(side * each for each in known)
    outside = next(each for each in ratios if side * each > side * inside)
    return _edge(inside, float(outside), holds)


def _edge(inside: float, outside: float, holds: Callable[[float], bool]) -> float:
    """Where a condition that holds inside ends on the way to outside, to seven digits."""
    for _ in range(40):
        middle = math.sqrt(inside * outside)
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return float(f"{inside:.7g}")
