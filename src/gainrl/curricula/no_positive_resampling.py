"""ScaleRL's no-positive-resampling: what is nearly solved is dropped (arXiv:2510.13786)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gainrl.curricula.accuracy_filter import Unsolved
from gainrl.curricula.base import Outcome
from gainrl.curricula.registry import register

ROUNDING = 1e-9
"""Of a sum of accuracies times rollouts, which are whole numbers."""


@register("no_positive_resampling")
@dataclass
class NoPositiveResampling(Unsolved):
    """A prompt whose pass rate over all of its rollouts so far is high is never drawn again.

    The source (Figure 6b) goes by the history of a prompt's pass rates and does not say whether a
    single group may drop it: here the rate is right / tried over every group of the run. As with
    `unsolved`, a batch is completed with dropped prompts when too few others are left.

    Parameters:
        threshold: of the pass rate from which on a prompt is dropped, in (0, 1]; 0.9 in the source.
    """

    threshold: float = 0.9
    state = ("solved", "right", "tried")

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, not above 0 and at most 1")

    def start(self) -> None:
        """Nothing is dropped yet, and no prompt has a history."""
        super().start()
        self.right, self.tried = np.zeros((2, self.setting.size))

    def observe(self, outcome: Outcome) -> None:
        """Add a step to the histories, and drop what is above the threshold."""
        rows = outcome.rows
        self.right[rows] += outcome.accuracy * outcome.rollouts
        self.tried[rows] += outcome.rollouts
        dropped = self.right[rows] >= self.threshold * self.tried[rows] - ROUNDING
        self.solved[rows[dropped]] = True
