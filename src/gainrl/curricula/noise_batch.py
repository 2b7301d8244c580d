"""Batches no larger than the noise of the gradient asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gainrl.curricula.adaptive import Adaptive
from gainrl.curricula.base import Groups, IntArray, Outcome, Request
from gainrl.curricula.noise_scale import NoiseScale
from gainrl.curricula.registry import register

LARGEST = 4
"""B_simple is taken to be at most so many horizons: averages over one cannot tell larger ones."""


@register("noise_batch")
@dataclass
class NoiseBatch(Adaptive):
    """As many prompts as a share of the gradient's noise scale, at a rate that goes with them.

    B_simple, in prompts, is where noise and signal of a batch's gradient are equal (arXiv
    1812.06162, Eq. 2.9; gainrl.curricula.noise_scale). A batch of B makes 1 / (1 + B_simple / B) of
    the progress of an endless one: of B = s B_simple prompts the tokens are worth 1 / (1 + s) of
    what they are in the smallest batches. As the gradient shrinks the batch grows. With n the
    preset's prompts, which are the first batch, and H the horizon,

        B = s B_simple, within [lowest, highest], a step of g groups moving it by 1 + g / H at most,
        rate = ((1 + B_simple / n) / (1 + B_simple / B))^scaling,

    which with scaling 1 is the rule of stochastic gradient descent (Eq. 2.6) and with 1/2 what
    Adam's normalised steps come to. All groups that are drawn have to be one update: it goes with
    the filter `all` and without mini-batches.

    Parameters:
        share: s. lowest, highest: bounds of B. scaling: of the rate; 0 leaves it.
        horizon: H, groups that signal and noise are averaged over, exponentially: small batches say
            little each. Where they see no gradient in the noise, B_simple counts as 4 horizons.
        adaptive: `first` rollouts, and as many again where they differ; else the preset's.
    """

    share: float = 0.125
    lowest: int = 4
    highest: int = 256
    scaling: float = 0.5
    horizon: float = 256.0
    adaptive: bool = True
    reads_noise = True
    state = ("mixed_share", "scale", "now", "factor")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.share > 0:
            raise ValueError(f"share is {self.share}, not above 0")
        if not 2 <= self.lowest <= self.highest:  # a single group tells no noise
            raise ValueError(f"lowest {self.lowest} and highest {self.highest} are no bounds")
        if not 0 <= self.scaling <= 1:
            raise ValueError(f"scaling is {self.scaling}, not in [0, 1]")
        if not self.horizon > 0:
            raise ValueError(f"horizon is {self.horizon}, not above 0")
        self.several_draws = self.adaptive

    def start(self) -> None:
        """The first batch is the preset's."""
        super().start()
        self.scale = NoiseScale(math.exp(-1 / self.horizon))
        self.now, self.factor = float(max(self.setting.batch, 2)), 1.0

    def prompts(self) -> int:
        """B."""
        return min(round(self.now), self.setting.size)

    def begin(self, rows: IntArray) -> Request:
        """The first rollouts, or all."""
        if self.adaptive:
            return super().begin(rows)
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def again(self, seen: Groups) -> Request | None:
        """As many again for the mixed groups, if they had not all."""
        return super().again(seen) if self.adaptive else None

    def rate(self) -> float:
        """What the step's learning rate is multiplied by."""
        return self.factor

    def observe(self, outcome: Outcome) -> None:
        """Average the moments of the gradient and set the next batch."""
        super().observe(outcome)
        if outcome.moments is None:
            return
        groups = len(outcome.rows)
        self.scale.observe(outcome.moments, groups)
        if self.scale.noise <= 0:
            return
        found, most = self.noise_scale(), 1 + groups / self.horizon
        wanted = min(max(self.share * found, self.lowest), self.highest, self.setting.size)
        self.now = float(min(max(wanted, self.now / most), self.now * most))
        rates = [1 / (1 + found / n) for n in (self.setting.batch, self.prompts())]
        self.factor = (rates[1] / rates[0]) ** self.scaling

    def noise_scale(self) -> float:
        """B_simple, as far as the averages can tell; 0 before any, and where they see no noise."""
        if self.scale.noise <= 0:
            return 0.0
        largest = LARGEST * self.horizon
        return min(self.scale.groups or largest, largest)

    def metrics(self) -> dict[str, float]:
        """noise_scale: B_simple; batch, rate: of the next step."""
        own = {"noise_scale": self.noise_scale(), "batch": float(self.prompts())}
        return {**super().metrics(), **own, "rate": self.rate()}
