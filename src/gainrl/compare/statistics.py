"""How seeds become numbers: intervals, smoothed curves, cost to a target and speed-ups.

The replicate is the seed. Nothing here drops one: a run that never reaches the target is
*censored* (all that is known is that it needs more than it spent), and a median over such runs is
given as the bounds that the known part allows. A cost is whatever a run spends as it goes: RL
steps, tokens, seconds or FLOP. Functions are pure.

Which intervals these are was decided by their coverage (benchmarks/coverage.py, table in
docs/statistics.md): Student's t for means and differences, order statistics for medians.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.compare.student import TOLERANCE, median_rank, p_value, quantile, sign_p

FloatArray = NDArray[np.float64]

ANY, SHARES = (-math.inf, math.inf), (0.0, 1.0)
"""What a mean can be, and what one of accuracies can."""

TIMES = "×"
RATIO = (".2f", "≥", "≤", TIMES)
"""How `Median.text` prints a ratio; unlike that of a censored cost, its bound may be attained."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its interval, in the unit of the values; NaN limits if n = 1.

    error: standard error of the mean; NaN where there is none.
    """

    mean: float
    low: float
    high: float
    n: int
    error: float = math.nan

    def p(self, threshold: float = 0.0) -> float:
        """Two-sided p that the true mean is the threshold, by the statistic of the interval."""
        return p_value(self.mean, self.error, self.n, threshold)


class Reach(NamedTuple):
    """What a run spent until it reached a target, in the unit of its costs: in [lower, upper].

    The two are equal where it got there; a censored run needs more than it spent: (spent, inf).
    """

    lower: float
    upper: float

    @property
    def censored(self) -> bool:
        """Whether the run ended below the target."""
        return math.isinf(self.upper)

    @property
    def at_start(self) -> bool:
        """Whether it was at the target before it had spent anything."""
        return self.upper == 0


@dataclass(frozen=True)
class Median:
    """A median over `n` seeds of which `censored` are known only as bounds.

    The median lies in [lower, upper]; the two are equal where the censored seeds do not matter.
    low, high: interval that holds whatever the censored values are (0 or inf: open there; NaN if
    n = 1). seeds: what is known of each.
    """

    lower: float
    upper: float
    low: float
    high: float
    n: int
    censored: int
    seeds: tuple[Reach, ...] = ()

    def p(self, threshold: float = 1.0, tie: str | None = None) -> float:
        """Two-sided p of the sign test that the true median is the threshold; NaN if n = 1.

        A seed whose bounds have the threshold between them counts for neither side.

        Args:
            tie: "above" or "below", the side of a seed that is at the threshold; else on neither.
        """
        if self.n < 2:
            return math.nan
        at = [each.lower == each.upper == threshold for each in self.seeds]
        above = sum(each.lower > threshold for each in self.seeds) + (tie == "above") * sum(at)
        below = sum(each.upper < threshold for each in self.seeds) + (tie == "below") * sum(at)
        return sign_p(max(above, below), self.n)

    @property
    def value(self) -> float:
        """The median, or NaN if the censored seeds leave it open."""
        return self.lower if self.lower == self.upper else math.nan

    def text(self, spec: str = ".0f", above: str = ">", below: str = "<", unit: str = "") -> str:
        """What a table prints, such as '25', '>40 (2 of 3 censored)' or '1.1 to 1.6 (...)'.

        spec: of a number, as `format` takes it.
        """
        lower, upper = f"{self.lower:{spec}}{unit}", f"{self.upper:{spec}}{unit}"
        if self.lower == self.upper:
            shown = lower
        elif self.lower > 0 and math.isinf(self.upper):
            shown = f"{above}{lower}"
        elif math.isinf(self.upper):
            shown = "not determined"
        elif self.lower == 0:
            shown = f"{below}{upper}"
        else:
            shown = f"{lower} to {upper}"
        return f"{shown} ({self.censored} of {self.n} censored)" if self.censored else shown


# --- intervals -----------------------------------------------------------------------------------


def mean_interval(
    values: ArrayLike, confidence: float, within: tuple[float, float] = ANY
) -> Interval:
    """The mean over seeds with its interval by Student's t.

    It is exact for normal values, at three seeds as at twenty; what skew costs stands in
    docs/statistics.md.

    Args:
        values: (n,), one value a seed, finite.
        confidence: nominal coverage in (0, 1).
        within: what a mean can be, such as (0, 1) of accuracies; the limits stay within.

    Returns:
        The mean and its interval; with n = 1 the limits are NaN, for one seed has no spread.

    Raises:
        ValueError: no values, not one-dimensional, or not finite.
    """
    sample = _vector(values, "values")
    n, mean = sample.size, float(sample.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    error = float(_error(sample))
    if error == 0 and abs(mean) <= TOLERANCE:
        mean = 0.0  # rounding must not put it on a side of 0
    half = quantile(confidence, n - 1) * error
    low, high = max(mean - half, within[0]), min(mean + half, within[1])
    return Interval(mean, low, high, n, error)


def holds(values: FloatArray, at: float, confidence: float) -> NDArray[np.bool_]:
    """Of each column of (n, columns) values, n > 1, whether its `mean_interval` holds `at`."""
    half = quantile(confidence, len(values) - 1) * _error(values)
    return np.asarray(np.abs(values.mean(0) - at) <= half)


def _error(values: FloatArray) -> FloatArray:
    """Standard error of the mean over the first axis.

    Equal values have none; what rounding leaves of it would make a p of 0 out of chance.
    """
    alike = np.ptp(values, axis=0) <= TOLERANCE
    return np.where(alike, 0.0, values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def paired_difference(method: ArrayLike, baseline: ArrayLike, confidence: float) -> Interval:
    """Mean of method - baseline with its interval by t; both (n,), in the same seed order.

    A seed fixes the data order and the start, so its two runs share noise that the pair cancels.

    Raises:
        ValueError: the two differ in length, or as for `mean_interval`.
    """
    one, other = _vector(method, "method"), _vector(baseline, "baseline")
    _same_length(one.size, other.size)
    return mean_interval(one - other, confidence)


def interval_words(confidence: float) -> str:
    """What a caption says of intervals over seeds."""
    least = next(n for n in itertools.count(2) if median_rank(n, confidence) is not None)
    return (
        f"[low, high] is the {confidence:.0%} interval over seeds, by Student's t. For medians the "
        f"interval is between two sorted values; with fewer than {least} seeds it has no ends"
    )


# --- curves --------------------------------------------------------------------------------------


def smooth(values: ArrayLike, window: int) -> FloatArray:
    """Trailing running mean: entry i is the mean of the last `window` values up to i.

    The first window - 1 entries are means of the values that exist by then (no padding), so entry
    0 is the first value and a curve of fewer values than the window is still defined. A trailing
    mean looks at no later value; it delays a rise by (window - 1) / 2 entries, for all alike.

    Args:
        values: (n,), in the order of the steps.
        window: number of values, at least 1.

    Returns:
        (n,), in the unit of the values.

    Raises:
        ValueError: window < 1, or values empty or not finite.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, not {window}")
    series = _vector(values, "values")
    means = [series[max(0, end - window) : end].mean() for end in range(1, series.size + 1)]
    return np.asarray(means, dtype=np.float64)


