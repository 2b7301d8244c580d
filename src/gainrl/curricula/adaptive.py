"""Adaptive rollouts: few for every prompt, more where they teach. And uniform choice with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Outcome, Request
from gainrl.curricula.parts import Allocation
from gainrl.curricula.registry import register
from gainrl.curricula.uniform import Uniform

DECAY = 0.9
"""Weight of the average share so far when a step joins it."""


@register("adaptive")
@dataclass
class Adaptive(Allocation):
    """`first` rollouts of each prompt of a draw, and as many again where their rewards differ.

    A draw of n prompts takes first * n * (1 + share) rollouts, if `share` of them are mixed at
    first. n is chosen so that this is the preset's budget, its prompts times its rollouts; the
    share is what past steps say, exponentially averaged from 1/2. Single steps come out above or
    below the budget, their mean does not.

    Parameters:
        first: at least 2, fewer are never mixed.
    """

    first: int = 4
    several_draws = True
    state: ClassVar[tuple[str, ...]] = ("mixed_share",)

    def __post_init__(self) -> None:
        if self.first < 2:
            raise ValueError(f"first is {self.first}, not at least 2: one rollout is never mixed")

    def start(self) -> None:
        """Half of the groups are mixed, as far as is known."""
        self.mixed_share, self.asked = 0.5, np.empty(0, dtype=np.int64)

    def prompts(self) -> int:
        """n of the next draw."""
        budget = self.setting.batch * self.setting.rollouts
        wanted = budget / (self.first * (1 + self.mixed_share))
        return min(max(round(wanted), 1), self.setting.size)

    def begin(self, rows: IntArray) -> Request:
        """The first rollouts."""
        self.asked = np.empty(0, dtype=np.int64)
        return Request(rows, np.full(len(rows), self.first))

    def again(self, seen: Groups) -> Request | None:
        """As many again for the mixed groups; None if they have had theirs, or there is none.

        A group that lost responses gets them too; one whose second ones are all lost is asked for
        no third time in that draw.
        """
        due = seen.mixed & (seen.rollouts <= self.first) & ~np.isin(seen.rows, self.asked)
        self.asked = np.append(self.asked, seen.rows[due])
        return Request(seen.rows[due], np.full(due.sum(), self.first)) if due.any() else None

    def observe(self, outcome: Outcome) -> None:
        """Average the share of mixed groups: what was not mixed at first got no second chance."""
        mixed = float(outcome.mixed.mean())
        self.mixed_share = DECAY * self.mixed_share + (1 - DECAY) * mixed

    def metrics(self) -> dict[str, float]:
        """The average share of mixed groups."""
        return {"mixed_share": self.mixed_share}


@register("adaptive_uniform")
@dataclass
class AdaptiveUniform(Uniform):
    """Short for the sampler `uniform` with the allocation `adaptive`: a control for `predicted`.

    Parameters:
        first: that of the allocation.
    """

    first: int = 4

    def allocation(self) -> Adaptive:
        """Rollouts as `predicted` spends them."""
        return Adaptive(self.first)
