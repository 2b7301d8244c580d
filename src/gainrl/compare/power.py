"""What a comparison can decide: parts of a pilot's variance, and power of what tables decide by.

A difference is decided by Student's t of the paired differences (`compare.statistics`), a speed-up
by the order statistics of its median. Power is that of the two-sided test at alpha = 1 -
confidence, on the right side. In numpy alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from gainrl.compare.statistics import FloatArray
from gainrl.compare.student import median_rank, quantile

MOST, SEEDS = 5000, 300
"""Seeds beyond which nobody asks, of differences and of speed-ups."""
NORMAL = NormalDist()


@dataclass(frozen=True)
class Parts:
    """Standard deviations of what makes paired differences vary, in points.

    starts: between start models, NaN where there is one of each kind. seeds: between seeds, without
    the noise of their tests where `residual` is known. problems: between problems, of the mean over
    seeds. residual: of one seed on one problem, which is the seed's own way with the problem and
    the chance of its `samples` answers. NaN: not known. df: degrees of freedom of `seeds`.
    problems_n, samples: of the pilot's test.
    """

    seeds: float
    df: int
    starts: float = math.nan
    problems: float = math.nan
    residual: float = math.nan
    problems_n: int = 0
    samples: int = 0

    def of_a_seed(self, problems: int = 0) -> float:
        """Standard deviation of a replicate's difference, tested on so many problems.

        A replicate is a seed with, where `starts` is known, a start model of its own. Without a
        number of problems, or where their part is unknown, it is that of the pilot's test.
        """
        noise = 0.0
        if not math.isnan(self.residual):
            noise = self.residual**2 / (problems or self.problems_n)
        between = 0.0 if math.isnan(self.starts) else self.starts**2
        return math.sqrt(between + self.seeds**2 + noise)


def parts_of(differences: ArrayLike, samples: int = 1) -> Parts:
    """Parts of the variance of paired differences by problem (two-way analysis of variance).

    Args:
        differences: (seeds, problems), method less baseline in points, each the mean of `samples`
            answers of both.

    Raises:
        ValueError: fewer than two seeds or problems.
    """
    cells = np.asarray(differences, dtype=np.float64)
    if cells.ndim != 2 or min(cells.shape) < 2:
        raise ValueError(f"two seeds and two problems at least, not {cells.shape}")
    n, count = cells.shape
    by_seed, by_problem = cells.mean(1), cells.mean(0)
    left = cells - by_seed[:, None] - by_problem + cells.mean()
    residual = float((left**2).sum()) / ((n - 1) * (count - 1))
    return Parts(
        seeds=math.sqrt(max(0.0, float(by_seed.var(ddof=1)) - residual / count)),
        df=n - 1,
        problems=math.sqrt(max(0.0, float(by_problem.var(ddof=1)) - residual / n)),
        residual=math.sqrt(residual),
        problems_n=count,
        samples=samples,
    )


def between_starts(differences: list[FloatArray]) -> float:
    """Standard deviation between start models of a difference, of (seeds,) arrays, one a start."""
    means = np.array([each.mean() for each in differences])
    within = np.mean([each.var(ddof=1) / each.size for each in differences if each.size > 1] or [0])
    return math.sqrt(max(0.0, float(means.var(ddof=1)) - float(within)))


def pooled(parts: list[Parts]) -> Parts:
    """Root mean squares of the parts of several methods or tasks; degrees of freedom add up.

    Where one was not seen by problem, or on another number of them, nothing is known of the test's
    part, and `seeds` has it in it for all.
    """
    first = parts[0]
    if not all(each.problems_n == first.problems_n for each in parts) or not first.problems_n:
        parts = [Parts(each.of_a_seed(), each.df, each.starts) for each in parts]

    def together(name: str) -> float:
        known = [value**2 for each in parts if not math.isnan(value := getattr(each, name))]
        return math.sqrt(float(np.mean(known))) if known else math.nan

    return Parts(
        together("seeds"),
        sum(each.df for each in parts),
        together("starts"),
        together("problems"),
        together("residual"),
        parts[0].problems_n,
        parts[0].samples,
    )


# --- differences: Student's t --------------------------------------------------------------------


def power_of_t(shift: float, n: int, alpha: float) -> float:
    """Probability that the two-sided t test of n values rejects, and on the right side.

    Args:
        shift: true mean over its standard error, the noncentrality; over 0.
    """
    df, grid = n - 1, 1000
    limit = quantile(1 - alpha, df)
    # The sample's deviation over the true one is chi / sqrt(df); given it, the mean is normal.
    ratio = (np.arange(grid) + 0.5) / grid * (1 + 8 / math.sqrt(2 * df))
    log_density = (df - 1) * np.log(ratio) - df * ratio**2 / 2
    weight = np.exp(log_density - log_density.max())
    reached = np.array([NORMAL.cdf(shift - limit * each) for each in ratio])
    return float((weight * reached).sum() / weight.sum())


def smallest_shift(n: int, alpha: float, power: float) -> float:
    """The least noncentrality that the t test of n values sees with this power."""
    low, high = 0.0, 1.0
    while power_of_t(high, n, alpha) < power:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if power_of_t(middle, n, alpha) < power else (low, middle)
    return high


def smallest_difference(deviation: float, n: int, alpha: float, power: float) -> float:
    """The least true difference that n seeds decide with this power, in the deviation's unit."""
    return smallest_shift(n, alpha, power) * deviation / math.sqrt(n)


def seeds_for_difference(
    difference: float, deviation: float, alpha: float, power: float
) -> int | None:
    """The fewest seeds that decide a true difference with this power; None beyond MOST."""
    if deviation == 0:
        return 2

    def enough(n: int) -> bool:
        return power_of_t(difference * math.sqrt(n) / deviation, n, alpha) >= power

    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


# --- speed-ups: order statistics of the median ---------------------------------------------------


def power_of_median(ratio: float, deviation: float, n: int, alpha: float) -> float:
    """Probability that the interval of a median speed-up lies above 1.

    Args:
        ratio: true median speed-up. deviation: of the logarithms of the seeds' ratios, normal.
    """
    rank = median_rank(n, 1 - alpha)
    if rank is None:
        return 0.0
    above = NORMAL.cdf(math.log(ratio) / deviation) if deviation > 0 else float(ratio > 1)
    counts = range(n - rank + 1, n + 1)
    return sum(math.comb(n, k) * above**k * (1 - above) ** (n - k) for k in counts)


def seeds_for_speedup(ratio: float, deviation: float, alpha: float, power: float) -> int | None:
    """The fewest seeds from which on a speed-up is decided with this power; None beyond SEEDS.

    Order statistics come in steps, so that a seed more can have less power.
    """
    found = None
    for n in range(SEEDS, 1, -1):
        if power_of_median(ratio, deviation, n, alpha) < power:
            break
        found = n
    return found
