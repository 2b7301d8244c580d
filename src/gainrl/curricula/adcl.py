"""ADCL: chunks from easy to hard, each sorted anew before its turn (arXiv:2505.08364)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Request
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("adcl")
@dataclass
class Adcl(Sampler):
    """Walk chunks of the data, easiest first; re-estimate a chunk's difficulty before its turn.

    The data is cut once into chunks of equal size by the difficulties given, which are to be the
    start model's. The first chunk is walked in that order. Before every later one the model in
    training answers the chunk's prompts `rollouts` times, and the chunk is sorted by
    100 (1 - accuracy); these rollouts are not trained on, but their tokens count. Equal
    difficulties stay in the chunk's order before, and at the start in an order drawn by the seed.

    The source does not say how many answers an estimate takes, what a batch at the end of a chunk
    holds, or what follows the last chunk. Here: the preset's number of rollouts; such a batch is
    completed with the easiest of the next chunk, which is therefore estimated first; and after the
    last chunk the first comes again, with the same prompts and estimated like all others.

    Parameters:
        chunks: at least 1.
        rollouts: answers to a prompt for an estimate; None is as many as a group has. With 0
            nothing is estimated: the paper's baseline, a curriculum known beforehand.
    """

    chunks: int = 4
    rollouts: int | None = None
    needs = frozenset({"difficulty"})
    stream = 18
    state = ("difficulty", "parts", "queue", "opened", "shift")

    def __post_init__(self) -> None:
        if self.chunks < 1:
            raise ValueError(f"chunks is {self.chunks}, not at least 1")
        if self.rollouts is not None and self.rollouts < 0:
            raise ValueError(f"rollouts is {self.rollouts}, below 0")
        self.asks = self.rollouts != 0

    def start(self) -> None:
        """Cut the table into chunks; difficulties are in [0, 100]."""
        setting = self.setting
        assert setting.difficulty is not None
        self.answers = setting.rollouts if self.rollouts is None else self.rollouts
        self.difficulty = np.array(setting.difficulty, dtype=np.float64)
        shuffled = self.rng.permutation(setting.size)
        easiest = shuffled[np.argsort(self.difficulty[shuffled], kind="stable")]
        self.parts = np.array_split(easiest, min(self.chunks, setting.size))
        self.queue = np.empty(0, dtype=np.int64)
        self.opened, self.shift = 0, 0.0

    def ask(self, count: int) -> Request | None:
        """Estimates of the next chunk, if the batch reaches into it."""
        if not self.opened:
            self._open()  # the first chunk has the difficulties given
        if not self.asks or len(self._next(count)) == count:
            return None
        rows = self.parts[self.opened % len(self.parts)]
        return Request(rows, np.full(len(rows), self.answers), "estimate")

    def estimated(self, estimates: Groups) -> None:
        """Take the chunk's difficulties, and queue it."""
        values = 100 * (1 - estimates.accuracy)
        self.shift = float(np.abs(values - self.difficulty[estimates.rows]).mean())
        self.difficulty[estimates.rows] = values
        self._open()

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, easiest first, by the difficulties that are known."""
        while len(taken := self._next(count)) < count:
            self._open()
        batch, self.queue = self.queue[taken], np.delete(self.queue, taken)
        return batch

    def _next(self, count: int) -> IntArray:
        """Where the next rows are queued; where an epoch ends, a row is queued twice."""
        _, first = np.unique(self.queue[: 2 * count], return_index=True)
        return np.sort(first)[:count]

    def _open(self) -> None:
        """Queue the next chunk, sorted by the difficulties that are known."""
        turn = self.opened % len(self.parts)
        rows = self.parts[turn]
        self.parts[turn] = rows[np.argsort(self.difficulty[rows], kind="stable")]
        self.queue = np.concatenate([self.queue, self.parts[turn]])
        self.opened += 1

    def metrics(self) -> dict[str, float]:
        """Chunk and epoch from 0; mean absolute change of difficulty in the last estimate."""
        epoch, chunk = divmod(max(self.opened - 1, 0), len(self.parts))
        return {"chunk": float(chunk), "epoch": float(epoch), "shift": self.shift}
