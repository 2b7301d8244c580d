"""GAIN-RL: a Gaussian that walks down an order (Algorithm 1, Eq. 8-10)."""

from __future__ import annotations

from dataclasses import dataclass
from math import tanh
from typing import Literal

import numpy as np

from gainrl.curricula.base import FloatArray, IntArray, Outcome
from gainrl.curricula.blocks import smallest
from gainrl.curricula.parts import Sampler
from gainrl.curricula.registry import register

RELEASED_STEP = 500.0
RELEASED_LIMIT = 1000.0
RELEASED_SIGMA = 1000.0


@register("gain")
@dataclass
class Gain(Sampler):
    """Draw ranks near mu; move mu up as accuracy and the angle signal allow.

    The batch is drawn without replacement with P(rank i) ~ exp(-(i - mu)^2 / 2 sigma^2) (Eq. 8),
    exactly and without underflow by the Gumbel top-k trick on the log-weights. Then (Eq. 10)

        mu <- clip(mu + h tanh(alpha (Acc - beta)) + h tanh(gamma C), 0, N - 1).

    Parameters (source: section 4 of the paper where not said otherwise):
        alpha, beta, gamma: 2, 0.5, 0.5.
        step: h as a fraction of N; None is the paper's h = n / 2. The paper's runs move at most
            2.56 data sets (n T / 2N per term on DeepScaleR); a small data set keeps that pace
            with step = 2.56 / T.
        sigma: as a fraction of N; the paper gives none, the released code uses 1000 for
            N = 40,315 (0.025). None is sigma = n.
        use_accuracy, use_signal: the two terms of the update (Figure 10, left).
        variant: 'paper', or 'released' for the authors' code: accuracy halved before beta is
            subtracted, 2.0 in place of gamma, h = 500, an increment within [0, 1000], sigma 1000,
            and the batch sorted by rank (spec section 3).
    """

    alpha: float = 2.0
    beta: float = 0.5
    gamma: float = 0.5
    step: float | None = None
    sigma: float | None = None
    use_accuracy: bool = True
    use_signal: bool = True
    variant: Literal["paper", "released"] = "paper"
    needs = frozenset({"order"})
    stream = 12
    state = ("mu",)

    def __post_init__(self) -> None:
        if self.variant not in ("paper", "released"):
            raise ValueError(f"variant is 'paper' or 'released', not '{self.variant}'")
        for key in ("step", "sigma"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise ValueError(f"{key} must be above 0")
        if self.variant == "released" and (self.step or self.sigma):
            raise ValueError("step and sigma are constants of the variant 'released'")
        self.reads_signal = self.use_signal

    def start(self) -> None:
        """mu starts at 0, the highest angle concentration."""
        setting = self.setting
        assert setting.order is not None
        self.order = np.asarray(setting.order, dtype=np.int64)
        self.mu = 0.0
        if self.variant == "released":
            self.h, self.width = RELEASED_STEP, RELEASED_SIGMA
        else:
            self.h = setting.batch / 2 if self.step is None else self.step * setting.size
            self.width = float(setting.batch) if self.sigma is None else self.sigma * setting.size

    def draw(self, count: int) -> IntArray:
        """(count,) distinct rows drawn by rank."""
        chosen = smallest(self._keys, self.setting.size, count)
        if self.variant == "released":
            chosen = np.sort(chosen)
        return self.order[chosen]

    def _keys(self, start: int, stop: int) -> FloatArray:
        """Of some ranks: the smallest are drawn. Asked for in order, for each takes a draw."""
        ranks = np.arange(start, stop)
        log_weight = -((ranks - self.mu) ** 2) / (2 * self.width**2)
        return -(log_weight + self.rng.gumbel(size=len(ranks)))

    def observe(self, outcome: Outcome) -> None:
        """Move mu by Eq. 10, from the means of accuracy and C over what was rolled out.

        C is measured in the update, so behind a filter its mean is over the groups it admits.
        """
        accuracy = float(outcome.accuracy.mean())
        released = self.variant == "released"
        move = 0.0
        if self.use_accuracy:
            share = accuracy / 2 if released else accuracy
            move += self.h * tanh(self.alpha * (share - self.beta))
        if self.use_signal:
            signal = float(np.nanmean(outcome.signal))
            move += self.h * tanh((2.0 if released else self.gamma) * signal)
        if released:
            move = min(max(move, 0.0), RELEASED_LIMIT)
        self.mu = min(max(self.mu + move, 0.0), float(self.setting.size - 1))

    def metrics(self) -> dict[str, float]:
        """mu in ranks and as a share of N; sigma and the step in ranks."""
        return {
            "mu": self.mu,
            "mu_share": self.mu / max(self.setting.size - 1, 1),
            "sigma": self.width,
            "step": self.h,
        }
