"""ADCL: chunks from easy to hard, each sorted anew before its turn (arXiv:2505.08364)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Outcome, Request, Setting, register


@register("adcl")
@dataclass
class Adcl:
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
    needs: ClassVar[frozenset[str]] = frozenset({"difficulty"})

    def __post_init__(self) -> None:
        if self.chunks < 1:
            raise ValueError(f"chunks is {self.chunks}, not at least 1")
        if self.rollouts is not None and self.rollouts < 0:
            raise ValueError(f"rollouts is {self.rollouts}, below 0")

    @property
    def several_draws(self) -> bool:
        """Whether anything is estimated."""
        return self.rollouts != 0

    def start(self, setting: Setting) -> None:
        """Bind to a training table with difficulties in [0, 100]; cut it into chunks."""
        assert setting.difficulty is not None
        self.setting = setting
        self.answers = setting.rollouts if self.rollouts is None else self.rollouts
        self.difficulty = np.array(setting.difficulty, dtype=np.float64)
        shuffled = np.random.default_rng([setting.seed, 18]).permutation(setting.size)
        easiest = shuffled[np.argsort(self.difficulty[shuffled], kind="stable")]
        self.parts = np.array_split(easiest, min(self.chunks, setting.size))
        self.queue = np.empty(0, dtype=np.int64)
        self.opened, self.shift = 0, 0.0

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """Estimates of the chunks that the batch reaches into, then the batch."""
        if len(seen.rows):
            return None
        if estimates is not None:
            values = 100 * (1 - estimates.accuracy)
            self.shift = float(np.abs(values - self.difficulty[estimates.rows]).mean())
            self.difficulty[estimates.rows] = values
        if estimates is not None or not self.opened:
            self._open()
        if len(self._next()) < self.setting.batch:
            rows = self.parts[self.opened % len(self.parts)]
            return Request(rows, np.full(len(rows), self.answers), "estimate")
        rows = self.next_batch()
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def keep(self, seen: Groups) -> IntArray:
        """Everything."""
        return np.arange(len(seen.rows))

    def next_batch(self) -> IntArray:
        """(B,) distinct rows, easiest first, by the difficulties that are known."""
        while len(taken := self._next()) < self.setting.batch:
            self._open()
        batch, self.queue = self.queue[taken], np.delete(self.queue, taken)
        return batch

    def _next(self) -> IntArray:
        """Where the next B rows are queued; where an epoch ends, a row is queued twice."""
        _, first = np.unique(self.queue[: 2 * self.setting.batch], return_index=True)
        return np.sort(first)[: self.setting.batch]

    def _open(self) -> None:
        """Queue the next chunk, sorted by the difficulties that are known."""
        turn = self.opened % len(self.parts)
        rows = self.parts[turn]
        self.parts[turn] = rows[np.argsort(self.difficulty[rows], kind="stable")]
        self.queue = np.concatenate([self.queue, self.parts[turn]])
        self.opened += 1

    def observe(self, outcome: Outcome) -> None:
        """Difficulties come from estimates alone."""

    def metrics(self) -> dict[str, float]:
        """Chunk and epoch from 0; mean absolute change of difficulty in the last estimate."""
        epoch, chunk = divmod(max(self.opened - 1, 0), len(self.parts))
        return {"chunk": float(chunk), "epoch": float(epoch), "shift": self.shift}

    def state_dict(self) -> dict[str, Any]:
        """Difficulties, the chunks' order, the queue and the number of chunks opened."""
        return {
            "difficulty": self.difficulty.tolist(),
            "parts": [rows.tolist() for rows in self.parts],
            "queue": self.queue.tolist(),
            "opened": self.opened,
            "shift": self.shift,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        self.difficulty = np.array(state["difficulty"])
        self.parts = [np.array(rows, dtype=np.int64) for rows in state["parts"]]
        self.queue = np.array(state["queue"], dtype=np.int64)
        self.opened, self.shift = int(state["opened"]), float(state["shift"])
