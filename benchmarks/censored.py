"""Speed-ups of which some seeds never reach the level: data and intervals for coverage.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Limits = tuple[Array, Array]
PROBLEMS, RESAMPLES, CONFIDENCE = 192, 1000, 0.95
TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
COSTS = np.arange(0, 34, 2.0)


def curves(experiments: int, n: int, faster: float, rng: np.random.Generator) -> Array:
    """(R, n, tests) accuracies: exponential rises, not over at the last test, seen in 192 answers.

    Of two methods of which one has `faster` times the other's pace, a seed's crossings of a level
    have that ratio in the median, for what varies between seeds is alike for both.
    """
    top = 0.65 + rng.normal(0, 0.02, (experiments, n, 1))
    pace = 20 * np.exp(rng.normal(0, 0.25, (experiments, n, 1))) / faster
    level = 0.3 + (top - 0.3) * (1 - np.exp(-COSTS / pace))
    return rng.binomial(PROBLEMS, level) / PROBLEMS


def smoothed(accuracy: Array, window: int = 3) -> Array:
    sums = np.cumsum(accuracy, -1)
    before = np.concatenate([np.zeros((*sums.shape[:-1], window)), sums[..., :-window]], -1)
    return (sums - before) / np.minimum(np.arange(1, sums.shape[-1] + 1), window)


def reached(smooth: Array, target: Array) -> tuple[Array, Array]:
    """(R, n) bounds of the cost from which each curve stays at the target, as the tables' rule."""
    below = smooth < target[:, None, None] - 1e-9
    last = below.shape[-1] - np.argmax(below[..., ::-1], -1)
    first = np.where(below.any(-1), last, 0)
    spent = COSTS[np.minimum(first, len(COSTS) - 1)]
    return spent, np.where(first == len(COSTS), np.inf, spent)


def ratios(base: Array, method: Array, target: Array) -> tuple[Array, Array]:
    (slow_low, slow_high), (fast_low, fast_high) = (
        tuple(np.maximum(bound, 1.0) for bound in reached(each, target)) for each in (base, method)
    )
    return slow_low / fast_high, slow_high / fast_low


def of_medians(lower: Array, upper: Array, rng: np.random.Generator) -> Limits:
    """Percentile bootstrap of the median over seeds, of both bounds of each ratio."""
    drawn = rng.integers(lower.shape[1], size=(RESAMPLES, lower.shape[1]))
    lows, highs = [], []
    for start in range(0, len(lower), 100):
        least, most = (
            np.median(each[start : start + 100][:, drawn], -1) for each in (lower, upper)
        )
        lows.append(np.quantile(least, TAILS[0], axis=1, method="inverted_cdf"))
        highs.append(np.quantile(most, TAILS[1], axis=1, method="inverted_cdf"))
    return np.concatenate(lows), np.concatenate(highs)


def by_order(lower: Array, upper: Array, least: float) -> Limits:
    """The shortest pair of order statistics that holds a median with at least this probability."""
    n = lower.shape[1]
    holds = [k for k in range(1, n // 2 + 1) if 1 - 2 * stats.binom.cdf(k - 1, n, 0.5) >= least]
    if not holds:
        return np.zeros(len(lower)), np.full(len(lower), np.inf)
    k = holds[-1]
    return np.sort(lower, 1)[:, k - 1], np.sort(upper, 1)[:, n - k]
