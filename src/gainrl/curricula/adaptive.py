"""Adaptive rollouts: few for every prompt, more where they teach. And uniform choice with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.curricula.base import Groups, IntArray, Outcome, Request, Setting, register
from gainrl.curricula.uniform import Uniform

DECAY = 0.9
"""Weight of the average share so far when a step joins it."""


@dataclass
class AdaptiveRollouts:
    """`first` rollouts of each prompt of a step, and as many again where their rewards differ.

    A step of n prompts takes first * n * (1 + share) rollouts, if `share` of them are mixed at
    first. n is chosen so that this is the budget; the share is what past steps say, exponentially
    averaged from 1/2. Single steps come out above or below the budget, their mean does not.

    first: at least 2, fewer are never mixed; budget: rollouts a step; size: prompts in the table.
    """

    first: int
    budget: int
    size: int
    share: float = 0.5

    def prompts(self) -> int:
        """n of the next step."""
        wanted = self.budget / (self.first * (1 + self.share))
        return min(max(round(wanted), 1), self.size)

    def begin(self, rows: IntArray) -> Request:
        """The first rollouts of a step."""
        return Request(rows, np.full(len(rows), self.first))

    def again(self, seen: Groups) -> Request | None:
        """As many again for the mixed groups; None if they have had theirs, or there is none."""
        rows = seen.rows[seen.mixed & (seen.rollouts == self.first)]
        return self.begin(rows) if len(rows) else None

    def observe(self, outcome: Outcome) -> None:
        """Average the share of mixed groups: what was not mixed at first got no second chance."""
        self.share = DECAY * self.share + (1 - DECAY) * float(outcome.mixed.mean())


def check_first(first: int) -> None:
    """ValueError for a number of first rollouts that can never be mixed."""
    if first < 2:
        raise ValueError(f"first is {first}, not at least 2: one rollout is never mixed")


@register("adaptive_uniform")
@dataclass
class AdaptiveUniform(Uniform):
    """Prompts as `uniform` draws them, rollouts as `predicted` spends them: a control for it.

    Parameters:
        first: rollouts of each prompt at first, and again where they are mixed.
    """

    first: int = 4
    several_draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_first(self.first)

    def start(self, setting: Setting) -> None:
        """Bind to a training table; a step's budget is that of the preset."""
        super().start(setting)
        budget = setting.batch * setting.rollouts
        self.rollouts = AdaptiveRollouts(self.first, budget, setting.size)

    def draw(self, seen: Groups, estimates: Groups | None) -> Request | None:
        """The first rollouts, then those of the mixed groups."""
        if len(seen.rows):
            return self.rollouts.again(seen)
        return self.rollouts.begin(self.take(self.rollouts.prompts()))

    def keep(self, seen: Groups) -> IntArray:
        """Everything, as plain GRPO does."""
        return np.arange(len(seen.rows))

    def observe(self, outcome: Outcome) -> None:
        """The share of mixed groups."""
        self.rollouts.observe(outcome)

    def metrics(self) -> dict[str, float]:
        """The epoch and the average share of mixed groups."""
        return {**super().metrics(), "mixed_share": self.rollouts.share}

    def state_dict(self) -> dict[str, Any]:
        """As `uniform`, and the share."""
        return {**super().state_dict(), "share": self.rollouts.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly."""
        super().load_state_dict(state)
        self.rollouts.share = float(state["share"])
