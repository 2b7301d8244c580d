"""What an interval comes to under a rule that was fixed before the runs, alone and among many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gainrl.compare.ratios import Ratio
from gainrl.compare.statistics import Interval, Median

VERDICTS = SUPPORTED, REFUTED, UNDECIDED = "supported", "not supported", "undecided"


@dataclass(frozen=True)
class Rule:
    """On which side of a threshold an interval has to lie.

    direction: of the side; attained: whether the threshold itself is enough, as for ratios.
    """

    threshold: float
    direction: Literal["above", "below"] = "above"
    attained: bool = False

    def verdict(self, low: float, high: float) -> str:
        """Supported if all of [low, high] is on that side, not supported if all is on the other.

        Undecided else, and where a limit is NaN (one seed has no spread).
        """
        if math.isnan(low) or math.isnan(high):
            return UNDECIDED
        threshold = self.threshold
        if self.direction == "below":
            low, high, threshold = -high, -low, -threshold
        reached = low >= threshold if self.attained else low > threshold
        return SUPPORTED if reached else REFUTED if high < threshold else UNDECIDED

    def p(self, found: Interval | Median | Ratio) -> float:
        """Two-sided p that the true value is the threshold; NaN where nothing is known."""
        if isinstance(found, Median):
            return found.p(self.threshold, self.direction if self.attained else None)
        return found.p(self.threshold)

    def words(self, unit: str) -> str:
        """The rule in words; unit: of the threshold."""
        sides = ("above", "below") if self.direction == "above" else ("below", "above")
        edge = f"{'at or ' if self.attained else ''}{sides[0]} {self.threshold:g} {unit}"
        return f"supported if the interval is {edge}, not supported if {sides[1]}"


# --- many verdicts -------------------------------------------------------------------------------


def adjusted(p: Sequence[float]) -> list[float]:
    """Each p among all of them, after Benjamini and Hochberg 1995.

    Those that are at most q are the discoveries of which a share q is false in the mean, where the
    tests are independent or depend on each other positively, as methods with one baseline do.

    Args:
        p: in [0, 1]; NaN is no test: it stays NaN, and the others are not adjusted for it.

    Returns:
        The least p m / rank of this and every larger p, of m tests; never above 1.
    """
    values = np.asarray(p, dtype=np.float64)
    found = np.full(values.shape, math.nan)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN is sorted to the end
    scaled = values[order] * order.size / np.arange(1, order.size + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return [float(each) for each in found]


def survives(adjusted_p: float, rate: float) -> str:
    """ "yes" or "no" by the rate of false discoveries that is allowed; "" without a p."""
    return "" if math.isnan(adjusted_p) else "yes" if adjusted_p <= rate else "no"
