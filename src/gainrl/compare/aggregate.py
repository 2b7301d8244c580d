"""Several tasks in one number: interquartile mean and probability of improvement.

Definitions of Agarwal et al. 2021 (arXiv:2108.13264, section 4): a run's score on each task is a
cell of an (n, tasks) matrix, and errors are of stratified bootstraps, which resample the runs of
every task by themselves. Functions are pure; randomness comes from the generator that is passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from gainrl.compare.statistics import ANY, FloatArray, Interval
from gainrl.compare.student import quantile

Statistic = Callable[..., FloatArray]
"""From arrays of (..., n, tasks) scores to (...) values."""


def interquartile_mean(scores: ArrayLike) -> FloatArray:
    """Mean of the middle half of all runs on all tasks (25% trimmed at each end).

    Args:
        scores: (..., n, tasks), comparable between tasks, such as shares of solved problems.

    Returns:
        (...), in the unit of the scores. Of 4 k cells the k lowest and k highest are left out; of
        other numbers, as many whole cells as fit into a quarter.
    """
    cells = _matrix(scores)
    flat = np.sort(cells.reshape(*cells.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def probability_of_improvement(method: ArrayLike, baseline: ArrayLike) -> FloatArray:
    """Probability that a run of the method beats one of the baseline, averaged over tasks.

    On each task the share of pairs of runs of which the method's is better, ties counted half
    (Mann and Whitney's U over n m); runs are not paired by seed.

    Args:
        method: (..., n, tasks); baseline: (..., m, tasks), of the same tasks.

    Raises:
        ValueError: not the same tasks.
    """
    one, other = _matrix(method), _matrix(baseline)
    if one.shape[-1] != other.shape[-1]:
        raise ValueError(f"tasks differ: {one.shape[-1]} and {other.shape[-1]}")
    difference = one[..., :, None, :] - other[..., None, :, :]
    better = (difference > 0) + 0.5 * (difference == 0)
    return better.mean((-3, -2, -1))


def stratified_interval(
    statistic: Statistic,
    *scores: ArrayLike,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
    within: tuple[float, float] = ANY,
) -> Interval:
    """A statistic of one or several score matrices, its error by a stratified bootstrap.

    Percentiles of so few seeds cover too seldom; the interval is Student's t with the bootstrap's
    standard error and one degree of freedom less than runs (benchmarks/coverage.py).

    Args:
        statistic: `interquartile_mean`, `probability_of_improvement` or another of their kind.
        scores: (n, tasks) matrices, one for each argument of the statistic.
        rng: source of the resamples.
        resamples: number of bootstrap samples.
        confidence: nominal coverage in (0, 1).
        within: what the statistic can be; the limits stay within.

    Returns:
        The statistic, its limits (NaN where a matrix has one run, which has no spread), and n, the
        runs of the smallest matrix.

    Raises:
        ValueError: a matrix is empty, has another number of dimensions or is not finite.
    """
    matrices = [_matrix(each) for each in scores]
    if any(each.ndim != 2 for each in matrices):
        raise ValueError("scores must have shape (n, tasks)")
    value, n = float(statistic(*matrices)), min(map(len, matrices))
    if n == 1:
        return Interval(value, np.nan, np.nan, n)
    drawn = statistic(*(_resampled(each, rng, resamples) for each in matrices))
    error = float(np.std(drawn)) * math.sqrt(n / (n - 1))
    half = quantile(confidence, n - 1) * error
    low, high = max(value - half, within[0]), min(value + half, within[1])
    return Interval(value, low, high, n, error)


def _resampled(matrix: FloatArray, rng: np.random.Generator, resamples: int) -> FloatArray:
    """(resamples, n, tasks): the runs of every task drawn anew, each task by itself."""
    rows = rng.integers(len(matrix), size=(resamples, *matrix.shape))
    return np.take_along_axis(matrix[None], rows, axis=1)


def _matrix(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"scores must have shape (n, tasks), both over 0, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite")
    return array
