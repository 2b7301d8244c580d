"""VIP: rollouts by predicted gradient variance (arXiv:2602.01601, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome, Request
from gainrl.curricula.blocks import BLOCK
from gainrl.curricula.logistic import logistic
from gainrl.curricula.parts import Allocation
from gainrl.curricula.registry import register
from gainrl.curricula.uniform import Uniform
from gainrl.errors import ConfigError

CONVEX = 3
"""From so many rollouts on each further one lessens (n - 1) / n^2 by less than the one before."""
LEAST = 1e-5
"""Pass rates are at least so far from 0 and 1 where variances are predicted."""
JITTER = 1e-4
"""On the diagonal of the kernel: prompts may be alike."""
SAMPLE = 512
"""Prompts whose distances give the bandwidth."""
ALIKE = 1e-6
"""Prompts nearer than this share of the largest state are the same one, but for rounding."""


@register("vip")
@dataclass
class VarianceInformed(Allocation):
    """The preset's budget, divided so that the gradient's predicted variance is least.

    A group of n responses to a prompt of pass rate p has, with Dr. GRPO's advantages, a variance in
    proportion to p (1 - p) (n - 1) / n^2. Of the prompts of a draw with B rollouts on average

        sum_q p_q (1 - p_q) (n_q - 1) / n_q^2    is minimised with    sum_q n_q = B count,

    lowest <= n_q <= highest. From three rollouts on each further one lessens a prompt's term by
    less than the one before, so that giving them out one by one where they lessen it most is the
    optimum over whole numbers; the source solves a relaxation and rounds.

    p is predicted by a Gaussian process over prompts: p = 1 / (1 + exp(-g)), g = 0 at first, with
    the kernel k(x, y) = exp(-|x - y|^2 / (2 h^2)). After a step with prompts S, whose accuracies
    clipped to [clip, 1 - clip] have the logits l,

        g <- g + k(., S) k(S, S)^-1 (l - g_S),    g_S <- l.

    x are the principal components of the start model's mean states, where the source has sentence
    embeddings of another model; h is the median distance of prompts that differ. The clip is ours.

    Parameters:
        lowest: at least 3, at most the preset's rollouts. highest: at least these.
        clip: above 0 and below 1/2.
    """

    lowest: int = 3
    highest: int = 32
    clip: float = 0.05
    state = ("latent",)

    def __post_init__(self) -> None:
        if self.lowest < CONVEX:
            raise ValueError(f"lowest is {self.lowest}, not at least {CONVEX}")
        if self.highest < self.lowest:
            raise ValueError(f"highest is {self.highest}, below lowest, {self.lowest}")
        if not 0 < self.clip < 0.5:
            raise ValueError(f"clip is {self.clip}, not above 0 and below 1/2")

    def start(self) -> None:
        """Every pass rate is predicted to be 1/2.

        Raises:
            ConfigError: there are no states of the prompts, or the preset's rollouts are outside of
                the limits.
        """
        if not self.lowest <= self.setting.rollouts <= self.highest:
            raise ConfigError(
                f"the allocation 'vip' gives {self.lowest} to {self.highest} rollouts, but "
                f"training.rollouts is {self.setting.rollouts}"
            )
        features = self.setting.features or {}
        names = sorted(name for name in features if name.startswith("state"))
        if not names:
            raise ConfigError(
                "the allocation 'vip' needs the prompts' states: take the sampler 'vip_uniform', "
                "or 'predicted' with 'features: all'"
            )
        self.inputs = np.stack([np.asarray(features[n], dtype=np.float64) for n in names], axis=1)
        size = self.setting.size
        some = self.inputs[np.unique(np.linspace(0, size - 1, min(SAMPLE, size)).astype(int))]
        pairs = np.sqrt(_squares(some, some)[np.triu_indices(len(some), 1)])
        apart = pairs[pairs > ALIKE * np.linalg.norm(some, axis=1).max(initial=0)]
        self.bandwidth = float(np.median(apart)) if len(apart) else 1.0
        self.latent = np.zeros(size)  # g

    def begin(self, rows: IntArray) -> Request:
        """All rollouts of a draw."""
        rate = np.clip(logistic(self.latent[rows]), LEAST, 1 - LEAST)
        n = np.arange(self.lowest, self.highest, dtype=np.float64)
        less = (n - 1) / n**2 - n / (n + 1) ** 2  # by the rollout after the n-th
        gains = (rate * (1 - rate))[:, None] * less
        spare = len(rows) * (self.setting.rollouts - self.lowest)
        given = np.argsort(-gains, axis=None, kind="stable")[:spare] // max(len(n), 1)
        return Request(rows, self.lowest + np.bincount(given, minlength=len(rows)))

    def observe(self, outcome: Outcome) -> None:
        """Condition the process on the accuracies of a step."""
        rows = outcome.rows
        share = np.clip(outcome.accuracy, self.clip, 1 - self.clip)
        seen = np.log(share / (1 - share))
        places = self.inputs[rows]
        kernel = self._kernel(places, places) + JITTER * np.eye(len(rows))
        weights = np.linalg.solve(kernel, seen - self.latent[rows])
        bound = np.log((1 - self.clip) / self.clip)  # of what can be seen
        block = max(BLOCK * 16 // len(rows), 1)
        for start in range(0, self.setting.size, block):
            part = slice(start, start + block)
            moved = self.latent[part] + self._kernel(self.inputs[part], places) @ weights
            self.latent[part] = np.clip(moved, -bound, bound)
        self.latent[rows] = seen

    def _kernel(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """(L, R)."""
        near: FloatArray = np.exp(-_squares(left, right) / (2 * self.bandwidth**2))
        return near

    def metrics(self) -> dict[str, float]:
        """Mean of the predicted pass rates."""
        return {"predicted": float(logistic(self.latent).mean())}


def _squares(left: FloatArray, right: FloatArray) -> FloatArray:
    """(L, R) squared distances."""
    apart: FloatArray = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
    return np.maximum(apart, 0.0)


@register("vip_uniform")
@dataclass
class VipUniform(Uniform):
    """Short for the sampler `uniform` with the allocation `vip`, whose features it asks for.

    Parameters:
        lowest, highest, clip: those of the allocation.
    """

    lowest: int = 3
    highest: int = 32
    clip: float = 0.05
    needs = frozenset({"features"})
    feature_kinds = ("states",)

    def allocation(self) -> VarianceInformed:
        """Rollouts by predicted variance."""
        return VarianceInformed(self.lowest, self.highest, self.clip)
