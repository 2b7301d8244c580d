"""Nemotron 3 Nano's Gaussian over pass rates, whose mean falls (arXiv:2512.20848, sec. 3.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

SOLVED = 2.0
"""What is added to the distance of a prompt that was always right: further than any other."""


@register("gaussian")
@dataclass
class Gaussian(Sampler):
    """Batches whose pass rates under the start model follow a Gaussian; its mean falls linearly.

    A draw in step t, from 0 on, takes B targets from a normal distribution of mean

        first + min(t / (steps - 1), 1) (last - first)

    and deviation `sigma`, and for each in turn the nearest prompt that is free; of equally near
    ones one by chance. Every prompt comes once before any comes again, but when fewer than B are
    free all are. Prompts that the start model always solves count as none, and complete a batch
    only where the table has fewer than B others; the source drops them. It has such a schedule in
    each domain, with fixed shares, and profiles the prompts anew once training stalls; neither is
    here. Its means and deviation are not given (Figure 6 plots the pass rates of its batches):
    these are ours.

    Parameters:
        steps: over which the mean falls, at least 1; the run's, which a curriculum is not told.
        first, last: means in [0, 1].
        sigma: at least 0.
    """

    steps: int = 100
    first: float = 0.8
    last: float = 0.2
    sigma: float = 0.15
    needs = frozenset({"difficulty"})
    state = ("step", "free")

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, not at least 1")
        for key in ("first", "last"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")
        if self.sigma < 0:
            raise ValueError(f"sigma is {self.sigma}, below 0")

    def start(self) -> None:
        """Sort the prompts into levels of the same pass rate."""
        difficulty = self.setting.difficulty
        assert difficulty is not None
        rates = 1 - np.asarray(difficulty, dtype=np.float64) / 100
        self.levels, self.level_of = np.unique(rates, return_inverse=True)
        self.further: FloatArray = np.where(self.levels >= 1, SOLVED, 0.0)
        self.unsolved = rates < 1
        self.free = np.ones(self.setting.size, dtype=bool)
        self.step = 0

    @property
    def mean(self) -> float:
        """Of the step's targets."""
        return self.first + min(self.step / max(self.steps - 1, 1), 1.0) * (self.last - self.first)

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, in the order of their targets."""
        targets = self.rng.normal(self.mean, self.sigma, count)
        if (self.free & self.unsolved).sum() < min(count, self.unsolved.sum()) or (
            self.free.sum() < count
        ):
            self.free[:] = True
        left = np.bincount(self.level_of[self.free], minlength=len(self.levels))
        chosen = np.empty(count, dtype=np.int64)
        for at, target in enumerate(targets):
            distance = np.where(left > 0, np.abs(self.levels - target) + self.further, np.inf)
            nearest = np.flatnonzero(distance == distance.min())
            chosen[at] = nearest[0] if len(nearest) == 1 else self.rng.choice(nearest)
            left[chosen[at]] -= 1
        rows = np.empty(count, dtype=np.int64)
        for level in np.unique(chosen):
            here = np.flatnonzero(chosen == level)
            rows[here] = self.rng.choice(
                np.flatnonzero(self.free & (self.level_of == level)), len(here), replace=False
            )
        self.free[rows] = False
        return rows

    def observe(self, outcome: Outcome) -> None:
        """Count the step."""
        self.step += 1

    def metrics(self) -> dict[str, float]:
        """The mean of the next step, and the share of prompts that are free."""
        return {"mean": self.mean, "free_share": float(self.free.mean())}
