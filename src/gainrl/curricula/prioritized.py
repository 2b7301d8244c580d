"""Prioritised problems: the most undecided first, and the others retested (arXiv:2601.02648)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

UNSEEN = -1.0
"""The average of a prompt that was never rolled out."""
NOT_WAITING = -1
"""The step since which a prompt waits that does not."""


@register("prioritized")
@dataclass
class Prioritized(Sampler):
    """The B prompts of the greatest w = p (1 - p), with places for what was solved or hopeless.

    w is the mean squared advantage of a group of pass rate p, A = r - p. p is a moving average of a
    prompt's pass rates, p <- d p + (1 - d) pass rate, beginning with its first. A prompt that was
    never rolled out goes before all others, of equal ones any by chance.

    Prompts whose last group was all right or all wrong wait in two pools, whatever their average.
    Of a batch, `retest` B places are for them (a fraction of a place by chance): half for the
    solved, which may be forgotten, half for the unsolved, which may come within reach (an odd place
    by chance), the longest waiting first. They are drawn besides only if nothing else is left.

    The source keeps w in a heap and retests each pool every so many steps; its numbers are not
    given, and the average and what is unseen are ours.

    Parameters:
        decay: weight d of the past in [0, 1).
        retest: share of a batch in [0, 1].
    """

    decay: float = 0.5
    retest: float = 0.125
    state = ("p", "since", "solved", "steps")

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay}, not in [0, 1)")
        if not 0 <= self.retest <= 1:
            raise ValueError(f"retest is {self.retest}, not in [0, 1]")

    def start(self) -> None:
        """Nothing was rolled out."""
        size = self.setting.size
        self.p = np.full(size, UNSEEN)
        self.since = np.full(size, NOT_WAITING, dtype=np.int64)  # step of the last group
        self.solved = np.zeros(size, dtype=bool)  # of those that wait
        self.steps = 0

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows: those of the greatest priority first, the retested last."""
        again = self._retested(int(self.retest * count + self.rng.random()))
        priority = np.where(self.p == UNSEEN, 1.0, self.p * (1 - self.p))
        priority[self.since != NOT_WAITING] = -1.0
        priority[again] = -2.0
        shuffled = self.rng.permutation(self.setting.size)
        ranked = shuffled[np.argsort(-priority[shuffled], kind="stable")]
        return np.concatenate([ranked[: count - len(again)], again])

    def _retested(self, places: int) -> IntArray:
        """(at most places,) rows of the pools."""
        waiting = np.flatnonzero(self.since != NOT_WAITING)
        waiting = waiting[np.argsort(self.since[waiting], kind="stable")]
        solved = waiting[self.solved[waiting]][:places]
        unsolved = waiting[~self.solved[waiting]][:places]
        half = (places + int(self.rng.integers(2))) // 2
        first = min(len(solved), max(half, places - len(unsolved)))
        return np.concatenate([solved[:first], unsolved[: places - first]])

    def observe(self, outcome: Outcome) -> None:
        """Move the averages and the pools."""
        rows, accuracy = outcome.rows, outcome.accuracy
        before = np.where(self.p[rows] == UNSEEN, accuracy, self.p[rows])
        self.p[rows] = self.decay * before + (1 - self.decay) * accuracy
        alike = (accuracy <= 0) | (accuracy >= 1)
        self.since[rows] = np.where(alike, self.steps, NOT_WAITING)
        self.solved[rows] = accuracy >= 1
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Shares of all prompts: never rolled out, waiting solved, waiting unsolved."""
        waits = self.since != NOT_WAITING
        return {
            "unseen_share": float((self.p == UNSEEN).mean()),
            "solved_share": float((waits & self.solved).mean()),
            "unsolved_share": float((waits & ~self.solved).mean()),
        }
