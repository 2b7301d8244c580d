"""GRESO: prompts that taught nothing lately are probably skipped (arXiv:2506.02177)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

LEAST = 0.01
"""A prompt is rolled out at least this often, however long it has taught nothing."""
LOWEST, HIGHEST = 0.05, 0.95
"""Limits of p_easy and p_hard."""


@register("greso")
@dataclass
class Greso(Sampler):
    """Every prompt once an epoch, in random order, unless it is skipped until the next.

    A prompt whose last z groups were all right is skipped with probability
    1 - max(p_easy^z, 0.01); one whose last z groups were all wrong likewise with p_hard. After a
    step each p moves by `step`: down if its kind's share of the step's groups is at least its
    target, else up, within [0.05, 0.95]. The target of easy is a third of `target`, that of hard
    two thirds. As in the public code p stands still in the first epoch, in which nothing can be
    skipped, and an all-right group after an all-wrong one begins a run of its own kind.

    The original then draws on until B groups have rewards that differ, in batches of adapted size;
    here a step is one draw, and everything is trained on.

    Parameters:
        p: p_easy and p_hard at the start, in [0.05, 0.95].
        target: share of groups without variance, in [0, 1].
        step: by which p moves.
    """

    p: float = 0.5
    target: float = 0.25
    step: float = 0.01
    stream = 16
    state = ("run", "queue", "epoch", "skipped", "p_easy", "p_hard")

    def __post_init__(self) -> None:
        if not LOWEST <= self.p <= HIGHEST:
            raise ValueError(f"p is {self.p}, not in [{LOWEST}, {HIGHEST}]")
        if not 0 <= self.target <= 1:
            raise ValueError(f"target is {self.target}, not in [0, 1]")
        if self.step < 0:
            raise ValueError(f"step is {self.step}, below 0")

    def start(self) -> None:
        """Nothing is known of any prompt."""
        self.run = np.zeros(self.setting.size, dtype=np.int64)  # above 0 all right, below all wrong
        self.queue = np.empty(0, dtype=np.int64)
        self.epoch, self.skipped = -1, 0
        self.p_easy = self.p_hard = self.p

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows; at the end of an epoch those of the old one wait their turn."""
        batch, self.skipped = np.empty(0, dtype=np.int64), 0
        while True:
            batch = np.concatenate([batch, self._walk(batch, count)])
            if len(batch) == count:
                return batch
            self.epoch += 1
            self.queue = self.rng.permutation(self.setting.size)

    def _walk(self, batch: IntArray, count: int) -> IntArray:
        """What the epoch's rest adds to a batch; rows that it holds already stay queued."""
        held = np.zeros(self.setting.size, dtype=bool)
        held[batch] = True
        free = ~held[self.queue]
        missing = count - len(batch)
        kept = free & (self.rng.random(len(self.queue)) < self._chance(self.queue))
        taken = np.flatnonzero(kept)[:missing]
        end = int(taken[-1]) + 1 if len(taken) == missing else len(self.queue)
        self.skipped += int(free[:end].sum()) - len(taken)
        added = self.queue[taken]
        self.queue = np.concatenate([self.queue[:end][~free[:end]], self.queue[end:]])
        return added

    def _chance(self, rows: IntArray) -> FloatArray:
        """(len(rows),) probabilities to be rolled out."""
        run = self.run[rows]
        return np.maximum(np.where(run > 0, self.p_easy, self.p_hard) ** np.abs(run), LEAST)

    def observe(self, outcome: Outcome) -> None:
        """Lengthen or end the runs; move p_easy and p_hard."""
        easy, hard = outcome.accuracy >= 1, outcome.accuracy <= 0
        before = self.run[outcome.rows]
        longer = np.where(easy, np.maximum(before, 0) + 1, np.minimum(before, 0) - 1)
        self.run[outcome.rows] = np.where(easy | hard, longer, 0)
        if self.epoch > 0:
            self.p_easy = self._moved(self.p_easy, easy.mean() >= self.target / 3)
            self.p_hard = self._moved(self.p_hard, hard.mean() >= self.target * 2 / 3)

    def _moved(self, p: float, down: bool) -> float:
        return min(max(p - self.step if down else p + self.step, LOWEST), HIGHEST)

    def metrics(self) -> dict[str, float]:
        """The epoch, p_easy, p_hard, and the prompts skipped while the last batch was drawn."""
        shown = ("epoch", "p_easy", "p_hard", "skipped")
        return {key: float(getattr(self, key)) for key in shown}
