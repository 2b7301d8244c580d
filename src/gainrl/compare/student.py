"""Student's t and the sign test, in numpy alone: what intervals and p-values of seeds rest on."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

TOLERANCE = 1e-9
"""Accuracies are multiples of 1 / problems; means that differ by less than this are equal."""
SHORTFALL = 0.015
"""How much less than asked for a median's interval may hold, for order statistics come in steps."""


def central(t: float, df: int) -> float:
    """Probability that Student's t of `df` degrees of freedom lies in [-t, t].

    The finite sums of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, for whole df.
    """
    if math.isinf(t):
        return 1.0
    angle = math.atan2(t, math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    k = np.arange(1, df // 2)
    if df % 2:
        terms = np.cumprod([cosine, *(2 * k / (2 * k + 1) * cosine**2)]) if df > 1 else np.zeros(1)
        return 2 / math.pi * (angle + sine * float(terms.sum()))
    return sine * float(np.cumprod([1.0, *((2 * k - 1) / (2 * k) * cosine**2)]).sum())


@lru_cache(maxsize=4096)
def quantile(confidence: float, df: int) -> float:
    """The t that `central` gives this probability, in (0, 1)."""
    low, high = 0.0, 1.0
    while central(high, df) < confidence:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if central(middle, df) < confidence else (low, middle)
    return (low + high) / 2


def p_value(mean: float, error: float, n: int, threshold: float) -> float:
    """Two-sided p of Student's t that a mean is the threshold.

    Args:
        error: standard error of the mean; where it is 0 the p is 0 or 1. n: of values; a single one
            has no p (NaN), as what is not known.
    """
    if n < 2 or math.isnan(mean) or math.isnan(error):
        return math.nan
    apart = abs(mean - threshold)
    if error == 0:
        return 0.0 if apart > TOLERANCE else 1.0
    return max(0.0, 1 - central(apart / error, n - 1))


def sign_p(beyond: int, n: int) -> float:
    """Two-sided p of the sign test: of n values, `beyond` lie on one side of the median."""
    tail = sum(math.comb(n, k) for k in range(beyond, n + 1)) / 2**n
    return min(1.0, 2 * tail)


@lru_cache(maxsize=1024)
def median_rank(n: int, confidence: float) -> int | None:
    """k such that the k-th smallest and k-th largest of n values hold the median between them.

    The largest k whose interval holds it with probability `confidence` less SHORTFALL at least,
    whatever the distribution (David and Nagaraja 2003, section 7.1); None where even the extremes
    hold it more seldom, as of four values at 95%.
    """
    outside, found = 0, None
    for k in range(1, n // 2 + 1):
        outside += 2 * math.comb(n, k - 1)  # fewer than k of the n lie on one side of the median
        if 1 - outside / 2**n < confidence - SHORTFALL:
            break
        found = k
    return found
