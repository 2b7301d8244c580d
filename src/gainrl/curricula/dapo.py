"""DAPO's dynamic sampling: draw until enough groups teach (arXiv:2503.14476, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Outcome, Request, Setting, register
from gainrl.curricula.uniform import Uniform


@register("dapo")
@dataclass
class Dapo(Uniform):
    """Uniform batches until B groups have rewards that differ, or `limit` batches are drawn.

    Trained on are the first B of those groups. The original stops with an error at the limit; here
    the step goes on with the groups that there are, or without any gradient if there are none.

    Parameters:
        limit: generation batches a step, 10 as in the public configuration.
    """

    limit: int = 10
    several_draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}, not at least 1")

    def start(self, setting: Setting) -> None:
        """Bind to a training table."""
        super().start(setting)
        self.draws = 0
        self.batches = 0

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """Another batch of prompts that the step does not have yet."""
        self.draws = self.draws + 1 if len(seen.rows) else 1
        enough = int(seen.mixed.sum()) >= self.setting.batch
        if enough or self.draws > self.limit or len(seen.rows) == self.setting.size:
            return None
        self.batches = self.draws
        rows = self.next_batch()
        rows = rows[~np.isin(rows, seen.rows)]
        if not len(rows):  # a batch of nothing but repeats, at the end of a small epoch
            rest = np.setdiff1d(np.arange(self.setting.size), seen.rows)
            rows = self.rng.permutation(rest)[: self.setting.batch]
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def keep(self, seen: Groups) -> IntArray:
        """The first B groups with a gradient; the first B of all if there is none."""
        mixed = np.flatnonzero(seen.mixed)
        chosen = mixed if len(mixed) else np.arange(len(seen.rows))
        return chosen[: self.setting.batch]

    def observe(self, outcome: Outcome) -> None:
        """Nothing to learn."""

    def metrics(self) -> dict[str, float]:
        """The epoch, and the generation batches of the last step."""
        return {**super().metrics(), "batches": float(self.batches)}

    def state_dict(self) -> dict[str, Any]:
        """As `uniform`, and the last step's batches."""
        return {**super().state_dict(), "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        super().load_state_dict(state)
        self.batches = int(state["batches"])
