"""ADARFT: batches nearest to a target difficulty that follows the reward (spec section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import tanh

import numpy as np

from gainrl.curricula.base import IntArray, Outcome
from gainrl.curricula.blocks import smallest
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("adarft")
@dataclass
class Adarft(Sampler):
    """Take the B prompts with the smallest |difficulty - T|; T <- clip(T + eta tanh(...), 0, 100).

    The sort is stable, so the same prompts repeat while T stands still, as in the original.

    Parameters:
        eta, alpha, beta: 50, 2, 0.5, the published defaults.
        target: T at the start.
    """

    eta: float = 50.0
    alpha: float = 2.0
    beta: float = 0.5
    target: float = 0.0
    needs = frozenset({"difficulty"})
    state = ("now",)

    def start(self) -> None:
        """Difficulties are in [0, 100]."""
        assert self.setting.difficulty is not None
        self.difficulty = np.asarray(self.setting.difficulty, dtype=np.float64)
        self.now = float(self.target)

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, nearest first."""
        return smallest(
            lambda start, stop: np.abs(self.difficulty[start:stop] - self.now),
            self.setting.size,
            count,
        )

    def observe(self, outcome: Outcome) -> None:
        """Move the target by the batch's mean reward."""
        reward = float(outcome.accuracy.mean())
        moved = self.now + self.eta * tanh(self.alpha * (reward - self.beta))
        self.now = min(max(moved, 0.0), 100.0)

    def metrics(self) -> dict[str, float]:
        """The target difficulty for the next batch."""
        return {"target": self.now}
