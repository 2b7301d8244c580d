"""HIVE: prompts that history leaves undecided, of them those of high entropy (arXiv:2603.25184)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.base import IntArray, Outcome, Prefilled, Request
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register


@register("hive")
@dataclass
class Hive(Sampler):
    """Of a shortlist by history, the upper half by the entropy of the prompts themselves.

    First a shortlist of 2 B prompts, drawn without replacement with the weight

        max(4 p (1 - p), explore),

    p the accuracy of a prompt's last group; one that was never rolled out has weight 1. Then the
    current model reads the shortlist (Request of purpose `prefill`), and the B prompts whose mean
    entropy over their tokens is above the shortlist's median are drawn: history grows stale as the
    policy moves, entropy is of the present.

    The mean token entropy, the median of the shortlist and the two stages are the source's; there
    the first stage goes by the entropy of earlier responses too. Its probabilities could not be
    read: the weight and `explore` are ours.

    Parameters:
        explore: least weight, in (0, 1].
    """

    explore: float = 0.1
    asks = reads_entropy = True
    state = ("p", "told")

    def __post_init__(self) -> None:
        if not 0 < self.explore <= 1:
            raise ValueError(f"explore is {self.explore}, not in (0, 1]")

    def start(self) -> None:
        """Nothing was rolled out."""
        self.p = np.full(self.setting.size, 0.5)
        self.told = {"entropy": 0.0, "entropy_of_shortlist": 0.0}
        self.found: Prefilled | None = None

    def ask(self, count: int) -> Request | None:
        """The entropies of a shortlist, unless they are there."""
        if self.found is not None:
            return None
        weight = np.maximum(4 * self.p * (1 - self.p), self.explore)
        size = min(2 * count, self.setting.size)
        rows = self.rng.choice(self.setting.size, size, replace=False, p=weight / weight.sum())
        return Request.prefill(rows)

    def prefilled(self, found: Prefilled) -> None:
        """Take the entropies."""
        self.found = found

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows of the shortlist, of the greatest entropy first."""
        assert self.found is not None
        found, self.found = self.found, None
        chosen = np.argsort(-found.entropy, kind="stable")[:count]
        self.told = {
            "entropy": float(found.entropy[chosen].mean()),
            "entropy_of_shortlist": float(found.entropy.mean()),
        }
        return found.rows[chosen]

    def observe(self, outcome: Outcome) -> None:
        """Remember the last accuracies."""
        self.p[outcome.rows] = outcome.accuracy

    def metrics(self) -> dict[str, float]:
        """Mean entropies, in nats, of the last batch and of the shortlist that it is of."""
        return dict(self.told)
