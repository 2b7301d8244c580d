"""Dropping what is solved: with `uniform`, the paper's ablation "accuracy only"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Outcome
from gainrl.curricula.parts import Filter, Sampler
from gainrl.curricula.registry import register
from gainrl.curricula.uniform import Uniform


@register("unsolved")
@dataclass
class Unsolved(Filter):
    """A prompt whose whole group was right is never drawn again (section 4.5, Figure 10 left).

    The paper does not say what happens when fewer prompts than a batch are left: here the batch is
    completed with solved ones, drawn uniformly, so that every step has the same size.
    """

    redraws = True
    state: ClassVar[tuple[str, ...]] = ("solved",)

    def start(self) -> None:
        """Nothing is solved yet."""
        self.solved = np.zeros(self.setting.size, dtype=bool)

    def draw(self, sampler: Sampler, count: int, seen: Groups) -> IntArray:
        """(count,) rows, unsolved ones as long as there are enough."""
        free = ~(np.zeros_like(self.solved) | sampler.excluded)
        if np.count_nonzero(free) < count:
            free[:] = True
        missing = count - np.count_nonzero(free & ~self.solved)
        if missing < 0:
            return sampler.draw_without(count, self.solved)
        unsolved = np.flatnonzero(free & ~self.solved)
        filled = sampler.rng.permutation(np.flatnonzero(free & self.solved))[:missing]
        return np.concatenate([sampler.rng.permutation(unsolved), filled])

    def observe(self, outcome: Outcome) -> None:
        """Drop the prompts whose group was right as a whole."""
        self.solved[outcome.rows[outcome.accuracy >= 1]] = True

    def metrics(self) -> dict[str, float]:
        """The share of prompts that are dropped."""
        return {"dropped_share": float(self.solved.mean())}


@register("accuracy_filter")
@dataclass
class AccuracyFilter(Uniform):
    """Short for the sampler `uniform` with the filter `unsolved`."""

    def filter(self) -> Unsolved:
        """Prompts that are not solved."""
        return Unsolved()
