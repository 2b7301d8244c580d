"""MoPPS: Thompson sampling of each prompt's accuracy, nearest to a target (arXiv:2507.04632)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("mopps")
@dataclass
class Mopps(Sampler):
    """Of a random pool, the B prompts whose draw from Beta(a, b) is nearest to the target.

    Before anything is seen a = b = 1. A prompt that was rolled out moves, with l the decay, to

        a <- l a + (1 - l) + successes,    b <- l b + (1 - l) + failures,

    and the others stay, as in the public code. That takes its pools one after another from a
    shuffled epoch; here each is drawn anew.

    Parameters:
        pool: candidates as a multiple of what is drawn (the whole table if that is smaller).
        target: accuracy in [0, 1].
        decay: weight of the past in [0, 1]; 1 forgets nothing. Of the public scripts those for MATH
            have a pool of 16 and decay 1, those for Countdown 8 and 1/2; the default is neither.
    """

    pool: int = 16
    target: float = 0.5
    decay: float = 0.5
    stream = 15
    state = ("a", "b")

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}, not at least 1")
        for key in ("target", "decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")

    def start(self) -> None:
        """Every accuracy is as likely as any other."""
        self.a, self.b = np.ones(self.setting.size), np.ones(self.setting.size)

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, nearest first."""
        size = min(self.pool * count, self.setting.size)
        pool = self.rng.choice(self.setting.size, size, replace=False)
        distance = np.abs(self.rng.beta(self.a[pool], self.b[pool]) - self.target)
        return pool[np.argsort(distance, kind="stable")[:count]]

    def observe(self, outcome: Outcome) -> None:
        """Update the posteriors of the prompts that were rolled out."""
        rows, right = outcome.rows, outcome.accuracy * outcome.rollouts
        self.a[rows] = self.decay * self.a[rows] + (1 - self.decay) + right
        self.b[rows] = self.decay * self.b[rows] + (1 - self.decay) + outcome.rollouts - right

    def metrics(self) -> dict[str, float]:
        """Mean of the posterior means, and the share of prompts that were ever rolled out."""
        total = self.a + self.b
        seen = float((total > 2).mean())  # a visit leaves 2 and the number of responses, or more
        return {"expected_accuracy": float((self.a / total).mean()), "seen_share": seen}
