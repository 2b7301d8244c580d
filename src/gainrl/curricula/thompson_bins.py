"""Marin's curriculum: Thompson sampling by category, weighted by what a group would teach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("thompson_bins")
@dataclass
class ThompsonBins(Sampler):
    """Draw categories by weights that come of a Thompson draw, and prompts of one uniformly.

    After each step p is drawn from Beta(prior + hits, prior + trials - hits) for every category.
    Its weight is, with n rollouts a group,

        group:     1 - p^n - (1 - p)^n, the probability that rewards of a group differ,
        variance:  p (1 - p),

    where trials are responses and hits right ones; or, with `mixed`, p itself, where trials are
    groups and hits those whose rewards differed. Weights are normalised, raised to at least
    epsilon / categories and normalised again. Counts fade by `decay` a step; `reversion` adds as
    many trials a step to each category, half of them hits, so that one that is hardly drawn comes
    back. Within a draw no prompt comes twice.

    With the filter `mixed` this is the source's arm "learnability-dapo", the best of six on
    Qwen3-0.6B and the last of three on a model of 67B. Its arms that rank categories by grade,
    which it recommends, are not here. Source: marin-community/marin,
    experiments/post_training/curriculum_rl, issue 8765, and the sampler in MarinSkyRL.

    Parameters:
        weight: of a category, from its p.
        decay: in [0, 1]; 1 forgets nothing.
        epsilon: in [0, 1].
        reversion: at least 0; the source has 2 in its later rounds.
        prior: above 0.
    """

    weight: Literal["group", "variance", "mixed"] = "group"
    decay: float = 0.95
    epsilon: float = 0.05
    reversion: float = 0.0
    prior: float = 1.0
    needs = frozenset({"categories"})
    state = ("hits", "trials", "weights")

    def __post_init__(self) -> None:
        for key in ("decay", "epsilon"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is {getattr(self, key)}, not in [0, 1]")
        if self.reversion < 0:
            raise ValueError(f"reversion is {self.reversion}, below 0")
        if self.prior <= 0:
            raise ValueError(f"prior is {self.prior}, not above 0")

    def start(self) -> None:
        """Nothing is known of any category; the first weights are a draw from the prior."""
        categories = self.setting.categories
        assert categories is not None
        self.names, self.bin_of, sizes = np.unique(
            categories, return_inverse=True, return_counts=True
        )
        self.sizes = sizes.astype(np.float64)
        self.hits, self.trials = np.zeros((2, len(sizes)))
        self.weights = self._thompson()

    def _thompson(self) -> FloatArray:
        """(C,) probabilities to be drawn."""
        p = self.rng.beta(self.prior + self.hits, self.prior + self.trials - self.hits)
        n = self.setting.rollouts
        value = {"group": 1 - p**n - (1 - p) ** n, "variance": p * (1 - p), "mixed": p}[self.weight]
        floor = self.epsilon / len(value)
        total = value.sum()
        shares = value / total if total > 0 else np.full(len(value), 1 / len(value))
        raised: FloatArray = np.maximum(shares, floor)
        return raised / raised.sum()

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows in the order in which they were drawn."""
        # One after another without repeats is the order of Exp(1) / w (Efraimidis and Spirakis).
        weight = np.maximum(self.weights / self.sizes, np.finfo(float).tiny)[self.bin_of]
        keys = self.rng.standard_exponential(self.setting.size) / weight
        chosen = np.argpartition(keys, count - 1)[:count]
        return chosen[np.argsort(keys[chosen])]

    def observe(self, outcome: Outcome) -> None:
        """Fade the counts, add every group to its category's, and draw new weights."""
        hits, trials = outcome.mixed.astype(np.float64), np.ones(len(outcome.rows))
        if self.weight != "mixed":
            trials = outcome.rollouts.astype(np.float64)
            hits = outcome.accuracy * trials
        where, bins = self.bin_of[outcome.rows], len(self.hits)
        for counts, gain, half in ((self.hits, hits, 0.5), (self.trials, trials, 1.0)):
            counts *= self.decay
            counts += np.bincount(where, gain, bins) + self.reversion * half
        self.weights = self._thompson()

    def metrics(self) -> dict[str, float]:
        """Each category's probability to be drawn, by its code."""
        shares = zip(self.names.tolist(), self.weights.tolist(), strict=True)
        return {f"weight_{name}": share for name, share in shares}
