"""MoPPS: Thompson sampling of each prompt's accuracy, nearest to a target (arXiv:2507.04632)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.base import (
    IntArray,
    Outcome,
    Setting,
    generator_state,
    register,
    restore_generator,
)


@register("mopps")
@dataclass
class Mopps:
    """Of a random pool, the B prompts whose draw from Beta(a, b) is nearest to the target.

    Before anything is seen a = b = 1. A prompt that was rolled out moves, with l the decay, to

        a <- l a + (1 - l) + successes,    b <- l b + (1 - l) + failures,

    and the others stay, as in the public code. That takes its pools one after another from a
    shuffled epoch; here each is drawn anew.

    Parameters:
        pool: candidates as a multiple of B (the whole table if that is smaller); the public
            scripts take 16 for MATH and 8 for Countdown.
        target: accuracy in [0, 1].
        decay: weight of the past in [0, 1]; 1 forgets nothing.
    """

    pool: int = 16
    target: float = 0.5
    decay: float = 0.5
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}, not at least 1")
        for key in ("target", "decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")

    def start(self, setting: Setting) -> None:
        """Bind to a training table; every accuracy is as likely as any other."""
        self.setting = setting
        self.rng = np.random.default_rng([setting.seed, 15])
        self.a, self.b = np.ones(setting.size), np.ones(setting.size)

    def next_batch(self) -> IntArray:
        """(B,) distinct rows, nearest first."""
        size = min(self.pool * self.setting.batch, self.setting.size)
        pool = self.rng.choice(self.setting.size, size, replace=False)
        distance = np.abs(self.rng.beta(self.a[pool], self.b[pool]) - self.target)
        return pool[np.argsort(distance, kind="stable")[: self.setting.batch]]

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

    def state_dict(self) -> dict[str, Any]:
        """The posteriors and the random state."""
        return {"a": self.a.tolist(), "b": self.b.tolist(), "rng": generator_state(self.rng)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        self.a, self.b = np.array(state["a"]), np.array(state["b"])
        restore_generator(self.rng, state["rng"])
