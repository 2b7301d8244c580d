"""Uniform sampling: what plain GRPO does."""

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


@register("uniform")
@dataclass
class Uniform:
    """Every prompt once an epoch, in a fresh random order each epoch (spec section 4).

    A batch that would run past the end of an epoch is completed from the next one with prompts
    that it does not hold yet.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def start(self, setting: Setting) -> None:
        """Bind to a training table."""
        self.setting = setting
        self.rng = np.random.default_rng([setting.seed, 11])
        self.epoch = -1
        self.queue: list[int] = []

    def next_batch(self) -> IntArray:
        """(B,) distinct rows."""
        return self.take(self.setting.batch)

    def take(self, count: int) -> IntArray:
        """(count,) distinct rows, at most the table's."""
        batch = self.queue[:count]
        self.queue = self.queue[count:]
        if len(batch) < count:
            self.epoch += 1
            fresh = self.rng.permutation(self.setting.size).tolist()
            taken = set(batch)
            fill = [row for row in fresh if row not in taken][: count - len(batch)]
            used = set(fill)
            self.queue = [row for row in fresh if row not in used]
            batch += fill
        return np.array(batch, dtype=np.int64)

    def observe(self, outcome: Outcome) -> None:
        """Uniform sampling learns nothing."""

    def metrics(self) -> dict[str, float]:
        """The epoch, from 0."""
        return {"epoch": float(self.epoch)}

    def state_dict(self) -> dict[str, Any]:
        """Queue, epoch and random state."""
        return {"epoch": self.epoch, "queue": self.queue, "rng": generator_state(self.rng)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        self.epoch, self.queue = state["epoch"], list(state["queue"])
        restore_generator(self.rng, state["rng"])
