"""Batches no larger than the noise of the gradient asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gainrl.curricula.adaptive import Adaptive
from gainrl.curricula.base import IntArray, Outcome, Request
from gainrl.curricula.noise_scale import NoiseScale
from gainrl.curricula.registry import register


@register("noise_batch")
@dataclass
class NoiseBatch(Adaptive):
    """As many prompts as a share of the gradient's noise scale, at a rate that goes with them.

    B_simple, in prompts, is where noise and signal of a batch's gradient are equal (arXiv
    1812.06162, Eq. 2.9; gainrl.curricula.noise_scale). A batch of B makes 1 / (1 + B_simple / B) of
    the progress of an endless one: of B = s B_simple prompts the tokens are worth 1 / (1 + s) of
    what they are in the smallest batches. As the gradient shrinks the batch grows. With n the
    preset's prompts, which are the first batch,

        B = s B_simple, within [lowest, highest], at most twice the batch before and at least half,
        rate = ((1 + B_simple / n) / (1 + B_simple / B))^scaling,

    which with scaling 1 is the rule of stochastic gradient descent (Eq. 2.6) and with 1/2 what
    Adam's normalised steps come to. Where the averages see no gradient in the noise, B grows and
    the rate stays. The preset's rollouts times B are divided as `adaptive` does.

    Parameters:
        share: s. lowest, highest: bounds of B. scaling: of the rate; 0 leaves it.
        horizon: groups that signal and noise are averaged over, exponentially: small batches say
            little each.
        adaptive: `first` rollouts, and as many again where they differ; else the preset's.
    """

    share: float = 0.0625
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
        if not 1 <= self.lowest <= self.highest:
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
        self.now, self.factor = float(self.setting.batch), 1.0

    def batch(self) -> int:
        """B of the next step."""
        return round(self.now)

    def prompts(self) -> int:
        """Of the next draw."""
        return super().prompts() if self.adaptive else self.batch()

    def begin(self, rows: IntArray) -> Request:
        """The first rollouts, or all."""
        if self.adaptive:
            return super().begin(rows)
        return Request(rows, np.full(len(rows), self.setting.rollouts))

    def rate(self) -> float:
        """What the step's learning rate is multiplied by."""
        return self.factor

    def observe(self, outcome: Outcome) -> None:
        """Average the moments of the gradient and the share of mixed groups; set the next batch."""
        super().observe(outcome)
        if outcome.moments is None:
            return
        self.scale.observe(outcome.moments, len(outcome.rows))
        found = self.scale.groups
        wanted = math.inf if found is None else self.share * found
        bounded = min(max(wanted, self.lowest, self.now / 2), self.highest, 2 * self.now)
        self.now = min(bounded, float(self.setting.size))
        if found is not None:
            rates = [1 / (1 + found / n) for n in (self.setting.batch, self.batch())]
            self.factor = (rates[1] / rates[0]) ** self.scaling

    def metrics(self) -> dict[str, float]:
        """noise_scale: B_simple, -1 while the averages see no gradient; batch, rate: of the next
        step."""
        known = {"noise_scale": self.scale.groups or -1.0, "batch": float(self.batch())}
        return {**super().metrics(), **known, "rate": self.rate()}
