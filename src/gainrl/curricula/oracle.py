"""A control that knows what nobody knows: every prompt's pass rate under the current model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.base import (
    Groups,
    IntArray,
    Outcome,
    Request,
    Setting,
    generator_state,
    register,
    restore_generator,
)


@register("oracle")
@dataclass
class Oracle:
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
    needs: ClassVar[frozenset[str]] = frozenset()
    several_draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key in ("pool", "samples", "every"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not at least 1")
        if self.every > self.pool:
            raise ValueError(f"a pool of {self.pool} batches is used up before {self.every} steps")

    def start(self, setting: Setting) -> None:
        """Bind to a training table; nothing is known yet."""
        self.setting = setting
        self.rng = np.random.default_rng([setting.seed, 20])
        self.queue = np.empty(0, dtype=np.int64)
        self.steps = 0
        self.told: dict[str, float] = {}

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """Estimates of a new pool when the last one has served, then the batch."""
        if len(seen.rows):
            return None
        if estimates is not None:
            self._sort(estimates)
        elif self.steps == 0 or len(self.queue) < self.setting.batch:
            count = min(self.pool * self.setting.batch, self.setting.size)
            rows = self.rng.permutation(self.setting.size)[:count]
            return Request(rows, np.full(count, self.samples), "free")
        rows = self.next_batch()
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def _sort(self, estimates: Groups) -> None:
        distance = np.abs(estimates.accuracy - 0.5)
        ties = self.rng.random(len(distance))
        self.queue = estimates.rows[np.lexsort((ties, distance))]
        self.steps = self.every
        nearest = np.sort(distance)[: self.setting.batch]
        self.told = {
            "pool_accuracy": float(estimates.accuracy.mean()),
            "distance": float(nearest.mean()),
        }

    def next_batch(self) -> IntArray:
        """(B,) distinct rows, nearest first; after `draw` has been told their pass rates."""
        batch, self.queue = np.split(self.queue, [self.setting.batch])
        self.steps -= 1
        return batch

    def keep(self, seen: Groups) -> IntArray:
        """Everything."""
        return np.arange(len(seen.rows))

    def observe(self, outcome: Outcome) -> None:
        """Nothing to learn: it is told."""

    def metrics(self) -> dict[str, float]:
        """Mean pass rate of the last pool, and of its first batch, mean distance from 1/2."""
        return dict(self.told)

    def state_dict(self) -> dict[str, Any]:
        """What is left of the pool, and the random state."""
        return {
            "queue": self.queue.tolist(),
            "steps": self.steps,
            "told": dict(self.told),
            "rng": generator_state(self.rng),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        self.queue = np.array(state["queue"], dtype=np.int64)
        self.steps = int(state["steps"])
        self.told = dict(state["told"])
        restore_generator(self.rng, state["rng"])