def target_accuracy(curves: Sequence[ArrayLike], window: int) -> float:
    """The level to reach: mean over the baseline's seeds of the last value of the smoothed curve.

    Args:
        curves: one (steps,) accuracy curve a seed, each in [0, 1].
        window: as for `smooth`; the curves that are held against the target use the same.

    Raises:
        ValueError: no curve, or as for `smooth`.
    """
    return float(_vector([smooth(curve, window)[-1] for curve in curves], "curves").mean())


def cost_to_reach(costs: ArrayLike, accuracy: ArrayLike, target: float, window: int) -> Reach:
    """What a run had spent when its smoothed curve came to the target to stay there to the end.

    A curve that touches the target and falls below it again has not reached it yet. The answer is
    the cost at a test; there is no interpolation between two tests.

    Args:
        costs: (n,) what was spent before each test, increasing; 0 is the start model.
        accuracy: (n,) accuracy of those tests, in [0, 1].
        target: accuracy to reach.
        window: tests in the trailing mean, as for `smooth`.

    Returns:
        The cost; (last cost, inf) if the run ends below the target.

    Raises:
        ValueError: lengths differ, costs do not increase, or as for `smooth`.
    """
    spent, curve = _vector(costs, "costs"), smooth(accuracy, window)
    _same_length(spent.size, curve.size)
    if (np.diff(spent) <= 0).any():
        raise ValueError("costs must increase")
    below = np.flatnonzero(curve < target - TOLERANCE)
    first = int(below[-1]) + 1 if below.size else 0
    if first == spent.size:
        return Reach(float(spent[-1]), math.inf)
    return Reach(float(spent[first]), float(spent[first]))


