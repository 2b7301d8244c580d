"""Uniform sampling: what plain GRPO does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import BoolArray, IntArray
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("uniform")
@dataclass
class Uniform(Sampler):
    """Every prompt once an epoch, in a fresh random order each epoch (spec section 4).

    A batch that would run past the end of an epoch is completed from the next one with prompts
    that it does not hold yet.
    """

    stream = 11
    state = ("epoch", "queue")

    def start(self) -> None:
        """Before the first epoch."""
        self.epoch = -1
        self.queue: IntArray = np.empty(0, dtype=np.int64)  # what is left of the epoch: a view

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows."""
        batch, self.queue = self.queue[:count].copy(), self.queue[count:]
        if len(batch) < count:
            batch = self._completed(batch, np.arange(self.setting.size), count)
        return batch

    def draw_without(self, count: int, excluded: BoolArray) -> IntArray:
        """(count,) distinct rows; an epoch that begins here is without the excluded ones."""
        batch = self.queue[:0]
        while len(batch) < count and len(self.queue):
            need = count - len(batch)
            ahead, self.queue = self.queue[:need], self.queue[need:]
            batch = np.concatenate([batch, ahead[~excluded[ahead]]])
        if len(batch) < count:
            batch = self._completed(batch, np.flatnonzero(~excluded), count)
        return batch

    def _completed(self, batch: IntArray, fresh: IntArray, count: int) -> IntArray:
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

    def metrics(self) -> dict[str, float]:
        """The epoch, from 0."""
        return {"epoch": float(self.epoch)}
