"""A control that knows what nobody knows: every prompt's pass rate under the current model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Request
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("oracle")
@dataclass
class Oracle(Sampler):
    """Take the B prompts of a random pool whose pass rate is nearest to 1/2; ties by chance.

    Pass rates come from rollouts whose tokens are not counted, so this bounds what a choice by pass
    rate can save; it is no method. A pool serves `every` steps, each of which takes the next B in
    its order, so that no prompt comes twice.

    Parameters:
        pool: prompts that are estimated, in batches; at most the whole table.
        samples: rollouts of each.
        every: steps that a pool serves, at most `pool`.
    """

    pool: int = 4
    samples: int = 8
    every: int = 1
    asks = True
    stream = 20
    state = ("queue", "steps", "told")

    def __post_init__(self) -> None:
        for key in ("pool", "samples", "every"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not at least 1")
        if self.every > self.pool:
            raise ValueError(f"a pool of {self.pool} batches is used up before {self.every} steps")

    def start(self) -> None:
        """Nothing is known yet."""
        self.queue = np.empty(0, dtype=np.int64)
        self.steps = 0
        self.told: dict[str, float] = {}

    def ask(self, count: int) -> Request | None:
        """Estimates of a new pool when the last one has served."""
        if self.steps and len(self.queue) >= count:
            return None
        size = min(max(self.pool * self.setting.batch, count), self.setting.size)
        rows = self.rng.permutation(self.setting.size)[:size]
        return Request(rows, np.full(size, self.samples), "free")

    def estimated(self, estimates: Groups) -> None:
        """Queue a pool, the nearest first."""
        distance = np.abs(estimates.accuracy - 0.5)
        ties = self.rng.random(len(distance))
        self.queue = estimates.rows[np.lexsort((ties, distance))]
        self.steps = self.every
        nearest = np.sort(distance)[: self.setting.batch]
        self.told = {
            "pool_accuracy": float(estimates.accuracy.mean()),
            "distance": float(nearest.mean()),
        }

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, nearest first, of the pool whose pass rates it was told."""
        batch, self.queue = np.split(self.queue, [count])
        self.steps -= 1
        return batch

    def metrics(self) -> dict[str, float]:
        """Mean pass rate of the last pool, and of its first batch, mean distance from 1/2."""
        return dict(self.told)
