"""Self-Evolving Curriculum: a bandit over the categories of the prompts (arXiv:2505.14970)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("sec")
@dataclass
class Sec(Sampler):
    """Draw B arms iid from softmax(Q / tau); Q <- (1 - alpha) Q + alpha r for every arm.

    An arm is a category that has prompts. r is the mean absolute advantage over the arm's rollouts
    of the step, and 0 for an arm that had none. The prompts of an arm come in random order, each
    once before any comes again. The public code needs arms of at least a batch; here draws beyond
    the prompts of an arm go to the arms with prompts left, by the softmax over these, since a batch
    holds a prompt once.

    Parameters:
        alpha: the bandit's learning rate, in (0, 1].
        tau: temperature, above 0; the paper's runs take 1.0, 0.4 and 0.2.
    """

    alpha: float = 0.5
    tau: float = 1.0
    needs = frozenset({"categories"})
    stream = 14
    state = ("q", "unused")

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}, not in (0, 1]")
        if self.tau <= 0:
            raise ValueError("tau must be above 0")

    def start(self) -> None:
        """All Q are 0 and all arms alike."""
        categories = self.setting.categories
        assert categories is not None
        self.codes, self.arm_of = np.unique(categories, return_inverse=True)
        self.members = [np.flatnonzero(self.arm_of == arm) for arm in range(len(self.codes))]
        self.sizes = np.array([len(rows) for rows in self.members])
        self.unused = [np.empty(0, dtype=np.int64) for _ in self.members]
        self.q = np.zeros(len(self.codes))

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows, in random order."""
        rows = [self._take(arm, n) for arm, n in enumerate(self._counts(count)) if n]
        return self.rng.permutation(np.concatenate(rows))

    def _counts(self, missing: int) -> IntArray:
        """Draws of each arm, no more than it has prompts."""
        counts = np.zeros_like(self.sizes)
        while missing:
            open_arms = np.flatnonzero(counts < self.sizes)
            drawn = self.rng.choice(open_arms, missing, p=self._chance(open_arms))
            counts += np.bincount(drawn, minlength=len(counts))
            missing = int(np.maximum(counts - self.sizes, 0).sum())
            counts = np.minimum(counts, self.sizes)
        return counts

    def _chance(self, arms: IntArray) -> FloatArray:
        logits = self.q[arms] / self.tau
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    def _take(self, arm: int, count: int) -> IntArray:
        """The arm's next rows; those after a refill differ from those before it."""
        rows, self.unused[arm] = self.unused[arm][:count], self.unused[arm][count:]
        if len(rows) < count:
            fresh = self.rng.permutation(self.members[arm])
            new = np.flatnonzero(~np.isin(fresh, rows))[: count - len(rows)]
            rows = np.concatenate([rows, fresh[new]])
            self.unused[arm] = np.delete(fresh, new)
        return rows

    def observe(self, outcome: Outcome) -> None:
        """Move every Q towards its arm's reward, over the groups whose advantages are known."""
        known = ~np.isnan(outcome.advantage)  # behind a filter, those that it admits
        arms, weights = self.arm_of[outcome.rows[known]], outcome.rollouts[known]
        total = np.bincount(arms, outcome.advantage[known] * weights, minlength=len(self.q))
        count = np.bincount(arms, weights, minlength=len(self.q))
        self.q = (1 - self.alpha) * self.q + self.alpha * total / np.maximum(count, 1)

    def metrics(self) -> dict[str, float]:
        """Q by the code of the category, and the entropy of the arms' probabilities in nats."""
        chance = self._chance(np.arange(len(self.q)))
        entropy = -float((chance * np.log(np.maximum(chance, 1e-300))).sum())
        values = zip(self.codes.tolist(), self.q.tolist(), strict=True)
        return {**{f"q_{code}": value for code, value in values}, "entropy": entropy}
