"""Speed-ups of which some seeds never reach the level: data and intervals for coverage.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gainrl.compare import Statistics, Track, equal_accuracy

Array = NDArray[np.float64]
Limits = tuple[Array, Array]
PROBLEMS, RESAMPLES, CONFIDENCE = 192, 1000, 0.95
TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
SEEDS = (3, 5, 10, 20)
COSTS = np.arange(0, 34, 2.0)


def curves(
    experiments: int, n: int, faster: float, rng: np.random.Generator, starts: Array | float = 0.0
) -> Array:
    """(R, n, tests) accuracies: exponential rises, not over at the last test, seen in 192 answers.

    Of two methods of which one has `faster` times the other's pace, a seed's crossings of a level
    have that ratio in the median, for what varies between seeds is alike for both.

    Args:
        starts: (R, n, 1) how much better than another a seed's start model learns, by any method.
    """
    top = np.clip(0.65 + starts + rng.normal(0, 0.02, (experiments, n, 1)), 0.31, 0.99)
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


def equal(base: Array, method: Array) -> Limits:
    """`gainrl.compare.equal_accuracy` of each experiment: (R, n, tests) curves, not smoothed."""
    how = Statistics(smoothing=3, confidence=CONFIDENCE)
    found = [
        equal_accuracy(*([Track(COSTS, run) for run in runs] for runs in pair), how)
        for pair in zip(method, base, strict=True)
    ]
    return np.array([each.low for each in found]), np.array([each.high for each in found])


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


def t_of_logs(lower: Array, upper: Array) -> Limits:
    """t of the logarithms of the ratios; open where a seed is censored."""
    known = (lower == upper).all(1)
    logs = np.log(np.where(known[:, None], lower, 1))
    found = stats.ttest_1samp(logs, 0, axis=1).confidence_interval(CONFIDENCE)
    return np.where(known, np.exp(found.low), 0), np.where(known, np.exp(found.high), np.inf)


def table(experiments: int, seed: int) -> Iterator[list[str]]:
    """Coverage of the median over seeds of the ratio of costs to a level, and at equal accuracy.

    The level is the baseline's mean final one, which half of its seeds do not reach, or 0.5, which
    nearly all do. Of the last kind each seed has a start model of its own: how far they learn has a
    standard deviation of 10 points, the same for both methods.
    """
    yield ["level", "true speed-up", "n", "censored (%)", "percentile of the median",
           "order statistics, 95%", "order statistics, 93.5%", "t of logs",
           "at equal accuracy"]  # fmt: skip
    for kind, final, apart in (("final", True, 0.0), ("0.5", False, 0.0), ("starts", True, 0.1)):
        for faster in (1.0, 1.5):
            for n in SEEDS:
                rng = np.random.default_rng([seed, n, int(10 * faster), *([1] if apart else [])])
                starts = rng.normal(0, apart, (experiments, n, 1)) if apart else 0.0
                runs = [curves(experiments, n, each, rng, starts) for each in (1.0, faster)]
                base, method = map(smoothed, runs)
                target = base[..., -1].mean(1) if final else np.full(experiments, 0.5)
                lower, upper = ratios(base, method, target)
                found = [
                    of_medians(lower, upper, rng),
                    by_order(lower, upper, 0.95),
                    by_order(lower, upper, 0.935),
                    t_of_logs(lower, upper),
                    *([equal(*runs)] if final else []),
                ]
                cells = []
                for low, high in found:
                    hits = (low <= faster) & (faster <= high)
                    decided = (low > 1) | (high < 1)
                    cells.append(f"{100 * hits.mean():.1f} ({100 * decided.mean():.0f})")
                share = f"{100 * (lower != upper).mean():.0f}"
                cells += [] if final else ["–"]
                yield [kind, f"{faster:g}", str(n), share, *cells]
