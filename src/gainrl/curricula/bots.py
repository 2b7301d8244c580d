"""BOTS: Bayesian task selection with implicit evidence (arXiv:2510.26374)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

ROOM = 1e-6
"""Between the references' mean pass rates; in a step with less, k stays."""


@register("bots")
@dataclass
class Bots(Sampler):
    """The B prompts whose draw from Beta(a, b) is nearest to a target; all prompts learn each step.

    At the start a = b = 1. With n rollouts a group, l the forgetting and r the weight of implicit
    evidence, a step makes of every prompt

        a <- (1 - l) a + l + (1 - r) right + r n q,
        b <- (1 - l) b + l + (1 - r) wrong + r n (1 - q).

    q is a prompt's own accuracy if it was rolled out. Of any other right = wrong = 0, and q comes
    of interpolating between the pass rates of a weak and a strong reference model,

        q = weak + k (strong - weak) in [0, 1],
        k <- 0.9 k + 0.1 (mean accuracy - mean weak) / (mean strong - mean weak),

    means being over the prompts of the step, and k at first the ratio itself. Our references are
    the start model, whose difficulties are measured, and a model that is always right, so that k is
    the share of the start model's errors that training has mended; the source has Qwen2.5-7B and
    Qwen3-30B, whose pass rates came with its data. The rest is as in the public code.

    Parameters:
        target: accuracy in [0, 1].
        forget: l in [0, 1]. implicit: r in [0, 1]; 0 learns from what was rolled out alone.
        smoothing: weight of the past in k, in [0, 1].
    """

    target: float = 0.5
    forget: float = 0.1
    implicit: float = 0.1
    smoothing: float = 0.9
    needs = frozenset({"difficulty"})
    state = ("a", "b", "progress", "steps")

    def __post_init__(self) -> None:
        for key in ("target", "forget", "implicit", "smoothing"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")

    def start(self) -> None:
        """Every accuracy is as likely as any other."""
        difficulty = self.setting.difficulty
        assert difficulty is not None
        self.weak = 1 - np.asarray(difficulty, dtype=np.float64) / 100
        self.a, self.b = np.ones(self.setting.size), np.ones(self.setting.size)
        self.progress, self.steps = 0.0, 0  # k

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, nearest first."""
        distance = np.abs(self.rng.beta(self.a, self.b) - self.target)
        chosen = np.argpartition(distance, count - 1)[:count]
        return chosen[np.argsort(distance[chosen], kind="stable")]

    def observe(self, outcome: Outcome) -> None:
        """Interpolate what was not rolled out, and update every prompt's posterior."""
        rows, accuracy = outcome.rows, outcome.accuracy
        weak = float(self.weak[rows].mean())
        if 1 - weak > ROOM:  # else every prompt of the step was always right from the start
            ratio = (float(accuracy.mean()) - weak) / (1 - weak)
            past = self.smoothing if self.steps else 0.0
            self.progress = past * self.progress + (1 - past) * ratio
            self.steps += 1
        expected = np.clip(self.weak + self.progress * (1 - self.weak), 0.0, 1.0)
        expected[rows] = accuracy
        implied = np.full(self.setting.size, self.implicit * self.setting.rollouts)
        # A group that was rolled out has its own number of responses, explicit and implicit alike.
        implied[rows] = outcome.rollouts
        for counts, share in ((self.a, expected), (self.b, 1 - expected)):
            counts *= 1 - self.forget
            counts += self.forget + implied * share

    def metrics(self) -> dict[str, float]:
        """Mean of the posterior means, and k."""
        mean = float((self.a / (self.a + self.b)).mean())
        return {"expected_accuracy": mean, "progress": self.progress}
