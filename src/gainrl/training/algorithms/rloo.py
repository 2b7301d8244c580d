"""RLOO: REINFORCE with the other responses' mean reward as the baseline (arXiv 2402.14740)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gainrl.training.algorithms.base import Algorithm, register


@register("rloo")
class RLOO(Algorithm):
    """A_i = r_i - mean of r_j, j != i, which is (r_i - mean) G / (G - 1).

    The paper sums a response's tokens; here, as in verl, the sum is divided by the tokens of the
    mini-batch: the same direction, at a length that `max_grad_norm` can be shared with GRPO. While
    a batch makes one update, the ratio is 1 and nothing is clipped: REINFORCE.
    """

    estimator = "rloo"

    def scale(self, deviation: Any, size: Any) -> Any:
        """(G - 1) / G."""
        return np.maximum(size - 1, 1) / size
