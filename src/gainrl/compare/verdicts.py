"""What an interval comes to under a rule that was fixed before the runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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

    def words(self, unit: str) -> str:
        """The rule in words; unit: of the threshold."""
        sides = ("above", "below") if self.direction == "above" else ("below", "above")
        edge = f"{'at or ' if self.attained else ''}{sides[0]} {self.threshold:g} {unit}"
        return f"supported if the interval is {edge}, not supported if {sides[1]}"
