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
        self.queue: IntArray = np.empty(0, dtype=np.int64)  # what is left of the epoch: a view

    def next_batch(self) -> IntArray:
        """(B,) distinct rows."""
        return self.take(self.setting.batch)

    def take(self, count: int) -> IntArray:
        """(count,) distinct rows, at most the table's."""
        batch, self.queue = self.queue[:count].copy(), self.queue[count:]
        if len(batch) < count:
            batch = self.completed(batch, np.arange(self.setting.size), count)
        return batch

    def completed(self, batch: IntArray, fresh: IntArray, count: int) -> IntArray:
        """A batch filled up to `count` from a new epoch over `fresh`, which becomes the queue."""
        self.epoch += 1
        need = count - len(batch)
        self.rng.shuffle(fresh)
        # The batch holds count - need rows: what it needs is among the epoch's first count.
        head = fresh[:count]
        fill = np.flatnonzero(~np.isin(head, batch))[:need]
        chosen, left = head[fill], np.delete(head, fill)
        first = len(head) - len(left)
        fresh[first : len(head)] = left
        self.queue = fresh[first:]
        return np.concatenate([batch, chosen])

    def observe(self, outcome: Outcome) -> None:
        """Uniform sampling learns nothing."""

    def metrics(self) -> dict[str, float]:
        """The epoch, from 0."""
        return {"epoch": float(self.epoch)}

    def state_dict(self) -> dict[str, Any]:
        """Queue, epoch and random state."""
        return {"epoch": self.epoch, "queue": self.queue.tolist(), "rng": generator_state(self.rng)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        self.epoch, self.queue = state["epoch"], np.array(state["queue"], dtype=np.int64)
        restore_generator(self.rng, state["rng"])
