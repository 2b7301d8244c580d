"""Uniform sampling that drops what is solved: the paper's ablation "accuracy only"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gainrl.curricula.base import IntArray, Outcome, Setting, register
from gainrl.curricula.uniform import Uniform


@register("accuracy_filter")
@dataclass
class AccuracyFilter(Uniform):
    """A prompt whose whole group was right is never drawn again (section 4.5, Figure 10 left).

    The rest is drawn as `uniform` does, each once an epoch. The paper does not say what happens
    when fewer prompts than a batch are left: here the batch is completed with solved ones, drawn
    uniformly, so that every step has the same size.
    """

    def start(self, setting: Setting) -> None:
        """Bind to a training table; nothing is solved yet."""
        super().start(setting)
        self.solved = np.zeros(setting.size, dtype=bool)
        self.dropped = 0

    def next_batch(self) -> IntArray:
        """(B,) distinct rows, unsolved ones as long as there are enough."""
        size, left = self.setting.batch, self.setting.size - self.dropped
        if left <= size:
            filled = self.rng.permutation(np.flatnonzero(self.solved))[: size - left]
            self.queue = self.queue[:0]
            return np.concatenate([self.rng.permutation(np.flatnonzero(~self.solved)), filled])
        batch = self.queue[:0]
        while len(batch) < size and len(self.queue):
            need = size - len(batch)
            ahead, self.queue = self.queue[:need], self.queue[need:]
            batch = np.concatenate([batch, ahead[~self.solved[ahead]]])
        if len(batch) < size:
            batch = self.completed(batch, np.flatnonzero(~self.solved), size)
        return batch

    def observe(self, outcome: Outcome) -> None:
        """Drop the prompts whose group was right as a whole."""
        right = outcome.rows[outcome.accuracy >= 1]
        right = right[~self.solved[right]]
        self.solved[right] = True
        self.dropped += len(right)

    def metrics(self) -> dict[str, float]:
        """The epoch, and the share of prompts that are dropped."""
        return {**super().metrics(), "dropped_share": self.dropped / self.setting.size}

    def state_dict(self) -> dict[str, Any]:
        """As `uniform`, and the dropped rows."""
        return {**super().state_dict(), "solved": np.flatnonzero(self.solved).tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        super().load_state_dict(state)
        self.solved[:] = False
        self.solved[state["solved"]] = True
        self.dropped = len(state["solved"])