def levels_at_equal_cost(
    one: tuple[ArrayLike, ArrayLike],
    other: tuple[ArrayLike, ArrayLike],
    window: int,
    from_start: bool = False,
    share: float = 1.0,
) -> tuple[float, float, float]:
    """Levels of two runs at the most that both had spent, on the line between two tests.

    Costs are smoothed as accuracies are: a level is a mean over the tests in a window, and what it
    cost is the mean over the same tests. So the window delays neither run, however much faster than
    the other it spends.

    Args:
        one, other: (costs, accuracies) of a run's tests, each (n,): costs increase from 0, the
            start model; accuracies are in [0, 1].
        window: tests in the trailing mean (`smooth`).
        from_start: the first tests are of the start model even where they cost something, so that a
            run has their level before.
        share: of that budget; both are read at it.

    Returns:
        Level of the one, level of the other, and the budget in the unit of the costs.

    Raises:
        ValueError: one run had spent all before the other's first test, or as for `smooth`.
    """
    curves = [(smooth(costs, window), smooth(accuracy, window)) for costs, accuracy in (one, other)]
    budget = share * min(float(costs[-1]) for costs, _ in curves)
    if not from_start and budget < max(float(costs[0]) for costs, _ in curves):
        raise ValueError(f"one run ended at {budget:g}, before the other's first test")
    first, second = (float(np.interp(budget, *curve)) for curve in curves)
    return first, second, budget


# --- medians with censored seeds -----------------------------------------------------------------


def median_cost(reached: Sequence[Reach], confidence: float) -> Median:
    """Median over seeds of the cost to a target; a censored seed counts as infinity.

    Args:
        reached: one answer of `cost_to_reach` a seed.
        confidence: nominal coverage in (0, 1).
    """
    return _median(reached, sum(each.censored for each in reached), confidence)


def speedup(baseline: Sequence[Reach], method: Sequence[Reach], confidence: float) -> Median:
    """Median over seeds of the baseline's cost to the target / the method's, paired by seed.

    The baseline's own cost is found by the same rule as the method's, not set to that of the whole
    run: a baseline that is at its final level after half the run gets no credit for the idle half.
    As the target is the *mean* final level of the baseline's seeds, the seeds that end below it are
    censored too. A censored cost lies in (spent, inf), where each run has spent its own amount, so
    a seed's ratio lies in [0, known / spent] if the method is censored, in [spent / known, inf] if
    the baseline is, and anywhere if both are. A cost of 0 is a run that is there from its start
    model: with it alone the ratio is at least 1, or at most 1 if it is the baseline's, and it is
    anywhere if both are there. The median is monotone in each ratio, so its bounds are the medians
    of the bounds: nothing is dropped and nothing is imputed.

    Args:
        baseline: (n,) answers of `cost_to_reach`, one a seed.
        method: (n,) the same for the method, in the same seed order and unit.
        confidence: nominal coverage in (0, 1).

    Raises:
        ValueError: lengths differ, or no seeds.
    """
    _same_length(len(method), len(baseline))
    ratios = [_ratio(slow, fast) for slow, fast in zip(baseline, method, strict=True)]
    return _median(ratios, sum(each.lower < each.upper for each in ratios), confidence)


def _ratio(slow: Reach, fast: Reach) -> Reach:
    """Of a seed, the bounds of one cost over the other."""
    if fast.at_start or slow.at_start:
        return Reach(0.0 if slow.at_start else 1.0, math.inf if fast.at_start else 1.0)
    # A run that ended before it spent anything says nothing of how much faster it is.
    return Reach(slow.lower / fast.upper, slow.upper / fast.lower if fast.lower else math.inf)


def _median(seeds: Sequence[Reach], censored: int, confidence: float) -> Median:
    """Median of quantities over 0 that are known up to [lower, upper], a point where these are one.

    A censored run is known on one side only, so the median lies between those of the two ends. Its
    interval goes from an order statistic of the lower ends to one of the upper ends
    (`student.median_rank`), and holds whatever the censored values are.
    """
    n = len(seeds)
    if n == 0:
        raise ValueError("no seeds")
    lower, upper = np.sort(np.asarray(seeds, dtype=np.float64).reshape(n, 2), axis=0).T
    middle = (float(np.median(lower)), float(np.median(upper)))
    if n == 1:
        return Median(*middle, math.nan, math.nan, n, censored, tuple(seeds))
    rank = median_rank(n, confidence)
    ends = (0.0, math.inf) if rank is None else (float(lower[rank - 1]), float(upper[n - rank]))
    return Median(*middle, *ends, n, censored, tuple(seeds))


def _vector(values: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (n,) with n > 0, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array


def _same_length(one: int, other: int) -> None:
    if one != other:
        raise ValueError(f"lengths differ: {one} and {other}")
