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
    """Variances of what makes paired differences vary, in points squared; NaN: not known.

    They are estimated without bias, so that one of little effect may come out below 0
    (`deviation`).

    seeds: between seeds, without the noise of their tests where `residual` is known. df: its
    degrees of freedom. starts: between start models, NaN where there is one of each kind. problems:
    between problems, of the mean over seeds. residual: of one seed on one problem, which is the
    seed's own way with the problem and the chance of its answers. answers: that chance alone, part
    of `residual`. problems_n, samples: of the pilot's test.
    """

    seeds: float
    df: int
    starts: float = math.nan
    problems: float = math.nan
    residual: float = math.nan
    answers: float = math.nan
    problems_n: int = 0
    samples: int = 0

    @property
    def seen(self) -> float:
        """Variance over seeds of the pilot's differences, with all that is in them."""
        return self.seeds + (self.residual / self.problems_n if self.problems_n else 0.0)

    def deviation(self, name: str) -> float:
        """Standard deviation of a part, in points; 0 where its variance came out below 0."""
        value: float = getattr(self, name)
        return math.nan if math.isnan(value) else math.sqrt(max(0.0, value))

    def of_a_seed(self, problems: int = 0, samples: int = 0) -> float:
        """Standard deviation of a replicate's difference on a test of such a size, in points.

        A replicate is a seed with, where `starts` is known, a start model of its own. Without a
        size, or where what it changes is unknown, it is that of the pilot's test.
        """
        noise = 0.0 if math.isnan(self.residual) else self.residual
        if samples and not math.isnan(self.answers):
            single = max(0.0, self.residual - self.answers)
            noise = single + self.answers * self.samples / samples
        if self.problems_n:
            noise /= problems or self.problems_n
        between = 0.0 if math.isnan(self.starts) else max(0.0, self.starts)
        return math.sqrt(between + max(0.0, self.seeds) + noise)


def parts_of(differences: ArrayLike, samples: int = 1, answers: float = math.nan) -> Parts:
    """Parts of the variance of paired differences by problem.

    A two-way analysis of variance without replication, seeds and problems both random (Searle,
    Casella and McCulloch 1992, Variance Components, chapter 4).

    Args:
        differences: (seeds, problems), method less baseline in points, each the mean of `samples`
            answers of both.
        answers: variance of a cell by the chance of its answers, where several tell it.

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
        seeds=float(by_seed.var(ddof=1)) - residual / count,
        df=n - 1,
        problems=float(by_problem.var(ddof=1)) - residual / n,
        residual=residual,
        answers=answers,
        problems_n=count,
        samples=samples,
    )


def between_starts(differences: list[FloatArray]) -> float:
    """Variance between start models of a difference, of (seeds,) arrays, one a start model.

    Raises:
        ValueError: a start model with one seed, which cannot be told from it.
    """
    if min(each.size for each in differences) < 2:
        raise ValueError("two seeds of each start model at least")
    means = np.array([each.mean() for each in differences])
    within = np.mean([each.var(ddof=1) / each.size for each in differences])
    return float(means.var(ddof=1)) - float(within)


def pooled(parts: list[Parts]) -> Parts:
    """Means of the parts of several methods or tasks; degrees of freedom add up.

    Where one was not seen by problem, or on a test of another size, nothing is known of the test's
    part, and `seeds` has it in it for all. `starts` is of none.
    """
    sizes = {(each.problems_n, each.samples) for each in parts}
    if len(sizes) > 1:
        parts = [Parts(each.seen, each.df) for each in parts]
    means = (float(np.mean([getattr(each, name) for each in parts]))
             for name in ("seeds", "problems", "residual", "answers"))  # fmt: skip
    seeds, problems, residual, answers = means
    df, first = sum(each.df for each in parts), parts[0]
    return Parts(seeds, df, math.nan, problems, residual, answers, first.problems_n, first.samples)


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
    if not 0 < above < 1:
        return above
    up, down, whole = math.log(above), math.log1p(-above), math.lgamma(n + 1)
    logs = (  # of binomial probabilities, whose factors are too large for a float
        whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * up + (n - k) * down
        for k in range(n - rank + 1, n + 1)
    )
    return min(sum(map(math.exp, logs)), 1.0)


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
