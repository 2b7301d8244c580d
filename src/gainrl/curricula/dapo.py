"""DAPO's dynamic sampling: draw until enough groups teach (arXiv:2503.14476, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import Groups, IntArray
from gainrl.curricula.parts import Filter, Sampler
from gainrl.curricula.registry import register
from gainrl.curricula.uniform import Uniform


@register("mixed")
@dataclass
class Mixed(Filter):
    """Draw until B groups have rewards that differ, or `limit` times; train on the first B.

    The original stops with an error at the limit; here the step goes on with the groups that there
    are, or without any gradient if there are none. A draw counts however few of its prompts are new
    in the step: a sampler that repeats itself (`pcl`, `insight` on a small table) reaches the limit
    with few prompts.

    Parameters:
        limit: draws a step, 10 as in the public configuration.
    """

    limit: int = 10
    several_draws = True
    redraws = True
    state = ("batches",)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}, not at least 1")

    def start(self) -> None:
        """Nothing is drawn yet."""
        self.batches = 0

    def draw(self, sampler: Sampler, count: int, seen: Groups) -> IntArray:
        """The rows of a draw that the step does not have yet; others if it has them all."""
        self.batches = self.batches + 1 if len(seen.rows) else 1
        rows = sampler.draw(count)
        rows = rows[~np.isin(rows, seen.rows)]
        if not len(rows):  # a batch of nothing but repeats, at the end of a small epoch
            excluded = np.zeros(self.setting.size, dtype=bool)
            excluded[seen.rows] = True
            rows = sampler.draw_without(min(count, int((~excluded).sum())), excluded)
        return rows

    def enough(self, seen: Groups) -> bool:
        """Whether there are B mixed groups, the limit is reached or no prompt is left."""
        mixed = int(seen.mixed.sum()) >= self.setting.batch
        return mixed or self.batches >= self.limit or len(seen.rows) == self.setting.size

    def keep(self, seen: Groups) -> IntArray:
        """The first B groups with a gradient; the first B of all if there is none."""
        mixed = np.flatnonzero(seen.mixed)
        chosen = mixed if len(mixed) else np.arange(len(seen.rows))
        return chosen[: self.setting.batch]

    def metrics(self) -> dict[str, float]:
        """The draws of the last step."""
        return {"batches": float(self.batches)}


@register("dapo")
@dataclass
class Dapo(Uniform):
    """Short for the sampler `uniform` with the filter `mixed`.

    Parameters:
        limit: that of the filter.
    """

    limit: int = 10

    def filter(self) -> Mixed:
        """Groups of mixed rewards."""
        return Mixed(self.limit)
