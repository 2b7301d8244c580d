"""GRPO: rewards standardised within a group (arXiv 2402.03300), as in verl."""

from __future__ import annotations

from typing import Any

from gainrl.training.algorithms.base import Algorithm, register

EPSILON = 1e-6
"""What is added to the standard deviation."""


@register("grpo")
class GRPO(Algorithm):
    """A = (r - mean) / (std + 1e-6); the loss is the mean over the batch's tokens."""

    def scale(self, deviation: Any, size: Any) -> Any:
        """The unbiased standard deviation, with 1e-6 added."""
        return deviation + EPSILON
